"""The Breeze API as a source of bars.

Belongs here: which requests a chunk needs, and pages of a range that one reply cannot hold. Does
not belong here: how a request is made (`client`), how its rows are read (`rows`), which chunks are
wanted (`sensequant.ingestion`).

A reply holds at most 1000 bars. Of a longer range the service delivers the newest 1000 and says
nothing about the others, so a full reply is followed by a request for what is older than its oldest
bar, until a reply is not full. Requests never overlap.
"""

import dataclasses
from collections.abc import Callable
from datetime import datetime, time, timedelta
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import polars as pl

from sensequant.errors import TruncatedReplyError
from sensequant.market.adjustments import ACTION_SCHEMA
from sensequant.market.intervals import INTERVALS, Interval, is_intraday
from sensequant.market.sessions import IST, nse_calendar, session_date_of
from sensequant.market.sources.base import Chunk, Fetched, require_range
from sensequant.market.sources.breeze.client import BreezeClient
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.rows import RowRequest, read_rows, stamp_of
from sensequant.market.symbols import INDIA_VIX, NIFTY50

__all__ = ["MAX_BARS_PER_REPLY", "BreezeSource", "StockCodes"]

MAX_BARS_PER_REPLY = 1000
"""Bars that one reply holds at most, as the SDK's documentation says."""

_INDICES = (NIFTY50, INDIA_VIX)
_LAST_SECOND = time(23, 59, 59)
_SECOND = timedelta(seconds=1)


class StockCodes(Protocol):
    """Which code Breeze has for a symbol (`market.symbol_map`)."""

    def stock_code(self, symbol: str) -> str:
        """Return the code of a share or index.

        Raises
        ------
        UnknownSymbolError
            It has none, or several; the nearest names are listed.
        """
        ...

    def token(self, symbol: str) -> str:
        """Return the number under which market data of a share is streamed.

        Raises
        ------
        UnknownSymbolError
            It has none, or several.
        """
        ...

    def symbols(self) -> tuple[str, ...]:
        """Return the shares and funds, sorted."""
        ...

    def indices(self) -> tuple[str, ...]:
        """Return the indices."""
        ...


class _Pages(NamedTuple):
    rows: list[Any]
    n_pages: int
    n_calls: int


@dataclasses.dataclass(frozen=True)
class BreezeSource:
    """Bars out of the Breeze API.

    Parameters
    ----------
    client
        How requests are made.
    symbol_map
        Breeze's codes; a symbol that is not in it is refused, never sent as it stands.
    config
        Sizes of chunks, version of daily bars, start of the history.
    clock
        Returns the time, aware; a chunk without an end goes to its date in India.
    is_simulated
        Whether the service is a simulator; every bar says so.
    known_actions
        Corporate actions from elsewhere (`market.adjustments.ACTION_SCHEMA`); the API has none.
    """

    client: BreezeClient
    symbol_map: StockCodes
    config: BreezeConfig
    clock: Callable[[], datetime]
    is_simulated: bool = False
    known_actions: pl.DataFrame | None = None

    @property
    def name(self) -> str:
        """Short name, for records."""
        return "breeze_simulator" if self.is_simulated else "breeze"

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """Every length of bars."""
        return INTERVALS

    def symbols(self) -> tuple[str, ...]:
        """Return the shares and funds that have a code."""
        return self.symbol_map.symbols()

    def indices(self) -> tuple[str, ...]:
        """Return the indices that have a code; the API has no total return index."""
        known = self.symbol_map.indices()
        return tuple(index for index in _INDICES if index in known)

    def sessions_per_chunk(self, interval: Interval) -> int:
        """Return how many sessions one chunk may span, so that one reply holds them."""
        return self.config.sessions_per_chunk(interval)

    def fetch(self, chunk: Chunk) -> Fetched:
        """Return the bars of one chunk; none where the service says that it has none.

        Raises
        ------
        ConfigError
            The range is upside down.
        UnknownSymbolError
            The symbol has no code.
        TruncatedReplyError
            More bars exist than came, and asking for the older ones did not bring them.
        RetryableError, StopSourceError, BadRequestError
            The service did not deliver (`BreezeClient.history`).
        """
        request = self._request(chunk)
        pages = self._pages(request)
        read = read_rows(pages.rows, request, sessions=self._sessions)
        paged = ("truncated_and_paged",) if pages.n_pages > 1 else ()
        return Fetched(
            read.split.good,
            read.split.quarantine,
            read.split.report,
            read.digest,
            pages.n_calls,
            (*paged, *read.findings),
        )

    def actions(self) -> pl.DataFrame:
        """Return the corporate actions that were given, or none."""
        return ACTION_SCHEMA.to_frame() if self.known_actions is None else self.known_actions

    @cached_property
    def _sessions(self) -> pl.Series:
        return nse_calendar().table["session"]

    def _request(self, chunk: Chunk) -> RowRequest:
        start = chunk.start or self.config.history_start
        end = chunk.end or session_date_of(self.clock())
        require_range(start, end)
        return RowRequest(
            symbol=chunk.symbol,
            stock_code=self.symbol_map.stock_code(chunk.symbol),
            interval=chunk.interval,
            start=start,
            end=end,
            version=self.config.version_of(chunk.interval),
            is_simulated=self.is_simulated,
        )

    def _pages(self, request: RowRequest) -> _Pages:
        first = datetime.combine(request.start, time.min, IST)
        last = datetime.combine(request.end, _LAST_SECOND, IST)
        parts: list[list[Any]] = []
        n_calls = 0
        while first < last:
            delivery = self.client.history(
                request.stock_code,
                interval=request.interval,
                first=first,
                last=last,
                version=request.version,
            )
            n_calls += delivery.n_calls
            parts.append(delivery.rows)
            if len(delivery.rows) < MAX_BARS_PER_REPLY:
                break
            last = _end_of_older(delivery.rows, request, last=last)
        older_first = [row for part in reversed(parts) for row in part]
        return _Pages(older_first, len(parts), n_calls)


def _end_of_older(rows: list[Any], request: RowRequest, *, last: datetime) -> datetime:
    stamps = (stamp_of(row, request) for row in rows)
    instants = [stamp.replace(tzinfo=IST) for stamp in stamps if stamp is not None]
    within = [instant for instant in instants if instant <= last]
    if not within:
        raise TruncatedReplyError(
            "reply is full and says nothing of what is older",
            where=f"{request.symbol} {request.interval} {request.start} to {last:%Y-%m-%d %H:%M}",
            expected=f"fewer than {MAX_BARS_PER_REPLY} bars, or bars up to the end asked for",
            found=f"{len(rows)} rows, none of them in the range",
            remedy="fetch fewer sessions at a time",
        )
    oldest = min(within)
    if is_intraday(request.interval):
        return oldest - _SECOND
    return datetime.combine(oldest.date() - timedelta(days=1), _LAST_SECOND, IST)
