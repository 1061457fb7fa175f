"""Histories of many symbols out of a store, as features and labels need them.

Belongs here: adjusted bars of final bars, and the market around them. Does not belong here: the
store, adjustment, features.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import polars as pl

from sensequant.errors import DataError, MissingBarsError
from sensequant.features.context import MarketContext
from sensequant.market.adjustments import adjust_bars
from sensequant.market.intervals import DAILY
from sensequant.market.sessions import SessionCalendar
from sensequant.market.store import BarStore
from sensequant.market.symbols import INDIA_VIX, NIFTY50
from sensequant.records import SkipReason

__all__ = ["History", "context_from_store", "listings_of", "read_histories"]


@dataclass(frozen=True, slots=True)
class History:
    """The adjusted bars of one symbol, or the reason why there are none."""

    bars: pl.DataFrame | None
    reason: SkipReason | None

    @property
    def ends(self) -> tuple[date, date] | None:
        """First and last session."""
        return None if self.bars is None else (self.bars["session"][0], self.bars["session"][-1])


def read_histories(
    store: BarStore, symbols: Iterable[str], calendar: SessionCalendar
) -> dict[str, History]:
    """Return the history of each symbol; only final bars that nobody disputes are read.

    Raises
    ------
    RecordError
        A stored file is damaged.
    """
    actions = store.actions()
    return {symbol: _history_of(symbol, store, actions, calendar) for symbol in symbols}


def context_from_store(
    store: BarStore, calendar: SessionCalendar, *, listings: dict[str, date]
) -> MarketContext:
    """Return the market around the symbols of a store, as far as the store knows it."""
    indices = read_histories(store, (NIFTY50, INDIA_VIX), calendar)
    return MarketContext(
        benchmark=indices[NIFTY50].bars, vix=indices[INDIA_VIX].bars, listings=listings
    )


def listings_of(first_sessions: dict[str, date]) -> dict[str, date]:
    """Return the listing of each symbol that has one within the data.

    Where the data begin, the first bar of a symbol is no listing.
    """
    if not first_sessions:
        return {}
    begin = min(first_sessions.values())
    return {symbol: session for symbol, session in first_sessions.items() if session > begin}


def _history_of(
    symbol: str, store: BarStore, actions: pl.DataFrame, calendar: SessionCalendar
) -> History:
    try:
        stored = store.read(symbol, interval=DAILY, final_only=True)
        if stored.is_empty():
            raise MissingBarsError("store has no final bar of the symbol", where=symbol)
        return History(adjust_bars(stored, actions, calendar), None)
    except DataError as error:
        return History(None, SkipReason(error.reason))
