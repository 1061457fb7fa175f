"""What may be said of one session of one symbol: states, reasons, and what to do about each.

Belongs here: the vocabulary and its words. Does not belong here: deciding which state holds
(`coverage.audit`).

A state says what is there, a reason says why; each reason belongs to the states that are named
beside it. `SEVERITY` orders states by how much a person should care, the worst first.
"""

from enum import StrEnum
from types import MappingProxyType

__all__ = [
    "HELD_STATES",
    "MEANINGS",
    "REASON_WORDS",
    "REMEDIES",
    "SEVERITY",
    "Reason",
    "State",
    "Status",
]


class State(StrEnum):
    """What a session of a symbol and interval is."""

    OK = "ok"
    PARTIAL = "partial"
    MISSING_LOCAL = "missing_local"
    MISSING_AT_SOURCE = "missing_at_source"
    PENDING = "pending"
    QUARANTINED = "quarantined"
    DISPUTED = "disputed"
    NOT_EXPECTED = "not_expected"


class Status(StrEnum):
    """What a symbol is as a whole, over one interval; null where no session is expected."""

    OK = "ok"
    PARTIAL = "partial"
    MISSING_LOCAL = "missing_local"
    MISSING_AT_SOURCE = "missing_at_source"
    PENDING = "pending"


class Reason(StrEnum):
    """Why a session is in its state."""

    PRE_LISTING = "pre_listing"
    DELISTED = "delisted"
    SUSPENDED = "suspended"
    NO_SESSION = "no_session"
    NEVER_ASKED = "never_asked"
    ASKED_TOO_EARLY = "asked_too_early"
    ASK_FAILED = "ask_failed"
    LOST = "lost"
    NOT_DELIVERED = "not_delivered"
    UNKNOWN_SYMBOL = "unknown_symbol"
    DELIVERED_FEWER = "delivered_fewer"
    BAD_ROWS = "bad_rows"
    DISPUTED = "disputed"
    TOO_RECENT = "too_recent"
    PROVISIONAL = "provisional"
    HOURS_UNKNOWN = "hours_unknown"


SEVERITY: tuple[State, ...] = (
    State.MISSING_LOCAL,
    State.DISPUTED,
    State.QUARANTINED,
    State.MISSING_AT_SOURCE,
    State.PARTIAL,
    State.PENDING,
    State.OK,
    State.NOT_EXPECTED,
)

HELD_STATES: tuple[State, ...] = tuple(
    state for state in SEVERITY if state is not State.NOT_EXPECTED
)
"""States of sessions that count as expected."""

MEANINGS = MappingProxyType(
    {
        State.OK: "every bar that is expected is there and final",
        State.PARTIAL: "some intraday bars of the session are there, but fewer than expected",
        State.MISSING_LOCAL: "not there, and no settled answer of the source says why: ingest it",
        State.MISSING_AT_SOURCE: "the source was asked when the session was settled and has none",
        State.PENDING: "too recent to be settled, or bars that may still change",
        State.QUARANTINED: "only rows that cannot be right were delivered",
        State.DISPUTED: "bars are there, but a second source contradicts them",
        State.NOT_EXPECTED: "before listing, after delisting, or suspended",
    }
)

REASON_WORDS = MappingProxyType(
    {
        Reason.PRE_LISTING: "before the listing",
        Reason.DELISTED: "after the delisting",
        Reason.SUSPENDED: "trade was suspended",
        Reason.NO_SESSION: "bars on a date that is no session",
        Reason.NEVER_ASKED: "no request covers it",
        Reason.ASKED_TOO_EARLY: "asked only before it was settled",
        Reason.ASK_FAILED: "the request failed",
        Reason.LOST: "the ledger says delivered, the store has none",
        Reason.NOT_DELIVERED: "asked and settled, not delivered",
        Reason.UNKNOWN_SYMBOL: "the source does not know the symbol",
        Reason.DELIVERED_FEWER: "the source has fewer bars",
        Reason.BAD_ROWS: "delivered rows were refused",
        Reason.DISPUTED: "contradicted by a second source",
        Reason.TOO_RECENT: "not settled yet",
        Reason.PROVISIONAL: "bars may still change",
        Reason.HOURS_UNKNOWN: "hours of the session are not known",
    }
)

REMEDIES = MappingProxyType(
    {
        Reason.PRE_LISTING: "nothing; correct the listing dates if bars exist",
        Reason.DELISTED: "nothing; correct the listing dates if bars exist",
        Reason.SUSPENDED: "nothing; correct the suspension if bars exist",
        Reason.NO_SESSION: "check the calendar (docs/calendar.md) and the source",
        Reason.NEVER_ASKED: "ingest the range",
        Reason.ASKED_TOO_EARLY: "ingest the range again",
        Reason.ASK_FAILED: "read the error in the ledger, then ingest the range again",
        Reason.LOST: "ingest the range again with --force",
        Reason.NOT_DELIVERED: "try another source; look for a suspension, renaming or series BE",
        Reason.UNKNOWN_SYMBOL: "correct or map the symbol (a renaming?), then ingest it again",
        Reason.DELIVERED_FEWER: "nothing if the share did not trade every bar; else another source",
        Reason.BAD_ROWS: "look at the quarantine; try another source",
        Reason.DISPUTED: "compare both sources by hand, then ingest with --force",
        Reason.TOO_RECENT: "wait, then ingest with --incremental",
        Reason.PROVISIONAL: "wait, then ingest with --incremental",
        Reason.HOURS_UNKNOWN: "nothing",
    }
)
