"""Facts about `historical_training`: eight stages, what they are called, and what they leave."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError

from flows.run_history import historical_training
from sensequant.records import Outcome
from sensequant.release.manifest import CandidateStatus
from sensequant.runs import RunFolder, Stage, StageOutcome
from sensequant.stages.registry_place import registry_of
from sensequant.storage import read_json, read_table
from sensequant.telemetry import read_events
from sensequant.windows import POOLED

Ask = Callable[..., list[dict[str, Any]]]
Eventually = Callable[[Callable[[], Any]], Any]

WINDOWS = (
    "2022-01-01..2022-06-29",
    "2022-06-30..2022-12-26",
    "2022-12-27..2023-06-24",
    "2023-06-25..2023-06-30",
)
STOCKS = ("SIM01", "SIM02", "SIM03")
WITHOUT_TEACHER = {
    **{f"teacher SIM03 {window}": "pre_listing" for window in WINDOWS},
    f"teacher SIM01 {WINDOWS[3]}": "insufficient_samples",
    f"teacher SIM02 {WINDOWS[3]}": "insufficient_samples",
}
"""Windows that one task tells of, because the plan or the few bars say that there is none."""
BARS = (*STOCKS, "NIFTY50", "NIFTY50TRI")
TASKS_OF = {
    Stage.DATA_INGESTION: {
        "bars brought before",
        "plan chunks",
        *(f"chunk {symbol}" for symbol in BARS),
        *(f"bars {symbol}" for symbol in BARS),
        "pre-flight",
        "settle data",
    },
    Stage.TEACHER_TRAINING: {
        "features and labels",
        "windows done before",
        *(f"teacher {symbol} {window}" for symbol in STOCKS[:2] for window in WINDOWS[:3]),
        "describe teachers",
    },
    Stage.STUDENT_TRAINING: {
        "windows done before",
        *(f"student {symbol} {window}" for symbol in (*STOCKS, POOLED) for window in WINDOWS),
        "gather predictions",
    },
    Stage.MODEL_VALIDATION: {"validate scores"},
    Stage.STATISTICAL_TESTS: {"assess returns"},
    Stage.STRESS_TESTS: {
        "stress rate_hike_selloff_2022",
        "stress svb_banking_crisis_2023",
        "summarise stress",
    },
    Stage.RELEASE_AUDIT: {"judge evidence"},
    Stage.PROMOTION_BRIEFING: {"write briefing"},
}


@pytest.fixture
def flow_run_id(finished: RunFolder) -> str:
    """Return the id of the finished run's flow run on the server."""
    return read_json(finished.run)["prefect_flow_run_id"]


@pytest.fixture
def subflows(ask: Ask, flow_run_id: str) -> dict[str, dict[str, Any]]:
    """Return the flow runs of the finished run's stages, by name."""
    runs = ask("flow_runs", flow_runs={"parent_flow_run_id": {"any_": [flow_run_id]}})
    assert len({run["name"] for run in runs}) == len(runs)
    return {run["name"]: run for run in runs}


def name_of(stage: Stage, folder: RunFolder) -> str:
    return f"{stage.replace('_', ' ')} {folder.run_id}"


def test_all_eight_stages_succeed(finished: RunFolder, ask: Ask, flow_run_id: str) -> None:
    """The run completes under a name that tells what, when and whence; its records agree."""
    (run,) = ask("flow_runs", flow_runs={"id": {"any_": [flow_run_id]}})
    record = read_json(finished.run)

    assert run["state_name"] == "Completed"
    assert run["name"] == "all symbols 2022-01-01..2023-06-30 simulated"
    assert [stage.stage for stage in finished.stages()] == list(Stage)
    assert {stage.outcome for stage in finished.stages()} == {StageOutcome.SUCCESS}
    assert (record["outcome"], record["verdict"]) == ("completed", "not_enough_evidence")
    assert record["ended_at"] > record["started_at"]
    assert "verdict not_enough_evidence" in run["state"]["message"]


def test_the_candidate_is_recorded(finished: RunFolder) -> None:
    """The registry holds the run with the verdict of its gates."""
    registry = registry_of(finished.home)
    candidate = registry.get_candidate_run(finished.run_id)
    registry.close()

    assert candidate.status is CandidateStatus.REJECTED
    assert candidate.manifest_sha256 == read_json(finished.run)["manifest_sha256"]


