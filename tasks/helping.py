"""Whether helper processes train the windows of a stage, or the threads of its tasks do.

Belongs here: the choice, and starting and ending them around a stage. Does not belong here: the
processes themselves (`sensequant.stages.helpers`), clusters (`tasks.clusters`), GPU pools
(`tasks.shards`).
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from sensequant.booster_device import resolve_device
from sensequant.stages.context import Run, load_run
from sensequant.stages.helpers import Helpers, Order
from sensequant.units import UnitRecord
from tasks.plans import PlannedWindows
from tasks.units import run_folder

__all__ = ["helping", "trained"]

_LEAST_WINDOWS_OF_A_HELPER = 12
"""A helper takes as long to begin as this many windows of one symbol take to be trained."""

_helpers: dict[str, Helpers] = {}


@contextmanager
def helping(run_id: str, windows: PlannedWindows) -> Generator[None]:
    """Let as many processes as the run has workers train meanwhile, where that is worth it."""
    run = load_run(run_folder(run_id))
    if not _is_worth_it(run, windows):
        yield
        return
    _helpers[run_id] = Helpers(run.record.workers)
    try:
        yield
    finally:
        _helpers.pop(run_id).close()


def trained(kind: Literal["teacher", "student"], run: Run, symbol: str, window: str) -> UnitRecord:
    """Train one window, in a helper where there are any, else here.

    Raises
    ------
    Exception
        What the training raised.
    """
    folder = run.folder
    order = Order(kind=kind, home=folder.home, run_id=folder.run_id, symbol=symbol, window=window)
    helpers = _helpers.get(folder.run_id)
    return order.obey() if helpers is None else helpers.do(order)


def _is_worth_it(run: Run, windows: PlannedWindows) -> bool:
    workers = run.record.workers
    # One GPU serves one process best; the workers of a cluster have interpreters of their own.
    return (
        workers > 1
        and len(windows.names) >= workers * _LEAST_WINDOWS_OF_A_HELPER
        and run.record.options.runner is None
        and resolve_device(run.config.teacher.booster) == "cpu"
    )
