"""Tasks of stage 2: features and labels of all symbols, then one task per window's teacher."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect import task

from sensequant.runs import Stage
from sensequant.stages import training
from sensequant.stages.context import Findings, Run, load_run
from sensequant.stages.model_evidence import teachers_by_window
from tasks.artifacts import show_teachers
from tasks.helping import trained
from tasks.units import UnitRef, do_unit, do_units, run_folder, unit_key

__all__ = ["describe_teachers", "prepare_rows", "train_teacher"]


def _reads_of_features(run: Run, _given: Mapping[str, Any]) -> Iterator[Path]:
    yield run.folder.plan
    yield run.folder.data
    yield from (run.folder.bars(symbol) for symbol in run.symbols)
    yield from (path for path in run.folder.indices if path.exists())


def _reads_of_teacher(run: Run, given: Mapping[str, Any]) -> Iterator[str]:
    yield training.teacher_key(run, given)


@task(
    task_run_name="features and labels",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key(_reads_of_features),
)
def prepare_rows(run_id: str) -> UnitRef:
    """Compute features and labels of all symbols once, over their whole history."""
    folder = run_folder(run_id)
    run = load_run(folder)
    return do_units(
        folder,
        Stage.TEACHER_TRAINING,
        lambda: training.prepare_rows(run),
        makes=[folder.all_rows, folder.reward_returns],
        kind="features",
        name="features and labels",
    )


@task(
    task_run_name="teacher {symbol} {window}",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key(_reads_of_teacher),
)
def train_teacher(run_id: str, symbol: str, window: str) -> UnitRef:
    """Train the teacher of one window, or say why there is none."""
    folder = run_folder(run_id)
    run = load_run(folder)
    return do_unit(
        folder,
        Stage.TEACHER_TRAINING,
        lambda: trained("teacher", run, symbol, window),
        makes=[folder.teacher(run.window(symbol, window).window.label)],
        key=lambda: training.teacher_key(run, {"symbol": symbol, "window": window}),
        kind="teacher",
        name=f"teacher {symbol} {window}",
        symbol=symbol,
        window=window,
    )


@task(task_run_name="describe teachers")
def describe_teachers(run_id: str) -> Findings:
    """Sum up what the teachers were trained on."""
    run = load_run(run_folder(run_id))
    show_teachers(run_id, teachers_by_window(run))
    return training.describe(run)
