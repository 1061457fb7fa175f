"""What a flow needs to know of a run before it maps tasks: symbols, windows, scenarios, limits.

Belongs here: reading the plan of an existing run. Does not belong here: making it.
"""

from collections.abc import Iterable
from typing import NamedTuple

from sensequant.runs import Stage
from sensequant.stages import crises, distillation, training
from sensequant.stages.context import load_run
from sensequant.windows import Window
from tasks.units import run_folder

__all__ = [
    "PlannedWindows",
    "failure_limit",
    "places_in_time",
    "planned_methods",
    "planned_scenarios",
    "planned_stages",
    "planned_students",
    "planned_teachers",
    "windows_at",
]


class PlannedWindows(NamedTuple):
    """Parallel lists, one entry per window, ready to be mapped over."""

    symbols: list[str]
    names: list[str]


def planned_stages(run_id: str) -> tuple[Stage, ...]:
    """Return the stages that the run was asked to execute, in order."""
    return load_run(run_folder(run_id)).stages


def planned_teachers(run_id: str) -> PlannedWindows:
    """Return every window that is to have a teacher, those that will be skipped included."""
    return _parallel(training.planned_teachers(load_run(run_folder(run_id))))


def planned_students(run_id: str) -> PlannedWindows:
    """Return every window that is to have a student, in the order of time."""
    return _parallel(distillation.planned_students(load_run(run_folder(run_id))))


def places_in_time(run_id: str, symbol: str) -> dict[str, int]:
    """Return the place of each window of a symbol in the order of time, by its name."""
    windows = load_run(run_folder(run_id)).windows_of(symbol)
    return {window.short: place for place, window in enumerate(windows)}


def planned_scenarios(run_id: str) -> list[str]:
    """Return the names of the crises that the run's settings select."""
    return [scenario.name for scenario in load_run(run_folder(run_id)).scenarios]


def planned_methods(run_id: str) -> list[str]:
    """Return the names of the crises in which the method is replayed as of then."""
    return crises.planned_methods(load_run(run_folder(run_id)))


def failure_limit(run_id: str) -> float:
    """Return the share of tried units that may fail before a stage does."""
    return load_run(run_folder(run_id)).config.max_failure_rate


def windows_at(positions: Iterable[int], windows: PlannedWindows) -> PlannedWindows:
    """Return some of the windows, by position."""
    kept = list(positions)
    return PlannedWindows(
        [windows.symbols[position] for position in kept],
        [windows.names[position] for position in kept],
    )


def _parallel(windows: list[Window]) -> PlannedWindows:
    return PlannedWindows([w.symbol for w in windows], [w.short for w in windows])
