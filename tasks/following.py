"""Starting a deployment by one of its schedules, whether that is on or off.

Belongs here: finding what the schedule asks for, and starting it once. Does not belong here: when
it is due (`sensequant.recent`), and what starts this (`deployments/automations.yaml`).
"""

from datetime import date, datetime

from prefect import task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from sensequant.errors import ConfigError
from tasks.telling import say

__all__ = ["start_scheduled"]


@task(task_run_name="start {slug} of {deployment}")
def start_scheduled(deployment: str, slug: str, session: date, at: datetime) -> str:
    """Start a deployment as one of its schedules would, once for a session; return the run's name.

    Parameters
    ----------
    deployment
        As flow/deployment.
    slug
        Name of the schedule.
    session
        The session that it follows; asking twice starts one run.
    at
        Aware instant for which the run counts as scheduled; it says which bars are asked for.

    Raises
    ------
    ConfigError
        There is no such deployment, or it has no such schedule.
    """
    with get_client(sync_client=True) as client:
        found = _find(client, deployment)
        schedules = {each.slug: each for each in found.schedules}
        if slug not in schedules:
            raise ConfigError(
                "deployment has no such schedule",
                where=deployment,
                expected=slug,
                found=", ".join(str(name) for name in schedules) or "none",
                remedy="run `sensequant deploy`",
            )
        started = client.create_flow_run_from_deployment(
            found.id,
            parameters=schedules[slug].parameters,
            # Started late, it must still end with this session.
            state=Scheduled(scheduled_time=at),
            idempotency_key=f"{deployment} {slug} {session}",
        )
    say("training started", deployment=deployment, schedule=slug, flow_run=str(started.id))
    return started.name


def _find(client: SyncPrefectClient, deployment: str) -> DeploymentResponse:
    try:
        return client.read_deployment_by_name(deployment)
    except ObjectNotFound as error:
        raise ConfigError(
            "deployment is missing",
            where=deployment,
            expected="a deployment of this server, as flow/deployment",
            found="none of this name",
            remedy="run `sensequant deploy`, or correct the parameter",
        ) from error
