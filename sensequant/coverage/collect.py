"""The evidence of an audit, out of the store and the ledger.

Belongs here: turning what is stored and recorded into the plain tables of `coverage.evidence`. Does
not belong here: opening store and ledger, and judging (`coverage.audit`).
"""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from sensequant.coverage.evidence import (
    ASKED_SCHEMA,
    DISPUTED_SCHEMA,
    QUARANTINED_SCHEMA,
    STORED_SCHEMA,
    Evidence,
)
from sensequant.coverage.expected import Scope
from sensequant.ingestion.ledger_records import ChunkEntry, ChunkOutcome
from sensequant.market.intervals import Interval
from sensequant.market.quality import QuarantineReason
from sensequant.market.store import BarStore
from sensequant.records import SkipReason

__all__ = ["asked_of", "collect_evidence", "stored_of"]

SettledAt = Callable[[datetime], date | None]
"""From an instant to the last session that was settled then."""

_ANSWERED = frozenset({ChunkOutcome.STORED, ChunkOutcome.EMPTY})
_LONGEST_TEXT = 160


def collect_evidence(
    store: BarStore,
    entries: Iterable[ChunkEntry],
    scope: Scope,
    *,
    settled_at: SettledAt,
    listings: pl.DataFrame | None = None,
) -> Evidence:
    """Return what store and ledger know of the scope.

    Parameters
    ----------
    store
        The bars.
    entries
        The ledger's entries of this store; those outside the scope are left out.
    scope
        Symbols, intervals and range.
    settled_at
        Last session that was settled at an instant: for a publisher's history the last one that
        had closed, else `market.finality.finality_at(...).settled_through`.
    listings
        Spells of listing and suspension; None: nothing is known.

    Raises
    ------
    RecordError
        A stored file is damaged.
    """
    pairs: list[tuple[str, Interval]] = [
        (symbol, interval) for symbol in scope.symbols for interval in scope.intervals
    ]
    known = set(pairs)
    return Evidence(
        stored=stored_of(store, scope),
        quarantined=_stacked(QUARANTINED_SCHEMA, [_refused(store, *pair) for pair in pairs]),
        disputed=_stacked(DISPUTED_SCHEMA, [_disputed(store, *pair) for pair in pairs]),
        asked=asked_of(
            (entry for entry in entries if (entry.symbol, entry.interval) in known),
            settled_at=settled_at,
        ),
        listings=listings,
    )


def stored_of(store: BarStore, scope: Scope) -> pl.DataFrame:
    """Return how many bars each session of the scope has (`STORED_SCHEMA`)."""
    present = {interval: frozenset(store.symbols(interval)) for interval in scope.intervals}
    parts = [
        store.sessions_stored(symbol, interval, start=scope.start, end=scope.end).select(
            *_names(symbol, interval), "session", "n_bars", "n_final"
        )
        for interval in scope.intervals
        for symbol in scope.symbols
        if symbol in present[interval]
    ]
    return _stacked(STORED_SCHEMA, parts)


def asked_of(entries: Iterable[ChunkEntry], *, settled_at: SettledAt) -> pl.DataFrame:
    """Return the ledger's entries as requests (`ASKED_SCHEMA`)."""
    rows = [_request(entry, settled_at) for entry in entries]
    return pl.DataFrame(rows, schema=ASKED_SCHEMA, orient="row")


def _request(entry: ChunkEntry, settled_at: SettledAt) -> dict[str, Any]:
    # With an error no delivery was judged, even where the chunk counts as done.
    is_answered = entry.outcome in _ANSWERED and entry.error_type is None
    settled = entry.settled_through
    is_unbounded = entry.start is None or entry.end is None
    has_nothing = entry.outcome is ChunkOutcome.EMPTY and is_unbounded
    if is_answered and settled is None and has_nothing:
        # Nothing in all the history: no bar bounds what the answer speaks of.
        settled = settled_at(entry.fetched_at)
    return {
        "symbol": entry.symbol,
        "interval": entry.interval,
        "start": entry.start,
        "end": entry.end,
        "asked_at": entry.fetched_at.astimezone(UTC),
        "is_answered": is_answered,
        "is_refused": entry.reason == SkipReason.UNKNOWN_SYMBOL.value,
        "settled_through": settled,
        "missing_sessions": None if has_nothing else list(entry.missing_sessions),
        "n_duplicates_dropped": entry.n_duplicates_dropped,
        "evidence": _told(entry, is_answered=is_answered, settled=settled),
    }


def _told(entry: ChunkEntry, *, is_answered: bool, settled: date | None) -> str:
    asked = f"asked {entry.source} on {entry.fetched_at.astimezone(UTC):%Y-%m-%d}"
    if is_answered:
        through = "nothing settled" if settled is None else f"settled through {settled}"
        return f"{asked}, {through}"
    message = " ".join((entry.error_message or "").split())
    parts = [part for part in (entry.reason, entry.error_type, message) if part]
    return f"{asked}: {', '.join(parts) or entry.outcome.value}"[:_LONGEST_TEXT]


def _refused(store: BarStore, symbol: str, interval: Interval) -> pl.DataFrame:
    # A row that nobody asked for says nothing of the session on which it stands.
    is_asked = pl.col("reason") != QuarantineReason.OUTSIDE_REQUEST.value
    rows = store.quarantine(symbol, interval).filter(is_asked)
    return (
        rows.group_by("session", "reason")
        .agg(pl.len().alias("n_rows"))
        .select(*_names(symbol, interval), "session", "n_rows", reasons="reason")
    )


def _disputed(store: BarStore, symbol: str, interval: Interval) -> pl.DataFrame:
    rows = store.disputes(symbol, interval)
    told = pl.format("{}: {} {} against {} of {}", "kind", "field", "value", "other_value", "other")
    return rows.select(*_names(symbol, interval), "session", evidence=told)


def _names(symbol: str, interval: Interval) -> tuple[pl.Expr, pl.Expr]:
    return pl.lit(symbol).alias("symbol"), pl.lit(interval).alias("interval")


def _stacked(schema: pl.Schema, parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([schema.to_frame(), *(part.cast(schema) for part in parts)])
