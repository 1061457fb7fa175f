"""How a symbol moves with something else: the columns from which beta and correlation follow.

Belongs here: returns of both over their common sessions, means, deviations and the covariance. Does
not belong here: with what (`market`, `macro`).

Both returns span the same time, because rows without a level of the other are left out: the group
of a column is the symbol's history and whether the row has such a level.
"""

import operator
from collections.abc import Mapping
from functools import reduce

import polars as pl

from sensequant.features.expressions import (
    CLOSE,
    previous,
    ratio,
    rolling_deviation,
    rolling_mean,
    simple_return,
)
from sensequant.features.spec import HISTORY, Column

__all__ = ["N_BARS", "beta", "common_sessions", "comovement_columns", "correlation"]

N_BARS = 60
"""Common sessions over which is measured."""


def common_sessions(other: str) -> tuple[str, str]:
    """Return the keys of the rows that have a level of the other, `_has_<other>`."""
    return (HISTORY, f"_has_{other}")


def comovement_columns(other: str) -> Mapping[str, Column]:
    """Return the columns on the way, from those of the bars and `_<other>_close`, `_has_<other>`.

    Fractions, and a squared one.
    """
    own, level, common = f"_own_return_{other}", f"_{other}_return", common_sessions(other)
    own_mean, mean = f"_mean{own}", f"_mean{level}"
    returns = {
        own: simple_return(CLOSE, 1),
        level: simple_return(pl.col(f"_{other}_close"), 1),
        own_mean: rolling_mean(own, N_BARS),
        mean: rolling_mean(level, N_BARS),
        f"_deviation{own}": rolling_deviation(own, N_BARS, mean_column=own_mean, ddof=1),
        f"_deviation{level}": rolling_deviation(level, N_BARS, mean_column=mean, ddof=1),
        f"_covariance_{other}": _covariance(own, own_mean, level, mean),
    }
    return {name: Column(expression, common) for name, expression in returns.items()}


def beta(other: str) -> pl.Expr:
    """Return the covariance of the returns over the variance of the other's."""
    return ratio(pl.col(f"_covariance_{other}"), pl.col(f"_deviation_{other}_return") ** 2)


def correlation(other: str) -> pl.Expr:
    """Return the correlation of the returns."""
    deviations = pl.col(f"_deviation_own_return_{other}") * pl.col(f"_deviation_{other}_return")
    return ratio(pl.col(f"_covariance_{other}"), deviations).clip(-1, 1)


def _covariance(own: str, own_mean: str, level: str, mean: str) -> pl.Expr:
    products = [
        (previous(pl.col(own), n_back) - pl.col(own_mean))
        * (previous(pl.col(level), n_back) - pl.col(mean))
        for n_back in range(N_BARS)
    ]
    return reduce(operator.add, products) / (N_BARS - 1)
