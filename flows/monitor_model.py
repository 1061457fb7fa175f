"""The model of an environment is looked at: what it said since, and what that was worth."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from sensequant.release.deployment_records import EnvironmentName
from sensequant.release.monitoring import Health, MonitorLimits, RollbackOutcome
from tasks.monitoring import look_at_model

__all__ = ["monitor_model"]


@flow(name="monitor-model", flow_run_name="monitor {environment}")
def monitor_model(
    environment: EnvironmentName = EnvironmentName.PRODUCTION,
    limits: MonitorLimits = MonitorLimits(),
) -> State[Any]:
    """Look at the model of an environment; ends as Degraded where a finding says so.

    Where it is switched on, a degradation that is confirmed puts the former model back; the run
    then ends as Rolled back.

    Args:
        environment: Whose model.
        limits: From where on it counts as degraded, and what follows.
    """
    report = look_at_model(environment, limits)
    note = report.rollback
    if note is not None and note.outcome is RollbackOutcome.DONE:
        return Completed(name="Rolled back", message=note.words)
    names = {Health.DEGRADED: "Degraded", Health.UNKNOWN: "Too early to tell"}
    bad = [each.name for each in report.findings if each.health is Health.DEGRADED]
    return Completed(
        name=names.get(report.health),
        message=f"{report.run_id}: {', '.join(bad) or report.health.value}",
    )
