"""Stage 3: one student per symbol and window, scored on the window after it."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from sensequant.runs import Stage
from tasks.distillation import gather_predictions, train_student
from tasks.plans import failure_limit, planned_windows
from tasks.runners import runner
from tasks.stages import open_stage

__all__ = ["train_students"]


@flow(name="train-students", flow_run_name="student training {run_id}", task_runner=runner())
def train_students(run_id: str) -> State[Any]:
    """Distil a student from the teachers up to each window, and score it on the next window.

    Args:
        run_id: A run whose teachers are trained.
    """
    with open_stage(run_id, Stage.STUDENT_TRAINING) as stage:
        windows = planned_windows(run_id)
        stage.expect(len(windows.names))
        students = stage.collect(train_student.map(run_id, windows.symbols, windows.names))
        stage.finish(
            lambda: gather_predictions(run_id),
            units=students,
            kind="student",
            max_failure_rate=failure_limit(run_id),
        )
    return stage.state
