"""Returns in time: what each month brought, and how a ratio of a year behind changed.

Belongs here: figures of parts of one series of returns, in the order of time. Does not belong here:
figures of the whole (`measures`), intervals (`bootstrap`), drawing (`reports`).

Returns are simple fractions per session. None of these figures has an interval: months are few and
overlapping years are not independent, so they show where the whole came from and prove nothing.
"""

from typing import cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.evaluation.measures import SESSIONS_PER_YEAR, sharpe_ratio

__all__ = ["YEAR_SESSIONS", "monthly_returns", "rolling_sharpe"]

YEAR_SESSIONS = round(SESSIONS_PER_YEAR)
"""Sessions that one value of a rolling ratio rests on."""


def monthly_returns(returns: pl.DataFrame) -> pl.DataFrame:
    """Return the compounded return of each calendar month that has a session.

    Parameters
    ----------
    returns
        session (Date), net_return (Float64, not null), one row per session.

    Returns
    -------
    polars.DataFrame
        year (Int32), month (Int8), n_sessions (UInt32), net_return (Float64), in time order.
    """
    compounded = (1 + pl.col("net_return")).product() - 1
    by_month = returns.group_by(
        year=pl.col("session").dt.year(), month=pl.col("session").dt.month()
    )
    counted = by_month.agg(pl.len().alias("n_sessions"), compounded.alias("net_return"))
    return counted.sort("year", "month")


def rolling_sharpe(
    returns: NDArray[np.float64], *, risk_free_daily: float, n_sessions: int = YEAR_SESSIONS
) -> NDArray[np.float64]:
    """Return the annual Sharpe ratio of the sessions up to each one.

    Parameters
    ----------
    returns
        Simple returns per session, shape (n,); a part with NaN has no ratio.
    risk_free_daily
        Risk-free simple return per session.
    n_sessions
        How many sessions each ratio rests on, at least 2.

    Returns
    -------
    ndarray
        Shape (n,); NaN where fewer sessions came before, or where returns did not vary.
    """
    ratios = np.full(returns.size, np.nan)
    if returns.size < n_sessions:
        return ratios
    for row, part in enumerate(np.lib.stride_tricks.sliding_window_view(returns, n_sessions)):
        ratio = (
            None if np.isnan(part).any() else sharpe_ratio(part, risk_free_daily=risk_free_daily)
        )
        ratios[row + n_sessions - 1] = np.nan if ratio is None else ratio
    return cast("NDArray[np.float64]", ratios)
