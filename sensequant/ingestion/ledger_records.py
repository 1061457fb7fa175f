"""What the ledger hands out: entries of chunks, stops, backfills.

Belongs here: the records and the words for outcomes and stops. Does not belong here: how they are
kept (`ledger`, `ledger_tables`).
"""

from datetime import date
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from sensequant.errors import (
    AddressDeniedError,
    AuthExpiredError,
    AuthInvalidError,
    ClockError,
    DayLimitError,
    StopSourceError,
)
from sensequant.market.intervals import Interval
from sensequant.records import Finite, Record

__all__ = [
    "BackfillEntry",
    "CallsUsedUpError",
    "ChunkEntry",
    "ChunkOutcome",
    "Stop",
    "StopKind",
    "stop_kind_of",
]


class CallsUsedUpError(DayLimitError):
    """The limit that we set ourselves for this day is reached; a higher one lifts it at once."""


class ChunkOutcome(StrEnum):
    """What became of a chunk."""

    STORED = "stored"
    """Bars came and are in the store."""

    EMPTY = "empty"
    """An answer without a usable bar; the reason says why, as far as that is known."""

    FAILED = "failed"
    """No answer that could be used."""

    STOPPED = "stopped"
    """Nobody may ask any more; the chunk is left to do."""

    PRESENT = "present"
    """Others have fetched it since it was planned; that is no fact of its own for the ledger."""


_Recorded = Literal[
    ChunkOutcome.STORED, ChunkOutcome.EMPTY, ChunkOutcome.FAILED, ChunkOutcome.STOPPED
]


class ChunkEntry(Record):
    """What one chunk asked for and what became of it."""

    store_key: str
    source: str
    symbol: str
    interval: Interval
    start: date | None
    end: date | None
    outcome: _Recorded
    reason: str | None = None
    n_rows: int = Field(default=0, ge=0)
    n_bars: int = Field(default=0, ge=0)
    n_quarantined: int = Field(default=0, ge=0)
    n_duplicates_dropped: int = Field(default=0, ge=0)
    n_missing_sessions: int = Field(default=0, ge=0)
    n_missing_bars: int | None = Field(default=0, ge=0)
    """Bars that settled intraday sessions lack of which others came."""

    missing_sessions: tuple[date, ...] = ()
    settled_through: date | None = None
    source_digest: str | None = None
    n_calls: int | None = Field(default=None, ge=0)
    findings: tuple[str, ...] = ()
    error_type: str | None = None
    error_message: str | None = None
    fetched_at: AwareDatetime
    seconds: Finite = Field(ge=0)
    backfill_id: str | None = None


class StopKind(StrEnum):
    """Why nobody may ask a source any more."""

    DAY_LIMIT = "day_limit"
    AUTH_EXPIRED = "auth_expired"
    AUTH_INVALID = "auth_invalid"
    ADDRESS_DENIED = "address_denied"


_STOPS: dict[StopKind, type[StopSourceError]] = {
    StopKind.DAY_LIMIT: DayLimitError,
    StopKind.AUTH_EXPIRED: AuthExpiredError,
    StopKind.AUTH_INVALID: AuthInvalidError,
    StopKind.ADDRESS_DENIED: AddressDeniedError,
}
_REMEDIES = {
    StopKind.DAY_LIMIT: "go on after midnight in India; what is left stays planned",
    StopKind.AUTH_EXPIRED: "log in again and save the new session token",
    StopKind.AUTH_INVALID: "correct key, secret or session token",
    StopKind.ADDRESS_DENIED: "call from the address that is registered with the vendor, then log "
    "in again",
}


class Stop(Record):
    """A source said that it answers no further call."""

    kind: StopKind
    day: date
    at: AwareDatetime
    message: str
    session_digest: str | None

    def as_error(self) -> StopSourceError:
        """Return the error that says so to whoever wants to call."""
        return _STOPS[self.kind](
            "the source was stopped",
            where=f"{self.kind.value}, at {self.at:%Y-%m-%d %H:%M:%S} UTC",
            expected="a source that answers",
            found=self.message,
            remedy=_REMEDIES[self.kind],
        )


def stop_kind_of(error: StopSourceError) -> StopKind | None:
    """Return the stop that an error asks for; None where it must not outlast the error.

    Our own limit of the day is asked for at each call, so that a higher one lifts it at once; and
    a clock that was set right is not seen in key or session.
    """
    if isinstance(error, CallsUsedUpError | ClockError):
        return None
    kinds = (kind for kind, error_type in _STOPS.items() if isinstance(error, error_type))
    return next(kinds, None)


class BackfillEntry(Record):
    """One backfill: what was asked, and how it ended, if it did."""

    backfill_id: str
    request: dict[str, Any]
    started_at: AwareDatetime
    ended_at: AwareDatetime | None
    outcome: str | None
    counts: dict[str, int]
