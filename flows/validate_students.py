"""Stage 4: what the students' scores were worth out of sample."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from sensequant.runs import Stage
from tasks.evidence import validate_scores
from tasks.runners import runner
from tasks.stages import open_stage

__all__ = ["validate_students"]


@flow(name="validate-students", flow_run_name="model validation {run_id}", task_runner=runner())
def validate_students(run_id: str) -> State[Any]:
    """Measure the scores and trade them in one portfolio, net of costs.

    Args:
        run_id: A run whose students are trained and scored.
    """
    with open_stage(run_id, Stage.MODEL_VALIDATION) as stage:
        stage.expect(1)
        stage.finish(lambda: validate_scores(run_id))
    return stage.state
