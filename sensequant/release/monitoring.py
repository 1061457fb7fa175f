"""What is found of a model that is used: the findings, their limits, and the report of all.

Belongs here: the records. Does not belong here: looking (`stages.monitoring`), which alerts follow
from findings (`release.alerts`).
"""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from sensequant.evaluation.figures import Figure
from sensequant.records import Config, Finite, Record
from sensequant.release.deployment_records import EnvironmentName, ShadowValidation

__all__ = [
    "Alert",
    "AutomaticRollback",
    "CoolDown",
    "Finding",
    "FindingName",
    "Health",
    "MonitorLimits",
    "MonitorReport",
    "RollbackNote",
    "RollbackOutcome",
]


class FindingName(StrEnum):
    """What is looked at."""

    DATA = "data"
    FEATURE_SCHEMA = "feature_schema"
    EXPIRY = "expiry"
    SILENCE = "silence"
    SCORES = "scores"
    PRECISION = "precision"
    HIT_RATE = "hit_rate"
    CALIBRATION = "calibration"
    REWARD = "reward"
    DRIFT = "drift"


class Health(StrEnum):
    """What a finding says, and what all of them together say."""

    FINE = "fine"
    UNKNOWN = "unknown"
    DEGRADED = "degraded"


def _hours(of_what: str) -> float:
    return Field(
        default=24,
        ge=0,
        le=8760,
        description=f"Time for which nobody is told again that {of_what} (hours of the clock).",
    )


class CoolDown(Config):
    """How long each kind of alert keeps still after somebody was told."""

    data: float = _hours("bars are old")
    feature_schema: float = _hours("this code builds other columns")
    expiry: float = _hours("students have expired")
    silence: float = _hours("the model is silent about many rows")
    scores: float = _hours("scores are below chance or validation")
    precision: float = _hours("fewer decisions come true than in the validation")
    hit_rate: float = _hours("fewer decisions earn something than in the validation")
    calibration: float = _hours("probabilities are further off than in the validation")
    reward: float = _hours("decisions get less of the reward than in the validation")
    drift: float = _hours("features have moved")


class AutomaticRollback(Config):
    """When the former model is put back without anybody asking."""

    is_on: bool = Field(
        default=False, description="Put the former model back by itself (yes or no)."
    )
    confirmation_hours: float = Field(
        default=24,
        ge=0,
        le=2000,
        description="Time for which every observation must have found it degraded, in hours during "
        "which NSE was open: 24 are four sessions. Two observations at least.",
    )
    findings: tuple[FindingName, ...] = Field(
        default=(FindingName.SCORES,),
        min_length=1,
        max_length=len(FindingName),
        description="Findings of which any may do so; the others are for a person.",
    )


class MonitorLimits(Config):
    """From where on a model counts as degraded, and what follows."""

    max_sessions_behind: int = Field(
        default=3, ge=0, le=250, description="Closed sessions that the newest final bar may lack."
    )
    max_silent_frac: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="Share of rows since the deployment (0 to 1) that may be too novel to be "
        "scored, or come after the day on which a student expires.",
    )
    max_drifted_frac: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="Share of feature columns (0 to 1) whose stability index may be large, and "
        "larger than chance makes it.",
    )
    cool_down_hours: CoolDown = Field(
        default_factory=CoolDown, description="How long each kind of alert keeps still."
    )
    rollback: AutomaticRollback = Field(
        default_factory=AutomaticRollback, description="When the former model comes back by itself."
    )


class Finding(Record):
    """One thing that was looked at.

    `figure` is what was measured and `limit` what it was held against, where it is a number.
    """

    name: FindingName
    health: Health
    expected: str
    found: str
    figure: Figure | None = None
    limit: Finite | None = None


class Alert(Record):
    """Something that is degraded now.

    Attributes
    ----------
    name, expected, found, figure, limit
        Of the finding.
    since
        First of the successive observations that found it so.
    session_hours
        For which it has been so, in hours during which NSE was open.
    n_observations
        How many found it so, this one included.
    is_told
        Whether somebody is told at this observation.
    """

    name: FindingName
    expected: str
    found: str
    figure: Figure | None
    limit: Finite | None
    since: datetime
    session_hours: Finite
    n_observations: int
    is_told: bool


class RollbackOutcome(StrEnum):
    """What became of the rollback that nobody asked for."""

    NOT_DUE = "not due"
    DONE = "done"
    NO_FORMER = "no former model"
    REFUSED = "refused"


class RollbackNote(Record):
    """Whether the former model was put back by itself, and why, or why not."""

    outcome: RollbackOutcome
    words: str
    deployment: int | None = None


class MonitorReport(Record):
    """What was found of the model of an environment at an instant."""

    environment: EnvironmentName
    run_id: str
    model_sha256: str
    is_simulated: bool
    deployed_at: datetime
    at: datetime
    health: Health
    findings: tuple[Finding, ...]
    since: ShadowValidation | None
    """Figures of the scores since the deployment; None where they could not be made."""

    validated_auc: Figure | None
    """That of the run's own validation; None where its folder is gone."""

    n_columns: int
    n_drifted: int | None
    largest_psi: Finite | None
    alerts: tuple[Alert, ...] = ()
    told_at: dict[FindingName, datetime] = Field(default_factory=dict[FindingName, datetime])
    """When somebody was last told of each kind; it outlives the alert, which may come again."""

    rollback: RollbackNote | None = None
    """None where rolling back by itself is switched off."""
