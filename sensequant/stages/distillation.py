"""Stage 3: the student of each window, and its scores on the window after it.

Belongs here: which teachers' rows reach a student, which rows it scores, where its files stand.
Does not belong here: distillation itself (`student`) and what the scores are worth (`evaluation`).

The student of window w learns from the teachers of all windows up to w of its symbol, and scores
window w+1 only. What it scores lies after the last session at which one of its labels was known.
"""

import shutil

import polars as pl

from sensequant.errors import DataError
from sensequant.features.registry import model_columns
from sensequant.records import Outcome, SkipReason, derive_seed
from sensequant.runs import UnitRecord
from sensequant.stages.context import Findings, Run
from sensequant.storage import (
    read_table,
    sha256_of,
    write_atomically,
    write_json,
    write_table,
)
from sensequant.student import train_student
from sensequant.student_file import PREDICTIONS_SCHEMA, OutOfSample, Student, score_out_of_sample
from sensequant.windows import Window, slice_window

__all__ = ["NOT_DONE_YET", "NoTeacherError", "gather", "train_student_of"]

NOT_DONE_YET = [
    "Rewards do not weight the samples yet.",
    "No student without a teacher is trained beside it; the gain from distillation is unknown.",
    "Scores are not calibrated; a score estimates the softened target, not a frequency.",
    "One student per symbol and window; a pooled student to deploy is not there yet.",
]


class NoTeacherError(DataError):
    """The window has no teacher, so there is nothing new to distil."""

    reason = SkipReason.NO_TEACHER


def train_student_of(run: Run, symbol: str, short: str) -> UnitRecord:
    """Distil the student of the windows up to this one, and score it on the next.

    Raises
    ------
    DataError
        The window has no teacher, or too little to learn from; its reason is the skip's.
    """
    windows = run.windows_of(symbol)
    place = next(i for i, window in enumerate(windows) if window.short == short)
    window = windows[place]
    folder = run.folder.student(window.label)
    # A window that is skipped this time must not keep the student of an earlier attempt.
    shutil.rmtree(folder, ignore_errors=True)
    taught = _taught(run, windows[: place + 1])
    rows = read_table(run.folder.rows(symbol))
    trained = train_student(
        _with_features(taught, rows),
        columns=model_columns(run.config.features),
        config=run.config.student,
        min_samples=run.config.windows.min_samples,
        seed=derive_seed(run.config.seed, "student", window.label),
        n_threads=1,
    )
    later = windows[place + 1 : place + 2]
    scored = _score(trained.student, rows, learnt=window, later=later)
    write_atomically(folder / "student.json", trained.student.to_text().encode())
    write_table(folder / "predictions.parquet", scored.predictions)
    metadata = folder / "metadata.json"
    write_json(metadata, trained.metadata)
    return UnitRecord(
        kind="student",
        name=f"student {symbol} {short}",
        symbol=symbol,
        window=short,
        outcome=Outcome.SUCCESS,
        counts={
            "n_rows": trained.metadata.counts.n_rows,
            "n_trained": trained.metadata.counts.n_trained,
            "n_positive": trained.metadata.counts.n_positive,
            "n_later_rows": scored.n_rows,
            "n_purged": scored.n_purged,
            "n_scored": scored.predictions.height,
        },
        path=metadata.relative_to(run.folder.root).as_posix(),
        sha256=sha256_of(metadata),
        seconds=0.0,
    )


def gather(run: Run) -> Findings:
    """Put the scores of all students into `predictions.parquet`.

    A symbol and session is scored once, because windows do not overlap.
    """
    folders = [run.folder.student(planned.window.label) for planned in run.windows]
    parts = [folder / "predictions.parquet" for folder in folders]
    parts = [part for part in parts if part.exists()]
    frames = [read_table(part) for part in parts] or [PREDICTIONS_SCHEMA.to_frame()]
    predictions = pl.concat(frames).sort("symbol", "session")
    write_table(run.folder.predictions, predictions)
    return Findings(
        values={
            "n_students": len(parts),
            "n_scored": predictions.height,
            "n_scored_with_label": int(predictions["label"].count()),
            "n_scored_windows": predictions["scored_window"].n_unique(),
            "first_scored": _text(predictions["session"].min()),
            "last_scored": _text(predictions["session"].max()),
        },
        not_done_yet=NOT_DONE_YET,
    )


def _taught(run: Run, windows: list[Window]) -> pl.DataFrame:
    tables = [run.folder.teacher(window.label) / "labels.parquet" for window in windows]
    if not tables[-1].exists():
        raise NoTeacherError(
            "window has no teacher",
            where=windows[-1].label,
            expected="a teacher trained on this window",
            found="none",
            remedy="the reason stands beside the window in teacher_runs.parquet",
        )
    return pl.concat([read_table(table) for table in tables if table.exists()])


def _with_features(taught: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    said = [name for name in taught.columns if name not in {"symbol", "session"}]
    features = rows.drop(said, strict=False)
    return taught.join(features, on=["symbol", "session"], how="left", maintain_order="left")


def _score(
    student: Student, rows: pl.DataFrame, *, learnt: Window, later: list[Window]
) -> OutOfSample:
    if not later:
        return OutOfSample(PREDICTIONS_SCHEMA.to_frame(), n_rows=0, n_purged=0)
    return score_out_of_sample(
        student,
        slice_window(rows, later[0]),
        trained_window=learnt.label,
        scored_window=later[0].label,
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
