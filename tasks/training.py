"""Tasks of stage 2: one per symbol's features and labels, one per window's teacher."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect import task

from sensequant.runs import Stage
from sensequant.stages import training
from sensequant.stages.context import Findings, Run, load_run
from tasks.units import UnitRef, do_unit, run_folder, unit_key

__all__ = ["describe_teachers", "prepare_rows", "train_teacher"]


def _reads_of_features(run: Run, given: Mapping[str, Any]) -> Iterator[Path]:
    yield run.folder.bars(given["symbol"])


def _reads_of_teacher(run: Run, given: Mapping[str, Any]) -> Iterator[Path | str]:
    yield run.folder.rows(given["symbol"])
    yield str(run.window(given["symbol"], given["window"]).skip)


@task(
    task_run_name="features {symbol}",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key(_reads_of_features),
)
def prepare_rows(run_id: str, symbol: str) -> UnitRef:
    """Compute one symbol's features and labels once, over its whole history."""
    folder = run_folder(run_id)
    return do_unit(
        folder,
        Stage.TEACHER_TRAINING,
        lambda: training.prepare_rows(load_run(folder), symbol),
        makes=[folder.rows(symbol)],
        kind="features",
        name=f"features {symbol}",
        symbol=symbol,
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
    label = load_run(folder).window(symbol, window).window.label
    return do_unit(
        folder,
        Stage.TEACHER_TRAINING,
        lambda: training.train_window(load_run(folder), symbol, window),
        makes=[folder.teacher(label)],
        kind="teacher",
        name=f"teacher {symbol} {window}",
        symbol=symbol,
        window=window,
    )


@task(task_run_name="describe teachers")
def describe_teachers(run_id: str) -> Findings:
    """Sum up what the teachers were trained on."""
    return training.describe(load_run(run_folder(run_id)))
