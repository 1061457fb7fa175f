"""What the broker's list of today says about the symbols of a universe.

Belongs here: comparing a universe with the map of today, that of the last time, and the changes of
symbols; the finding for each symbol, with its evidence. Does not belong here: downloading the list,
writing the map (`market.symbol_map`), whether bars of a symbol can be had (`ingestion`): the list
keeps companies that were merged away years ago.

No symbol is excluded by name. One is unmapped because the list of this date says so, and the
finding holds what it says.
"""

import dataclasses
import difflib
from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from typing import Any

import polars as pl

from sensequant.market.renames import MERGER, Rename, RenameTable
from sensequant.market.security_master import DropReason
from sensequant.market.symbol_map import (
    SYMBOL_CHANGE_SCHEMA,
    RowKind,
    SymbolChange,
    SymbolMap,
    diff_maps,
)
from sensequant.records import Record

__all__ = [
    "FINDING_SCHEMA",
    "Discovery",
    "Note",
    "SymbolFinding",
    "Unmapped",
    "discover",
]


class Unmapped(StrEnum):
    """Why a symbol has no code; the first that applies is recorded."""

    COLLISION = "collision"
    RENAMED = "renamed"
    MERGED = "merged"
    DELETED = "deleted"
    """It stands in the list, marked as deleted or without a token that lives."""

    OTHER_SERIES = "other_series"
    """It stands in the list in series other than EQ and BE only, such as BZ, SM or a bond's."""

    NOT_IN_MASTER = "not_in_master"


class Note(StrEnum):
    """What is odd about a symbol that has a code."""

    TRADE_TO_TRADE = "trade_to_trade"
    """The list has it in series BE only."""

    NO_PRICE_IN_YEAR = "no_price_in_year"
    """The list states no price of the last 52 weeks."""

    NAME_GIVEN_UP = "name_given_up"
    """By the table of changes the symbol was given up, and yet the list has it: the list is older,
    or another company has the name."""

    REUSED = "reused"
    """Last time the symbol had the ISIN of another company."""

    CODE_CHANGED = "code_changed"
    """Last time the security had another code."""

    ISIN_CHANGED = "isin_changed"
    """Last time it had another ISIN of the same issuer."""

    ADDED = "added"
    """It was not in the last map."""


class SymbolFinding(Record):
    """What the list says about one symbol."""

    symbol: str
    is_mapped: bool
    reason: Unmapped | None
    """Null where the symbol is mapped."""

    stock_code: str | None
    isin: str | None
    token: str | None
    series: str | None
    company_name: str | None
    renamed_to: str | None
    """The company's newest symbol, where it is another one."""

    renamed_on: date | None
    notes: tuple[Note, ...]
    evidence: str


class Discovery(Record):
    """What the list says about a universe."""

    as_of: date
    """Date on which it was looked up."""

    master_as_of: date
    master_sha256: str
    previous_as_of: date | None
    previous_sha256: str | None
    n_symbols: int
    n_mapped: int
    n_by_reason: dict[str, int]
    n_by_note: dict[str, int]
    n_changes: dict[str, int]
    """Changes of all securities since the last map, by `SymbolChange`; empty without one."""

    findings: tuple[SymbolFinding, ...]

    def table(self) -> pl.DataFrame:
        """Return the findings as rows of `FINDING_SCHEMA`, sorted by symbol."""
        rows = [
            {**finding.model_dump(mode="json"), "renamed_on": finding.renamed_on}
            for finding in self.findings
        ]
        return pl.DataFrame(rows, schema=FINDING_SCHEMA).select(FINDING_SCHEMA.names())

    def mapped(self) -> tuple[str, ...]:
        """Return the symbols that have a code."""
        return tuple(finding.symbol for finding in self.findings if finding.is_mapped)


FINDING_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "is_mapped": pl.Boolean(),
        "reason": pl.String(),
        "stock_code": pl.String(),
        "isin": pl.String(),
        "token": pl.String(),
        "series": pl.String(),
        "company_name": pl.String(),
        "renamed_to": pl.String(),
        "renamed_on": pl.Date(),
        "notes": pl.List(pl.String()),
        "evidence": pl.String(),
    }
)

_NOTED_CHANGES = {
    SymbolChange.REUSED: Note.REUSED,
    SymbolChange.CODE_CHANGED: Note.CODE_CHANGED,
    SymbolChange.ISIN_CHANGED: Note.ISIN_CHANGED,
    SymbolChange.ADDED: Note.ADDED,
}
_SHOWN = ("stock_code", "isin", "token", "series", "company_name")
_GONE = (DropReason.DELETED, DropReason.DEAD_TOKEN)


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class _Knowledge:
    master: SymbolMap
    renames: RenameTable
    changes: pl.DataFrame
    as_of: date

    def change_of_name(self, symbol: str) -> Rename | None:
        """Return the change by which a symbol was given up, by the table or else by ISIN."""
        listed = self.renames.given_up(symbol, self.as_of)
        if listed is not None:
            return listed
        moved = self.changes.filter(
            (pl.col("change") == SymbolChange.RENAMED) & (pl.col("symbol_before") == symbol)
        )
        if moved.is_empty():
            return None
        return Rename(symbol, moved["symbol"][0], self.master.as_of)

    def newest_name(self, change: Rename) -> str:
        """Return the newest symbol of the company that a changed or merged symbol went to."""
        return self.renames.current_name(change.new, change.changed_on)

    def in_words(self, change: Rename | None) -> list[str]:
        """Return what is to be said of a change, and under which code its company is now."""
        if change is None:
            return []
        newest = self.newest_name(change)
        code = f", code {self.master.stock_code(newest)}" if self.master.has(newest) else ""
        return [f"{change.in_words}; now {newest}{code}"]


