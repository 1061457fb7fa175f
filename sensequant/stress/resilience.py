"""What a replay of a crisis says: figures, resilience, failure modes, and their summary.

Belongs here: the records of the stress tests, the formula of resilience, the rules that name a
failure mode, the page. Does not belong here: which rows may be replayed and how they are traded
(`stress.replay`).

Conventions: returns and drawdowns are fractions, drawdowns <= 0; Sharpe and Sortino ratios are
annual and over the stated cash rate. One crisis is one event: its figures have a count of sessions
and rows but no interval, for nothing repeats within it. Resilience alone has an error, that of the
chance within its sessions (`stress.luck`), and so has the mean over crises.

Rules
-----
Resilience is 100 * (0.4 * (1 - |max drawdown|) + 0.3 * precision + 0.3 * clip(Sharpe / 2, 0, 1)),
absent where an ingredient is. A crisis that is not passed has one or more failure modes:

- `black_swan`: NIFTY 50 fell in one session by at least `black_swan_sigma` standard deviations of
  its sessions in the year before; nothing in ordinary windows foretells that.
- `overfit`: the lift (precision minus share of positive labels) was <= 0 in the crisis and also
  outside it: what was learned holds nowhere out of sample.
- `regime_change`: the lift was <= 0 in the crisis but above 0 outside it: what was learned ceased
  to hold.

The rules compare point estimates; they name a suspicion, not a finding.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from enum import StrEnum
from statistics import NormalDist
from typing import Any

from pydantic import Field, TypeAdapter

from sensequant.records import Finite, Record, SkipReason
from sensequant.stress.scenarios import Scenario, StressConfig

__all__ = [
    "BALANCED",
    "CASH",
    "CONFIDENCE",
    "NIFTY_50",
    "FailureMode",
    "Hits",
    "Performance",
    "ScenarioOutcome",
    "ScenarioResult",
    "SkippedScenario",
    "StressSummary",
    "failure_modes",
    "parse_outcome",
    "render_markdown",
    "resilience_points",
    "summarise_stress",
]

NIFTY_50 = "nifty_50_buy_and_hold"
BALANCED = "nifty_50_and_cash"
CASH = "cash"

CONFIDENCE = 0.95
"""Two-sided coverage of the interval of the mean over crises."""

_MISSING = "none"
_HIGHEST = 100.0


class FailureMode(StrEnum):
    """Suspected cause of a crisis that was not passed."""

    OVERFIT = "overfit"
    REGIME_CHANGE = "regime_change"
    BLACK_SWAN = "black_swan"


class Performance(Record):
    """What one portfolio did over the sessions of a crisis."""

    name: str
    n_sessions: int = Field(ge=0)
    total_return: Finite | None
    max_drawdown: Finite | None
    sharpe: Finite | None
    sortino: Finite | None
    reason: str | None = None
    """Why figures are missing."""


class Hits(Record):
    """How decisions met labels: precision and recall with what they were counted on."""

    n_labelled: int = Field(ge=0)
    n_decisions: int = Field(ge=0)
    n_positive: int = Field(ge=0)
    precision: Finite | None
    recall: Finite | None
    base_rate: Finite | None
    """Share of positive labels: the precision of deciding at random."""

    @property
    def lift(self) -> float | None:
        """Precision minus the share of positive labels; None where one is not defined."""
        if self.precision is None or self.base_rate is None:
            return None
        return self.precision - self.base_rate


class ScenarioResult(Record):
    """One crisis replayed on bars that the replayed students never saw."""

    scenario: Scenario
    kind: str
    """`walk_forward`, `trained_later`, `trained_before`, or `mixed`."""

    rows_by_kind: dict[str, int]
    first_session: date
    last_session: date
    n_sessions: int = Field(ge=1)
    n_rows: int = Field(ge=1)
    n_symbols: int = Field(ge=1)
    skipped_symbols: dict[str, int]
    """Number of symbols without a row, by reason."""

    strategy: Performance
    baselines: tuple[Performance, ...]
    hits: Hits
    hits_outside: Hits
    """The same over the out-of-sample rows outside this crisis."""

    market_shock_sigma: Finite | None
    """Worst session of NIFTY 50 in standard deviations of the year before; negative is a fall."""

    resilience: Finite | None
    resilience_error: Finite | None = None
    """Standard error of `resilience` by the chance within these sessions, in points."""

    resilience_reason: str | None
    passes: bool | None
    failure_modes: tuple[FailureMode, ...]

    sessions: tuple[date, ...] = ()
    net_returns: tuple[Finite, ...] = ()
    """Net return of the strategy on each of these sessions, marked to market at the close."""


class SkippedScenario(Record):
    """One crisis of which nothing may be said, and why; it counts neither way."""

    scenario: Scenario
    skip_reason: SkipReason
    skipped_symbols: dict[str, int]


ScenarioOutcome = ScenarioResult | SkippedScenario

_OUTCOME: TypeAdapter[ScenarioOutcome] = TypeAdapter(ScenarioOutcome)


class StressSummary(Record):
    """All crises of a run, and what is left open."""

    results: tuple[ScenarioResult, ...]
    skipped: tuple[SkippedScenario, ...]
    resilience_pass: Finite
    n_evaluated: int
    n_with_resilience: int
    n_passed: int
    n_skipped: int
    skip_reasons: dict[str, int]
    mean_resilience: Finite | None
    mean_lower: Finite | None = None
    mean_upper: Finite | None = None
    """Interval of the mean, two-sided at `CONFIDENCE`; None where a crisis has no error."""

    worst_resilience: Finite | None
    worst_scenario: str | None
    not_done_yet: tuple[str, ...]


def resilience_points(
    *, max_drawdown: float | None, precision: float | None, sharpe: float | None
) -> tuple[float | None, str | None]:
    """Return resilience in points from 0 to 100, or None and the reason.

    Parameters
    ----------
    max_drawdown
        Fraction <= 0; below -1 it counts as -1.
    precision
        Share of buy decisions with a positive label, in [0, 1].
    sharpe
        Annual Sharpe ratio; its term is clipped to [0, 1] after halving.

    Returns
    -------
    points
        None where an ingredient is missing.
    reason
        Which one; None where points are there.
    """
    if max_drawdown is None or precision is None or sharpe is None:
        named = {"max drawdown": max_drawdown, "precision": precision, "Sharpe ratio": sharpe}
        missing = [name for name, value in named.items() if value is None]
        return None, f"not defined: {', '.join(missing)}"
    kept = 1 - min(abs(max_drawdown), 1)
    reward = min(max(sharpe / 2, 0), 1)
    return 100 * (0.4 * kept + 0.3 * precision + 0.3 * reward), None


def failure_modes(
    *,
    lift_inside: float | None,
    lift_outside: float | None,
    market_shock_sigma: float | None,
    config: StressConfig,
) -> tuple[FailureMode, ...]:
    """Return the failure modes of a crisis that was not passed, by the rules of this module.

    A missing figure names no mode: it can neither accuse nor excuse.
    """
    modes: list[FailureMode] = []
    if lift_inside is not None and lift_outside is not None and lift_inside <= 0:
        modes.append(FailureMode.OVERFIT if lift_outside <= 0 else FailureMode.REGIME_CHANGE)
    if market_shock_sigma is not None and market_shock_sigma <= -config.black_swan_sigma:
        modes.append(FailureMode.BLACK_SWAN)
    return tuple(modes)


def parse_outcome(value: Any) -> ScenarioOutcome:
    """Return the outcome of a crisis from plain values, as `model_dump(mode="json")` gives them."""
    return _OUTCOME.validate_python(value, strict=False)


def summarise_stress(outcomes: Iterable[ScenarioOutcome], config: StressConfig) -> StressSummary:
    """Sum up the crises, in the order of their dates; skipped ones enter no figure but a count."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.scenario.start)
    results = tuple(outcome for outcome in ordered if isinstance(outcome, ScenarioResult))
    skipped = tuple(outcome for outcome in ordered if isinstance(outcome, SkippedScenario))
    points = {
        result.scenario.name: result.resilience
        for result in results
        if result.resilience is not None
    }
    worst = min(points, key=lambda name: points[name], default=None)
    reasons = Counter(outcome.skip_reason.value for outcome in skipped)
    mean = sum(points.values()) / len(points) if points else None
    lower, upper = _interval_of_mean([each for each in results if each.resilience is not None])
    return StressSummary(
        results=results,
        skipped=skipped,
        resilience_pass=config.resilience_pass,
        n_evaluated=len(results),
        n_with_resilience=len(points),
        n_passed=sum(result.passes is True for result in results),
        n_skipped=len(skipped),
        skip_reasons=dict(sorted(reasons.items())),
        mean_resilience=mean,
        mean_lower=lower,
        mean_upper=upper,
        worst_resilience=points[worst] if worst is not None else None,
        worst_scenario=worst,
        not_done_yet=(),
    )


