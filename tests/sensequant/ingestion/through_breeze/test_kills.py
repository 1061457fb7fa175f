"""A backfill from the vendor whose process is killed at random moments, until it is done."""

import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from sensequant.breeze_simulator import Fault
from sensequant.ingestion.backfill import run_backfill
from sensequant.ingestion.opening import Intakes, Outside
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.pacing import Pacer, UnlimitedPacer

N_KILLS = 50
N_WORKERS = 2
SHARE_OF_A_RUN = 0.7
"""Longest time until a kill at first, as a share of the time of an undisturbed run."""

GIVE_UP_SECONDS = 600.0

PATIENCE = 1.25
"""Growth of that time after a kill before anything was recorded: the machine is slower now."""


def backfill(home: Path, request: BackfillRequest, now: datetime, has_begun: Event) -> None:
    """Backfill as a process of its own, on a clock that stands still."""

    def no_login(_block: str | None) -> BreezeLogin:
        raise AssertionError

    def unlimited(_key_digest: str, _config: BreezeConfig) -> Pacer:
        return UnlimitedPacer()

    timing = Timing(lambda: now, time.sleep, lambda: 0.5)
    has_begun.set()
    with contextlib.closing(Intakes(Outside(home, timing, no_login, unlimited))) as intakes:
        report = run_backfill(
            request,
            BackfillOptions(workers=N_WORKERS),
            intakes.of(request.source),
            universes=home,
        )
        # Who was killed at the very end has left nothing to do.
        assert report.outcome in ("completed", "nothing_to_do"), report


class Killer:
    """Processes that are made of one that has imported everything, so each begins at once."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.n_kills = 0
        self._context = multiprocessing.get_context("forkserver")
        # Nothing of it starts a thread, which would not survive the fork.
        self._context.set_forkserver_preload(["sensequant.ingestion.opening", __name__])

    def run(self, world: Any, *, until: float | None = None) -> tuple[bool, float]:
        """Run a backfill, and kill it some seconds after its begin; say whether it got done."""
        has_begun = self._context.Event()
        arguments = (world.home, world.request, self.now, has_begun)
        child = self._context.Process(target=backfill, args=arguments)
        child.start()
        assert has_begun.wait(120)
        began = time.perf_counter()
        child.join(until)
        if child.exitcode is None and child.pid is not None:
            self.n_kills += 1
            os.kill(child.pid, signal.SIGKILL)
        child.join(60)
        assert child.exitcode in (0, -signal.SIGKILL)
        return child.exitcode == 0, time.perf_counter() - began


def content_of(world: Any) -> dict[str, bytes]:
    return {
        path.relative_to(world.root).as_posix(): path.read_bytes()
        for path in sorted(world.root.rglob("*.parquet"))
    }


def rests_of(world: Any) -> list[Path]:
    """Return temporary files of bars; those that died have left some, if not the last of them."""
    return [path for path in (world.root / "bars").rglob(".*.parquet.*") if path.suffix != ".lock"]


def a_world(make_world: Callable[[Path], Any], home: Path) -> Any:
    world = make_world(home)
    world.symbols = ("SIM01", "SIM02")
    world.look_at("hole", n_sessions=10)
    # Some rows are refused, and some come twice.
    for name in ("zero_open", "duplicate_rows", "conflicting_rows"):
        world.simulator.faults.add(Fault(name=name, rate=0.02))
    world.announce()
    return world


@pytest.mark.slow
def test_a_backfill_that_is_killed_ends_with_the_same_bytes(
    make_world: Callable[[Path], Any], tmp_path: Path
) -> None:
    """Killed 50 times, it loses, invents and repeats nothing, and no call goes uncounted."""
    whole = a_world(make_world, tmp_path / "whole")
    killer = Killer(whole.clock())
    is_done, seconds = killer.run(whole)
    expected = content_of(whole)
    books = whole.account()
    moments = random.Random(20240628)  # noqa: S311 - moments of death, no secret
    n_series = 0

    assert is_done
    assert len(expected) > 10
    assert set(books.missing) == {"zero_or_negative_price", "conflicting_duplicate"}
    while killer.n_kills < N_KILLS:
        n_series += 1
        world = a_world(make_world, tmp_path / f"killed{n_series}")
        n_before = killer.n_kills
        longest = SHARE_OF_A_RUN * seconds
        n_recorded = 0
        while not killer.run(world, until=moments.uniform(0.0, longest))[0]:
            assert longest < GIVE_UP_SECONDS
            if len(world.entries()) == n_recorded:
                longest *= PATIENCE
            n_recorded = len(world.entries())
        account = world.account()
        entries = world.entries()
        n_written = Counter((one.symbol, one.interval, one.start) for one in entries)

        assert content_of(world) == expected
        assert rests_of(world) == []
        assert account.missing == books.missing
        assert not account.has_wrong_bars
        # What was recorded was done, so nothing of it was done again.
        assert set(n_written.values()) == {1}
        assert len(entries) == len(whole.entries())
        # A call is counted before it is made, so death can lose none.
        n_died = killer.n_kills - n_before
        n_uncertain = account.n_calls_counted - world.n_calls()
        assert 0 <= n_uncertain <= N_WORKERS * n_died
    assert n_series > 1