def discover(
    symbols: Iterable[str],
    master: SymbolMap,
    *,
    renames: RenameTable,
    previous: SymbolMap | None,
    today: date,
) -> Discovery:
    """Look every symbol of a universe up in the broker's list.

    Parameters
    ----------
    symbols
        NSE symbols, in any order; repeated ones count once.
    master
        Map made of today's list.
    renames
        Changes of symbols, as NSE publishes them.
    previous
        Map of the last time; None where this is the first.
    today
        Date of the look-up, in India.
    """
    changes = SYMBOL_CHANGE_SCHEMA.to_frame() if previous is None else diff_maps(previous, master)
    known = _Knowledge(master, renames, changes, today)
    findings = tuple(_finding(symbol, known) for symbol in sorted(set(symbols)))
    return Discovery(
        as_of=today,
        master_as_of=master.as_of,
        master_sha256=master.sha256,
        previous_as_of=None if previous is None else previous.as_of,
        previous_sha256=None if previous is None else previous.sha256,
        n_symbols=len(findings),
        n_mapped=sum(finding.is_mapped for finding in findings),
        n_by_reason=_counts(finding.reason for finding in findings if finding.reason is not None),
        n_by_note=_counts(note for finding in findings for note in finding.notes),
        n_changes=_counts(changes["change"]),
        findings=findings,
    )


def _finding(symbol: str, known: _Knowledge) -> SymbolFinding:
    change = known.change_of_name(symbol)
    told = {
        "symbol": symbol,
        "renamed_to": None if change is None else known.newest_name(change),
        "renamed_on": None if change is None else change.changed_on,
    }
    if known.master.has(symbol):
        return SymbolFinding.model_validate(told | _mapped(symbol, change, known))
    return SymbolFinding.model_validate(told | _unmapped(symbol, change, known))


def _mapped(symbol: str, change: Rename | None, known: _Knowledge) -> dict[str, Any]:
    row = known.master.rows_of(symbol, RowKind.SECURITY, RowKind.INDEX).row(0, named=True)
    told = [f"code {row['stock_code']} in series {row['series']}", *known.in_words(change)]
    return {
        "is_mapped": True,
        "reason": None,
        **{name: row[name] for name in _SHOWN},
        "notes": _notes(row, change, known),
        "evidence": "; ".join(told),
    }


def _notes(row: dict[str, Any], change: Rename | None, known: _Knowledge) -> list[Note]:
    kinds = known.changes.filter(pl.col("symbol") == row["symbol"])["change"].to_list()
    found = {
        Note.TRADE_TO_TRADE: row["series"] == "BE",
        Note.NO_PRICE_IN_YEAR: row["kind"] == RowKind.SECURITY
        and row["is_priced_in_year"] is False,
        Note.NAME_GIVEN_UP: change is not None,
        **{note: change.value in kinds for change, note in _NOTED_CHANGES.items()},
    }
    return [note for note, is_so in found.items() if is_so]


def _unmapped(symbol: str, change: Rename | None, known: _Knowledge) -> dict[str, Any]:
    candidates = known.master.rows_of(symbol, RowKind.COLLISION)
    dropped = known.master.rows_of(symbol, RowKind.DROPPED)
    reason = _reason(change, candidates, dropped)
    shown = (candidates if candidates.height else dropped).to_dicts()
    told = known.in_words(change)
    told += [
        f"{row['stock_code']} in series {row['series']}, token {row['token']}, {row['isin']}"
        f" ({row['kind']}: {row['reason']})"
        for row in shown
    ]
    if reason is Unmapped.NOT_IN_MASTER:
        near = difflib.get_close_matches(symbol, known.master.symbols(), n=3, cutoff=0.6)
        told.append(f"no row has this symbol; similar: {', '.join(near) or 'none'}")
    # A code and token that may not be used are told in the evidence only.
    single = shown[0] if len(shown) == 1 else {}
    facts = {name: single.get(name) for name in _SHOWN} | {"stock_code": None, "token": None}
    return {
        "is_mapped": False,
        "reason": reason,
        **facts,
        "notes": (),
        "evidence": "; ".join(told),
    }


def _reason(change: Rename | None, candidates: pl.DataFrame, dropped: pl.DataFrame) -> Unmapped:
    reasons = set(dropped["reason"])
    rules = {
        Unmapped.COLLISION: candidates.height > 0,
        Unmapped.MERGED: change is not None and change.kind == MERGER,
        Unmapped.RENAMED: change is not None,
        Unmapped.DELETED: not reasons.isdisjoint(_GONE),
        Unmapped.OTHER_SERIES: DropReason.OTHER_SERIES in reasons,
    }
    return next((reason for reason, is_so in rules.items() if is_so), Unmapped.NOT_IN_MASTER)


def _counts(values: Iterable[str]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for value in sorted(map(str, values)):
        counted[value] = counted.get(value, 0) + 1
    return counted
