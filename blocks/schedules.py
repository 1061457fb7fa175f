"""What the server's scheduler has planned.

Belongs here: asking for it. Does not belong here: the schedules themselves (`prefect.yaml`).
"""

from datetime import UTC, datetime, timedelta

from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse

from blocks.clients import Client

__all__ = ["unplanned"]

_PLANS_WITHIN = timedelta(minutes=5)
"""Time in which the scheduler of a busy server has planned the runs of a schedule."""

_SCHEDULED = FlowRunFilter(
    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
)


def unplanned(client: Client) -> list[str]:
    """Return the deployments with a schedule that is on, and for which no run is planned."""
    settled_at = datetime.now(UTC) - _PLANS_WITHIN
    return [
        deployment.name
        for deployment in client.read_deployments()
        if _is_on_since(deployment, settled_at) and not _has_a_run_ahead(client, deployment)
    ]


def _is_on_since(deployment: DeploymentResponse, instant: datetime) -> bool:
    changed_at = [each.updated for each in deployment.schedules if each.active]
    return not deployment.paused and any(at is not None and at <= instant for at in changed_at)


def _has_a_run_ahead(client: Client, deployment: DeploymentResponse) -> bool:
    of_deployment = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    return bool(
        client.read_flow_runs(flow_run_filter=_SCHEDULED, deployment_filter=of_deployment, limit=1)
    )
