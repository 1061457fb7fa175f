"""What a person learns about stored bars: how complete they are, and whether they agree.

Belongs here: bringing the evidence of one source's shelf to the audit and to the cross-checks. Does
not belong here: the rules of either (`sensequant.coverage`, `market.crosscheck`).
"""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import polars as pl

from sensequant.coverage.audit import CoverageAudit, audit_coverage
from sensequant.coverage.collect import collect_evidence
from sensequant.coverage.evidence import as_of_at
from sensequant.coverage.expected import Scope
from sensequant.coverage.summary import Heading
from sensequant.errors import MissingBarsError
from sensequant.ingestion.imports import stored_renames
from sensequant.ingestion.request import BackfillRequest
from sensequant.ingestion.shelf import Shelf
from sensequant.market.crosscheck import (
    COMPARED_SCHEMA,
    DISPUTE_SCHEMA,
    CrossCheck,
    IntradayCheckConfig,
    SourceCheckConfig,
    compare_sources,
    compare_with_intraday,
)
from sensequant.market.intervals import DAILY, INTERVALS, is_intraday
from sensequant.market.listing_evidence import find_listings
from sensequant.market.listings import combine_listings
from sensequant.market.selection import selected_symbols
from sensequant.market.store import BarStore
from sensequant.market.symbols import is_index

__all__ = ["audit_shelf", "cross_check", "heading_of", "symbols_on"]


def symbols_on(shelf: Shelf, request: BackfillRequest, *, universes: Path) -> tuple[str, ...]:
    """Return the symbols that a request means; with none named, those that have bars here."""

    def available() -> tuple[str, ...]:
        stored = {symbol for each in INTERVALS for symbol in shelf.store.symbols(each)}
        return tuple(sorted(symbol for symbol in stored if not is_index(symbol)))

    return selected_symbols(request, universes=universes, as_of=request.start, available=available)


def audit_shelf(
    shelf: Shelf, request: BackfillRequest, *, home: Path, universes: Path, now: datetime
) -> CoverageAudit:
    """Judge every session of the request: is its bar here, and if not, why.

    Parameters
    ----------
    shelf
        What is kept of the source.
    request
        Symbols, intervals and range.
    home
        Root of all data, where changes of symbols are kept.
    universes
        Folder of the dated lists of symbols.
    now
        Aware instant of the audit.

    Raises
    ------
    ConfigError
        The universe or a year is unknown.
    RecordError
        A stored file is damaged.
    """
    scope = Scope(
        symbols_on(shelf, request, universes=universes),
        request.intervals,
        request.start,
        request.last_session(shelf.calendar, now),
    )
    evidence = collect_evidence(
        shelf.store,
        shelf.ledger.entries(shelf.store_key),
        scope,
        settled_at=shelf.settled_at,
        listings=_listings(shelf, scope.symbols, home=home),
    )
    as_of = as_of_at(now, shelf.calendar, settled_through=shelf.settled_at(now))
    return audit_coverage(scope, evidence, as_of=as_of, calendar=shelf.calendar)


def heading_of(request: BackfillRequest, shelf: Shelf, *, now: datetime) -> Heading:
    """Return what the page of an audit says about itself."""
    kind = request.source.kind
    return Heading(
        title=request.title,
        source=f"{kind}, store {shelf.store_key}",
        is_simulated=request.source.is_simulated,
        audited_at=now,
    )


def cross_check(
    shelf: Shelf, symbols: Iterable[str], *, other: BarStore | None = None, other_name: str = ""
) -> CrossCheck:
    """Hold each symbol's daily bars against its intraday bars and against a second source.

    Sessions that disagree are written down as disputes, and training leaves them out until a later
    check finds them to agree.

    Parameters
    ----------
    shelf
        What is kept of the source.
    symbols
        Those to check; one without bars is left out.
    other, other_name
        A second store of daily bars, and what it is called.
    """
    parts: list[CrossCheck] = []
    for symbol in symbols:
        daily = _bars(shelf.store, symbol)
        if daily is None:
            continue
        checks = list(_checks(shelf, symbol, daily, other=other, other_name=other_name))
        disputes = pl.concat([DISPUTE_SCHEMA.to_frame(), *(check.disputes for check in checks)])
        if checks:
            shelf.store.write_disputes(symbol, disputes, interval=DAILY)
        parts += checks
    return CrossCheck(
        pl.concat([DISPUTE_SCHEMA.to_frame(), *(part.disputes for part in parts)]),
        pl.concat([COMPARED_SCHEMA.to_frame(), *(part.symbols for part in parts)]),
    )


def _checks(
    shelf: Shelf, symbol: str, daily: pl.DataFrame, *, other: BarStore | None, other_name: str
) -> Iterable[CrossCheck]:
    for interval in filter(is_intraday, INTERVALS):
        if symbol in shelf.store.symbols(interval):
            yield compare_with_intraday(
                daily,
                shelf.store.read(symbol, interval=interval),
                interval=interval,
                calendar=shelf.calendar,
                config=IntradayCheckConfig(),
            )
    second = None if other is None else _bars(other, symbol)
    if second is not None:
        yield compare_sources(daily, second, other_name=other_name, config=SourceCheckConfig())


def _bars(store: BarStore, symbol: str) -> pl.DataFrame | None:
    try:
        return store.read(symbol, interval=DAILY)
    except MissingBarsError:
        return None


def _listings(shelf: Shelf, symbols: Iterable[str], *, home: Path) -> pl.DataFrame:
    if shelf.finality is not None:
        return shelf.listings
    # A publisher's history begins with the listing; a vendor's begins where it was asked to.
    frames = [bars for symbol in symbols if (bars := _bars(shelf.store, symbol)) is not None]
    if not frames:
        return shelf.listings
    found = find_listings(pl.concat(frames), shelf.calendar, renames=stored_renames(home))
    return combine_listings(shelf.listings, found)
