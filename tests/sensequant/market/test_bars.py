"""Facts about the schema, the check and the digest of bars."""

import hashlib
import math
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import InvalidBarsError
from sensequant.market.bars import (
    BAR_SCHEMA,
    INTRADAY_SCHEMA,
    bar_key,
    bar_schema,
    bars_digest,
    validate_bars,
)


def bar(**changes: Any) -> dict[str, Any]:
    return {
        "symbol": "M&M",
        "session": date(2024, 1, 1),
        "open": 100.0,
        "high": 102.5,
        "low": 99.0,
        "close": 101.0,
        "volume": 1000,
        "previous_close": None,
        "average_price": None,
        "turnover_inr": None,
        "n_trades": None,
        "delivered_volume": None,
        "series": None,
        "source_symbol": "M&M",
        "source": "test",
        "is_simulated": False,
    } | changes


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=BAR_SCHEMA)


def test_a_good_frame_is_returned_as_it_is() -> None:
    """The check hands back the very frame, with optional values given or null."""
    bars = frame(bar(), bar(session=date(2024, 1, 2), n_trades=3, previous_close=101.0))

    assert validate_bars(bars) is bars


def test_an_empty_frame_is_valid() -> None:
    """No bars are valid bars."""
    assert validate_bars(BAR_SCHEMA.to_frame()).height == 0


@pytest.mark.parametrize(
    ("changes", "column", "value"),
    [
        ({"open": None}, "open", "None"),
        ({"volume": None}, "volume", "None"),
        ({"close": float("nan")}, "close", "nan"),
        ({"high": float("inf")}, "high", "inf"),
        ({"low": 0.0}, "low", "0.0"),
        ({"open": -1.0}, "open", "-1.0"),
        ({"high": 100.5}, "high", "100.5"),
        ({"low": 100.5}, "low", "100.5"),
        ({"volume": -1}, "volume", "-1"),
        ({"delivered_volume": -2}, "delivered_volume", "-2"),
        ({"turnover_inr": float("nan")}, "turnover_inr", "nan"),
        ({"previous_close": -0.5}, "previous_close", "-0.5"),
    ],
    ids=str,
)
def test_a_wrong_bar_is_named(changes: dict[str, Any], column: str, value: str) -> None:
    """The error names symbol, session, column and value of the first wrong bar."""
    bars = frame(bar(), bar(session=date(2024, 1, 2), **changes))

    with pytest.raises(InvalidBarsError) as error:
        validate_bars(bars)

    assert error.value.where == f"M&M 2024-01-02 {column}"
    assert error.value.found == value


@pytest.mark.parametrize(
    "rows",
    [
        [bar(session=date(2024, 1, 2)), bar()],
        [bar(), bar()],
        [bar(symbol="TCS"), bar(symbol="INFY", session=date(2024, 1, 2))],
    ],
    ids=["sessions descend", "session twice", "symbols descend"],
)
def test_order_is_part_of_validity(rows: list[dict[str, Any]]) -> None:
    """Bars that are unsorted or not unique are refused."""
    with pytest.raises(InvalidBarsError, match="not sorted or not unique"):
        validate_bars(frame(*rows))


def test_columns_are_named_when_they_differ() -> None:
    """Missing, extra and mistyped columns are all told."""
    bars = frame(bar()).drop("series").with_columns(pl.col("volume").cast(pl.Float64), extra=1)

    with pytest.raises(InvalidBarsError) as error:
        validate_bars(bars)

    assert "missing ['series']" in error.value.found
    assert "extra ['extra']" in error.value.found
    assert "volume is Float64, not Int64" in error.value.found


def test_columns_in_another_order_are_refused() -> None:
    """The order of columns is part of the schema."""
    with pytest.raises(InvalidBarsError, match="another order"):
        validate_bars(frame(bar()).select(reversed(BAR_SCHEMA.names())))


@given(order=st.permutations(range(5)))
def test_the_digest_ignores_the_order_of_rows(order: list[int]) -> None:
    """Shuffled rows have one digest."""
    bars = frame(*(bar(session=date(2024, 1, day), volume=day) for day in range(1, 6)))

    assert bars_digest(bars) == bars_digest(bars[order])


CHANGED = {
    "symbol": "X",
    "session": date(2024, 1, 3),
    "open": 100.05,
    "high": 103.0,
    "low": 98.0,
    "close": 101.05,
    "volume": 1001,
    "previous_close": 0.0,
    "average_price": 0.0,
    "turnover_inr": 1.5,
    "n_trades": 0,
    "delivered_volume": 0,
    "series": "",
    "source_symbol": "X",
    "source": "other",
    "is_simulated": True,
}


