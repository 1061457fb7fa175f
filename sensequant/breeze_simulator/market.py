"""What trades at the simulated vendor: the simulated market, or a folder of real bars.

Belongs here: the interface between a market and the service, its two implementations, and what of
a market can be seen at an instant. Does not belong here: how the vendor words it (`history`,
`quotes`), or what goes wrong on the way (`faults`).

`truth` is what a perfect vendor would deliver in the end. `visible_bars` is what one can deliver
now: nothing after the present minute, the running session with what has traded so far. A minute
can be seen when it is over. Where a market has no minutes, a session can be seen after its close.
"""

import dataclasses
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol

import polars as pl

from sensequant.errors import MissingBarsError
from sensequant.market.bars import BAR_SCHEMA, bar_schema
from sensequant.market.intervals import DAILY, Interval, is_intraday, minutes_of
from sensequant.market.sessions import nse_calendar, session_date_of
from sensequant.market.sources.base import BarSource, Chunk
from sensequant.market.sources.files.source import FilesSource
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.market.sources.simulated.intraday import aggregate_minutes
from sensequant.market.sources.simulated.paths import SESSIONS_PER_YEAR
from sensequant.market.symbols import INDIA_VIX, NIFTY50

__all__ = [
    "FolderFeed",
    "MarketFeed",
    "SimulatedFeed",
    "Snapshot",
    "SourceFeed",
    "snapshot",
    "visible_bars",
]

_HALF_LIFE_SESSIONS = 20.0
_LEAST_VOLATILITY = 1.0
"""In percent a year, as the index is."""


class MarketFeed(Protocol):
    """A market that the simulator can serve."""

    @property
    def is_simulated(self) -> bool:
        """Whether its bars are generated."""
        ...

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """Lengths of bars that it has."""
        ...

    def symbols(self) -> tuple[str, ...]:
        """Return its stocks and funds, sorted."""
        ...

    def indices(self) -> tuple[str, ...]:
        """Return its indices."""
        ...

    def truth(
        self, symbol: str, interval: Interval, start: date | None = None, end: date | None = None
    ) -> pl.DataFrame:
        """Return the true bars of the sessions from `start` to `end`, both included."""
        ...

    def actions(self) -> pl.DataFrame:
        """Return its corporate actions (`market.actions.ACTION_SCHEMA`)."""
        ...


class SourceFeed:
    """Any source of bars as a market; daily bars are kept in memory.

    Parameters
    ----------
    source
        Where the bars come from.
    """

    def __init__(self, source: BarSource) -> None:
        self._source = source
        self._daily: dict[str, pl.DataFrame] = {}

    @property
    def is_simulated(self) -> bool:
        """Whether its bars are generated."""
        return self._source.is_simulated

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """Lengths of bars that it has."""
        return self._source.intervals

    def symbols(self) -> tuple[str, ...]:
        """Return its stocks and funds, sorted."""
        return self._source.symbols()

    def indices(self) -> tuple[str, ...]:
        """Return its indices."""
        return self._source.indices()

    def truth(
        self, symbol: str, interval: Interval, start: date | None = None, end: date | None = None
    ) -> pl.DataFrame:
        """Return the true bars of the sessions from `start` to `end`, both included.

        Returns
        -------
        polars.DataFrame
            `market.bars.bar_schema`; empty where there are none, or none of this length.

        Raises
        ------
        UnknownSymbolError
            The symbol is not in this market.
        ConfigError
            The range is upside down.
        """
        if not is_intraday(interval):
            return self._whole(symbol).filter(
                pl.col("session").is_between(start or date.min, end or date.max)
            )
        if interval not in self.intervals or symbol in self.indices():
            return bar_schema(interval).to_frame()
        return self._fetched(Chunk(symbol, interval, start, end))

    def actions(self) -> pl.DataFrame:
        """Return its corporate actions."""
        return self._source.actions()

    def _whole(self, symbol: str) -> pl.DataFrame:
        known = self._daily.get(symbol)
        if known is None:
            known = self._made(symbol)
            self._daily[symbol] = known
        return known

    def _made(self, symbol: str) -> pl.DataFrame:
        return self._fetched(Chunk(symbol))

    def _fetched(self, chunk: Chunk) -> pl.DataFrame:
        try:
            return self._source.fetch(chunk).bars
        except MissingBarsError:
            return bar_schema(chunk.interval).to_frame()


class SimulatedFeed(SourceFeed):
    """The simulated market, daily and intraday, with an index of volatility beside its indices.

    Parameters
    ----------
    config
        Its settings; None takes their defaults.
    """

    def __init__(self, config: SimulatedConfig | None = None) -> None:
        super().__init__(SimulatedSource(config or SimulatedConfig()))

    def indices(self) -> tuple[str, ...]:
        """Return its indices and INDIA VIX, which the vendor lists, too."""
        return (*super().indices(), INDIA_VIX)

    def _made(self, symbol: str) -> pl.DataFrame:
        return _volatility(self._whole(NIFTY50)) if symbol == INDIA_VIX else super()._made(symbol)


