"""An environment goes back to the model that stood there before."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from sensequant.release.deployment_records import EnvironmentName
from tasks.promotion import put_back

__all__ = ["roll_back"]


@flow(name="roll-back", flow_run_name="roll back {environment}")
def roll_back(
    by: Annotated[str, Field(min_length=1)],
    reason: Annotated[str, Field(min_length=1)],
    environment: EnvironmentName = EnvironmentName.PRODUCTION,
) -> State[Any]:
    """Put back the model that stood in an environment before the present one.

    Args:
        by: Your name; it stands in the history.
        reason: Why, in your own words.
        environment: Where.
    """
    done = put_back(environment, by, reason)
    return Completed(message=f"{done.run_id} stands in {environment} again, by {by}")
