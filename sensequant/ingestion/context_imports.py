"""Bringing what is known beside the bars into the store of a source, whatever kind it is.

Belongs here: the question, and which importer answers it. Does not belong here: reading and judging
files (`sensequant.context`).
"""

from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Literal, Self

import polars as pl
from pydantic import Field, model_validator

from sensequant.context.depth import DEPTH
from sensequant.context.depth_files import import_depth
from sensequant.context.files import ImportReport
from sensequant.context.headline_files import import_headlines
from sensequant.context.headlines import HEADLINES
from sensequant.context.macro import MACRO, known_series, require_series
from sensequant.context.macro_files import import_macro, store_macro
from sensequant.context.store import REFUSED_SCHEMA, ContextStore, WriteCounts
from sensequant.errors import ConfigError, MissingBarsError
from sensequant.ingestion.places import context_store_at, store_at
from sensequant.market.intervals import DAILY
from sensequant.market.sessions import IST, SessionCalendar, nse_calendar
from sensequant.market.sources.build import SourceConfig
from sensequant.market.store import BarStore
from sensequant.market.symbols import validate_symbol
from sensequant.records import Config

__all__ = ["ContextImport", "import_context"]

_STORED = {"depth": DEPTH.name, "sentiment": HEADLINES.name}


class ContextImport(Config):
    """What is brought, from where, and to which store."""

    kind: Literal["depth", "sentiment", "macro", "index_bars"] = Field(
        default="macro",
        description="Files of order books, of headlines, of macro series, or the stored bars of "
        "indices as macro series.",
    )
    path: Path | None = Field(
        default=None, description="File or folder, as the worker sees it; none for index_bars."
    )
    symbol: str | None = Field(
        default=None,
        description="Whose books or headlines, or which macro series, where the files do not say.",
    )
    delay_seconds: float = Field(
        default=0.0,
        ge=0,
        le=86_400,
        description="Seconds after its time at which a snapshot of an order book was known.",
    )
    source: SourceConfig = Field(
        default_factory=lambda: SourceConfig(kind="breeze"),
        description="A simulated source for what is invented, all others are real; for index_bars "
        "whose bars.",
    )

    @property
    def stored_kind(self) -> str:
        """Name of the kind in the store."""
        return _STORED.get(self.kind, MACRO.name)

    @model_validator(mode="after")
    def _fields_act(self) -> Self:
        of_bars = self.kind == "index_bars"
        wrong = {
            "path": (self.path is None) != of_bars,
            "symbol": of_bars and self.symbol is not None,
            "delay_seconds": self.kind != "depth" and self.delay_seconds > 0,
        }
        named = [name for name, is_wrong in wrong.items() if is_wrong]
        if named:
            raise ConfigError(
                "fields do not fit what is imported",
                where=", ".join(named),
                expected="path for files, none for index_bars; symbol for files; delay for depth",
                found=f"kind {self.kind}, path {self.path}, symbol {self.symbol}, delay "
                f"{self.delay_seconds}",
                remedy="leave out what the kind does not read",
            )
        return self


def import_context(home: Path, asked: ContextImport, *, at: datetime) -> ImportReport:
    """Bring files, or bars of indices, into a store of context.

    Parameters
    ----------
    home
        Root of all data.
    asked
        What, from where, and where to.
    at
        Aware time of the import.

    Raises
    ------
    ConfigError
        There is no such file, symbol or series.
    InvalidContextError
        A file cannot be used as a whole.
    MissingBarsError
        No bars of an index are stored.
    """
    store = context_store_at(home, asked.source)
    if asked.path is None:
        return _index_bars(store, store_at(home, asked.source), nse_calendar(), at)
    if asked.kind == "macro":
        series = None if asked.symbol is None else require_series(asked.symbol)
        return import_macro(
            store, asked.path, calendar=nse_calendar(), imported_at=at, series=series
        )
    symbol = None if asked.symbol is None else validate_symbol(asked.symbol)
    if asked.kind == "sentiment":
        return import_headlines(store, asked.path, imported_at=at, symbol=symbol)
    return import_depth(
        store,
        asked.path,
        calendar=nse_calendar(),
        imported_at=at,
        symbol=symbol,
        delay=timedelta(seconds=asked.delay_seconds),
    )


def _index_bars(
    store: ContextStore, bars: BarStore, calendar: SessionCalendar, at: datetime
) -> ImportReport:
    """Take the final daily bars of indices as values of macro series, known at their close."""
    names = [name for name in bars.symbols(DAILY) if name in known_series()]
    if not names:
        raise MissingBarsError(
            "no bars of an index are stored",
            where="daily bars",
            expected=f"one of {', '.join(known_series())}",
            found="none",
            remedy="ingest them first: sensequant ingest",
        )
    counts = WriteCounts()
    for name in names:
        table = bars.read(name, interval=DAILY, final_only=True)
        # A session whose hours nobody knows was over at the end of its day.
        closes = [
            calendar.closes(session) or datetime.combine(session, time(23, 59, 59), IST)
            for session in table["session"]
        ]
        rows = table.select(
            symbol=pl.lit(name),
            at=pl.Series(closes, dtype=MACRO.schema["at"]),
            known_at=pl.Series(closes, dtype=MACRO.schema["at"]),
            source=pl.lit("index_bars"),
            is_simulated="is_simulated",
            value="close",
        )
        counts += store_macro(store, rows.cast(MACRO.schema), written_at=at)
    return ImportReport(len(names), counts, REFUSED_SCHEMA.to_frame(), tuple(names))
