"""Limits that all workers of one app key share: the day's calls, pauses and stops, in the ledger.

Belongs here: what several processes must know of each other before one of them makes a call. Does
not belong here: the limit per minute, which a pacer below keeps (one process:
`market.sources.breeze.pacing`; several: Prefect's), and who is told when to stop (`backfill`).
"""

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta

from sensequant.errors import ClockError, StopSourceError
from sensequant.ingestion.ledger import Ledger
from sensequant.ingestion.ledger_records import stop_kind_of
from sensequant.market.sessions import session_date_of
from sensequant.market.sources.breeze.pacing import Pacer

__all__ = ["LedgerPacer"]

_MINUTE = timedelta(minutes=1)
_MOMENT = timedelta(milliseconds=200)
# The vendor's minute may begin a moment after ours.
_AFTER_THE_MINUTE = timedelta(seconds=1)
# Who waits looks this often whether everything was stopped meanwhile.
_LONGEST_SLEEP_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class LedgerPacer:
    """A pacer whose pauses, stops and count of the day hold for every process of this ledger.

    Parameters
    ----------
    rate
        Keeps the limit per minute.
    ledger
        Where the rest is known.
    key_digest, session_digest
        Digests of the app key and of the session token.
    calls_per_day
        Most calls on one date of India, of all processes together.
    clock, sleep
        The time, aware; and how to wait for a number of seconds.
    """

    rate: Pacer
    ledger: Ledger
    key_digest: str
    session_digest: str
    calls_per_day: int
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]

    def take(self) -> None:
        """Wait until one call may be made, and count it.

        Raises
        ------
        StopSourceError
            A process was told that no further call can succeed, or the day's calls are used up.
        """
        counted_at = self._counted()
        self.rate.take()
        if self.clock() - counted_at <= _MOMENT:
            return
        # In a longer wait for the minute, another process may have paused all.
        try:
            self._wait_for_pause()
        except StopSourceError:
            self.ledger.return_call(self.key_digest, at=counted_at)
            raise
        if session_date_of(self.clock()) != session_date_of(counted_at):
            self._counted()

    def minute_limit_met(self) -> None:
        """Let every process wait until the next minute has begun."""
        now = self.clock()
        next_minute = now.replace(second=0, microsecond=0) + _MINUTE
        self.ledger.pause(self.key_digest, next_minute + _AFTER_THE_MINUTE)

    def stop(self, error: StopSourceError) -> None:
        """Let every later `take` of every process raise this error."""
        # Our own limit may be raised by a person at any time, so it is asked for at each call.
        kind = stop_kind_of(error)
        if isinstance(error, ClockError):
            # The ledger would hold it against a clock that was set right meanwhile.
            self.rate.stop(error)
        if kind is None:
            return
        self.ledger.stop(
            self.key_digest,
            kind=kind,
            at=self.clock(),
            message=error.found or error.what,
            session_digest=self.session_digest,
        )

    def _counted(self) -> datetime:
        while True:
            now = self.clock()
            n_calls = self.ledger.reserve_call(
                self.key_digest,
                at=now,
                limit=self.calls_per_day,
                session_digest=self.session_digest,
            )
            if n_calls is not None:
                return now
            self._wait_for_pause()

    def _wait_for_pause(self) -> None:
        while True:
            now = self.clock()
            stop = self.ledger.stopped(self.key_digest, at=now, session_digest=self.session_digest)
            if stop is not None:
                raise stop.as_error()
            until = self.ledger.pause_until(self.key_digest)
            if until is None or until <= now:
                return
            self.sleep(min((until - now).total_seconds(), _LONGEST_SLEEP_SECONDS))
