"""Building blocks that the feature families share, as Polars expressions over one symbol.

Belongs here: smoothing, safe division and the bars' columns. Does not belong here: indicators.

Every expression looks backwards only and expects the rows of one symbol in the order of their
sessions. What cannot be computed (warm-up, division by zero) is null, never NaN and never 0.

Expressions that mention their input several times take the name of a column, not an expression:
nested, they would grow as powers (an ADX written in one piece takes 300,000 characters).

Sources: J. Welles Wilder, *New Concepts in Technical Trading Systems* (1978), for `wilder_mean`;
TA-Lib for the seed of `exponential_mean` (the simple mean of the first values).
"""

import operator
from functools import reduce

import polars as pl

__all__ = [
    "CLOSE",
    "HIGH",
    "LOW",
    "OPEN",
    "VOLUME",
    "exponential_mean",
    "previous",
    "ratio",
    "relative_to_close",
    "rolling_deviation",
    "rolling_mean",
    "rolling_total",
    "simple_return",
    "wilder_mean",
]

OPEN = pl.col("open")
HIGH = pl.col("high")
LOW = pl.col("low")
CLOSE = pl.col("close")
VOLUME = pl.col("volume")


def ratio(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """Return the quotient, null where the denominator is zero."""
    return pl.when(denominator != 0).then(numerator / denominator)


def previous(values: pl.Expr, n_bars: int = 1) -> pl.Expr:
    """Return the values `n_bars` rows earlier."""
    return values.shift(n_bars)


def relative_to_close(level: pl.Expr) -> pl.Expr:
    """Return a price level as a fraction above (+) or below (-) the close."""
    return ratio(level, CLOSE) - 1


def simple_return(values: pl.Expr, n_bars: int) -> pl.Expr:
    """Return the simple return over `n_bars` bars."""
    return ratio(values, previous(values, n_bars)) - 1


def rolling_total(column: str, n_bars: int) -> pl.Expr:
    """Return the sum of a column over the last `n_bars` rows.

    Written as a sum of shifts, so that a value depends on its own window and on nothing else:
    Polars' rolling kernels carry a running sum, whose last digit depends on where the engine cuts
    the column for its threads.
    """
    return reduce(operator.add, _window(pl.col(column), n_bars))


def rolling_mean(column: str, n_bars: int) -> pl.Expr:
    """Return the mean of a column over the last `n_bars` rows."""
    return rolling_total(column, n_bars) / n_bars


def rolling_deviation(column: str, n_bars: int, *, mean_column: str, ddof: int) -> pl.Expr:
    """Return the standard deviation of a column over the last `n_bars` rows, 0 if all are equal.

    Parameters
    ----------
    column
        Column of values.
    n_bars
        Length of the window.
    mean_column
        Column with their mean over the same window.
    ddof
        0 for the population's deviation, 1 for a sample's.

    Notes
    -----
    Rounding leaves dust where all values of a window are equal, and a division by dust would look
    like a signal; so equal values are recognised as such.
    """
    values = pl.col(column)
    distances = [value - pl.col(mean_column) for value in _window(values, n_bars)]
    variance = reduce(operator.add, [distance**2 for distance in distances]) / (n_bars - ddof)
    is_constant = values.rolling_max(n_bars) == values.rolling_min(n_bars)
    return pl.when(is_constant).then(0.0).otherwise(variance.sqrt())


def exponential_mean(column: str, span: int) -> pl.Expr:
    """Return a column's exponential mean, weight 2/(span+1), seeded by its first simple mean."""
    return _seeded_mean(pl.col(column), seed_bars=span, alpha=2 / (span + 1))


def wilder_mean(column: str, n_bars: int) -> pl.Expr:
    """Return Wilder's smoothing of a column: weight 1/n_bars, seeded by its first simple mean."""
    return _seeded_mean(pl.col(column), seed_bars=n_bars, alpha=1 / n_bars)


def _window(values: pl.Expr, n_bars: int) -> list[pl.Expr]:
    return [previous(values, n_back) for n_back in range(n_bars)]


def _seeded_mean(values: pl.Expr, *, seed_bars: int, alpha: float) -> pl.Expr:
    n_seen = values.is_not_null().cum_sum()
    seeded = (
        pl.when(n_seen < seed_bars)
        .then(None)
        .when(n_seen == seed_bars)
        .then(values.cum_sum() / seed_bars)
        .otherwise(values)
    )
    smoothed = seeded.ewm_mean(alpha=alpha, adjust=False, ignore_nulls=True)
    # A value that is itself missing starts no mean and moves none.
    return pl.when(values.is_not_null()).then(smoothed)
