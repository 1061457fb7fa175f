"""Context of whole sessions out of a store, as features need it.

Belongs here: which families of features stand on which kind of context, and reading it for many
symbols. Does not belong here: how a session is computed (`depth_sessions`), the features.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

import polars as pl

from sensequant.context.depth import DEPTH
from sensequant.context.depth_gaps import DEPTH_GAPS
from sensequant.context.depth_sessions import DEPTH_SESSION_SCHEMA, depth_by_session
from sensequant.context.headline_sessions import SENTIMENT_SESSION_SCHEMA, sentiment_by_session
from sensequant.context.headlines import HEADLINES
from sensequant.context.hours import decisions_of
from sensequant.context.macro import MACRO
from sensequant.context.macro_sessions import MACRO_SESSION_SCHEMA, macro_by_session
from sensequant.context.option_sessions import OPTIONS_SESSION_SCHEMA, options_by_session
from sensequant.context.options import OPTIONS
from sensequant.context.store import ContextStore
from sensequant.features.spec import Family
from sensequant.market.sessions import SessionCalendar
from sensequant.market.symbols import NIFTY50

__all__ = ["KINDS", "OF_CONTEXT", "context_of_sessions"]

KINDS = (DEPTH, DEPTH_GAPS, HEADLINES, MACRO, OPTIONS)
"""Every kind of context that a store may hold."""


def _depth_of(store: ContextStore, symbol: str, decisions: pl.DataFrame) -> pl.DataFrame:
    gaps = store.read(DEPTH_GAPS, symbol)
    # A session at a time: captured books of a year would not fit into memory.
    parts = (depth_by_session(part, decisions, gaps) for part in store.parts(DEPTH, symbol))
    return pl.concat([DEPTH_SESSION_SCHEMA.to_frame(), *parts])


def _sentiment_of(store: ContextStore, symbol: str, decisions: pl.DataFrame) -> pl.DataFrame:
    return sentiment_by_session(store.read(HEADLINES, symbol), decisions)


def _macro_of(store: ContextStore, series: str, decisions: pl.DataFrame) -> pl.DataFrame:
    return macro_by_session(store.read(MACRO, series), decisions)


def _options_of(store: ContextStore, symbol: str, decisions: pl.DataFrame) -> pl.DataFrame:
    return options_by_session(store.read(OPTIONS, symbol), decisions)


_Reader = Callable[[ContextStore, str, pl.DataFrame], pl.DataFrame]

_READERS: Mapping[Family, tuple[_Reader, pl.Schema]] = {
    Family.DEPTH: (_depth_of, DEPTH_SESSION_SCHEMA),
    Family.SENTIMENT: (_sentiment_of, SENTIMENT_SESSION_SCHEMA),
    Family.MACRO: (_macro_of, MACRO_SESSION_SCHEMA),
    Family.OPTIONS: (_options_of, OPTIONS_SESSION_SCHEMA),
}

_OF_ALL = {Family.MACRO: MACRO}
"""Families whose context is about no symbol, but about all of them."""

_OF_MARKET = {Family.OPTIONS: (NIFTY50,)}
"""Symbols that say something of the market, and are read beside those that are asked for."""

OF_CONTEXT = frozenset(_READERS)
"""Families of features that stand on context."""


def context_of_sessions(
    store: ContextStore,
    families: Collection[Family],
    *,
    symbols: Iterable[str],
    calendar: SessionCalendar,
) -> dict[Family, pl.DataFrame]:
    """Return, for those of the families that stand on context, what was known of each session.

    Parameters
    ----------
    store
        The context.
    families
        Families of features; the others are passed over.
    symbols
        Whose sessions; of the families that are about no symbol, all series are read, and of
        options also those on the NIFTY 50.
    calendar
        The NSE calendar; what counts for a session is what was known at its close.

    Returns
    -------
    dict
        For each family a frame with symbol and session, sorted by both; empty where nothing is
        known.

    Raises
    ------
    RecordError
        A stored file is damaged.
    """
    decisions = decisions_of(calendar)
    wanted = set(symbols)

    def whose(family: Family) -> Iterable[str]:
        if family in _OF_ALL:
            return store.symbols(_OF_ALL[family])
        return sorted(wanted.union(_OF_MARKET.get(family, ())))

    return {
        family: pl.concat(
            [schema.to_frame(), *(read(store, symbol, decisions) for symbol in whose(family))]
        )
        for family, (read, schema) in _READERS.items()
        if family in families
    }
