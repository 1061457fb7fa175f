"""The student as it lies on disk, is loaded, and scores rows that it never saw.

Belongs here: the one JSON text that is a student, the checks before it may score, the schema of
predictions. Does not belong here: training (`student`) and measures of scores (`evaluation`).

Conventions: scores lie in [0, 1], larger meaning more likely label 1; null features are missing.
A row is out of sample when its session comes after every `label_end` that the student or one of
its teachers has seen.
"""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sensequant.boosting import Floats, Predictor, feature_matrix, load_booster, predict
from sensequant.errors import DigestMismatchError, LeakageError, RecordError, SchemaVersionError
from sensequant.records import Finite, Record, digest_of, finite_or_none

__all__ = [
    "PREDICTIONS_SCHEMA",
    "OutOfSample",
    "Student",
    "StudentFile",
    "StudentSample",
    "load_student",
    "recorded_sample",
    "require_columns",
    "score_out_of_sample",
    "sealed",
]

PREDICTIONS_SCHEMA = pl.Schema(
    {
        "symbol": pl.String,
        "session": pl.Date,
        "session_number": pl.Int32,
        "label_end": pl.Date,
        "label_end_number": pl.Int32,
        "trained_window": pl.String,
        "scored_window": pl.String,
        "score": pl.Float64,
        "label": pl.Int8,
        "forward_return": pl.Float64,
    }
)
"""One row per out-of-sample decision."""

_MADE_HERE = ("trained_window", "scored_window", "score")
_SCHEMA_VERSION = 1
_SAMPLE_ROWS = 8
_SAMPLE_TOLERANCE = 1e-12


class StudentSample(Record):
    """A few rows with the scores they had when the student was made; None is a missing feature."""

    inputs: tuple[tuple[Finite | None, ...], ...]
    scores: tuple[Finite, ...]


class StudentFile(Record):
    """All that a student is, as it lies on disk.

    Attributes
    ----------
    columns
        Feature columns, in the model's order.
    model_text, model_sha256
        LightGBM's text and the digest of its bytes.
    trained_through, trained_through_number
        Last `label_end` among the rows of its teachers: nothing up to there is out of sample.
    config_digest, seed
        Of the training.
    score_definition
        What a score estimates.
    sample
        Rows that a loaded student must score as it did when it was made.
    content_sha256
        Digest of all other fields.
    """

    columns: tuple[str, ...]
    model_text: str
    model_sha256: str
    trained_through: dt.date
    trained_through_number: int
    config_digest: str
    seed: int
    score_definition: str
    sample: StudentSample
    content_sha256: str


