"""How figures become words and rows of a page: numbers, rupees, intervals, tables.

Belongs here: formats that every page shares. Does not belong here: what a page shows.

Conventions
-----------
- What is missing reads `n/a`, with its reason where one is known; it is never blank, 0 or a dash.
- Fractions are shown in per cent with one decimal; rupees in Indian grouping (12,34,56,789).
- A minus is U+2212, so that it lines up with digits and does not break over lines.
- Cells are plain text, which the template escapes, or `Markup` made here from escaped parts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from markupsafe import Markup

from sensequant.evaluation.figures import Figure

__all__ = [
    "Column",
    "Format",
    "Table",
    "bar",
    "between",
    "code",
    "count",
    "decimals",
    "figure_cells",
    "format_of",
    "inr",
    "mark",
    "missing",
    "p_value",
    "percent",
    "table_of",
    "whole",
    "words",
]

Format = Callable[[Any], str]
"""From a value, or None where there is none, to the text of its cell."""

_LAKH, _CRORE = 1e5, 1e7
_SMALLEST_P = 0.001


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a page's table: where its values stand and how they read.

    Attributes
    ----------
    source
        Column of the frame.
    name
        Heading.
    format
        From value to text.
    is_number
        Whether the cells line up on the right.
    """

    source: str
    name: str
    format: Format
    is_number: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table ready to be shown; the first cell of a row names it.

    Attributes
    ----------
    caption
        What the table shows.
    columns
        Headings, each with whether its cells are numbers.
    rows
        Cells, one per column.
    is_folded
        Whether a long table starts closed.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    is_folded: bool = False


def table_of(
    frame: pl.DataFrame, columns: Sequence[Column], *, caption: str, is_folded: bool = False
) -> Table:
    """Return the table of a frame; columns that the frame does not have are left out."""
    present = tuple(column for column in columns if column.source in frame.columns)
    cells = [[column.format(value) for value in frame[column.source]] for column in present]
    return Table(caption, present, tuple(zip(*cells, strict=True)), is_folded)


def percent(value: float | None) -> str:
    """Return a fraction in per cent with one decimal."""
    return missing() if value is None else _minus(f"{value * 100:.1f}%")


def decimals(places: int) -> Format:
    """Return the format of a number with so many decimals."""

    def write(value: float | None) -> str:
        return missing() if value is None else _minus(f"{value:,.{places}f}")

    return write


def count(value: int | None) -> str:
    """Return a whole number in Indian grouping."""
    return missing() if value is None else _minus(_grouped(value))


def whole(value: float | None) -> str:
    """Return a count that is stored as a float."""
    return missing() if value is None else count(round(value))


def inr(value: float | None) -> str:
    """Return rupees in Indian grouping; from one lakh on, also in lakh or crore."""
    if value is None:
        return missing()
    rupees = f"\u20b9{_grouped(round(abs(value)))}"
    sign = "-" if round(value) < 0 else ""
    for size, name in ((_CRORE, "crore"), (_LAKH, "lakh")):
        if abs(value) >= size:
            return _minus(f"{sign}{rupees} ({sign}{abs(value) / size:.2f} {name})")
    return _minus(sign + rupees)


def p_value(value: float | None) -> str:
    """Return a p-value with three decimals, tiny ones as a bound."""
    if value is None:
        return missing()
    return f"< {_SMALLEST_P}" if value < _SMALLEST_P else f"{value:.3f}"


def words(value: Any) -> str:
    """Return a value as text, names of codes with spaces."""
    return missing() if value is None or value == "" else str(value).replace("_", " ")


def code(value: str | None) -> str:
    """Return an identifier or digest, set in fixed width."""
    return missing() if value is None else Markup("<code>{}</code>").format(value)


def bar(*parts: tuple[str, int]) -> str:
    """Return a bar of shares, for the eye only: kinds of part and their counts."""
    total = sum(number for _, number in parts)
    pieces = [
        Markup('<i class="{}" style="width:{}%"></i>').format(kind, f"{100 * number / total:.1f}")
        for kind, number in parts
        if number
    ]
    return Markup('<span class="bar" aria-hidden="true">{}</span>').format(Markup("").join(pieces))


def mark(kind: str, text: str) -> str:
    """Return an outcome in words, with the class that colours it."""
    return Markup('<span class="mark {}">{}</span>').format(kind, text)


def missing(reason: str | None = None) -> str:
    """Return what stands where there is no figure."""
    text = f"n/a - {reason}" if reason else "n/a"
    return Markup('<span class="missing-cell">{}</span>').format(text)


def figure_cells(figure: Figure) -> tuple[str, str, str]:
    """Return a figure's value, its interval and its sample size; what is missing says why."""
    write = format_of(figure.unit)
    if figure.value is None:
        return missing(figure.reason), missing(), count(figure.n)
    if figure.lower is None or figure.upper is None:
        return write(figure.value), missing(figure.reason), count(figure.n)
    return write(figure.value), between(figure.lower, figure.upper, write), count(figure.n)


def between(lower: float, upper: float, write: Format) -> str:
    """Return the bounds of an interval."""
    return f"{write(lower)} to {write(upper)}"


def format_of(unit: str | None) -> Format:
    """Return how a figure of this unit reads; numbers of other units have two decimals."""
    return _FORMATS.get(unit or "", decimals(2))


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")


def _grouped(value: int) -> str:
    sign, digits = ("-", str(-value)) if value < 0 else ("", str(value))
    head, tail = digits[:-3], digits[-3:]
    pairs: list[str] = []
    while head:
        head, pair = head[:-2], head[-2:]
        pairs.insert(0, pair)
    return sign + ",".join([*pairs, tail])


_FORMATS: dict[str, Format] = {
    "fraction": percent,
    "fraction per year": percent,
    "fraction of gross gain": percent,
    "probability": decimals(3),
    "nats": decimals(3),
    "sessions": whole,
    "trades": whole,
}
