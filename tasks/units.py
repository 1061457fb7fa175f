"""How a unit of work becomes a Prefect task: outcome, time, cache key, retry, and collection.

Belongs here: what all mapped tasks share. Does not belong here: the work itself, and which files
one kind of unit reads and makes; that stands beside its task.

A skip is an answer: the task completes with the state name `Skipped`. A failure raises
`UnitFailedError`, so that the task run is red, is not cached and runs again on Retry.

What a unit reads enters its cache key: a student that was skipped because its teacher had failed
runs again once there is a teacher. What it made is digested into its reference: a unit whose file
is gone or altered runs again, too.

Prefect's cache serves one run. What an earlier run made from the very same data, settings and code
is brought from there (`sensequant.reuse`); such a task completes with the state name `Reused`.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.futures import PrefectFuture
from prefect.states import Completed
from prefect.tasks import Task
from pydantic import BaseModel, Field, model_validator

from blocks.environment import environment_now
from sensequant.devices import SeenDevice
from sensequant.errors import LeakageError, RegistryError, RetryableError, StorageError
from sensequant.records import Outcome, code_version, digest_of
from sensequant.reuse import bring, remember
from sensequant.runs import RunFolder, Stage
from sensequant.stages.context import Run, load_run
from sensequant.storage import sha256_of
from sensequant.units import UnitRecord
from tasks.devices import seen_here
from tasks.runners import returned
from tasks.telling import say, telemetry_of

__all__ = [
    "Reads",
    "UnitFailedError",
    "UnitRef",
    "bring_unit",
    "can_retry",
    "do_unit",
    "do_units",
    "emit_ended",
    "records_of",
    "run_folder",
    "unit_key",
]

Reads = Callable[[Run, Mapping[str, Any]], Iterable[Path | str]]
"""Names the files and other values that a unit's result follows from, given its parameters."""

_ON_DEVICES = frozenset({Stage.TEACHER_TRAINING, Stage.STUDENT_TRAINING})
_FATAL = (LeakageError, StorageError, RegistryError)


class UnitFailedError(Exception):
    """A unit of work failed; carries its record, and its cause as `__cause__`."""

    def __init__(self, record: UnitRecord) -> None:
        super().__init__(f"{record.error_type}: {record.error_message}")
        self.record = record

    def __reduce__(self) -> tuple[Any, ...]:
        # The default rebuilds from the message, which is no record.
        return (type(self), (self.record,))


class UnitRef(BaseModel):
    """What a task returns: the record of its unit, and digests of the files that it made.

    A stored reference whose file is gone or altered does not validate, so that the task that made
    it runs again instead of being taken from the cache. A task that does several units at once has
    their records as `parts`.
    """

    root: Path
    record: UnitRecord
    parts: list[UnitRecord] = Field(default_factory=list[UnitRecord])
    files: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _files_are_the_ones_recorded(self) -> Self:
        for path, sha256 in self.files.items():
            file = self.root / path
            if not file.is_file() or sha256_of(file) != sha256:
                message = f"{file} is missing or altered"
                raise ValueError(message)
        return self


def run_folder(run_id: str) -> RunFolder:
    """Return the folder of a run below this machine's home."""
    return RunFolder(environment_now().home, run_id)


def unit_key(reads: Reads) -> Callable[[TaskRunContext, dict[str, Any]], str]:
    """Return the maker of a unit's cache key: run, unit, configuration, code, and what it reads.

    Prefect's own key holds the flow run's id, which changes when a parent is retried.
    """

    def key_of(context: TaskRunContext, parameters: dict[str, Any]) -> str:
        run = load_run(run_folder(parameters["run_id"]))
        return digest_of(
            {
                "task": context.task.task_key,
                "run": run.folder.root,
                "parameters": parameters,
                "config": sha256_of(run.folder.config),
                "code": code_version(),
                "reads": [_digest_of_input(each) for each in reads(run, parameters)],
            }
        )

    return key_of


def can_retry(_task: Task[..., Any], _run: Any, state: State[Any]) -> bool:
    """Return whether the type of a failure says that asking again can help."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, UnitFailedError) and isinstance(error.__cause__, RetryableError)


def do_unit(
    folder: RunFolder,
    stage: Stage,
    work: Callable[[], UnitRecord],
    *,
    makes: Iterable[Path] = (),
    key: Callable[[], str] | None = None,
    **names: str | None,
) -> Any:
    """Do one unit of work, tell its outcome, and return its reference, or skipped or reused state.

    Parameters
    ----------
    folder, stage
        Where the unit belongs.
    work
        Returns the record of success, with `seconds` still to be set.
    makes
        Files, or folders of files, that belong to this unit alone. What an earlier attempt left
        there is removed first, so that a unit without a result leaves none behind.
    key
        Returns the digest of all that the unit follows from, whatever the run; None for a unit
        whose result belongs to this run alone.
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
    outputs = list(makes)
    made_as: str | None = None
    try:
        _remove(outputs)
        made_as = None if key is None else key()
        known = None if made_as is None else bring_unit(folder, made_as, outputs)
        record = known or work()
    except StorageError:
        # Nothing more can be written, telemetry neither.
        raise
    except Exception as error:  # noqa: BLE001 - every failure becomes a record, then is raised again
        failure = error
        record = UnitRecord.from_error(error, seconds=0.0, **names)  # pyright: ignore[reportArgumentType]
    seconds = round(time.perf_counter() - started, 6)
    record = record.model_copy(update={"seconds": seconds, "device": _device(stage)})
    if not _is_tried_again(failure):
        emit_ended(folder, stage, record)
    _say(record)
    if isinstance(failure, _FATAL):
        raise failure
    if record.outcome is Outcome.FAILED:
        raise UnitFailedError(record) from failure
    reference = UnitRef(root=folder.root, record=record, files=_digests(folder.root, outputs))
    return _state_of(reference, folder, made_as)


