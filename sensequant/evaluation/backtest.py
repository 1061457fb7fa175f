"""One long-only portfolio over all symbols, from scores to daily net returns.

Belongs here: how scores become positions, when they trade, how they are valued. Does not belong
here: what a trade costs (`evaluation.costs`), figures on the resulting returns
(`evaluation.validation`), intraday exits.

Rules
-----
1. The decision is taken after the close of session t. A symbol's signal is 1 when its score of t
   is at or above the threshold, else 0; no score is no signal.
2. Its target weight is the mean of its signals over the last h calendar sessions (overlapping
   tranches) times `position_frac`, at most `max_position_frac`; when the targets together exceed
   `gross_limit_frac`, all are scaled down alike.
3. Trades happen at the open of t+1, only in symbols whose target differs from the one last
   traded to; between trades the number of shares stays. Purchases are cut alike when positions
   that drifted or could not be sold would lift the sum above the gross limit, and are not made
   up for until the target changes.
4. From the last close to the open the old shares earn, from the open to the close the new ones.
5. A symbol without a bar at a session does not trade and keeps its last price (a halt); it
   trades to the then current target when it has a bar again.
6. At the last bar that a symbol ever has (delisted, or the data end), and at the last session of
   the backtest, its position is sold at the close. A symbol halted at the last session stays in
   the book at its last price.
7. Costs leave the cash of the session. Cash earns nothing; it may fall below zero by the costs of
   a fully invested book, without interest.

Sessions run from the one after the first score to `horizon_sessions` after the last score, as far
as bars reach. Bars are adjusted, so values in INR are right and numbers of shares are not: none is
reported, and `price` in the trades is the adjusted price. A move that the bars flag as unexplained
is taken as it stands and counted (`n_gaps_held`).

Returns are simple fractions of the equity at the previous close; `gross_return` is `net_return`
plus `cost_return`, `turnover` is the value bought and sold over that same equity.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from sensequant.errors import ConfigError, DataError
from sensequant.evaluation.costs import COST_COLUMNS, CostConfig, cost_rates, trade_costs
from sensequant.market.sessions import nse_calendar
from sensequant.records import Config

__all__ = [
    "EQUITY_SCHEMA",
    "POSITIONS_SCHEMA",
    "TRADES_SCHEMA",
    "BacktestConfig",
    "BacktestResult",
    "buy_and_hold",
    "run_backtest",
]

EQUITY_SCHEMA = pl.Schema(
    {"session": pl.Date, "equity": pl.Float64}
    | dict.fromkeys(("gross_return", "cost_return", "net_return"), pl.Float64)
    | dict.fromkeys(("exposure", "turnover"), pl.Float64)
)
"""One row per session; equity in INR after the close, exposure after the trades at the open."""

POSITIONS_SCHEMA = pl.Schema({"session": pl.Date, "symbol": pl.String, "weight": pl.Float64})
"""Share of the equity at the open, after the trades there; only symbols that are held."""

TRADES_SCHEMA = pl.Schema(
    {"session": pl.Date, "symbol": pl.String, "side": pl.String, "moment": pl.String}
    | dict.fromkeys(("value_inr", "price", *COST_COLUMNS, "cost_inr"), pl.Float64)
)
"""`side` is buy or sell, `moment` open or close."""

_SMALLEST_CHANGE_FRAC = 1e-9
"""Weights nearer to each other than this are the same weight."""

_Floats = NDArray[np.float64]
_Bools = NDArray[np.bool_]


class BacktestConfig(Config):
    """How scores become positions."""

    threshold: float = Field(
        default=0.5, ge=0, le=1, description="Score from which a symbol is bought, in [0, 1]."
    )
    position_frac: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description=(
            "Weight of a symbol whose signal was on in all of the last horizon sessions, as a "
            "fraction of equity; null: the gross limit divided by the number of scored symbols."
        ),
    )
    max_position_frac: float = Field(
        default=0.10, gt=0, le=1, description="Largest target of one symbol, fraction of equity."
    )
    gross_limit_frac: float = Field(
        default=1.0, gt=0, le=1, description="Largest sum of weights, as a fraction of equity."
    )
    capital_inr: float = Field(
        default=1e7, ge=1e5, le=1e12, description="Equity before the first session, in INR."
    )


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """What the portfolio did, session by session.

    `equity`, `positions` and `trades` follow `EQUITY_SCHEMA`, `POSITIONS_SCHEMA` and
    `TRADES_SCHEMA`, sorted by session and symbol. `n_gaps_held` counts unexplained gaps of symbols
    held over them.
    """

    config: BacktestConfig
    costs: CostConfig
    horizon_sessions: int
    equity: pl.DataFrame
    positions: pl.DataFrame
    trades: pl.DataFrame
    n_gaps_held: int


@dataclass(frozen=True, slots=True)
class _Market:
    symbols: tuple[str, ...]
    sessions: NDArray[np.datetime64]
    opens: _Floats
    closes: _Floats
    has_bar: _Bools
    is_gap: _Bools
    is_last: _Bools


@dataclass(slots=True)
class _Book:
    cash: float
    units: _Floats
    applied: _Floats
    marks: _Floats


@dataclass(frozen=True, slots=True)
class _Ledger:
    weights: _Floats
    traded: _Floats
    sold_at_close: _Floats
    days: list[tuple[float, ...]]
    n_gaps_held: int


def run_backtest(
    predictions: pl.DataFrame,
    bars: pl.DataFrame,
    *,
    horizon_sessions: int,
    costs: CostConfig,
    config: BacktestConfig,
) -> BacktestResult:
    """Trade the scores as one portfolio, by the rules at the top of this module.

    Parameters
    ----------
    predictions
        symbol, session, score (rows without a score are no decision); one row per symbol and
        session.
    bars
        Adjusted bars: symbol, session, open, close, is_unexplained_gap; symbols that were never
        scored are left out.
    horizon_sessions
        For how many sessions a signal is held, at least 1.
    costs
        Charges and slippage.
    config
        Threshold, sizes and limits.

    Returns
    -------
    BacktestResult
        With no rows when nothing was scored or no bar follows the first score.

    Raises
    ------
    DataError
        A row stands twice, a score or price is not finite, a session is unknown to the calendar.
    ConfigError
        The horizon is not positive, costs are not known at a session, or costs used the capital up.
    """
    scored = _scored(predictions, horizon_sessions)
    market, first = _market(scored, bars, horizon_sessions)
    targets = _targets(scored, market, first, horizon_sessions=horizon_sessions, config=config)
    return _result(market, targets, horizon_sessions=horizon_sessions, costs=costs, config=config)


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
    divided by the number of symbols (the limit of one position does not apply), and is never
    rebalanced. Costs, delisting and the end follow the same rules. Parameters and errors are those
    of `run_backtest`; the threshold has no effect.
    """
    scored = _scored(predictions, horizon_sessions)
    market, _ = _market(scored, bars, horizon_sessions)
    n_symbols = max(1, len(market.symbols))
    targets = np.full(market.opens.shape, config.gross_limit_frac / n_symbols)
    return _result(market, targets, horizon_sessions=horizon_sessions, costs=costs, config=config)


