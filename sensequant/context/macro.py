"""Macro series: indices, exchange rate, yield, gold, and since when a value of each was known.

Belongs here: which series there are, what they count in, and the rule by which a value of a day
became known (`macro_series.csv`). Does not belong here: reading files (`macro_files`), sessions
(`macro_sessions`), the features.

A value belongs to a day. It happened, and became known, at a time of that day by the clock of
India, or at the close of that day's session. Where a publisher promises no time the table says one
that leaves room: a value that counts too late costs a session, one that counts too early lies.
"""

import csv
import re
from collections.abc import Mapping
from datetime import time
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import polars as pl
from pydantic import Field

from sensequant.context.rows import ContextKind
from sensequant.errors import ConfigError
from sensequant.records import Record

__all__ = [
    "MACRO",
    "MacroSeries",
    "known_series",
    "require_series",
    "series_named",
    "series_of_stem",
]

MACRO = ContextKind("macro", values={"value": pl.Float64()})
"""One value of one series and day; the symbol is the name of the series."""

_CLOSE = "close"


class MacroSeries(Record):
    """One series and the rule by which its values become known.

    Attributes
    ----------
    series
        Its name in the store.
    unit
        What its values count in.
    names
        What files call it, in lower case.
    happens, known
        Time of the day in India, None for the close of the session.
    max_age_days
        After how many days a value says nothing any more.
    what, rule
        What it is; why it is known from `known` on.
    """

    series: str
    unit: str
    names: tuple[str, ...]
    happens: time | None
    known: time | None
    max_age_days: int = Field(ge=1)
    what: str
    rule: str


@cache
def known_series() -> Mapping[str, MacroSeries]:
    """Return every series of the table, by its name."""
    text = files("sensequant.context").joinpath("macro_series.csv").read_text(encoding="utf-8")
    found = (_series_of(row) for row in csv.DictReader(text.splitlines()))
    return MappingProxyType({each.series: each for each in found})


def series_named(text: str) -> str | None:
    """Return the series that a file calls so, None if there is none."""
    return _by_name().get(_plain(text))


def series_of_stem(stem: str) -> str | None:
    """Return the series with whose name a file's name begins: the longest one that fits."""
    text = stem.lower()
    fitting = [name for name in _by_name() if text == name or text.startswith(f"{name}_")]
    return _by_name()[max(fitting, key=len)] if fitting else None


def require_series(text: str) -> str:
    """Return the series of this name.

    Raises
    ------
    ConfigError
        There is none.
    """
    found = series_named(text)
    if found is None:
        raise ConfigError(
            "no such series",
            where="series",
            expected=", ".join(known_series()),
            found=text,
            remedy="name one of them; docs/context.md says what they are",
        )
    return found


@cache
def _by_name() -> Mapping[str, str]:
    names = {
        name: each.series
        for each in known_series().values()
        for name in (each.series.lower(), *each.names)
    }
    return MappingProxyType(names)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().lower()


def _series_of(row: Mapping[str, str]) -> MacroSeries:
    given = dict(row)
    return MacroSeries.model_validate(
        {
            **given,
            "names": tuple(given["names"].split(";")),
            "happens": None if given["happens"] == _CLOSE else given["happens"],
            "known": None if given["known"] == _CLOSE else given["known"],
        }
    )
