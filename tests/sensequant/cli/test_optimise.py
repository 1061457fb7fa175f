"""Facts about `optimise`: which search of which run, what is told, which words are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from sensequant.cli import optimise as module
from sensequant.cli.app import main
from sensequant.cli.flow_runs import FlowRun
from sensequant.evaluation.optimisation import OptimisationConfig
from sensequant.evaluation.optimised import OptimisationSummary
from sensequant.stages.context import Run
from sensequant.stages.optimisation import optimise, search_folder

SETTINGS = ["min_training_sessions=60", "step_sessions=100", "n_bootstrap_draws=100"]
WORDS = ["--trials", "2", *(word for text in SETTINGS for word in ("--set", text))]


class Done:
    """Stands for a flow run that ended."""

    page = "http://page"
    returned = FlowRun.returned

    def __init__(self, value: OptimisationSummary) -> None:
        self.value = value


@pytest.fixture
def flow(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the search run in this process, without a server."""
    monkeypatch.setenv("SENSEQUANT_HOME", str(trained.folder.home))

    def execute(entry: str, _env: Any, *, run_id: str, search: OptimisationConfig, **_: Any) -> Any:
        assert entry == "flows.optimise_trading:optimise_trading"
        assert run_id == trained.folder.run_id
        return Done(optimise(trained, search)[1])

    def serve(env: Any, **_: Any) -> Any:
        return env

    monkeypatch.setattr(module, "serve", serve)
    monkeypatch.setattr(module, "execute_flow", execute)


@pytest.mark.usefixtures("flow")
def test_a_search_tells_what_it_was_worth(trained: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Each step, both strategies, the report and the page."""
    assert main(["optimise", "latest", "--strategy", "swing", *WORDS]) == 0

    said = capsys.readouterr().out
    asked = module.search_settings("swing", 2, SETTINGS)
    assert "net_sharpe, difference:" in said
    assert "bars: simulated" in said
    assert str(search_folder(trained, asked) / "optimization_report.html") in said
    assert Path(search_folder(trained, asked) / "optimization_report.html").exists()
    assert "page: http://page" in said


@pytest.mark.usefixtures("flow")
def test_json_is_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that was found, as one object and nothing else."""
    assert main(["optimise", "latest", "--json", *WORDS]) == 0

    summary = OptimisationSummary.model_validate(json.loads(capsys.readouterr().out))
    assert summary.strategy == "scores"
    assert summary.settings.n_trials == 2


@pytest.mark.usefixtures("flow")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "parameters=[stop_frac]"], "no such parameter"),
        (["--set", "swing.fast_bars=9"], "does nothing with this strategy"),
        (["--trials", "0"], "greater than or equal to 1"),
    ],
)
def test_a_setting_that_does_nothing_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the setting; nothing is searched."""
    assert main(["optimise", "latest", *words]) != 0

    assert said in capsys.readouterr().err
