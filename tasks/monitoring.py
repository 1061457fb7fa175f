"""The task that looks at a deployed model, and shows what it found on the run's page.

Belongs here: who looks, and what is shown. Does not belong here: the findings
(`sensequant.stages.monitoring`).
"""

from prefect import task

from blocks.environment import environment_now
from sensequant.release.deployment_records import EnvironmentName
from sensequant.release.monitoring import Health, MonitorLimits, MonitorReport
from sensequant.stages.monitoring import monitor
from tasks.artifacts import show_findings
from tasks.telling import say, utc_now

__all__ = ["look_at_model"]


@task(task_run_name="look at {environment}")
def look_at_model(environment: EnvironmentName, limits: MonitorLimits) -> MonitorReport:
    """Look at the model of an environment, and keep the report."""
    env = environment_now()
    report = monitor(env.home, environment, limits, at=utc_now(), registry=env.registry_url)
    show_findings(report)
    say(
        "model looked at",
        is_warning=report.health is Health.DEGRADED,
        environment=environment,
        run=report.run_id,
        health=report.health,
    )
    return report
