"""Stage 3: the student of each window, its variants, and its scores on the next window.

Belongs here: which rows a student learns from and scores, and where its files stand. Does not
belong here: the student and its scoring (`student`, `student_file`), rewards (`reward`), what the
scores are worth (`stages.students_evidence`, `evaluation`).

The student of window w learns from the teachers of all windows up to w, and scores window w+1
only. What it scores lies after the last session at which one of its labels was known. It learns
from its own symbol, or from all symbols at once under the name `POOLED`. The settings say whose
scores are the evidence; those of the other scope stand beside them, to be compared.

Variants of one student, all scored on the same rows: `unweighted` (A) and `weighted` by rewards
(B), of which the settings deploy one, and `without_teacher`, which learns from hard labels alone.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from sensequant.errors import DataError
from sensequant.features.registry import model_columns
from sensequant.records import (
    Outcome,
    SkipReason,
    code_version,
    derive_seed,
    digest_of,
    explain_skip,
    frame_digest,
)
from sensequant.reward import REWARDS_SCHEMA, reward_decisions, sample_weights
from sensequant.stages.context import Run, shared_table
from sensequant.stages.opening import library_versions
from sensequant.stages.training import (
    WEIGHT,
    digest_of_rows,
    planned_teachers,
    threads_for,
    window_rows,
)
from sensequant.stages.tried import note_fit
from sensequant.storage import (
    json_bytes,
    sha256_of,
    sha256_of_bytes,
    table_bytes,
    write_together,
)
from sensequant.student import Lesson, TrainedStudent, train_student
from sensequant.student_config import StudentConfig
from sensequant.student_file import PREDICTIONS_SCHEMA, OutOfSample, score_out_of_sample
from sensequant.teacher import TEACHER_ROWS_SCHEMA
from sensequant.units import UnitRecord
from sensequant.windows import POOLED, Window

__all__ = [
    "UNWEIGHTED",
    "WEIGHTED",
    "WITHOUT_TEACHER",
    "NoTeacherError",
    "is_evidence",
    "planned_students",
    "student_key",
    "train_student_of",
]

UNWEIGHTED, WEIGHTED, WITHOUT_TEACHER = "unweighted", "weighted", "without_teacher"
"""Names of the variants, and endings of their columns in the predictions."""

_SCORES = ("score", "probability")
_KEYS = ("symbol", "session")


class NoTeacherError(DataError):
    """The window has no teacher, so there is nothing new to distil."""

    reason = SkipReason.NO_TEACHER


@dataclass(frozen=True, slots=True)
class _Task:
    """One student to make: whose, after which window, from which windows so far."""

    run: Run
    symbol: str
    windows: list[Window]
    place: int

    @property
    def window(self) -> Window:
        return self.windows[self.place]

    @property
    def later(self) -> Window | None:
        return self.windows[self.place + 1] if self.place + 1 < len(self.windows) else None


def planned_students(run: Run) -> list[Window]:
    """Return every window that is to have a student, in the order of time.

    At each time the student of all symbols comes first, because it takes longest.
    """
    windows = [*run.pooled_windows, *(planned.window for planned in run.windows)]
    return sorted(windows, key=lambda window: window.index)


def is_evidence(run: Run, symbol: str) -> bool:
    """Return whether the scores of this symbol's (or the `POOLED`) students are the evidence."""
    return (symbol == POOLED) == (run.config.student.scope == POOLED)


