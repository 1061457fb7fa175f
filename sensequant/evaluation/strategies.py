"""Rules that need no scores: what they buy and when they sell.

Belongs here: the rules of the baselines and their settings. Does not belong here: how orders are
executed (`evaluation.portfolio`), how large a position is (`evaluation.sizing`), scores
(`evaluation.backtest`).

Every rule decides at the close of a bar and trades at the open of the symbol's next one, sees
nothing later, and has one portfolio over all symbols. At a symbol's last bar and at the last
session positions are sold at the close.

`swing`, on daily bars. Bought after the close at which the fast average of closes has risen above
the slow one. Left, whatever comes first,

1. at an open at or beyond the stop or the target (a gap), at that open;
2. at the stop, when the low of a bar touches it, from the bar of the purchase on;
3. at the target, when the high does; a bar that touches both counts as stopped, because nobody
   knows which came first;
4. at the first open `max_sessions` sessions after the purchase.

A crossing while the symbol is held is not acted upon.

`intraday`, on minute bars. All averages begin anew with each session. Long from a close above the
average with an RSI (Wilder) above `long_rsi`, until a close below the average or an RSI below
`short_rsi`; with `can_short` also the other way round. Flat at the close of the symbol's last bar
of the session: shares sold short cannot be kept overnight.

`hold` buys every symbol in equal weights at its first open and keeps it. `balanced` holds
`equity_frac` of the equity in all symbols that are listed, in equal weights, brought back at the
first open of each month; the rest is cash. `cash` buys nothing.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from sensequant.errors import ConfigError
from sensequant.evaluation.account import AT_OPEN, REASONS, WITHIN_BAR, Account
from sensequant.evaluation.costs import CostConfig, Product
from sensequant.evaluation.grid import BarGrid, Bools, Floats, Ints, carried, lay_out
from sensequant.evaluation.portfolio import Orders, closing_orders, concat_orders, execute
from sensequant.evaluation.sizing import PortfolioConfig, full_positions
from sensequant.features.expressions import rolling_mean, wilder_mean
from sensequant.records import Config

__all__ = [
    "BalancedConfig",
    "CashConfig",
    "HoldConfig",
    "IntradayConfig",
    "StrategyConfig",
    "SwingConfig",
    "is_sized",
    "trade_rules",
]


class SwingConfig(Config):
    """Averages that cross, with stop, target and a limit of time."""

    kind: Literal["swing"] = Field(default="swing", description="Name of the strategy.")
    fast_bars: int = Field(default=20, ge=2, le=500, description="Fast average of closes, in bars.")
    slow_bars: int = Field(default=50, ge=3, le=1000, description="Slow average, in bars.")
    stop_frac: float = Field(
        default=0.03, gt=0, lt=1, description="Stop below the price paid, as a fraction of it."
    )
    target_frac: float = Field(
        default=0.06, gt=0, le=10, description="Target above the price paid, as a fraction of it."
    )
    max_sessions: int = Field(
        default=15, ge=1, le=1000, description="Longest time a position is held, in sessions."
    )

    @model_validator(mode="after")
    def _fast_is_faster(self) -> Self:
        if self.fast_bars >= self.slow_bars:
            raise ConfigError(
                "fast average is not faster than the slow one",
                where="fast_bars and slow_bars",
                expected="fast_bars below slow_bars",
                found=f"{self.fast_bars} and {self.slow_bars}",
            )
        return self


class IntradayConfig(Config):
    """An average and the RSI of minute bars; flat at the close."""

    kind: Literal["intraday"] = Field(default="intraday", description="Name of the strategy.")
    average_bars: int = Field(default=20, ge=2, le=300, description="Average of closes, in bars.")
    rsi_bars: int = Field(default=14, ge=2, le=300, description="Smoothing of the RSI, in bars.")
    long_rsi: float = Field(
        default=55.0, ge=50, lt=100, description="RSI above which a symbol is bought, in points."
    )
    short_rsi: float = Field(
        default=45.0, gt=0, le=50, description="RSI below which it is sold, in points."
    )
    can_short: bool = Field(default=False, description="Whether to sell short within the session.")


class HoldConfig(Config):
    """Every symbol bought once, in equal weights."""

    kind: Literal["hold"] = Field(default="hold", description="Name of the strategy.")


class BalancedConfig(Config):
    """A fixed share in all symbols, the rest in cash."""

    kind: Literal["balanced"] = Field(default="balanced", description="Name of the strategy.")
    equity_frac: float = Field(
        default=0.60, gt=0, le=1, description="Share of all symbols together, of the equity."
    )


class CashConfig(Config):
    """Nothing bought."""

    kind: Literal["cash"] = Field(default="cash", description="Name of the strategy.")


StrategyConfig = Annotated[
    SwingConfig | IntradayConfig | HoldConfig | BalancedConfig | CashConfig,
    Field(discriminator="kind"),
]
"""The settings of any of the rules."""


def is_sized(config: StrategyConfig) -> bool:
    """Return whether the strategy takes full positions, so that settings of their size act."""
    return isinstance(config, SwingConfig | IntradayConfig)


def trade_rules(
    strategy: StrategyConfig,
    bars: pl.DataFrame,
    *,
    first: int,
    last: int,
    costs: CostConfig,
    portfolio: PortfolioConfig,
) -> Account:
    """Trade a strategy from one session to another, by the rules at the top of this module.

    Parameters
    ----------
    strategy
        Which rules.
    bars
        symbol, session, open, high, low, close, volume, is_unexplained_gap, share_factor where
        prices are adjusted; with starts_at for `intraday`, daily for all others. Bars before the
        first session warm averages and volatilities up.
    first, last
        Numbers of the first and last session of the calendar that are traded.
    costs
        Charges, slippage and impact.
    portfolio
        Capital, sizes, limits, interest.

    Raises
    ------
    ConfigError
        The bars are not of the length that the strategy trades, costs are not known at a session,
        or losses and costs used the capital up.
    DataError
        A bar is not usable.
    """
    is_intraday = isinstance(strategy, IntradayConfig)
    if is_intraday != ("starts_at" in bars.columns):
        raise ConfigError(
            "strategy does not trade bars of this length",
            where=strategy.kind,
            expected="minute bars" if is_intraday else "daily bars",
            found="daily bars" if is_intraday else "intraday bars",
        )
    symbols = tuple(bars["symbol"].unique().sort())
    grid = lay_out(bars, first=first, last=last, symbols=symbols)
    sizes = full_positions(bars, symbols=symbols, first=first, last=last, config=portfolio)
    orders = _orders_of(strategy, grid, bars, sizes, portfolio)
    product: Product = "intraday" if is_intraday else "delivery"
    return execute(
        grid,
        concat_orders([orders, closing_orders(grid, is_square_off=is_intraday)]),
        limits=portfolio.limits,
        costs=costs,
        product=product,
    )


def _orders_of(
    strategy: StrategyConfig,
    grid: BarGrid,
    bars: pl.DataFrame,
    sizes: Floats,
    portfolio: PortfolioConfig,
) -> Orders:
    match strategy:
        case SwingConfig():
            return _swing_orders(grid, bars, sizes, strategy)
        case IntradayConfig():
            return _intraday_orders(grid, sizes, strategy)
        case HoldConfig():
            return _hold_orders(grid, portfolio.gross_limit_frac)
        case BalancedConfig():
            return _balanced_orders(grid, strategy.equity_frac)
        case CashConfig():
            return _orders_at(grid, np.zeros(grid.shape, dtype=np.bool_), np.zeros(grid.shape))


def _orders_at(grid: BarGrid, is_due: Bools, targets: Floats) -> Orders:
    """Return orders at the opens of the cells that are due."""
    bar, column = np.nonzero(is_due)
    return Orders(
        bar=bar,
        moment=np.full(bar.size, AT_OPEN),
        column=column,
        target=targets[bar, column],
        price=grid.opens[bar, column],
        reason=np.full(bar.size, REASONS.index("signal")),
    )


def _hold_orders(grid: BarGrid, gross_limit_frac: float) -> Orders:
    is_first = grid.has_bar & (np.cumsum(grid.has_bar, axis=0) == 1)
    return _orders_at(grid, is_first, np.full(grid.shape, gross_limit_frac / grid.shape[1]))


def _balanced_orders(grid: BarGrid, equity_frac: float) -> Orders:
    months = grid.sessions.astype("datetime64[M]")
    is_turn = np.append(True, months[1:] != months[:-1])[: months.size]
    # Listed is what has had a bar and will have one: its last bar is its last ever.
    has_begun = np.cumsum(grid.has_bar, axis=0) > 0
    has_ended = np.cumsum(grid.is_last_ever, axis=0) - grid.is_last_ever > 0
    n_listed = (has_begun & ~has_ended).sum(axis=1, keepdims=True)
    targets = np.broadcast_to(equity_frac / np.maximum(n_listed, 1), grid.shape)
    is_due = grid.has_bar & is_turn[:, np.newaxis]
    return _orders_at(grid, is_due, targets)


class _Trade(NamedTuple):
    """A purchase and what ends it; places are those of the symbol's own bars."""

    entry: int
    exit: int
    moment: int
    price: float
    reason: str


