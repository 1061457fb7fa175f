"""When a symbol could be traded: listing, end, suspension, trade-to-trade, and missing data.

Belongs here: the table of such spells, where its rows come from (the broker's list, changes of
symbols, a file of one's own), and which sessions a symbol should have. Does not belong here:
finding spells in bars (`market.listing_evidence`).

Each row is a finding with its evidence in words, so that a person can judge it. What is not known
is left open: a symbol without a row is taken as listed all the time.

Kinds
-----
- `listed`: traded from `start` on, and, where `end` is given, until then.
- `delisted`: not traded under this symbol from `start` on: delisted, merged or renamed.
- `suspended`: listed, but not traded: suspended, or nobody dealt.
- `trade_to_trade`: traded, in a series (BE) that most files of bars leave out.
- `data_unavailable`: a source lacks the sessions, whatever the reason; the share may have traded.
"""

import itertools
from collections.abc import Collection, Iterable
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path

import polars as pl

from sensequant.errors import ConfigError, InvalidBarsError
from sensequant.market.renames import RenameTable
from sensequant.market.sessions import SessionCalendar
from sensequant.market.symbol_map import RowKind, SymbolMap
from sensequant.market.user_tables import is_symbol, parse_dates, read_user_table

__all__ = [
    "LISTING_SCHEMA",
    "ListingKind",
    "combine_listings",
    "expected_sessions",
    "listings_from_map",
    "listings_from_renames",
    "read_listings",
    "spells_by_kind",
    "spells_of",
]

LISTING_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "kind": pl.String(),
        "start": pl.Date(),
        "end": pl.Date(),
        "evidence": pl.String(),
    }
)
"""One spell, from `start` to `end`, both included; `end` is null where it is open."""


class ListingKind(StrEnum):
    """What a spell is."""

    LISTED = "listed"
    DELISTED = "delisted"
    SUSPENDED = "suspended"
    TRADE_TO_TRADE = "trade_to_trade"
    DATA_UNAVAILABLE = "data_unavailable"


_COLUMNS = {name: (name,) for name in LISTING_SCHEMA}
_OPTIONAL = frozenset({"end", "evidence"})
_DAY = timedelta(days=1)


def read_listings(path: Path) -> pl.DataFrame:
    """Read spells from a CSV or Parquet file of one's own.

    Parameters
    ----------
    path
        Columns symbol, kind, start and perhaps end and evidence; dates as 2022-12-05 or
        05-Dec-2022.

    Returns
    -------
    polars.DataFrame
        Rows of `LISTING_SCHEMA`, sorted. Where no evidence is given, the name of the file is it.

    Raises
    ------
    ConfigError
        The file cannot be read, or a row is wrong; the first one is named.
    """
    try:
        table = read_user_table(path, _COLUMNS, optional=_OPTIONAL)
    except InvalidBarsError as error:
        raise ConfigError(
            "file of listings cannot be used",
            where=str(path),
            expected="CSV or Parquet with the columns symbol, kind, start and perhaps end, "
            "evidence",
            found=error.found,
            remedy="correct the file or remove it",
        ) from error
    spells = table.select(
        "symbol",
        pl.col("kind").str.to_lowercase(),
        parse_dates("start").alias("start"),
        parse_dates("end").alias("end"),
        pl.col("evidence").fill_null(f"stated in {path.name}"),
    )
    _require_rows(spells, as_read=table, path=path)
    return spells.unique().sort(LISTING_SCHEMA.names())


def listings_from_map(symbols: SymbolMap) -> pl.DataFrame:
    """Return the dates of listing and delisting that the broker's list states.

    Lists of 2024 to 2026 state none, so that the result is mostly empty.
    """
    used = symbols.frame.filter(pl.col("kind") == RowKind.SECURITY)
    named = f"broker's list of {symbols.as_of}"
    return _sorted(
        [
            _spells(
                used.drop_nulls(column),
                kind=kind,
                start=column,
                evidence=pl.lit(f"{word} {named}"),
            )
            for kind, column, word in (
                (ListingKind.LISTED, "listed_on", "date of listing in the"),
                (ListingKind.DELISTED, "delisted_on", "date of delisting in the"),
            )
        ]
    )


def listings_from_renames(renames: RenameTable, symbols: Iterable[str]) -> pl.DataFrame:
    """Return the ends of symbols that were given up by a change of name or a merger.

    A symbol that was taken by another company later has an end on which that company's listing
    follows, so only the last change of each symbol counts.
    """
    found = [(symbol, renames.given_up(symbol, date.max)) for symbol in sorted(set(symbols))]
    rows = [
        (symbol, ListingKind.DELISTED.value, change.changed_on, None, change.in_words)
        for symbol, change in found
        if change is not None
    ]
    return pl.DataFrame(rows, schema=LISTING_SCHEMA, orient="row")


