"""Facts about pages beside Prefect's own: where they lie, what their address is."""

from pathlib import Path

import pytest

from blocks.environment import Environment
from blocks.pages import publish_all, publish_pages
from sensequant.runs import RunFolder

RUN_ID = "live_candidate_20250101_000000_0000abcd"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Return a run with a report."""
    folder = RunFolder(tmp_path, RUN_ID)
    folder.root.mkdir(parents=True)
    folder.report.write_text("<p>report</p>", encoding="utf-8")
    return folder


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    """Return the environment of a home whose server has unpacked its pages."""
    pages = tmp_path / "prefect" / "ui" / "v1"
    pages.mkdir(parents=True)
    (pages / "index.html").touch()
    return Environment.model_validate({"SENSEQUANT_HOME": tmp_path, "SENSEQUANT_PORT": 5123})


def test_pages_are_served_by_the_server_of_the_home(folder: RunFolder, env: Environment) -> None:
    """The newest ones: a run that is judged again has other pages at the same addresses."""
    below = f"http://127.0.0.1:5123/reports/{RUN_ID}"
    assert publish_pages(folder, env) == {"Report with charts": f"{below}/report.html"}

    folder.report.write_text("<p>again</p>", encoding="utf-8")
    (folder.root / "stress").mkdir()
    (folder.root / "stress" / "stress_report.html").write_text("<p>crises</p>", encoding="utf-8")

    assert publish_pages(folder, env) == {
        "Report with charts": f"{below}/report.html",
        "Crises": f"{below}/stress/stress_report.html",
    }
    shown = env.prefect_home / "ui" / "v1" / "reports" / RUN_ID
    assert (shown / "report.html").read_text(encoding="utf-8") == "<p>again</p>"
    assert (shown / "stress" / "stress_report.html").read_text(encoding="utf-8") == "<p>crises</p>"


def test_no_link_leads_nowhere(folder: RunFolder, env: Environment, tmp_path: Path) -> None:
    """Without a page, and where the server keeps its pages elsewhere."""
    elsewhere = Environment.model_validate({"SENSEQUANT_HOME": tmp_path / "other"})

    assert publish_pages(folder, elsewhere) == {}
    folder.report.unlink()
    assert publish_pages(folder, env) == {}


def test_what_an_upgrade_of_prefect_took_away_is_put_back(
    folder: RunFolder, env: Environment
) -> None:
    """Once; what is there already is left."""
    assert folder.report.exists()
    assert publish_all(env) == 1
    assert publish_all(env) == 0
