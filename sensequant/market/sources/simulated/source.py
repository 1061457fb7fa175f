"""The simulated market as a source of bars: ticks, events, indices, frames.

Belongs here: what turns price paths into bars as an exchange would publish them. Does not belong
here: the random process (`paths`).

Every bar says `is_simulated` and `source` "simulated". Prices stand on the tick of 0.05 rupees.
Events, with `has_events`: the last stock is listed `LISTING_SESSION` sessions after the start, the
second is split 10:1 at `SPLIT_SESSION`, the first lacks the sessions of `HOLE_SESSIONS`.

Intraday bars are cut out of the daily ones (`intraday`); indices have daily bars only.

NIFTY50 is the index of equal weights over the stocks that are listed; NIFTY50TRI adds a constant
dividend yield and, like the real one, has only a close. Neither is traded: their volume is 0.
"""

import dataclasses
from datetime import date
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.errors import ConfigError, MissingBarsError
from sensequant.market.actions import ACTION_SCHEMA, actions_frame
from sensequant.market.bars import BAR_SCHEMA
from sensequant.market.intervals import INTERVALS, Interval, is_intraday
from sensequant.market.quality import QUARANTINE_SCHEMA, QualityReport
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk, Fetched, require_range, require_symbol
from sensequant.market.sources.simulated.config import SimulatedConfig
from sensequant.market.sources.simulated.intraday import aggregate_minutes, minute_bars
from sensequant.market.sources.simulated.paths import (
    OVERNIGHT_VARIANCE_FRAC,
    SESSIONS_PER_YEAR,
    Paths,
    bridge_extremes,
    simulate_paths,
    stream,
)
from sensequant.market.symbols import NIFTY50, NIFTY50_TRI
from sensequant.records import derive_seed, digest_of

__all__ = [
    "DIVIDEND_YIELD_FRAC",
    "HOLE_SESSIONS",
    "LISTING_SESSION",
    "SPLIT_RATIO",
    "SPLIT_SESSION",
    "SimulatedSource",
]

Floats = NDArray[np.float64]

SOURCE = "simulated"

LISTING_SESSION = 1180
"""Position of the first session of the stock that is listed late."""

SPLIT_SESSION = 1350
"""Position of the ex-date of the split."""

SPLIT_RATIO = 0.1
"""Price after over price before the split."""

HOLE_SESSIONS = range(1240, 1280)
"""Positions of the sessions that one stock lacks."""

DIVIDEND_YIELD_FRAC = 0.0125
"""Yearly dividend yield of the total return index."""

_TICK_INR = 0.05
_INDEX_START = 10_000.0
_INDICES = (NIFTY50, NIFTY50_TRI)


class _Prices(NamedTuple):
    opens: Floats
    highs: Floats
    lows: Floats
    closes: Floats


