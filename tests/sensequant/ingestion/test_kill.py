"""What a backfill is worth whose process is killed, again and again."""

import dataclasses
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from datetime import date, datetime
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.ingestion.backfill import run_backfill
from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.ledger import Ledger
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.market.finality import FinalityConfig
from sensequant.market.quality import QUARANTINE_SCHEMA
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import BarSource, Chunk, Fetched
from sensequant.market.store import BarStore

N_KILLS = 5
REQUEST = BackfillRequest(
    start=date(2024, 4, 1), end=date(2024, 5, 31), intervals=("1day", "5minute", "30minute")
)


@dataclasses.dataclass
class Standstill:
    """A clock that stands still in every process."""

    now: datetime

    def __call__(self) -> datetime:
        """Return the instant."""
        return self.now


def refusing_the_first(chunk: Chunk, fetched: Fetched) -> Fetched:
    """Refuse the first session of every chunk, so that there is a quarantine to keep."""
    row = {"symbol": chunk.symbol, "session": chunk.start, "row_number": 1, "reason": "off_grid"}
    return dataclasses.replace(
        fetched,
        bars=fetched.bars.filter(pl.col("session") > chunk.start),
        quarantine=pl.DataFrame([row], schema=QUARANTINE_SCHEMA),
    )


def a_context(home: Path, source: BarSource, now: datetime) -> IngestContext:
    return IngestContext(
        source=source,
        store=BarStore(home / "vendor"),
        ledger=Ledger.open(home / "ledger.db"),
        store_key="vendor",
        claims=home / "claims",
        calendar=nse_calendar(),
        clock=Standstill(now),
        finality=FinalityConfig(),
    )


def backfill(home: Path, source: BarSource, now: datetime, has_begun: Event | None = None) -> None:
    context = a_context(home, source, now)
    if has_begun is not None:
        has_begun.set()
    run_backfill(REQUEST, BackfillOptions(workers=2), context, universes=home)
    context.ledger.close()


def content_of(home: Path) -> dict[str, bytes]:
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in sorted(home.rglob("*.parquet"))
    }


@pytest.mark.slow
def test_a_killed_backfill_ends_with_the_bytes_of_one_that_was_not(
    vendor: Any, clock: Callable[[], datetime], tmp_path: Path
) -> None:
    """Killed at random moments and started again, it loses, invents and repeats nothing."""
    vendor.bend = refusing_the_first
    whole, harmed = tmp_path / "whole", tmp_path / "harmed"
    started = time.perf_counter()
    backfill(whole, vendor, clock())
    seconds = time.perf_counter() - started
    spawn = multiprocessing.get_context("spawn")
    moments = random.Random(20240628)  # noqa: S311 - moments of death, no secret
    for _ in range(N_KILLS):
        has_begun = spawn.Event()
        child = spawn.Process(target=backfill, args=(harmed, vendor, clock(), has_begun))
        child.start()
        assert has_begun.wait(120)
        time.sleep(moments.uniform(0.0, seconds / 2))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join(60)
    # The kernel has freed what the dead had claimed.
    backfill(harmed, vendor, clock())
    left, right = content_of(whole), content_of(harmed)
    entries = a_context(harmed, vendor, clock()).ledger.entries("vendor")
    stored = [(entry.symbol, entry.interval, entry.start) for entry in entries]

    assert list(left) == list(right)
    assert left == right
    assert len(stored) == len(set(stored))
