"""Ticks become books: each at its own instant, known when it came, refused with a reason."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from sensequant.capture.books import Judged, books_of, refused_ticks
from sensequant.capture.parts import TICK_SCHEMA
from sensequant.market.sessions import nse_calendar

NOON = datetime(2024, 1, 1, 6, 30, tzinfo=UTC)
BOOK: tuple[list[float | None], ...] = ([99.0, 98.0], [5.0, 6.0], [101.0, 0.0], [7.0, 0.0])


def ticks_of(rows: Sequence[tuple[float, float, Any]]) -> pl.DataFrame:
    """Return ticks: vendor's second, when it came, the four lists."""
    return pl.DataFrame(
        [
            ("AAA", "4.2!1", NOON + timedelta(seconds=stamp), NOON + timedelta(seconds=came), *book)
            for stamp, came, book in rows
        ],
        schema=TICK_SCHEMA,
        orient="row",
    )


def judged(rows: Sequence[tuple[float, float, Any]]) -> Judged:
    return books_of(
        ticks_of(rows),
        calendar=nse_calendar(),
        source="test",
        is_simulated=False,
        judged_at=NOON + timedelta(days=1),
    )


def seconds(column: pl.Series) -> list[float]:
    return [(each - NOON).total_seconds() for each in column]


def test_a_book_happened_within_its_second() -> None:
    """When it came, if that was then; else at the end of its second, or at its beginning."""
    rows = judged([(0, 0.25, BOOK), (1, 3.5, BOOK), (5, 4.9, BOOK)]).rows

    assert seconds(rows["at"]) == [0.25, 1.999999, 5.0]
    # This machine's clock may lag; nothing is known before it happened.
    assert seconds(rows["known_at"]) == [0.25, 3.5, 5.0]
    assert rows["ask_price"].to_list() == [[101.0]] * 3


def test_books_of_one_instant_follow_each_other() -> None:
    """Three that came too late for their second keep their order, a microsecond apart."""
    others = [([98.0 + n], [1.0], [101.0], [1.0]) for n in range(3)]

    rows = judged([(0, 2.0 + n / 10, book) for n, book in enumerate(others)]).rows

    assert seconds(rows["at"]) == [0.999999, 1.0, 1.000001]
    assert [each[0] for each in rows["bid_price"]] == [98.0, 99.0, 100.0]


def test_a_feed_that_repeats_itself_is_frozen_after_five_minutes() -> None:
    """The refused ticks of a minute are one row that says how many they were."""
    found = judged([(n, n + 0.1, BOOK) for n in range(0, 420, 2)])

    assert found.rows.height == 151
    assert found.n_refused == {"frozen_feed": 59}
    details = found.refused["detail"].to_list()
    assert [each.partition("; ")[2] for each in details] == [
        "29 ticks in this minute",
        "30 ticks in this minute",
    ]


def test_numbers_that_cannot_be_read_and_other_hours() -> None:
    """Each has its reason; what is at the close is outside."""
    broken = ([None, 98.0], *BOOK[1:])
    found = judged([(0, 0.5, broken), (12_600, 12_600.5, BOOK)])

    assert found.rows.is_empty()
    assert found.n_refused == {"unreadable_number": 1, "outside_hours": 1}


def test_ticks_of_nobody() -> None:
    """A room that nobody subscribed to, and what could not be read at all."""
    empty = (None,) * 4
    ticks = pl.DataFrame(
        [(None, "4.2!9", NOON, NOON, *BOOK), (None, None, None, NOON, *empty)],
        schema=TICK_SCHEMA,
        orient="row",
    )

    found = refused_ticks(ticks, source="test", judged_at=NOON)

    assert found.n_refused == {"wrong_token": 1, "unreadable_tick": 1}
    assert "4.2!9; 1 ticks" in found.refused["detail"][0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(-2_000, 9_000)), max_size=40))
def test_no_book_is_lost_moved_far_or_known_too_early(drawn: list[tuple[int, int]]) -> None:
    """Whatever the delays: all are there, apart, within their second but for microseconds."""
    rows = sorted(((s, s + ms / 1_000) for s, ms in drawn), key=lambda pair: pair[1])
    books = [([90.0 + n / 10], [1.0], [101.0], [1.0]) for n in range(len(rows))]

    found = judged([(s, came, book) for (s, came), book in zip(rows, books, strict=True)]).rows

    assert found.height == len(rows)
    assert found["at"].is_unique().all()
    assert (found["known_at"] >= found["at"]).all()
    by_price = {row["bid_price"][0]: row for row in found.iter_rows(named=True)}
    for (stamp, came), book in zip(rows, books, strict=True):
        row = by_price[book[0][0]]
        second = NOON + timedelta(seconds=stamp)
        assert second <= row["at"] < second + timedelta(seconds=1, milliseconds=1)
        assert row["known_at"] >= NOON + timedelta(seconds=came) - timedelta(milliseconds=1)
