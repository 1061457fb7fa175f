"""History of bars, in the words of both versions of the API.

Belongs here: reading a request, rows of v1 and v2, the limit of rows, and the places at which rows
are spoilt. Does not belong here: which bars there are (`market`), what a fault does (`row_faults`).

Times are wall clock in India, whatever zone the text claims; both ends of a range are included, but
v1 leaves out an intraday bar that begins at its start. A row is labelled by its start, a session by
midnight in v2 and by noon in v1. v2 has numbers, v1 has texts. Only the newest rows up to the limit
are delivered, without a word about the others. An unknown code is no error in v2.
"""

import dataclasses
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Any

import polars as pl

from sensequant.breeze_simulator.clock import Clock, wall_time
from sensequant.breeze_simulator.directory import Directory, Listing
from sensequant.breeze_simulator.fault_catalog import HISTORY_V1, Layer
from sensequant.breeze_simulator.faults import Faults
from sensequant.breeze_simulator.market import MarketFeed, visible_bars
from sensequant.breeze_simulator.row_faults import (
    ReplyContext,
    Row,
    changed_shape,
    changed_values,
    splits_of,
)
from sensequant.breeze_simulator.wire import Reply, Request, envelope, failure
from sensequant.market.intervals import DAILY, INTERVALS, Interval, is_intraday, minutes_of
from sensequant.market.sessions import nse_calendar

__all__ = ["Answer", "History"]

_V1_INTERVALS = {"minute": "1minute", "day": "1day"}
_EXCHANGE = "NSE"
_AHEAD_OF_UTC = timedelta(hours=5, minutes=30)
_OPENED_AT = time(9, 15)

# The same bar had 1951 shares in v1 and 54277 in v2 (README of the SDK).
_V1_VOLUME_DIVISOR = 28


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """A reply, and the faults that acted on its rows."""

    reply: Reply
    faults: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class _Query:
    listing: Listing
    interval: Interval
    first: datetime
    last: datetime
    is_v1: bool
    now: datetime


class History:
    """The two history services.

    Parameters
    ----------
    feed
        The market.
    directory
        Its names.
    clock
        The vendor's time.
    faults
        What goes wrong.
    bars_per_reply
        Limit of rows.
    """

    def __init__(
        self,
        feed: MarketFeed,
        directory: Directory,
        *,
        clock: Clock,
        faults: Faults,
        bars_per_reply: int,
    ) -> None:
        self._feed = feed
        self._directory = directory
        self._clock = clock
        self._faults = faults
        self._bars_per_reply = bars_per_reply

    def answer(self, request: Request) -> Answer:
        """Answer a request that was let in."""
        is_v1 = request.route == HISTORY_V1
        try:
            first, last = (
                _parsed(request.params.get(name, "")) for name in ("from_date", "to_date")
            )
        except ValueError:
            return Answer(failure("Invalid date", outcome="bad_request"))
        name = request.params.get("interval", "")
        interval = _V1_INTERVALS.get(name, name) if is_v1 else name
        listing = self._listing(request)
        if listing is None:
            return Answer(_unknown_code(is_v1=is_v1))
        if interval not in INTERVALS:
            return Answer(envelope([]))
        query = _Query(listing, interval, first, last, is_v1=is_v1, now=self._clock())
        return self._rows_answer(query, request)

    def _listing(self, request: Request) -> Listing | None:
        exchange = request.params.get("exch_code", request.params.get("exchange_code", ""))
        code = request.params.get("stock_code", "")
        if exchange.upper() != _EXCHANGE:
            return None
        listing = self._directory.of_code(code, self._faults.renamed())
        if listing is None or listing.symbol not in (*self._feed.symbols(), *self._feed.indices()):
            return None
        return listing

    def _rows_answer(self, query: _Query, request: Request) -> Answer:
        context = self._context(query)
        where: dict[str, Any] = {
            "path": request.route,
            "identity": request.identity,
            "symbol": query.listing.symbol,
        }
        rows, spoilt = self._faults.change(
            self._rows(query),
            lambda fault, value: changed_values(fault, value, context),
            layer=Layer.ROWS,
            **where,
        )
        rows = _newest(rows, self._bars_per_reply)
        if query.is_v1:
            rows = [_v1_row(row, query.interval) for row in rows]
        rows, misshapen = self._faults.change(
            rows,
            lambda fault, value: changed_shape(fault, value, context),
            layer=Layer.SHAPE,
            **where,
        )
        return Answer(envelope(rows), (*spoilt, *misshapen))

    def _rows(self, query: _Query) -> list[Row]:
        bars = visible_bars(
            self._feed,
            query.listing.symbol,
            query.interval,
            start=query.first.date(),
            end=query.last.date(),
            now=query.now,
        )
        is_from_first = pl.col("at") >= query.first
        if query.is_v1 and is_intraday(query.interval):
            is_from_first = pl.col("at") > query.first
        wanted = _with_time(bars, query.interval).filter(is_from_first, pl.col("at") <= query.last)
        return _v2_rows(wanted, query.listing.code)

    def _context(self, query: _Query) -> ReplyContext:
        symbol = query.listing.symbol
        today = wall_time(query.now).date()

        def sessions() -> list[date]:
            return self._feed.truth(symbol, DAILY, None, today)["session"].to_list()

        def rows_of(session: date, is_other: bool) -> list[Row]:
            listing = self._neighbour(query.listing) if is_other else query.listing
            day = datetime.combine(session, time())
            return self._rows(
                dataclasses.replace(
                    query,
                    listing=listing,
                    first=day - timedelta(seconds=1),
                    last=day + timedelta(hours=23, minutes=59),
                )
            )

        return ReplyContext(
            symbol=symbol,
            interval=query.interval,
            today=today,
            sessions=sessions,
            splits=lambda: splits_of(self._feed.actions(), symbol),
            rows_of=rows_of,
        )

    def _neighbour(self, listing: Listing) -> Listing:
        symbols = self._feed.symbols()
        place = symbols.index(listing.symbol) if listing.symbol in symbols else -1
        return self._directory.of_symbol(symbols[(place + 1) % len(symbols)])


