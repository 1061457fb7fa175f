"""Under which symbol a company traded when: NSE's changes of symbols, and mergers.

Belongs here: the dated table of changes and the walk along it. Does not belong here: what the
broker calls a symbol (`market.symbol_map`), corporate actions (`market.adjustments`).

NSE publishes each change as (old symbol, new symbol, date). On that date the new symbol is in
force already. Changes chain (LTI became LTIM and then LTM), two may fall on one day, a company may
take its former symbol back, and a symbol that was given up may be given to another company. So the
walk follows the events of one company in their order, and stops where the name changes hands: what
another company did under the same symbol is none of its history.

A merger ends a symbol too, but the survivor's history is not that of the merged company. NSE's list
has none; a table of one's own may have them, marked in a column `kind`. No walk crosses a merger.
"""

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple, Self

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.market.user_tables import is_symbol, parse_dates, read_user_table

__all__ = [
    "MERGER",
    "RENAME",
    "RENAME_SCHEMA",
    "NameSpell",
    "Rename",
    "RenameTable",
    "read_renames",
]

RENAME = "rename"
MERGER = "merger"

RENAME_SCHEMA = pl.Schema(
    {"old": pl.String(), "new": pl.String(), "changed_on": pl.Date(), "kind": pl.String()}
)
"""One change. `changed_on` is the first date of the new symbol, or the first without the old."""

_COLUMNS = {
    "old": ("old", "sm_key_symbol"),
    "new": ("new", "sm_new_symbol"),
    "changed_on": ("date", "changed_on", "sm_applicable_from"),
    "kind": ("kind",),
}


class Rename(NamedTuple):
    """One change of a symbol, or a merger."""

    old: str
    new: str
    changed_on: date
    kind: str = RENAME

    @property
    def in_words(self) -> str:
        """What happened to the old symbol."""
        what = "merged into" if self.kind == MERGER else "renamed to"
        return f"{what} {self.new} on {self.changed_on}"


class NameSpell(NamedTuple):
    """A symbol of a company with the first and the last date; None where the table knows none."""

    symbol: str
    since: date | None
    until: date | None


