"""Facts about runners: how many units run side by side."""

import os
import threading
from typing import Any

from prefect.task_runners import ThreadPoolTaskRunner

from tasks.runners import default_workers, runner


def n_threads_of(asked: Any) -> int:
    """Return how many calls are under way at once before the next one has to wait."""
    with asked:
        pool = asked._executor
        is_over = threading.Event()
        for _ in range(2 * default_workers() + 8):
            pool.submit(is_over.wait)
        n_started = len(pool._threads)
        is_over.set()
    return n_started


def test_units_run_in_as_many_threads_as_asked() -> None:
    """A given number counts; otherwise the cores that this process may use."""
    assert isinstance(runner(), ThreadPoolTaskRunner)
    assert n_threads_of(runner(3)) == 3
    assert n_threads_of(runner()) == default_workers() == len(os.sched_getaffinity(0))
