"""Which sessions of a symbol should have bars, and how many bars each of them should have.

Belongs here: the calendar, listing dates, delistings and suspensions put together. Does not belong
here: what is there (`coverage.audit`), or where listing dates come from (`market.listings`).

Conventions
-----------
- A date without a session (weekend, holiday) has no row at all.
- Without evidence to the contrary a session is expected: a first bar is no proof of a listing.
- Listings are spells as `market.listings` defines them: bars are expected within the spells
  `listed` (always, where there are none), but not from `delisted` on until the next listing, nor
  while `suspended`. `trade_to_trade` and `data_unavailable` take nothing away: the share may have
  traded, so they stand as a note beside what is missing.
- `n_expected` is null where the hours of a session are not known; the session is expected still.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

from sensequant.coverage.states import Reason
from sensequant.errors import ConfigError
from sensequant.market.intervals import Interval, bars_in_range
from sensequant.market.listings import ListingKind
from sensequant.market.sessions import SessionCalendar

__all__ = ["EXPECTED_SCHEMA", "LISTING_COLUMNS", "Scope", "expected_sessions"]

EXPECTED_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "interval": pl.String(),
        "session": pl.Date(),
        "n_expected": pl.Int32(),
        "not_expected": pl.String(),
        "note": pl.String(),
    }
)
"""`not_expected` is a `Reason`, null where bars are expected; `note` is the listing's evidence."""

LISTING_COLUMNS = ("symbol", "kind", "start", "end", "evidence")

_NOTES = (ListingKind.TRADE_TO_TRADE, ListingKind.DATA_UNAVAILABLE)
_PRECEDENCE = (Reason.PRE_LISTING, Reason.DELISTED, Reason.SUSPENDED)
_DAY = timedelta(days=1)
_KEY = ("symbol", "interval", "session")


@dataclass(frozen=True, slots=True)
class Scope:
    """What is audited.

    Parameters
    ----------
    symbols
        NSE symbols, indices included where they are wanted; each once.
    intervals
        Lengths of bars.
    start, end
        First and last date; neither need be a session.
    """

    symbols: tuple[str, ...]
    intervals: tuple[Interval, ...]
    start: date
    end: date

    def __post_init__(self) -> None:
        for name, values in (("symbols", self.symbols), ("intervals", self.intervals)):
            if len(set(values)) < len(values):
                raise ConfigError(
                    f"{name} of an audit are named twice",
                    where=name,
                    expected="each once",
                    found=", ".join(sorted({one for one in values if values.count(one) > 1})),
                    remedy="name each once",
                )
        if self.start > self.end:
            raise ConfigError(
                "range of an audit is upside down",
                expected="start on or before end",
                found=f"{self.start} to {self.end}",
                remedy="exchange the two dates",
            )


