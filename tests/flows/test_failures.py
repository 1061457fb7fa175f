"""Facts about units that fail: what is recorded, what still runs, and what stops a run."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from prefect.client.schemas.objects import State

from flows.ingest_bars import ingest_bars
from flows.train_students import train_students
from sensequant.errors import (
    ConfigError,
    LeakageError,
    MissingBarsError,
    RetryableError,
    SenseQuantError,
    SourceError,
    StorageError,
)
from sensequant.ingestion.context import IngestContext
from sensequant.market.sources.base import BarSource, Chunk, Fetched
from sensequant.market.sources.build import SourceConfig
from sensequant.release.manifest import CandidateStatus
from sensequant.runs import RunFolder, Stage, StageOutcome
from sensequant.settings import RunOptions, RunRequest
from sensequant.stages.context import RunSettings
from sensequant.stages.registry_place import registry_of
from sensequant.storage import read_json, read_table
from sensequant.telemetry import read_events
from tasks import ingestion
from tasks.ingestion import fetch_chunk
from tasks.sources import intake_of

Ask = Callable[..., list[dict[str, Any]]]
Eventually = Callable[[Callable[[], Any]], Any]
Train = Callable[..., State[Any]]

BAD = ("SIM01", "2022-06-30")
BAD_UNIT = "teacher SIM01 2022-06-30..2022-12-26"
ALL_OF_SIM01 = [("SIM01", day) for day in ("2022-01-03", "2022-06-30", "2022-12-27")]
UP_TO_TEACHERS = RunOptions(stages=(Stage.DATA_INGESTION, Stage.TEACHER_TRAINING), workers=2)


def unit_of(folder: RunFolder, kind: str, name: str) -> dict[str, Any]:
    return read_table(folder.units(kind)).row(by_predicate=pl.col("name") == name, named=True)


def names_of_events(folder: RunFolder) -> list[str]:
    return [event["event"] for event in read_events(folder.telemetry)]


def test_a_few_failures_degrade_the_run(
    folder: RunFolder, train: Train, teaching: Any, ask: Ask, eventually: Eventually
) -> None:
    """One of nine tried units fails: it is recorded whole, the run goes on and says Degraded."""
    teaching.errors[BAD] = RuntimeError("a tree fell")

    state = train()

    assert (state.type, state.name) == ("COMPLETED", "Degraded")
    failed = unit_of(folder, "teacher", BAD_UNIT)
    assert failed["outcome"] == "failed"
    assert (failed["error_type"], failed["error_message"]) == ("RuntimeError", "a tree fell")
    assert "Traceback" in failed["error_traceback"]
    assert "train_window" in failed["error_traceback"]
    record = folder.stages()[1]
    assert record.outcome is StageOutcome.DEGRADED
    assert (record.n_failed, record.failure_rate) == (1, pytest.approx(1 / 9))
    assert [stage.stage for stage in folder.stages()] == list(Stage)
    assert read_json(folder.run)["outcome"] == "degraded"
    student = unit_of(folder, "student", BAD_UNIT.replace("teacher", "student"))
    assert (student["outcome"], student["reason"]) == ("skipped", "no_teacher")

    def is_red() -> bool:
        runs = ask("task_runs", task_runs={"name": {"any_": [BAD_UNIT]}})
        return any("a tree fell" in run["state"]["message"] for run in runs)

    assert eventually(is_red)


def test_too_many_failures_end_the_run(
    folder: RunFolder, train: Train, teaching: Any, ask: Ask
) -> None:
    """Three of nine fail: no later stage runs, but a briefing says where it ended, and why."""
    teaching.errors.update(dict.fromkeys(ALL_OF_SIM01, RuntimeError("a tree fell")))

    state = train()

    assert state.is_failed()
    assert state.message == ("teacher_training failed: 3 of 9 units failed; at most 15% may")
    stages = {record.stage: record for record in folder.stages()}
    assert list(stages) == [
        Stage.DATA_INGESTION,
        Stage.TEACHER_TRAINING,
        Stage.PROMOTION_BRIEFING,
    ]
    assert stages[Stage.TEACHER_TRAINING].outcome is StageOutcome.FAILED
    briefing = read_json(folder.briefing.with_suffix(".json"))
    assert briefing["failed_stage"] == "teacher_training"
    assert briefing["is_complete"] is False
    assert "teacher_training" in folder.briefing.with_suffix(".md").read_text()
    record = read_json(folder.run)
    assert (record["outcome"], record["failed_stage"]) == ("failed", "teacher_training")
    assert record["verdict"] is None
    registry = registry_of(folder.home)
    candidate = registry.get_candidate_run(folder.run_id)
    registry.close()
    assert candidate.status is CandidateStatus.FAILED
    assert candidate.failed_stage == "teacher_training"
    flow_runs = ask(
        "flow_runs", flow_runs={"parent_flow_run_id": {"any_": [record["prefect_flow_run_id"]]}}
    )
    assert {(run["name"].split(" live")[0], run["state_name"]) for run in flow_runs} == {
        ("data ingestion", "Completed"),
        ("teacher training", "Failed"),
        ("promotion briefing", "Completed"),
    }


def test_telemetry_is_whole_after_a_failure(folder: RunFolder, train: Train, teaching: Any) -> None:
    """Each unit ends once, failed ones too, and the run ends as failed."""
    teaching.errors.update(dict.fromkeys(ALL_OF_SIM01, RuntimeError("a tree fell")))

    train(options=UP_TO_TEACHERS)

    events = list(read_events(folder.telemetry))
    units = [
        (event["name"], event["outcome"])
        for event in events
        if event["event"] == "unit_ended" and event["stage"] == "teacher_training"
    ]
    assert len(units) == len(set(units)) == 13
    assert (
        sorted(outcome for _, outcome in units)
        == ["failed"] * 3 + ["skipped"] * 6 + ["success"] * 4
    )
    assert events[0]["event"] == "run_started"
    assert (events[-1]["event"], events[-1]["outcome"]) == ("run_ended", "failed")


@pytest.mark.parametrize("error", [LeakageError, StorageError])
def test_some_errors_stop_the_stage_at_once(
    folder: RunFolder,
    market: RunSettings,
    train: Train,
    teaching: Any,
    error: type[SenseQuantError],
) -> None:
    """Leakage, or a disk that refuses, ends the run however many failures are allowed."""
    teaching.errors[BAD] = error("it went wrong", where="SIM01")
    lenient = market.config.model_copy(update={"max_failure_rate": 1.0})

    state = train(config=lenient, options=UP_TO_TEACHERS)

    assert state.is_failed()
    (_, record, _) = folder.stages()
    assert record.outcome is StageOutcome.FAILED
    assert record.error == f"{error.__name__}: it went wrong; where: SIM01"
    assert read_json(folder.run)["failed_stage"] == "teacher_training"
    assert names_of_events(folder)[-1] == "run_ended"


def test_a_damaged_table_fails_the_units_that_read_it(folder: RunFolder, train: Train) -> None:
    """Rows that were damaged after training fail their symbol's students, and those of all."""
    train(options=UP_TO_TEACHERS)
    folder.rows("SIM02").write_bytes(b"PAR1 no more")

    execute = cast("Callable[..., State[Any]]", train_students)
    state = execute(folder.run_id, return_state=True)

    units = read_table(folder.units("student"))
    failed = units.filter(pl.col("outcome") == "failed")
    assert state.is_failed()
    assert sorted(failed["symbol"].unique()) == ["SIM02", "universe"]
    assert failed["error_type"].unique().to_list() == ["RecordError"]
    succeeded = units.filter(pl.col("outcome") == "success")
    assert succeeded["symbol"].unique().to_list() == ["SIM01"]


