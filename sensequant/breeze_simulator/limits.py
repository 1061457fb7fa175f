"""How often one may ask, and the log of who asked what.

Belongs here: the limits of the service, their counters, the log of calls. Does not belong here: the
client's own pacing (`market.sources.breeze.pacing`).

A minute and a day are those of the wall clock in India. Every call counts, also the one that is
refused, fails or logs in; downloads of the security master do not, because they go elsewhere.
"""

import dataclasses
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

from sensequant.breeze_simulator.clock import wall_time
from sensequant.breeze_simulator.wire import Reply, failure

__all__ = ["UNLIMITED", "Call", "CallCounter", "CallLog", "Limits", "day_limit", "minute_limit"]

VENDOR_CALLS_PER_MINUTE = 100
VENDOR_CALLS_PER_DAY = 5000
VENDOR_BARS_PER_REPLY = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What the service refuses.

    Parameters
    ----------
    calls_per_minute, calls_per_day
        Calls of a minute and of a day in India; None lifts the limit.
    bars_per_reply
        Bars in one history reply; older ones are dropped without a word.
    clock_skew
        Difference between the time of a signed request and the vendor's beyond which the signature
        is refused; None accepts any time, which a clock that was set needs.
    """

    calls_per_minute: int | None = VENDOR_CALLS_PER_MINUTE
    calls_per_day: int | None = VENDOR_CALLS_PER_DAY
    bars_per_reply: int = VENDOR_BARS_PER_REPLY
    clock_skew: timedelta | None = None


UNLIMITED = Limits(calls_per_minute=None, calls_per_day=None)
"""As many calls as the machine can serve, with the vendor's limit of bars."""


def minute_limit() -> Reply:
    """Return the refusal of a call beyond the limit of its minute."""
    return failure(
        "Limit exceed: API call per minute:Try after some time",
        outcome="minute_limit",
        status=5,
        http_status=401,
    )


def day_limit() -> Reply:
    """Return the refusal of a call beyond the limit of its day."""
    return failure(
        "Limit exceed: API call per day: ", outcome="day_limit", status=5, http_status=401
    )


class CallCounter:
    """Counts calls by minute and day."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._minute = self._day = datetime.min  # noqa: DTZ901 - compared as wall clock times only
        self._n_in_minute = self._n_in_day = 0

    def count(self, now: datetime) -> Reply | None:
        """Count a call and return its refusal, or None where it is within the limits."""
        minute = wall_time(now).replace(second=0, microsecond=0)
        day = minute.replace(hour=0, minute=0)
        with self._lock:
            if minute != self._minute:
                self._minute, self._n_in_minute = minute, 0
            if day != self._day:
                self._day, self._n_in_day = day, 0
            self._n_in_minute += 1
            self._n_in_day += 1
            if _is_beyond(self._n_in_day, self._limits.calls_per_day):
                return day_limit()
            if _is_beyond(self._n_in_minute, self._limits.calls_per_minute):
                return minute_limit()
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One call as the simulator saw it.

    Parameters
    ----------
    number
        Position in the log, from 1.
    at
        The simulator's time.
    path
        Short name of the path, such as `v2/historicalcharts`.
    params
        Fields of the request; secrets are left out.
    http_status
        Status of HTTP; 0 where the connection was reset.
    outcome
        `ok`, or what was refused or went wrong.
    faults
        Names of the fault switches that acted.
    """

    number: int
    at: datetime
    path: str
    params: Mapping[str, str]
    http_status: int
    outcome: str
    faults: tuple[str, ...] = ()


class CallLog:
    """All calls since the start, in the order of their replies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    def add(self, **fields: object) -> None:
        """Append a call; its number is given here."""
        with self._lock:
            self._calls.append(Call(number=len(self._calls) + 1, **fields))  # pyright: ignore[reportArgumentType]

    def all(self) -> tuple[Call, ...]:
        """Return the calls."""
        with self._lock:
            return tuple(self._calls)

    def clear(self) -> None:
        """Forget the calls; counters of limits are not touched."""
        with self._lock:
            self._calls.clear()


def _is_beyond(count: int, limit: int | None) -> bool:
    return limit is not None and count > limit
