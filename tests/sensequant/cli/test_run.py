"""Facts about one run from the terminal, but for the flow itself."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from blocks.environment import Environment, child_environment, read_environment
from sensequant.cli import flow_runs
from sensequant.cli import run as module
from sensequant.cli.app import main
from sensequant.cli.asking import Question
from sensequant.cli.flow_runs import flow_variables
from sensequant.cli.run import exit_code_of, page_of
from sensequant.cli.server import Server
from sensequant.cli.stored import StoredRun, find_run, read_run
from sensequant.errors import ConfigError, SenseQuantError
from sensequant.runs import Stage, StageOutcome, StageRecord
from sensequant.storage import write_json


def test_console_is_quiet_unless_asked_and_the_api_is_not(tmp_path: Path) -> None:
    """Prefect's console handler is closed; what goes to the run's page keeps its level."""
    env = read_environment(home=tmp_path)
    quiet, verbose = (flow_variables(env, is_verbose=flag) for flag in (False, True))

    assert "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL" not in verbose
    code = (
        "import logging, prefect\n"
        "from prefect.logging.configuration import setup_logging\n"
        "setup_logging()\n"
        "names = (None, 'prefect', 'prefect.flow_runs')\n"
        "handlers = [one for name in names for one in logging.getLogger(name).handlers]\n"
        "levels = {type(one).__name__: one.level for one in handlers}\n"
        "print(levels)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment(quiet),
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"'PlainConsole': {logging.CRITICAL}" in done.stdout
    assert "'APILogHandler': 0" in done.stdout


@pytest.mark.parametrize(
    ("outcome", "code"), [("completed", 0), ("degraded", 0), ("failed", 1), (None, 1)]
)
def test_exit_code_tells_whether_the_run_ended_well(
    home: Path, outcome: str | None, code: int
) -> None:
    """A verdict is an answer; a failure or a run without an end is not."""
    run = read_run(find_run(home, "1111"))
    record = {**run.record, "outcome": outcome, "verdict": "reject"}

    assert exit_code_of(StoredRun(run.folder, record, run.request)) == code


def test_page_is_that_of_the_flow_run(home: Path) -> None:
    """A run that never reached the server has none."""
    env = read_environment(port=4777)
    run = read_run(find_run(home, "1111"))

    assert page_of(run, env) == (
        "http://127.0.0.1:4777/v2/runs/flow-run/0f0f0f0f-0000-4000-8000-000000000001"
    )
    assert page_of(StoredRun(run.folder, {}, {}), env) is None


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """Let a server answer at once, and collect the questions that would be executed."""

    def answer(env: Environment) -> Server:
        return Server(env, version("prefect"), is_ours=False, is_new=False)

    monkeypatch.setattr(flow_runs, "ensure_server", answer)
    return []


def executed(
    questions: list[Question], *, result: SenseQuantError | BaseException | None, outcome: str
) -> Callable[..., SenseQuantError | None]:
    def execute(question: Question, _env: Environment, **_: bool) -> SenseQuantError | None:
        questions.append(question)
        stage = StageRecord(
            run_id=question.folder.run_id,
            stage=Stage.DATA_INGESTION,
            outcome=StageOutcome.SUCCESS,
            started_at=datetime(2025, 1, 1, tzinfo=UTC),
            seconds=1,
        )
        if outcome:
            question.folder.write_stage(stage)
            write_json(question.folder.run, {"outcome": outcome})
            write_json(question.folder.config, {"request": {}})
        if isinstance(result, KeyboardInterrupt):
            raise result
        return result if isinstance(result, SenseQuantError) else None

    return execute


@pytest.mark.parametrize(
    ("result", "outcome", "code"),
    [(None, "completed", 0), (SenseQuantError("stage failed"), "failed", 1)],
)
def test_run_that_did_something_ends_with_its_summary(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    opened: list[Question],
    tmp_path: Path,
    result: SenseQuantError | None,
    outcome: str,
    code: int,
) -> None:
    """Facts go to standard output, what is going on to standard error."""
    monkeypatch.setattr(module, "_execute", executed(opened, result=result, outcome=outcome))

    assert main(["run", "--home", str(tmp_path), "--seed", "3"]) == code

    output = capsys.readouterr()
    assert f"outcome: {outcome}\nstage data_ingestion: success, 1.0 s\n" in output.out
    assert f"Prefect {version('prefect')} found at http://127.0.0.1:4200, not ours" in output.err
    assert opened[0].config.seed == 3
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "prefect")


@pytest.mark.parametrize(("words", "n"), [([], 3), (["--workers", "5"], 5)])
def test_workers_are_those_of_the_environment_or_the_option(
    monkeypatch: pytest.MonkeyPatch,
    opened: list[Question],
    tmp_path: Path,
    words: list[str],
    n: int,
) -> None:
    """The option wins over SENSEQUANT_WORKERS."""
    monkeypatch.setenv("SENSEQUANT_WORKERS", "3")
    monkeypatch.setattr(module, "_execute", executed(opened, result=None, outcome="completed"))

    assert main(["run", "--home", str(tmp_path), *words]) == 0
    assert opened[0].options.workers == n


def test_run_that_did_nothing_ends_with_its_error(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    opened: list[Question],
    tmp_path: Path,
) -> None:
    """The exit code is that of the error."""
    failing = executed(opened, result=ConfigError("universe is unknown"), outcome="")
    monkeypatch.setattr(module, "_execute", failing)

    assert main(["run", "--home", str(tmp_path), "--verbose"]) == 2

    output = capsys.readouterr()
    assert output.out == ""
    assert "error: universe is unknown" in output.err


@pytest.mark.parametrize("outcome", ["running", ""])
def test_interrupted_run_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    opened: list[Question],
    tmp_path: Path,
    outcome: str,
) -> None:
    """Only a run that was opened can go on."""
    stopped = executed(opened, result=KeyboardInterrupt(), outcome=outcome)
    monkeypatch.setattr(module, "_execute", stopped)

    assert main(["run", "--home", str(tmp_path)]) == 130

    words = f"to go on: sensequant run --resume {opened[0].folder.run_id}"
    assert (words in capsys.readouterr().err) == bool(outcome)
