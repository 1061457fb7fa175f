"""How fast the service may be asked: a token before every call, and stops that all callers see.

Belongs here: what every pacer promises, the pacer that never waits, and the pacer of one process.
Does not belong here: pacers of several processes or machines, which need a server or a ledger.

`LocalPacer` spreads calls evenly and lets a few follow each other at once. With a burst of b and an
interval of T between calls, no closed window of 60 seconds holds more than 60 / T + b calls (the
generic cell rate algorithm; ITU-T I.371), so T is chosen such that this is the limit.
"""

import copy
import threading
from collections.abc import Callable
from datetime import date, datetime
from typing import Protocol

from sensequant.errors import ConfigError, DayLimitError, StopSourceError
from sensequant.market.sessions import session_date_of
from sensequant.market.sources.breeze.config import BreezeConfig

__all__ = ["LocalPacer", "Pacer", "UnlimitedPacer", "local_pacer"]

_SECONDS_PER_MINUTE = 60.0

# Who waits looks this often whether everything was stopped meanwhile.
_LONGEST_SLEEP_SECONDS = 1.0

# A clock in microseconds cannot show that less than one is left to wait.
_CLOCK_STEP_SECONDS = 1e-6


class Pacer(Protocol):
    """Says when one more call may be made; shared by all callers of one app key."""

    def take(self) -> None:
        """Wait until one call may be made, and count it.

        Raises
        ------
        StopSourceError
            No call may be made any more (`stop`, or the limit per day).
        """
        ...

    def minute_limit_met(self) -> None:
        """Let every caller wait for the next minute: the service said that its limit is met."""
        ...

    def stop(self, error: StopSourceError) -> None:
        """Let every later `take` raise this error."""
        ...


class _Stoppable:
    def __init__(self) -> None:
        self._stopped_by: StopSourceError | None = None

    def stop(self, error: StopSourceError) -> None:
        """Let every later `take` raise this error; the first one stays."""
        # A copy has neither the traceback nor the context of the error of one thread.
        self._stopped_by = self._stopped_by or copy.copy(error)

    def _require_running(self) -> None:
        if self._stopped_by is not None:
            raise copy.copy(self._stopped_by)


class UnlimitedPacer(_Stoppable):
    """Never waits; for a simulator on this machine."""

    def take(self) -> None:
        """Return at once.

        Raises
        ------
        StopSourceError
            Calls were stopped.
        """
        self._require_running()

    def minute_limit_met(self) -> None:
        """Do nothing; the caller's next call is as good as any."""


class LocalPacer(_Stoppable):
    """Keeps the limits for the threads of one process.

    Parameters
    ----------
    calls_per_minute
        Most calls in any 60 seconds.
    burst
        Calls that may follow each other at once.
    clock
        Returns the time, aware.
    sleep
        Waits for a number of seconds.
    calls_per_day
        Most calls on one date of India; None for no limit. Only this process's calls are counted.

    Raises
    ------
    ConfigError
        The burst is as large as the limit.
    """

    def __init__(
        self,
        *,
        calls_per_minute: int,
        burst: int,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        calls_per_day: int | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= burst < calls_per_minute:
            raise ConfigError(
                "burst leaves nothing of the minute",
                where="burst",
                expected=f"from 1 to {calls_per_minute - 1}",
                found=str(burst),
            )
        self._interval = _SECONDS_PER_MINUTE / (calls_per_minute - burst)
        self._tolerance = (burst - 1) * self._interval
        self._clock = clock
        self._sleep = sleep
        self._calls_per_day = calls_per_day
        self._lock = threading.Lock()
        self._seen = 0.0
        # Added to the clock, so that a clock that is put back makes nobody wait longer.
        self._correction = 0.0
        # When the next call would come if all came evenly.
        self._due = 0.0
        self._paused_until = 0.0
        self._day: date | None = None
        self._n_today = 0

    def take(self) -> None:
        """Wait until one call may be made, and count it.

        Raises
        ------
        StopSourceError
            Calls were stopped; `DayLimitError` where the limit per day is reached.
        """
        start = self._reserved()
        while True:
            self._require_running()
            with self._lock:
                now = self._now()
                is_overtaken = start < self._paused_until
            if is_overtaken:
                # The pause came after the reservation.
                start = self._again_reserved()
            elif start - now <= _CLOCK_STEP_SECONDS:
                return
            self._sleep(max(0.0, min(start - now, _LONGEST_SLEEP_SECONDS)))

    def minute_limit_met(self) -> None:
        """Let every caller wait until the next minute of the clock has begun."""
        with self._lock:
            now = self._now()
            until_next = _SECONDS_PER_MINUTE - (now - self._correction) % _SECONDS_PER_MINUTE
            self._paused_until = now + until_next
            # Nothing is saved up during a pause.
            self._due = max(self._due, self._paused_until + self._tolerance)

    def _reserved(self) -> float:
        self._require_running()
        with self._lock:
            self._now()
            self._count()
            return self._next_start()

    def _again_reserved(self) -> float:
        with self._lock:
            return self._next_start()

    def _next_start(self) -> float:
        due = max(self._due, self._seen)
        self._due = due + self._interval
        return max(due - self._tolerance, self._seen)

    def _count(self) -> None:
        if self._calls_per_day is None:
            return
        today = session_date_of(self._clock())
        if today != self._day:
            self._day, self._n_today = today, 0
        if self._n_today >= self._calls_per_day:
            raise DayLimitError(
                "this program's own limit of calls per day is reached",
                where=f"{today} in India",
                expected=f"at most {self._calls_per_day} calls",
                found=f"{self._n_today} calls",
                remedy="go on after midnight in India; what is left stays planned",
            )
        self._n_today += 1

    def _now(self) -> float:
        now = self._clock().timestamp() + self._correction
        if now < self._seen:
            self._correction += self._seen - now
            now = self._seen
        self._seen = now
        return now


def local_pacer(
    config: BreezeConfig, *, clock: Callable[[], datetime], sleep: Callable[[float], None]
) -> LocalPacer:
    """Return the pacer of one process that these settings ask for."""
    return LocalPacer(
        calls_per_minute=config.calls_per_minute,
        burst=config.burst,
        calls_per_day=config.calls_per_day,
        clock=clock,
        sleep=sleep,
    )
