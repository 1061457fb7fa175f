"""Smoothing and safe division, by hand."""

import polars as pl
import pytest

from sensequant.features.expressions import (
    exponential_mean,
    ratio,
    rolling_deviation,
    rolling_mean,
    rolling_total,
    wilder_mean,
)


def _computed(values: list[float | None], expression: pl.Expr) -> list[float | None]:
    frame = pl.DataFrame({"x": values}, schema={"x": pl.Float64})
    return frame.select(expression.alias("y"))["y"].to_list()


def test_exponential_mean_starts_from_a_simple_mean() -> None:
    """Span 3 weighs by 1/2: the mean of 1, 2, 6 is 3, then (3 + 5) / 2, then (4 + 0) / 2."""
    assert _computed([1, 2, 6, 5, 0], exponential_mean("x", 3)) == [None, None, 3, 4, 2]


def test_wilder_mean_weighs_by_one_over_n() -> None:
    """Four bars: the mean of 4, 8, 0, 4 is 4, then 4 * 3/4 + 8 * 1/4 = 5."""
    assert _computed([4, 8, 0, 4, 8], wilder_mean("x", 4)) == [None, None, None, 4, 5]


def test_smoothing_waits_for_values_and_skips_missing_ones() -> None:
    """Missing values seed nothing, move nothing and have no mean themselves."""
    values = [None, 1.0, None, 3.0, None, 6.0]

    assert _computed(values, wilder_mean("x", 2)) == [None, None, None, 2, None, 4]


def test_rolling_sums_count_their_own_rows_only() -> None:
    """A window is null until it is full and forgets a huge value without a trace."""
    values: list[float | None] = [1e16, 1.0, 2.0, 3.0]

    assert _computed(values, rolling_total("x", 2)) == [None, 1e16 + 1, 3, 5]
    assert _computed(values, rolling_mean("x", 2)) == [None, 5e15 + 0.5, 1.5, 2.5]


@pytest.mark.parametrize(("ddof", "expected"), [(0, 2.0), (1, 8**0.5)])
def test_rolling_deviation_divides_by_n_minus_ddof(ddof: int, expected: float) -> None:
    """Of 1 and 5 the population's deviation is 2, the sample's the square root of 8."""
    frame = pl.DataFrame({"x": [1.0, 5.0, 5.0]}).with_columns(m=rolling_mean("x", 2))
    deviation = frame.select(rolling_deviation("x", 2, mean_column="m", ddof=ddof)).to_series()

    assert deviation.to_list() == [None, pytest.approx(expected), 0]


def test_a_ratio_to_zero_is_missing() -> None:
    """Division by zero has no result."""
    assert _computed([0.0, 2.0, None], ratio(pl.lit(1.0), pl.col("x"))) == [None, 0.5, None]
