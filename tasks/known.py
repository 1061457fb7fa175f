"""Windows whose results are known: taken in by one task, before those that are left are mapped.

Belongs here: which windows of a stage need not be done, and saying so on the run's page. Does not
belong here: doing one (`tasks.units`), and how what was made is found (`sensequant.reuse`).

A task run for each known window would cost more than most fits; with one for all of them, a retry
of three windows among hundreds takes seconds (docs/adr/0017). A window that has no teacher because
of its plan or its few bars is known, too.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from sensequant.errors import RecordError
from sensequant.reuse import remember
from sensequant.runs import RunFolder, Stage
from sensequant.stages import distillation, training
from sensequant.stages.context import Run, load_run
from sensequant.units import UnitRecord
from tasks.artifacts import show_known
from tasks.devices import seen_here
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


@dataclass(frozen=True)
class _Known:
    """The record of one window, and whether an earlier attempt or run had it."""

    record: UnitRecord
    is_cached: bool


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
    found = _known_by_position(run, stage, windows)
    known = [found[position] for position in sorted(found)]
    for each in known:
        emit_ended(run.folder, stage, each.record, is_cached=each.is_cached)
    records = [each.record for each in known]
    if records:
        show_known(run_id, stage, records)
    left = windows_at((place for place in range(len(windows.names)) if place not in found), windows)
    return Completed(
        name="Cached" if any(each.is_cached for each in known) else None,
        message=_in_words(known, n_windows=len(windows.names)),
        data=KnownWindows(left, records),
    )


def _in_words(known: Sequence[_Known], *, n_windows: int) -> str:
    n_cached = sum(each.is_cached for each in known)
    n_brought = sum(each.record.reused_from is not None for each in known)
    told = f"{n_cached} of {n_windows} windows, {n_brought} of them made by other runs"
    n_skipped = len(known) - n_cached
    return f"{told}; {n_skipped} have nothing to learn from" if n_skipped else told


def _known_by_position(run: Run, stage: Stage, windows: PlannedWindows) -> dict[int, _Known]:
    places: dict[str, list[int]] = {}
    for place, symbol in enumerate(windows.symbols):
        places.setdefault(symbol, []).append(place)

    def take(symbol: str) -> list[_Known | None]:
        return _take_symbol(run, stage, symbol, [windows.names[place] for place in places[symbol]])

    with ThreadPoolExecutor(run.record.workers) as threads:
        taken = threads.map(take, places)
        pairs = [
            (place, known)
            for symbol, of_symbol in zip(places, taken, strict=True)
            for place, known in zip(places[symbol], of_symbol, strict=True)
        ]
    return {place: known for place, known in pairs if known is not None}


def _take_symbol(run: Run, stage: Stage, symbol: str, names: Sequence[str]) -> list[_Known | None]:
    taken: list[_Known | None] = []
    for name in names:
        # A student follows from those up to the one before last; what is on disk of one that must
        # be done again is not what it will be.
        waits = taken[:-1] if stage is Stage.STUDENT_TRAINING else []
        taken.append(None if None in waits else _take(run, stage, symbol, name))
    return taken


def _take(run: Run, stage: Stage, symbol: str, name: str) -> _Known | None:
    folder = _FOLDERS[stage](run.folder, run.window(symbol, name).window.label)
    try:
        key = _KEYS[stage](run, {"symbol": symbol, "window": name})
        brought = bring_unit(run.folder, key, [folder])
        if brought is not None:
            return _Known(brought, is_cached=True)
        skipped = _skipped(run, symbol, name) if stage is Stage.TEACHER_TRAINING else None
    except RecordError:
        # What it follows from cannot be read; the unit itself will say so, under its own name.
        return None
    if skipped is None:
        return None
    # It must not keep what an attempt with other rows or settings left.
    shutil.rmtree(folder, ignore_errors=True)
    remember(run.folder, key, skipped, {})
    return _Known(skipped, is_cached=False)


def _skipped(run: Run, symbol: str, name: str) -> UnitRecord | None:
    started = time.perf_counter()
    error = training.skip_of(run, symbol, name)
    if error is None:
        return None
    record = UnitRecord.from_error(
        error,
        kind="teacher",
        name=f"teacher {symbol} {name}",
        symbol=symbol,
        window=name,
        seconds=round(time.perf_counter() - started, 6),
    )
    return record.model_copy(update={"device": seen_here()})
