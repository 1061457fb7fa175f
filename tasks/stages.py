"""How a stage opens and closes: its record, its telemetry, its table, its state in Prefect.

Belongs here: what all eight stages share. Does not belong here: what one of them does.
"""

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed

from sensequant.records import Outcome
from sensequant.runs import RunFolder, Stage, StageOutcome, StageRecord, describe
from sensequant.settings import RunRequest
from sensequant.stages.context import Findings, RunRecord
from sensequant.units import UnitRecord, summarise_units, write_units
from tasks.artifacts import show_stage, show_units
from tasks.events import Happening, announce
from tasks.progress import StageProgress
from tasks.runners import returned
from tasks.telling import say, telemetry_of, utc_now
from tasks.units import emit_ended, records_of, run_folder

__all__ = [
    "OpenStage",
    "final_state",
    "ingestion_name",
    "one_heartbeat",
    "open_stage",
    "run_name",
    "state_of",
]


_SAID_OF_EVERY_EXCEPTION = "Flow run encountered an exception: "


class OpenStage:
    """A stage that is under way; `finish` writes what it found, `state` shows it in Prefect."""

    def __init__(self, folder: RunFolder, stage: Stage) -> None:
        self.folder = folder
        self.stage = stage
        self.record: StageRecord | None = None
        self._started_at = utc_now()
        self._clock = time.perf_counter()
        self._progress: StageProgress | None = None
        telemetry_of(folder).emit("stage_started", stage=stage, n_units=None)

    def expect(self, n_units: int) -> None:
        """Tell how many units are to come, for whoever shows progress."""
        telemetry_of(self.folder).emit("stage_started", stage=self.stage, n_units=n_units)
        say("stage started", stage=self.stage, units=n_units)
        if n_units > 1:
            self._progress = StageProgress(self.stage, n_units)

    def collect(self, futures: Iterable[PrefectFuture[Any]]) -> list[UnitRecord]:
        """Wait for mapped units and return their records, failed and cached ones included."""
        records: list[UnitRecord] = []
        for future in futures:
            made = records_of(future)
            if future.state.name == "Cached":
                # A task that does several units tells of itself, now as when it did them.
                told = returned(future)
                emit_ended(self.folder, self.stage, told.record, is_cached=True)
            records += made
            # One that does several units was announced as one.
            self.count(made[:1])
        return records

    def count(self, records: Iterable[UnitRecord]) -> None:
        """Count units that have ended, for whoever looks at the page meanwhile."""
        if self._progress is not None:
            self._progress.count(records)

    def finish(
        self,
        find: Callable[[], Findings],
        *,
        units: Iterable[UnitRecord] = (),
        kind: str | None = None,
        max_failure_rate: float = 0.0,
    ) -> None:
        """Decide the stage's outcome from its units and store everything it has to say.

        Parameters
        ----------
        find
            Returns what the stage found, and what it does not do yet. Not asked when too many
            units failed: their table says why there is nothing to find.
        units, kind, max_failure_rate
            The units of the stage, the name of their table, and the share of them that may fail;
            a stage without units succeeds when it has findings.
        """
        rows = list(units)
        outcome, fields = StageOutcome.SUCCESS, dict[str, Any]()
        if kind is not None:
            outcome, fields = summarise_units(rows, max_failure_rate=max_failure_rate)
            write_units(self.folder.units(kind), rows)
        if outcome is not StageOutcome.FAILED:
            found = find()
            fields |= {"findings": found.values, "not_done_yet": found.not_done_yet}
        if self._progress is not None:
            self._progress.end()
        record = self._store(outcome=outcome, **fields)
        show_units(record, rows)
        if outcome is StageOutcome.FAILED:
            announce(
                Happening.THRESHOLD_EXCEEDED,
                subject=record.run_id,
                message=f"{record.stage} of {record.run_id}: {_failure_message(record)}",
            )

    def fail(self, error: Exception) -> None:
        """Store that the stage could not do its work."""
        self._store(outcome=StageOutcome.FAILED, error=describe(error))

    @property
    def state(self) -> State[Any]:
        """The stage's state as the UI shows it: its name tells the outcome."""
        record = self.record
        if record is None or record.outcome is StageOutcome.FAILED:
            return Failed(message=_failure_message(record))
        if record.outcome is StageOutcome.SUCCESS:
            return Completed(message=_counts(record))
        return Completed(name=record.outcome.value.capitalize(), message=_counts(record))

    def _store(self, **fields: Any) -> StageRecord:
        record = self.record = StageRecord(
            run_id=self.folder.run_id,
            stage=self.stage,
            started_at=self._started_at,
            seconds=round(time.perf_counter() - self._clock, 6),
            **fields,
        )
        self.folder.write_stage(record)
        telemetry_of(self.folder).emit(
            "stage_ended",
            **record.model_dump(
                mode="json",
                include={
                    "stage",
                    "outcome",
                    "n_success",
                    "n_skipped",
                    "n_failed",
                    "seconds",
                    "findings",
                },
            ),
        )
        say("stage ended", stage=self.stage, outcome=record.outcome, error=record.error)
        show_stage(record)
        return record


