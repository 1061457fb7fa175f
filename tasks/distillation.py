"""Tasks of stage 3: one per student, then the run's out-of-sample predictions in one table."""

from collections.abc import Iterator, Mapping
from typing import Any

from prefect import task

from sensequant.runs import Stage
from sensequant.stages import distillation, students_evidence
from sensequant.stages.context import Findings, Run, load_run
from tasks.artifacts import show_comparisons
from tasks.helping import trained
from tasks.units import UnitRef, do_unit, run_folder, unit_key

__all__ = ["gather_predictions", "train_student"]


def _reads_of_student(run: Run, given: Mapping[str, Any]) -> Iterator[str]:
    yield distillation.student_key(run, given)


@task(
    task_run_name="student {symbol} {window}",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key(_reads_of_student),
)
def train_student(run_id: str, symbol: str, window: str) -> UnitRef:
    """Distil the student of the windows up to this one and score it on the next."""
    folder = run_folder(run_id)
    run = load_run(folder)
    return do_unit(
        folder,
        Stage.STUDENT_TRAINING,
        lambda: trained("student", run, symbol, window),
        makes=[folder.student(run.window(symbol, window).window.label)],
        key=lambda: distillation.student_key(run, {"symbol": symbol, "window": window}),
        kind="student",
        name=f"student {symbol} {window}",
        symbol=symbol,
        window=window,
    )


@task(task_run_name="gather predictions")
def gather_predictions(run_id: str) -> Findings:
    """Put the out-of-sample scores of all students into one table, and compare their variants."""
    run = load_run(run_folder(run_id))
    found = students_evidence.gather(run)
    show_comparisons(run_id, students_evidence.read_comparisons(run))
    return found
