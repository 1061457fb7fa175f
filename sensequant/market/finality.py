"""When a bar may still change, and when it is final.

Belongs here: the settle rule, as a pure function of the time, the calendar and the settings. Does
not belong here: applying it to stored bars (`market.store`).

A source that is asked for the day's bars answers while the session lasts, and for days after it may
still correct them or bring them late. A bar is therefore provisional until one of two things holds.
Its session is older than the last few sessions: then the bar is final as it is delivered. Or some
hours have passed since the close of its session and the bar is delivered again, unchanged, some
hours after its first delivery: then two looks agree. Training reads final bars alone.

A session whose closing hour is not known counts as closed at the end of its day in India. After the
last session that the calendar knows, its last sessions stay within reach of a correction: what is
not known is never taken for settled.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from pydantic import Field

from sensequant.market.sessions import IST, SessionCalendar, nse_calendar, session_date_of
from sensequant.records import Config

__all__ = ["Finality", "FinalityConfig", "finality_at"]


class FinalityConfig(Config):
    """When a delivered bar is taken to be final."""

    recheck_sessions: int = Field(
        default=5,
        ge=1,
        le=60,
        description="closed sessions, counted back from the last one, whose bars are fetched again "
        "and become final only by confirmation; sessions",
    )
    settle_hours_after_close: int = Field(
        default=18,
        ge=0,
        le=240,
        description="time after the close of a session before its bars can become final; hours",
    )
    confirm_after_hours: int = Field(
        default=6,
        ge=1,
        le=240,
        description="least time between two equal deliveries of a bar that confirm it; hours",
    )


@dataclass(frozen=True, slots=True)
class Finality:
    """Which bars are final at a moment.

    Parameters
    ----------
    settled_through
        Bars of sessions up to this one are final at first sight; None: those of no session.
    confirmable_through
        Bars of sessions up to this one become final by confirmation; None: those of no session.
    confirm_after
        Least time between the first delivery of a value and the equal one that confirms it.
    calendar
        Calendar that tells how many intraday bars a session must have before any is confirmed.
    """

    settled_through: date | None
    confirmable_through: date | None
    confirm_after: timedelta
    calendar: SessionCalendar = field(default_factory=nse_calendar, repr=False)


def finality_at(now: datetime, calendar: SessionCalendar, config: FinalityConfig) -> Finality:
    """Return which bars are final at `now`.

    Parameters
    ----------
    now
        Aware time.
    calendar
        The calendar of the exchange.
    config
        The settle rule.

    Raises
    ------
    ConfigError
        `now` is naive.
    """
    n_confirmable = _n_closed(calendar, now - timedelta(hours=config.settle_hours_after_close))
    n_settled = min(_n_closed(calendar, now) - config.recheck_sessions, n_confirmable)
    return Finality(
        settled_through=calendar.session_at(n_settled - 1) if n_settled > 0 else None,
        confirmable_through=calendar.session_at(n_confirmable - 1) if n_confirmable > 0 else None,
        confirm_after=timedelta(hours=config.confirm_after_hours),
        calendar=calendar,
    )


def _n_closed(calendar: SessionCalendar, instant: datetime) -> int:
    # Sessions up to that day have begun at most; the last few of them may not have closed.
    n_closed = bisect_right(calendar.table["session"], session_date_of(instant))
    while n_closed > 0 and _closed_at(calendar, calendar.session_at(n_closed - 1)) > instant:
        n_closed -= 1
    return n_closed


def _closed_at(calendar: SessionCalendar, session: date) -> datetime:
    end_of_day = datetime.combine(session + timedelta(days=1), time(), IST)
    return calendar.closes(session) or end_of_day
