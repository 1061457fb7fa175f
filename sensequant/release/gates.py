"""Gates, and the verdict that is a function of gates and nothing else.

Belongs here: the limits, the evidence that they are held against, the rule from figures to
outcomes and from outcomes to a verdict. Does not belong here: how a figure is measured
(`evaluation`, `stress`), who acts on a verdict (`registry`).

Rules
-----
A gate compares one figure with one limit, by the nature of the figure:

- `estimate`: has an interval. Pass when the whole interval meets the limit (its conservative bound
  does), fail when the whole interval misses it, else undetermined.
- `guard`: has an interval and may only object. Fail when the whole interval misses the limit, else
  pass: what so few events cannot tell from a good outcome is no reason against a model, and never
  one for it, because the other gates have to pass as well.
- `probability`: a p-value, or the probability that the truth exceeds a hurdle. Pass within the
  limit, fail at or beyond its mirror image 1 - limit (the one-sided interval of the same
  confidence on the other side), else undetermined.
- `amount`: how much evidence there is. Pass from the limit on, else undetermined: too little
  evidence is no evidence of a bad model.
- `exact`: counted or realised, without an interval. Pass or fail.

A missing figure, or an estimate or guard without its interval, is undetermined with its reason.
Never does absence pass. The verdict approves when all gates pass, rejects when any fails, and
otherwise says that there is not enough evidence.

Conventions: returns, rates and drawdowns are fractions, drawdowns <= 0; resilience in points.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from sensequant.errors import ConfigError
from sensequant.records import Finite, Record
from sensequant.release.limits import GateConfig

__all__ = [
    "Decision",
    "Direction",
    "Evidence",
    "EvidenceRef",
    "Figure",
    "Gate",
    "GateConfig",
    "GateOutcome",
    "Nature",
    "Verdict",
    "evaluate_gates",
    "judge",
]


class Direction(StrEnum):
    """Which side of the limit is good."""

    ABOVE = "above"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"


class Nature(StrEnum):
    """What kind of figure a gate looks at; it decides the rule."""

    ESTIMATE = "estimate"
    GUARD = "guard"
    PROBABILITY = "probability"
    AMOUNT = "amount"
    EXACT = "exact"


class GateOutcome(StrEnum):
    """What a gate says."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    UNDETERMINED = "undetermined"


class Decision(StrEnum):
    """What all gates together say; a person decides, this recommends."""

    APPROVE = "approve"
    REJECT = "reject"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


class EvidenceRef(Record):
    """The file that a figure stands in, relative to the run folder, and its digest."""

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Figure(Record):
    """One measured number with what it rests on; all None with a reason where it is absent."""

    observed: Finite | None = None
    lower: Finite | None = None
    upper: Finite | None = None
    n: int | None = Field(default=None, ge=0)
    n_unit: str | None = None
    evidence: EvidenceRef | None = None
    reason: str | None = None

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ConfigError(
                "interval is upside down",
                where="Figure.lower and Figure.upper",
                expected="lower <= upper",
                found=f"{self.lower} to {self.upper}",
            )
        return self


class Evidence(Record):
    """The figures that the gates look at, as one run measured them."""

    scored_sessions: Figure
    trades: Figure
    auc: Figure
    auc_placebo: Figure
    """The AUC on shuffled labels; its upper bound is the highest of all placebos."""
    mean_excess_return: Figure
    deflated_sharpe: Figure
    alpha_p_value: Figure
    max_drawdown: Figure
    resilience: Figure
    coverage: Figure
    failure_rate: Figure
    detectable_sharpe: Figure
    """Smallest annual Sharpe ratio that these data could have shown."""

    @model_validator(mode="after")
    def _figures_are_possible(self) -> Self:
        _require_between("max_drawdown", self.max_drawdown, lowest=None, highest=0)
        for name in (
            "auc",
            "auc_placebo",
            "deflated_sharpe",
            "alpha_p_value",
            "coverage",
            "failure_rate",
        ):
            _require_between(name, getattr(self, name), lowest=0, highest=1)
        _require_between("resilience", self.resilience, lowest=0, highest=100)
        return self


class Gate(Record):
    """One criterion: question, limit, observed figure, evidence, and what it says."""

    name: str
    question: str
    nature: Nature
    direction: Direction
    limit: Finite
    observed: Finite | None
    lower: Finite | None
    upper: Finite | None
    n: int | None
    n_unit: str | None
    evidence: EvidenceRef | None
    outcome: GateOutcome
    reason: str