def test_stages_are_subflows_with_readable_names(
    finished: RunFolder, subflows: dict[str, dict[str, Any]]
) -> None:
    """Each stage is a flow run of its own below the run, completed."""
    assert set(subflows) == {name_of(stage, finished) for stage in Stage}
    assert {run["state_name"] for run in subflows.values()} == {"Completed"}


@pytest.mark.parametrize("stage", list(Stage))
def test_tasks_have_readable_names(
    finished: RunFolder,
    subflows: dict[str, dict[str, Any]],
    ask: Ask,
    eventually: Eventually,
    stage: Stage,
) -> None:
    """Every unit is a task run that tells what it worked on, and the server lost none."""
    flow_run = subflows[name_of(stage, finished)]["id"]

    def ended() -> set[str]:
        runs = ask("task_runs", task_runs={"flow_run_id": {"any_": [flow_run]}})
        return {run["name"] for run in runs if run["state_type"] == "COMPLETED"}

    assert eventually(lambda: ended() == TASKS_OF[stage])


def test_a_skip_is_a_completed_state_of_its_own_name(
    finished: RunFolder, subflows: dict[str, dict[str, Any]], ask: Ask, eventually: Eventually
) -> None:
    """Skips show as such with their reason, and stand in the table."""
    flow_run = subflows[name_of(Stage.STUDENT_TRAINING, finished)]["id"]

    def skipped() -> dict[str, tuple[str, str]]:
        runs = ask("task_runs", task_runs={"flow_run_id": {"any_": [flow_run]}})
        return {
            run["name"]: (run["state_type"], run["state"]["message"])
            for run in runs
            if run["state_name"] == "Skipped"
        }

    table = read_table(finished.units("student"))
    left_out = table.filter(table["outcome"] == Outcome.SKIPPED).select("name", "reason")
    reasons = dict(left_out.iter_rows())
    assert {f"student SIM03 {window}" for window in WINDOWS} <= set(reasons)
    assert eventually(
        lambda: skipped() == {name: ("COMPLETED", reason) for name, reason in reasons.items()}
    )


def test_windows_without_a_teacher_are_one_task_and_keep_their_reasons(
    finished: RunFolder, subflows: dict[str, dict[str, Any]], ask: Ask, eventually: Eventually
) -> None:
    """The task's message counts them, its table names each; they count for no threshold."""
    flow_run = subflows[name_of(Stage.TEACHER_TRAINING, finished)]["id"]
    table = read_table(finished.units("teacher"))
    left_out = table.filter(table["outcome"] == Outcome.SKIPPED)
    assert dict(left_out.select("name", "reason").iter_rows()) == WITHOUT_TEACHER
    assert left_out["error_message"].null_count() == 0
    record = finished.stages()[1]
    assert record.skip_reasons == {"insufficient_samples": 2, "pre_listing": 4}
    assert (record.n_success, record.n_skipped, record.failure_rate) == (9, 6, 0.0)

    (artifact,) = (
        each
        for each in ask("artifacts", artifacts={"flow_run_id": {"any_": [flow_run]}})
        if each["key"] == "teacher-training-cached"
    )
    rows = json.loads(artifact["data"])
    assert {row["unit"]: row["reason"] for row in rows} == WITHOUT_TEACHER
    assert {row["outcome"] for row in rows} == {"skipped"}

    def told() -> list[tuple[str, str]]:
        runs = ask("task_runs", task_runs={"flow_run_id": {"any_": [flow_run]}})
        return [
            (run["state_name"], run["state"]["message"])
            for run in runs
            if run["name"] == "windows done before"
        ]

    message = "0 of 12 windows, 0 of them made by other runs; 6 have nothing to learn from"
    assert eventually(lambda: told() == [("Completed", message)])


