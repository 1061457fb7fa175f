"""Snapshots of option chains: asking the vendor, and what is kept of the answer.

Belongs here: which expiries are asked for, one snapshot of many underlyings, its report. Does not
belong here: reading rows (`option_rows`), what a price implies (`context.options`).

The vendor wants two conditions for a chain, so that each expiry and right is a call of its own.
Where no expiry is named, those are asked for that its list of derivatives has for the underlying,
weekly ones among them, to the end of the month after the next. Where that list cannot be had, the
monthly ones are looked for: contracts of NSE end on the last Tuesday of a month, until August 2025
on the last Thursday, or on the session before it; both are asked for, and one without contracts
costs a call.
"""

import calendar as months
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

import polars as pl
from pydantic import AfterValidator, Field

from sensequant.capture.option_rows import ChainRead, read_chain
from sensequant.context.options import OPTIONS, QUOTE_SCHEMA, with_volatilities
from sensequant.context.rows import INSTANT
from sensequant.context.store import REFUSED_SCHEMA, ContextStore
from sensequant.errors import MasterUnavailableError, SourceError, UnknownSymbolError
from sensequant.market.selection import Symbol
from sensequant.market.sessions import SessionCalendar, session_date_of
from sensequant.market.sources.breeze.master_file import download_expiries
from sensequant.market.sources.breeze.source import BreezeSource
from sensequant.market.sources.build import SourceConfig
from sensequant.market.symbols import NIFTY50
from sensequant.records import Config, Record

__all__ = [
    "OptionSnapshotReport",
    "OptionSnapshotRequest",
    "monthly_expiries",
    "take_snapshot",
    "why_no_snapshot",
]

_ENDS_ON = (months.TUESDAY, months.THURSDAY)
_N_MONTHS = 3
_N_IN_YEAR = 12
_MOST_EXPIRIES = 20


def _named_as_we_do(symbol: str) -> str:
    return NIFTY50 if symbol == "NIFTY" else symbol


Underlying = Annotated[Symbol, AfterValidator(_named_as_we_do)]
"""A share or index; the exchange calls options on the NIFTY 50 those on NIFTY."""


class OptionSnapshotRequest(Config):
    """Options on which underlyings, of which expiries, at which rates."""

    symbols: tuple[Underlying, ...] = Field(
        default=(NIFTY50,),
        min_length=1,
        max_length=500,
        description="Underlyings: NSE tickers, and NIFTY50 (or NIFTY).",
    )
    expiries: tuple[date, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=_MOST_EXPIRIES,
        description="Dates at which the contracts end; empty takes those that the vendor lists "
        "for three months, weekly ones among them.",
    )
    rate_frac: float = Field(
        default=0.065,
        ge=-0.05,
        le=0.5,
        description="Rate of interest in a year (fraction), compounded continuously.",
    )
    dividend_frac: float = Field(
        default=0.0,
        ge=0.0,
        le=0.5,
        description="Rate of dividends in a year (fraction), compounded continuously.",
    )
    source: SourceConfig = Field(
        default_factory=lambda: SourceConfig(kind="breeze"),
        description="Vendor: breeze or breeze-simulator.",
    )


class OptionSnapshotReport(Record):
    """What a snapshot brought.

    Attributes
    ----------
    session, begun_at, ended_at
        Of which session, and between which instants it was asked for.
    source, is_simulated
        Who was asked, and whether the answer is invented.
    rate_frac, dividend_frac
        Rates of the volatilities.
    expiries_by
        Who said on which days contracts end: the request, the vendor's list, or the rule of months.
    n_contracts
        Contracts stored, by underlying.
    n_volatilities
        Those of them whose price implies a volatility.
    n_without
        Those that imply none, by reason.
    n_refused
        Rows that are no contract, by reason.
    without_options
        Underlyings that the vendor does not know, or that have no contract of these expiries.
    n_calls
        Requests that it cost; the list is none.
    """

    session: date
    begun_at: datetime
    ended_at: datetime
    source: str
    is_simulated: bool
    rate_frac: float
    dividend_frac: float
    expiries_by: Literal["request", "list", "rule"]
    n_contracts: dict[str, int]
    n_volatilities: int
    n_without: dict[str, int]
    n_refused: dict[str, int]
    without_options: tuple[str, ...]
    n_calls: int


def why_no_snapshot(now: datetime, calendar: SessionCalendar) -> str | None:
    """Return why no session is open at an instant, or None where one is.

    What becomes known after the close counts for no session, so that nothing is asked then.

    Raises
    ------
    ConfigError
        The instant is naive, or the calendar does not know its year.
    """
    day = session_date_of(now)
    if not calendar.is_session(day):
        return f"{day:%A %Y-%m-%d} is no session of NSE"
    opens, closes = calendar.opens(day), calendar.closes(day)
    if opens is None or closes is None:
        return f"nobody knows the hours of the session of {day}"
    return None if opens <= now < closes else f"the session of {day} is not open"


def monthly_expiries(today: date, calendar: SessionCalendar) -> tuple[date, ...]:
    """Return the days on which contracts of this and the next two months may end, in order."""
    found: set[date] = set()
    for year, month in _months_from(today):
        last = _last_day(year, month)
        for weekday in _ENDS_ON:
            end = last - timedelta(days=(last.weekday() - weekday) % 7)
            # A contract of a year that the calendar does not know yet keeps its day.
            found.add(calendar.previous_on_or_before(end) if end <= calendar.last else end)
    return tuple(sorted(day for day in found if day >= today))


