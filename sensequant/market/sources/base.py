"""What every source of bars promises, so that nothing downstream knows where bars came from.

Belongs here: the interface, what is asked for (`Chunk`) and what comes back (`Fetched`), and the
checks that all sources share. Does not belong here: any one source (`files`, `simulated`; a
broker's adapter is one more class with these methods).

A source that knows the whole history of a symbol delivers it as one chunk; a source that pays per
request says how many sessions one request may span. A missing bound of a chunk means: all that
there is. How a range is cut into chunks stands in `sensequant.ingestion.planning`.
"""

import dataclasses
import difflib
from collections.abc import Iterable
from datetime import date
from typing import Protocol

import polars as pl

from sensequant.errors import ConfigError, UnknownSymbolError
from sensequant.market.bars import DAILY, Interval
from sensequant.market.quality import QualityReport

__all__ = [
    "BarSource",
    "Chunk",
    "Fetched",
    "require_known",
    "require_range",
    "require_symbol",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """One request of the ingestion: a symbol, an interval, first and last session or None."""

    symbol: str
    interval: Interval = DAILY
    start: date | None = None
    end: date | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Fetched:
    """What one chunk delivered.

    Parameters
    ----------
    bars
        Valid bars within the chunk, sorted (`market.bars.bar_schema`).
    quarantine
        Every row that was refused (`market.quality.QUARANTINE_SCHEMA`), of the whole delivery.
    report
        Counts of the whole delivery, before the chunk's bounds were applied.
    source_digest
        sha256 of the delivered bytes, or of the settings of a generator.
    n_calls
        Requests that the chunk cost.
    findings
        What was odd and mended without loss, in short codes such as `truncated_and_paged`.
    """

    bars: pl.DataFrame
    quarantine: pl.DataFrame
    report: QualityReport
    source_digest: str
    n_calls: int = 0
    findings: tuple[str, ...] = ()


class BarSource(Protocol):
    """A source of bars."""

    @property
    def name(self) -> str:
        """Short name, for records."""
        ...

    @property
    def is_simulated(self) -> bool:
        """Whether the bars are generated."""
        ...

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """Lengths of the bars that it can deliver."""
        ...

    def symbols(self) -> tuple[str, ...]:
        """Return the stocks and funds it has, sorted, without the indices."""
        ...

    def indices(self) -> tuple[str, ...]:
        """Return the indices that it has (`market.symbols.is_index`), daily bars only."""
        ...

    def sessions_per_chunk(self, interval: Interval) -> int | None:
        """Return how many sessions one chunk may span; None: one chunk holds all there is."""
        ...

    def fetch(self, chunk: Chunk) -> Fetched:
        """Return the bars of one chunk.

        Raises
        ------
        UnknownSymbolError
            The source does not know the symbol, or cannot tell which one is meant.
        """
        ...

    def actions(self) -> pl.DataFrame:
        """Return corporate actions (`market.adjustments.ACTION_SCHEMA`), empty if it has none."""
        ...


def require_known(symbol: str, known: Iterable[str], *, source: str) -> None:
    """Raise unless the source has a symbol that a person named.

    Raises
    ------
    ConfigError
        It has not; the nearest names are listed.
    """
    try:
        require_symbol(symbol, known, source=source)
    except UnknownSymbolError as error:
        raise ConfigError(
            error.what,
            where=error.where,
            expected=error.expected,
            found=error.found,
            remedy=error.remedy,
        ) from error


def require_symbol(symbol: str, known: Iterable[str], *, source: str) -> None:
    """Raise unless the source has the symbol of a chunk: one of many, which alone is refused.

    Raises
    ------
    UnknownSymbolError
        It has not; the nearest names are listed.
    """
    names = set(known)
    if symbol in names:
        return
    near = difflib.get_close_matches(symbol.upper(), sorted(names), n=3, cutoff=0.6)
    raise UnknownSymbolError(
        "symbol is not in the source",
        where=source,
        expected=f"one of {len(names)} symbols",
        found=symbol,
        remedy=f"did you mean {', '.join(near)}?" if near else "list the symbols of the source",
    )


def require_range(start: date | None, end: date | None) -> None:
    """Raise if a range of sessions is upside down.

    Raises
    ------
    ConfigError
        `start` is after `end`.
    """
    if start is not None and end is not None and start > end:
        raise ConfigError(
            "range of sessions is upside down",
            expected="start on or before end",
            found=f"{start} to {end}",
            remedy="exchange the two dates",
        )
