"""Facts about pages beside Prefect's own: where they lie, what their address is."""

from pathlib import Path

import pytest

from blocks.environment import Environment
from blocks.pages import publish_all, publish_report
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


def test_report_is_served_by_the_server_of_the_home(folder: RunFolder, env: Environment) -> None:
    """The newest one: a run that is judged again has another page at the same address."""
    address = publish_report(folder, env)
    folder.report.write_text("<p>again</p>", encoding="utf-8")

    assert address == publish_report(folder, env)
    assert address == f"http://127.0.0.1:5123/reports/{RUN_ID}.html"
    shown = env.prefect_home / "ui" / "v1" / "reports" / f"{RUN_ID}.html"
    assert shown.read_text(encoding="utf-8") == "<p>again</p>"


def test_no_link_leads_nowhere(folder: RunFolder, env: Environment, tmp_path: Path) -> None:
    """Without a report, and where the server keeps its pages elsewhere."""
    elsewhere = Environment.model_validate({"SENSEQUANT_HOME": tmp_path / "other"})

    assert publish_report(folder, elsewhere) is None
    folder.report.unlink()
    assert publish_report(folder, env) is None


def test_what_an_upgrade_of_prefect_took_away_is_put_back(
    folder: RunFolder, env: Environment
) -> None:
    """Once; what is there already is left."""
    assert folder.report.exists()
    assert publish_all(env) == 1
    assert publish_all(env) == 0
