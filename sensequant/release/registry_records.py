"""What the registry tells: a run's result, a candidate, and everything that happened to it.

Belongs here: the form of these records. Does not belong here: the transactions that make them
(`release.registry`), and the tables that hold them (`release.registry_tables`).
"""

from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from sensequant.errors import ConfigError
from sensequant.records import Finite, Record
from sensequant.release.gates import Decision
from sensequant.release.manifest import CandidateStatus, status_of
from sensequant.runs import RUN_ID_PATTERN

__all__ = [
    "DECISIONS",
    "FIRST_STATES",
    "TRANSITIONS",
    "CandidateEvent",
    "CandidateRun",
    "EventKind",
    "RunResult",
]

_SHA256 = r"^[0-9a-f]{64}$"


class EventKind(StrEnum):
    """What happened to a candidate."""

    RECORDED = "recorded"
    SUPERSEDED = "superseded"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    STAGED = "staged"
    PROMOTED = "promoted"
    RESTORED = "restored"
    WITHDRAWN = "withdrawn"


DECISIONS = {
    EventKind.APPROVED: CandidateStatus.APPROVED,
    EventKind.REJECTED: CandidateStatus.REJECTED,
    EventKind.EXPIRED: CandidateStatus.REJECTED,
}

_JUDGED = (CandidateStatus.READY_FOR_REVIEW, CandidateStatus.REJECTED, CandidateStatus.FAILED)
_DEPLOYED = (CandidateStatus.STAGING, CandidateStatus.PRODUCTION, CandidateStatus.RETIRED)

FIRST_STATES = frozenset(_JUDGED)
"""States that a candidate may begin in."""

TRANSITIONS = frozenset(
    {
        # Another manifest of the same run supersedes what was judged and decided.
        *((former, later) for former in (*_JUDGED, CandidateStatus.APPROVED) for later in _JUDGED),
        (CandidateStatus.READY_FOR_REVIEW, CandidateStatus.APPROVED),
        (CandidateStatus.APPROVED, CandidateStatus.STAGING),
        # Where a model stands follows from the environments, and it may stand in both.
        *((former, later) for former in _DEPLOYED for later in _DEPLOYED if former != later),
    }
)
"""Changes of state that the database admits; `retired` was deployed once and is nowhere now."""


class RunResult(Record):
    """How a run ended, as it is told to the registry: with a verdict, or failed in a stage."""

    run_id: str = Field(pattern=f"^{RUN_ID_PATTERN.pattern}$")
    decision: Decision | None = None
    failed_stage: str | None = None
    reason: str = Field(min_length=1)
    manifest_sha256: str | None = Field(default=None, pattern=_SHA256)
    evidence_digest: str | None = Field(default=None, pattern=_SHA256)
    is_simulated: bool
    summary: dict[str, Finite | int | str | bool | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _either_judged_or_failed(self) -> Self:
        is_judged = self.decision is not None
        if is_judged == (self.failed_stage is not None):
            raise ConfigError(
                "result of a run is contradictory",
                where="RunResult.decision and RunResult.failed_stage",
                expected="a decision, or the stage that failed",
                found="both" if is_judged else "neither",
            )
        if is_judged and (self.manifest_sha256 is None or self.evidence_digest is None):
            raise ConfigError(
                "a judged run has no manifest",
                where="RunResult.manifest_sha256 and RunResult.evidence_digest",
                expected="the digests of the manifest that the decision rests on",
                found="none",
                remedy="write the manifest before recording the run",
            )
        return self

    @property
    def status(self) -> CandidateStatus:
        """The state that this result puts the candidate into."""
        return CandidateStatus.FAILED if self.decision is None else status_of(self.decision)


class CandidateRun(Record):
    """The present state of one run in the registry."""

    run_id: str
    status: CandidateStatus
    decision: Decision | None
    failed_stage: str | None
    reason: str
    manifest_sha256: str | None
    evidence_digest: str | None
    is_simulated: bool
    summary: dict[str, Finite | int | str | bool | None]
    recorded_at: datetime
    updated_at: datetime
    decide_by: datetime | None
    """Instant from which on nobody can approve any more; None: no limit."""


class CandidateEvent(Record):
    """One entry of a candidate's history."""

    run_id: str
    kind: EventKind
    at: datetime
    actor: str
    from_status: CandidateStatus | None
    to_status: CandidateStatus
    reason: str
    manifest_sha256: str | None
    previous_manifest_sha256: str | None

    @property
    def is_decision(self) -> bool:
        """Whether it settles what becomes of the candidate."""
        return self.kind in DECISIONS

    @property
    def in_words(self) -> str:
        """The decision and its reason, for a page or a terminal."""
        if self.kind is EventKind.EXPIRED:
            return f"{self.to_status}: expired: {self.reason}"
        return f"{self.to_status} by {self.actor}: {self.reason}"
