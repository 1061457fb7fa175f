"""How a stage opens and closes: its record, its telemetry, its table, its state in Prefect.

Belongs here: what all eight stages share. Does not belong here: what one of them does.
"""

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed

from sensequant.records import Outcome
from sensequant.runs import (
    RunFolder,
    Stage,
    StageOutcome,
    StageRecord,
    UnitRecord,
    describe,
    summarise_units,
    write_units,
)
from sensequant.settings import RunRequest
from sensequant.stages.context import Findings, RunRecord
from tasks.artifacts import show_stage, show_units
from tasks.telling import say, telemetry_of, utc_now
from tasks.units import run_folder

__all__ = ["OpenStage", "final_state", "one_heartbeat", "open_stage", "run_name", "state_of"]


class OpenStage:
    """A stage that is under way; `finish` writes what it found, `state` shows it in Prefect."""

    def __init__(self, folder: RunFolder, stage: Stage) -> None:
        self.folder = folder
        self.stage = stage
        self.record: StageRecord | None = None
        self._started_at = utc_now()
        self._clock = time.perf_counter()
        telemetry_of(folder).emit("stage_started", stage=stage, n_units=None)

    def expect(self, n_units: int) -> None:
        """Tell how many units are to come, for whoever shows progress."""
        telemetry_of(self.folder).emit("stage_started", stage=self.stage, n_units=n_units)
        say("stage started", stage=self.stage, units=n_units)

    def finish(
        self,
        units: Iterable[UnitRecord] = (),
        *,
        kind: str | None = None,
        max_failure_rate: float = 0.0,
        found: Findings,
    ) -> None:
        """Decide the stage's outcome from its units and store everything it has to say.

        Parameters
        ----------
        units, kind, max_failure_rate
            The units of the stage, the name of their table, and the share of them that may fail;
            a stage without units succeeds when it has findings.
        found
            What the stage found, and what it does not do yet.
        """
        rows = list(units)
        outcome, counts = (
            summarise_units(rows, max_failure_rate=max_failure_rate)
            if kind is not None
            else (StageOutcome.SUCCESS, {})
        )
        if kind is not None:
            write_units(self.folder.units(kind), rows)
        self._store(
            outcome=outcome,
            findings=found.values,
            not_done_yet=found.not_done_yet,
            **counts,
        )
        if self.record is not None:
            show_units(self.record, rows)

    def skip(self, reason: str) -> None:
        """Store that the stage was not run, and why."""
        self._store(outcome=StageOutcome.SKIPPED, skip_reasons={reason: 1})

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

    def _store(self, **fields: Any) -> None:
        self.record = StageRecord(
            run_id=self.folder.run_id,
            stage=self.stage,
            started_at=self._started_at,
            seconds=round(time.perf_counter() - self._clock, 6),
            **fields,
        )
        self.folder.write_stage(self.record)
        telemetry_of(self.folder).emit(
            "stage_ended",
            **self.record.model_dump(
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
        say("stage ended", stage=self.stage, outcome=self.record.outcome, error=self.record.error)
        show_stage(self.record)


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


def run_name(parameters: Mapping[str, Any]) -> str:
    """Return what a person recognises a run by: what, from when to when, from where."""
    request = parameters["request"]
    if not isinstance(request, RunRequest):
        request = RunRequest.model_validate(request)
    return f"{request.title} {request.start}..{request.end} {request.source.kind}"


def final_state(closed: RunRecord, states: Mapping[Stage, State[Any]]) -> State[Any]:
    """Return the state of the whole run: failed as soon as one stage did."""
    failed = next((stage for stage, state in states.items() if state.is_failed()), None)
    if failed is not None:
        return Failed(message=f"{failed} failed: {states[failed].message}")
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
