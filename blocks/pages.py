"""Pages of ours that Prefect's server shows beside its own, so that a run can link to them.

Belongs here: where the server finds files, and their address. Does not belong here: what is on a
page (`sensequant.reports`).

A browser opens no file from a page of the web, so a path is no link. Prefect's server serves the
folder of its pages, which lies in the home; a copy below it needs no server of its own. Prefect
empties that folder when it is upgraded: `publish_all` puts back what stood there.
"""

from collections.abc import Mapping

from blocks.environment import Environment
from sensequant.runs import RunFolder
from sensequant.storage import write_atomically

__all__ = ["REPORT", "publish_all", "publish_pages"]

REPORT = "Report with charts"
"""Title of the page that every judged run has."""

_FOLDER = "reports"
_PAGES: Mapping[str, str] = {
    REPORT: "report.html",
    "Briefing": "promotion_briefing.html",
    "Scores by group": "validation/accuracy_report.html",
    "Crises": "stress/stress_report.html",
}
"""Titles of a run's pages, and their places in its folder."""


def publish_pages(folder: RunFolder, env: Environment) -> dict[str, str]:
    """Let the server show the pages of a run; return their addresses by title.

    Empty where the run has no page yet, or where the server's pages do not lie in this home.
    """
    pages = env.prefect_home / "ui" / "v1"
    if not (pages / "index.html").exists():
        return {}
    found: dict[str, str] = {}
    for title, name in _PAGES.items():
        page = folder.root / name
        if page.exists():
            write_atomically(pages / _FOLDER / folder.run_id / name, page.read_bytes())
            found[title] = f"{env.ui_url}/{_FOLDER}/{folder.run_id}/{name}"
    return found


def publish_all(env: Environment) -> int:
    """Show the pages of every run of this home whose report is not shown; return how many runs."""
    shown = env.prefect_home / "ui" / "v1" / _FOLDER
    runs = (path.parent.name for path in (env.home / "runs").glob("*/report.html"))
    missing = [name for name in runs if not (shown / name / _PAGES[REPORT]).exists()]
    return sum(bool(publish_pages(RunFolder(env.home, name), env)) for name in missing)
