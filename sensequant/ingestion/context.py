"""What every chunk of one ingestion shares: where bars come from, where they go, who is counted.

Belongs here: the parts, put together once per process. Does not belong here: what is done with
them (`chunks`, `backfill`), and where settings and secrets come from (tasks, flows, the terminal).
"""

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from sensequant.ingestion.ledger import Ledger
from sensequant.ingestion.ranges import Range
from sensequant.market.finality import Finality, FinalityConfig, finality_at
from sensequant.market.intervals import Interval
from sensequant.market.sessions import SessionCalendar
from sensequant.market.sources.base import BarSource
from sensequant.market.store import BarStore

__all__ = ["IngestContext", "KeyInUse"]


@dataclasses.dataclass(frozen=True, slots=True)
class KeyInUse:
    """Whose calls are counted.

    Parameters
    ----------
    key_digest
        Digest of the key; calls are counted and stopped for all who use it.
    session_digest
        Digest of the session token; a stop of a login does not outlive it.
    calls_per_day
        Calls that we make in a day of India at most.
    """

    key_digest: str
    session_digest: str
    calls_per_day: int


@dataclasses.dataclass(frozen=True, slots=True)
class IngestContext:
    """Source, store and ledger of an ingestion, and how it judges.

    Parameters
    ----------
    source, store, ledger
        Where bars come from, where they go, where it is written down.
    store_key
        Name of the store in the ledger: its root relative to the home, such as `breeze`.
    claims
        Folder of the locks by which two ingestions share the work; one for all of a home.
    calendar
        Sessions of the exchange.
    clock
        Tells the aware instant.
    finality
        Settle rule; None for a publisher's history, whose bars are final as they come.
    listings
        Spells of listing and suspension (`market.listings.LISTING_SCHEMA`); None where nothing is
        known.
    key
        Whose calls are counted; None for a source that costs no calls.
    backfill_id
        Backfill to which the chunks belong; None outside of one.
    """

    source: BarSource
    store: BarStore
    ledger: Ledger
    store_key: str
    claims: Path
    calendar: SessionCalendar
    clock: Callable[[], datetime]
    finality: FinalityConfig | None = None
    listings: pl.DataFrame | None = None
    key: KeyInUse | None = None
    backfill_id: str | None = None

    def finality_at(self, now: datetime) -> Finality | None:
        """Return which bars are final at an instant; None where all are."""
        return None if self.finality is None else finality_at(now, self.calendar, self.finality)

    def covered(self, symbol: str, interval: Interval) -> list[Range]:
        """Return the dates that need no call now (`ledger.Ledger.covered`).

        Raises
        ------
        ConfigError
            The calendar does not know this year.
        """
        # Where all bars are final as they come, nothing waits to be confirmed.
        hours = 0 if self.finality is None else self.finality.confirm_after_hours
        return self.ledger.covered(
            self.store_key,
            symbol,
            interval,
            calendar=self.calendar,
            now=self.clock(),
            confirm_after=timedelta(hours=hours),
        )
