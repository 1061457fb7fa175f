"""The student as it is loaded and scores rows that it never saw.

Belongs here: the checks before a student may score, scoring, the schema of predictions. Does not
belong here: the text itself (`student_record`), training (`student`), bars of new sessions
(`prediction`), files of unknown origin (`foreign_student`), measures of scores (`evaluation`).

Conventions: scores lie in [0, 1], larger meaning more likely label 1, one half as likely as usual;
a probability is one of label 1; null features are missing. A row is out of sample when its session
comes after every `label_end` that the student or one of its teachers has seen. A student is silent
about a row that is unlike all it was trained on (`novel`), or that comes after its last day
(`expired`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from sensequant.boosting import Floats, Predictor, feature_matrix, load_booster
from sensequant.errors import DigestMismatchError, LeakageError, RecordError
from sensequant.logistic import LogisticModel
from sensequant.model_text import verify_digest
from sensequant.records import digest_of
from sensequant.student_model import Scorer
from sensequant.student_record import (
    StudentFile,
    read_student_record,
    read_student_text,
    student_text,
)

__all__ = [
    "PREDICTIONS_SCHEMA",
    "OutOfSample",
    "Student",
    "load_student",
    "read_student",
    "require_columns",
    "score_out_of_sample",
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
        "probability": pl.Float64,
        "novelty": pl.Float64,
        "reason": pl.String,
        "label": pl.Int8,
        "forward_return": pl.Float64,
    }
)
"""One row per out-of-sample decision; score and probability are null where there is a reason."""

_JUDGED = ("score", "probability", "novelty", "reason")
_MADE_HERE = ("trained_window", "scored_window", *_JUDGED)
_SAMPLE_TOLERANCE = 1e-12
_REASONS = np.array([None, "novel", "expired"])
_USABLE, _NOVEL, _EXPIRED = range(3)


@dataclass(frozen=True, slots=True)
class Student:
    """A student ready to score; safe to share between threads."""

    file: StudentFile
    scorer: Scorer

    def score(self, frame: pl.DataFrame, *, n_threads: int = 1) -> Floats:
        """Return the score of each row, shape (n_rows,), of novel and expired ones too.

        What the model would say, for questions such as stress tests; `judge` says what counts.

        Raises
        ------
        RecordError
            A feature column is missing; the message names it.
        """
        matrix = feature_matrix(frame, self.file.columns)
        return self.scorer.score(matrix, n_threads=n_threads)

    def judge(self, frame: pl.DataFrame, *, n_threads: int = 1) -> pl.DataFrame:
        """Score rows, and say of which the student cannot speak.

        Parameters
        ----------
        frame
            session (Date) and the feature columns; null features are missing.
        n_threads
            Threads to use.

        Returns
        -------
        polars.DataFrame
            score, probability, novelty (Float64) and reason (String), one row each, in order.
            Score and probability are null where the reason is `novel` or `expired`; all
            probabilities are null if the student is not calibrated.

        Raises
        ------
        RecordError
            A column is missing; the message names it.
        """
        require_columns(frame, ["session"])
        matrix = feature_matrix(frame, self.file.columns)
        scores = self.scorer.score(matrix, n_threads=n_threads)
        novelty = self.file.novelty.novelty(matrix)
        # A row without a single value has nothing that could be scored.
        is_novel = (novelty > self.file.novelty_limit) | np.isnan(matrix).all(axis=1)
        is_expired = frame["session"].cast(pl.Date).to_numpy() > np.datetime64(self.file.expires_on)
        place = np.where(is_expired, _EXPIRED, np.where(is_novel, _NOVEL, _USABLE))
        is_silent = place != _USABLE
        said = {
            "score": np.where(is_silent, np.nan, scores),
            "probability": np.where(is_silent, np.nan, self.file.calibration.probability(scores)),
            "novelty": novelty,
        }
        return pl.DataFrame(
            [
                *(pl.Series(name, values, nan_to_null=True) for name, values in said.items()),
                pl.Series("reason", _REASONS[place].tolist(), dtype=pl.String),
            ]
        )

    def to_text(self) -> str:
        """Return the student as one JSON text, which `load_student` reads."""
        return student_text(self.file)


@dataclass(frozen=True, slots=True)
class OutOfSample:
    """Rows of a later window (`PREDICTIONS_SCHEMA`), and how many the student did not score.

    `n_purged` rows were seen and are not among the predictions; `n_novel` and `n_expired` are
    among them, without a score.
    """

    predictions: pl.DataFrame
    n_rows: int
    n_purged: int
    n_novel: int = 0
    n_expired: int = 0


def read_student(path: Path, *, sha256: str | None = None) -> Student:
    """Load a student from a file of this project's own making; errors as `load_student`.

    Raises
    ------
    StorageError
        The file cannot be read.
    """
    return load_student(read_student_text(path), sha256=sha256)


def load_student(text: str, *, sha256: str | None = None) -> Student:
    """Load a student from its text, once everything about it is verified.

    Parameters
    ----------
    text
        What `Student.to_text` returned.
    sha256
        Digest that a manifest promises for the text; None if there is none to compare with.

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
    if sha256 is not None:
        verify_digest(text, sha256=sha256)
    file = read_student_record(text)
    _verify_widths(file)
    student = Student(file, Scorer(file.columns, _load_model(file), file.mean_target))
    _verify_sample(student)
    return student


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
    predictions = pl.concat(
        [later.select(given), student.judge(later, n_threads=n_threads)], how="horizontal"
    ).with_columns(trained_window=pl.lit(trained_window), scored_window=pl.lit(scored_window))
    return OutOfSample(
        predictions=predictions.select(
            pl.col(name).cast(dtype) for name, dtype in PREDICTIONS_SCHEMA.items()
        ),
        n_rows=rows.height,
        n_purged=rows.height - later.height,
        n_novel=predictions.filter(reason="novel").height,
        n_expired=predictions.filter(reason="expired").height,
    )


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


