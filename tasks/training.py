"""Tasks of stage 2: one per symbol's features and labels, one per window's teacher."""

from prefect import task

from sensequant.runs import Stage
from sensequant.stages import training
from sensequant.stages.context import Findings, load_run
from tasks.units import UnitRef, do_unit, run_folder, unit_key

__all__ = ["describe_teachers", "prepare_rows", "train_teacher"]


@task(
    task_run_name="features {symbol}",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key,
)
def prepare_rows(run_id: str, symbol: str) -> UnitRef:
    """Compute one symbol's features and labels once, over its whole history."""
    folder = run_folder(run_id)
    return do_unit(
        folder,
        Stage.TEACHER_TRAINING,
        lambda: training.prepare_rows(load_run(folder), symbol),
        kind="features",
        name=f"features {symbol}",
        symbol=symbol,
    )


@task(
    task_run_name="teacher {symbol} {window}",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key,
)
def train_teacher(run_id: str, symbol: str, window: str) -> UnitRef:
    """Train the teacher of one window, or say why there is none."""
    folder = run_folder(run_id)
    return do_unit(
        folder,
        Stage.TEACHER_TRAINING,
        lambda: training.train_window(load_run(folder), symbol, window),
        kind="teacher",
        name=f"teacher {symbol} {window}",
        symbol=symbol,
        window=window,
    )


@task(task_run_name="describe teachers")
def describe_teachers(run_id: str) -> Findings:
    """Sum up what the teachers were trained on."""
    return training.describe(load_run(run_folder(run_id)))
