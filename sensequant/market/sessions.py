"""The calendar of the National Stock Exchange of India: which dates were sessions, and when.

Belongs here: membership, counting along the sessions, and Indian Standard Time, which no other
module knows. Does not belong here: how the table of sessions is made (`market.session_table`), what
traded in a session (`market.bars`), or windows and labels, which count sessions with this calendar.

A session is a tz-naive date in India; an instant is an aware datetime. The hours in the table are
local time, those that `SessionCalendar` returns are in UTC. A missing hour is None, not a
default.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import cache

import polars as pl

from sensequant.errors import ConfigError
from sensequant.market.session_table import (
    CLOSURES_FILE,
    SPECIAL_SESSIONS_FILE,
    SessionKind,
    calendar_table,
)
from sensequant.records import Record

__all__ = [
    "IST",
    "CalendarCheck",
    "SessionCalendar",
    "SessionKind",
    "calendar_table",
    "nse_calendar",
    "session_date_of",
]

IST = timezone(timedelta(hours=5, minutes=30), "IST")
"""Indian Standard Time; India has kept no daylight saving time since 1945."""

# Drills of two sessions span more than three hours but trade less, so the kind decides.
_SHORT_KINDS = (SessionKind.MUHURAT.value, SessionKind.DRILL.value)


class CalendarCheck(Record):
    """How the calendar compares with dates on which trade was observed."""

    first: date
    """Earliest observed date."""

    last: date
    """Latest observed date."""

    n_compared: int
    """Number of distinct observed dates."""

    missing: tuple[date, ...]
    """Observed, but no session of the calendar."""

    extra: tuple[date, ...]
    """Sessions of the calendar within the observed range on which no trade was observed."""

    @property
    def is_agreed(self) -> bool:
        """Whether nothing is missing and nothing is extra."""
        return not self.missing and not self.extra


@dataclass(frozen=True, eq=False, slots=True)
class SessionCalendar:
    """A calendar of sessions: membership, counting and hours.

    Parameters
    ----------
    table
        Rows as `calendar_table` returns them, sorted by session and numbered from 0.

    Notes
    -----
    It knows whole years: from the year of its first session to that of its last one. Every method
    raises ConfigError for a date in another year, because the answer would be a guess.
    """

    table: pl.DataFrame
    _sessions: list[date] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sessions", self.table["session"].to_list())

    @property
    def first(self) -> date:
        """First session."""
        return self._sessions[0]

    @property
    def last(self) -> date:
        """Last session."""
        return self._sessions[-1]

    def is_session(self, day: date) -> bool:
        """Return whether `day` is a session.

        Raises
        ------
        ConfigError
            The year is not known.
        """
        return self._position(day) is not None

    def sessions(self, start: date, end: date) -> list[date]:
        """Return the sessions from `start` to `end`, both included; neither need be a session.

        Raises
        ------
        ConfigError
            A year is not known, or `start` is after `end`.
        """
        self._check_known(start)
        self._check_known(end)
        if start > end:
            raise ConfigError(
                "range of sessions is upside down",
                expected="start on or before end",
                found=f"{start} to {end}",
                remedy="exchange the two dates",
            )
        return self._sessions[
            bisect_left(self._sessions, start) : bisect_right(self._sessions, end)
        ]

    def number_of(self, session: date) -> int:
        """Return the position of a session in the table, the first one being 0.

        Raises
        ------
        ConfigError
            The date is no session, or its year is not known.
        """
        position = self._position(session)
        if position is None:
            raise ConfigError(
                "date is no session",
                where=f"{session} ({session:%A})",
                expected="a session of NSE",
                found="weekend or holiday",
                remedy="ask next_on_or_after or previous_on_or_before for a session near it",
            )
        return position

    def session_at(self, number: int) -> date:
        """Return the session at a position.

        Raises
        ------
        ConfigError
            The table has no such position.
        """
        if not 0 <= number < len(self._sessions):
            raise self._unknown(
                "session number is outside the calendar",
                expected=f"0 to {len(self._sessions) - 1}",
                found=str(number),
            )
        return self._sessions[number]

    def offset(self, session: date, n: int) -> date:
        """Return the session `n` sessions after `session`, or before it where `n` is negative.

        Raises
        ------
        ConfigError
            `session` is no session, or the calendar ends before the answer.
        """
        return self.session_at(self.number_of(session) + n)

    def next_on_or_after(self, day: date) -> date:
        """Return `day` where it is a session, else the first session after it.

        Raises
        ------
        ConfigError
            The year is not known, or the calendar ends before the answer.
        """
        self._check_known(day)
        return self.session_at(bisect_left(self._sessions, day))

    def previous_on_or_before(self, day: date) -> date:
        """Return `day` where it is a session, else the last session before it.

        Raises
        ------
        ConfigError
            The year is not known, or the calendar begins after the answer.
        """
        self._check_known(day)
        return self.session_at(bisect_right(self._sessions, day) - 1)

    def numbers(self) -> pl.DataFrame:
        """Return one row per session, to join on: session, session_number, is_short.

        Returns
        -------
        polars.DataFrame
            session Date, session_number Int32, is_short Boolean: traded for under three hours.
        """
        return self.table.select(
            "session", "session_number", is_short=pl.col("kind").is_in(_SHORT_KINDS)
        )

    def opens(self, session: date) -> datetime | None:
        """Return the instant (UTC) at which a session opened, or None where it is not known.

        Raises
        ------
        ConfigError
            The date is no session, or its year is not known.
        """
        return self._instant(session, "opens_at")

    def closes(self, session: date) -> datetime | None:
        """Return the instant (UTC) at which a session closed, or None where it is not known.

        Raises
        ------
        ConfigError
            The date is no session, or its year is not known.
        """
        return self._instant(session, "closes_at")

    def hours_between(self, start: datetime, end: datetime) -> float:
        """Return the hours between two instants during which a session was open.

        A session whose hours are not known counts for nothing; none if `end` is not after `start`.

        Raises
        ------
        ConfigError
            An instant is naive, or its year is not known.
        """
        if end <= start:
            return 0.0
        total = timedelta()
        for session in self.sessions(session_date_of(start), session_date_of(end)):
            opens, closes = self.opens(session), self.closes(session)
            if opens is not None and closes is not None:
                total += max(min(closes, end) - max(opens, start), timedelta())
        return total / timedelta(hours=1)

    def check_against(self, observed: Iterable[date]) -> CalendarCheck:
        """Compare with dates on which trade was observed, from the first of them to the last.

        Parameters
        ----------
        observed
            Dates in any order; repeated ones count once.

        Raises
        ------
        ConfigError
            There are none, or a year is not known.
        """
        seen = set(observed)
        if not seen:
            raise ConfigError(
                "no observed sessions to compare with",
                expected="at least one date",
                remedy="ingest bars first",
            )
        first, last = min(seen), max(seen)
        expected = set(self.sessions(first, last))
        return CalendarCheck(
            first=first,
            last=last,
            n_compared=len(seen),
            missing=tuple(sorted(seen - expected)),
            extra=tuple(sorted(expected - seen)),
        )

    def _position(self, day: date) -> int | None:
        self._check_known(day)
        position = bisect_left(self._sessions, day)
        if position < len(self._sessions) and self._sessions[position] == day:
            return position
        return None

    def _instant(self, session: date, column: str) -> datetime | None:
        local: time | None = self.table[column][self.number_of(session)]
        if local is None:
            return None
        return datetime.combine(session, local, IST).astimezone(UTC)

    def _check_known(self, day: date) -> None:
        if isinstance(day, datetime):
            raise ConfigError(
                "a session is a date, not an instant",
                expected="datetime.date",
                found=day.isoformat(),
                remedy="convert an instant with session_date_of",
            )
        if not self.first.year <= day.year <= self.last.year:
            raise self._unknown(
                "year is not in the calendar",
                expected=f"{self.first.year} to {self.last.year}",
                found=day.isoformat(),
            )

    def _unknown(self, what: str, *, expected: str, found: str) -> ConfigError:
        return ConfigError(
            what,
            where=f"NSE calendar, last known year {self.last.year}",
            expected=expected,
            found=found,
            remedy=f"to add a year: list its holidays in {CLOSURES_FILE}, its special sessions in "
            f"{SPECIAL_SESSIONS_FILE}, and raise LAST_YEAR beside them (docs/calendar.md)",
        )


def session_date_of(instant: datetime) -> date:
    """Return the date in India at an instant.

    Raises
    ------
    ConfigError
        The datetime is naive, so it is no instant.
    """
    if instant.utcoffset() is None:
        raise ConfigError(
            "instant has no time zone",
            expected="an aware datetime",
            found=instant.isoformat(),
            remedy="attach the zone in which it was read",
        )
    return instant.astimezone(IST).date()


@cache
def nse_calendar() -> SessionCalendar:
    """Return the calendar of NSE; it is built once per process."""
    return SessionCalendar(calendar_table())
