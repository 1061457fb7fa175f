"""What a briefing holds, as a typed model that is stored as JSON and rendered as a page.

Belongs here: the parts and their fields. Does not belong here: where a field comes from and how it
is worded (`release.briefing`).

Every part carries `is_simulated`, because parts are copied out of a page: a figure on invented bars
must not travel without saying so. Returns and drawdowns are fractions, resilience is in points.
"""

from datetime import date, datetime

from sensequant.records import Finite, Outcome, Record
from sensequant.release.gates import Decision, EvidenceRef, Verdict
from sensequant.release.reasons import Reason
from sensequant.runs import Stage, StageOutcome

__all__ = [
    "Ablation",
    "BesideChampion",
    "Briefing",
    "BriefingDelta",
    "BriefingFigure",
    "Certificate",
    "Crises",
    "CrisisLine",
    "FamilyLine",
    "LeftOut",
    "Risks",
    "Section",
    "StageLine",
    "TwinLine",
]


class Section(Record):
    """A part of the briefing; says by itself whether it rests on invented bars."""

    is_simulated: bool


class BriefingFigure(Section):
    """One figure with its interval and what it rests on; a reason where it is absent."""

    name: str
    value: Finite | None
    lower: Finite | None
    upper: Finite | None
    n: int
    unit: str | None
    p_value: Finite | None = None
    reason: str | None


class StageLine(Section):
    """What one stage did."""

    stage: Stage
    outcome: StageOutcome
    n_success: int
    n_skipped: int
    n_failed: int
    failure_rate: Finite | None
    seconds: Finite
    findings: dict[str, Finite | int | str | bool | None]
    error: str | None


class CrisisLine(Section):
    """How the candidate went through one crisis."""

    title: str
    first_session: date
    last_session: date
    kind: str
    n_sessions: int
    n_rows: int
    total_return: Finite | None
    max_drawdown: Finite | None
    market_return: Finite | None
    resilience: Finite | None
    passes: bool | None
    failure_modes: tuple[str, ...]


class Crises(Section):
    """All crises."""

    n_evaluated: int
    n_passed: int
    n_skipped: int
    skip_reasons: dict[str, int]
    mean_resilience: Finite | None
    worst_resilience: Finite | None
    worst_scenario: str | None
    lines: tuple[CrisisLine, ...]


class TwinLine(Section):
    """What the pipeline made of the candidate's market, or of one of its random-walk twins."""

    name: str
    decision: Decision | None
    auc: BriefingFigure
    net_sharpe: BriefingFigure
    reason: str | None


class Certificate(Section):
    """The candidate beside random-walk twins of its own symbols, on which nothing can be found.

    `auc_p_value` is the share of candidate and twins together whose AUC is as high as the
    candidate's; no gate reads it.
    """

    n_asked: int
    candidate: TwinLine
    twins: tuple[TwinLine, ...]
    auc_p_value: Finite | None


class FamilyLine(Section):
    """What one family of features is worth by one figure: with it minus without it.

    `p_holm` is corrected for any false finding among all tests, `q_value` for the share of false
    ones among the findings (Benjamini and Hochberg 1995); `told` is better, worse or no.
    """

    family: str
    was_fed: bool
    figure: str
    difference: Finite | None
    lower: Finite | None
    upper: Finite | None
    n: int
    p_holm: Finite | None
    q_value: Finite | None
    told: str
    reason: str | None


class Ablation(Section):
    """What families of features are worth, asked later than the run; no evidence.

    `chart` draws the differences of AUC as lines of text. One that is stale has neither lines nor
    chart, and its headline says why.
    """

    is_stale: bool = False
    headline: str
    n_tests: int
    confidence: Finite
    lines: tuple[FamilyLine, ...]
    chart: tuple[str, ...]


class BriefingDelta(Section):
    """One figure of candidate and champion; the difference is candidate minus champion."""

    name: str
    candidate: Finite | None
    champion: Finite | None
    difference: BriefingFigure


class BesideChampion(Section):
    """The candidate beside the model in production, on bars that neither has learnt from.

    `reason` says why there is nothing to compare: no champion, or one whose scores do not fit.
    Fields of the comparison are None without one.
    """

    run_id: str | None = None
    model_sha256: str | None = None
    trained_through: date | None = None
    reason: str | None = None
    remarks: tuple[str, ...] = ()
    evidence: EvidenceRef | None = None
    first_session: date | None = None
    last_session: date | None = None
    n_symbols: int | None = None
    n_rows: int | None = None
    n_left_out: int | None = None
    n_sessions: int | None = None
    n_traded_sessions: int | None = None
    block_sessions: int | None = None
    confidence: Finite | None = None
    deltas: tuple[BriefingDelta, ...] = ()


class LeftOut(Section):
    """Units of one kind without a result, for one reason."""

    kind: str
    outcome: Outcome
    reason: str
    count: int
    examples: tuple[str, ...]


class Risks(Section):
    """What speaks against promotion, what to keep in mind, and what a person has to look at."""

    issues: tuple[str, ...]
    warnings: tuple[str, ...]
    manual_review: tuple[str, ...]


class Briefing(Section):
    """Everything that a person reads before deciding."""

    run_id: str
    created_at: datetime
    is_complete: bool
    failed_stage: Stage | None
    error: str | None
    recommendation: str
    reasons_for: tuple[Reason, ...] = ()
    reasons_against: tuple[Reason, ...] = ()
    verdict: Verdict | None
    manifest_sha256: str | None
    evidence_digest: str | None
    symbols: tuple[str, ...]
    first_session: date | None
    last_session: date | None
    stages: tuple[StageLine, ...]
    stages_missing: tuple[Stage, ...]
    out_of_sample: tuple[BriefingFigure, ...]
    trading: tuple[BriefingFigure, ...]
    statistics: tuple[BriefingFigure, ...]
    crises: Crises | None
    champion: BesideChampion | None = None
    """None where the run was not judged."""
    certificate: Certificate | None
    ablation: Ablation | None = None
    risks: Risks
    left_out: tuple[LeftOut, ...]
    not_done_yet: dict[str, tuple[str, ...]]
    next_steps: tuple[str, ...]
