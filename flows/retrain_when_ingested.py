"""What follows on the ingestion of a session: the training that is due after it, if any."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import Field

from sensequant.ingestion.ranges import last_closed_session
from sensequant.market.sessions import nse_calendar
from sensequant.recent import due_after
from tasks.following import start_scheduled
from tasks.telling import say

__all__ = ["retrain_when_ingested"]


@flow(name="retrain-when-ingested", flow_run_name="retrain when ingested: {deployment}")
def retrain_when_ingested(
    deployment: Annotated[
        str,
        Field(pattern=r"^[^/]+/[^/]+$", description="The training to start, as flow/deployment."),
    ] = "scheduled-retraining/retrain-nifty100",
) -> State[Any]:
    """Start the training that is due after the last closed session; Skipped where none is.

    Its range and settings are those of the schedule of the same name, on or off.

    Args:
        deployment: The training to start, as flow/deployment.
    """
    scheduled = flow_run.get_scheduled_start_time()
    session = last_closed_session(nse_calendar(), scheduled)
    due = due_after(session, nse_calendar())
    if due is None:
        reason = f"{session} is not the last session of its week"
        say("nothing is due", reason=reason)
        return Completed(name="Skipped", message=reason)
    started = start_scheduled(deployment, due, session, scheduled)
    return Completed(message=f"{due} training after {session}: {started}")
