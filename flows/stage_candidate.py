"""An approved candidate goes to staging, where its scores are watched and nothing is traded."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from sensequant.release.deployment_records import DeploymentKind
from sensequant.release.limits import PromotionLimits
from tasks.promotion import move_candidate

__all__ = ["stage_candidate"]


@flow(name="stage-candidate", flow_run_name="stage {run_id}")
def stage_candidate(
    run_id: str,
    by: Annotated[str, Field(min_length=1)],
    reason: Annotated[str, Field(min_length=1)],
    limits: PromotionLimits = PromotionLimits(),
) -> State[Any]:
    """Put the model of an approved candidate into staging.

    Args:
        run_id: A run whose candidate is approved.
        by: Your name; it stands in the history.
        reason: Why, in your own words.
        limits: What must hold.
    """
    done = move_candidate(run_id, DeploymentKind.STAGE, by, reason, limits)
    return Completed(message=f"{run_id} stands in staging, deployment {done.number} by {by}")
