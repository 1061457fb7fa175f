"""Stage 7: the page that a person decides from, and the candidate's entry in the registry."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from sensequant.runs import Stage
from tasks.release import write_briefing
from tasks.runners import runner
from tasks.stages import open_stage

__all__ = ["brief_promotion"]


@flow(name="brief-promotion", flow_run_name="promotion briefing {run_id}", task_runner=runner())
def brief_promotion(run_id: str) -> State[Any]:
    """Write the briefing and record the candidate.

    Args:
        run_id: A run that was audited, or one that failed; of such a one the briefing is partial.
    """
    with open_stage(run_id, Stage.PROMOTION_BRIEFING) as stage:
        stage.expect(1)
        stage.finish(lambda: write_briefing(run_id))
    return stage.state