def _scored(predictions: pl.DataFrame, horizon_sessions: int) -> pl.DataFrame:
    if horizon_sessions < 1:
        raise ConfigError(
            "horizon was not positive", expected=">= 1 session", found=str(horizon_sessions)
        )
    rows = predictions.select("symbol", "session", "score").drop_nulls("score")
    _refuse(rows.filter(~pl.col("score").is_finite()), "a score was not finite")
    _refuse(rows.filter(rows.select("symbol", "session").is_duplicated()), "a score stood twice")
    return _numbered(rows)


def _market(scored: pl.DataFrame, bars: pl.DataFrame, horizon_sessions: int) -> tuple[_Market, int]:
    symbols = scored["symbol"].unique().sort()
    rows = bars.select("symbol", "session", "open", "close", "is_unexplained_gap").filter(
        pl.col("symbol").is_in(symbols.implode())
    )
    prices = pl.col("open", "close")
    _refuse(
        rows.filter(~pl.all_horizontal(prices.is_finite() & (prices > 0)).fill_null(value=False)),
        "a bar had no usable price",
    )
    _refuse(rows.filter(rows.select("symbol", "session").is_duplicated()), "a bar stood twice")
    rows = _numbered(rows).with_columns(
        is_last=pl.col("number") == pl.col("number").max().over("symbol")
    )
    if scored.is_empty() or rows.is_empty():
        return _laid_out(symbols, rows.clear(), first=0, n_sessions=0), 0
    numbers = scored["number"].to_numpy()
    first, last = int(numbers.min()), int(numbers.max())
    end = min(last + horizon_sessions, int(rows["number"].to_numpy().max()))
    n_sessions = max(0, end - first)
    rows = rows.filter(pl.col("number").is_between(first + 1, end))
    return _laid_out(symbols, rows, first=first + 1, n_sessions=n_sessions), first


