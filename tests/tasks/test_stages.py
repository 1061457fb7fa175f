"""Facts about stages: what they record, how they show in Prefect, and what a run is called."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY
from prefect.states import Cancelled, Completed, Crashed, Failed

from sensequant.errors import ConfigError
from sensequant.records import Outcome
from sensequant.runs import RunFolder, Stage, StageOutcome, StageRecord
from sensequant.settings import RunOptions, RunRequest
from sensequant.stages.context import Findings, RunRecord
from sensequant.storage import read_table
from sensequant.telemetry import read_events
from sensequant.units import UnitRecord
from tasks import progress, stages
from tasks.events import Happening
from tasks.stages import (
    OpenStage,
    final_state,
    ingestion_name,
    one_heartbeat,
    open_stage,
    run_name,
    state_of,
)
from tasks.units import UnitRef

RUN_ID = "live_candidate_20250101_000000_0000abcd"
FOUND = Findings(values={"n_teachers": 3}, not_done_yet=["more"])


class Shown:
    """Takes what would be shown on the server's pages."""

    def __init__(self) -> None:
        self.records: list[StageRecord] = []
        self.units: list[UnitRecord] = []
        self.told: list[tuple[Happening, str, str]] = []
        self.progress: list[tuple[float, str]] = []

    def announce(self, happening: Happening, *, subject: str, message: str) -> None:
        """Keep what others wait for."""
        self.told.append((happening, subject, message))

    def show_progress(self, _stage: str, percent: float, text: str, *, artifact: object) -> int:
        """Keep how far a stage is; the first time, nothing was shown before."""
        assert (artifact is None) == (not self.progress)
        self.progress.append((percent, text))
        return 1

    def show_stage(self, record: StageRecord) -> None:
        """Keep the record of a stage."""
        self.records.append(record)

    def show_units(self, _record: StageRecord, units: list[UnitRecord]) -> None:
        """Keep units."""
        self.units.extend(units)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Return what is shown; there is no server in these tests."""
    double = Shown()
    monkeypatch.setattr(stages, "show_stage", double.show_stage)
    monkeypatch.setattr(stages, "show_units", double.show_units)
    monkeypatch.setattr(stages, "announce", double.announce)
    monkeypatch.setattr(progress, "show_progress", double.show_progress)
    return double


@pytest.fixture
def stage(folder: RunFolder, shown: Shown) -> OpenStage:
    """Return a stage that was just opened."""
    assert shown
    return OpenStage(folder, Stage.TEACHER_TRAINING)


def unit(outcome: Outcome, number: int = 0) -> UnitRecord:
    reason = "no_data" if outcome is Outcome.SKIPPED else None
    return UnitRecord(
        kind="teacher", name=f"{outcome} {number}", outcome=outcome, reason=reason, seconds=1
    )


def units(*, success: int = 0, skipped: int = 0, failed: int = 0) -> list[UnitRecord]:
    return [
        unit(outcome, number)
        for outcome, n in zip(Outcome, (success, skipped, failed), strict=True)
        for number in range(n)
    ]


def test_progress_counts_units_and_says_how_long_it_will_take(shown: Shown) -> None:
    """At most every few seconds, whatever the number of units; at the end, whatever the time."""
    now = [100.0]
    going = progress.StageProgress("teacher_training", 8, clock=lambda: now[0])
    going.count(units(success=1))
    assert shown.progress == [(0.0, "0 of 8 units ended")]
    now[0] += 120
    going.count(units(skipped=1, failed=2))
    going.count(units(success=4))
    going.end()

    assert shown.progress[1:] == [
        (50.0, "4 of 8 units ended; 1 success, 1 skipped, 2 failed; about 2 min left"),
        (100.0, "8 of 8 units ended; 5 success, 1 skipped, 2 failed"),
    ]


@pytest.mark.parametrize(
    ("counts", "outcome", "state_type", "state_name", "message"),
    [
        ({"success": 2}, "success", "COMPLETED", "Completed", "2 success, 0 skipped, 0 failed"),
        (
            {"success": 1, "skipped": 3},
            "success",
            "COMPLETED",
            "Completed",
            "1 success, 3 skipped, 0 failed",
        ),
        (
            {"success": 3, "failed": 1},
            "degraded",
            "COMPLETED",
            "Degraded",
            "3 success, 0 skipped, 1 failed",
        ),
        ({"skipped": 2}, "skipped", "COMPLETED", "Skipped", "0 success, 2 skipped, 0 failed"),
        # One of three is more than a quarter, however many were skipped.
        (
            {"success": 2, "skipped": 9, "failed": 1},
            "failed",
            "FAILED",
            "Failed",
            "1 of 3 units failed; at most 25% may",
        ),
    ],
    ids=["all", "skips do not count", "at the limit", "all skipped", "above the limit"],
)
def test_units_decide_the_outcome(
    stage: OpenStage,
    shown: Shown,
    counts: dict[str, int],
    outcome: str,
    state_type: str,
    state_name: str,
    message: str,
) -> None:
    """Record, table, telemetry, page and state all say the same."""
    rows = units(**counts)

    stage.finish(lambda: FOUND, units=rows, kind="teacher", max_failure_rate=0.25)

    (record,) = stage.folder.stages()
    assert record.outcome == outcome
    assert record == stage.record == shown.records[0]
    assert shown.units == rows
    too_many = [(Happening.THRESHOLD_EXCEEDED, RUN_ID, f"teacher_training of {RUN_ID}: {message}")]
    assert shown.told == (too_many if outcome == "failed" else [])
    assert read_table(stage.folder.units("teacher")).height == len(rows)
    *_, event = read_events(stage.folder.telemetry)
    assert (event["event"], event["stage"], event["outcome"]) == (
        "stage_ended",
        "teacher_training",
        outcome,
    )
    assert {name: event[f"n_{name}"] for name in counts} == counts
    state = stage.state
    assert (state.type, state.name, state.message) == (state_type, state_name, message)


def test_findings_are_kept(stage: OpenStage) -> None:
    """What the stage found, and what it does not do yet, stand in its record."""
    stage.finish(lambda: FOUND)

    (record,) = stage.folder.stages()
    assert record.outcome is StageOutcome.SUCCESS
    assert record.findings == FOUND.values
    assert record.not_done_yet == FOUND.not_done_yet
    assert record.seconds > 0
    assert stage.state.message == "teacher_training success"


def test_nothing_is_looked_for_where_too_much_failed(stage: OpenStage) -> None:
    """The table of units says why; a second error of what is missing would hide it."""

    def find() -> Findings:
        raise AssertionError

    stage.finish(find, units=units(failed=1), kind="teacher")

    assert stage.state.is_failed()
    assert read_table(stage.folder.units("teacher")).height == 1


def test_units_are_recorded_even_if_nothing_is_found(folder: RunFolder, shown: Shown) -> None:
    """An error of the findings fails the stage after its units were written."""

    def find() -> Findings:
        raise ConfigError("nothing there", where="here")

    with (
        pytest.raises(ConfigError),
        open_stage_of_existing(folder) as stage,
    ):
        stage.finish(find, units=units(success=1), kind="teacher")

    assert read_table(folder.units("teacher")).height == 1
    (record,) = folder.stages()
    assert record.outcome is StageOutcome.FAILED
    assert record.error == "ConfigError: nothing there; where: here"
    assert stage.state.message == record.error
    assert shown.records == [record]


def open_stage_of_existing(folder: RunFolder) -> Any:
    folder.config.write_text("{}")
    return open_stage(folder.run_id, Stage.TEACHER_TRAINING)


def test_a_stage_needs_a_run(folder: RunFolder, shown: Shown) -> None:
    """Nothing is recorded for a run that does not exist."""
    with (
        pytest.raises(ConfigError, match="run is unknown"),
        open_stage(folder.run_id, Stage.STRESS_TESTS),
    ):
        pytest.fail("the body must not run")

    assert list(folder.root.iterdir()) == []
    assert shown.records == []


def test_progress_is_told(stage: OpenStage) -> None:
    """Telemetry says that a stage started, and how many units to expect once that is known."""
    stage.expect(12)

    told = [(event["event"], event["n_units"]) for event in read_events(stage.folder.telemetry)]
    assert told == [("stage_started", None), ("stage_started", 12)]


def test_a_stage_without_a_record_has_failed(stage: OpenStage) -> None:
    """A stage that was left before its end never shows as completed."""
    assert stage.state.is_failed()
    assert stage.state.message == "the stage ended without a record"


class Ended:
    """A future that has ended."""

    def __init__(self, result: Any, state: State[Any]) -> None:
        self._result = result
        self.state = state

    def wait(self) -> None:
        """Do nothing: it has ended."""

    def result(self, *, raise_on_failure: bool) -> Any:
        """Return the result."""
        assert not raise_on_failure
        return self._result


def test_cached_units_are_told_by_the_stage(stage: OpenStage) -> None:
    """A unit that was not executed says nothing itself, so the stage tells of it."""
    reference = UnitRef(root=stage.folder.root, record=unit(Outcome.SUCCESS))
    states = [Completed(), Completed(name="Cached")]
    futures = [cast("Any", Ended(reference, state)) for state in states]

    records = stage.collect(futures)

    assert records == [reference.record] * 2
    told = [event for event in read_events(stage.folder.telemetry) if "is_cached" in event]
    assert [(event["name"], event["is_cached"]) for event in told] == [("success 0", True)]


def closed(verdict: str | None) -> RunRecord:
    return RunRecord(
        run_id=RUN_ID,
        started_at=datetime(2025, 1, 1, tzinfo=UTC),
        options=RunOptions(),
        workers=1,
        host="test",
        code_version="0" * 64,
        versions={},
        is_simulated=True,
        verdict=verdict,
    )


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([Completed(), Completed()], ("COMPLETED", "Completed", f"{RUN_ID}: verdict reject")),
        (
            [Completed(), Completed(name="Skipped")],
            ("COMPLETED", "Completed", f"{RUN_ID}: verdict reject"),
        ),
        (
            [Completed(name="Degraded"), Completed()],
            ("COMPLETED", "Degraded", f"{RUN_ID}: verdict reject"),
        ),
        (
            [Completed(name="Degraded"), Failed(message="why")],
            ("FAILED", "Failed", "teacher_training failed: why"),
        ),
        ([Crashed(message="gone")], ("FAILED", "Failed", "data_ingestion crashed: gone")),
        ([Cancelled(message="no")], ("FAILED", "Failed", "data_ingestion cancelled: no")),
    ],
    ids=["completed", "skipped", "degraded", "failed", "crashed", "cancelled"],
)
def test_stages_decide_the_state_of_the_run(
    states: list[State[Any]], expected: tuple[str, str, str]
) -> None:
    """A run is as good as its worst stage; one that did not complete is never a success."""
    by_stage = dict(zip(Stage, states, strict=False))

    state = final_state(closed("reject"), by_stage)

    assert (state.type, state.name, state.message) == expected


def test_a_run_without_verdict_says_so() -> None:
    """No verdict is told as none, not left out."""
    assert final_state(closed(None), {}).message == f"{RUN_ID}: verdict none"


def test_a_stage_is_run_for_its_state() -> None:
    """The flow gets the run's id, and its state comes back whatever it is."""

    def stage_flow(**parameters: Any) -> State[Any]:
        assert parameters == {"run_id": RUN_ID, "return_state": True}
        return Failed(message="why")

    assert state_of(stage_flow, RUN_ID).message == "why"