def _load_model(file: StudentFile) -> Predictor | LogisticModel:
    if file.kind == "boosted" and file.model_text is not None and file.logistic is None:
        predictor = load_booster(file.model_text, sha256=file.model_sha256)
        if predictor.columns != file.columns:
            raise RecordError(
                "student and its model name different columns",
                where="columns",
                expected=", ".join(predictor.columns),
                found=", ".join(file.columns),
            )
        return predictor
    if file.kind == "logistic" and file.logistic is not None and file.model_text is None:
        found = digest_of(file.logistic)
        if found != file.model_sha256:
            raise DigestMismatchError(
                "coefficients are not those that their digest names",
                where="logistic",
                expected=file.model_sha256,
                found=found,
            )
        return file.logistic
    raise RecordError(
        "student does not hold the one model of its kind",
        where="kind",
        expected="model_text if boosted, logistic if logistic, and not the other",
        found=file.kind,
    )


def _verify_widths(file: StudentFile) -> None:
    width = len(file.columns)
    widths = {
        "novelty": len(file.novelty.median),
        "drift": len(file.drift),
        "logistic": width if file.logistic is None else len(file.logistic.coefficient),
    }
    wrong = [name for name, found in widths.items() if found != width]
    if wrong or len(set(file.columns)) != width or not width:
        raise RecordError(
            "student does not describe each of its columns",
            where=", ".join(wrong) or "columns",
            expected=f"{width} different columns, each described once",
            found=", ".join(f"{name} {widths[name]}" for name in wrong),
        )


def _verify_sample(student: Student) -> None:
    file = student.file
    sample, width = file.sample, len(file.columns)
    n_rows = len(sample.inputs)
    is_whole = n_rows == len(sample.scores) == len(sample.probabilities) > 0
    if not is_whole or any(len(row) != width for row in sample.inputs):
        raise RecordError(
            "student records no whole sample",
            where="sample",
            expected=f"rows of {width} inputs, one score and one probability each",
            found=f"{n_rows} rows, {len(sample.scores)} scores",
        )
    scores = student.scorer.score(np.array(sample.inputs, dtype=np.float64), n_threads=1)
    recorded = np.array([sample.scores, sample.probabilities], dtype=np.float64)
    found = np.array([scores, file.calibration.probability(scores)])
    if not np.allclose(found, recorded, rtol=0, atol=_SAMPLE_TOLERANCE, equal_nan=True):
        raise DigestMismatchError(
            "student does not score its recorded sample as it did",
            where="sample",
            expected=f"differences up to {_SAMPLE_TOLERANCE}",
            found=str(float(np.nanmax(np.abs(found - recorded), initial=0.0))),
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
