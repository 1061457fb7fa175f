"""Facts about executing a flow beside a person: its end in words, its page, its progress.

The flows here are functions; how real ones are executed stands in the tests of flows.
"""

import sys
import types
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from blocks.environment import Environment, read_environment
from sensequant.cli import flow_runs as module
from sensequant.cli.flow_runs import FlowRun, execute_flow, page_of_flow_run, serve
from sensequant.cli.server import Server
from sensequant.errors import ConfigError, SenseQuantError

VERSION = version("prefect")
ID = "0f0f0f0f-0000-4000-8000-000000000001"


def state(
    name: str,
    *,
    failed: bool = False,
    crashed: bool = False,
    cancelled: bool = False,
    value: Any = None,
    message: str | None = None,
    flow_run_id: str | None = ID,
) -> Any:
    """Return what is asked of a state of Prefect."""

    def result(*, raise_on_failure: bool) -> Any:
        assert not raise_on_failure
        return value

    return SimpleNamespace(
        name=name,
        message=message,
        is_failed=lambda: failed,
        is_crashed=lambda: crashed,
        is_cancelled=lambda: cancelled,
        result=result,
        state_details=SimpleNamespace(flow_run_id=flow_run_id),
    )


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    """Return an environment with a port of its own."""
    return read_environment(home=tmp_path, port=4777)


def test_a_run_that_ended_well_has_no_failure(env: Environment) -> None:
    """Its outcome is the state's name; its value what the flow returned."""
    run = FlowRun(state("Nothing to do", value=7), env)

    assert (run.is_failed, run.outcome, run.value) == (False, "nothing to do", 7)
    assert run.failure(where="here") is None
    assert run.page == f"http://127.0.0.1:4777/v2/runs/flow-run/{ID}"
    assert FlowRun(state("Completed", flow_run_id=None), env).page is None
    assert page_of_flow_run(None, env) is None


def test_what_a_run_returned_is_of_its_kind_or_an_error(env: Environment) -> None:
    """Another value is told in the caller's words, a failure in its own."""
    error = ConfigError("universe is unknown")
    done = FlowRun(state("Completed", value=7), env)
    failed = FlowRun(state("Failed", failed=True, value=error), env)

    assert done.returned(int, where="x", nothing="no number") == 7
    with pytest.raises(SenseQuantError, match="no text"):
        done.returned(str, where="x", nothing="no text")
    with pytest.raises(ConfigError, match="universe is unknown"):
        failed.returned(int, where="x", nothing="no number")


@pytest.mark.parametrize("kind", ["failed", "crashed", "cancelled"])
def test_a_run_that_did_not_complete_says_why(env: Environment, kind: str) -> None:
    """In one line, with where to read more."""
    ended: dict[str, Any] = {"message": "went\n  wrong", kind: True}
    run = FlowRun(state(kind.title(), **ended), env)

    failure = run.failure(where="backfill_1")

    assert run.is_failed
    assert failure is not None
    assert (failure.where, failure.found) == ("backfill_1", "went wrong")
    assert failure.remedy is not None
    assert "--verbose" in failure.remedy


def test_an_error_of_ours_is_told_as_it_is(env: Environment) -> None:
    """It says more than the state's message does; any other value stands for itself."""
    error = ConfigError("universe is unknown")
    assert FlowRun(state("Failed", failed=True, value=error), env).failure(where="x") is error
    other = FlowRun(state("Failed", failed=True, value=ValueError("odd")), env).failure(where="x")
    assert isinstance(other, SenseQuantError)
    assert other.found == "odd"


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Put a module with a flow in place, and return what the flow is called with."""
    seen: list[dict[str, Any]] = []

    def fetch(**parameters: Any) -> Any:
        seen.append(parameters)
        return state("Completed", value=parameters["n"])

    stand_in = types.ModuleType("flows_of_this_test")
    stand_in.fetch = fetch  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "flows_of_this_test", stand_in)
    return seen


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the files from which progress is drawn."""
    paths: list[Path] = []

    @contextmanager
    def draw(path: Path, _: Console) -> Generator[None]:
        paths.append(path)
        yield

    monkeypatch.setattr(module, "show_progress", draw)
    return paths


@pytest.mark.parametrize(
    ("telemetry", "is_verbose", "n_drawn"),
    [(Path("events.jsonl"), False, 1), (Path("events.jsonl"), True, 0), (None, False, 0)],
)
def test_progress_is_drawn_where_there_are_events_and_no_log(
    env: Environment,
    flow: list[dict[str, Any]],
    drawn: list[Path],
    telemetry: Path | None,
    is_verbose: bool,
    n_drawn: int,
) -> None:
    """A flow without telemetry draws nothing, even on a terminal."""
    run = execute_flow(
        "flows_of_this_test:fetch", env, telemetry=telemetry, is_verbose=is_verbose, n=3
    )

    assert run.value == 3
    assert flow == [{"n": 3, "return_state": True}]
    assert drawn == [telemetry] * n_drawn


@pytest.mark.parametrize(
    ("is_new", "is_ours", "words"),
    [
        (True, True, f"Prefect {VERSION} started at http://127.0.0.1:4777\n"),
        (False, False, f"Prefect {VERSION} found at http://127.0.0.1:4777, not ours\n"),
    ],
)
def test_whose_server_it_is_goes_to_standard_error(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    env: Environment,
    is_new: bool,
    is_ours: bool,
    words: str,
) -> None:
    """And the variables of this process lead to it."""
    applied: list[dict[str, str]] = []

    def answer(asked: Environment) -> Server:
        return Server(asked, VERSION, is_ours=is_ours, is_new=is_new)

    monkeypatch.setattr(module, "ensure_server", answer)
    monkeypatch.setattr(module, "apply_variables", applied.append)

    assert serve(env, is_verbose=False) is env

    output = capsys.readouterr()
    assert (output.out, output.err) == ("", words)
    assert applied[0]["PREFECT_API_URL"] == "http://127.0.0.1:4777/api"
    assert applied[0]["SENSEQUANT_HOME"] == str(env.home)


def test_a_server_of_another_version_gets_no_run(
    monkeypatch: pytest.MonkeyPatch, env: Environment
) -> None:
    """What it would write down of the run may be misread; the error says what to do."""

    def answer(asked: Environment) -> Server:
        return Server(asked, "3.0.0", is_ours=True, is_new=False)

    monkeypatch.setattr(module, "ensure_server", answer)

    with pytest.raises(ConfigError, match="of another version") as caught:
        serve(env, is_verbose=False)

    assert (caught.value.expected, caught.value.found) == (VERSION, "3.0.0")
    assert "sensequant down" in caught.value.remedy
