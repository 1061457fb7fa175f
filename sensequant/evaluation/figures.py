"""Figures with their sample size and interval, or with the reason why they are absent.

Belongs here: the record of one figure, and the figures of one daily equity series. Does not belong
here: figures of scores against labels (`evaluation.scoring`), tests (`evaluation.inference`).

Intervals are percentile intervals of the stationary bootstrap: all columns of a session are drawn
together, with the mean block length that the net returns ask for, at least the horizon.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.evaluation import measures
from sensequant.evaluation.bootstrap import block_length, interval_of_draws, stationary_draws
from sensequant.evaluation.measures import SESSIONS_PER_YEAR
from sensequant.records import Finite, Record, finite_or_none

__all__ = [
    "Figure",
    "PerformanceFigures",
    "absent_figure",
    "benchmark_returns",
    "figure_of_draws",
    "index_figures",
    "performance_figures",
    "risk_free_per_session",
]

_Floats = NDArray[np.float64]
_Measure = Callable[[_Floats, float], float | None]
"""Takes the series and the risk-free return per session."""

_NET, _GROSS, _COST, _EXPOSURE, _TURNOVER = range(5)
_SERIES = ("net_return", "gross_return", "cost_return", "exposure", "turnover")
_TRADED = ("annual_turnover", "mean_exposure", "annual_cost_frac", "cost_share_frac")


class Figure(Record):
    """One figure. `reason` says why the value, or else its interval, is absent."""

    value: Finite | None
    lower: Finite | None = None
    upper: Finite | None = None
    n: int
    unit: str
    reason: str | None = None


class PerformanceFigures(Record):
    """What one portfolio earned per session, from its daily simple returns.

    Ratios are annual; Sharpe and Sortino are over the risk-free return, which idle cash earns, so
    that cash adds nothing to them; volatility, Sortino, Calmar and drawdown are of net returns;
    turnover counts purchases and sales; the cost share is costs over gross gain, interest included.
    """

    name: str
    gross_total_return: Figure
    net_total_return: Figure
    gross_annual_return: Figure
    net_annual_return: Figure
    net_annual_volatility: Figure
    gross_sharpe: Figure
    net_sharpe: Figure
    net_sortino: Figure
    net_calmar: Figure
    max_drawdown: Figure
    drawdown_length_sessions: Figure
    annual_turnover: Figure
    mean_exposure: Figure
    annual_cost_frac: Figure
    cost_share_frac: Figure
    n_trades: Figure


def absent_figure(unit: str, reason: str, *, n: int = 0) -> Figure:
    """Return a figure without value."""
    return Figure(value=None, n=n, unit=unit, reason=reason)


def figure_of_draws(
    value: float | None,
    draws: _Floats,
    *,
    n: int,
    unit: str,
    confidence: float,
    undefined: str = "not defined on these data",
) -> Figure:
    """Return a figure with the percentile interval of its bootstrap draws.

    Parameters
    ----------
    value
        The figure on the data, None where undefined.
    draws
        The figure on resampled data, NaN where undefined, shape (n_draws,).
    n
        Number of observations behind the figure.
    unit
        Its unit.
    confidence
        Two-sided coverage in (0, 1).
    undefined
        Reason to give when there is no value.
    """
    if value is None:
        return absent_figure(unit, undefined, n=n)
    lower, upper, reason = interval_of_draws(draws, confidence=confidence)
    return Figure(value=value, lower=lower, upper=upper, n=n, unit=unit, reason=reason)


def benchmark_returns(equity: pl.DataFrame, benchmark: pl.DataFrame | None) -> pl.DataFrame:
    """Return net returns beside the benchmark's, close to close, on the same sessions.

    Parameters
    ----------
    equity
        session, net_return; consecutive sessions of the calendar.
    benchmark
        session, close; one row per session, starting before the first session of `equity`.

    Returns
    -------
    polars.DataFrame
        session, net_return, benchmark_return; the last is null where the benchmark has no close
        at the session or at the one before, and everywhere without a benchmark.
    """
    frame = equity.select("session", "net_return")
    if benchmark is None or equity.is_empty():
        return frame.with_columns(benchmark_return=pl.lit(None, dtype=pl.Float64))
    closes = benchmark.select("session", "close").sort("session")
    before = closes.filter(pl.col("session") < frame["session"][0]).tail(1)
    sessions = pl.concat([before.select("session"), frame.select("session")])
    on_sessions = sessions.join(closes, on="session", how="left", maintain_order="left")
    change = pl.col("close") / pl.col("close").shift(1) - 1
    changes = on_sessions.select("session", benchmark_return=change)
    return frame.join(changes, on="session", how="left", maintain_order="left")


def performance_figures(  # noqa: PLR0913 - what is measured, and how intervals are made
    name: str,
    sessions: pl.DataFrame,
    *,
    n_trades: int | None,
    min_block: int,
    n_draws: int,
    confidence: float,
    seed: int,
    risk_free_daily: float,
) -> PerformanceFigures:
    """Return all figures of one equity series with their intervals.

    Parameters
    ----------
    name
        Name of the portfolio.
    sessions
        net_return, gross_return, cost_return, exposure, turnover; one row per session, no nulls.
    n_trades
        Number of trades; None for an index, of which turnover, exposure and costs are then absent.
    min_block
        Least mean block length of the bootstrap, in sessions.
    n_draws
        Number of bootstrap draws.
    confidence
        Two-sided coverage in (0, 1).
    seed
        Seed of the draws.
    risk_free_daily
        Risk-free simple return per session, as a fraction.
    """
    matrix = sessions.select(_SERIES).to_numpy().astype(np.float64)

    def numbers(rows: _Floats) -> _Floats:
        return _numbers(rows, risk_free_daily)

    values = numbers(matrix)
    draws = np.full((1, len(_FIGURES)), np.nan)
    if len(matrix) > 1:
        draws = stationary_draws(
            matrix,
            numbers,
            n_draws=n_draws,
            seed=seed,
            block_sessions=block_length(matrix[:, _NET], min_block=min_block),
        )
    figures = {
        key: figure_of_draws(
            finite_or_none(values[place]),
            draws[:, place],
            n=len(matrix),
            unit=unit,
            confidence=confidence,
            undefined=undefined if len(matrix) else "no sessions",
        )
        for place, (key, (unit, undefined, _)) in enumerate(_FIGURES.items())
    }
    trades = Figure(
        value=n_trades, n=len(matrix), unit="trades", reason="a count, without interval"
    )
    if n_trades is None:
        not_traded = "an index is not traded"
        trades = absent_figure("trades", not_traded, n=len(matrix))
        figures |= {
            key: absent_figure(_FIGURES[key][0], not_traded, n=len(matrix)) for key in _TRADED
        }
    return PerformanceFigures.model_validate({"name": name, "n_trades": trades} | figures)


def index_figures(
    name: str,
    returns: pl.DataFrame,
    *,
    min_block: int,
    n_draws: int,
    confidence: float,
    seed: int,
    risk_free_daily: float,
) -> PerformanceFigures:
    """Return the figures of an index that is held and not traded.

    Parameters
    ----------
    name
        Name of the index.
    returns
        benchmark_return, one row per session, as `benchmark_returns` gives them; sessions without
        one are left out.
    min_block, n_draws, confidence, seed, risk_free_daily
        As in `performance_figures`.
    """
    known = returns.drop_nulls("benchmark_return").select(
        net_return="benchmark_return",
        gross_return="benchmark_return",
        cost_return=pl.lit(0.0),
        exposure=pl.lit(1.0),
        turnover=pl.lit(0.0),
    )
    return performance_figures(
        name,
        known,
        n_trades=None,
        min_block=min_block,
        n_draws=n_draws,
        confidence=confidence,
        seed=seed,
        risk_free_daily=risk_free_daily,
    )


def risk_free_per_session(
    annual_frac: float, sessions_per_year: float = SESSIONS_PER_YEAR
) -> float:
    """Return the simple return per session that compounds to a yearly one."""
    return float(np.expm1(np.log1p(annual_frac) / sessions_per_year))


def _numbers(matrix: _Floats, risk_free_daily: float) -> _Floats:
    found = [measure(matrix, risk_free_daily) for _, _, measure in _FIGURES.values()]
    return np.array([np.nan if value is None else value for value in found])


def _mean_of(column: int, scale: float = 1.0) -> _Measure:
    def mean(matrix: _Floats, _: float) -> float | None:
        return float(matrix[:, column].mean() * scale) if len(matrix) else None

    return mean


def _on(column: int, measure: Callable[[_Floats], float | None]) -> _Measure:
    def measured(matrix: _Floats, _: float) -> float | None:
        return measure(matrix[:, column])

    return measured


def _sharpe(column: int) -> _Measure:
    def measured(matrix: _Floats, risk_free_daily: float) -> float | None:
        return measures.sharpe_ratio(matrix[:, column], risk_free_daily=risk_free_daily)

    return measured


def _sortino(matrix: _Floats, risk_free_daily: float) -> float | None:
    return measures.sortino_ratio(matrix[:, _NET], risk_free_daily=risk_free_daily)


def _deepest(returns: _Floats) -> float | None:
    return measures.max_drawdown(measures.equity_curve(returns)) if returns.size else None


def _longest(returns: _Floats) -> float | None:
    return (
        measures.drawdown_length_sessions(measures.equity_curve(returns)) if returns.size else None
    )


def _cost_share(matrix: _Floats, _: float) -> float | None:
    gain = matrix[:, _GROSS].sum()
    return float(matrix[:, _COST].sum() / gain) if gain > 0 else None


_FEW = "fewer than two sessions"
_FLAT = "returns do not vary"
_FIGURES: dict[str, tuple[str, str, _Measure]] = {
    "gross_total_return": ("fraction", "no sessions", _on(_GROSS, measures.total_return)),
    "net_total_return": ("fraction", "no sessions", _on(_NET, measures.total_return)),
    "gross_annual_return": ("fraction per year", _FEW, _on(_GROSS, measures.annual_return)),
    "net_annual_return": ("fraction per year", _FEW, _on(_NET, measures.annual_return)),
    "net_annual_volatility": ("fraction per year", _FEW, _on(_NET, measures.annual_volatility)),
    "gross_sharpe": ("annual ratio", _FLAT, _sharpe(_GROSS)),
    "net_sharpe": ("annual ratio", _FLAT, _sharpe(_NET)),
    "net_sortino": ("annual ratio", "no session fell short of cash", _sortino),
    "net_calmar": ("annual ratio", "no drawdown", _on(_NET, measures.calmar_ratio)),
    "max_drawdown": ("fraction", "no sessions", _on(_NET, _deepest)),
    "drawdown_length_sessions": ("sessions", "no sessions", _on(_NET, _longest)),
    "annual_turnover": (
        "equities per year",
        "no sessions",
        _mean_of(_TURNOVER, SESSIONS_PER_YEAR),
    ),
    "mean_exposure": ("fraction", "no sessions", _mean_of(_EXPOSURE)),
    "annual_cost_frac": ("fraction per year", "no sessions", _mean_of(_COST, SESSIONS_PER_YEAR)),
    "cost_share_frac": ("fraction of gross gain", "no gross gain", _cost_share),
}
"""Unit, reason when undefined, and definition of each figure, by its name."""
