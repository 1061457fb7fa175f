"""Give an end to what crashed runs left behind, so that nothing is shown as Running for ever."""

import time
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import Field

from tasks.telling import utc_now
from tasks.tidying import SETTLE_SECONDS, tidy

__all__ = ["tidy_runs"]


@flow(name="tidy-runs", flow_run_name="tidy runs")
def tidy_runs(
    wait_seconds: Annotated[float, Field(ge=0, le=3600)] = SETTLE_SECONDS,
) -> State[Any]:
    """End stages and tasks whose run is over; whatever is under way is left alone.

    Args:
        wait_seconds: Seconds to let pass since it was asked for, because what tasks did is written
            down with a lag.
    """
    passed = utc_now() - flow_run.get_scheduled_start_time()
    # After several crashes at once the later ones have waited in the queue.
    time.sleep(max(0.0, wait_seconds - passed.total_seconds()))
    tidied = tidy()
    return Completed(
        message=f"{tidied.n_flow_runs} flow runs and {tidied.n_task_runs} task runs ended"
    )
