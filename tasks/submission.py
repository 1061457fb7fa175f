"""Which units of a stage wait for which, in the process of a run as in that of a share."""

from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

from prefect.futures import PrefectFuture

from sensequant.runs import Stage
from tasks.distillation import train_student
from tasks.plans import PlannedWindows
from tasks.runners import in_turn, submit
from tasks.training import train_teacher

__all__ = ["submit_windows"]


def submit_windows(
    run_id: str, stage: Stage, windows: PlannedWindows
) -> Generator[PrefectFuture[Any]]:
    """Submit the teachers or students of some windows, each symbol's in the order of time.

    A student waits for those before the last one of its symbol, which must be in the same process;
    teachers and symbols do not wait for each other.
    """
    submissions = _teachers if stage is Stage.TEACHER_TRAINING else _students
    return in_turn(submissions(run_id, windows))


def _teachers(run_id: str, windows: PlannedWindows) -> Iterator[PrefectFuture[Any]]:
    for symbol, name in zip(windows.symbols, windows.names, strict=True):
        yield submit(train_teacher, run_id, symbol, name)


def _students(run_id: str, windows: PlannedWindows) -> Iterator[PrefectFuture[Any]]:
    latest: dict[str, deque[PrefectFuture[Any]]] = {}
    for symbol, name in zip(windows.symbols, windows.names, strict=True):
        earlier = latest.setdefault(symbol, deque(maxlen=3))
        # What the students up to the one before last decided is rewarded by now, and weights the
        # lessons of this one; who waits for two of them waits for all.
        future = submit(train_student, run_id, symbol, name, after=[*earlier][:-1])
        earlier.append(future)
        yield future
