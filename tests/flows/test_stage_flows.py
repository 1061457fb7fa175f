"""Facts about the stages' flows alone: each redoes its part of an existing run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from prefect import Flow
from prefect.client.schemas.objects import State

from flows.assess_significance import assess_significance
from flows.audit_release import audit_release
from flows.brief_promotion import brief_promotion
from flows.ingest_bars import ingest_bars
from flows.stress_students import stress_students
from flows.train_students import train_students
from flows.train_teachers import train_teachers
from flows.validate_students import validate_students
from sensequant.release.manifest import read_manifest
from sensequant.runs import RUN_ID_PATTERN, RunFolder, Stage
from sensequant.stages.context import RunSettings
from sensequant.storage import read_json, sha256_of
from sensequant.telemetry import read_events

FLOWS: dict[Stage, Flow[..., Any]] = {
    Stage.DATA_INGESTION: ingest_bars,
    Stage.TEACHER_TRAINING: train_teachers,
    Stage.STUDENT_TRAINING: train_students,
    Stage.MODEL_VALIDATION: validate_students,
    Stage.STATISTICAL_TESTS: assess_significance,
    Stage.STRESS_TESTS: stress_students,
    Stage.RELEASE_AUDIT: audit_release,
    Stage.PROMOTION_BRIEFING: brief_promotion,
}


def execute(flow: Flow[..., Any], *args: Any, **parameters: Any) -> State[Any]:
    # The decorator types `return_state` away where the flow itself returns a state.
    return cast("Callable[..., State[Any]]", flow)(*args, **parameters, return_state=True)


def digests_of(folder: RunFolder) -> dict[str, str]:
    return {
        path.relative_to(folder.root).as_posix(): sha256_of(path) for path in folder.artifacts()
    }


_TAKEN_IN = {Stage.TEACHER_TRAINING: {"teacher"}, Stage.STUDENT_TRAINING: {"student"}}


@pytest.mark.parametrize("stage", list(Stage))
def test_a_stage_alone_leaves_what_the_run_left(copied: RunFolder, stage: Stage) -> None:
    """Its flow does the stage on an existing run: equal artifacts, a new record."""
    before = digests_of(copied)
    evidence = read_manifest(copied).evidence_digest
    n_events = len(list(read_events(copied.telemetry)))
    record = next(each for each in copied.stages() if each.stage is stage)

    state = execute(FLOWS[stage], run_id=copied.run_id)

    again = next(each for each in copied.stages() if each.stage is stage)
    events = list(read_events(copied.telemetry))[n_events:]
    assert state.name == "Completed"
    assert digests_of(copied) == before
    assert read_manifest(copied).evidence_digest == evidence
    assert again.started_at > record.started_at
    assert again.findings == record.findings
    # Windows that follow from the same rows, settings and code are taken in, all else is done.
    cached = {event["kind"] for event in events if event.get("is_cached")}
    assert cached == _TAKEN_IN.get(stage, set())
    assert {event["stage"] for event in events} == {stage}
    assert len([event for event in copied.stages() if event.outcome == "success"]) == len(Stage)


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize(
    ("run_id", "said"),
    [
        ("live_candidate_20200101_000000_00000000", "run is unknown"),
        ("../elsewhere", "run id is malformed"),
    ],
    ids=["unknown", "malformed"],
)
def test_a_stage_needs_an_existing_run(home: Path, stage: Stage, run_id: str, said: str) -> None:
    """A run id that names no run is a clear error, and makes no folder."""
    state = execute(FLOWS[stage], run_id=run_id)

    assert state.is_failed()
    assert said in str(state.result(raise_on_failure=False))
    assert not (home / "runs").exists()


def test_ingestion_alone_opens_a_run(
    home: Path, market: RunSettings, ask: Callable[..., list[dict[str, Any]]]
) -> None:
    """Without a run id, stage 1 opens a run that the next stages can be started for."""
    state = execute(ingest_bars, market.request, market.config)

    (root,) = (home / "runs").iterdir()
    folder = RunFolder(home, root.name)
    flow_run_id = read_json(folder.run)["prefect_flow_run_id"]
    (flow_run,) = ask("flow_runs", flow_runs={"id": {"any_": [flow_run_id]}})
    assert state.name == "Completed"
    assert RUN_ID_PATTERN.fullmatch(folder.run_id)
    assert folder.run_id.endswith(flow_run_id[:8])
    assert flow_run["name"] == "data ingestion all symbols 2022-01-01..2023-06-30 simulated"
    assert execute(train_teachers, folder.run_id).name == "Completed"
