"""Stage 3: one student per window, scored on the window after it."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from sensequant.runs import Stage
from tasks.distillation import gather_predictions
from tasks.helping import N_WAITING, helping
from tasks.known import known_windows
from tasks.plans import failure_limit, planned_students
from tasks.runners import runner
from tasks.shards import spread_windows
from tasks.stages import open_stage
from tasks.submission import submit_windows
from tasks.watching import watching_gpus

__all__ = ["train_students"]


@flow(
    name="train-students",
    flow_run_name="student training {run_id}",
    task_runner=runner(n_waiting=N_WAITING),
)
def train_students(run_id: str) -> State[Any]:
    """Distil a student from the teachers up to each window, and score it on the next window.

    Args:
        run_id: A run whose teachers are trained.
    """
    with open_stage(run_id, Stage.STUDENT_TRAINING) as stage:
        windows = planned_students(run_id)
        stage.expect(len(windows.names))
        with helping(run_id, Stage.STUDENT_TRAINING, windows) as settle, watching_gpus(run_id):
            known = known_windows(run_id, Stage.STUDENT_TRAINING, windows)
            spread = spread_windows(run_id, Stage.STUDENT_TRAINING, known.left)
            stage.count([*known.records, *spread.records])
            settle(spread.left)
            submitted = submit_windows(run_id, Stage.STUDENT_TRAINING, spread.left)
            students = stage.collect(submitted)
        stage.finish(
            lambda: spread.add_to(gather_predictions(run_id)),
            units=[*known.records, *spread.records, *students],
            kind="student",
            max_failure_rate=failure_limit(run_id),
        )
    return stage.state