def _months_from(today: date) -> list[tuple[int, int]]:
    places = (today.year * _N_IN_YEAR + today.month - 1 + ahead for ahead in range(_N_MONTHS))
    return [(place // _N_IN_YEAR, place % _N_IN_YEAR + 1) for place in places]


def _last_day(year: int, month: int) -> date:
    return date(year, month, months.monthrange(year, month)[1])


def _ends_of(
    asked: OptionSnapshotRequest, source: BreezeSource, today: date, calendar: SessionCalendar
) -> tuple[Literal["request", "list", "rule"], Callable[[str], tuple[date, ...]]]:
    """Return who says on which days contracts end, and these days by the vendor's code."""
    if asked.expiries is not None:
        named = asked.expiries
        return "request", lambda _: named
    by_rule = monthly_expiries(today, calendar)
    try:
        listed = download_expiries(source.client.endpoints, source.config.timeouts)
    except (MasterUnavailableError, SourceError):
        # A session passes once: what is asked by rule is better than nothing of it.
        return "rule", lambda _: by_rule
    last = _last_day(*_months_from(today)[-1])
    return "list", lambda code: tuple(day for day in listed.get(code, ()) if today <= day <= last)[
        :_MOST_EXPIRIES
    ]


def take_snapshot(
    asked: OptionSnapshotRequest,
    source: BreezeSource,
    store: ContextStore,
    *,
    calendar: SessionCalendar,
) -> OptionSnapshotReport:
    """Ask for the chains, and store every contract with the volatility that its price implies.

    All contracts of an underlying stand at the instant at which the last of its answers came; that
    is also when they were known.

    Raises
    ------
    StopSourceError, RetryableError
        The vendor did not deliver; what was stored before stays.
    """
    begun = source.clock().astimezone(UTC)
    expiries_by, ends_of = _ends_of(asked, source, session_date_of(begun), calendar)
    n_contracts, n_without, n_refused = dict[str, int](), Counter[str](), Counter[str]()
    n_volatilities, n_calls = 0, 0
    without: list[str] = []
    for symbol in dict.fromkeys(asked.symbols):
        try:
            code = source.symbol_map.stock_code(symbol)
        except UnknownSymbolError:
            without.append(symbol)
            continue
        chains, calls = _chains(source, code, ends_of(code))
        n_calls += calls
        at = source.clock().astimezone(UTC)
        rows = _rows(chains, symbol, asked, source, at, is_simulated=store.is_simulated)
        refused = [refusal for chain in chains for refusal in chain.refused]
        store.refuse(OPTIONS, _refusals(refused, symbol, source.name, at))
        n_refused.update(reason for _, reason, _ in refused)
        if rows.is_empty():
            without.append(symbol)
            continue
        store.write(OPTIONS, rows, written_at=at)
        n_contracts[symbol] = rows.height
        n_volatilities += rows["implied_volatility"].count()
        n_without.update(rows["reason"].drop_nulls().to_list())
    return OptionSnapshotReport(
        session=session_date_of(begun),
        begun_at=begun,
        ended_at=source.clock().astimezone(UTC),
        source=source.name,
        is_simulated=store.is_simulated,
        rate_frac=asked.rate_frac,
        dividend_frac=asked.dividend_frac,
        expiries_by=expiries_by,
        n_contracts=n_contracts,
        n_volatilities=n_volatilities,
        n_without=dict(sorted(n_without.items())),
        n_refused=dict(sorted(n_refused.items())),
        without_options=tuple(without),
        n_calls=n_calls,
    )


def _chains(
    source: BreezeSource, code: str, expiries: Sequence[date]
) -> tuple[list[ChainRead], int]:
    chains: list[ChainRead] = []
    n_calls = 0
    for expiry, is_call in _asked_for(expiries):
        if not is_call and chains and chains[-1].quotes.is_empty() and not chains[-1].refused:
            # Where there are no calls there are no puts.
            continue
        right = "call" if is_call else "put"
        delivery = source.client.option_chain(code, expiry=expiry, right=right)
        n_calls += delivery.n_calls
        chains.append(read_chain(delivery.rows, expiry=expiry, is_call=is_call))
    return chains, n_calls


def _asked_for(expiries: Sequence[date]) -> Iterator[tuple[date, bool]]:
    for expiry in expiries:
        yield expiry, True
        yield expiry, False


def _rows(
    chains: Sequence[ChainRead],
    symbol: str,
    asked: OptionSnapshotRequest,
    source: BreezeSource,
    at: datetime,
    *,
    is_simulated: bool,
) -> pl.DataFrame:
    quotes = pl.concat([QUOTE_SCHEMA.to_frame(), *(chain.quotes for chain in chains)])
    solved = with_volatilities(
        quotes, at=at, rate_frac=asked.rate_frac, dividend_frac=asked.dividend_frac
    )
    instant = pl.lit(at, INSTANT)
    return solved.select(
        symbol=pl.lit(symbol),
        at=instant,
        known_at=instant,
        source=pl.lit(source.name),
        is_simulated=pl.lit(is_simulated),
        **{name: pl.col(name) for name in OPTIONS.values},
    ).cast(OPTIONS.schema)


def _refusals(
    refused: Sequence[tuple[str, str, str]], symbol: str, source: str, at: datetime
) -> pl.DataFrame:
    rows = [(symbol, *refusal, source, "", at) for refusal in refused]
    return pl.DataFrame(rows, schema=REFUSED_SCHEMA, orient="row")