class _Path(NamedTuple):
    """The bars of one symbol within the grid."""

    rows: Ints
    opens: Floats
    highs: Floats
    lows: Floats


def _swing_orders(
    grid: BarGrid, bars: pl.DataFrame, sizes: Floats, strategy: SwingConfig
) -> Orders:
    highs, lows = grid.array_of("high"), grid.array_of("low")
    crossings = _crossings(grid, bars, strategy)
    rows: list[tuple[int, int, int, float, float, int]] = []
    for column in range(grid.shape[1]):
        places = np.flatnonzero(grid.has_bar[:, column])
        path = _Path(places, *(each[places, column] for each in (grid.opens, highs, lows)))
        for trade in _swing_trades(path, crossings[places, column], strategy):
            entry = int(places[trade.entry])
            size, paid = float(sizes[entry, column]), float(path.opens[trade.entry])
            rows.append((entry, AT_OPEN, column, size, paid, REASONS.index("signal")))
            if trade.exit < places.size:
                row, why = int(places[trade.exit]), REASONS.index(trade.reason)
                rows.append((row, trade.moment, column, 0.0, trade.price, why))
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    bar, moment, column, target, price, reason = table.T
    return Orders(
        bar=bar.astype(np.int64),
        moment=moment.astype(np.int64),
        column=column.astype(np.int64),
        target=target,
        price=price,
        reason=reason.astype(np.int64),
    )


