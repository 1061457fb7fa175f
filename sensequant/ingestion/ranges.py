"""Ranges of sessions: which sessions are over, which a fetch has answered, and what that leaves.

Belongs here: the rules by which an earlier fetch makes another one needless, and arithmetic on
ranges of dates. Does not belong here: where fetches are written down (`ledger`), and how what is
left is cut into calls (`planning`).

A range is a pair of dates, both included. Instants are aware. A session whose hours are not known
opens and closes, for these rules, at the end of its day in India.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta

from sensequant.errors import ConfigError
from sensequant.market.sessions import IST, SessionCalendar, session_date_of

__all__ = [
    "Answer",
    "Range",
    "covered_ranges",
    "is_within",
    "last_closed_session",
    "last_known_closed_session",
    "last_opened_session",
    "merge",
]

Range = tuple[date, date]
"""First and last date, both included."""

_DAY = timedelta(days=1)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """A fetch that the source has answered.

    Parameters
    ----------
    start, end
        What was asked for; None where the request had no bound.
    settled_through
        Last session whose bars, or absence, will not change any more; None if there is none.
    fetched_at
        Aware instant before the fetch began.
    """

    start: date | None
    end: date | None
    settled_through: date | None
    fetched_at: datetime


def last_closed_session(calendar: SessionCalendar, now: datetime) -> date:
    """Return the last session that had closed at an instant.

    Raises
    ------
    ConfigError
        `now` is naive, its year is not in the calendar, or no session of the calendar had closed.
    """
    day = session_date_of(now)
    if not calendar.is_session(day) or _closes(calendar, day) > now:
        day -= _DAY
    if day < calendar.first:
        raise ConfigError(
            "no session had closed yet",
            where="now",
            expected=f"an instant after the close of {calendar.first}",
            found=now.isoformat(),
        )
    return calendar.previous_on_or_before(day)


def last_known_closed_session(calendar: SessionCalendar, now: datetime) -> date:
    """Return the last session that had closed, as far as the calendar reaches.

    For a publisher's history, which ends where its files end: later sessions that the calendar does
    not know yet cannot be missing from it. A source that is asked for what is new needs the others.
    """
    if session_date_of(now).year > calendar.last.year:
        return calendar.last
    return last_closed_session(calendar, now)


def last_opened_session(calendar: SessionCalendar, now: datetime) -> date:
    """Return the last session that had opened at an instant; it may still be trading.

    Raises
    ------
    ConfigError
        As `last_closed_session`.
    """
    day = session_date_of(now)
    if calendar.is_session(day) and (calendar.opens(day) or _end_of_day(day)) <= now:
        return day
    return last_closed_session(calendar, now)


def covered_ranges(
    answers: Iterable[Answer], *, calendar: SessionCalendar, now: datetime, confirm_after: timedelta
) -> list[Range]:
    """Return the dates that need no call at `now`, whatever the order of the answers.

    What was settled when it was fetched stays covered. What was not yet settled is covered until
    `confirm_after` has passed or another session has closed, because then it must be confirmed; a
    session that was still open at the time of the fetch is not covered at all.

    Raises
    ------
    ConfigError
        An instant is naive or outside the calendar.
    """
    closed_now = last_closed_session(calendar, now)
    ranges: list[Range] = []
    for answer in answers:
        start, end = answer.start or date.min, answer.end or date.max
        settled = min(end, answer.settled_through) if answer.settled_through else None
        if settled is not None:
            ranges.append((start, settled))
        if settled == end or now >= answer.fetched_at + confirm_after:
            continue
        closed_then = last_closed_session(calendar, answer.fetched_at)
        if closed_then == closed_now:
            ranges.append((start, min(end, closed_then)))
    return merge(ranges)


def merge(ranges: Iterable[Range]) -> list[Range]:
    """Return the same dates as sorted ranges that neither touch nor overlap.

    A range whose end is before its start holds no date.
    """
    merged: list[Range] = []
    for start, end in sorted(each for each in ranges if each[0] <= each[1]):
        if merged and (merged[-1][1] >= start or merged[-1][1] + _DAY >= start):
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def is_within(day: date, ranges: Sequence[Range]) -> bool:
    """Return whether one of the ranges holds a date."""
    return any(start <= day <= end for start, end in ranges)


def _closes(calendar: SessionCalendar, session: date) -> datetime:
    return calendar.closes(session) or _end_of_day(session)


def _end_of_day(day: date) -> datetime:
    return datetime.combine(day + _DAY, time(), IST).astimezone(UTC)
