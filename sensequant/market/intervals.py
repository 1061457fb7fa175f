"""Lengths of bars, and which bars a session holds.

Belongs here: the intervals, their grid within a session, how many bars a session should have. Does
not belong here: the columns of a bar (`bars`), the hours of a session (`sessions`).

A bar is labelled by its start. A regular session of 375 minutes holds 375, 75 or 13 bars; the last
one of thirty minutes is cut short by the close. Sessions whose hours are not known, and drills,
whose two parts have a break that the calendar does not describe, have no grid: what they should
hold is null, not a guess.
"""

from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, get_args

import polars as pl

from sensequant.errors import ConfigError
from sensequant.market.sessions import IST, SessionCalendar, SessionKind

__all__ = [
    "DAILY",
    "INTERVALS",
    "Interval",
    "bar_starts",
    "bars_in_range",
    "grid",
    "is_intraday",
    "minutes_of",
    "n_bars_by_session",
    "n_bars_expected",
]

Interval = Literal["1day", "30minute", "5minute", "1minute"]
"""Length of a bar, as Breeze names it."""

INTERVALS: tuple[Interval, ...] = get_args(Interval)

DAILY: Interval = "1day"

_MINUTES: dict[str, int] = {"30minute": 30, "5minute": 5, "1minute": 1}


def is_intraday(interval: Interval) -> bool:
    """Return whether a session holds several bars of this length."""
    return interval != DAILY


def minutes_of(interval: Interval) -> int:
    """Return the minutes of an intraday bar.

    Raises
    ------
    ConfigError
        The bar is a session, whose length differs.
    """
    if interval not in _MINUTES:
        raise ConfigError(
            "bar has no fixed number of minutes",
            where="interval",
            expected=", ".join(_MINUTES),
            found=interval,
        )
    return _MINUTES[interval]


def bar_starts(
    calendar: SessionCalendar, session: date, interval: Interval
) -> list[datetime] | None:
    """Return the instants (UTC) at which the bars of a session begin; None where not known.

    Raises
    ------
    ConfigError
        The date is no session, its year is not known, or the interval is a session.
    """
    starts = grid(calendar, interval).filter(pl.col("session") == session)["starts_at"]
    if starts.is_empty():
        calendar.number_of(session)
        return None
    return starts.to_list()


def n_bars_expected(calendar: SessionCalendar, session: date, interval: Interval) -> int | None:
    """Return how many bars a session should hold; None where its hours are not known.

    Raises
    ------
    ConfigError
        The date is no session, or its year is not known.
    """
    calendar.number_of(session)
    counts = bars_in_range(calendar, session, session, interval)
    n_expected: int | None = counts["n_expected"][0]
    return n_expected


def bars_in_range(
    calendar: SessionCalendar, start: date, end: date, interval: Interval
) -> pl.DataFrame:
    """Return how many bars each session from `start` to `end` should hold.

    Returns
    -------
    polars.DataFrame
        session Date, n_expected Int32 (null where the hours are not known), by session.
    """
    sessions = pl.DataFrame({"session": calendar.sessions(start, end)}, schema={"session": pl.Date})
    if not is_intraday(interval):
        return sessions.with_columns(n_expected=pl.lit(1, dtype=pl.Int32))
    counts = _counts(calendar, interval)
    return sessions.join(counts, on="session", how="left", maintain_order="left")


@lru_cache(maxsize=8)
def grid(calendar: SessionCalendar, interval: Interval) -> pl.DataFrame:
    """Return the start of every bar of every session whose hours are known.

    Returns
    -------
    polars.DataFrame
        session Date, starts_at Datetime("us", "UTC"), sorted.
    """
    minutes = minutes_of(interval)
    known = calendar.table.filter(
        pl.col("opens_at").is_not_null() & (pl.col("kind") != SessionKind.DRILL.value)
    )
    ahead_of_utc = IST.utcoffset(None)
    opened = pl.col("session").dt.combine(pl.col("opens_at")) - ahead_of_utc
    closed = pl.col("session").dt.combine(pl.col("closes_at")) - ahead_of_utc
    return (
        known.select(
            "session",
            starts_at=pl.datetime_ranges(opened, closed, interval=f"{minutes}m", closed="left"),
        )
        .explode("starts_at", empty_as_null=False)
        .with_columns(pl.col("starts_at").dt.cast_time_unit("us").dt.replace_time_zone("UTC"))
        .sort("starts_at")
    )


@lru_cache(maxsize=8)
def n_bars_by_session(calendar: SessionCalendar, interval: Interval) -> Mapping[date, int]:
    """Return how many intraday bars each session should hold whose hours are known."""
    return MappingProxyType(dict(_counts(calendar, interval).iter_rows()))


@lru_cache(maxsize=8)
def _counts(calendar: SessionCalendar, interval: Interval) -> pl.DataFrame:
    counted = grid(calendar, interval).group_by("session", maintain_order=True)
    return counted.agg(pl.len().cast(pl.Int32).alias("n_expected"))
