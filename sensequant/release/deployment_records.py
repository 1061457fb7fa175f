"""What is told of environments: deployments, pointers, and whether a candidate is ready for one.

Belongs here: the form of these records. Does not belong here: the transactions that make them
(`release.deployments`), the files (`release.environments`), and the checks themselves
(`stages.readiness`).
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from sensequant.evaluation.figures import Figure
from sensequant.records import Record

__all__ = [
    "Check",
    "Deployment",
    "DeploymentKind",
    "DeploymentOutcome",
    "EnvironmentName",
    "Intent",
    "Pointer",
    "Readiness",
    "ShadowValidation",
]

_SHA256 = r"^[0-9a-f]{64}$"


class EnvironmentName(StrEnum):
    """Where a model can stand: watched in the shadow, or in use."""

    STAGING = "staging"
    PRODUCTION = "production"


class DeploymentKind(StrEnum):
    """How a model came into an environment."""

    STAGE = "stage"
    PROMOTE = "promote"
    ROLLBACK = "rollback"

    @property
    def in_words(self) -> str:
        """What somebody does who deploys so."""
        return "roll back" if self is DeploymentKind.ROLLBACK else self.value


class DeploymentOutcome(StrEnum):
    """How a deployment ended; one that was killed on its way has no outcome until the next look."""

    COMPLETED = "completed"
    ABANDONED = "abandoned"


class Check(Record):
    """One thing that must hold before a model moves."""

    name: str
    is_passed: bool
    expected: str
    found: str


class ShadowValidation(Record):
    """What the scores of a staged model were worth on the bars that arrived since.

    `n_realised` of the scored rows have an outcome that is known by now. Every figure carries its
    count and its interval, or the reason why there is none.
    """

    since: datetime
    first_session: str | None
    last_session: str | None
    n_sessions: int
    n_rows: int
    n_scored: int
    n_novel: int
    n_expired: int
    n_realised: int
    auc: Figure
    precision: Figure
    hit_rate: Figure
    brier_score: Figure
    rows_digest: str


class Readiness(Record):
    """Every check of one candidate for one environment, as it was found at an instant."""

    run_id: str
    kind: DeploymentKind
    environment: EnvironmentName
    at: datetime
    checks: tuple[Check, ...]
    shadow: ShadowValidation | None = None

    @property
    def failures(self) -> Sequence[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.is_passed]


class Intent(Record):
    """What is about to be deployed: the row that is written before anything moves."""

    kind: DeploymentKind
    environment: EnvironmentName
    run_id: str
    model_sha256: str = Field(pattern=_SHA256)
    manifest_sha256: str = Field(pattern=_SHA256)
    is_simulated: bool
    actor: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    readiness: Readiness


class Deployment(Record):
    """One entry of the history of an environment.

    Attributes
    ----------
    number
        Of all deployments of a registry, in the order of their intentions.
    replaces
        The deployment that stood there before; None: nothing did.
    restores
        The deployment whose model a rollback brought back; None for the other kinds.
    former
        The deployment whose model a rollback of this one would bring back; None: there is none.
    outcome, ended_at, note
        How it ended; None while it is under way, or after its process was killed.
    """

    number: int
    kind: DeploymentKind
    environment: EnvironmentName
    run_id: str
    model_sha256: str
    manifest_sha256: str
    is_simulated: bool
    replaces: int | None
    restores: int | None
    former: int | None
    actor: str
    reason: str
    at: datetime
    readiness: Readiness
    outcome: DeploymentOutcome | None = None
    ended_at: datetime | None = None
    note: str | None = None


class Pointer(Record):
    """The one file that says which model an environment uses."""

    environment: EnvironmentName
    number: int = Field(ge=1)
    run_id: str
    model_sha256: str = Field(pattern=_SHA256)
    manifest_sha256: str = Field(pattern=_SHA256)
    is_simulated: bool