def test_artifacts_stand_on_the_pages(
    subflows: dict[str, dict[str, Any]], flow_run_id: str, ask: Ask
) -> None:
    """Each stage shows its figures; validation, stress tests and briefing show a page of text."""
    ids = [flow_run_id, *(run["id"] for run in subflows.values())]
    made = ask("artifacts", artifacts={"flow_run_id": {"any_": ids}})

    assert {(each["key"], each["type"]) for each in made} == {
        *((stage.replace("_", "-"), "table") for stage in Stage),
        ("teacher-training-cached", "table"),
        ("teacher-training-left-out", "table"),
        ("student-training-left-out", "table"),
        ("stress-tests-left-out", "table"),
        ("data-ingestion-progress", "progress"),
        ("teacher-training-progress", "progress"),
        ("student-training-progress", "progress"),
        ("stress-tests-progress", "progress"),
        ("statistical-tests-page", "markdown"),
        ("pre-flight", "markdown"),
        ("validation-summary", "markdown"),
        ("stress-report", "markdown"),
        ("briefing", "markdown"),
        ("stages", "table"),
        ("teachers", "table"),
        ("students-compared", "table"),
    }
    assert {each["key"] for each in made if each["flow_run_id"] == flow_run_id} == {
        "stages",
        "briefing",
    }
    (left_out,) = (each for each in made if each["key"] == "teacher-training-left-out")
    rows = json.loads(left_out["data"])
    assert {row["unit"] for row in rows if row["reason"] == "pre_listing"} == {
        f"teacher SIM03 {window}" for window in WINDOWS
    }


def test_telemetry_tells_every_unit_once(finished: RunFolder) -> None:
    """From run_started to run_ended, each stage starts and ends, and each unit ends once."""
    events = list(read_events(finished.telemetry))
    units = [event["name"] for event in events if event["event"] == "unit_ended"]
    told = {
        name
        for stage in Stage
        for name in TASKS_OF[stage]
        if name.split()[0] in {"chunk", "bars", "features", "teacher", "student", "stress"}
    } - {"bars brought before"} | set(WITHOUT_TEACHER)

    assert events[0]["event"] == "run_started"
    assert (events[-1]["event"], events[-1]["outcome"]) == ("run_ended", "completed")
    assert sorted(units) == sorted(told)
    assert not any(event.get("is_cached") for event in events)
    assert [event["stage"] for event in events if event["event"] == "stage_ended"] == list(Stage)
    assert all(event["run_id"] == finished.run_id for event in events)


def test_a_log_line_holds_the_fields_of_its_unit(
    finished: RunFolder, subflows: dict[str, dict[str, Any]], ask: Ask, eventually: Eventually
) -> None:
    """The log of a teacher names symbol, window and seconds as fields, once per trained window."""
    flow_run = subflows[name_of(Stage.TEACHER_TRAINING, finished)]["id"]

    def lines() -> list[dict[str, str]]:
        logs = ask("logs", logs={"flow_run_id": {"any_": [flow_run]}})
        told = [log["message"] for log in logs if log["message"].startswith('event="teacher ')]
        return [dict(part.split("=", 1) for part in shlex.split(line)) for line in told]

    trained = {(symbol, window) for symbol in STOCKS[:2] for window in WINDOWS[:3]}
    found = eventually(lambda: lines() if len(lines()) == len(trained) else None)

    assert {(line["symbol"], line["window"]) for line in found} == trained
    assert all(float(line["seconds"]) >= 0 for line in found)


def test_parameters_are_typed() -> None:
    """The form knows every model and allows no key that it does not know."""
    schema = historical_training.parameters.model_dump()

    assert schema["properties"]["request"]["$ref"].endswith("RunRequest")
    assert schema["required"] == ["request"]
    models = [model for model in schema["definitions"].values() if "properties" in model]
    assert all(model["additionalProperties"] is False for model in models)


@pytest.mark.parametrize(
    ("parameters", "culprit"),
    [
        ({"request": {"symbls": ["TCS"]}}, "symbls"),
        ({"request": {"start": "2024-12-31", "end": "2022-01-01"}}, "upside down"),
        ({"request": {}, "config": {"sed": 1}}, "sed"),
        ({"request": {}, "options": {"workers": 0}}, "workers"),
    ],
    ids=["unknown key", "range upside down", "unknown setting", "out of bounds"],
)
def test_a_wrong_question_is_refused(
    train: Callable[..., State[Any]], parameters: dict[str, Any], culprit: str
) -> None:
    """A misspelt or impossible parameter fails the run before it starts, and is named."""
    with pytest.raises(ParameterTypeError, match=culprit):
        historical_training.validate_parameters(parameters)

    state = train(**parameters)

    assert state.is_failed()
    assert culprit in str(state.result(raise_on_failure=False))
