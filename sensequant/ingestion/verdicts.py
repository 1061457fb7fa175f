"""What a delivery says of the sessions it was asked for.

Belongs here: which sessions are missing at the source, which are pending, why a delivery is empty,
through which session an answer is settled. Does not belong here: when a symbol could be traded
(`market.listings`), single rows (`market.quality`).

An empty answer proves little: a typing error, a renaming, a delisting and a holiday look alike. The
reason is taken from calendar and listings where they explain it, and is else `no_data_at_source`.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

import polars as pl

from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.ranges import is_within, last_closed_session, last_known_closed_session
from sensequant.market.intervals import Interval, is_intraday, n_bars_by_session
from sensequant.market.listings import ListingKind, spells_by_kind
from sensequant.market.sources.base import Chunk

__all__ = [
    "DELISTED",
    "MISSING_AT_SOURCE",
    "NO_DATA_AT_SOURCE",
    "NO_VERDICT",
    "PENDING",
    "PRE_LISTING",
    "QUARANTINED",
    "SUSPENDED",
    "Verdict",
    "judge",
]

MISSING_AT_SOURCE = "missing_at_source"
"""Bars came, though not of every settled session that should have one."""

NO_DATA_AT_SOURCE = "no_data_at_source"
"""Nothing came, and nothing that is known explains it."""

PENDING = "pending"
"""Nothing came, and all sessions are too recent to say why."""

QUARANTINED = "quarantined"
"""Rows came, and all were refused."""

PRE_LISTING, DELISTED, SUSPENDED = "pre_listing", "delisted", "suspended"
"""Nothing came, because nothing was traded under this symbol."""


class Verdict(NamedTuple):
    """What a delivery says.

    Parameters
    ----------
    reason
        Why bars are missing; None where none is.
    missing
        Settled sessions in which bars were expected and for which no row came.
    n_missing_bars
        Bars that settled intraday sessions lack of which others came; refused rows are not missing,
        and of sessions whose hours are not known nobody can tell.
    n_pending
        Sessions without a bar that may still get one.
    settled_through
        Last session for which the answer will not change; None if there is none.
    """

    reason: str | None
    missing: tuple[date, ...]
    n_missing_bars: int
    n_pending: int
    settled_through: date | None


NO_VERDICT = Verdict(None, (), 0, 0, None)
"""Of what was not delivered, nothing can be said."""


def judge(
    chunk: Chunk,
    bars: pl.DataFrame,
    quarantine: pl.DataFrame,
    *,
    context: IngestContext,
    fetched_at: datetime,
) -> Verdict:
    """Judge a delivery.

    Parameters
    ----------
    chunk
        What was asked for. Without bounds, the first and last bar bound what is expected.
    bars, quarantine
        Bars and refused rows that came.
    context
        Calendar, listings and settle rule.
    fetched_at
        Instant before the fetch began.

    Raises
    ------
    ConfigError
        A date is not in the calendar.
    """
    # Bars are sorted.
    n_delivered = Counter(bars["session"].to_list())
    delivered: list[date] = list(n_delivered)
    start = chunk.start or (delivered[0] if delivered else None)
    end = chunk.end or (delivered[-1] if delivered else None)
    if start is None or end is None:
        reason = NO_DATA_AT_SOURCE if quarantine.is_empty() else QUARANTINED
        return Verdict(reason, (), 0, 0, None)
    is_history = context.finality is None
    closed_by = last_known_closed_session if is_history else last_closed_session
    closed = closed_by(context.calendar, fetched_at)
    finality = context.finality_at(fetched_at)
    settled = closed if finality is None else finality.settled_through
    settled = None if settled is None else min(end, settled)
    sessions = context.calendar.sessions(start, min(end, closed)) if start <= closed else []
    excused = _excused(chunk.symbol, sessions, context.listings)
    accounted = {*excused, *delivered, *quarantine["session"]}
    absent = [session for session in sessions if session not in accounted]
    missing = tuple(day for day in absent if settled is not None and day <= settled)
    if delivered:
        reason = MISSING_AT_SOURCE if missing else None
    elif not quarantine.is_empty():
        reason = QUARANTINED
    elif sessions and not absent:
        # The most frequent one; of equals, the one that comes first in time.
        reason = Counter(excused.values()).most_common(1)[0][0]
    else:
        reason = NO_DATA_AT_SOURCE if missing else PENDING
    return Verdict(
        reason,
        missing,
        _n_missing_bars(chunk.interval, n_delivered, quarantine, context=context, settled=settled),
        len(absent) - len(missing),
        settled,
    )


def _n_missing_bars(
    interval: Interval,
    n_delivered: Counter[date],
    quarantine: pl.DataFrame,
    *,
    context: IngestContext,
    settled: date | None,
) -> int:
    if not is_intraday(interval) or settled is None:
        return 0
    n_refused = Counter(quarantine["session"].to_list())
    expected = n_bars_by_session(context.calendar, interval)
    return sum(
        max(0, expected.get(session, 0) - n_bars - n_refused[session])
        for session, n_bars in n_delivered.items()
        if session <= settled
    )


def _excused(
    symbol: str, sessions: Sequence[date], listings: pl.DataFrame | None
) -> dict[date, str]:
    if listings is None or listings.is_empty() or not sessions:
        return {}
    spells = spells_by_kind(symbol, listings)
    listed, ended, suspended = (
        spells.get(kind, [])
        for kind in (ListingKind.LISTED, ListingKind.DELISTED, ListingKind.SUSPENDED)
    )
    is_listed = any(start <= sessions[0] and sessions[-1] <= end for start, end in listed)
    if not ended and not suspended and (is_listed or not listed):
        # Of most symbols nothing is known but that they are listed.
        return {}
    found: dict[date, str] = {}
    for session in sessions:
        if listed and session < listed[0][0]:
            found[session] = PRE_LISTING
        elif is_within(session, ended) or (listed and not is_within(session, listed)):
            found[session] = DELISTED
        elif is_within(session, suspended):
            found[session] = SUSPENDED
    return found
