"""Calendar: where a session lies in its week, its month and among the holidays.

Belongs here: what the date of a session says by itself. Does not belong here: which dates are
sessions (`market.sessions`).

Only what was known at the close of the session is used. Sessions and closures of the past are
known; of the future only what follows from a rule: weekdays, holidays with a fixed date, the
expiry day of monthly contracts. Moving holidays, elections and closures at short notice are not
looked ahead to, because the table does not say when they were announced.

Sources: Lakonishok and Smidt, *Are Seasonal Anomalies Real?* (1988), for the turn of the month (its
last session and the first three); NSE's contract specifications for the expiry of monthly contracts
(last Thursday of the month, from 2025-09-01 the last Tuesday).
"""

import math
from datetime import date
from functools import cache

import numpy as np
import polars as pl

from sensequant.features.context import MarketContext
from sensequant.features.spec import Family, Feature, FeatureSpec, Table
from sensequant.market.sessions import nse_calendar

__all__ = ["CALENDAR_FEATURES", "CALENDAR_TABLE"]

_SMIDT = "Lakonishok and Smidt (1988)"
_NSE = "NSE contract specifications"
_CALENDAR = "calendar of NSE (docs/calendar.md)"
_DEFINITION = "definition"

_FIXED_HOLIDAYS = ((1, 26), (4, 14), (5, 1), (8, 15), (10, 2), (12, 25))
"""Month and day; on none of them that was a weekday did NSE trade between 2000 and 2026."""

_TUESDAY_EXPIRY = date(2025, 9, 1)
_TURN_SESSIONS = 3
_FRIDAY = 5
_THURSDAY = 4
_TUESDAY = 2
_DAYS = 7

_SESSION = pl.col("session")
_WEEKDAY = _SESSION.dt.weekday()


def _feature(name: str, *, unit: str, formula: str, source: str) -> Feature:
    spec = FeatureSpec(
        name=name,
        family=Family.CALENDAR,
        warmup_bars=0,
        unit=unit,
        formula=formula,
        source=source,
    )
    return Feature(spec, None)


CALENDAR_FEATURES: tuple[Feature, ...] = (
    _feature(
        "weekday_sin",
        unit="-1 to 1",
        formula="sin(2 pi d / 7), d days since Monday",
        source=_DEFINITION,
    ),
    _feature(
        "weekday_cos",
        unit="-1 to 1",
        formula="cos(2 pi d / 7), d days since Monday",
        source=_DEFINITION,
    ),
    _feature(
        "is_month_turn",
        unit="0 or 1",
        formula="one of the first three sessions of the month, or no weekday left in it",
        source=_SMIDT,
    ),
    _feature(
        "days_since_previous_session",
        unit="days",
        formula="calendar days since the session before, 1 from Tuesday to Friday as a rule",
        source=_CALENDAR,
    ),
    _feature(
        "sessions_since_closure",
        unit="sessions",
        formula="sessions since the last weekday without one, 0 on the first after it",
        source=_CALENDAR,
    ),
    _feature(
        "weekdays_to_fixed_holiday",
        unit="weekdays",
        formula="weekdays between the session and the next 26 January, 14 April, 1 May, "
        "15 August, 2 October or 25 December on a weekday",
        source=_CALENDAR,
    ),
    _feature(
        "is_expiry_week",
        unit="0 or 1",
        formula="week (Monday to Sunday) of the month's last Thursday, from September 2025 last "
        "Tuesday",
        source=_NSE,
    ),
    _feature(
        "is_short_session",
        unit="0 or 1",
        formula="Muhurat or drill, traded for under three hours",
        source=_CALENDAR,
    ),
)

_COLUMNS = tuple(feature.spec.name for feature in CALENDAR_FEATURES)


def _by_session(rows: pl.DataFrame, _context: MarketContext) -> pl.DataFrame:
    joined = rows.select("session").join(
        _known_sessions(), on="session", how="left", maintain_order="left"
    )
    return joined.select(_COLUMNS)


CALENDAR_TABLE = Table(_COLUMNS, _by_session)


@cache
def _known_sessions() -> pl.DataFrame:
    return _columns_of(nse_calendar().numbers())


def _columns_of(numbers: pl.DataFrame) -> pl.DataFrame:
    angle = 2 * math.pi * (_WEEKDAY - 1).cast(pl.Float64) / _DAYS
    within_month = pl.int_range(1, pl.len() + 1).over(_SESSION.dt.truncate("1mo"))
    table = numbers.select(
        "session",
        angle.sin().alias("weekday_sin"),
        angle.cos().alias("weekday_cos"),
        ((within_month <= _TURN_SESSIONS) | _is_last_weekday()).alias("is_month_turn"),
        _SESSION.diff().dt.total_days().alias("days_since_previous_session"),
        _is_expiry_week().alias("is_expiry_week"),
        pl.col("is_short").alias("is_short_session"),
    )
    return table.with_columns(
        _sessions_since_closure(numbers), _weekdays_to_fixed_holiday(numbers)
    ).cast(dict.fromkeys(_COLUMNS, pl.Float64()))


def _is_last_weekday() -> pl.Expr:
    n_days = pl.when(_WEEKDAY >= _FRIDAY).then(_DAYS + 1 - _WEEKDAY.cast(pl.Int64)).otherwise(1)
    next_weekday = _SESSION + pl.duration(days=n_days)
    return next_weekday.dt.month() != _SESSION.dt.month()


def _is_expiry_week() -> pl.Expr:
    expiry_weekday = (
        pl.when(_SESSION.dt.truncate("1mo") < _TUESDAY_EXPIRY).then(_THURSDAY).otherwise(_TUESDAY)
    )
    # A week reaches into two months: the expiry is that of the month of the week's expiry weekday.
    monday = _SESSION - pl.duration(days=_WEEKDAY.cast(pl.Int64) - 1)
    expiry = monday + pl.duration(days=expiry_weekday - 1)
    return (expiry + pl.duration(days=_DAYS)).dt.month() != expiry.dt.month()


def _sessions_since_closure(numbers: pl.DataFrame) -> pl.Series:
    days = numbers["session"].to_numpy().astype("datetime64[D]")
    n_skipped = np.busday_count(days[:-1] + np.timedelta64(1, "D"), days[1:])
    position = np.arange(days.size)
    is_first_after = np.concatenate([[False], n_skipped > 0])
    first = np.maximum.accumulate(np.where(is_first_after, position, -1))
    age = np.where(first >= 0, position - first, np.nan)
    return pl.Series("sessions_since_closure", age, nan_to_null=True)


def _weekdays_to_fixed_holiday(numbers: pl.DataFrame) -> pl.Series:
    sessions = numbers["session"]
    years = range(sessions[0].year, sessions[-1].year + 2)
    dates = [date(year, month, day) for year in years for month, day in _FIXED_HOLIDAYS]
    holidays = np.array(
        sorted(day for day in dates if day.isoweekday() <= _FRIDAY), "datetime64[D]"
    )
    days = sessions.to_numpy().astype("datetime64[D]")
    following = holidays[np.searchsorted(holidays, days, side="right")]
    counts = np.busday_count(days + np.timedelta64(1, "D"), following)
    return pl.Series("weekdays_to_fixed_holiday", counts)
