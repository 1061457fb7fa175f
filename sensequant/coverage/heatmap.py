"""The heat map of a coverage page: one row per symbol, one cell per month.

Belongs here: what a cell shows and says. Does not belong here: colours and layout (the template).

A cell is filled from below by the part of its expected sessions that is ok, the rest in the colour
of the worst state, whose letter stands in the cell: colour is never the only sign. The drawn part
of what is not ok is at least a quarter, so that one missing session of twenty is seen; the number
and the tooltip are exact.
"""

from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

import polars as pl

from sensequant.coverage.states import HELD_STATES, State

__all__ = ["LETTERS", "NAMES", "Cell", "HeatMap", "HeatRow", "heat_map_of"]

LETTERS = {
    State.OK: "",
    State.PARTIAL: "P",
    State.MISSING_LOCAL: "M",
    State.MISSING_AT_SOURCE: "S",
    State.PENDING: "W",
    State.QUARANTINED: "Q",
    State.DISPUTED: "D",
    State.NOT_EXPECTED: "",
}
"""What stands in a cell whose worst state it is."""

NAMES = {
    State.OK: "ok",
    State.PARTIAL: "partial",
    State.MISSING_LOCAL: "missing here",
    State.MISSING_AT_SOURCE: "source has none",
    State.PENDING: "waiting",
    State.QUARANTINED: "quarantined",
    State.DISPUTED: "disputed",
    State.NOT_EXPECTED: "not expected",
}
"""States as a person reads them; the letter is the initial of the name."""

_LEAST_SHOWN, _MOST_SHOWN = 12, 75


@dataclass(frozen=True, slots=True)
class Cell:
    """One month of one symbol.

    Attributes
    ----------
    kind
        Class of the cell: the worst state, or `none` where nothing is expected.
    shown
        Height of the part that is ok, in per cent of the cell; None where one colour fills it.
    number
        Sessions that are ok, in per cent of those expected, rounded down; empty without any.
    letter
        Sign of the worst state.
    tip
        The same in words.
    """

    kind: str
    shown: int | None
    number: str
    letter: str
    tip: str


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One symbol: its name, its status as a class, its cells."""

    symbol: str
    status: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """All symbols of one interval.

    Attributes
    ----------
    years
        Year and number of its months, for the upper heading.
    months
        First date of every column.
    rows
        Symbols in alphabetical order.
    """

    years: tuple[tuple[int, int], ...]
    months: tuple[date, ...]
    rows: tuple[HeatRow, ...]


def heat_map_of(months: pl.DataFrame, symbols: pl.DataFrame, *, interval: str) -> HeatMap:
    """Return the heat map of one interval.

    Parameters
    ----------
    months, symbols
        Sums (`coverage.rollup.months_of`, `symbols_of`).
    interval
        Which rows of both.
    """
    own = months.filter(pl.col("interval") == interval)
    columns = _every_month(own)
    found = {(row["symbol"], row["month"]): row for row in own.iter_rows(named=True)}
    rows = tuple(
        HeatRow(
            symbol=symbol,
            status=status or "none",
            cells=tuple(_cell(symbol, month, found.get((symbol, month))) for month in columns),
        )
        for symbol, status in symbols.filter(pl.col("interval") == interval)
        .select("symbol", "status")
        .iter_rows()
    )
    years = tuple(
        (year, sum(1 for _ in group)) for year, group in groupby(columns, key=lambda m: m.year)
    )
    return HeatMap(years, columns, rows)


def _every_month(own: pl.DataFrame) -> tuple[date, ...]:
    if own.is_empty():
        return ()
    ends = own.select(pl.col("month").min().alias("first"), pl.col("month").max().alias("last"))
    first, last = ends.row(0)
    return tuple(pl.date_range(first, last, interval="1mo", eager=True))


def _cell(symbol: str, month: date, sums: dict[str, Any] | None) -> Cell:
    name = f"{symbol} {month:%Y-%m}"
    if sums is None:
        return Cell("none", None, "", "", f"{name}: no session")
    if sums["n_sessions"] == 0:
        extra = sums["n_unexpected_bars"]
        tip = f"{name}: nothing expected, {extra} bars nevertheless" if extra else ""
        return Cell("none", None, "", "!" if extra else "", tip or f"{name}: nothing expected")
    worst = State(sums["worst"])
    n_ok, n_sessions = sums["n_ok"], sums["n_sessions"]
    is_mixed = 0 < n_ok < n_sessions
    shown = min(max(100 * n_ok // n_sessions, _LEAST_SHOWN), _MOST_SHOWN) if is_mixed else None
    return Cell(
        kind=worst.value,
        shown=shown,
        number=str(100 * n_ok // n_sessions),
        letter=LETTERS[worst],
        tip=f"{name}: {_in_words(sums)}",
    )


def _in_words(sums: dict[str, Any]) -> str:
    words = [f"{sums['n_ok']} of {sums['n_sessions']} sessions ok"]
    words += [
        f"{sums[f'n_{state.value}']} {NAMES[state]}"
        for state in HELD_STATES
        if state is not State.OK and sums[f"n_{state.value}"]
    ]
    if sums["n_unexpected_bars"]:
        words.append(f"{sums['n_unexpected_bars']} unexpected bars")
    return ", ".join(words)
