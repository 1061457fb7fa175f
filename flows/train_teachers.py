"""Stage 2: features and labels, then one teacher per window, with out-of-fold probabilities."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from sensequant.runs import Stage
from tasks.helping import N_WAITING, helping
from tasks.known import known_windows
from tasks.plans import failure_limit, planned_teachers
from tasks.runners import runner, submit
from tasks.shards import spread_windows
from tasks.stages import open_stage
from tasks.submission import submit_windows
from tasks.training import describe_teachers, prepare_rows
from tasks.watching import watching_gpus

__all__ = ["train_teachers"]


@flow(
    name="train-teachers",
    flow_run_name="teacher training {run_id}",
    task_runner=runner(n_waiting=N_WAITING),
)
def train_teachers(run_id: str) -> State[Any]:
    """Compute features and labels of all symbols, then train a teacher per window.

    Args:
        run_id: A run whose bars are ingested.
    """
    with open_stage(run_id, Stage.TEACHER_TRAINING) as stage:
        windows = planned_teachers(run_id)
        stage.expect(1 + len(windows.names))
        with helping(run_id, Stage.TEACHER_TRAINING, windows) as settle:
            prepared = stage.collect([submit(prepare_rows, run_id)])
            with watching_gpus(run_id):
                known = known_windows(run_id, Stage.TEACHER_TRAINING, windows)
                spread = spread_windows(run_id, Stage.TEACHER_TRAINING, known.left)
                stage.count([*known.records, *spread.records])
                settle(spread.left)
                submitted = submit_windows(run_id, Stage.TEACHER_TRAINING, spread.left)
                teachers = stage.collect(submitted)
        stage.finish(
            lambda: spread.add_to(describe_teachers(run_id)),
            units=[*prepared, *known.records, *spread.records, *teachers],
            kind="teacher",
            max_failure_rate=failure_limit(run_id),
        )
    return stage.state