@dataclasses.dataclass(frozen=True)
class SimulatedSource:
    """A seeded market.

    Parameters
    ----------
    config
        Its settings; they determine every value.
    """

    config: SimulatedConfig

    @property
    def name(self) -> str:
        """Short name, for records."""
        return SOURCE

    @property
    def is_simulated(self) -> bool:
        """Always True."""
        return True

    def symbols(self) -> tuple[str, ...]:
        """Return SIM01, SIM02, ..., with as many digits as are needed."""
        width = max(2, len(str(self.config.n_symbols)))
        return tuple(f"SIM{number:0{width}d}" for number in range(1, self.config.n_symbols + 1))

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """All of them."""
        return INTERVALS

    def indices(self) -> tuple[str, ...]:
        """Return the two indices, which have daily bars only."""
        return _INDICES

    def sessions_per_chunk(self, interval: Interval) -> int | None:  # noqa: ARG002
        """Return None: one chunk holds the whole history, whatever the interval."""
        return None

    def fetch(self, chunk: Chunk) -> Fetched:
        """Return the bars of one stock or index; cutting by dates never changes a value.

        Raises
        ------
        UnknownSymbolError
            The symbol is not in this market.
        ConfigError
            It is an index and the interval intraday, or the range is upside down.
        MissingBarsError
            No bar lies within the chunk.
        """
        require_range(chunk.start, chunk.end)
        require_symbol(chunk.symbol, (*self.symbols(), *_INDICES), source=SOURCE)
        whole = self._daily_bars(chunk.symbol)
        daily = whole.filter(
            pl.col("session").is_between(chunk.start or date.min, chunk.end or date.max)
        )
        bars = self._intraday_bars(chunk, daily) if is_intraday(chunk.interval) else daily
        if bars.is_empty():
            raise MissingBarsError(
                "no simulated bars",
                where=f"{chunk.symbol} {chunk.interval}",
                expected=f"bars from {whole['session'].min()} to {whole['session'].max()}",
                found=f"a request from {chunk.start} to {chunk.end}",
                remedy="widen the range",
            )
        if is_intraday(chunk.interval):
            whole = bars
        digest = digest_of([self.config, chunk.symbol, chunk.interval, self._sessions[-1]])
        return Fetched(bars, QUARANTINE_SCHEMA.to_frame(), _report(chunk.symbol, whole), digest)

    def actions(self) -> pl.DataFrame:
        """Return the split, or an empty frame without events."""
        if not self.config.has_events:
            return ACTION_SCHEMA.to_frame()
        subject = "Face Value Split (Sub-Division) - From Rs 10/- Per Share To Re 1/- Per Share"
        row = (self.symbols()[1], self._sessions[SPLIT_SESSION], "split", SPLIT_RATIO)
        return actions_frame([(*row, subject, SOURCE)])

    @cached_property
    def _sessions(self) -> list[date]:
        calendar = nse_calendar()
        return calendar.sessions(self.config.history_start, calendar.last)

    @cached_property
    def _paths(self) -> Paths:
        return simulate_paths(self.config, symbols=self.symbols(), n_sessions=len(self._sessions))

    @cached_property
    def _is_listed(self) -> NDArray[np.bool_]:
        is_listed = np.ones(self._paths.closes.shape, dtype=np.bool_)
        if self.config.has_events:
            is_listed[:LISTING_SESSION, -1] = False
        return is_listed

    @cached_property
    def _bars_by_symbol(self) -> dict[str, pl.DataFrame]:
        return {}

    def _daily_bars(self, symbol: str) -> pl.DataFrame:
        known = self._bars_by_symbol.get(symbol)
        if known is None:
            is_index = symbol in _INDICES
            known = self._index_bars(symbol) if is_index else self._stock_bars(symbol)
            self._bars_by_symbol[symbol] = known
        return known

    def _intraday_bars(self, chunk: Chunk, daily: pl.DataFrame) -> pl.DataFrame:
        if chunk.symbol in _INDICES:
            raise ConfigError(
                "the simulated indices have no intraday bars",
                where=f"{chunk.symbol} {chunk.interval}",
                expected="a stock, or daily bars",
                remedy="ask for 1day",
            )
        seed = derive_seed(self.config.seed, "simulated", "intraday", chunk.symbol)
        minutes = minute_bars(daily, seed=seed, calendar=nse_calendar())
        if chunk.interval == "1minute":
            return minutes
        return aggregate_minutes(minutes, chunk.interval)

    def _stock_bars(self, symbol: str) -> pl.DataFrame:
        column = self.symbols().index(symbol)
        paths = self._paths
        start = _first_price(self.config, symbol)
        scale = start * self._price_scale(column)
        prices = _Prices(
            opens=_on_tick(paths.opens[:, column] * scale),
            highs=_on_tick(paths.highs[:, column] * scale),
            lows=_on_tick(paths.lows[:, column] * scale),
            closes=_on_tick(paths.closes[:, column] * scale),
        )
        # The exchange does not restate the previous close on an ex-date.
        previous = np.concatenate([_on_tick(np.array([start])), prices.closes[:-1]])
        moves = np.diff(np.log(paths.closes[:, column]), prepend=0.0)
        volumes = _volumes(self.config, symbol, moves / paths.volatilities[:, column])
        volumes = np.maximum(np.round(volumes / self._price_scale(column)), 1.0)
        frame = _frame(symbol, self._sessions, _consistent(prices)).with_columns(
            volume=pl.Series(volumes.astype(np.int64)),
            previous_close=pl.Series(previous),
            series=pl.lit("EQ"),
        )
        return _with_trades(frame, self.config, symbol).filter(pl.Series(self._is_traded(column)))

    def _index_bars(self, symbol: str) -> pl.DataFrame:
        paths = self._paths
        before = np.vstack([np.ones(paths.closes.shape[1]), paths.closes[:-1]])
        returns = self._mean_of_listed(paths.closes / before - 1.0)
        if symbol == NIFTY50_TRI:
            returns = returns + DIVIDEND_YIELD_FRAC / SESSIONS_PER_YEAR
            closes = _on_paisa(_levels(returns)[1:])
            return _frame(symbol, self._sessions, _Prices(closes, closes, closes, closes))
        levels = _levels(returns)
        closes = levels[1:]
        opens = levels[:-1] * (1.0 + self._mean_of_listed(paths.opens / before - 1.0))
        uniforms = _uniforms(self.config, n_sessions=closes.size)
        top, bottom = bridge_extremes(np.log(closes / opens), self._index_variance(), uniforms)
        prices = _Prices(
            opens=_on_paisa(opens),
            highs=_on_paisa(opens * np.exp(top)),
            lows=_on_paisa(opens * np.exp(bottom)),
            closes=_on_paisa(closes),
        )
        return _frame(symbol, self._sessions, _consistent(prices))

    def _mean_of_listed(self, values: Floats) -> Floats:
        total: Floats = np.where(self._is_listed, values, 0.0).sum(axis=1)
        return total / self._n_listed

    @property
    def _n_listed(self) -> Floats:
        n_listed: Floats = self._is_listed.astype(np.float64).sum(axis=1)
        return n_listed

    def _index_variance(self) -> Floats:
        # Equal weights: var = mean variance * (rho + (1 - rho) / n), volatilities being alike.
        variances = self._paths.volatilities**2
        variance = self._mean_of_listed(variances)
        weight = self._paths.common_frac
        if weight.ndim:
            weight = self._mean_of_listed(weight * variances) / variance
        shared = weight + (1.0 - weight) / self._n_listed
        return variance * (1.0 - OVERNIGHT_VARIANCE_FRAC) * shared

    def _price_scale(self, column: int) -> Floats:
        scale = np.ones(len(self._sessions))
        if self.config.has_events and column == 1:
            scale[SPLIT_SESSION:] = SPLIT_RATIO
        return scale

    def _is_traded(self, column: int) -> NDArray[np.bool_]:
        is_traded = self._is_listed[:, column].copy()
        if self.config.has_events and column == 0:
            is_traded[HOLE_SESSIONS.start : HOLE_SESSIONS.stop] = False
        return is_traded