class Verdict(Record):
    """What the gates together say, with the reasons in words."""

    decision: Decision
    headline: str
    reasons: tuple[str, ...]
    n_passed: int
    n_failed: int
    n_undetermined: int
    detectable_sharpe: Finite | None
    gates: tuple[Gate, ...]
    is_simulated: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    question: str
    nature: Nature
    direction: Direction
    limit: Callable[[GateConfig, Evidence], float]


def _auc_hurdle(config: GateConfig, evidence: Evidence) -> float:
    # Labels shuffled within each symbol still tell volatile symbols from quiet ones: what that
    # alone reaches is no skill.
    placebo = evidence.auc_placebo.upper
    return config.min_auc if placebo is None else max(config.min_auc, placebo)


_RULES = (
    _Rule(
        "scored_sessions",
        "Were enough sessions scored out of sample?",
        Nature.AMOUNT,
        Direction.AT_LEAST,
        lambda config, _: config.min_scored_sessions,
    ),
    _Rule(
        "trades",
        "Did the backtest trade often enough to be judged?",
        Nature.AMOUNT,
        Direction.AT_LEAST,
        lambda config, _: config.min_trades,
    ),
    _Rule(
        "auc",
        "Do the scores tell later winners from losers, over all symbols and windows?",
        Nature.ESTIMATE,
        Direction.ABOVE,
        _auc_hurdle,
    ),
    _Rule(
        "mean_excess_return",
        "Does the portfolio earn more than NIFTY 50, after costs?",
        Nature.ESTIMATE,
        Direction.ABOVE,
        lambda config, _: config.min_mean_excess_return,
    ),
    _Rule(
        "deflated_sharpe",
        "Is the Sharpe ratio over NIFTY 50 beyond what the best of as many lucky trials shows?",
        Nature.PROBABILITY,
        Direction.AT_LEAST,
        lambda config, _: config.min_deflated_sharpe,
    ),
    _Rule(
        "alpha_p_value",
        "Is alpha against NIFTY 50 above zero beyond chance?",
        Nature.PROBABILITY,
        Direction.AT_MOST,
        lambda config, _: config.max_alpha_p_value,
    ),
    _Rule(
        "max_drawdown",
        "Did the deepest loss from a previous high stay bearable?",
        Nature.EXACT,
        Direction.AT_LEAST,
        lambda config, _: -config.max_drawdown_frac,
    ),
    _Rule(
        "resilience",
        "Did the students stand the crises that they never saw?",
        Nature.GUARD,
        Direction.AT_LEAST,
        lambda config, _: config.min_resilience,
    ),
    _Rule(
        "coverage",
        "Are the bars complete?",
        Nature.EXACT,
        Direction.AT_LEAST,
        lambda config, _: config.min_coverage_frac,
    ),
    _Rule(
        "failure_rate",
        "Did the units of work succeed?",
        Nature.EXACT,
        Direction.AT_MOST,
        lambda config, _: config.max_failure_rate,
    ),
)


def evaluate_gates(evidence: Evidence, config: GateConfig) -> tuple[Gate, ...]:
    """Hold every figure of the evidence against its limit, in a fixed order."""
    return tuple(_gate(rule, evidence, config) for rule in _RULES)


def judge(gates: Iterable[Gate], *, detectable_sharpe: float | None, is_simulated: bool) -> Verdict:
    """Return the verdict: approve iff all pass, reject if any fails, else not enough evidence.

    Parameters
    ----------
    gates
        From `evaluate_gates`; none at all is not enough evidence.
    detectable_sharpe
        Smallest annual Sharpe ratio that these data could have shown; it stands in the verdict
        but does not change it.
    is_simulated
        Whether the bars were invented.
    """
    rows = tuple(gates)
    failed = [gate for gate in rows if gate.outcome is GateOutcome.FAIL]
    open_ones = [gate for gate in rows if gate.outcome is GateOutcome.UNDETERMINED]
    if failed:
        decision, causes = Decision.REJECT, failed
    elif open_ones or not rows:
        decision, causes = Decision.NOT_ENOUGH_EVIDENCE, open_ones
    else:
        decision, causes = Decision.APPROVE, []
    return Verdict(
        decision=decision,
        headline=_headline(decision, rows, detectable_sharpe),
        reasons=tuple(f"{gate.question} {gate.reason}" for gate in causes),
        n_passed=len(rows) - len(failed) - len(open_ones),
        n_failed=len(failed),
        n_undetermined=len(open_ones),
        detectable_sharpe=detectable_sharpe,
        gates=rows,
        is_simulated=is_simulated,
    )


