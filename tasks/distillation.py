"""Tasks of stage 3: one per student, then the run's out-of-sample predictions in one table."""

from prefect import task

from sensequant.runs import Stage
from sensequant.stages import distillation
from sensequant.stages.context import Findings, load_run
from tasks.units import UnitRef, do_unit, run_folder, unit_key

__all__ = ["gather_predictions", "train_student"]


@task(
    task_run_name="student {symbol} {window}",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key,
)
def train_student(run_id: str, symbol: str, window: str) -> UnitRef:
    """Distil the student of the windows up to this one and score it on the next."""
    folder = run_folder(run_id)
    return do_unit(
        folder,
        Stage.STUDENT_TRAINING,
        lambda: distillation.train_student_of(load_run(folder), symbol, window),
        kind="student",
        name=f"student {symbol} {window}",
        symbol=symbol,
        window=window,
    )


@task(task_run_name="gather predictions")
def gather_predictions(run_id: str) -> Findings:
    """Put the out-of-sample scores of all students into one table."""
    return distillation.gather(load_run(run_folder(run_id)))
