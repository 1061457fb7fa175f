"""A student loads only as it was written, and scores only what it never saw."""

import datetime as dt
import hashlib
import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import (
    DigestMismatchError,
    LeakageError,
    RecordError,
    SchemaVersionError,
    SenseQuantError,
)
from sensequant.student import StudentConfig, train_student
from sensequant.student_file import (
    PREDICTIONS_SCHEMA,
    Student,
    StudentFile,
    load_student,
    score_out_of_sample,
    sealed,
)

_COLUMNS = ["momentum", "range", "volume"]
_FIRST = dt.date(2021, 1, 1)


def _rows(n: int = 120, start: int = 0, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 3))
    label = (features[:, 0] + rng.normal(size=n) > 0).astype(np.int8)
    features[rng.random(features.shape) < 0.2] = np.nan
    numbers = range(start, start + n)
    return pl.DataFrame(
        {
            "symbol": ["TEST"] * n,
            "session": [_FIRST + dt.timedelta(i) for i in numbers],
            "session_number": pl.Series(numbers, dtype=pl.Int32),
            "label_end": [_FIRST + dt.timedelta(i + 7) for i in numbers],
            "label_end_number": pl.Series([i + 7 for i in numbers], dtype=pl.Int32),
            "label": label,
            "forward_return": np.where(label == 1, 0.02, -0.01),
            "teacher_probability": 0.3 + 0.4 * label,
            **{name: pl.Series(features[:, i]).fill_nan(None) for i, name in enumerate(_COLUMNS)},
        }
    )


_STUDENT = train_student(
    _rows(), columns=_COLUMNS, config=StudentConfig(), min_samples=20, seed=1, n_threads=1
).student
_TEXT = _STUDENT.to_text()


def _scored(rows: pl.DataFrame, student: Student = _STUDENT) -> Any:
    return score_out_of_sample(
        student, rows, trained_window="TEST_a_to_b", scored_window="TEST_c_to_d"
    )


def _changed(**fields: Any) -> str:
    return json.dumps({**json.loads(_TEXT), **fields})


def _resealed(**fields: Any) -> str:
    file = sealed(StudentFile.model_validate_json(_changed(**fields)))
    return file.model_dump_json()


def test_text_and_back_is_identity() -> None:
    """What is loaded is what was written, and scores the same bits."""
    loaded = load_student(_TEXT)
    rows = _rows(start=500, seed=3)

    assert loaded.file == _STUDENT.file
    assert loaded.to_text() == _TEXT
    np.testing.assert_array_equal(loaded.score(rows), _STUDENT.score(rows, n_threads=3))


def test_columns_are_taken_by_name() -> None:
    """Other columns and another order change nothing; a missing column is named."""
    rows = _rows(start=500, seed=3)
    shuffled = rows.select(reversed(rows.columns)).with_columns(extra=pl.lit("x"))

    np.testing.assert_array_equal(_STUDENT.score(rows), _STUDENT.score(shuffled))
    with pytest.raises(RecordError, match="volume"):
        _STUDENT.score(rows.drop("volume"))


def test_the_sample_holds_missing_features() -> None:
    """Null stays null in the recorded inputs, so that missing values are verified too."""
    sample = _STUDENT.file.sample

    assert len(sample.inputs) == len(sample.scores) == 8
    assert any(value is None for row in sample.inputs for value in row)
    assert sample.inputs[0] == _rows().select(_COLUMNS).row(0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("trained_through", "2019-01-01"),
        ("trained_through_number", 3),
        ("columns", ["range", "momentum", "volume"]),
        ("seed", 7),
        ("config_digest", ""),
        ("score_definition", "certainty"),
        ("model_text", _STUDENT.file.model_text.replace("leaf_value=", "leaf_value=1", 1)),
        ("model_sha256", "0" * 64),
        ("content_sha256", "0" * 64),
    ],
)
def test_an_edited_field_is_refused(field: str, value: object) -> None:
    """No part of a student can be changed without its digest noticing."""
    with pytest.raises(DigestMismatchError, match="not the one that was written"):
        load_student(_changed(**{field: value}))


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("model_sha256", "0" * 64, DigestMismatchError),
        ("columns", ["range", "momentum", "volume"], RecordError),
        ("sample", {"inputs": [], "scores": []}, RecordError),
        ("sample", {"inputs": [[1.0, 2.0]], "scores": [0.5]}, RecordError),
        ("sample", {"inputs": [[1.0, 2.0, 3.0]], "scores": [0.5, 0.5]}, RecordError),
        ("sample", {"inputs": [[1.0, 2.0, 3.0]], "scores": [0.123456]}, DigestMismatchError),
    ],
)
def test_a_forger_with_the_right_digest_is_refused(
    field: str, value: object, error: type[SenseQuantError]
) -> None:
    """Model, columns and sample must still agree with one another."""
    with pytest.raises(error) as caught:
        load_student(_resealed(**{field: value}))

    assert "not the one that was written" not in caught.value.what or field == "model_sha256"