def _gate(rule: _Rule, evidence: Evidence, config: GateConfig) -> Gate:
    figure = _figure_of(rule, evidence)
    limit = float(rule.limit(config, evidence))
    outcome, reason = _outcome(rule, figure, limit)
    return Gate(
        name=rule.name,
        question=rule.question,
        nature=rule.nature,
        direction=rule.direction,
        limit=limit,
        observed=figure.observed,
        lower=figure.lower,
        upper=figure.upper,
        n=figure.n,
        n_unit=figure.n_unit,
        evidence=figure.evidence,
        outcome=outcome,
        reason=reason,
    )


def _figure_of(rule: _Rule, evidence: Evidence) -> Figure:
    if rule.limit is _auc_hurdle and evidence.auc_placebo.upper is None:
        return Figure(reason=f"no placebo to beat: {evidence.auc_placebo.reason or 'not measured'}")
    return getattr(evidence, rule.name)


def _outcome(rule: _Rule, figure: Figure, limit: float) -> tuple[GateOutcome, str]:
    if figure.observed is None:
        return GateOutcome.UNDETERMINED, f"Not known: {figure.reason or 'it was not measured'}."
    worst, best = _worst_and_best(rule, figure, limit)
    if worst is None or best is None:
        why = figure.reason or "no interval was computed"
        return GateOutcome.UNDETERMINED, f"{figure.observed:.6g} without an interval: {why}."
    if _meets(worst, limit, rule.direction):
        is_met = _meets(figure.observed, limit, rule.direction)
        answer = "Yes" if is_met else "Nothing shows otherwise"
        return GateOutcome.PASS, f"{answer}: {_words(rule, figure, limit)}."
    if rule.nature is Nature.AMOUNT:
        return GateOutcome.UNDETERMINED, f"Not yet: {_words(rule, figure, limit)}."
    if not _meets(best, limit, rule.direction):
        return GateOutcome.FAIL, f"No: {_words(rule, figure, limit)}."
    return GateOutcome.UNDETERMINED, f"Cannot be told: {_words(rule, figure, limit)}."


def _worst_and_best(rule: _Rule, figure: Figure, limit: float) -> tuple[float | None, float | None]:
    observed = figure.observed
    if observed is None or rule.nature in (Nature.EXACT, Nature.AMOUNT):
        return observed, observed
    is_low_good = rule.direction is Direction.AT_MOST
    if rule.nature in (Nature.ESTIMATE, Nature.GUARD):
        bounds = (figure.upper, figure.lower) if is_low_good else (figure.lower, figure.upper)
        worst, best = bounds if None not in bounds else (None, None)
        return (best if rule.nature is Nature.GUARD else worst), best
    mirror = 1 - limit
    is_hopeless = observed >= mirror if is_low_good else observed <= mirror
    return observed, observed if is_hopeless else limit


def _meets(value: float, limit: float, direction: Direction) -> bool:
    if direction is Direction.ABOVE:
        return value > limit
    return value >= limit if direction is Direction.AT_LEAST else value <= limit


def _words(rule: _Rule, figure: Figure, limit: float) -> str:
    interval = (
        f" [{figure.lower:.6g}, {figure.upper:.6g}]"
        if figure.lower is not None and figure.upper is not None
        else ""
    )
    count = f" over {figure.n} {figure.n_unit or 'observations'}" if figure.n is not None else ""
    wanted = rule.direction.value.replace("_", " ")
    return f"{figure.observed:.6g}{interval}{count}, asked {wanted} {limit:g}"


def _headline(decision: Decision, gates: tuple[Gate, ...], detectable: float | None) -> str:
    if decision is Decision.APPROVE:
        return f"All {len(gates)} gates pass; a person may approve."
    if decision is Decision.REJECT:
        names = [gate.name for gate in gates if gate.outcome is GateOutcome.FAIL]
        return f"{len(names)} of {len(gates)} gates fail: {', '.join(names)}."
    names = [gate.name for gate in gates if gate.outcome is GateOutcome.UNDETERMINED]
    shown = (
        "What these data could have shown at all is not known."
        if detectable is None
        else f"An annual Sharpe ratio below {detectable:.2f} could not have been shown by them."
    )
    return f"These data do not settle {', '.join(names) or 'anything'}. {shown}"


def _require_between(name: str, figure: Figure, *, lowest: float | None, highest: float) -> None:
    value = figure.observed
    if value is not None and (value > highest or (lowest is not None and value < lowest)):
        raise ConfigError(
            "evidence is impossible",
            where=f"Evidence.{name}",
            expected=f"{'any fraction' if lowest is None else lowest} to {highest}",
            found=str(value),
            remedy="correct the sign or the unit where the figure is made",
        )