def do_units(
    folder: RunFolder,
    stage: Stage,
    work: Callable[[], list[UnitRecord]],
    *,
    makes: Iterable[Path],
    kind: str,
    name: str,
) -> Any:
    """Do several units in one task, as `do_unit` does one; their records are the parts of its own.

    Raises
    ------
    UnitFailedError, LeakageError, StorageError, RegistryError
        As `do_unit`.
    """
    parts: list[UnitRecord] = []

    def whole() -> UnitRecord:
        parts.extend(work())
        return UnitRecord(
            outcome=Outcome.SUCCESS,
            counts=dict(Counter(f"n_{part.outcome}" for part in parts)),
            seconds=0.0,
            kind=kind,
            name=name,
        )

    reference = do_unit(folder, stage, whole, makes=makes, kind=kind, name=name)
    return reference.model_copy(update={"parts": parts})


def records_of(future: PrefectFuture[Any]) -> list[UnitRecord]:
    """Wait for a task and return the records of its units, also where it failed.

    Raises
    ------
    Exception
        The task broke outside its unit of work: that is a fault of the program, not a result.
    """
    result = returned(future)
    if isinstance(result, UnitRef):
        return result.parts or [result.record]
    if isinstance(result, UnitFailedError):
        return [result.record]
    if isinstance(result, BaseException):
        raise result
    message = f"a unit returned {type(result).__name__}"
    raise TypeError(message)


def bring_unit(folder: RunFolder, key: str, makes: Iterable[Path]) -> UnitRecord | None:
    """Bring what a run made under a key, and nothing else into the places of the unit.

    Returns
    -------
    UnitRecord or None
        As it was made, with the run that made it where that is another one; None where it must be
        done.

    Raises
    ------
    StorageError
        The files cannot be written here.
    """
    made = bring(folder, key)
    if made is None:
        return None
    kept = {folder.root / path for path in made.files}
    _remove(file for file in _files_of(makes) if file not in kept)
    reused_from = None if made.run_id == folder.run_id else made.run_id
    return made.record.model_copy(update={"reused_from": reused_from})


def emit_ended(
    folder: RunFolder, stage: Stage, record: UnitRecord, *, is_cached: bool = False
) -> None:
    """Add a unit's end to the telemetry; `is_cached`: an earlier attempt did the work."""
    telemetry_of(folder).emit(
        "unit_ended",
        stage=stage,
        kind=record.kind,
        name=record.name,
        outcome=record.outcome,
        reason=record.reason,
        seconds=record.seconds,
        is_cached=is_cached,
    )


def _state_of(reference: UnitRef, folder: RunFolder, key: str | None) -> Any:
    record = reference.record
    if key is not None and record.reused_from is None:
        remember(folder, key, record, reference.files)
    if record.outcome is Outcome.SKIPPED:
        return Completed(name="Skipped", message=record.reason, data=reference)
    if record.reused_from is not None:
        return Completed(name="Reused", message=f"made by {record.reused_from}", data=reference)
    return reference


def _device(stage: Stage) -> SeenDevice | None:
    return seen_here() if stage in _ON_DEVICES else None


def _digest_of_input(value: Path | str) -> str | None:
    if isinstance(value, str):
        return value
    return sha256_of(value) if value.is_file() else None


def _remove(outputs: Iterable[Path]) -> None:
    for path in outputs:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _digests(root: Path, outputs: Iterable[Path]) -> dict[str, str]:
    return {
        file.relative_to(root).as_posix(): sha256_of(file) for file in sorted(_files_of(outputs))
    }


def _files_of(outputs: Iterable[Path]) -> list[Path]:
    return [
        file
        for path in outputs
        for file in ([path] if path.is_file() else path.rglob("*"))
        if file.is_file()
    ]


def _is_tried_again(failure: Exception | None) -> bool:
    context = TaskRunContext.get()
    if context is None or not isinstance(failure, RetryableError):
        return False
    return context.task_run.run_count <= context.task.retries


def _say(record: UnitRecord) -> None:
    say(
        f"{record.kind} {record.outcome}",
        is_warning=record.outcome is Outcome.FAILED,
        symbol=record.symbol,
        window=record.window,
        reason=record.reason,
        reused_from=record.reused_from,
        error=record.error_message,
        seconds=round(record.seconds, 3),
        **record.counts,
    )