@contextmanager
def open_stage(run_id: str, stage: Stage) -> Generator[OpenStage]:
    """Open a stage of an existing run; an error on the way is recorded, then raised."""
    opened = OpenStage(run_folder(run_id).require(), stage)
    try:
        yield opened
    except Exception as error:
        opened.fail(error)
        raise


@contextmanager
def one_heartbeat() -> Generator[None]:
    """Let the parent alone tell the server that it lives; its stages share its process.

    A synchronous flow with a heartbeat of its own takes a second to end.
    """
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def state_of(stage_flow: Callable[..., Any], run_id: str) -> State[Any]:
    """Run a stage's flow as part of this one, and return its state whatever it is."""
    return stage_flow(run_id=run_id, return_state=True)


def ingestion_name(parameters: Mapping[str, Any]) -> str:
    """Return the name of an ingestion: of the run it is for, or of what a new run is to hold."""
    return f"data ingestion {parameters['run_id'] or run_name(parameters)}"


def run_name(parameters: Mapping[str, Any]) -> str:
    """Return what a person recognises a run by: what, from when to when, from where."""
    request = parameters["request"]
    if not isinstance(request, RunRequest):
        request = RunRequest.model_validate(request)
    return f"{request.title} {request.start}..{request.end} {request.source.kind}"


def final_state(closed: RunRecord, states: Mapping[Stage, State[Any]]) -> State[Any]:
    """Return the state of the whole run: failed as soon as one stage did not complete."""
    broken = next((stage for stage, state in states.items() if not state.is_completed()), None)
    if broken is not None:
        told = (states[broken].message or "").removeprefix(_SAID_OF_EVERY_EXCEPTION)
        return Failed(message=f"{broken} {states[broken].type.lower()}: {told}")
    message = f"{closed.run_id}: verdict {closed.verdict or 'none'}"
    if any(state.name == "Degraded" for state in states.values()):
        return Completed(name="Degraded", message=message)
    return Completed(message=message)


def _counts(record: StageRecord) -> str:
    tried = record.n_success + record.n_skipped + record.n_failed
    if not tried:
        return f"{record.stage} {record.outcome}"
    return (
        f"{record.n_success} {Outcome.SUCCESS}, {record.n_skipped} {Outcome.SKIPPED}, "
        f"{record.n_failed} {Outcome.FAILED}"
    )


def _failure_message(record: StageRecord | None) -> str:
    if record is None:
        return "the stage ended without a record"
    if record.error is not None:
        return record.error
    return (
        f"{record.n_failed} of {record.n_failed + record.n_success} units failed; at most "
        f"{record.max_failure_rate:.0%} may"
    )
