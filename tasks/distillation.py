"""Tasks of stage 3: one per student, then the run's out-of-sample predictions in one table."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect import task

from sensequant.runs import Stage
from sensequant.stages import distillation
from sensequant.stages.context import Findings, Run, load_run
from tasks.units import UnitRef, do_unit, run_folder, unit_key

__all__ = ["gather_predictions", "train_student"]


def _reads_of_student(run: Run, given: Mapping[str, Any]) -> Iterator[Path | str]:
    yield run.folder.rows(given["symbol"])
    last = run.window(given["symbol"], given["window"]).window.end
    for window in run.windows_of(given["symbol"]):
        if window.start > last:
            # The next window is scored.
            yield window.label
            return
        yield run.folder.teacher(window.label) / "labels.parquet"


@task(
    task_run_name="student {symbol} {window}",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key(_reads_of_student),
)
def train_student(run_id: str, symbol: str, window: str) -> UnitRef:
    """Distil the student of the windows up to this one and score it on the next."""
    folder = run_folder(run_id)
    label = load_run(folder).window(symbol, window).window.label
    return do_unit(
        folder,
        Stage.STUDENT_TRAINING,
        lambda: distillation.train_student_of(load_run(folder), symbol, window),
        makes=[folder.student(label)],
        kind="student",
        name=f"student {symbol} {window}",
        symbol=symbol,
        window=window,
    )


@task(task_run_name="gather predictions")
def gather_predictions(run_id: str) -> Findings:
    """Put the out-of-sample scores of all students into one table."""
    return distillation.gather(load_run(run_folder(run_id)))
