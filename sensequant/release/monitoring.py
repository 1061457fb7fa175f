"""What is found of a model that is used: the findings, their limits, and the report of all.

Belongs here: the records. Does not belong here: looking (`stages.monitoring`).
"""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from sensequant.evaluation.figures import Figure
from sensequant.records import Config, Finite, Record
from sensequant.release.deployment_records import EnvironmentName, ShadowValidation

__all__ = ["Finding", "Health", "MonitorLimits", "MonitorReport"]


class Health(StrEnum):
    """What a finding says, and what all of them together say."""

    FINE = "fine"
    UNKNOWN = "unknown"
    DEGRADED = "degraded"


class MonitorLimits(Config):
    """From where on a model counts as degraded."""

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


class Finding(Record):
    """One thing that was looked at."""

    name: str
    health: Health
    expected: str
    found: str


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
