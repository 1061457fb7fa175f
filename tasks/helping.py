"""Whether helper processes train the windows of a stage, or the threads of its tasks do.

Belongs here: the choice, and starting and ending them around a stage. Does not belong here: the
processes themselves (`sensequant.stages.helpers`), clusters (`tasks.clusters`), GPU pools
(`tasks.shards`).

A stage has more threads than a run has workers (`N_WAITING`). A task is not over when its window
is: its state goes to the server, and the next task begins. Another one waits meanwhile, so that
whoever trains has its next window at once.

Helpers take more than half a second to load what they need. In a stage that is done for the first
time they begin before it is known which windows are left, beside the features and the keys.
"""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from threading import BoundedSemaphore
from typing import Literal

from sensequant.booster_device import resolve_device
from sensequant.runs import Stage
from sensequant.stages.context import Run, load_run
from sensequant.stages.helpers import Helpers, Order
from sensequant.units import UnitRecord
from tasks.plans import PlannedWindows
from tasks.units import run_folder

__all__ = ["N_WAITING", "Threads", "helping", "trained"]

N_WAITING = 1
"""Tasks of a stage that wait until a window can be trained, beside those that are under way."""

_LEAST_WINDOWS_OF_A_HELPER = 12
"""A helper takes as long to begin as this many windows of one symbol take to be trained."""


class Threads:
    """The threads of the tasks themselves, some of them at a time.

    Parameters
    ----------
    n_at_once
        Windows that are trained side by side, at least 1.
    """

    def __init__(self, n_at_once: int) -> None:
        self._turns = BoundedSemaphore(n_at_once)

    def do(self, order: Order) -> UnitRecord:
        """Train in this thread as soon as one of the others leaves room.

        Raises
        ------
        Exception
            What the training raised.
        """
        with self._turns:
            return order.obey()

    def close(self) -> None:
        """Do nothing: whoever made the threads ends them."""


_trainers: dict[str, Helpers | Threads] = {}


@contextmanager
def helping(
    run_id: str, stage: Stage, planned: PlannedWindows
) -> Generator[Callable[[PlannedWindows], None]]:
    """Train as many windows at once as the run has workers, in processes where that is worth it.

    Parameters
    ----------
    run_id, stage
        Whose windows.
    planned
        All of them, whether or not they are done.

    Yields
    ------
    Callable
        To be told the windows that are left, before the first of them is handed over.
    """
    run = load_run(run_folder(run_id))
    with ExitStack() as stack:

        def begin(made: Helpers | Threads) -> None:
            _trainers[run_id] = made
            stack.callback(made.close)
            stack.callback(_trainers.pop, run_id)

        def settle(left: PlannedWindows) -> None:
            if run_id not in _trainers:
                made = Helpers if _is_worth_it(run, left) else Threads
                begin(made(run.record.workers))

        if _is_done_first(run, stage) and _is_worth_it(run, planned):
            begin(Helpers(run.record.workers))
        yield settle


def trained(kind: Literal["teacher", "student"], run: Run, symbol: str, window: str) -> UnitRecord:
    """Train one window when its turn has come, in a helper where there are any, else here.

    On the worker of a cluster and in a GPU pool it is its turn at once.

    Raises
    ------
    Exception
        What the training raised.
    """
    folder = run.folder
    order = Order(kind=kind, home=folder.home, run_id=folder.run_id, symbol=symbol, window=window)
    trainer = _trainers.get(folder.run_id)
    return order.obey() if trainer is None else trainer.do(order)


def _is_done_first(run: Run, stage: Stage) -> bool:
    # What pools of GPUs do is not left.
    return not run.folder.stage_record(stage).exists() and not run.record.options.gpu_pools


def _is_worth_it(run: Run, windows: PlannedWindows) -> bool:
    workers = run.record.workers
    # One GPU serves one process best; the workers of a cluster have interpreters of their own.
    return (
        workers > 1
        and len(windows.names) >= workers * _LEAST_WINDOWS_OF_A_HELPER
        and run.record.options.runner is None
        and resolve_device(run.config.teacher.booster) == "cpu"
    )