def train_student_of(run: Run, symbol: str, short: str) -> UnitRecord:
    """Distil the student of the windows up to this one, and score it on the next.

    Parameters
    ----------
    run
        The run.
    symbol
        Whose rows it learns from, or `POOLED` for those of all symbols.
    short
        First and last day of the window.

    Raises
    ------
    DataError
        The window has no teacher, or too little to learn from; its reason is the skip's.
    """
    task = _task(run, symbol, short)
    folder = run.folder.student(task.window.label)
    # A window that is skipped this time must not keep the student of an earlier attempt.
    shutil.rmtree(folder, ignore_errors=True)
    lessons = _lessons(task)
    note_fit(run)
    variants = _train_variants(task, lessons)
    deployed = variants[_deployed_name(task)]
    predictions, scored = _score(task, variants)
    metadata, text = folder / "metadata.json", json_bytes(deployed.metadata)
    told = {name: trained.metadata.model_dump(mode="json") for name, trained in variants.items()}
    write_together(
        {
            folder / "student.json": deployed.student.to_text().encode(),
            folder / "predictions.parquet": table_bytes(predictions),
            folder / "variants.json": json_bytes(told),
            # The metadata come last: a folder that holds them is complete.
            metadata: text,
        }
    )
    return UnitRecord(
        kind="student",
        name=f"student {symbol} {short}",
        symbol=symbol,
        window=short,
        outcome=Outcome.SUCCESS,
        counts={
            "n_rows": deployed.metadata.counts.n_rows,
            "n_trained": deployed.metadata.counts.n_trained,
            "n_positive": deployed.metadata.counts.n_positive,
            "n_later_rows": scored.n_rows,
            "n_purged": scored.n_purged,
            "n_novel": scored.n_novel,
            "n_expired": scored.n_expired,
            "n_scored": predictions["score"].count(),
        },
        path=metadata.relative_to(run.folder.root).as_posix(),
        sha256=sha256_of_bytes(text),
        seconds=0.0,
    )


def student_key(run: Run, given: Mapping[str, Any]) -> str:
    """Return the digest of all that a student and its scores follow from.

    Equal keys give equal files, in whichever run.

    Parameters
    ----------
    run
        The run.
    given
        `symbol` and `window` of the unit.
    """
    task = _task(run, given["symbol"], given["window"])
    config, later = run.config, task.later
    return digest_of(
        {
            "unit": f"student {task.window.label}",
            "lessons": [sha256_of(path) for path in _lesson_tables(task)],
            "rows": [digest_of_rows(run, window) for window in task.windows[: task.place + 1]],
            "later": None if later is None else [later, digest_of_rows(run, later)],
            "decisions": [sha256_of(path) for path in _earlier_predictions(task)],
            "returns": _digest_of_returns(task),
            "features": config.features,
            "labels": config.labels,
            "student": config.student,
            "reward": config.reward,
            "windows": config.windows,
            "is_evidence": is_evidence(run, task.symbol),
            "seed": config.seed,
            "code": code_version(),
            "libraries": library_versions(),
        }
    )


def _task(run: Run, symbol: str, short: str) -> _Task:
    windows = run.windows_of(symbol)
    place = next(i for i, window in enumerate(windows) if window.short == short)
    return _Task(run, symbol, windows, place)


def _deployed_name(task: _Task) -> str:
    is_weighted = task.run.config.reward.is_deployed and is_evidence(task.run, task.symbol)
    return WEIGHTED if is_weighted else UNWEIGHTED


def _lesson_tables(task: _Task) -> list[Path]:
    return [
        path
        for window in planned_teachers(task.run)
        if window.index <= task.window.index and _concerns(window, task.symbol)
        if (path := task.run.folder.teacher(window.label) / "labels.parquet").exists()
    ]


def _concerns(window: Window, symbol: str) -> bool:
    return symbol == POOLED or window.symbol in {symbol, POOLED}


def _lessons(task: _Task) -> pl.DataFrame:
    """Return what the teachers said of every row so far, with the features of the rows."""
    tables = [shared_table(path) for path in _lesson_tables(task)]
    taught = pl.concat([TEACHER_ROWS_SCHEMA.to_frame(), *tables])
    if task.symbol != POOLED:
        taught = taught.filter(pl.col("symbol") == task.symbol)
    if not (taught["session"] >= task.window.start).any():
        raise NoTeacherError(
            explain_skip(SkipReason.NO_TEACHER).rstrip("."),
            where=task.window.label,
            expected="a teacher trained on this window",
            found="none",
            remedy="the reason stands beside the window in teacher_runs.parquet",
        )
    return taught.sort("session_number", "symbol").join(
        _features_until(task), on=_KEYS, how="left", maintain_order="left"
    )


def _known_through(task: _Task) -> tuple[date, int]:
    """Return the last label end that any teacher knew, whosever row it was."""
    ends = [
        table.select(pl.col("label_end", "label_end_number").sort_by("label_end_number").last())
        for table in map(shared_table, _lesson_tables(task))
    ]
    last, number = pl.concat(ends).sort("label_end_number").row(-1)
    return last, number