def _crossings(grid: BarGrid, bars: pl.DataFrame, strategy: SwingConfig) -> Bools:
    """Return the bars at whose open a symbol is due: averages crossed at the close before.

    Averages run over the bars that a symbol has, those before the first session included.
    """
    traded = bars.filter(pl.col("volume") > 0).sort("symbol", "session")
    is_above = rolling_mean("close", strategy.fast_bars) > rolling_mean("close", strategy.slow_bars)
    crossed = is_above & ~is_above.shift(1)
    marked = traded.select(
        "symbol", "session", has_crossed=crossed.shift(1).fill_null(value=False).over("symbol")
    )
    frame = grid.frame.join(marked, on=["symbol", "session"], how="left", maintain_order="left")
    found = np.zeros(grid.shape, dtype=np.bool_)
    cells = frame.filter("has_crossed")
    found[cells["bar"].to_numpy(), cells["column"].to_numpy()] = True
    return found


def _swing_trades(path: _Path, is_due: Bools, strategy: SwingConfig) -> Iterator[_Trade]:
    free_from = 0
    for entry in np.flatnonzero(is_due).tolist():
        if entry >= free_from:
            trade = _swing_trade(path, entry, strategy)
            yield trade
            # A crossing at the close before an exit came while the symbol was held.
            free_from = trade.exit + 1