def _laid_out(symbols: pl.Series, rows: pl.DataFrame, *, first: int, n_sessions: int) -> _Market:
    shape = (n_sessions, symbols.len())
    names = tuple(symbols.to_list())
    cells = (rows["number"].to_numpy() - first, _codes(rows["symbol"], names))

    def grid(column: str, empty: float | bool) -> NDArray[np.generic]:
        values = np.full(shape, empty)
        values[cells] = rows[column].to_numpy()
        return values

    opens = np.asarray(grid("open", np.nan), dtype=np.float64)
    has_bar = ~np.isnan(opens)
    is_last = np.asarray(grid("is_last", empty=False), dtype=np.bool_)
    if n_sessions:
        is_last[-1] = has_bar[-1]
    calendar = nse_calendar()
    sessions = [calendar.session_at(first + place) for place in range(n_sessions)]
    return _Market(
        symbols=names,
        sessions=np.array(sessions, dtype="datetime64[D]"),
        opens=opens,
        closes=np.asarray(grid("close", np.nan), dtype=np.float64),
        has_bar=has_bar,
        is_gap=np.asarray(grid("is_unexplained_gap", empty=False), dtype=np.bool_),
        is_last=is_last,
    )


def _targets(
    scored: pl.DataFrame,
    market: _Market,
    first: int,
    *,
    horizon_sessions: int,
    config: BacktestConfig,
) -> _Floats:
    n_sessions, n_symbols = len(market.sessions), len(market.symbols)
    signals = np.zeros((n_sessions, n_symbols))
    rows = scored.filter(pl.col("score") >= config.threshold, pl.col("number") < first + n_sessions)
    places = rows["number"].to_numpy() - first
    signals[places, _codes(rows["symbol"], market.symbols)] = 1
    sums = np.cumsum(signals, axis=0)
    sums[horizon_sessions:] -= sums[:-horizon_sessions].copy()
    size = config.position_frac or config.gross_limit_frac / max(1, n_symbols)
    targets = np.minimum(sums / horizon_sessions * size, config.max_position_frac)
    total = targets.sum(axis=1, keepdims=True)
    return targets * np.minimum(1, config.gross_limit_frac / np.maximum(total, 1e-300))


def _result(
    market: _Market,
    targets: _Floats,
    *,
    horizon_sessions: int,
    costs: CostConfig,
    config: BacktestConfig,
) -> BacktestResult:
    ledger = _simulate(market, targets, costs=costs, config=config)
    equity = pl.DataFrame(ledger.days, schema=list(EQUITY_SCHEMA)[1:], orient="row")
    sessions = pl.Series("session", market.sessions)
    return BacktestResult(
        config=config,
        costs=costs,
        horizon_sessions=horizon_sessions,
        equity=equity.with_columns(sessions).select(*EQUITY_SCHEMA).cast(EQUITY_SCHEMA),
        positions=_positions(market, ledger),
        trades=_trades(market, ledger, costs),
        n_gaps_held=ledger.n_gaps_held,
    )


def _simulate(
    market: _Market, targets: _Floats, *, costs: CostConfig, config: BacktestConfig
) -> _Ledger:
    rates = cost_rates(market.sessions, costs)
    buy_frac, sell_frac = rates.buy_frac, rates.sell_frac
    shape = targets.shape
    weights, traded, sold = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    empty = np.zeros(shape[1])
    book = _Book(config.capital_inr, empty, empty, empty)
    days: list[tuple[float, ...]] = []
    equity, n_gaps = config.capital_inr, 0
    for row in range(shape[0]):
        n_gaps += int((market.is_gap[row] & (book.units > 0)).sum())
        weights[row], traded[row] = _trade_at_open(book, market, row, targets[row], config)
        sold[row] = _sell_at_close(book, market, row)
        bought_inr = np.maximum(traded[row], 0).sum()
        sold_inr = sold[row].sum() - np.minimum(traded[row], 0).sum()
        n_sales = int(((traded[row] < 0) | (sold[row] > 0)).sum())
        cost = bought_inr * buy_frac[row] + sold_inr * sell_frac[row]
        cost += n_sales * costs.dp_charge_inr
        book.cash -= cost
        before, equity = equity, book.cash + float(book.units @ book.marks)
        net_return, cost_return = equity / before - 1, cost / before
        exposure, turnover = weights[row].sum(), (bought_inr + sold_inr) / before
        gross_return = net_return + cost_return
        days.append((equity, gross_return, cost_return, net_return, exposure, turnover))
    return _Ledger(weights, traded, sold, days, n_gaps)


