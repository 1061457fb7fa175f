"""Stage 2: one teacher per symbol and window, with out-of-fold probabilities."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from sensequant.runs import Stage
from tasks.plans import failure_limit, planned_symbols, planned_windows
from tasks.runners import runner
from tasks.stages import open_stage
from tasks.training import describe_teachers, prepare_rows, train_teacher

__all__ = ["train_teachers"]


@flow(name="train-teachers", flow_run_name="teacher training {run_id}", task_runner=runner())
def train_teachers(run_id: str) -> State[Any]:
    """Compute features and labels per symbol, then train a teacher per window.

    Args:
        run_id: A run whose bars are ingested.
    """
    with open_stage(run_id, Stage.TEACHER_TRAINING) as stage:
        symbols, windows = planned_symbols(run_id), planned_windows(run_id)
        stage.expect(len(symbols) + len(windows.names))
        prepared = stage.collect(prepare_rows.map(run_id, symbols))
        teachers = stage.collect(train_teacher.map(run_id, windows.symbols, windows.names))
        stage.finish(
            lambda: describe_teachers(run_id),
            units=[*prepared, *teachers],
            kind="teacher",
            max_failure_rate=failure_limit(run_id),
        )
    return stage.state
