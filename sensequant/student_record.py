"""The one JSON text that a student is: its fields, its seal, and the first checks of a text.

Belongs here: what stands in the text, and whether it is the text that was written. Does not belong
here: the model inside and scoring (`student_file`).

The text is one line. Its last field is the digest of every character before it, so that a text
that was altered anywhere is refused before its numbers mean anything.
"""

import datetime as dt
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue

from sensequant.boosting import Floats
from sensequant.errors import DigestMismatchError, RecordError, SchemaVersionError, StorageError
from sensequant.features.registry import FeatureConfig
from sensequant.logistic import LogisticModel
from sensequant.records import Finite, Record, finite_or_none
from sensequant.student_calibration import Calibration
from sensequant.student_config import StudentKind
from sensequant.student_drift import ColumnBins
from sensequant.student_novelty import NoveltyReference

__all__ = [
    "StudentFile",
    "StudentSample",
    "read_student_record",
    "read_student_text",
    "recorded_sample",
    "sealed",
    "student_text",
]

_SCHEMA_VERSION = 2
_SAMPLE_ROWS = 8
_MAX_BYTES = 256 * 1024 * 1024
_SEAL = re.compile(r',"content_sha256":"([0-9a-f]{64})"\}\Z')


class StudentSample(Record):
    """A few rows with what the student said of them when it was made; None is missing."""

    inputs: tuple[tuple[Finite | None, ...], ...]
    scores: tuple[Finite, ...]
    probabilities: tuple[Finite | None, ...]


class StudentFile(Record):
    """All that a student is, as it lies on disk.

    Attributes
    ----------
    kind
        Which model it is.
    columns, features
        Feature columns in the model's order, and the settings that build them from bars.
    model_text, logistic, model_sha256
        LightGBM's text or the coefficients, by kind, and the digest of the one that is there.
    mean_target
        Weighted mean of what the model was fitted to; scores are relative to it.
    calibration
        From scores to probabilities.
    novelty, novelty_limit
        What the training rows looked like, and how unlike them a row may be.
    drift
        Bins of the training rows, one record per column.
    trained_through, trained_through_number
        Last `label_end` among the rows of its teachers: nothing up to there is out of sample.
    expires_on
        Last session that the student may score.
    label_settings
        What label 1 means, as the caller stated it.
    training_rows_sha256, config_digest, seed, code_version
        Of the training.
    score_definition, probability_definition
        What the two estimate.
    sample
        Rows that a loaded student must score as it did when it was made.
    content_sha256
        Digest of the text before it.
    """

    schema_version: int = _SCHEMA_VERSION
    kind: StudentKind
    columns: tuple[str, ...]
    features: FeatureConfig
    model_text: str | None
    logistic: LogisticModel | None
    model_sha256: str
    mean_target: Finite
    calibration: Calibration
    novelty: NoveltyReference
    novelty_limit: Finite
    drift: tuple[ColumnBins, ...]
    trained_through: dt.date
    trained_through_number: int
    expires_on: dt.date
    label_settings: dict[str, JsonValue]
    training_rows_sha256: str
    config_digest: str
    seed: int
    code_version: str
    score_definition: str
    probability_definition: str
    sample: StudentSample
    content_sha256: str


def student_text(file: StudentFile) -> str:
    """Return the text of a sealed student."""
    return f'{_body(file)},"content_sha256":"{file.content_sha256}"}}'


def read_student_text(path: Path) -> str:
    """Return the text of a student's file, byte for byte.

    Raises
    ------
    StorageError
        The file cannot be read.
    RecordError
        It is too large, or no UTF-8.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _no_student(f"{path.stat().st_size} bytes")
        # Bytes, because reading as text would mend line ends that were changed.
        return path.read_bytes().decode()
    except OSError as error:
        raise StorageError(
            "student cannot be read",
            where=str(path),
            found=str(error),
            remedy="check the path and the permissions",
        ) from error
    except UnicodeDecodeError as error:
        raise _no_student(str(error)) from error


def read_student_record(text: str) -> StudentFile:
    """Read what a text says, once it is the text that was written.

    Raises
    ------
    RecordError
        The text is no student.
    SchemaVersionError
        It was written with another layout.
    DigestMismatchError
        It is not the one that was written.
    """
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
        _verify_seal(text)
        return StudentFile.model_validate_json(text)
    except (ValueError, AttributeError, RecursionError) as error:
        raise _no_student(str(error).splitlines()[0]) from error


def recorded_sample(features: Floats, scores: Floats, probabilities: Floats) -> StudentSample:
    """Return a few rows, spread evenly, with what the student says of them.

    Parameters
    ----------
    features
        Shape (n_rows, n_columns) with at least one row; NaN is missing.
    scores, probabilities
        Shape (n_rows,); NaN for no probability.
    """
    picked = np.unique(np.linspace(0, len(scores) - 1, _SAMPLE_ROWS).astype(np.intp))
    return StudentSample(
        inputs=tuple(tuple(map(finite_or_none, row)) for row in features[picked].tolist()),
        scores=tuple(scores[picked].tolist()),
        probabilities=tuple(map(finite_or_none, probabilities[picked].tolist())),
    )


def sealed(file: StudentFile) -> StudentFile:
    """Return the file with the digest of its content."""
    return file.model_copy(update={"content_sha256": _sha256(_body(file))})


def _body(file: StudentFile) -> str:
    return file.model_dump_json(exclude={"content_sha256"}).removesuffix("}")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _no_student(found: str) -> RecordError:
    return RecordError(
        "text is no student",
        where="student",
        expected="a JSON text that Student.to_text wrote",
        found=found,
        remedy="restore the file from the run that wrote it",
    )


def _verify_seal(text: str) -> None:
    seal = _SEAL.search(text)
    if seal is None:
        raise _no_student("no digest of its content at its end")
    found = _sha256(text[: seal.start()])
    if found != seal[1]:
        raise DigestMismatchError(
            "student is not the one that was written",
            where="content_sha256",
            expected=seal[1],
            found=found,
            remedy="restore the file from the run that wrote it",
        )