def combine_listings(*tables: pl.DataFrame) -> pl.DataFrame:
    """Join tables of spells, the most trusted one first.

    For when a symbol was listed and when it ended, the first table that says anything about the
    symbol holds. Spells of all other kinds are joined.
    """
    kept: list[pl.DataFrame] = []
    for kind in ListingKind:
        known: set[str] = set()
        for table in tables:
            rows = table.filter(pl.col("kind") == kind)
            if kind in (ListingKind.LISTED, ListingKind.DELISTED):
                rows = rows.filter(~pl.col("symbol").is_in(known))
                known |= set(rows["symbol"])
            kept.append(rows)
    return _sorted(kept)


def spells_of(
    symbol: str, listings: pl.DataFrame, kinds: Collection[ListingKind]
) -> list[tuple[date, date]]:
    """Return the spells of one symbol of some kinds, oldest first; an open one ends on date.max."""
    rows = listings.filter((pl.col("symbol") == symbol) & pl.col("kind").is_in(tuple(kinds)))
    spells = rows.select("start", "end").sort("start", "end", nulls_last=True).rows()
    return [(start, end or date.max) for start, end in spells]


def spells_by_kind(symbol: str, listings: pl.DataFrame) -> dict[str, list[tuple[date, date]]]:
    """Return the spells of one symbol by kind, as `spells_of` does; no key for a kind without."""
    found: dict[str, list[tuple[date, date]]] = {}
    # A query takes sixteen times as long as looking the few rows up, and each chunk asks.
    for place in (listings["symbol"] == symbol).arg_true():
        row = listings.row(place, named=True)
        found.setdefault(row["kind"], []).append((row["start"], row["end"] or date.max))
    return {kind: sorted(spells) for kind, spells in found.items()}


def expected_sessions(
    symbol: str,
    listings: pl.DataFrame,
    calendar: SessionCalendar,
    *,
    start: date,
    end: date,
    without: Collection[ListingKind] = (ListingKind.SUSPENDED,),
) -> list[date]:
    """Return the sessions on which a symbol should have bars.

    Parameters
    ----------
    symbol
        NSE symbol.
    listings
        Rows of `LISTING_SCHEMA`.
    calendar
        Sessions of NSE.
    start, end
        First and last date, both included.
    without
        Kinds of spells in which no bar is expected. A source that leaves trade-to-trade out adds
        that kind; one whose own holes are known adds missing data.

    Raises
    ------
    ConfigError
        The range is upside down, or one of its years is not in the calendar.

    Notes
    -----
    Sessions count from the listing on, where one is known, and until the end of the symbol. An end
    that a listing follows, because another company took the name, ends there.
    """
    listed = spells_of(symbol, listings, (ListingKind.LISTED,)) or [(date.min, date.max)]
    ended = [
        (first, min([last, *(day - _DAY for day, _ in listed if day > first)]))
        for first, last in spells_of(symbol, listings, (ListingKind.DELISTED,))
    ]
    absent = [*ended, *spells_of(symbol, listings, without)]
    return [
        session
        for session in calendar.sessions(start, end)
        if _is_within(session, listed) and not _is_within(session, absent)
    ]


def _is_within(session: date, spells: list[tuple[date, date]]) -> bool:
    return any(first <= session <= last for first, last in spells)


def _spells(
    rows: pl.DataFrame, *, kind: ListingKind, start: str, evidence: pl.Expr
) -> pl.DataFrame:
    return rows.select(
        "symbol",
        pl.lit(kind.value).alias("kind"),
        pl.col(start).alias("start"),
        pl.lit(None, pl.Date).alias("end"),
        evidence.alias("evidence"),
    )


def _sorted(parts: list[pl.DataFrame]) -> pl.DataFrame:
    joined = pl.concat([LISTING_SCHEMA.to_frame(), *parts])
    return joined.unique().sort(LISTING_SCHEMA.names())


def _require_rows(spells: pl.DataFrame, *, as_read: pl.DataFrame, path: Path) -> None:
    is_kind = pl.col("kind").is_in(tuple(ListingKind)).fill_null(value=False)
    has_end = pl.lit(as_read["end"].is_null()) | (pl.col("end") >= pl.col("start"))
    checks = {
        "an NSE symbol": is_symbol("symbol"),
        f"a kind: {', '.join(ListingKind)}": is_kind,
        "a date of start": pl.col("start").is_not_null(),
        "an end on or after the start, or none": has_end.fill_null(value=False),
    }
    for expected, is_fine in checks.items():
        fine = spells.select(is_fine).to_series().to_list()
        number = next((n for n, good in enumerate(fine) if not good), None)
        if number is not None:
            raise ConfigError(
                "row of a file of listings is wrong",
                where=f"{path}, row {number + 1}",
                expected=expected,
                found=", ".join(itertools.starmap(_cell, as_read.row(number, named=True).items())),
                remedy="correct the row",
            )


def _cell(name: str, value: str | None) -> str:
    return f"{name} {value or '(empty)'}"