@dataclass
class FlakySource:
    """A source that raises what it is told to before it delivers what the real one does."""

    real: BarSource
    errors: dict[str, list[Exception]]
    asked: list[str] = field(default_factory=list[str])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def fetch(self, chunk: Chunk) -> Fetched:
        """Raise the next error of this symbol, or deliver its bars."""
        self.asked.append(chunk.symbol)
        if self.errors.get(chunk.symbol):
            raise self.errors[chunk.symbol].pop(0)
        return self.real.fetch(chunk)


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FlakySource]:
    """Return a way to make the source of the tiny market fail for some symbols."""

    def make(request: RunRequest, **errors: list[Exception]) -> FlakySource:
        context = intake_of(request.source)
        source = FlakySource(context.source, errors)
        flaky_context = dataclasses.replace(context, source=cast("BarSource", source))

        def flaky_intake_of(_config: SourceConfig) -> IngestContext:
            return flaky_context

        monkeypatch.setattr(ingestion, "intake_of", flaky_intake_of)
        return source

    return make


def ingest(market: RunSettings) -> State[Any]:
    execute = cast("Callable[..., State[Any]]", ingest_bars)
    return execute(market.request, market.config, return_state=True)


def only_run(home: Path) -> RunFolder:
    (root,) = (home / "runs").iterdir()
    return RunFolder(home, root.name)


