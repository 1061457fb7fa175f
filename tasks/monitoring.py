"""The task that looks at a deployed model, and shows what it found on the run's page.

Belongs here: who looks, who is told, and what is shown. Does not belong here: the findings
(`sensequant.stages.monitoring`).
"""

from prefect import task

from blocks.environment import environment_now
from sensequant.release.alerts import in_words
from sensequant.release.deployment_records import EnvironmentName
from sensequant.release.monitoring import (
    Alert,
    Health,
    MonitorLimits,
    MonitorReport,
    RollbackOutcome,
)
from sensequant.stages.monitoring import monitor
from tasks.events import Happening, announce
from tasks.model_artifacts import show_findings
from tasks.telling import say, utc_now

__all__ = ["look_at_model"]


@task(task_run_name="look at {environment}")
def look_at_model(environment: EnvironmentName, limits: MonitorLimits) -> MonitorReport:
    """Look at the model of an environment, tell what is degraded, and keep the report."""
    env = environment_now()
    report = monitor(
        env.home, environment, limits, at=utc_now(), tell=_tell, registry=env.registry_url
    )
    show_findings(report)
    say(
        "model looked at",
        is_warning=report.health is Health.DEGRADED,
        environment=environment,
        run=report.run_id,
        health=report.health,
    )
    note = report.rollback
    if note is not None:
        is_done = note.outcome is RollbackOutcome.DONE
        say("automatic rollback", is_warning=is_done, outcome=note.outcome, words=note.words)
        if is_done:
            announce(Happening.ROLLED_BACK, subject=_subject(report), message=note.words)
    return report


def _tell(report: MonitorReport, alert: Alert) -> None:
    message = f"{report.run_id} in {report.environment}: {in_words(alert)}"
    if report.rollback is not None:
        message += f". Automatic rollback: {report.rollback.outcome}, {report.rollback.words}"
    announce(Happening.MODEL_DEGRADED, subject=_subject(report), message=message)


def _subject(report: MonitorReport) -> str:
    simulated = " (SIMULATED)" if report.is_simulated else ""
    return f"{report.environment}{simulated}"