@pytest.mark.parametrize("column", BAR_SCHEMA.names())
def test_the_digest_changes_with_every_value(column: str) -> None:
    """A change of any column changes the digest; null differs from 0 and from empty text."""
    assert bars_digest(frame(bar())) != bars_digest(frame(bar(**{column: CHANGED[column]})))


def test_the_digest_tells_texts_apart_that_only_join_alike() -> None:
    """The lengths of texts count, so ("ab", "c") and ("a", "bc") differ."""
    one = frame(bar(series="ab"), bar(session=date(2024, 1, 2), series="c"))
    other = frame(bar(series="a"), bar(session=date(2024, 1, 2), series="bc"))

    assert bars_digest(one) != bars_digest(other)


def test_the_digest_ignores_other_columns_and_the_sign_of_zero() -> None:
    """When a bar was fetched does not count, nor that IEEE 754 has two zeros."""
    bars = frame(bar(turnover_inr=0.0))

    assert bars_digest(bars) == bars_digest(bars.with_columns(fetched_at=pl.lit(1)))
    assert bars_digest(bars) == bars_digest(frame(bar(turnover_inr=-0.0)))


def test_the_digest_is_pinned() -> None:
    """The digest of no bars is that of its documented bytes, on every machine."""
    expected = hashlib.sha256(b"0")
    for name, dtype in BAR_SCHEMA.items():
        expected.update(f"\0{name}:{dtype}\0".encode())

    assert bars_digest(BAR_SCHEMA.to_frame()) == expected.hexdigest()


def part(minute: int, **changes: Any) -> dict[str, Any]:
    starts_at = datetime(2024, 1, 1, 3, minute, tzinfo=UTC)
    return bar(starts_at=starts_at, **changes)


def parts(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=INTRADAY_SCHEMA)


def test_parts_of_a_session_are_told_apart_by_their_start() -> None:
    """Two bars of one session are valid where they begin at two instants."""
    bars = parts(part(45), part(50))

    assert validate_bars(bars, "5minute") is bars
    assert bar_key("5minute") == ("symbol", "starts_at")
    assert bar_schema("1minute") is INTRADAY_SCHEMA
    assert bar_schema("1day") is BAR_SCHEMA


def test_the_same_instant_twice_is_refused() -> None:
    """One bar per symbol and instant."""
    with pytest.raises(InvalidBarsError, match="not sorted or not unique"):
        validate_bars(parts(part(45), part(45)), "5minute")


def test_a_session_is_the_date_in_india() -> None:
    """19:00 UTC is already the next date in India."""
    late = datetime(2024, 1, 1, 19, 0, tzinfo=UTC)
    with pytest.raises(InvalidBarsError, match="wrong session"):
        validate_bars(parts(part(45) | {"starts_at": late}), "5minute")
    fine = parts(part(45) | {"starts_at": late, "session": date(2024, 1, 2)})
    assert validate_bars(fine, "5minute") is fine


def test_daily_bars_are_no_intraday_bars() -> None:
    """The schema goes by the interval."""
    with pytest.raises(InvalidBarsError, match="columns of bars"):
        validate_bars(frame(bar()), "1minute")


def test_the_start_of_a_bar_is_in_its_digest() -> None:
    """Equal prices five minutes later are other bars."""
    assert bars_digest(parts(part(45)), "5minute") != bars_digest(parts(part(50)), "5minute")


PRICE = st.sampled_from([None, -1.0, 0.0, 98.0, 100.0, 103.0, float("nan"), float("inf")])


@given(
    prices=st.fixed_dictionaries(dict.fromkeys(("open", "high", "low", "close"), PRICE)),
    volume=st.sampled_from([None, -1, 0, 7]),
    turnover=PRICE,
    day=st.integers(1, 3),
)
def test_a_frame_is_refused_exactly_where_a_rule_is_broken(
    prices: dict[str, float | None], volume: int | None, turnover: float | None, day: int
) -> None:
    """Told by plain Python, value by value."""
    bars = frame(
        bar(session=date(2024, 1, 2)),
        bar(session=date(2024, 1, day), **prices, volume=volume, turnover_inr=turnover),
    )
    numbers = [value for value in prices.values() if value is not None and math.isfinite(value)]
    has_prices = len(numbers) == 4 and min(numbers) > 0
    is_fine = (
        has_prices
        and (prices["low"], prices["high"]) == (min(numbers), max(numbers))
        and volume is not None
        and volume >= 0
        and (turnover is None or (math.isfinite(turnover) and turnover >= 0))
        and day > 2
    )

    try:
        validate_bars(bars)
    except InvalidBarsError:
        assert not is_fine
    else:
        assert is_fine
