"""Looking up at the vendor which code each symbol has, and keeping what was found.

Belongs here: today's list against that of the last time, for the symbols of a universe. Does not
belong here: the comparison (`market.discovery`), reading the vendor's list.
"""

from datetime import datetime, timedelta
from pathlib import Path

from pydantic import Field

from sensequant.errors import ConfigError
from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.imports import stored_renames
from sensequant.market.discovery import Discovery, discover
from sensequant.market.selection import SymbolSelection, selected_symbols
from sensequant.market.sessions import session_date_of
from sensequant.market.sources.breeze.source import BreezeSource
from sensequant.market.sources.build import SourceConfig
from sensequant.market.symbol_map import SymbolMap, latest_snapshot
from sensequant.storage import write_json, write_table

__all__ = ["DiscoveryRequest", "discover_symbols", "write_discovery"]


class DiscoveryRequest(SymbolSelection):
    """Which symbols are looked up; with none named, all of the vendor's list."""

    source: SourceConfig = Field(
        default_factory=lambda: SourceConfig(kind="breeze-simulator"),
        description="The vendor, or the simulator of it.",
    )


def discover_symbols(
    request: DiscoveryRequest, context: IngestContext, *, home: Path, universes: Path, now: datetime
) -> Discovery:
    """Return what the vendor's list of today says about each symbol.

    Raises
    ------
    ConfigError
        The source is no vendor, or the universe is unknown.
    """
    source = context.source
    if not isinstance(source, BreezeSource) or not isinstance(source.symbol_map, SymbolMap):
        raise ConfigError(
            "source has no list of securities",
            where="source.kind",
            expected="breeze or breeze-simulator",
            found=request.source.kind,
            remedy="choose one of them; other sources name symbols as NSE does",
        )
    today = session_date_of(now)
    return discover(
        selected_symbols(request, universes=universes, as_of=today, available=source.symbols),
        source.symbol_map,
        renames=stored_renames(home),
        previous=latest_snapshot(
            home / context.store_key, until=source.symbol_map.as_of - timedelta(days=1)
        ),
        today=today,
    )


def write_discovery(root: Path, found: Discovery) -> Path:
    """Keep the findings as a record and a table; return the record's path."""
    stem = root / "symbols" / "discoveries" / found.as_of.isoformat()
    write_table(stem.with_suffix(".parquet"), found.table())
    write_json(stem.with_suffix(".json"), found)
    return stem.with_suffix(".json")
