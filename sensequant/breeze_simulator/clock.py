"""What time it is at the simulated vendor.

Belongs here: a clock that can be set, and the two ways in which the vendor tells the time. Does not
belong here: the clock of this machine; whoever starts a simulator passes it in.

Instants are aware. The vendor writes and reads wall clock time in India, without a zone or with a
`Z` that means nothing.
"""

import threading
from collections.abc import Callable
from datetime import datetime, time, timedelta

from sensequant.errors import ConfigError
from sensequant.market.sessions import IST, nse_calendar, session_date_of

__all__ = ["Clock", "SettableClock", "is_open", "next_midnight", "wall_time"]

Clock = Callable[[], datetime]
"""Returns the present instant, aware."""


class SettableClock:
    """A clock that stands still, or runs, and can be set from any thread.

    Parameters
    ----------
    at
        Where it begins, aware.
    elapsed
        Seconds since any fixed moment, such as `time.monotonic`; None lets the clock stand still.

    Raises
    ------
    ConfigError
        `at` has no time zone.
    """

    def __init__(self, at: datetime, *, elapsed: Callable[[], float] | None = None) -> None:
        self._elapsed = elapsed or _no_time
        self._lock = threading.Lock()
        self._at = _aware(at)
        self._since = self._elapsed()

    def __call__(self) -> datetime:
        """Return the present instant."""
        with self._lock:
            return self._at + timedelta(seconds=self._elapsed() - self._since)

    def set(self, at: datetime) -> None:
        """Set the clock, forward or back.

        Raises
        ------
        ConfigError
            `at` has no time zone.
        """
        with self._lock:
            self._at = _aware(at)
            self._since = self._elapsed()

    def advance(self, by: timedelta) -> None:
        """Set the clock forward."""
        with self._lock:
            self._at += by


def wall_time(now: datetime) -> datetime:
    """Return the wall clock time in India at an instant, without a zone."""
    return now.astimezone(IST).replace(tzinfo=None)


def is_open(now: datetime) -> bool:
    """Return whether a session with known hours runs at an instant."""
    calendar = nse_calendar()
    today = session_date_of(now)
    if not calendar.is_session(today):
        return False
    opened, closed = calendar.opens(today), calendar.closes(today)
    return opened is not None and closed is not None and opened <= now < closed


def next_midnight(now: datetime) -> datetime:
    """Return the instant of the next midnight in India, at which sessions end."""
    tomorrow = now.astimezone(IST).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), IST)


def _no_time() -> float:
    return 0.0


def _aware(at: datetime) -> datetime:
    if at.utcoffset() is None:
        raise ConfigError(
            "instant has no time zone",
            where="clock of the Breeze simulator",
            expected="an aware datetime",
            found=at.isoformat(),
            remedy="attach the zone, UTC or India's",
        )
    return at
