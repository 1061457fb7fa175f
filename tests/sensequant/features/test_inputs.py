"""Which bars are refused before anything is computed from them."""

from collections.abc import Callable

import polars as pl
import pytest

from sensequant.errors import InvalidBarsError
from sensequant.features.inputs import PRICE_COLUMNS, require_adjusted_bars

BarsMaker = Callable[..., pl.DataFrame]

COLUMNS = (*PRICE_COLUMNS, "volume")


def test_good_bars_pass(make_bars: BarsMaker) -> None:
    """Sorted bars of several symbols, and no bars at all, pass."""
    bars = make_bars(10, symbols=("AAA", "BBB"))

    require_adjusted_bars(bars, COLUMNS)
    require_adjusted_bars(bars[:0], COLUMNS)


@pytest.mark.parametrize(
    "value",
    [None, float("nan"), float("inf"), 0.0, -1.0],
    ids=["missing", "nan", "infinite", "zero", "negative"],
)
@pytest.mark.parametrize("column", PRICE_COLUMNS)
def test_an_impossible_price_is_refused(
    column: str, value: float | None, make_bars: BarsMaker
) -> None:
    """A price is finite and above zero; the message names the row."""
    bars = make_bars(3).with_columns(
        pl.when(pl.int_range(pl.len()) == 1).then(value).otherwise(pl.col(column)).alias(column)
    )

    with pytest.raises(InvalidBarsError, match="AAA 2020-01-02"):
        require_adjusted_bars(bars, COLUMNS)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), -1.0])
def test_an_impossible_volume_is_refused(value: float | None, make_bars: BarsMaker) -> None:
    """A volume is finite and not negative; zero is a volume."""
    bars = make_bars(3)
    require_adjusted_bars(bars.with_columns(volume=pl.lit(0.0)), COLUMNS)

    with pytest.raises(InvalidBarsError, match="impossible numbers"):
        require_adjusted_bars(bars.with_columns(volume=pl.lit(value, pl.Float64)), COLUMNS)


def test_an_absent_or_mistyped_column_is_named(make_bars: BarsMaker) -> None:
    """The message names each column that is not as promised."""
    bars = make_bars(3).drop("close").with_columns(pl.col("volume").cast(pl.Int64))

    with pytest.raises(InvalidBarsError, match="close None, volume Int64"):
        require_adjusted_bars(bars, COLUMNS)


def test_a_repeated_or_misplaced_row_is_refused(make_bars: BarsMaker) -> None:
    """Rows ascend strictly by symbol and session."""
    bars = make_bars(3, symbols=("AAA", "BBB"))

    for wrong in (bars[[0, 0, 1]], bars[[1, 0]], bars[3:].vstack(bars[:3])):
        with pytest.raises(InvalidBarsError, match="not sorted and unique"):
            require_adjusted_bars(wrong, COLUMNS)


def test_columns_that_are_not_read_are_not_judged(make_bars: BarsMaker) -> None:
    """Only the columns that the caller names are required."""
    bars = make_bars(3).with_columns(volume=pl.lit(-1.0))

    require_adjusted_bars(bars, ("open", "close"))