def _interval_of_mean(results: Sequence[ScenarioResult]) -> tuple[float | None, float | None]:
    points = [each.resilience for each in results if each.resilience is not None]
    errors = [each.resilience_error for each in results if each.resilience_error is not None]
    if not errors or len(errors) < len(points):
        return None, None
    mean = sum(points) / len(points)
    # Crises are years apart, so that their errors are independent.
    error = math.sqrt(sum(each**2 for each in errors)) / len(errors)
    reach = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error
    return max(0.0, mean - reach), min(_HIGHEST, mean + reach)


def render_markdown(summary: StressSummary, *, title: str = "# Stress tests") -> str:
    """Return the page of the stress tests, or of those of the method as of then."""
    lines = [title, "", *_headline(summary), ""]
    for result in summary.results:
        lines += [*_section(result), ""]
    if summary.skipped:
        lines += ["## Skipped", "", "| crisis | reason | symbols |", "|---|---|---|"]
        lines += [
            f"| {outcome.scenario.title} | {outcome.skip_reason} | "
            f"{_counts(outcome.skipped_symbols)} |"
            for outcome in summary.skipped
        ]
        lines.append("")
    return "\n".join(lines) + "\n"


def _headline(summary: StressSummary) -> list[str]:
    if not summary.n_evaluated:
        return ["No crisis could be replayed on bars that the students never saw."]
    return [
        (
            f"- {summary.n_evaluated} crises replayed, {summary.n_skipped} skipped "
            f"({_counts(summary.skip_reasons)})."
        ),
        f"- {summary.n_passed} passed: resilience of at least {summary.resilience_pass:g} points.",
        (
            f"- Mean resilience {_number(summary.mean_resilience, '.1f')} points "
            f"[{_number(summary.mean_lower, '.1f')} to {_number(summary.mean_upper, '.1f')}] over "
            f"{summary.n_with_resilience} crises; worst {_number(summary.worst_resilience, '.1f')} "
            f"({summary.worst_scenario or _MISSING})."
        ),
        "- A crisis is a single event; the interval of the mean is about chance within sessions.",
    ]


