"""Facts about the flow that searches for trading settings: steps as tasks, a page, equal bytes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.client.schemas.objects import State

from flows.optimise_trading import optimise_trading
from sensequant.evaluation.optimisation import OptimisationConfig
from sensequant.evaluation.optimised import OptimisationSummary
from sensequant.release.manifest import verify_manifest
from sensequant.runs import RunFolder
from sensequant.stages import optimisation
from sensequant.stages.context import load_run
from sensequant.storage import sha256_of

SEARCH = OptimisationConfig(
    n_trials=3, min_training_sessions=60, step_sessions=90, min_trades=0, n_bootstrap_draws=100
)


def execute(**parameters: Any) -> State[Any]:
    # The decorator types `return_state` away where the flow itself returns a state.
    flow = cast("Callable[..., State[Any]]", optimise_trading)
    return flow(**parameters, return_state=True)


def digests_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_flow_leaves_what_a_lone_process_leaves(
    copied: RunFolder,
    ask: Callable[..., list[dict[str, Any]]],
    eventually: Callable[[Callable[[], Any]], Any],
) -> None:
    """One task per step, one page; the files are those of a search without Prefect."""
    state = execute(run_id=copied.run_id, search=SEARCH)

    run = load_run(copied)
    folder = optimisation.search_folder(run, SEARCH)
    written = digests_of(folder)
    assert state.name == "Completed"
    summary = state.result()
    assert isinstance(summary, OptimisationSummary)
    assert verify_manifest(copied) == []
    flow_run_id = str(state.state_details.flow_run_id)
    steps = {f"search before step_{place:02d}" for place in range(summary.n_steps)}

    def names() -> set[str]:
        tasks = ask("task_runs", flow_runs={"id": {"any_": [flow_run_id]}})
        return {task["name"] for task in tasks}

    assert eventually(lambda: steps <= names())
    shutil.rmtree(folder)
    optimisation.optimise(run, SEARCH)
    assert digests_of(folder) == written


def test_a_run_that_is_too_short_fails_with_its_reason(copied: RunFolder) -> None:
    """The page of the flow run says what was expected and what was found."""
    long = SEARCH.model_copy(update={"min_training_sessions": 3000})
    state = execute(run_id=copied.run_id, search=long)

    assert state.is_failed()
    assert "too few for a nested search" in str(state.result(raise_on_failure=False))


@pytest.mark.parametrize(
    ("run_id", "said"),
    [
        ("live_candidate_20200101_000000_00000000", "run is unknown"),
        ("../elsewhere", "run id is malformed"),
    ],
    ids=["unknown", "malformed"],
)
def test_a_search_needs_an_existing_run(home: Path, run_id: str, said: str) -> None:
    """A run id that names no run is a clear error, and makes no folder."""
    state = execute(run_id=run_id, search=SEARCH)

    assert state.is_failed()
    assert said in str(state.result(raise_on_failure=False))
    assert not (home / "runs").exists()
