"""What official bars tell about listing: first and last bars, and holes between them.

Belongs here: finding spells in bars and wording the evidence. Does not belong here: the table of
spells (`market.listings`), the check of single bars (`market.quality`).

A hole is a run of sessions on which a symbol has no bar in EQ or BE although its source has bars of
others. Sessions on which the source has no bar at all are a hole of the source, of no symbol. Two
facts tell what a hole was:

- NSE states the previous close with each bar, whichever series that close was in. Where the first
  bar after the hole states the close before the hole, the share did not trade in between. Where it
  states another one, the share did trade, and the source left it out.
- Another official source. Where it has the bars, the first source lacks them. Where it covers the
  sessions and lacks them as well, the share traded in a series that both leave out.

How many symbols share a hole is stated but decides nothing: NSE moves several shares at once into
trade-to-trade (three of a hundred on 2021-06-09), and a publisher can lose two.
"""

import dataclasses
from collections.abc import Iterable
from datetime import date
from typing import Self

import polars as pl
from pydantic import Field

from sensequant.market.listings import LISTING_SCHEMA, ListingKind
from sensequant.market.quality import KEPT_SERIES
from sensequant.market.renames import RenameTable
from sensequant.market.sessions import SessionCalendar
from sensequant.records import Config

__all__ = ["ListingConfig", "find_holes", "find_listings"]