def expected_sessions(
    scope: Scope, calendar: SessionCalendar, *, listings: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return every session of the scope for every symbol, and whether bars are expected in it.

    Parameters
    ----------
    scope
        Symbols, intervals, range.
    calendar
        The NSE calendar.
    listings
        Spells with `LISTING_COLUMNS`; None: nothing is known, so every session is expected.

    Returns
    -------
    polars.DataFrame
        `EXPECTED_SCHEMA`, sorted by symbol, interval (in the order of the scope) and session.

    Raises
    ------
    ConfigError
        A year is not in the calendar, or a spell is of an unknown kind.
    """
    symbols = pl.DataFrame({"symbol": sorted(scope.symbols)}, schema={"symbol": pl.String()})
    sessions = _sessions_of(scope, calendar)
    rows = symbols.join(sessions, how="cross", maintain_order="left_right")
    spans = _spans_of(listings, scope)
    if spans.is_empty():
        empty = [pl.lit(None, dtype=pl.String).alias(name) for name in ("not_expected", "note")]
        return rows.with_columns(empty).select(EXPECTED_SCHEMA.names())
    hits = (
        rows.select(_KEY)
        .join(spans, on="symbol", how="inner")
        .filter(pl.col("session").is_between("first", "last"))
        .sort(*_KEY, "precedence", "first", "evidence")
        .unique(subset=_KEY, keep="first", maintain_order=True)
        .select(*_KEY, "not_expected", note="evidence")
    )
    joined = rows.join(hits, on=_KEY, how="left", maintain_order="left")
    return joined.select(EXPECTED_SCHEMA.names())


def _sessions_of(scope: Scope, calendar: SessionCalendar) -> pl.DataFrame:
    parts = [
        bars_in_range(calendar, scope.start, scope.end, interval).select(
            pl.lit(interval).alias("interval"), "session", "n_expected"
        )
        for interval in scope.intervals
    ]
    empty = EXPECTED_SCHEMA.to_frame().select("interval", "session", "n_expected")
    return pl.concat([empty, *parts])


class _Spell(NamedTuple):
    kind: ListingKind
    start: date
    end: date
    evidence: str | None


class _Span(NamedTuple):
    """Dates on which a symbol is not expected; without a reason, a mere note."""

    symbol: str
    first: date
    last: date
    not_expected: str | None
    evidence: str | None


def _spans_of(listings: pl.DataFrame | None, scope: Scope) -> pl.DataFrame:
    if listings is None:
        return pl.DataFrame()
    known = listings.select(LISTING_COLUMNS).filter(pl.col("symbol").is_in(scope.symbols))
    _require_kinds(known)
    own: dict[str, list[_Spell]] = {}
    for symbol, kind, start, end, evidence in known.sort(LISTING_COLUMNS).iter_rows():
        spell = _Spell(ListingKind(kind), start or date.min, end or date.max, evidence)
        own.setdefault(symbol, []).append(spell)
    spans = [span for symbol, spells in own.items() for span in _spans_of_symbol(symbol, spells)]
    order = {reason.value: place for place, reason in enumerate(_PRECEDENCE)}
    precedence = pl.col("not_expected").replace_strict(
        order, default=len(_PRECEDENCE), return_dtype=pl.Int32
    )
    schema = {
        "symbol": pl.String(),
        "first": pl.Date(),
        "last": pl.Date(),
        "not_expected": pl.String(),
        "evidence": pl.String(),
    }
    frame = pl.DataFrame(spans, schema=schema, orient="row")
    return frame.with_columns(precedence.alias("precedence"))


def _spans_of_symbol(symbol: str, spells: list[_Spell]) -> Iterator[_Span]:
    listed = [spell for spell in spells if spell.kind is ListingKind.LISTED]
    yield from _outside(symbol, listed)
    for kind, start, end, evidence in spells:
        if kind is ListingKind.DELISTED:
            # An end that a listing follows, because another company took the name, ends there.
            last = min([end, *(again.start - _DAY for again in listed if again.start > start)])
            yield _Span(symbol, start, last, Reason.DELISTED.value, evidence)
        elif kind is ListingKind.SUSPENDED:
            yield _Span(symbol, start, end, Reason.SUSPENDED.value, evidence)
        elif kind in _NOTES:
            yield _Span(symbol, start, end, None, evidence)


def _outside(symbol: str, listed: list[_Spell]) -> Iterator[_Span]:
    """Yield the dates before, between and after the spells of listing, which are sorted."""
    reached: date | None = None
    before: str | None = None
    for spell in listed:
        if reached is None and spell.start > date.min:
            first, last = date.min, spell.start - _DAY
            yield _Span(symbol, first, last, Reason.PRE_LISTING.value, spell.evidence)
        elif reached is not None and spell.start > reached:
            last = spell.start - _DAY
            yield _Span(symbol, reached + _DAY, last, Reason.DELISTED.value, before)
        if reached is None or spell.end > reached:
            reached, before = spell.end, spell.evidence
    if reached is not None and reached < date.max:
        yield _Span(symbol, reached + _DAY, date.max, Reason.DELISTED.value, before)


def _require_kinds(listings: pl.DataFrame) -> None:
    allowed = [kind.value for kind in ListingKind]
    strange = listings.filter(~pl.col("kind").is_in(allowed))
    if strange.height:
        raise ConfigError(
            "spell of a listing is of an unknown kind",
            where=str(strange["symbol"][0]),
            expected=", ".join(allowed),
            found=str(strange["kind"][0]),
            remedy="correct the table of listings",
        )
