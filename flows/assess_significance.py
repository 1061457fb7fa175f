"""Stage 5: whether chance or the market explains the net returns."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from sensequant.runs import Stage
from tasks.evidence import assess_returns
from tasks.runners import runner
from tasks.stages import open_stage

__all__ = ["assess_significance"]


@flow(name="assess-significance", flow_run_name="statistical tests {run_id}", task_runner=runner())
def assess_significance(run_id: str) -> State[Any]:
    """Test the net returns of the portfolio against chance and against NIFTY 50.

    Args:
        run_id: A run whose scores are validated.
    """
    with open_stage(run_id, Stage.STATISTICAL_TESTS) as stage:
        stage.expect(1)
        stage.finish(lambda: assess_returns(run_id))
    return stage.state