@dataclass(frozen=True, slots=True)
class Student:
    """A student ready to score; safe to share between threads."""

    file: StudentFile
    predictor: Predictor

    def score(self, frame: pl.DataFrame, *, n_threads: int = 1) -> Floats:
        """Return the score of each row, shape (n_rows,); null features are missing.

        Raises
        ------
        RecordError
            A feature column is missing; the message names it.
        """
        matrix = feature_matrix(frame, self.file.columns)
        return predict(self.predictor, matrix, n_threads=n_threads)

    def to_text(self) -> str:
        """Return the student as one JSON text, which `load_student` reads."""
        return json.dumps(self.file.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"


@dataclass(frozen=True, slots=True)
class OutOfSample:
    """Scored rows (`PREDICTIONS_SCHEMA`), and how many rows the student had seen."""

    predictions: pl.DataFrame
    n_rows: int
    n_purged: int


def load_student(text: str) -> Student:
    """Load a student from its text, once everything about it is verified.

    Raises
    ------
    RecordError
        The text is no student, or its model has no sound structure.
    SchemaVersionError
        It was written with another layout.
    DigestMismatchError
        A part is not the one that was written, or the model does not score the recorded sample as
        it did (to 1e-12).
    """
    file = _read_file(text)
    found = _content_digest(file)
    if found != file.content_sha256:
        raise DigestMismatchError(
            "student is not the one that was written",
            where="content_sha256",
            expected=file.content_sha256,
            found=found,
            remedy="restore the file from the run that wrote it",
        )
    predictor = load_booster(file.model_text, sha256=file.model_sha256)
    if predictor.columns != file.columns:
        raise RecordError(
            "student and its model name different columns",
            where="columns",
            expected=", ".join(predictor.columns),
            found=", ".join(file.columns),
        )
    _verify_sample(file, predictor)
    return Student(file, predictor)


def score_out_of_sample(
    student: Student,
    rows: pl.DataFrame,
    *,
    trained_window: str,
    scored_window: str,
    n_threads: int = 1,
) -> OutOfSample:
    """Score the rows of a later window that lie after everything the student has seen.

    Parameters
    ----------
    student
        The student.
    rows
        Rows of the window with features; label and forward return may be null. Rows at or before
        the student's last `label_end` are dropped and counted.
    trained_window, scored_window
        Labels of the last window learnt from and of this one.
    n_threads
        Threads to use.

    Raises
    ------
    LeakageError
        A row that counts as later by its number is not later by its date.
    RecordError
        A column is missing.
    """
    given = [name for name in PREDICTIONS_SCHEMA if name not in _MADE_HERE]
    require_columns(rows, given)
    later = rows.filter(pl.col("session_number") > student.file.trained_through_number)
    _require_unseen(later, student.file)
    later = later.sort("session_number", "symbol")
    predictions = later.select(
        *(pl.col(name) for name in given),
        trained_window=pl.lit(trained_window),
        scored_window=pl.lit(scored_window),
        score=pl.Series(student.score(later, n_threads=n_threads), dtype=pl.Float64),
    )
    return OutOfSample(
        predictions=predictions.select(
            pl.col(name).cast(dtype) for name, dtype in PREDICTIONS_SCHEMA.items()
        ),
        n_rows=rows.height,
        n_purged=rows.height - later.height,
    )


def recorded_sample(features: Floats, scores: Floats) -> StudentSample:
    """Return a few rows, spread evenly, with their scores.

    Parameters
    ----------
    features
        Shape (n_rows, n_columns) with at least one row; NaN is missing.
    scores
        Shape (n_rows,).
    """
    picked = np.unique(np.linspace(0, len(scores) - 1, _SAMPLE_ROWS).astype(np.intp))
    return StudentSample(
        inputs=tuple(tuple(map(finite_or_none, row)) for row in features[picked].tolist()),
        scores=tuple(scores[picked].tolist()),
    )


def sealed(file: StudentFile) -> StudentFile:
    """Return the file with the digest of its content."""
    return file.model_copy(update={"content_sha256": _content_digest(file)})


def require_columns(rows: pl.DataFrame, names: Sequence[str]) -> None:
    """Refuse rows that lack a column.

    Raises
    ------
    RecordError
        A column is missing; the message names it.
    """
    missing = [name for name in names if name not in rows.columns]
    if missing:
        raise RecordError(
            "rows lack what a student needs",
            where=", ".join(missing),
            expected=", ".join(names),
            found=", ".join(rows.columns),
        )


def _content_digest(file: StudentFile) -> str:
    return digest_of(file.model_dump(mode="json", exclude={"content_sha256"}))


def _read_file(text: str) -> StudentFile:
    try:
        content: Any = json.loads(text)
        version = content.get("schema_version")
        if version != _SCHEMA_VERSION:
            raise SchemaVersionError(
                "student was written with another layout",
                where="schema_version",
                expected=str(_SCHEMA_VERSION),
                found=str(version),
                remedy="train it again with this version of sensequant",
            )
        return StudentFile.model_validate_json(text)
    except (ValueError, AttributeError, RecursionError) as error:
        raise RecordError(
            "text is no student",
            where="student",
            expected="a JSON text that Student.to_text wrote",
            found=str(error).splitlines()[0],
            remedy="restore the file from the run that wrote it",
        ) from error


def _verify_sample(file: StudentFile, predictor: Predictor) -> None:
    width = len(file.columns)
    sample = file.sample
    is_whole = len(sample.inputs) == len(sample.scores) > 0
    if not is_whole or any(len(row) != width for row in sample.inputs):
        raise RecordError(
            "student records no whole sample",
            where="sample",
            expected=f"rows of {width} inputs, one score each",
            found=f"{len(sample.inputs)} rows, {len(sample.scores)} scores",
        )
    scores = predict(predictor, np.array(sample.inputs, dtype=np.float64), n_threads=1)
    difference = float(np.abs(scores - np.array(sample.scores)).max())
    if difference > _SAMPLE_TOLERANCE:
        raise DigestMismatchError(
            "student does not score its recorded sample as it did",
            where="sample",
            expected=f"differences up to {_SAMPLE_TOLERANCE}",
            found=str(difference),
            remedy="use the LightGBM version that it was trained with, or train it again",
        )


def _require_unseen(later: pl.DataFrame, file: StudentFile) -> None:
    seen = later.filter(pl.col("session").is_null() | (pl.col("session") <= file.trained_through))
    if seen.height:
        raise LeakageError(
            "a row to score is not later than what the student has seen",
            where=f"{seen['symbol'][0]} {seen['session'][0]}, session {seen['session_number'][0]}",
            expected=f"a session after {file.trained_through}, {file.trained_through_number}",
            found=f"{seen.height} rows",
            remedy="build session numbers and dates from one calendar",
        )
