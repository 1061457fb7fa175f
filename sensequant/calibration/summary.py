"""What all worlds say together: how often the verdict errs, and what it can see.

Belongs here: counts, rates with exact intervals, and what is demanded of them. Does not belong
here: the worlds, words and drawings (`calibration.page`, `reports.power_chart`).

Every world is one independent trial, so a count is binomial; intervals are those of C. J.
Clopper and E. S. Pearson (1934), two-sided at `CONFIDENCE`, which never cover less than they say.
Nothing is fitted: the power curve is its counts.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, cast

import polars as pl
from pydantic import Field
from scipy import stats

from sensequant.calibration.oracle import EdgeWorth
from sensequant.calibration.request import CalibrationRequest
from sensequant.calibration.worlds import Truth, WorldRecord, planned
from sensequant.evaluation.figures import Figure, absent_figure
from sensequant.records import Finite, Record
from sensequant.release.gates import Decision, GateOutcome

__all__ = [
    "CONFIDENCE",
    "Answer",
    "CalibrationSummary",
    "Earned",
    "GateRates",
    "Judged",
    "Rate",
    "in_words",
    "rate",
    "summarise",
    "world_table",
]

CONFIDENCE = 0.95
"""Two-sided coverage of every interval."""

_MOST_APPROVED = 0.05
_MOST_APPROVED_UPPER = 0.10
_FEWEST_WALKS = 200
_LEAST_POWER = 0.80
_FEWEST_EDGES = 40
_SHARPE_TO_SEE = 3.0
_EARNINGS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)


class Rate(Record):
    """A share of worlds with its exact interval; None where there are no worlds."""

    count: int = Field(ge=0)
    n: int = Field(ge=0)
    value: Finite | None
    lower: Finite | None
    upper: Finite | None


class GateRates(Record):
    """How often one gate said what, and how often it alone stood in the way of an approval."""

    name: str
    passes: Rate
    fails: Rate
    undetermined: Rate
    alone: Rate


class Judged(Record):
    """The verdicts on worlds of one kind."""

    oracle_sharpe_asked: Finite | None
    """None where there is nothing to find."""
    edge_bps: Finite | None
    approved: Rate
    rejected: Rate
    not_enough_evidence: Rate
    gates: tuple[GateRates, ...]
    auc: Figure
    net_sharpe: Figure
    oracle_sharpe: Figure
    """What the oracle earned in these very worlds."""


class Earned(Record):
    """Verdicts on worlds with an edge in which the oracle earned about the same."""

    at_least: Finite | None
    below: Finite | None
    """Bounds of the oracle's yearly net Sharpe ratio; None where open."""
    approved: Rate


class Answer(Record):
    """Whether something that is demanded of the verdict holds; None while it is not decided."""

    demand: str
    holds: bool | None
    found: str


class CalibrationSummary(Record):
    """How often the verdict approves where there is nothing, and where there is an edge."""

    request: CalibrationRequest
    code_versions: tuple[str, ...]
    n_asked: int
    n_judged: int
    walks: Judged
    levels: tuple[Judged, ...]
    earned: tuple[Earned, ...]
    worths: tuple[EdgeWorth, ...]
    answers: tuple[Answer, ...]
    confidence: Finite
    is_simulated: bool = True


def rate(count: int, n: int) -> Rate:
    """Return a share with its Clopper-Pearson interval."""
    if n == 0:
        return Rate(count=0, n=0, value=None, lower=None, upper=None)
    bounds = stats.binomtest(count, n).proportion_ci(CONFIDENCE, method="exact")
    return Rate(
        count=count, n=n, value=count / n, lower=float(bounds.low), upper=float(bounds.high)
    )


def summarise(
    request: CalibrationRequest, records: Sequence[WorldRecord], worths: Sequence[EdgeWorth]
) -> CalibrationSummary:
    """Count what the gates said of the worlds that are done."""
    walks = _judged(None, [one for one in records if one.world.truth is Truth.NOTHING])
    levels = tuple(
        _judged(sharpe, [one for one in records if one.world.oracle_sharpe_asked == sharpe])
        for sharpe in request.oracle_sharpes
        if request.n_edge_worlds
    )
    return CalibrationSummary(
        request=request,
        code_versions=tuple(sorted({one.code_version for one in records})),
        n_asked=len(planned(request)),
        n_judged=len(records),
        walks=walks,
        levels=levels,
        earned=tuple(_by_earnings(records)),
        worths=tuple(worths),
        answers=(_false_approvals(walks.approved), _power(levels, request)),
        confidence=CONFIDENCE,
    )


def world_table(records: Iterable[WorldRecord]) -> pl.DataFrame:
    """Return one row per world: what it was, what was said of it, gate by gate."""
    rows = [
        {
            "world": one.world.name,
            "truth": one.world.truth.value,
            "seed": one.world.seed,
            "oracle_sharpe_asked": one.world.oracle_sharpe_asked,
            "edge_bps": one.edge_bps,
            "oracle_sharpe": one.oracle_sharpe,
            "decision": one.decision.value,
            "auc": one.auc,
            "net_sharpe": one.net_sharpe,
            "detectable_sharpe": one.detectable_sharpe,
            "n_scored_sessions": one.n_scored_sessions,
            "n_windows": one.n_windows,
            **{f"gate_{gate.name}": gate.outcome.value for gate in one.gates},
            **{f"observed_{gate.name}": gate.observed for gate in one.gates},
            "is_simulated": True,
            "code_version": one.code_version,
        }
        for one in records
    ]
    return pl.DataFrame(rows, infer_schema_length=None).cast(
        {"oracle_sharpe_asked": pl.Float64, "oracle_sharpe": pl.Float64} if rows else {}
    )