class _Event(NamedTuple):
    number: int
    change: Rename


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class RenameTable:
    """Changes of symbols, oldest first.

    Parameters
    ----------
    frame
        Rows of `RENAME_SCHEMA` in the order in which they took force; `from_changes` sorts them.
    unusable
        Rows of the delivered table that say nothing: without a date, without a symbol, or from a
        symbol to itself.
    """

    frame: pl.DataFrame
    unusable: pl.DataFrame
    _touching: dict[str, list[_Event]] = dataclasses.field(init=False, repr=False)
    _mergers: dict[str, list[Rename]] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        touching: dict[str, list[_Event]] = defaultdict(list)
        mergers: dict[str, list[Rename]] = defaultdict(list)
        for number, change in enumerate(itertools.starmap(Rename, self.frame.rows())):
            if change.kind == MERGER:
                mergers[change.old].append(change)
                continue
            touching[change.old].append(_Event(number, change))
            touching[change.new].append(_Event(number, change))
        object.__setattr__(self, "_touching", dict(touching))
        object.__setattr__(self, "_mergers", dict(mergers))

    @classmethod
    def from_changes(cls, changes: pl.DataFrame) -> Self:
        """Make the table of rows of `RENAME_SCHEMA` in any order, some of them perhaps unusable.

        Raises
        ------
        InvalidBarsError
            Changes of one day go round in a circle, or one symbol becomes two on one day.
        """
        is_usable = (
            pl.all_horizontal(is_symbol("old"), is_symbol("new"))
            & pl.col("changed_on").is_not_null()
            & pl.col("kind").is_in((RENAME, MERGER))
            & pl.col("old").ne_missing(pl.col("new"))
        )
        usable = changes.filter(is_usable).unique()
        rows = sorted(itertools.starmap(Rename, usable.rows()), key=_by_date)
        ordered = [
            change
            for _, group in itertools.groupby(rows, key=lambda change: change.changed_on)
            for change in _in_order(list(group))
        ]
        return cls(
            pl.DataFrame(ordered, schema=RENAME_SCHEMA, orient="row"),
            changes.filter(~is_usable).sort(RENAME_SCHEMA.names()),
        )

    @classmethod
    def empty(cls) -> Self:
        """Make a table that knows no change."""
        return cls(RENAME_SCHEMA.to_frame(), RENAME_SCHEMA.to_frame())

    def current_name(self, symbol: str, as_of: date) -> str:
        """Return the newest symbol of the company that had `symbol` on a date.

        A symbol that nobody is known to have had on that date is returned as it is.
        """
        return self.spells(symbol, as_of=as_of)[-1].symbol

    def name_on(self, symbol: str, day: date, *, as_of: date | None = None) -> str:
        """Return the symbol that a company had on a day.

        Parameters
        ----------
        symbol
            Its symbol on `as_of`.
        day
            Date asked about.
        as_of
            When `symbol` was its symbol; None means after all changes.
        """
        spells = self.spells(symbol, as_of=as_of)
        return next(spell.symbol for spell in spells if day <= (spell.until or date.max))

    def chain(self, symbol: str) -> tuple[str, ...]:
        """Return all symbols of a company, oldest first, by any one of them.

        Where several companies had it, the last one counts.
        """
        return tuple(spell.symbol for spell in self.spells(symbol))

    def spells(self, symbol: str, *, as_of: date | None = None) -> tuple[NameSpell, ...]:
        """Return all symbols of a company with their dates, oldest first.

        A symbol that was given up on the day on which it was taken is left out.

        Parameters
        ----------
        symbol
            Its symbol on `as_of`.
        as_of
            Date; None means the last company that had it.
        """
        start = self._position(symbol, as_of)
        before = [event.change for event in self._backward(symbol, start)][::-1]
        after = [event.change for event in self._forward(symbol, start)]
        changes = [*before, *after]
        names = [*(change.old for change in before), symbol, *(change.new for change in after)]
        starts = [None, *(change.changed_on for change in changes)]
        ends = [*(_day_before(change.changed_on) for change in changes), None]
        spells = itertools.starmap(NameSpell, zip(names, starts, ends, strict=True))
        return tuple(
            spell for spell in spells if (spell.since or date.min) <= (spell.until or date.max)
        )

    def former_names(self, symbol: str, *, before: date) -> tuple[str, ...]:
        """Return former symbols under which something dated `before` may stand, newest first.

        These are the symbols that the company gave up after that date.

        Parameters
        ----------
        symbol
            Symbol of the company after all changes.
        before
            Date of what is looked for.
        """
        events = self._backward(symbol, len(self.frame))
        changes = itertools.takewhile(
            lambda change: before < change.changed_on, (event.change for event in events)
        )
        return tuple(change.old for change in changes)

    def given_up(self, symbol: str, as_of: date) -> Rename | None:
        """Return the change or merger by which a symbol was given up, or None if it was not.

        Of changes up to `as_of` the last one decides; a symbol that was taken by another company
        since then is not given up.
        """
        touching = [
            event.change
            for event in self._touching.get(symbol, [])
            if event.change.changed_on <= as_of
        ]
        merged = [change for change in self._mergers.get(symbol, []) if change.changed_on <= as_of]
        last = max([*touching[-1:], *merged[-1:]], key=_by_date, default=None)
        return last if last is not None and last.old == symbol else None

    def under_former_names(
        self, frame: pl.DataFrame, *, date_column: str, symbol_column: str = "symbol"
    ) -> pl.DataFrame:
        """Return rows, each also under the symbols that its company gave up after its date.

        Parameters
        ----------
        frame
            Rows under the symbols that companies have after all changes.
        date_column, symbol_column
            Its columns.

        Returns
        -------
        polars.DataFrame
            The rows in their order, then the added ones; rows that are equal are not merged.
        """
        symbols: list[str] = frame[symbol_column].unique().drop_nulls().sort().to_list()
        steps = [
            (symbol, event.change.old, event.change.changed_on)
            for symbol in symbols
            for event in self._backward(symbol, len(self.frame))
        ]
        former = pl.DataFrame(
            steps,
            schema={symbol_column: pl.String, "_old": pl.String, "_changed_on": pl.Date},
            orient="row",
        )
        added = (
            frame.join(former, on=symbol_column, maintain_order="left_right")
            .filter(pl.col(date_column) < pl.col("_changed_on"))
            .with_columns(pl.col("_old").alias(symbol_column))
        )
        return pl.concat([frame, added.select(frame.columns)])

    def _position(self, symbol: str, as_of: date | None) -> int:
        # The number of the first event that is still to come, seen from that date.
        events = self._touching.get(symbol, [])
        if as_of is None:
            return events[-1].number + (events[-1].change.new == symbol) if events else 0
        past = [event.number for event in events if event.change.changed_on <= as_of]
        return past[-1] + 1 if past else 0

    def _backward(self, symbol: str, position: int) -> Iterator[_Event]:
        while True:
            events = [event for event in self._touching.get(symbol, []) if event.number < position]
            # The last event before decides whether this company had taken the name or left it.
            if not events or events[-1].change.new != symbol:
                return
            yield events[-1]
            symbol, position = events[-1].change.old, events[-1].number

    def _forward(self, symbol: str, position: int) -> Iterator[_Event]:
        while True:
            events = [event for event in self._touching.get(symbol, []) if event.number >= position]
            if not events or events[0].change.old != symbol:
                return
            yield events[0]
            symbol, position = events[0].change.new, events[0].number + 1


def read_renames(path: Path) -> RenameTable:
    """Read changes of symbols from CSV or Parquet.

    Parameters
    ----------
    path
        Columns old, new and date, or NSE's own names of them (`SM_KEY_SYMBOL`, `SM_NEW_SYMBOL`,
        `SM_APPLICABLE_FROM`), and perhaps kind (`rename` or `merger`).

    Raises
    ------
    InvalidBarsError
        The file cannot be read or contradicts itself.
    """
    table = read_user_table(path, _COLUMNS, optional=frozenset({"kind"}))
    return RenameTable.from_changes(
        table.select(
            "old", "new", parse_dates("changed_on").alias("changed_on"), _kind().alias("kind")
        )
    )


def _kind() -> pl.Expr:
    return pl.col("kind").str.to_lowercase().fill_null(RENAME)


def _by_date(change: Rename) -> tuple[date, str, str]:
    return change.changed_on, change.old, change.new


def _day_before(day: date) -> date:
    return date.fromordinal(day.toordinal() - 1)


def _in_order(changes: list[Rename]) -> Iterable[Rename]:
    # Of two changes on one day, that to a symbol comes before that from it.
    left = changes
    while left:
        taken = [change.new for change in left if change.kind == RENAME]
        ready = [change for change in left if change.old not in taken]
        is_clear = len(set(taken)) == len(taken) and len({c.old for c in left}) == len(left)
        if not ready or not is_clear:
            raise InvalidBarsError(
                "changes of symbols contradict each other",
                where=f"{left[0].changed_on}",
                expected="each symbol changed at most once on a day, and not in a circle",
                found=", ".join(f"{change.old} to {change.new}" for change in left),
                remedy="correct the table",
            )
        yield from ready
        left = [change for change in left if change not in ready]
