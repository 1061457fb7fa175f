"""Which figure of which report each gate looks at.

Belongs here: picking figures out of the records of stages 1 to 5 and 8, with the file that each
stands in. Does not belong here: measuring anything, limits and outcomes (`release.gates`).

A report that does not exist gives figures without a value and with the reason.
"""

from collections.abc import Iterable

from sensequant.evaluation.figures import Figure as MeasuredFigure
from sensequant.evaluation.hypotheses import SignificanceReport, TestResult
from sensequant.evaluation.validation import ValidationSummary
from sensequant.records import Record
from sensequant.release.gates import Evidence, EvidenceRef, Figure
from sensequant.runs import RunFolder, Stage, StageRecord
from sensequant.storage import sha256_of
from sensequant.stress.resilience import StressSummary

__all__ = ["Reports", "gather_evidence", "reference", "worst_failure_rate"]


class Reports(Record):
    """The reports of the measuring stages, with the files they stand in; None where not made."""

    validation: ValidationSummary | None = None
    validation_file: EvidenceRef | None = None
    significance: SignificanceReport | None = None
    significance_file: EvidenceRef | None = None
    stress: StressSummary | None = None
    stress_file: EvidenceRef | None = None


def gather_evidence(reports: Reports, *, coverage: Figure, failure_rate: Figure) -> Evidence:
    """Return the figures of one run that the gates look at.

    Parameters
    ----------
    reports
        What the measuring stages wrote.
    coverage
        Share of the expected sessions of all symbols that have a bar, a fraction.
    failure_rate
        From `worst_failure_rate`.
    """
    return Evidence.model_validate(
        {
            **_of_validation(reports),
            **_of_significance(reports),
            "resilience": _resilience(reports),
            "coverage": coverage,
            "failure_rate": failure_rate,
        }
    )


def reference(folder: RunFolder, path: str) -> EvidenceRef:
    """Return a reference to a file of a run, by its path below the run folder."""
    return EvidenceRef(path=path, sha256=sha256_of(folder.root / path))


def worst_failure_rate(stages: Iterable[StageRecord]) -> Figure:
    """Return the highest failure rate among the stages, with the number of units tried there."""
    rated = [stage for stage in stages if stage.failure_rate is not None]
    if not rated:
        return Figure(reason="no stage tried a unit of work")
    worst = max(rated, key=lambda stage: stage.failure_rate or 0.0)
    return Figure(
        observed=worst.failure_rate,
        n=worst.n_success + worst.n_failed,
        n_unit=f"units of {worst.stage}",
    )


def _of_validation(reports: Reports) -> dict[str, Figure]:
    summary, file = reports.validation, reports.validation_file
    if summary is None:
        names = ("trades", "auc", "auc_placebo", "max_drawdown")
        return dict.fromkeys(names, _not_run(Stage.MODEL_VALIDATION))
    scores = summary.classification
    return {
        "trades": _measured(summary.strategy.n_trades, "sessions", file),
        "auc": _measured(scores.auc, "labelled rows", file),
        "auc_placebo": _measured(scores.auc_placebo, "labelled rows", file),
        "max_drawdown": _measured(summary.strategy.max_drawdown, "sessions", file),
    }


def _of_significance(reports: Reports) -> dict[str, Figure]:
    report, file = reports.significance, reports.significance_file
    names = (
        "scored_sessions",
        "mean_excess_return",
        "deflated_sharpe",
        "alpha_p_value",
        "detectable_sharpe",
    )
    if report is None:
        return dict.fromkeys(names, _not_run(Stage.STATISTICAL_TESTS))
    sessions = Figure(
        observed=report.n_sessions, n=report.n_sessions, n_unit="sessions", evidence=file
    )
    alpha = report.of("alpha")
    return {
        "scored_sessions": sessions,
        "mean_excess_return": _tested(report.of("mean_excess_bootstrap"), file),
        "deflated_sharpe": _tested(report.of("deflated_sharpe_nifty50"), file),
        "alpha_p_value": Figure(
            observed=alpha.p_value,
            n=alpha.n,
            n_unit="sessions",
            evidence=file,
            reason=alpha.reason,
        ),
        "detectable_sharpe": _tested(report.of("detectable_sharpe"), file),
    }


def _resilience(reports: Reports) -> Figure:
    summary = reports.stress
    if summary is None:
        return _not_run(Stage.STRESS_TESTS)
    reason = None
    if summary.mean_resilience is None:
        reason = f"{summary.n_evaluated} crises replayed, none with all figures of resilience"
    elif summary.mean_lower is None:
        reason = "chance within a crisis cannot be told"
    return Figure(
        observed=summary.mean_resilience,
        lower=summary.mean_lower,
        upper=summary.mean_upper,
        n=summary.n_with_resilience,
        n_unit="crises",
        evidence=reports.stress_file,
        reason=reason,
    )


def _measured(figure: MeasuredFigure, n_unit: str, file: EvidenceRef | None) -> Figure:
    return Figure(
        observed=figure.value,
        lower=figure.lower,
        upper=figure.upper,
        n=figure.n,
        n_unit=n_unit,
        evidence=file,
        reason=figure.reason,
    )


def _tested(test: TestResult, file: EvidenceRef | None) -> Figure:
    return Figure(
        observed=test.estimate,
        lower=test.lower,
        upper=test.upper,
        n=test.n,
        n_unit="sessions",
        evidence=file,
        reason=test.reason,
    )


def _not_run(stage: Stage) -> Figure:
    return Figure(reason=f"stage {stage} left no report")
