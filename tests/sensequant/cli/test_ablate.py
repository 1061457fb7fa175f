"""Facts about `ablate`: which families of which run, what is told, which words are refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sensequant.cli import ablate as module
from sensequant.cli.app import main
from sensequant.cli.flow_runs import FlowRun
from sensequant.evaluation.ablation import AblationConfig, AblationSummary
from sensequant.runs import RunFolder
from sensequant.stages.ablation import ablate
from sensequant.stages.context import Run, load_run

WORDS = ["--families", "volume", "--set", "n_bootstrap_draws=100"]


class Done:
    """Stands for a flow run that ended."""

    page = "http://page"
    returned = FlowRun.returned

    def __init__(self, value: AblationSummary) -> None:
        self.value = value


@pytest.fixture
def copied(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a copy of a trained run, whose variants are trained without a server."""
    home = tmp_path / "home"
    shutil.copytree(trained.folder.home, home)
    monkeypatch.setenv("SENSEQUANT_HOME", str(home))
    run = load_run(RunFolder(home, trained.folder.run_id))

    def execute(entry: str, _env: Any, *, run_id: str, asked: AblationConfig, **_: Any) -> Any:
        assert entry == "flows.ablate_families:ablate_families"
        assert run_id == run.folder.run_id
        return Done(ablate(run, asked)[1])

    def serve(env: Any, **_: Any) -> Any:
        return env

    monkeypatch.setattr(module, "serve", serve)
    monkeypatch.setattr(module, "execute_flow", execute)
    return run


def test_each_family_is_told_in_a_row(copied: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The table, where it stands, and the page; as JSON, the summary."""
    assert main(["ablate", "latest", *WORDS]) == 0

    said = capsys.readouterr().out
    assert "bars: simulated" in said
    assert "told from zero" in said
    assert any(line.startswith("volume") for line in said.splitlines())
    assert str(copied.folder.ablation / "summary.md") in said
    assert "page: http://page" in said

    assert main(["ablate", "latest", "--json", *WORDS]) == 0
    summary = AblationSummary.model_validate(json.loads(capsys.readouterr().out))
    assert [each.family.value for each in summary.families] == ["volume"]


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--families", "astrology"], "families"),
        (["--set", "confidence=2"], "confidence"),
        (["--families", "ranks"], "has no data"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names what is wrong; nothing is trained."""
    assert main(["ablate", "latest", *words]) != 0

    assert said in capsys.readouterr().err