def _parsed(text: str) -> datetime:
    # The zone that the text claims is not meant.
    return datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")  # noqa: DTZ007


def _unknown_code(*, is_v1: bool) -> Reply:
    if is_v1:
        return failure("Historical Data Fail", outcome="unknown_code")
    return dataclasses.replace(envelope([]), outcome="unknown_code")


def _with_time(bars: pl.DataFrame, interval: Interval) -> pl.DataFrame:
    if not is_intraday(interval):
        return bars.with_columns(at=pl.col("session").cast(pl.Datetime("us")))
    return bars.with_columns(at=pl.col("starts_at").dt.replace_time_zone(None) + _AHEAD_OF_UTC)


def _v2_rows(bars: pl.DataFrame, code: str) -> list[Row]:
    columns = bars.select(
        "close", pl.col("at").dt.to_string("%Y-%m-%d %H:%M:%S"), "high", "low", "open", "volume"
    )
    return [
        {
            "close": close,
            "datetime": at,
            "exchange_code": _EXCHANGE,
            "high": high,
            "low": low,
            "open": opened,
            "stock_code": code,
            "volume": volume,
        }
        for close, at, high, low, opened, volume in columns.iter_rows()
    ]


def _newest(rows: list[Row], n_rows: int) -> list[Row]:
    if len(rows) <= n_rows:
        return rows
    kept = sorted(range(len(rows)), key=lambda at: rows[at]["datetime"])[-n_rows:]
    return [rows[at] for at in sorted(kept)]


def _v1_row(row: Row, interval: Interval) -> Row:
    at = datetime.fromisoformat(row["datetime"])
    count: int | None = None
    volume = row["volume"]
    if is_intraday(interval):
        count = _position(at, interval)
        volume //= _V1_VOLUME_DIVISOR
    else:
        at = at.replace(hour=12)
    return {
        "datetime": at.strftime("%Y-%m-%d %H:%M:%S"),
        "stock_code": row["stock_code"],
        "exchange_code": row["exchange_code"],
        "product_type": None,
        "expiry_date": None,
        "right": None,
        "strike_price": None,
        **{name: _as_text(row[name]) for name in ("open", "high", "low", "close")},
        "volume": str(volume),
        "open_interest": None,
        "count": count,
    }


def _position(at: datetime, interval: Interval) -> int:
    return (at - _opened_at(at.date())) // timedelta(minutes=minutes_of(interval)) + 1


@cache
def _opened_at(session: date) -> datetime:
    opened = nse_calendar().opens(session)
    return datetime.combine(session, _OPENED_AT) if opened is None else wall_time(opened)


def _as_text(price: float) -> str:
    return f"{price:.2f}".rstrip("0").rstrip(".")
