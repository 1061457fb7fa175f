"""Windows whose results are known: taken in by one task, before those that are left are mapped.

Belongs here: which windows of a stage need not be done again, and saying so on the run's page. Does
not belong here: doing one (`tasks.units`), and how what was made is found (`sensequant.reuse`).

A task run for each known window would cost more than most fits; with one for all of them, a retry
of three windows among hundreds takes seconds (docs/adr/0017).
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from sensequant.errors import RecordError
from sensequant.runs import RunFolder, Stage
from sensequant.stages import distillation, training
from sensequant.stages.context import Run, load_run
from sensequant.units import UnitRecord
from tasks.artifacts import show_known
from tasks.plans import PlannedWindows, windows_at
from tasks.runners import submit
from tasks.units import bring_unit, emit_ended, run_folder

__all__ = ["KnownWindows", "known_windows", "take_known_windows"]

_KEYS: dict[Stage, Callable[[Run, Mapping[str, Any]], str]] = {
    Stage.TEACHER_TRAINING: training.teacher_key,
    Stage.STUDENT_TRAINING: distillation.student_key,
}
_FOLDERS: dict[Stage, Callable[[RunFolder, str], Path]] = {
    Stage.TEACHER_TRAINING: RunFolder.teacher,
    Stage.STUDENT_TRAINING: RunFolder.student,
}


@dataclass(frozen=True)
class KnownWindows:
    """Windows that must still be done, and the records of those that need not."""

    left: PlannedWindows
    records: list[UnitRecord] = field(default_factory=list[UnitRecord])


def known_windows(run_id: str, stage: Stage, windows: PlannedWindows) -> KnownWindows:
    """Take in what is known of the windows of a stage.

    Parameters
    ----------
    run_id
        A run whose features are made.
    stage
        Teachers or students.
    windows
        Parallel symbols and names of the windows, each symbol's in the order of time.
    """
    return submit(take_known_windows, run_id, stage, windows).result()


@task(task_run_name="windows done before")
def take_known_windows(run_id: str, stage: Stage, windows: PlannedWindows) -> State[KnownWindows]:
    """Bring what this run or an earlier one made of the same rows, settings and code."""
    run = load_run(run_folder(run_id))
    found = _records_by_position(run, stage, windows)
    records = [found[position] for position in sorted(found)]
    for record in records:
        emit_ended(run.folder, stage, record, is_cached=True)
    if records:
        show_known(run_id, stage, records)
    n_windows, n_brought = len(windows.names), sum(each.reused_from is not None for each in records)
    left = windows_at((place for place in range(n_windows) if place not in found), windows)
    return Completed(
        name="Cached" if records else None,
        message=f"{len(records)} of {n_windows} windows, {n_brought} of them made by other runs",
        data=KnownWindows(left, records),
    )


def _records_by_position(run: Run, stage: Stage, windows: PlannedWindows) -> dict[int, UnitRecord]:
    places: dict[str, list[int]] = {}
    for place, symbol in enumerate(windows.symbols):
        places.setdefault(symbol, []).append(place)

    def take(symbol: str) -> list[UnitRecord | None]:
        return _take_symbol(run, stage, symbol, [windows.names[place] for place in places[symbol]])

    with ThreadPoolExecutor(run.record.workers) as threads:
        taken = threads.map(take, places)
        pairs = [
            (place, record)
            for symbol, records in zip(places, taken, strict=True)
            for place, record in zip(places[symbol], records, strict=True)
        ]
    return {place: record for place, record in pairs if record is not None}


def _take_symbol(
    run: Run, stage: Stage, symbol: str, names: Sequence[str]
) -> list[UnitRecord | None]:
    taken: list[UnitRecord | None] = []
    for name in names:
        # A student follows from those up to the one before last; what is on disk of one that must
        # be done again is not what it will be.
        waits = taken[:-1] if stage is Stage.STUDENT_TRAINING else []
        taken.append(None if None in waits else _take(run, stage, symbol, name))
    return taken


def _take(run: Run, stage: Stage, symbol: str, name: str) -> UnitRecord | None:
    window = run.window(symbol, name).window
    try:
        key = _KEYS[stage](run, {"symbol": symbol, "window": name})
    except RecordError:
        # What it follows from cannot be read; the unit itself will say so, under its own name.
        return None
    return bring_unit(run.folder, key, [_FOLDERS[stage](run.folder, window.label)])
