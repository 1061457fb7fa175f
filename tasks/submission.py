"""Which units of a stage wait for which, in the process of a run as in that of a share."""

from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

from prefect.futures import PrefectFuture

from sensequant.runs import Stage
from tasks.distillation import train_student
from tasks.plans import PlannedWindows, places_in_time
from tasks.runners import in_turn, submit
from tasks.training import train_teacher

__all__ = ["submit_windows"]


class _Placed(NamedTuple):
    place: int
    future: PrefectFuture[Any]


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
    places = {symbol: places_in_time(run_id, symbol) for symbol in dict.fromkeys(windows.symbols)}
    submitted: dict[str, deque[_Placed]] = {}
    for symbol, name in zip(windows.symbols, windows.names, strict=True):
        place = places[symbol][name]
        earlier = submitted.setdefault(symbol, deque(maxlen=3))
        # What the students up to the one before last decided is rewarded by now, and weights the
        # lessons of this one; who waits for two of them waits for all. The one before may be taken
        # from an earlier attempt and so not be here.
        before = [each.future for each in earlier if each.place < place - 1][-2:]
        future = submit(train_student, run_id, symbol, name, after=before)
        earlier.append(_Placed(place, future))
        yield future