def _judged(sharpe: float | None, records: Sequence[WorldRecord]) -> Judged:
    said = Counter(one.decision for one in records)
    edges = {one.edge_bps for one in records}
    return Judged(
        oracle_sharpe_asked=sharpe,
        edge_bps=edges.pop() if len(edges) == 1 else None,
        approved=rate(said[Decision.APPROVE], len(records)),
        rejected=rate(said[Decision.REJECT], len(records)),
        not_enough_evidence=rate(said[Decision.NOT_ENOUGH_EVIDENCE], len(records)),
        gates=tuple(_gate_rates(records)),
        auc=_mean([one.auc for one in records], "mean AUC of worlds"),
        net_sharpe=_mean([one.net_sharpe for one in records], "mean annual Sharpe ratio"),
        oracle_sharpe=_mean([one.oracle_sharpe for one in records], "mean annual Sharpe ratio"),
    )


def _by_earnings(records: Sequence[WorldRecord]) -> Iterable[Earned]:
    edged = [one for one in records if one.world.truth is Truth.EDGE]
    for at_least, below in pairwise((None, *_EARNINGS, None)):
        inside = [
            one.is_approved
            for one in edged
            if one.oracle_sharpe is not None
            and (at_least is None or one.oracle_sharpe >= at_least)
            and (below is None or one.oracle_sharpe < below)
        ]
        if inside:
            approved = rate(sum(inside), len(inside))
            yield Earned(at_least=at_least, below=below, approved=approved)


def _gate_rates(records: Sequence[WorldRecord]) -> Iterable[GateRates]:
    outcomes = [{gate.name: gate.outcome for gate in one.gates} for one in records]
    for name in outcomes[0] if outcomes else ():
        said = Counter(one[name] for one in outcomes)
        alone = sum(
            all((outcome is GateOutcome.PASS) == (gate != name) for gate, outcome in one.items())
            for one in outcomes
        )
        yield GateRates(
            name=name,
            passes=rate(said[GateOutcome.PASS], len(outcomes)),
            fails=rate(said[GateOutcome.FAIL], len(outcomes)),
            undetermined=rate(said[GateOutcome.UNDETERMINED], len(outcomes)),
            alone=rate(alone, len(outcomes)),
        )


def _mean(values: Sequence[float | None], unit: str) -> Figure:
    known = pl.Series([value for value in values if value is not None], dtype=pl.Float64)
    if known.is_empty():
        return absent_figure(unit, "no world has this figure", n=0)
    mean = cast("float", known.mean())
    if len(known) == 1:
        return Figure(value=mean, n=1, unit=unit, reason="one world has no spread")
    # Student's t over independent worlds.
    reach = float(cast("Any", stats).t.ppf((1 + CONFIDENCE) / 2, len(known) - 1))
    error = cast("float", known.std()) / len(known) ** 0.5
    return Figure(
        value=mean, lower=mean - reach * error, upper=mean + reach * error, n=len(known), unit=unit
    )


def _false_approvals(approved: Rate) -> Answer:
    demand = (
        f"False approvals on random walks: at most {_MOST_APPROVED:.0%}, with the upper bound at "
        f"most {_MOST_APPROVED_UPPER:.0%}, over at least {_FEWEST_WALKS} worlds."
    )
    if approved.value is None or approved.lower is None or approved.upper is None:
        return Answer(demand=demand, holds=None, found="No world is judged.")
    holds: bool | None = approved.value <= _MOST_APPROVED and approved.upper <= _MOST_APPROVED_UPPER
    if holds and approved.n < _FEWEST_WALKS:
        holds = None
    if not holds and approved.lower <= _MOST_APPROVED and approved.n < _FEWEST_WALKS:
        holds = None
    return Answer(demand=demand, holds=holds, found=f"{in_words(approved)}.")


def _power(levels: Sequence[Judged], request: CalibrationRequest) -> Answer:
    demand = (
        f"Power at least {_LEAST_POWER:.0%} where an oracle earns a yearly net Sharpe ratio of "
        f"{_SHARPE_TO_SEE:g}, over 3 years and 50 symbols."
    )
    level = next((one for one in levels if one.oracle_sharpe_asked == _SHARPE_TO_SEE), None)
    if level is None or level.approved.value is None or level.approved.upper is None:
        return Answer(demand=demand, holds=None, found="No such world is judged.")
    place = f"over {request.years} years and {request.n_symbols} symbols"
    found = f"{in_words(level.approved)}, {place}."
    if (request.years, request.n_symbols) != (3, 50):
        return Answer(demand=demand, holds=None, found=found)
    holds: bool | None = level.approved.value >= _LEAST_POWER
    if level.approved.n < _FEWEST_EDGES and level.approved.upper >= _LEAST_POWER:
        holds = None
    return Answer(demand=demand, holds=holds, found=found)


def in_words(found: Rate) -> str:
    """Return a rate as a person reads it: share, interval, counts."""
    if found.value is None or found.lower is None or found.upper is None:
        return "no world"
    return (
        f"{found.value:.1%} [{found.lower:.1%} to {found.upper:.1%}], "
        f"{found.count} of {found.n} worlds"
    )
