"""What a person learns about stored bars: how complete they are, and whether they agree.

Belongs here: bringing the evidence of one source's shelf to the audit and to the cross-checks. Does
not belong here: the rules of either (`sensequant.coverage`, `market.crosscheck`).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import polars as pl

from sensequant.coverage.audit import CoverageAudit, audit_coverage
from sensequant.coverage.collect import collect_evidence
from sensequant.coverage.evidence import as_of_at
from sensequant.coverage.expected import Scope
from sensequant.coverage.summary import Heading
from sensequant.errors import MissingBarsError, RecordError
from sensequant.ingestion.imports import stored_renames
from sensequant.ingestion.request import BackfillRequest
from sensequant.ingestion.shelf import Shelf
from sensequant.market.action_gaps import JUMP_SCHEMA, market_moves, unexplained_jumps
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
from sensequant.market.listing_evidence import find_holes, find_listings
from sensequant.market.listings import combine_listings
from sensequant.market.selection import selected_symbols
from sensequant.market.store import BarStore
from sensequant.market.store_layout import StoreLayout
from sensequant.market.store_tables import stored_schema
from sensequant.market.symbols import NIFTY50, is_index

__all__ = ["audit_shelf", "cross_check", "find_jumps", "heading_of", "symbols_on"]

_LISTING_FACTS = ("symbol", "session", "source", "series", "close", "previous_close")
"""What of a bar tells when a symbol was listed."""


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
        source_options=request.source.options,
    )


def cross_check(
    shelf: Shelf, symbols: Iterable[str], *, other: BarStore | None = None, other_name: str = ""
) -> CrossCheck:
    """Hold each symbol's daily bars against its intraday bars and against a second source.

    Sessions that disagree are written down as disputes, and training leaves them out until a later
    check of the same two finds them to agree.

    Parameters
    ----------
    shelf
        What is kept of the source.
    symbols
        Those to check; one without bars is left out.
    other, other_name
        A second store of daily bars, and what it is called. All its symbols are looked at, so that
        it can tell whose prices stand under a wrong name.
    """
    daily = dict(_all_bars(shelf.store, symbols))
    checks = dict(_with_intraday(shelf, daily))
    theirs = {} if other is None else dict(_all_bars(other, other.symbols(DAILY)))
    if daily and theirs:
        ours, second = pl.concat(daily.values()), pl.concat(theirs.values())
        checks[other_name] = compare_sources(
            ours, second, other_name=other_name, config=SourceCheckConfig()
        )
    for symbol in daily:
        _keep_disputes(shelf.store, symbol, checks)
    return _joined(checks.values())


def find_jumps(shelf: Shelf, symbols: Iterable[str]) -> pl.DataFrame:
    """Return the moves over a night that no action on the shelf explains (`JUMP_SCHEMA`).

    What the whole market did is told by NIFTY 50, where its bars are stored.
    """
    daily = dict(_all_bars(shelf.store, symbols))
    if not daily:
        return JUMP_SCHEMA.to_frame()
    index = _bars(shelf.store, NIFTY50)
    moves = market_moves(stored_schema(DAILY).to_frame() if index is None else index)
    bars = pl.concat(daily.values())
    return unexplained_jumps(bars, shelf.store.actions(), moves, shelf.calendar)


def _with_intraday(
    shelf: Shelf, daily: Mapping[str, pl.DataFrame]
) -> Iterable[tuple[str, CrossCheck]]:
    for interval in filter(is_intraday, INTERVALS):
        stored = set(shelf.store.symbols(interval))
        # One symbol at a time: years of minutes of all of them would fill the memory.
        parts = [
            compare_with_intraday(
                bars,
                shelf.store.read(symbol, interval=interval),
                interval=interval,
                calendar=shelf.calendar,
                config=IntradayCheckConfig(),
            )
            for symbol, bars in daily.items()
            if symbol in stored
        ]
        yield interval, _joined(parts)


def _keep_disputes(store: BarStore, symbol: str, checks: Mapping[str, CrossCheck]) -> None:
    compared = [name for name, check in checks.items() if symbol in check.symbols["symbol"]]
    if not compared:
        return
    found = [checks[name].disputes.filter(pl.col("symbol") == symbol) for name in compared]
    # What another comparison found earlier stands until that one is made again.
    former = store.disputes(symbol, DAILY).filter(~pl.col("other").is_in(compared))
    store.write_disputes(symbol, pl.concat([former, *found]), interval=DAILY)


def _joined(checks: Iterable[CrossCheck]) -> CrossCheck:
    parts = list(checks)
    disputes = pl.concat([DISPUTE_SCHEMA.to_frame(), *(part.disputes for part in parts)])
    symbols = pl.concat([COMPARED_SCHEMA.to_frame(), *(part.symbols for part in parts)])
    return CrossCheck(
        disputes.sort("symbol", "session", "field", "other"),
        symbols.sort("symbol", maintain_order=True),
    )


def _all_bars(store: BarStore, symbols: Iterable[str]) -> Iterable[tuple[str, pl.DataFrame]]:
    for symbol in symbols:
        bars = _bars(store, symbol)
        if bars is not None:
            yield symbol, bars


def _bars(store: BarStore, symbol: str) -> pl.DataFrame | None:
    try:
        return store.read(symbol, interval=DAILY)
    except MissingBarsError:
        return None


def _listings(shelf: Shelf, symbols: Iterable[str], *, home: Path) -> pl.DataFrame:
    if shelf.finality is not None:
        return shelf.listings
    # A publisher's history begins with the listing; a vendor's begins where it was asked to. How
    # far the history reaches, all symbols tell together, whichever of them the audit is about.
    bars = _facts_of_all(home / shelf.store_key)
    if bars is None:
        return shelf.listings
    renames = stored_renames(home)
    found = [
        find_listings(bars, shelf.calendar, renames=renames),
        find_holes(bars, shelf.calendar, renames=renames),
    ]
    asked = pl.concat(found).filter(pl.col("symbol").is_in(list(symbols)))
    return combine_listings(shelf.listings, asked)


def _facts_of_all(root: Path) -> pl.DataFrame | None:
    layout = StoreLayout(root)
    parts = (layout.parts(symbol, DAILY) for symbol in layout.symbols(DAILY))
    paths = [path for files in parts for path in files.values()]
    if not paths:
        return None
    try:
        # At once and without most columns: thousands of files, read one by one, take many seconds.
        return pl.read_parquet(paths, columns=list(_LISTING_FACTS), hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RecordError(
            "stored bars cannot be read",
            where=str(root),
            expected="Parquet files of this project",
            found=str(error).splitlines()[0],
            remedy="remove the damaged file and ingest its symbol again",
        ) from error
