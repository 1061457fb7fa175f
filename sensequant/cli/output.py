"""How the terminal's face speaks: facts one per line, aligned tables, errors with their parts.

Belongs here: rendering of text for a person or a pipe. Does not belong here: what is said.

A pipe gets the same words as a terminal, without control characters and never wrapped.
"""

from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from sensequant.errors import SenseQuantError

__all__ = ["Fact", "console_for", "print_error", "print_facts", "print_table"]

Fact = tuple[str, str]
"""A name and what is said of it."""

_STYLES = {
    "success": "green",
    "completed": "green",
    "ok": "green",
    "approve": "green",
    "pass": "green",
    "degraded": "yellow",
    "skipped": "yellow",
    "warn": "yellow",
    "simulated": "yellow",
    "undetermined": "yellow",
    "not_enough_evidence": "yellow",
    "failed": "red",
    "fail": "red",
    "reject": "red",
}


def console_for(stream: TextIO) -> Console:
    """Return a console that colours on a terminal and leaves plain text plain elsewhere."""
    return Console(file=stream, highlight=False, soft_wrap=True, markup=False, emoji=False)


def print_facts(console: Console, facts: Iterable[Fact]) -> None:
    """Print one fact per line: the name, a colon, the value."""
    for name, value in facts:
        console.print(Text.assemble((f"{name}: ", "bold"), _coloured(value)))


def print_table(console: Console, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns as wide as their widest cell, two spaces apart."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for number, line in enumerate(lines):
        text = Text()
        for column, cell in enumerate(line):
            is_last = column == len(header) - 1
            padding = "" if is_last else " " * (widths[column] - len(cell) + 2)
            text.append(_coloured(cell) if number else Text(cell, style="bold")).append(padding)
        text.rstrip()
        console.print(text)


def print_error(console: Console, error: SenseQuantError) -> None:
    """Print what went wrong: its parts on lines of their own on a terminal, in one line elsewhere.

    A pipe is read by line, so there an error is one line.
    """
    if not console.is_terminal:
        console.print(f"error: {' '.join(str(error).split())}")
        return
    console.print(Text.assemble(("error: ", "bold red"), (error.what, "bold")))
    parts = (
        ("where", error.where),
        ("expected", error.expected),
        ("found", error.found),
        ("what to do", error.remedy),
    )
    for name, value in parts:
        if value:
            console.print(Text.assemble((f"  {name}: ", "dim"), value))


def _coloured(value: str) -> Text:
    first_word = value.replace(",", " ").partition(" ")[0]
    return Text(value, style=_STYLES.get(first_word, "none"))
