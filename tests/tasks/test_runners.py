"""Facts about runners: how many units run side by side, and how many wait to."""

import os
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from prefect.task_runners import ThreadPoolTaskRunner

from tasks import runners
from tasks.runners import default_workers, in_turn, runner


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
    assert n_threads_of(runner(3, n_waiting=1)) == 4
    assert n_threads_of(runner(1, n_waiting=1)) == 1
    assert n_threads_of(runner()) == default_workers() == len(os.sched_getaffinity(0))


def test_units_are_handed_over_some_ahead_of_the_one_that_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All come, in order; never more than so many are under way, and the server hears between."""
    monkeypatch.setattr(runners, "_N_AHEAD", 4)
    monkeypatch.setattr(runners, "_N_UNTOLD", 3)
    told: list[int] = []
    handed: list[int] = []

    class Worker:
        def wait_until_empty(self) -> None:
            told.append(len(handed))

    monkeypatch.setattr(runners.EventsWorker, "instance", Worker)

    def submissions() -> Iterator[Any]:
        for number in range(10):
            handed.append(number)
            yield number

    n_under_way: list[int] = []
    for place, each in enumerate(in_turn(submissions())):
        assert cast("Any", each) == place
        n_under_way.append(len(handed) - place)

    assert n_under_way == [4, 4, 4, 4, 4, 4, 4, 3, 2, 1]
    assert told == [3, 6, 9]
