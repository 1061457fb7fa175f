"""Facts about the flow that asks what families are worth: variants as tasks, equal bytes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from prefect.client.schemas.objects import State

from flows.ablate_families import ablate_families
from sensequant.evaluation.ablation import AblationConfig, AblationSummary
from sensequant.features.spec import Family
from sensequant.release.manifest import verify_manifest
from sensequant.runs import RunFolder
from sensequant.stages import ablation
from sensequant.stages.context import load_run
from sensequant.storage import sha256_of

ASKED = AblationConfig(families=(Family.VOLUME,), n_bootstrap_draws=100)


def execute(**parameters: Any) -> State[Any]:
    # The decorator types `return_state` away where the flow itself returns a state.
    flow = cast("Callable[..., State[Any]]", ablate_families)
    return flow(**parameters, return_state=True)


def digests_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in folder.rglob("*")
        # Which units were brought depends on what the home has seen.
        if path.is_file() and path.name != "variant.json"
    }


def test_the_flow_leaves_what_a_lone_process_leaves(
    copied: RunFolder,
    ask: Callable[..., list[dict[str, Any]]],
    eventually: Callable[[Callable[[], Any]], Any],
) -> None:
    """One task per variant; the run as it was is brought by its digests, nothing is undone."""
    state = execute(run_id=copied.run_id, asked=ASKED)

    summary = state.result()
    assert state.name == "Completed"
    assert isinstance(summary, AblationSummary)
    assert verify_manifest(copied) == []
    flow_run_id = str(state.state_details.flow_run_id)

    def names() -> set[str]:
        tasks = ask("task_runs", flow_runs={"id": {"any_": [flow_run_id]}})
        return {task["name"] for task in tasks}

    assert eventually(lambda: {"train as_it_was", "train without_volume"} <= names())
    written = digests_of(copied.ablation)
    run = load_run(copied)
    (as_it_was, without) = ablation.plan_variants(run, ASKED)
    brought = ablation.train_variant(run, as_it_was)
    assert brought.n_brought == brought.n_teachers + brought.n_students > 0
    assert ablation.train_variant(run, without).n_brought == 0
    shutil.rmtree(copied.ablation)
    ablation.ablate(run, ASKED)
    assert digests_of(copied.ablation) == written


def test_a_family_without_data_fails_with_its_reason(copied: RunFolder) -> None:
    """The page of the flow run says what is missing."""
    asked = AblationConfig(families=(Family.RANKS,))
    state = execute(run_id=copied.run_id, asked=asked)

    assert state.is_failed()
    assert "has no data" in str(state.result(raise_on_failure=False))