def _features_until(task: _Task) -> pl.DataFrame:
    run, last = task.run, task.window.end
    symbols = run.symbols if task.symbol == POOLED else [task.symbol]
    tables = [shared_table(path) for path in map(run.folder.rows, symbols) if path.exists()]
    columns = [*_KEYS, *model_columns(run.config.features)]
    return pl.concat([table.filter(pl.col("session") <= last).select(columns) for table in tables])


def _train_variants(task: _Task, lessons: pl.DataFrame) -> dict[str, TrainedStudent]:
    config = task.run.config.student
    if not is_evidence(task.run, task.symbol):
        # What only stands beside the evidence is compared by its ranks; they need no calibration.
        return {UNWEIGHTED: _train(task, lessons, config.uncalibrated())}
    variants = {
        UNWEIGHTED: _train(task, lessons, config),
        WITHOUT_TEACHER: _train(task, lessons, config.without_teacher()),
    }
    if task.run.config.reward.mode != "none":
        variants[WEIGHTED] = _train(task, _rewarded(task, lessons), config)
    return variants


def _train(task: _Task, lessons: pl.DataFrame, config: StudentConfig) -> TrainedStudent:
    run = task.run
    return train_student(
        lessons,
        lesson=Lesson(
            columns=model_columns(run.config.features),
            features=run.config.features,
            label_settings=run.config.labels.model_dump(mode="json"),
            weight_column=WEIGHT,
            teachers_known_through=_known_through(task),
        ),
        config=config,
        min_samples=run.config.windows.min_samples,
        # One seed for all variants: what differs between them is what they are named by.
        seed=derive_seed(run.config.seed, "student", task.window.label),
        n_threads=threads_for(run, lessons.height),
    )


def _rewarded(task: _Task, lessons: pl.DataFrame) -> pl.DataFrame:
    windows = task.windows[: task.place + 1]
    starts = pl.DataFrame(
        {
            "session": [window.start for window in windows],
            "window": [window.label for window in windows],
            "age_windows": [task.place - place for place in range(len(windows))],
        }
    )
    rows = lessons.select("symbol", "session").join_asof(starts, on="session")
    weights = sample_weights(
        rows,
        _earlier_decisions(task),
        trained_at_number=int(lessons["label_end_number"].sort()[-1]),
        config=task.run.config.reward,
    )
    return lessons.with_columns(pl.col(WEIGHT) * weights)


def _earlier_predictions(task: _Task) -> list[Path]:
    # The student of the window before scored this one; what that earned is known too late for all
    # of its rows, so the decisions of the students before it count.
    earlier = task.windows[: max(task.place - 1, 0)]
    paths = (task.run.folder.student(window.label) / "predictions.parquet" for window in earlier)
    return [path for path in paths if path.exists()]


def _earlier_decisions(task: _Task) -> pl.DataFrame:
    tables = [shared_table(path) for path in _earlier_predictions(task)]
    if not tables:
        return REWARDS_SCHEMA.to_frame()
    returns = shared_table(task.run.folder.reward_returns)
    return reward_decisions(pl.concat(tables), returns, task.run.config.reward)


def _digest_of_returns(task: _Task) -> str | None:
    if not is_evidence(task.run, task.symbol) or not task.run.folder.reward_returns.exists():
        return None
    returns = shared_table(task.run.folder.reward_returns)
    known = returns.filter(pl.col("session") <= task.window.end)
    if task.symbol != POOLED:
        known = known.filter(pl.col("symbol") == task.symbol)
    return frame_digest(known)


def _score(task: _Task, variants: Mapping[str, TrainedStudent]) -> tuple[pl.DataFrame, OutOfSample]:
    """Return the deployed variant's predictions, with the scores of every variant beside them."""
    scored = {name: _score_one(task, trained) for name, trained in variants.items()}
    deployed = scored[_deployed_name(task)]
    beside = [
        each.predictions.select(pl.col(name).alias(f"{name}_{variant}") for name in _SCORES)
        for variant, each in scored.items()
    ]
    return pl.concat([deployed.predictions, *beside], how="horizontal"), deployed


def _score_one(task: _Task, trained: TrainedStudent) -> OutOfSample:
    later = task.later
    if later is None:
        nothing = PREDICTIONS_SCHEMA.to_frame()
        return OutOfSample(nothing, n_rows=0, n_purged=0)
    return score_out_of_sample(
        trained.student,
        window_rows(task.run, later),
        trained_window=task.window.label,
        scored_window=later.label,
    )
