"""Which units of a stage wait for which, in the process of a run as in that of a share."""

from typing import Any

from prefect.futures import PrefectFuture

from sensequant.runs import Stage
from tasks.distillation import train_student
from tasks.plans import PlannedWindows
from tasks.runners import submit
from tasks.training import train_teacher

__all__ = ["submit_windows"]


def submit_windows(run_id: str, stage: Stage, windows: PlannedWindows) -> list[PrefectFuture[Any]]:
    """Submit the teachers or students of some windows, each symbol's in the order of time.

    A student waits for those before the last one of its symbol, which must be in the same process;
    teachers and symbols do not wait for each other.
    """
    if stage is Stage.TEACHER_TRAINING:
        return list(train_teacher.map(run_id, windows.symbols, windows.names))
    submitted: dict[str, list[PrefectFuture[Any]]] = {}
    for symbol, name in zip(windows.symbols, windows.names, strict=True):
        earlier = submitted.setdefault(symbol, [])
        # What the students up to the one before last decided is rewarded by now, and weights the
        # lessons of this one; who waits for two of them waits for all.
        earlier.append(submit(train_student, run_id, symbol, name, after=earlier[-3:-1]))
    return [future for futures in submitted.values() for future in futures]