def _section(result: ScenarioResult) -> list[str]:
    modes = ", ".join(result.failure_modes) or _MISSING
    lines = [
        f"## {result.scenario.title} ({result.first_session} to {result.last_session})",
        "",
        (
            f"Severity {result.scenario.severity}; {result.n_sessions} sessions, "
            f"{result.n_rows} rows of {result.n_symbols} symbols; replay "
            f"{result.kind} ({_counts(result.rows_by_kind)} rows). "
            f"Symbols left out: {_counts(result.skipped_symbols)}."
        ),
        "",
        *_explanation(result),
        (
            f"Resilience {_number(result.resilience, '.1f')} ({_passed(result)}); suspected "
            f"failure modes: {modes}. Precision {_number(result.hits.precision, '.3f')} of "
            f"{result.hits.n_decisions} decisions, recall {_number(result.hits.recall, '.3f')} of "
            f"{result.hits.n_positive} positive labels; share of positive labels "
            f"{_number(result.hits.base_rate, '.3f')} of {result.hits.n_labelled}."
        ),
        "",
        "| portfolio | sessions | total return | max drawdown | Sharpe | Sortino |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    return lines + [_row(each) for each in (result.strategy, *result.baselines)]


def _explanation(result: ScenarioResult) -> list[str]:
    if "trained_later" not in result.rows_by_kind:
        return []
    return [
        (
            "Rows of kind `trained_later` are scored by a student that learned from later years: a "
            "replay on bars that it never saw, not a forecast that could have been made then."
        ),
        "",
    ]


def _passed(result: ScenarioResult) -> str:
    if result.passes is None:
        return result.resilience_reason or "not judged"
    return "passed" if result.passes else "not passed"


def _row(performance: Performance) -> str:
    return (
        f"| {performance.name} | {performance.n_sessions} | "
        f"{_number(performance.total_return, '.2%')} | "
        f"{_number(performance.max_drawdown, '.2%')} | {_number(performance.sharpe, '.2f')} | "
        f"{_number(performance.sortino, '.2f')} |"
    )


def _number(value: float | None, layout: str) -> str:
    return _MISSING if value is None else format(value, layout)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or _MISSING
