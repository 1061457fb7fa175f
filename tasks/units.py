"""How a unit of work becomes a Prefect task: outcome, time, cache key, retry, and collection.

Belongs here: what all mapped tasks share. Does not belong here: the work itself.

A skip is an answer: the task completes with the state name `Skipped`. A failure raises
`UnitFailedError`, so that the task run is red, is not cached and runs again on Retry.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.futures import PrefectFuture
from prefect.states import Completed
from prefect.tasks import Task
from pydantic import BaseModel, model_validator

from blocks.environment import Environment
from sensequant.errors import LeakageError, RegistryError, RetryableError, StorageError
from sensequant.records import Outcome, code_version, digest_of
from sensequant.runs import RunFolder, Stage, UnitRecord
from sensequant.storage import sha256_of
from tasks.telling import say, telemetry_of

__all__ = [
    "UnitFailedError",
    "UnitRef",
    "can_retry",
    "collect",
    "do_unit",
    "run_folder",
    "unit_key",
]


class UnitFailedError(Exception):
    """A unit of work failed; carries its record, and its cause as `__cause__`."""

    def __init__(self, record: UnitRecord) -> None:
        super().__init__(f"{record.error_type}: {record.error_message}")
        self.record = record


class UnitRef(BaseModel):
    """What a task returns: the record of its unit, and where the data lie.

    A stored reference whose file is gone or altered does not validate, so that the task that made
    it runs again instead of being taken from the cache.
    """

    root: Path
    record: UnitRecord

    @model_validator(mode="after")
    def _file_is_the_one_recorded(self) -> Self:
        path, sha256 = self.record.path, self.record.sha256
        if path is not None and sha256 is not None:
            file = self.root / path
            if not file.is_file() or sha256_of(file) != sha256:
                message = f"{file} is missing or altered"
                raise ValueError(message)
        return self


def run_folder(run_id: str) -> RunFolder:
    """Return the folder of a run below this machine's home."""
    return RunFolder(Environment().home, run_id)


def unit_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Return the cache key of a unit: run, unit, configuration and code.

    Prefect's own key holds the flow run's id, which changes when a parent is retried.
    """
    folder = run_folder(parameters["run_id"])
    return digest_of(
        {
            "task": context.task.task_key,
            "parameters": parameters,
            "config": sha256_of(folder.config),
            "code": code_version(),
        }
    )


def can_retry(_task: Task[..., Any], _run: Any, state: State[Any]) -> bool:
    """Return whether the type of a failure says that asking again can help."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, UnitFailedError) and isinstance(error.__cause__, RetryableError)


def do_unit(
    folder: RunFolder,
    stage: Stage,
    work: Callable[[], UnitRecord],
    **names: str | None,
) -> Any:
    """Do one unit of work, tell its outcome, and return its reference or skipped state.

    Parameters
    ----------
    folder, stage
        Where the unit belongs.
    work
        Returns the record of success, with `seconds` still to be set.
    names
        `kind`, `name`, and `symbol` or `window` where they apply.

    Raises
    ------
    UnitFailedError
        The work raised anything but a `DataError`.
    LeakageError, StorageError, RegistryError
        No other unit can be trusted or stored either: the stage must stop.
    """
    started = time.perf_counter()
    failure: Exception | None = None
    try:
        record = work()
    except (LeakageError, StorageError, RegistryError):
        raise
    except Exception as error:  # noqa: BLE001 - every failure becomes a record, then is raised again
        failure = error
        record = UnitRecord.from_error(error, seconds=0.0, **names)  # pyright: ignore[reportArgumentType]
    record = record.model_copy(update={"seconds": round(time.perf_counter() - started, 6)})
    _tell(folder, stage, record)
    if record.outcome is Outcome.FAILED:
        raise UnitFailedError(record) from failure
    reference = UnitRef(root=folder.root, record=record)
    if record.outcome is Outcome.SKIPPED:
        return Completed(name="Skipped", message=record.reason, data=reference)
    return reference


def collect(futures: Iterable[PrefectFuture[Any]]) -> list[UnitRecord]:
    """Wait for mapped units and return their records, failed ones included.

    Raises
    ------
    Exception
        A task broke outside its unit of work: that is a fault of the program, not a result.
    """
    records: list[UnitRecord] = []
    for future in futures:
        result = future.result(raise_on_failure=False)
        if isinstance(result, UnitRef | UnitFailedError):
            records.append(result.record)
        elif isinstance(result, BaseException):
            raise result
        else:
            message = f"a unit returned {type(result).__name__}"
            raise TypeError(message)
    return records


def _tell(folder: RunFolder, stage: Stage, record: UnitRecord) -> None:
    telemetry_of(folder).emit(
        "unit_ended",
        stage=stage,
        kind=record.kind,
        name=record.name,
        outcome=record.outcome,
        reason=record.reason,
        seconds=record.seconds,
    )
    say(
        f"{record.kind} {record.outcome}",
        is_warning=record.outcome is Outcome.FAILED,
        symbol=record.symbol,
        window=record.window,
        reason=record.reason,
        error=record.error_message,
        seconds=round(record.seconds, 3),
        **record.counts,
    )
