"""The null-world certificate: what the pipeline made of random-walk twins, beside the candidate.

Belongs here: the record of a twin and the part of the briefing that shows twins. Does not belong
here: running one (`stages.certificate`), any gate: twins are no evidence.
"""

from collections.abc import Sequence

from pydantic import Field

from sensequant.evaluation.figures import Figure, absent_figure
from sensequant.evaluation.validation import ValidationSummary
from sensequant.records import Record
from sensequant.release.briefing_model import BriefingFigure, Certificate, TwinLine
from sensequant.release.gates import Decision, Verdict

__all__ = ["TwinRecord", "certificate_of", "shown_figure"]

_NOT_REACHED = "the run was not validated"


class TwinRecord(Record):
    """What the same pipeline made of one twin; `reason` where it came to no verdict."""

    number: int = Field(ge=1)
    is_simulated: bool = True
    decision: Decision | None
    auc: Figure
    net_sharpe: Figure
    reason: str | None = None


def certificate_of(
    twins: Sequence[TwinRecord],
    *,
    n_asked: int,
    validation: ValidationSummary | None,
    verdict: Verdict | None,
    is_simulated: bool,
) -> Certificate | None:
    """Return candidate and twins side by side; None where no twin was asked for.

    Parameters
    ----------
    twins
        Those that were done.
    n_asked
        How many were asked for.
    validation, verdict
        Of the candidate.
    is_simulated
        Whether the candidate's own bars were invented; a twin's always are.
    """
    if not n_asked:
        return None
    absent = absent_figure("AUC", _NOT_REACHED), absent_figure("annual Sharpe ratio", _NOT_REACHED)
    auc, sharpe = absent
    if validation is not None:
        auc, sharpe = validation.classification.auc, validation.strategy.net_sharpe
    own = _line(
        "candidate",
        None if verdict is None else verdict.decision,
        auc,
        sharpe,
        is_simulated=is_simulated,
        reason=None if verdict is not None else "the run was not judged",
    )
    lines = [
        _line(
            f"twin {twin.number}",
            twin.decision,
            twin.auc,
            twin.net_sharpe,
            is_simulated=True,
            reason=twin.reason,
        )
        for twin in twins
    ]
    return Certificate(
        is_simulated=True,
        n_asked=n_asked,
        candidate=own,
        twins=tuple(lines),
        auc_p_value=_share_as_good(auc.value, [twin.auc.value for twin in twins]),
    )


def _share_as_good(own: float | None, others: Sequence[float | None]) -> float | None:
    """Return the Monte Carlo p-value, in which the candidate counts as one of n + 1.

    Source: M. Dwass (1957), "Modified Randomization Tests for Nonparametric Hypotheses".
    """
    known = [value for value in others if value is not None]
    if own is None or not known:
        return None
    return (1 + sum(value >= own for value in known)) / (1 + len(known))


def _line(
    name: str,
    decision: Decision | None,
    auc: Figure,
    sharpe: Figure,
    *,
    is_simulated: bool,
    reason: str | None,
) -> TwinLine:
    return TwinLine(
        is_simulated=is_simulated,
        name=name,
        decision=decision,
        auc=shown_figure("auc", auc, is_simulated=is_simulated),
        net_sharpe=shown_figure("net_sharpe", sharpe, is_simulated=is_simulated),
        reason=reason,
    )


def shown_figure(name: str, figure: Figure, *, is_simulated: bool) -> BriefingFigure:
    """Return a measured figure as the briefing shows it."""
    return BriefingFigure(
        is_simulated=is_simulated,
        name=name,
        **figure.model_dump(include={"value", "lower", "upper", "n", "unit", "reason"}),
    )
