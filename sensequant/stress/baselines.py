"""What doing nothing clever would have done in a crisis, and how hard the market was hit.

Belongs here: the figures of one series of returns in a period, the baselines that stand beside the
candidate, the size of the market's worst session. Does not belong here: the candidate's own
returns (`stress.replay`), judging (`stress.resilience`).

NIFTY 50 is held from the close before the first session on. The balanced baseline is brought back
to its weights every session, without costs. Cash earns (1 + yearly rate)^(1 / sessions per year)
- 1 a session, which is also the risk-free return of every Sharpe and Sortino ratio.
"""

from datetime import date
from typing import cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.evaluation.measures import (
    SESSIONS_PER_YEAR,
    equity_curve,
    max_drawdown,
    sharpe_ratio,
    sortino_ratio,
    total_return,
)
from sensequant.stress.resilience import BALANCED, CASH, NIFTY_50, Performance
from sensequant.stress.scenarios import StressConfig

__all__ = ["baselines", "market_shock", "performance"]

_YEAR_SESSIONS = round(SESSIONS_PER_YEAR)
_FEWEST_FOR_SIGMA = 60


def baselines(
    benchmark: pl.DataFrame | None, returns: pl.DataFrame, *, config: StressConfig
) -> tuple[Performance, ...]:
    """Return NIFTY 50, NIFTY 50 with cash, and cash, over the sessions of a replay.

    Parameters
    ----------
    benchmark
        session, close; with the session before the first one. None where there is none.
    returns
        session of the replay, ascending, at least one.
    config
        Share of NIFTY 50 and the return of cash.

    Returns
    -------
    tuple
        In that order; without figures and with a reason where the benchmark has no bars.
    """
    cash_daily = _cash_daily(config)
    cash = performance(CASH, np.full(returns.height, cash_daily), config=config)
    sessions = cast("list[date]", returns["session"].to_list())
    first, last = sessions[0], sessions[-1]
    market = None if benchmark is None else _market_returns(benchmark, first, last)
    if market is None:
        reason = "no bar of NIFTY 50 before or in the period"
        return (_absent(NIFTY_50, reason), _absent(BALANCED, reason), cash)
    share = config.balanced_equity_frac
    balanced = share * market + (1 - share) * cash_daily
    return (
        performance(NIFTY_50, market, config=config),
        performance(BALANCED, balanced, config=config),
        cash,
    )


def performance(name: str, returns: NDArray[np.float64], *, config: StressConfig) -> Performance:
    """Return the figures of simple returns per session, shape (n_sessions,)."""
    risk_free = _cash_daily(config)
    return Performance(
        name=name,
        n_sessions=returns.size,
        total_return=total_return(returns),
        max_drawdown=max_drawdown(equity_curve(returns)),
        sharpe=sharpe_ratio(returns, risk_free_daily=risk_free),
        sortino=sortino_ratio(returns, risk_free_daily=risk_free),
    )


def _absent(name: str, reason: str) -> Performance:
    return Performance(
        name=name,
        n_sessions=0,
        total_return=None,
        max_drawdown=None,
        sharpe=None,
        sortino=None,
        reason=reason,
    )


def _market_returns(benchmark: pl.DataFrame, first: date, last: date) -> NDArray[np.float64] | None:
    frame = _with_returns(benchmark).filter(pl.col("session").is_between(first, last))
    returns = frame["market_return"]
    return None if returns.is_empty() or returns.has_nulls() else returns.to_numpy()


def market_shock(benchmark: pl.DataFrame | None, first: date, last: date) -> float | None:
    """Return the benchmark's worst session of a period in standard deviations of the year before.

    Returns
    -------
    float or None
        Negative for a fall; None without bars in the period or with under 60 sessions before it.
    """
    if benchmark is None:
        return None
    inside = _market_returns(benchmark, first, last)
    before = (
        _with_returns(benchmark)
        .filter(pl.col("session") < first)["market_return"]
        .drop_nulls()
        .tail(_YEAR_SESSIONS)
        .to_numpy()
    )
    if inside is None or before.size < _FEWEST_FOR_SIGMA:
        return None
    sigma = float(before.std(ddof=1))
    return float(inside.min()) / sigma if sigma > 0 else None


def _with_returns(benchmark: pl.DataFrame) -> pl.DataFrame:
    change = pl.col("close") / pl.col("close").shift(1) - 1
    return benchmark.sort("session").select("session", market_return=change)


def _cash_daily(config: StressConfig) -> float:
    return float(np.expm1(np.log1p(config.cash_rate_frac) / SESSIONS_PER_YEAR))
