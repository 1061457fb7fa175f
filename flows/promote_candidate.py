"""A model that stood in staging long enough goes to production."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from sensequant.release.deployment_records import DeploymentKind
from sensequant.release.limits import PromotionLimits
from tasks.promotion import move_candidate

__all__ = ["promote_candidate"]


@flow(name="promote-candidate", flow_run_name="promote {run_id}")
def promote_candidate(
    run_id: str,
    by: Annotated[str, Field(min_length=1)],
    reason: Annotated[str, Field(min_length=1)],
    limits: PromotionLimits = PromotionLimits(),
) -> State[Any]:
    """Put the model that stands in staging into production.

    Args:
        run_id: The run whose model stands in staging.
        by: Your name; it stands in the history.
        reason: Why, in your own words.
        limits: What must hold.
    """
    done = move_candidate(run_id, DeploymentKind.PROMOTE, by, reason, limits)
    return Completed(message=f"{run_id} stands in production, deployment {done.number} by {by}")
