"""What was known at a decision: never the future, never the stale, never an older row come late."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensequant.context.asof import join_known
from sensequant.context.rows import INSTANT
from sensequant.errors import ConfigError

START = datetime(2024, 1, 1, tzinfo=UTC)
MAX_AGE = timedelta(minutes=10)

Event = tuple[str, int, int, float]
"""Symbol, minute at which it happened, minutes until it was known, value."""

events = st.tuples(
    st.sampled_from(["AAA", "BBB"]),
    st.integers(0, 60),
    st.integers(0, 30),
    st.integers(0, 9).map(float),
)


def minute(number: int) -> datetime:
    return START + timedelta(minutes=number)


def rows_of(given: list[Event]) -> pl.DataFrame:
    # Of events of one symbol and moment that became known together one is left.
    unique = {(symbol, at, delay): value for symbol, at, delay, value in given}
    return pl.DataFrame(
        [
            (symbol, minute(at), minute(at + delay), "test", value)
            for (symbol, at, delay), value in unique.items()
        ],
        schema={
            "symbol": pl.String,
            "at": INSTANT,
            "known_at": INSTANT,
            "source": pl.String,
            "value": pl.Float64,
        },
        orient="row",
    )


def decisions_at(minutes: list[int]) -> pl.DataFrame:
    return pl.DataFrame(
        [(symbol, minute(each)) for each in minutes for symbol in ("AAA", "BBB")],
        schema={"symbol": pl.String, "decided_at": INSTANT},
        orient="row",
    )


def joined(decisions: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    return join_known(decisions, rows, columns=["value"], max_age=MAX_AGE)


def test_a_dozen_decisions_by_hand() -> None:
    """A late row, a correction, a stale row, and a row that was overtaken before it arrived."""
    rows = rows_of(
        [
            ("AAA", 0, 0, 1.0),
            ("AAA", 2, 6, 2.0),  # known at 8, when that of minute 5 has been known for a while
            ("AAA", 5, 0, 3.0),
            ("AAA", 5, 4, 4.0),  # corrects minute 5 at minute 9
            ("BBB", 4, 2, 5.0),
        ]
    )

    found = joined(decisions_at([0, 4, 5, 8, 9, 15, 16]), rows)

    by_symbol = {
        symbol: found.filter(pl.col("symbol") == symbol)["value"].to_list()
        for symbol in ("AAA", "BBB")
    }
    assert by_symbol["AAA"] == [1.0, 1.0, 3.0, 3.0, 4.0, 4.0, None]
    assert by_symbol["BBB"] == [None, None, None, 5.0, 5.0, None, None]


def by_loop(decision: dict[str, Any], rows: list[dict[str, Any]]) -> float | None:
    known = [
        row
        for row in rows
        if row["symbol"] == decision["symbol"] and row["known_at"] <= decision["decided_at"]
    ]
    if not known:
        return None
    last = max(known, key=lambda row: (row["at"], row["known_at"]))
    return last["value"] if decision["decided_at"] - last["at"] <= MAX_AGE else None


@settings(max_examples=60)
@given(st.lists(events, max_size=12), st.lists(st.integers(0, 90), min_size=1, max_size=6))
def test_a_loop_over_all_rows_agrees(given: list[Event], minutes: list[int]) -> None:
    """The join is what a loop over all rows and decisions finds."""
    rows, decisions = rows_of(given), decisions_at(minutes)

    expected = [by_loop(each, rows.to_dicts()) for each in decisions.to_dicts()]

    assert joined(decisions, rows)["value"].to_list() == expected


@settings(max_examples=60)
@given(
    st.lists(events, max_size=10),
    st.lists(events, min_size=1, max_size=6),
    st.integers(0, 60),
    st.lists(st.integers(0, 60), min_size=1, max_size=6),
)
def test_nothing_known_later_changes_a_decision(
    given: list[Event], later: list[Event], now: int, minutes: list[int]
) -> None:
    """Whatever becomes known after a moment, and whenever it happened, decisions up to it stay."""
    earlier = rows_of(given).filter(pl.col("known_at") <= minute(now))
    added = rows_of(later).with_columns(
        known_at=pl.max_horizontal("known_at", pl.lit(minute(now + 1), INSTANT))
    )
    decisions = decisions_at([each for each in minutes if each <= now] or [now])

    before = joined(decisions, earlier)

    assert before.equals(joined(decisions, pl.concat([earlier, added.unique(["symbol", "at"])])))


@settings(max_examples=30)
@given(st.lists(events, max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_rows_decides_nothing(given: list[Event], random: Any) -> None:
    """Rows may stand in any order."""
    rows, decisions = rows_of(given), decisions_at([0, 10, 20, 40])
    places = list(range(rows.height))
    random.shuffle(places)

    assert joined(decisions, rows).equals(joined(decisions, rows[places]))


def test_an_age_of_nothing_is_refused() -> None:
    """A value that is stale at once would always be missing."""
    with pytest.raises(ConfigError, match="above 0"):
        join_known(decisions_at([0]), rows_of([]), columns=["value"], max_age=timedelta(0))