def _first_price(config: SimulatedConfig, symbol: str) -> float:
    return float(500.0 * np.exp(0.8 * stream(config, "first_price", symbol).standard_normal()))


def _volumes(config: SimulatedConfig, symbol: str, moves: Floats) -> Floats:
    # `moves` are in standard deviations, whose mean size is sqrt(2 / pi).
    draws = stream(config, "volume", symbol).standard_normal(moves.size + 1)
    base = 1_500_000.0 * np.exp(0.7 * draws[0])
    return base * np.exp(0.35 * draws[1:] + 0.45 * (np.abs(moves) - np.sqrt(2.0 / np.pi)))


def _with_trades(frame: pl.DataFrame, config: SimulatedConfig, symbol: str) -> pl.DataFrame:
    random = stream(config, "trades", symbol).random((frame.height, 2))
    average = pl.mean_horizontal("open", "high", "low", "close").round(2)
    delivered = pl.col("volume") * pl.Series(0.25 + 0.4 * random[:, 0])
    trades = pl.col("volume") / pl.Series(30.0 + 40.0 * random[:, 1])
    return frame.with_columns(
        average_price=average,
        turnover_inr=(pl.col("volume") * average).round(2),
        delivered_volume=delivered.floor().cast(pl.Int64),
        n_trades=trades.ceil().cast(pl.Int64),
    )


def _levels(returns: Floats) -> Floats:
    growth = np.concatenate([np.ones(1), 1.0 + returns])
    return _INDEX_START * np.cumprod(growth, dtype=np.float64)


def _uniforms(config: SimulatedConfig, *, n_sessions: int) -> Floats:
    return 1.0 - stream(config, "extremes", NIFTY50).random((n_sessions, 2)).T


def _on_tick(prices: Floats) -> Floats:
    return np.maximum(np.round(np.round(prices / _TICK_INR) * _TICK_INR, 2), _TICK_INR)


def _on_paisa(levels: Floats) -> Floats:
    return np.maximum(np.round(levels, 2), 0.01)


def _consistent(prices: _Prices) -> _Prices:
    # Rounding can push a close half a tick beyond the high.
    opens, highs, lows, closes = prices
    return _Prices(
        opens,
        np.maximum.reduce([highs, opens, closes]),
        np.minimum.reduce([lows, opens, closes]),
        closes,
    )


def _frame(symbol: str, sessions: list[date], prices: _Prices) -> pl.DataFrame:
    columns: dict[str, object] = {
        "session": sessions,
        "open": prices.opens,
        "high": prices.highs,
        "low": prices.lows,
        "close": prices.closes,
    }
    absent = [name for name in BAR_SCHEMA if name not in columns]
    filled = {"symbol": symbol, "volume": 0, "source_symbol": symbol, "source": SOURCE}
    return (
        pl.DataFrame(columns)
        .with_columns(
            pl.lit(filled.get(name), dtype=BAR_SCHEMA[name]).alias(name) for name in absent
        )
        .select(BAR_SCHEMA.names())
        .with_columns(is_simulated=pl.lit(value=True))
    )


def _report(symbol: str, bars: pl.DataFrame) -> QualityReport:
    return QualityReport(
        symbol=symbol,
        n_rows_read=bars.height,
        n_rows_good=bars.height,
        n_rows_quarantined=0,
        n_duplicates_dropped=0,
        n_by_reason={},
        n_by_dropped_series={},
    )