@pytest.mark.parametrize(
    ("errors", "n_asked", "outcome"),
    [
        ([RetryableError("too busy")], 2, "success"),
        ([RetryableError("too busy")] * 3, 3, "failed"),
        ([SourceError("nonsense")], 1, "failed"),
        ([ConfigError("no such symbol")], 1, "failed"),
        ([MissingBarsError("delisted")], 1, "skipped"),
    ],
    ids=["busy once", "busy for good", "SourceError", "ConfigError", "DataError"],
)
def test_only_what_may_pass_is_asked_again(
    home: Path,
    market: RunSettings,
    flaky: Callable[..., FlakySource],
    monkeypatch: pytest.MonkeyPatch,
    errors: list[Exception],
    n_asked: int,
    outcome: str,
) -> None:
    """A chunk is fetched again when its source was unavailable, and for no other reason."""
    monkeypatch.setattr(fetch_chunk, "retry_delay_seconds", [0.01, 0.01])
    source = flaky(market.request, SIM01=list(errors))

    state = ingest(market)

    folder = only_run(home)
    assert state.is_completed()
    assert source.asked.count("SIM01") == n_asked
    assert unit_of(folder, "chunk", "chunk SIM01")["outcome"] == outcome
    told = [event for event in read_events(folder.telemetry) if event.get("name") == "chunk SIM01"]
    assert [event["outcome"] for event in told] == [outcome]
    assert folder.stages()[0].outcome is (
        StageOutcome.DEGRADED if outcome == "failed" else StageOutcome.SUCCESS
    )


def test_a_source_that_delivers_nothing_is_to_blame(
    folder: RunFolder, market: RunSettings, train: Train, flaky: Callable[..., FlakySource]
) -> None:
    """When every chunk fails, their errors are recorded, not the lack of bars that follows."""
    symbols = ("SIM01", "SIM02", "SIM03", "NIFTY50", "NIFTY50TRI")
    flaky(market.request, **{symbol: [SourceError("down")] for symbol in symbols})

    state = train()

    assert state.message == "data_ingestion failed: 5 of 5 units failed; at most 15% may"
    assert read_table(folder.units("chunk"))["error_message"].to_list() == ["down"] * 5
    assert read_json(folder.briefing.with_suffix(".json"))["failed_stage"] == "data_ingestion"
    assert read_json(folder.run)["outcome"] == "failed"


def test_a_run_in_which_all_is_skipped_still_answers(
    folder: RunFolder, market: RunSettings, train: Train
) -> None:
    """Skips are answers: without one teacher the run completes, and nothing is approved."""
    windows = market.config.windows.model_copy(update={"min_samples": 1000})

    state = train(config=market.config.model_copy(update={"windows": windows}))

    outcomes = {record.stage: record.outcome for record in folder.stages()}
    assert state.name == "Completed"
    assert outcomes[Stage.STUDENT_TRAINING] is StageOutcome.SKIPPED
    assert read_table(folder.units("student"))["outcome"].unique().to_list() == ["skipped"]
    assert read_json(folder.run)["verdict"] not in {"approve", None}