def test_only_the_parent_has_a_heartbeat() -> None:
    """Inside, flows start none; after it the setting is as before."""
    before = PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value()

    with one_heartbeat():
        inside = PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value()

    assert inside is None
    assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() == before


REQUEST = RunRequest(symbols=("TCS", "M&M"), start=date(2022, 1, 1), end=date(2022, 12, 31))


@pytest.mark.parametrize(
    "request_given", [REQUEST, REQUEST.model_dump(mode="json")], ids=["model", "json"]
)
def test_a_run_is_called_by_what_it_is_about(request_given: RunRequest | dict[str, Any]) -> None:
    """Symbols, range and source, whether the parameter is a model or came as JSON."""
    named = run_name({"request": request_given})

    assert named == "TCS, M&M 2022-01-01..2022-12-31 simulated"


@pytest.mark.parametrize(
    ("run_id", "expected"),
    [
        (RUN_ID, f"data ingestion {RUN_ID}"),
        (None, "data ingestion TCS, M&M 2022-01-01..2022-12-31 simulated"),
    ],
    ids=["existing run", "new run"],
)
def test_an_ingestion_is_never_nameless(run_id: str | None, expected: str) -> None:
    """Before there is a run id, its request is its name."""
    assert ingestion_name({"request": REQUEST, "run_id": run_id}) == expected


def test_home_is_not_needed_to_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A name reads no file of the run, so that it exists before the run does."""
    monkeypatch.setenv("SENSEQUANT_HOME", str(tmp_path / "nowhere"))

    assert run_name({"request": REQUEST})
    assert not (tmp_path / "nowhere").exists()
