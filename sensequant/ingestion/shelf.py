"""What is kept of a source on this machine: bars, ledger, listings. Nothing is asked of the source.

Belongs here: opening these together, for those who look at what there is. Does not belong here: a
source that can be asked (`opening`), which stands on the same shelf.
"""

import dataclasses
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from sensequant.ingestion.ledger import Ledger
from sensequant.ingestion.places import ledger_path, store_at, store_key
from sensequant.ingestion.ranges import last_known_closed_session
from sensequant.market.finality import FinalityConfig, finality_at
from sensequant.market.listings import (
    LISTING_SCHEMA,
    combine_listings,
    listings_from_map,
    read_listings,
)
from sensequant.market.sessions import SessionCalendar, nse_calendar
from sensequant.market.sources.build import SourceConfig
from sensequant.market.store import BarStore
from sensequant.market.symbol_map import latest_snapshot

__all__ = ["LISTINGS_FILE", "Shelf", "open_shelf", "stored_listings"]

LISTINGS_FILE = Path("symbols") / "listings.csv"
"""Spells of listing and suspension that a person states, below the root of a store."""


@dataclasses.dataclass(frozen=True)
class Shelf:
    """Bars, ledger and listings of one source.

    Parameters
    ----------
    store, ledger
        The bars, and what is written down about fetching them.
    store_key
        Name of the store in the ledger.
    listings
        Spells that the vendor's list or a person states (`market.listings.LISTING_SCHEMA`).
    finality
        Settle rule; None for a publisher's history, whose bars are final as they come.
    calendar
        Sessions of the exchange.
    """

    store: BarStore
    ledger: Ledger
    store_key: str
    listings: pl.DataFrame
    finality: FinalityConfig | None
    calendar: SessionCalendar

    @property
    def confirm_after(self) -> timedelta:
        """Least time between two looks that confirm a bar."""
        return timedelta(hours=0 if self.finality is None else self.finality.confirm_after_hours)

    def settled_at(self, now: datetime) -> date | None:
        """Return the last session that was settled at an instant."""
        if self.finality is None:
            return last_known_closed_session(self.calendar, now)
        return finality_at(now, self.calendar, self.finality).settled_through


def open_shelf(home: Path, source: SourceConfig, *, ledger: str | None = None) -> Shelf:
    """Return what this machine keeps of a source; close its ledger after use.

    Parameters
    ----------
    home
        Root of all data.
    source
        Whose bars.
    ledger
        Address or path of the ledger; None for the file below the home.

    Raises
    ------
    StorageError, RecordError
        The ledger cannot be used, or a stored list is damaged.
    """
    # Read first, so that a damaged list leaves no ledger open.
    listings = stored_listings(home / store_key(source))
    return Shelf(
        store=store_at(home, source),
        ledger=Ledger.open(ledger or ledger_path(home)),
        store_key=store_key(source),
        listings=listings,
        finality=FinalityConfig() if source.is_vendor else None,
        calendar=nse_calendar(),
    )


def stored_listings(root: Path) -> pl.DataFrame:
    """Return what a person and the vendor's latest list state (`LISTING_SCHEMA`)."""
    stated = root / LISTINGS_FILE
    symbols = latest_snapshot(root)
    return combine_listings(
        read_listings(stated) if stated.is_file() else LISTING_SCHEMA.to_frame(),
        LISTING_SCHEMA.to_frame() if symbols is None else listings_from_map(symbols),
    )
