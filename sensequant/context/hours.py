"""When a session opened, and when its decision falls.

Belongs here: the hours of sessions as columns to join on, and the dates of instants. Does not
belong here: the calendar itself (`market.sessions`).

The decision about a session falls at its close: what was known by then may count for it. A session
whose hours nobody knows (some drills) has no row, so that nothing counts for it.
"""

import polars as pl

from sensequant.context.rows import INSTANT
from sensequant.market.sessions import IST, SessionCalendar

__all__ = ["DECISION_SCHEMA", "decisions_of", "session_of"]

_AHEAD = IST.utcoffset(None)

DECISION_SCHEMA = pl.Schema({"session": pl.Date(), "opens_at": INSTANT, "decided_at": INSTANT})
"""One row per session: when it opened, and its close, when its decision falls."""


def decisions_of(calendar: SessionCalendar) -> pl.DataFrame:
    """Return the hours of every session that are known (`DECISION_SCHEMA`), in order."""
    known = calendar.table.drop_nulls(["opens_at", "closes_at"])
    return known.select(
        "session",
        opens_at=_instant_of("opens_at"),
        decided_at=_instant_of("closes_at"),
    ).cast(DECISION_SCHEMA)


def session_of(instant: str) -> pl.Expr:
    """Return the dates in India of a column of instants."""
    return (pl.col(instant).dt.replace_time_zone(None) + _AHEAD).dt.date()


def _instant_of(local: str) -> pl.Expr:
    wall = pl.col("session").dt.combine(pl.col(local), time_unit="us")
    return (wall - _AHEAD).dt.replace_time_zone("UTC")