def _swing_trade(path: _Path, entry: int, strategy: SwingConfig) -> _Trade:
    paid = path.opens[entry]
    stop, target = paid * (1 - strategy.stop_frac), paid * (1 + strategy.target_frac)
    last_row = int(path.rows[entry]) + strategy.max_sessions
    end = int(np.searchsorted(path.rows, last_row))
    opens, lows, highs = (values[entry : end + 1] for values in (path.opens, path.lows, path.highs))
    is_later = np.arange(opens.size) > 0
    by_open = is_later & (
        (opens <= stop) | (opens >= target) | (np.arange(opens.size) == end - entry)
    )
    within = (lows <= stop) | (highs >= target)
    hits = np.flatnonzero(by_open | within)
    if hits.size == 0:
        return _Trade(entry, path.rows.size, AT_OPEN, float("nan"), "end")
    place = int(hits[0])
    if by_open[place]:
        price = float(opens[place])
        reason = "stop" if price <= stop else "target" if price >= target else "time"
        return _Trade(entry, entry + place, AT_OPEN, price, reason)
    is_stopped = bool(lows[place] <= stop)
    price, reason = (stop, "stop") if is_stopped else (target, "target")
    return _Trade(entry, entry + place, WITHIN_BAR, float(price), reason)


def _intraday_orders(grid: BarGrid, sizes: Floats, strategy: IntradayConfig) -> Orders:
    wanted = np.full(grid.shape, np.nan)
    cells = grid.frame["bar"].to_numpy(), grid.frame["column"].to_numpy()
    wanted[cells] = _directions(grid.frame, strategy)
    # What was asked for last; nothing, where nothing was yet.
    before = np.vstack([np.full((1, grid.shape[1]), np.nan), carried(wanted)])[:-1]
    is_due = grid.has_bar & (wanted != np.nan_to_num(before))
    targets = wanted * sizes[grid.session_of_bar]
    return _orders_at(grid, is_due & ~np.isnan(targets), np.nan_to_num(targets))


def _directions(frame: pl.DataFrame, strategy: IntradayConfig) -> Floats:
    """Return 1, 0 or -1 for the position to have from the open of each bar on."""
    part = ["symbol", "session"]
    change = (pl.col("close") - pl.col("close").shift(1)).over(part)
    moved = frame.select(
        *part,
        "close",
        gain=change.clip(lower_bound=0),
        loss=(-change).clip(lower_bound=0),
        average=rolling_mean("close", strategy.average_bars).over(part),
    ).with_columns(
        mean_gain=wilder_mean("gain", strategy.rsi_bars).over(part),
        mean_loss=wilder_mean("loss", strategy.rsi_bars).over(part),
    )
    total = pl.col("mean_gain") + pl.col("mean_loss")
    # Without a move, or before there is an RSI, neither side is stronger.
    rsi = pl.when(total > 0).then(100 * pl.col("mean_gain") / total).otherwise(50.0)
    is_above, is_below = (
        (pl.col("close") > pl.col("average")),
        (pl.col("close") < pl.col("average")),
    )
    is_high, is_low = rsi > strategy.long_rsi, rsi < strategy.short_rsi
    long = pl.when(is_above & is_high).then(1.0).when(is_below | is_low).then(0.0)
    short = pl.when(is_below & is_low).then(-1.0).when(is_above | is_high).then(0.0)
    states = [long, short] if strategy.can_short else [long]
    decided = pl.sum_horizontal(state.forward_fill().over(part).fill_null(0.0) for state in states)
    # Decided at a close, traded at the next open of the same session.
    traded = moved.with_columns(decided=decided).select(
        pl.col("decided").shift(1).over(part).fill_null(0.0)
    )
    return traded["decided"].to_numpy()