def _trade_at_open(
    book: _Book, market: _Market, row: int, target: _Floats, config: BacktestConfig
) -> tuple[_Floats, _Floats]:
    has_bar = market.has_bar[row]
    price = np.where(has_bar, market.opens[row], book.marks)
    value = book.cash + float(book.units @ price)
    if value <= 0:
        raise ConfigError(
            "costs used the capital up",
            where=f"session {market.sessions[row]}",
            found=f"equity of {value:.0f} INR",
            remedy="raise capital_inr: the DP charge does not shrink with the positions",
        )
    weight = book.units * price / value
    is_due = has_bar & (np.abs(target - book.applied) > _SMALLEST_CHANGE_FRAC)
    wish = _within_limit(np.where(is_due, target, weight), weight, config.gross_limit_frac)
    is_traded = is_due & (np.abs(wish - weight) > _SMALLEST_CHANGE_FRAC)
    traded = np.where(is_traded, wish - weight, 0) * value
    book.units = np.where(is_traded, wish * value / np.where(has_bar, price, 1), book.units)
    book.applied = np.where(is_due, target, book.applied)
    book.cash -= traded.sum()
    book.marks = np.where(has_bar, market.closes[row], price)
    return np.where(is_traded, wish, weight), traded


def _within_limit(wish: _Floats, weight: _Floats, limit: float) -> _Floats:
    purchases = np.maximum(wish - weight, 0)
    excess, total = wish.sum() - limit, purchases.sum()
    if excess <= _SMALLEST_CHANGE_FRAC or total == 0:
        return wish
    return wish - purchases * min(1, excess / total)


def _sell_at_close(book: _Book, market: _Market, row: int) -> _Floats:
    is_sold = market.is_last[row] & (book.units > 0)
    value = np.where(is_sold, book.units * book.marks, 0)
    book.units = np.where(is_sold, 0, book.units)
    book.cash += value.sum()
    return value


def _positions(market: _Market, ledger: _Ledger) -> pl.DataFrame:
    rows, columns = np.nonzero(ledger.weights)
    return pl.DataFrame(
        {
            "session": market.sessions[rows],
            "symbol": [market.symbols[column] for column in columns],
            "weight": ledger.weights[rows, columns],
        },
        schema=POSITIONS_SCHEMA,
    )


def _trades(market: _Market, ledger: _Ledger, costs: CostConfig) -> pl.DataFrame:
    # The moments are the last axis, so that rows come out by session, symbol, moment.
    flows = np.stack([ledger.traded, -ledger.sold_at_close], axis=2)
    prices = np.stack([market.opens, market.closes], axis=2)
    rows, columns, moments = np.nonzero(flows)
    value = flows[rows, columns, moments]
    is_charged = flows < 0
    is_charged[:, :, 1] &= ~is_charged[:, :, 0]
    items = trade_costs(
        np.maximum(value, 0),
        np.maximum(-value, 0),
        market.sessions[rows],
        config=costs,
        n_dp_charges=is_charged[rows, columns, moments],
    )
    trades = items.with_columns(
        symbol=pl.Series([market.symbols[column] for column in columns], dtype=pl.String),
        side=pl.Series(np.where(value > 0, "buy", "sell"), dtype=pl.String),
        moment=pl.Series(np.where(moments == 0, "open", "close"), dtype=pl.String),
        value_inr=pl.Series(np.abs(value)),
        price=pl.Series(prices[rows, columns, moments]),
    )
    return trades.select(*TRADES_SCHEMA).cast(TRADES_SCHEMA)


def _codes(column: pl.Series, symbols: tuple[str, ...]) -> NDArray[np.integer]:
    return column.cast(pl.Enum(symbols)).to_physical().to_numpy()


def _numbered(rows: pl.DataFrame) -> pl.DataFrame:
    calendar = nse_calendar().numbers().select("session", number="session_number")
    numbered = rows.join(calendar, on="session", how="left", maintain_order="left")
    _refuse(numbered.filter(pl.col("number").is_null()), "a session was not in the calendar")
    return numbered


def _refuse(rows: pl.DataFrame, what: str) -> None:
    if not rows.is_empty():
        raise DataError(
            what,
            where=f"{rows['symbol'][0]} {rows['session'][0]}",
            found=f"{rows.height} such rows",
        )
