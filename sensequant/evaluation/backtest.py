"""Scores as a portfolio: who is bought, how much, and what that earned.

Belongs here: how scores become orders, and buying and holding all that is scored. Does not belong
here: how orders are executed (`evaluation.portfolio`), what a trade costs (`evaluation.costs`),
rules that need no scores (`evaluation.strategies`), figures on the resulting returns
(`evaluation.validation`).

Rules
-----
1. The decision is taken after the close of session t. A symbol's signal is 1 when its score of t
   is at or above the threshold, else 0; no score is no signal.
2. The target is a full position (`evaluation.sizing`) times the mean of the signals of the last h
   calendar sessions (overlapping tranches). A decision that brings its own implied volatility
   keeps, as long as it counts, the size that this gave it. When the targets together exceed
   `gross_limit_frac`, all are scaled down alike.
3. Trades happen at the open of t+1, only in symbols whose target is 0 while something was asked for
   before, or more than `min_change_frac` away from the one last traded to; between trades the
   number of shares stays.
4. A symbol without a bar at a session does not trade and keeps its last price (a halt); it
   trades to the then current target when it has a bar again.
5. At the last bar that a symbol ever has (delisted, or the data end), and at the last session of
   the backtest, its position is sold at the close. A symbol halted at the last session stays in
   the book at its last price.

Sessions run from the one after the first score to `horizon_sessions` after the last score, as far
as bars reach, unless they are named. Long only: shares sold short cannot be delivered overnight. A
move that the bars flag as unexplained is taken as it stands and counted (`n_gaps_held`).
"""

from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from pydantic import Field

from sensequant.errors import ConfigError
from sensequant.evaluation.account import AT_OPEN, REASONS, Account
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.grid import (
    BarGrid,
    Floats,
    Ints,
    lay_out,
    refuse_repeated,
    refuse_rows,
    with_session_numbers,
)
from sensequant.evaluation.portfolio import Orders, closing_orders, concat_orders, execute
from sensequant.evaluation.sizing import PortfolioConfig, full_positions, sizes_of

__all__ = [
    "BacktestConfig",
    "BacktestResult",
    "buy_and_hold",
    "run_backtest",
]

_SMALLEST_CHANGE_FRAC = 1e-9
"""Weights nearer to each other than this are the same weight."""

_OWN = "implied_volatility"
"""Column by which a decision is sized, where there is one."""


