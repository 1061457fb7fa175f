"""Champion and challengers side by side on new bars: the settings, and the record of it.

Belongs here: the records. Does not belong here: scoring and trading (`stages.contest`), what a
difference is (`evaluation.side_by_side`), the comparison that is part of a run's evidence
(`release.champion`).
"""

from datetime import date, datetime

from pydantic import Field

from sensequant.evaluation.side_by_side import ModelComparison
from sensequant.records import Config, Record
from sensequant.release.deployment_records import EnvironmentName

__all__ = ["Contender", "ContestConfig", "ContestReport"]


class ContestConfig(Config):
    """On which sessions models are held against each other, and how sure the answer has to be."""

    since: date | None = Field(
        default=None,
        description="First session that counts; those that any of the models may have been chosen "
        "by never do. Empty: all after these.",
    )
    min_block_sessions: int = Field(
        default=21,
        ge=1,
        le=250,
        description="Least block of the bootstraps, in sessions; the horizon where longer.",
    )
    n_bootstrap_draws: int = Field(
        default=1000, ge=100, le=100_000, description="Bootstrap draws per figure (a count)."
    )
    confidence: float = Field(
        default=0.95, ge=0.5, lt=1, description="Two-sided coverage of intervals (a fraction)."
    )
    seed: int = Field(default=42, ge=0, lt=2**31, description="Seed of the draws.")


class Contender(Record):
    """One model, and what it is worth beside the champion.

    Attributes
    ----------
    place
        The environment in which it stands, or `approved`.
    known_through
        Last session that it has learnt from, or that it may have been chosen by.
    n_scored, n_novel, n_expired
        Of its rows on the new bars: scored, too far from what it learnt, after its last day.
    comparison
        This model minus the champion; None for the champion, and where there is a reason.
    reason
        Why it was not compared.
    remarks
        What to keep in mind.
    """

    run_id: str
    place: str
    is_simulated: bool
    known_through: date | None = None
    n_scored: int = 0
    n_novel: int = 0
    n_expired: int = 0
    comparison: ModelComparison | None = None
    reason: str | None = None
    remarks: tuple[str, ...] = ()


class ContestReport(Record):
    """Champion and challengers on the same new bars.

    `n_realised` of the champion's scored rows have an outcome that is known by now. Sessions are
    None where no session is new to all of them.
    """

    environment: EnvironmentName
    at: datetime
    is_simulated: bool
    settings: ContestConfig
    first_session: date | None
    last_session: date | None
    n_sessions: int
    n_realised: int
    champion: Contender
    challengers: tuple[Contender, ...]