class FolderFeed(SourceFeed):
    """A folder of real bars, in any layout that `sources.files` reads.

    Parameters
    ----------
    folder
        Folder with one file, or one folder of daily files, per symbol.
    index_folder
        Folder with index files; None looks beside the bars.

    Raises
    ------
    ConfigError
        A folder is missing or holds no bars.
    """

    def __init__(self, folder: Path, *, index_folder: Path | None = None) -> None:
        super().__init__(FilesSource(folder, index_folder=index_folder))


def _volatility(index: pl.DataFrame) -> pl.DataFrame:
    # What options would cost is not simulated: the volatility of the last weeks stands for it.
    squares = pl.col("close").log().diff().fill_null(0.0) ** 2
    deviation = squares.ewm_mean(half_life=_HALF_LIFE_SESSIONS).sqrt()
    level = (100.0 * (deviation * SESSIONS_PER_YEAR**0.5)).clip(_LEAST_VOLATILITY).round(2)
    former = level.shift(1).fill_null(level)
    # It swings within a session as the index does.
    top = pl.col("high") / pl.max_horizontal("open", "close")
    bottom = pl.col("low") / pl.min_horizontal("open", "close")
    return index.with_columns(
        symbol=pl.lit(INDIA_VIX),
        source_symbol=pl.lit(INDIA_VIX),
        open=former,
        high=(pl.max_horizontal(former, level) * top).round(2),
        low=(pl.min_horizontal(former, level) * bottom).round(2),
        close=level,
        previous_close=pl.lit(None, dtype=pl.Float64),
    )


def visible_bars(
    feed: MarketFeed, symbol: str, interval: Interval, *, start: date, end: date, now: datetime
) -> pl.DataFrame:
    """Return the bars of the sessions from `start` to `end` that can be seen at an instant.

    Returns
    -------
    polars.DataFrame
        `market.bars.bar_schema`, sorted.
    """
    today = session_date_of(now)
    whole = feed.truth(symbol, interval, start, end) if start <= end else None
    if whole is None or end < today:
        return bar_schema(interval).to_frame() if whole is None else whole
    past = whole.filter(pl.col("session") < today)
    running = whole.filter(pl.col("session") == today)
    if running.is_empty():
        return past
    return pl.concat([past, _so_far(feed, symbol, interval, whole=running, now=now)])


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of one stock or index at an instant; prices in rupees or points."""

    open: float
    high: float
    low: float
    last: float
    volume: int
    previous_close: float
    traded_at: datetime
    """Instant of the last trade."""


def snapshot(feed: MarketFeed, symbol: str, *, now: datetime) -> Snapshot | None:
    """Return the state of a symbol, or None where nothing has traded yet."""
    today = session_date_of(now)
    bars = visible_bars(feed, symbol, DAILY, start=date.min, end=today, now=now).tail(2)
    if bars.is_empty():
        return None
    last = bars.row(-1, named=True)
    before = bars.row(0, named=True)["close"] if bars.height > 1 else last["previous_close"]
    closed = nse_calendar().closes(last["session"])
    return Snapshot(
        open=last["open"],
        high=last["high"],
        low=last["low"],
        last=last["close"],
        volume=last["volume"],
        previous_close=last["open"] if before is None else before,
        traded_at=now if closed is None else min(now, closed),
    )


def _so_far(
    feed: MarketFeed, symbol: str, interval: Interval, *, whole: pl.DataFrame, now: datetime
) -> pl.DataFrame:
    session: date = whole["session"][0]
    closed = nse_calendar().closes(session)
    if closed is None:
        # Nobody knows when it ends, so it is over at midnight.
        return whole.clear()
    if now >= closed:
        return whole
    minutes = feed.truth(symbol, "1minute", session, session)
    if minutes.is_empty():
        return _ended(whole, interval, now=now)
    traded = _ended(minutes, "1minute", now=now)
    if is_intraday(interval):
        return traded if interval == "1minute" else aggregate_minutes(traded, interval)
    return whole.clear() if traded.is_empty() else _session_bar(traded, whole)


def _ended(bars: pl.DataFrame, interval: Interval, *, now: datetime) -> pl.DataFrame:
    if not is_intraday(interval):
        return bars.clear()
    length = timedelta(minutes=minutes_of(interval))
    return bars.filter(pl.col("starts_at") + length <= now.astimezone(UTC))


def _session_bar(minutes: pl.DataFrame, whole: pl.DataFrame) -> pl.DataFrame:
    nothing = {
        name: pl.lit(None, dtype=BAR_SCHEMA[name])
        for name in ("average_price", "turnover_inr", "n_trades", "delivered_volume")
    }
    return whole.with_columns(
        high=pl.lit(minutes["high"].max()),
        low=pl.lit(minutes["low"].min()),
        close=pl.lit(minutes["close"][-1]),
        volume=pl.lit(minutes["volume"].sum(), dtype=pl.Int64),
        **nothing,
    )