class BacktestConfig(PortfolioConfig):
    """How scores become positions."""

    threshold: float = Field(
        default=0.5, ge=0, le=1, description="Score from which a symbol is bought, in [0, 1]."
    )
    min_change_frac: float = Field(
        default=0.005,
        ge=0,
        le=0.5,
        description="Smallest change of a target that is traded, as a fraction of equity; a sale "
        "of everything always is.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestResult(Account):
    """What a portfolio on scores did, and by which settings."""

    config: BacktestConfig
    costs: CostConfig
    horizon_sessions: int


def run_backtest(
    predictions: pl.DataFrame,
    bars: pl.DataFrame,
    *,
    horizon_sessions: int,
    costs: CostConfig,
    config: BacktestConfig,
    within: tuple[int, int] | None = None,
) -> BacktestResult:
    """Trade the scores as one portfolio, by the rules at the top of this module.

    Parameters
    ----------
    predictions
        symbol, session, score (rows without a score are no decision); one row per symbol and
        session. With `implied_volatility` (of a year, a fraction; null where none is known) the
        decision is sized by it, and as any other where it is null.
    bars
        Adjusted daily bars: symbol, session, open, close, volume, is_unexplained_gap, share_factor
        where there is one; symbols that were never scored are left out.
    horizon_sessions
        For how many sessions a signal is held, at least 1.
    costs
        Charges, slippage and impact.
    config
        Threshold, sizes and limits.
    within
        Numbers of the first and last session that are traded, whether or not anything is scored
        then; no score is from before the session in front of the first, no bar from after the last.

    Returns
    -------
    BacktestResult
        With no rows when nothing was scored or no bar follows the first score.

    Raises
    ------
    DataError
        A row stands twice, a score, implied volatility, price or volume is not usable, a session is
        unknown.
    ConfigError
        The horizon is not positive, costs are not known at a session, or losses and costs used the
        capital up.
    """
    scored = _scored(predictions, horizon_sessions)
    span = _span(scored, bars, horizon_sessions) if within is None else _named(scored, bars, within)
    grid = lay_out(bars, first=span.first, last=span.last, symbols=span.symbols)
    targets = _targets(scored, bars, span, horizon_sessions=horizon_sessions, config=config)
    orders = _orders_of(grid, targets, config.min_change_frac)
    return _result(grid, orders, horizon_sessions=horizon_sessions, costs=costs, config=config)


def buy_and_hold(
    predictions: pl.DataFrame,
    bars: pl.DataFrame,
    *,
    horizon_sessions: int,
    costs: CostConfig,
    config: BacktestConfig,
) -> BacktestResult:
    """Buy every scored symbol in equal weights and hold it over the sessions of `run_backtest`.

    Each symbol is bought at its first open on or after the first session, for the gross limit
    divided by the number of symbols (the size of a position does not matter), and is never
    rebalanced. Costs, delisting and the end follow the same rules. Parameters and errors are those
    of `run_backtest`; the threshold has no effect.
    """
    span = _span(_scored(predictions, horizon_sessions), bars, horizon_sessions)
    grid = lay_out(bars, first=span.first, last=span.last, symbols=span.symbols)
    targets = np.full(grid.shape, config.gross_limit_frac / max(1, len(span.symbols)))
    orders = _orders_of(grid, targets, _SMALLEST_CHANGE_FRAC)
    return _result(grid, orders, horizon_sessions=horizon_sessions, costs=costs, config=config)


@dataclass(frozen=True, slots=True)
class _Span:
    """Which sessions are traded; `last` is before `first` where there are none."""

    symbols: tuple[str, ...]
    first: int
    last: int


def _scored(predictions: pl.DataFrame, horizon_sessions: int) -> pl.DataFrame:
    if horizon_sessions < 1:
        raise ConfigError(
            "horizon was not positive", expected=">= 1 session", found=str(horizon_sessions)
        )
    key = ["symbol", "session"]
    own = pl.col(_OWN) if _OWN in predictions.columns else pl.lit(None, pl.Float64).alias(_OWN)
    rows = predictions.select(*key, "score", own).drop_nulls("score").sort(key)
    refuse_rows(rows.filter(~pl.col("score").is_finite()), "a score was not finite")
    is_usable = pl.col(_OWN).is_finite() & (pl.col(_OWN) > 0)
    refuse_rows(rows.filter(~is_usable), "an implied volatility was not usable")
    refuse_repeated(rows, key, "a score stood twice")
    return with_session_numbers(rows)


def _span(scored: pl.DataFrame, bars: pl.DataFrame, horizon_sessions: int) -> _Span:
    symbols = scored["symbol"].unique().sort()
    sessions = bars.select("symbol", "session").filter(pl.col("symbol").is_in(symbols.implode()))
    ends = with_session_numbers(sessions)["number"]
    if scored.is_empty() or ends.is_empty():
        return _Span(tuple(symbols), 0, -1)
    numbers, end = scored["number"].to_numpy(), int(ends.to_numpy().max())
    return _Span(
        symbols=tuple(symbols),
        first=int(numbers.min()) + 1,
        last=min(int(numbers.max()) + horizon_sessions, end),
    )


def _named(scored: pl.DataFrame, bars: pl.DataFrame, within: tuple[int, int]) -> _Span:
    # Where nothing is scored, cash is what is held, beside symbols that are not.
    rows = bars if scored.is_empty() else scored
    return _Span(tuple(rows["symbol"].unique().sort()), *within)


def _targets(
    scored: pl.DataFrame,
    bars: pl.DataFrame,
    span: _Span,
    *,
    horizon_sessions: int,
    config: BacktestConfig,
) -> Floats:
    sizes = full_positions(
        bars, symbols=span.symbols, first=span.first, last=span.last, config=config
    )
    # A decision stands in the row of the session at whose open it is traded.
    place = (pl.col("number") + 1 - span.first).alias("place")
    codes = pl.col("symbol").cast(pl.Enum(span.symbols)).to_physical().alias("column")
    bought = scored.filter(pl.col("score") >= config.threshold, place < len(sizes))
    decisions = bought.select(place, codes, _OWN)
    signals, own_sizes = np.zeros(sizes.shape), np.zeros(sizes.shape)
    is_own = pl.col(_OWN).is_not_null()
    signals[_cells(decisions.filter(~is_own))] = 1
    own = decisions.filter(is_own)
    own_sizes[_cells(own)] = sizes_of(own[_OWN].to_numpy(), config)
    sums = np.cumsum(signals, axis=0)
    sums[horizon_sessions:] -= sums[:-horizon_sessions].copy()
    targets = sums / horizon_sessions * sizes
    # Added one by one: differences of sums of fractions would leave a rest where nothing is held.
    for age in range(min(horizon_sessions, len(sizes)) if own.height else 0):
        targets[age:] += own_sizes[: len(sizes) - age] / horizon_sessions
    total = targets.sum(axis=1, keepdims=True)
    return targets * np.minimum(1, config.gross_limit_frac / np.maximum(total, 1e-300))


def _cells(decisions: pl.DataFrame) -> tuple[Ints, Ints]:
    return decisions["place"].to_numpy(), decisions["column"].to_numpy()


def _orders_of(grid: BarGrid, targets: Floats, min_change_frac: float) -> Orders:
    """Return an order wherever a target differs enough from the one that was last traded to."""
    least = max(min_change_frac, _SMALLEST_CHANGE_FRAC)
    is_due = np.zeros(targets.shape, dtype=np.bool_)
    applied = np.zeros(targets.shape[1])
    for row, target in enumerate(targets):
        has_changed = np.abs(target - applied) >= least
        has_ended = (target == 0) & (applied != 0)
        is_due[row] = grid.has_bar[row] & (has_changed | has_ended)
        applied = np.where(is_due[row], target, applied)
    bar, column = np.nonzero(is_due)
    return Orders(
        bar=bar,
        moment=np.full(bar.size, AT_OPEN),
        column=column,
        target=targets[bar, column],
        price=grid.opens[bar, column],
        reason=np.full(bar.size, REASONS.index("signal")),
    )


def _result(
    grid: BarGrid,
    orders: Orders,
    *,
    horizon_sessions: int,
    costs: CostConfig,
    config: BacktestConfig,
) -> BacktestResult:
    account = execute(
        grid,
        concat_orders([orders, closing_orders(grid)]),
        limits=config.limits,
        costs=costs,
        product="delivery",
    )
    return BacktestResult(
        **{field.name: getattr(account, field.name) for field in fields(account)},
        config=config,
        costs=costs,
        horizon_sessions=horizon_sessions,
    )
