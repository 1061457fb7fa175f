"""Pages of ours that Prefect's server shows beside its own, so that a run can link to them.

Belongs here: where the server finds files, and their address. Does not belong here: what is on a
page (`sensequant.reports`).

A browser opens no file from a page of the web, so a path is no link. Prefect's server serves the
folder of its pages, which lies in the home; a copy below it needs no server of its own. Prefect
empties that folder when it is upgraded: `publish_all` puts back what stood there.
"""

from blocks.environment import Environment
from sensequant.runs import RunFolder
from sensequant.storage import write_atomically

__all__ = ["publish_all", "publish_report"]

_FOLDER = "reports"


def publish_report(folder: RunFolder, env: Environment) -> str | None:
    """Let the server show the report of a run; return its address.

    None where the run has no report yet, or where the server's pages do not lie in this home.
    """
    pages = env.prefect_home / "ui" / "v1"
    if not folder.report.exists() or not (pages / "index.html").exists():
        return None
    name = f"{folder.run_id}.html"
    write_atomically(pages / _FOLDER / name, folder.report.read_bytes())
    return f"{env.ui_url}/{_FOLDER}/{name}"


def publish_all(env: Environment) -> int:
    """Let the server show every report of this home that it does not show; return how many."""
    shown = env.prefect_home / "ui" / "v1" / _FOLDER
    runs = (path.parent.name for path in (env.home / "runs").glob("*/report.html"))
    missing = [name for name in runs if not (shown / f"{name}.html").exists()]
    return sum(publish_report(RunFolder(env.home, name), env) is not None for name in missing)
