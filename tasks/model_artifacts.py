"""What a person reads on the page of a run that looked at models: findings, checks, comparisons.

Belongs here: turning those records into tables. Does not belong here: any figure that is not in a
record, and making artifacts (`tasks.artifacts`).
"""

from typing import Any

from sensequant.evaluation.figures import Figure
from sensequant.release.contest import ContestReport
from sensequant.release.deployment_records import Readiness, ShadowValidation
from sensequant.release.monitoring import MonitorReport
from tasks.artifacts import show_table

__all__ = ["show_contest", "show_findings", "show_readiness"]


def show_findings(report: MonitorReport) -> None:
    """Show everything that was looked at of a deployed model."""
    show_table(
        "findings",
        table=[
            {
                "finding": each.name,
                "health": each.health.value,
                "expected": each.expected,
                "found": each.found,
            }
            for each in report.findings
        ],
        description=f"{report.run_id} in {report.environment}: {report.health}",
    )
    if not report.alerts:
        return
    show_table(
        "alerts",
        table=[
            {
                "alert": each.name,
                "since": str(each.since),
                "session hours": f"{each.session_hours:.2f}",
                "observations": str(each.n_observations),
                "limit": each.limit,
                "figure": "none" if each.figure is None else _with_interval(each.figure),
                "told now": "yes" if each.is_told else "no, it was told before",
            }
            for each in report.alerts
        ],
        description="automatic rollback: "
        + ("off" if report.rollback is None else report.rollback.words),
    )


def show_contest(report: ContestReport) -> None:
    """Show every difference of challengers and champion, and who could not be compared."""
    table = [
        {
            "model": each.run_id,
            "figure": delta.name,
            "champion": delta.reference,
            "this model": delta.candidate,
            "difference": _with_interval(delta.difference),
        }
        for each in report.challengers
        if each.comparison is not None
        for delta in each.comparison.deltas
    ]
    table += [
        {
            "model": each.run_id,
            "figure": "none",
            "champion": "none",
            "this model": "none",
            "difference": each.reason,
        }
        for each in report.challengers
        if each.reason is not None
    ]
    simulated = " (SIMULATED)" if report.is_simulated else ""
    show_table(
        "contest",
        table=table,
        description=f"models beside {report.champion.run_id} of {report.environment}{simulated}, "
        f"{report.first_session} to {report.last_session}: this model minus the champion",
    )


def show_readiness(found: Readiness) -> None:
    """Show every check of a move between environments, and what the shadow found."""
    show_table(
        "readiness",
        table=[
            {
                "check": check.name,
                "outcome": "pass" if check.is_passed else "fail",
                "expected": check.expected,
                "found": check.found,
            }
            for check in found.checks
        ],
        description=f"checks before {found.kind} of {found.run_id} to {found.environment}",
    )
    if found.shadow is not None:
        show_table(
            "shadow",
            table=(
                {"figure": name, "value": value} for name, value in _shadow(found.shadow).items()
            ),
            description=f"scores of {found.run_id} on the bars since it was staged",
        )


def _shadow(found: ShadowValidation) -> dict[str, Any]:
    figures = {
        "AUC": found.auc,
        "precision": found.precision,
        "hit rate": found.hit_rate,
        "Brier score": found.brier_score,
    }
    return {
        "since": found.since,
        "first session": found.first_session,
        "last session": found.last_session,
        "sessions": found.n_sessions,
        "rows": found.n_rows,
        "scored": found.n_scored,
        "too far from what was learnt": found.n_novel,
        "after the student's expiry": found.n_expired,
        "with an outcome": found.n_realised,
        **{name: _with_interval(figure) for name, figure in figures.items()},
    }


def _with_interval(figure: Figure) -> str:
    if figure.value is None or figure.lower is None or figure.upper is None:
        return f"{figure.value}, n {figure.n}: {figure.reason}"
    return f"{figure.value:.4f} [{figure.lower:.4f}, {figure.upper:.4f}], n {figure.n}"