def test_a_model_of_no_sound_structure_is_refused() -> None:
    """Even with right digests, LightGBM never sees it."""
    forged = _STUDENT.file.model_text.replace("left_child=", "left_child=9", 1)
    digest = hashlib.sha256(forged.encode()).hexdigest()

    with pytest.raises(RecordError, match="not sound"):
        load_student(_resealed(model_text=forged, model_sha256=digest))


def test_scores_that_moved_are_noticed() -> None:
    """A model that scores the sample differently by 1e-9 is not the one that was written."""
    sample = _STUDENT.file.sample
    scores = [score + 1e-9 for score in sample.scores]
    moved = sample.model_copy(update={"scores": tuple(scores)}).model_dump()

    with pytest.raises(DigestMismatchError, match="recorded sample"):
        load_student(_resealed(sample=moved))


def test_another_layout_is_refused() -> None:
    """A later schema version asks for the code that reads it."""
    with pytest.raises(SchemaVersionError):
        load_student(_changed(schema_version=2))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "[" * 10000, _changed(extra=1), _changed(seed="x")]
)
def test_something_else_is_refused(text: str) -> None:
    """What is no student is a record error, not a traceback from the parser."""
    with pytest.raises(RecordError):
        load_student(text)


@given(st.integers(min_value=0, max_value=len(_TEXT) - 3))
def test_a_truncated_text_is_refused(length: int) -> None:
    """Whatever the length at which it was cut."""
    with pytest.raises(RecordError):
        load_student(_TEXT[:length])


def test_predictions_are_of_later_sessions_only() -> None:
    """Labels were seen through session 126: rows 100 to 126 are dropped and counted."""
    rows = _rows(n=60, start=100, seed=5)
    result = _scored(rows.sample(fraction=1.0, shuffle=True, seed=1))
    predictions = result.predictions

    assert predictions.schema == PREDICTIONS_SCHEMA
    assert (result.n_rows, result.n_purged, predictions.height) == (60, 27, 33)
    assert predictions["session_number"].to_list() == list(range(127, 160))
    assert predictions["session"].min() > _STUDENT.file.trained_through  # pyright: ignore[reportOptionalOperand, reportOperatorIssue]
    assert set(predictions["trained_window"]) == {"TEST_a_to_b"}
    assert set(predictions["scored_window"]) == {"TEST_c_to_d"}
    np.testing.assert_array_equal(
        predictions["score"].to_numpy(), _STUDENT.score(rows.filter(pl.col("session_number") > 126))
    )


def test_rows_without_an_outcome_are_scored() -> None:
    """What is not yet known stays null beside its score."""
    rows = _rows(n=10, start=300).with_columns(
        label=pl.lit(None, dtype=pl.Int8), forward_return=pl.lit(None, dtype=pl.Float64)
    )
    predictions = _scored(rows).predictions

    assert predictions["label"].null_count() == predictions["forward_return"].null_count() == 10
    assert predictions["score"].null_count() == 0


def test_a_window_that_was_seen_whole_has_no_predictions() -> None:
    """All rows are purged, and that is an answer."""
    result = _scored(_rows())

    assert (result.n_purged, result.predictions.height) == (120, 0)
    assert result.predictions.schema == PREDICTIONS_SCHEMA


@pytest.mark.parametrize("date", [_FIRST + dt.timedelta(126), dt.date(2020, 5, 5), None])
def test_a_row_that_is_later_by_number_only_is_leakage(date: dt.date | None) -> None:
    """Number and date must agree that a session is later; equality is not later."""
    rows = _rows(n=3, start=127).with_columns(session=pl.lit(date, dtype=pl.Date))

    with pytest.raises(LeakageError):
        _scored(rows)


def test_scoring_names_a_missing_column() -> None:
    """The rows of predictions need the places in the calendar."""
    with pytest.raises(RecordError, match="label_end_number"):
        _scored(_rows().drop("label_end_number"))