class ListingConfig(Config):
    """How long an absence must be before it says something."""

    min_hole_sessions: int = Field(
        default=5, ge=1, description="Shortest hole that is reported, in sessions."
    )
    min_sessions_before: int = Field(
        default=60,
        ge=1,
        description="Sessions that a source must have before a symbol's first bar for that bar to "
        "be taken as its listing; a source may begin within a hole of the symbol.",
    )
    min_sessions_silent: int = Field(
        default=200,
        ge=1,
        description="Sessions that a source must have after a symbol's last bar for the symbol to "
        "be taken as ended; trade-to-trade has lasted 182 sessions.",
    )
    min_covered_frac: float = Field(
        default=0.5,
        gt=0.0,
        le=1.0,
        description="Share of a hole's sessions that another source must have for its silence to "
        "count, as a fraction.",
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Hole:
    symbol: str
    source: str
    first: date
    last: date
    n_sessions: int
    close_before: float
    close_after: float
    previous_close: float | None
    n_alike: int


# NSE states prices to the paisa.
_PAISA_INR = 0.005
_TRADE_TO_TRADE = "BE"


def find_listings(
    bars: pl.DataFrame,
    calendar: SessionCalendar,
    *,
    renames: RenameTable,
    config: ListingConfig | None = None,
) -> pl.DataFrame:
    """Return when symbols began and ended, as official bars of full histories show it.

    Parameters
    ----------
    bars
        Daily bars (`market.bars.BAR_SCHEMA`) of one or several sources, each of which holds the
        whole history of its symbols from its own first session to its last one.
    calendar
        Sessions of NSE.
    renames
        Changes of symbols: a first bar on the day of a change is no listing, and a last bar before
        one is the end of the name.
    config
        Thresholds; None takes the defaults.

    Returns
    -------
    polars.DataFrame
        Rows of `LISTING_SCHEMA` of the kinds listed and delisted, sorted.
    """
    config = config or ListingConfig()
    numbered = _numbered(bars, calendar)
    reach = numbered.group_by("source").agg(
        pl.col("number").min().alias("source_first"), pl.col("number").max().alias("source_last")
    )
    by_symbol = (
        numbered.sort("number", "source")
        .group_by("symbol")
        .agg(
            pl.col("session").first().alias("first"),
            pl.col("number").first().alias("first_number"),
            pl.col("source").first().alias("first_source"),
            pl.col("session").last().alias("last"),
            pl.col("number").last().alias("last_number"),
            pl.col("source").last().alias("last_source"),
        )
    )
    rows = by_symbol.join(
        reach.rename({"source": "first_source"}).drop("source_last"), on="first_source"
    ).join(reach.rename({"source": "last_source"}).drop("source_first"), on="last_source")
    found = [
        *_beginnings(rows, calendar, renames=renames, config=config),
        *_endings(rows, calendar, renames=renames, config=config),
    ]
    return pl.DataFrame(found, schema=LISTING_SCHEMA, orient="row").sort(LISTING_SCHEMA.names())


def find_holes(
    bars: pl.DataFrame,
    calendar: SessionCalendar,
    *,
    others: pl.DataFrame | None = None,
    renames: RenameTable | None = None,
    config: ListingConfig | None = None,
) -> pl.DataFrame:
    """Return the holes in the bars of one official source, with what they were.

    Parameters
    ----------
    bars
        Daily bars (`market.bars.BAR_SCHEMA`) of one source, of many symbols.
    calendar
        Sessions of NSE.
    others
        Bars of other official sources; None where there are none.
    renames
        Changes of symbols, by which the same company is found in `others`; None takes symbols as
        they are.
    config
        Thresholds; None takes the defaults.

    Returns
    -------
    polars.DataFrame
        Rows of `LISTING_SCHEMA` of the kinds suspended, trade_to_trade and data_unavailable,
        sorted. Where it is not known why a source lacks a spell, the kind is data_unavailable.
    """
    config = config or ListingConfig()
    names = renames or RenameTable.empty()
    witness = _Witness.of(bars.clear() if others is None else others, names=names)
    found = [
        _judged(hole, witness=witness, config=config)
        for hole in _holes(bars, calendar, config=config)
    ]
    return pl.DataFrame(found, schema=LISTING_SCHEMA, orient="row").sort(LISTING_SCHEMA.names())


_Row = tuple[str, str, date, date | None, str]


def _numbered(bars: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    kept = bars.filter(pl.col("series").is_in(KEPT_SERIES).fill_null(value=True))
    return kept.join(calendar.numbers(), on="session").select(
        "symbol",
        "source",
        "session",
        pl.col("session_number").alias("number"),
        "close",
        "previous_close",
    )


def _beginnings(
    rows: pl.DataFrame,
    calendar: SessionCalendar,
    *,
    renames: RenameTable,
    config: ListingConfig,
) -> Iterable[_Row]:
    late = pl.col("first_number") - pl.col("source_first") >= config.min_sessions_before
    for row in rows.filter(late).iter_rows(named=True):
        first: date = row["first"]
        taken = [spell.since for spell in renames.spells(row["symbol"], as_of=first)]
        # The name may have been taken on a day without trade.
        if any(since is not None and since <= first for since in taken):
            continue
        begins = calendar.session_at(row["source_first"])
        evidence = f"first bar in {row['first_source']}, which begins on {begins}"
        yield row["symbol"], ListingKind.LISTED.value, first, None, evidence


def _endings(
    rows: pl.DataFrame,
    calendar: SessionCalendar,
    *,
    renames: RenameTable,
    config: ListingConfig,
) -> Iterable[_Row]:
    for row in rows.sort("symbol").iter_rows(named=True):
        last: date = row["last"]
        end = calendar.session_at(row["source_last"])
        n_silent: int = row["source_last"] - row["last_number"]
        change = renames.given_up(row["symbol"], end)
        silence = f"last bar {last} in {row['last_source']}, which goes on to {end}"
        if change is not None and change.changed_on > last:
            evidence = f"{change.in_words}; {silence}"
            yield row["symbol"], ListingKind.DELISTED.value, change.changed_on, None, evidence
        elif n_silent >= config.min_sessions_silent:
            after = calendar.offset(last, 1)
            evidence = f"{silence}: {n_silent} sessions without a bar; why is not known"
            yield row["symbol"], ListingKind.DELISTED.value, after, None, evidence


def _holes(
    bars: pl.DataFrame, calendar: SessionCalendar, *, config: ListingConfig
) -> Iterable[_Hole]:
    numbered = _numbered(bars, calendar)
    # Only sessions of the source itself count, so its own holes are nobody's.
    active = numbered.select("session").unique().sort("session").with_row_index("place")
    placed = (
        numbered.join(active, on="session")
        .sort("symbol", "session")
        .with_columns(
            (pl.col("place").cast(pl.Int64).diff().over("symbol") - 1).alias("n_sessions"),
            pl.col("close").shift(1).over("symbol").alias("close_before"),
        )
        .filter(pl.col("n_sessions") >= config.min_hole_sessions)
        .with_columns(pl.len().over("place", "n_sessions").alias("n_alike"))
    )
    sessions: list[date] = active["session"].to_list()
    for row in placed.iter_rows(named=True):
        place, n_sessions = int(row["place"]), int(row["n_sessions"])
        yield _Hole(
            symbol=row["symbol"],
            source=row["source"],
            first=sessions[place - n_sessions],
            last=sessions[place - 1],
            n_sessions=n_sessions,
            close_before=row["close_before"],
            close_after=row["close"],
            previous_close=row["previous_close"],
            n_alike=row["n_alike"],
        )


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class _Witness:
    # Bars of other sources, by the newest symbol of the company.
    bars: pl.DataFrame
    names: RenameTable

    @classmethod
    def of(cls, others: pl.DataFrame, *, names: RenameTable) -> Self:
        last = others.group_by("symbol").agg(pl.col("session").max()).sort("symbol")
        company = {symbol: names.current_name(symbol, day) for symbol, day in last.rows()}
        bars = others.select(
            pl.col("symbol").replace_strict(company, return_dtype=pl.String),
            "session",
            "series",
            "source",
        )
        return cls(bars, names)

    def about(self, hole: _Hole) -> pl.DataFrame:
        # What the sources that have this company at all hold on the sessions of the hole.
        company = self.names.current_name(hole.symbol, hole.last)
        of_company = self.bars.filter(pl.col("symbol") == company).select("source").unique()
        return (
            self.bars.filter(pl.col("session").is_between(hole.first, hole.last))
            .join(of_company, on="source", how="semi")
            .with_columns((pl.col("symbol") == company).alias("is_its_own"))
        )


def _judged(hole: _Hole, *, witness: _Witness, config: ListingConfig) -> _Row:
    kind, reason = _cause(hole, witness=witness, config=config)
    whose = "this symbol alone" if hole.n_alike == 1 else f"{hole.n_alike} symbols"
    evidence = (
        f"no bar on {hole.n_sessions} sessions of {hole.source}; close {hole.close_before:g} "
        f"before and {hole.close_after:g} after; a hole of {whose}; {reason}"
    )
    return hole.symbol, kind.value, hole.first, hole.last, evidence


def _cause(hole: _Hole, *, witness: _Witness, config: ListingConfig) -> tuple[ListingKind, str]:
    known = witness.about(hole)
    seen = known.filter("is_its_own")
    if seen.height:
        sources = ", ".join(seen["source"].unique().sort())
        n_apart = seen.filter(pl.col("series") == _TRADE_TO_TRADE).height
        is_apart = 2 * n_apart > seen.height
        kind = ListingKind.TRADE_TO_TRADE if is_apart else ListingKind.DATA_UNAVAILABLE
        return kind, f"{sources} has {seen.height} bars there, {n_apart} of them in BE"
    if hole.previous_close is None:
        return ListingKind.DATA_UNAVAILABLE, "the next bar states no previous close"
    stated = f"the next bar states the previous close {hole.previous_close:g}"
    if abs(hole.previous_close - hole.close_before) < _PAISA_INR:
        return ListingKind.SUSPENDED, f"{stated}, so it did not trade in between"
    n_covered = known["session"].n_unique()
    if n_covered >= config.min_covered_frac * hole.n_sessions:
        return ListingKind.TRADE_TO_TRADE, (
            f"{stated}, so it traded in between, and {', '.join(known['source'].unique().sort())}, "
            f"with others on {n_covered} sessions there, has no bar of it either: in a series that "
            "both leave out"
        )
    return ListingKind.DATA_UNAVAILABLE, (
        f"{stated}, so it traded in between: in another series, or lost by the publisher"
    )
