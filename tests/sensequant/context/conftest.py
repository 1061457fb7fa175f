"""Order books as few numbers, and the calendar, for the tests of context."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from sensequant.context.depth import DEPTH, SIDES

Book = tuple[Sequence[tuple[float, float]], Sequence[tuple[float, float]]]
"""Bids and asks, best first, each as price and quantity."""

OPEN = datetime(2024, 1, 1, 3, 45, tzinfo=UTC)
"""When NSE opened on Monday, 2024-01-01."""

SnapshotMaker = Callable[..., pl.DataFrame]


@pytest.fixture(scope="session")
def make_snapshots() -> SnapshotMaker:
    """Return a maker of rows of depth: (seconds after the open, books, symbol="AAA", delay_s=0)."""

    def make(
        seconds: Sequence[float],
        books: Sequence[Book],
        *,
        symbol: str = "AAA",
        delay_s: float = 0.0,
    ) -> pl.DataFrame:
        at = [OPEN + timedelta(seconds=each) for each in seconds]
        lists = {
            side: [[pair[number] for pair in book[which]] for book in books]
            for side, (which, number) in zip(SIDES, [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True)
        }
        return pl.DataFrame(
            {
                "symbol": [symbol] * len(at),
                "at": at,
                "known_at": [each + timedelta(seconds=delay_s) for each in at],
                "source": ["test"] * len(at),
                "is_simulated": [False] * len(at),
                **lists,
            },
            schema=DEPTH.schema,
        )

    return make
