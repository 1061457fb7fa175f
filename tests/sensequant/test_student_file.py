"""A student loads only as it was written, and scores only what it never saw."""

import datetime as dt
import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensequant.errors import (
    DigestMismatchError,
    LeakageError,
    RecordError,
    SchemaVersionError,
    SenseQuantError,
    StorageError,
)
from sensequant.features.registry import FeatureConfig
from sensequant.records import Record
from sensequant.student import Lesson, StudentConfig, train_student
from sensequant.student_file import (
    PREDICTIONS_SCHEMA,
    Student,
    load_student,
    read_student,
    score_out_of_sample,
)
from sensequant.student_record import StudentFile, sealed, student_text

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


def _trained(config: StudentConfig) -> Student:
    lesson = Lesson(_COLUMNS, FeatureConfig())
    return train_student(
        _rows(), lesson=lesson, config=config, min_samples=20, seed=1, n_threads=1
    ).student


_STUDENT = _trained(StudentConfig())
_TEXT = _STUDENT.to_text()
_REGRESSION = _trained(StudentConfig(kind="logistic"))
_STUDENTS = [_STUDENT, _REGRESSION, _trained(StudentConfig(calibration="none"))]
_MODEL_TEXT = _STUDENT.file.model_text or ""


def _scored(rows: pl.DataFrame, student: Student = _STUDENT) -> Any:
    return score_out_of_sample(
        student, rows, trained_window="TEST_a_to_b", scored_window="TEST_c_to_d"
    )


_ONE_SCORE = float(
    _STUDENT.score(pl.DataFrame([[1.0, 2.0, 3.0]], schema=_COLUMNS, orient="row"))[0]
)


def _sample(
    inputs: list[list[float]], scores: list[float], probabilities: list[float | None]
) -> dict[str, Any]:
    return {"inputs": inputs, "scores": scores, "probabilities": probabilities}


def _changed(text: str = _TEXT, **fields: Any) -> str:
    return json.dumps({**json.loads(text), **fields}, separators=(",", ":"))


def _resealed(text: str = _TEXT, **fields: Any) -> str:
    return student_text(sealed(StudentFile.model_validate_json(_changed(text, **fields))))


@pytest.mark.parametrize("student", _STUDENTS)
def test_text_and_back_is_identity(student: Student) -> None:
    """What is loaded is what was written, and says the same bits, whatever the kind."""
    loaded = load_student(student.to_text())
    rows = _rows(start=150, seed=3)

    assert loaded.file == student.file
    assert loaded.to_text() == student.to_text()
    assert loaded.judge(rows).equals(student.judge(rows, n_threads=3))


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
    assert None not in sample.probabilities
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
        ("expires_on", "2031-01-01"),
        ("novelty_limit", 50.0),
        ("label_settings", {"kind": "other"}),
        ("code_version", ""),
        ("training_rows_sha256", ""),
        ("model_text", _MODEL_TEXT.replace("leaf_value=", "leaf_value=1", 1)),
        ("model_sha256", "0" * 64),
        ("content_sha256", "0" * 64),
    ],
)
def test_an_edited_field_is_refused(field: str, value: Any) -> None:
    """No part of a student can be changed without its digest noticing."""
    with pytest.raises(DigestMismatchError, match="not the one that was written"):
        load_student(_changed(**{field: value}))


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("model_sha256", "0" * 64, DigestMismatchError),
        ("columns", ["range", "momentum", "volume"], RecordError),
        ("columns", ["momentum", "range"], RecordError),
        ("drift", [], RecordError),
        ("kind", "logistic", RecordError),
        ("logistic", _REGRESSION.file.logistic, RecordError),
        ("model_text", None, RecordError),
        ("sample", _sample([], [], []), RecordError),
        ("sample", _sample([[1.0, 2.0]], [0.5], [0.5]), RecordError),
        ("sample", _sample([[1.0, 2.0, 3.0]], [0.5, 0.5], [0.5]), RecordError),
        ("sample", _sample([[1.0, 2.0, 3.0]], [0.123456], [0.5]), DigestMismatchError),
        ("sample", _sample([[1.0, 2.0, 3.0]], [_ONE_SCORE], [0.5]), DigestMismatchError),
        ("sample", _sample([[1.0, 2.0, 3.0]], [_ONE_SCORE], [None]), DigestMismatchError),
        ("calibration", {"reason": None, "intercept": 0.0, "slope": 1.5}, DigestMismatchError),
        ("calibration", {"reason": None, "intercept": 0.0, "slope": -1.0}, RecordError),
        ("calibration", {"reason": "off"}, DigestMismatchError),
    ],
)
def test_a_forger_with_the_right_digest_is_refused(
    field: str, value: Any, error: type[SenseQuantError]
) -> None:
    """Model, columns, calibration and sample must still agree with one another."""
    if isinstance(value, Record):
        value = value.model_dump()
    with pytest.raises(error) as caught:
        load_student(_resealed(**{field: value}))

    assert "not the one that was written" not in caught.value.what or field == "model_sha256"


def test_a_model_of_no_sound_structure_is_refused() -> None:
    """Even with right digests, LightGBM never sees it."""
    forged = _MODEL_TEXT.replace("left_child=", "left_child=9", 1)
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
    """Another schema version asks for the code that reads it."""
    with pytest.raises(SchemaVersionError):
        load_student(_changed(schema_version=1))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "[" * 10000, _changed(extra=1), _changed(seed="x")]
)
def test_something_else_is_refused(text: str) -> None:
    """What is no student is a record error, not a traceback from the parser."""
    with pytest.raises(RecordError):
        load_student(text)


@given(st.integers(min_value=0, max_value=len(_TEXT) - 1))
def test_a_truncated_text_is_refused(length: int) -> None:
    """Whatever the length at which it was cut."""
    with pytest.raises(RecordError):
        load_student(_TEXT[:length])


@settings(max_examples=300)
@given(
    st.sampled_from([student.to_text().encode() for student in _STUDENTS]),
    st.integers(min_value=0),
    st.integers(min_value=1, max_value=255),
)
def test_one_other_byte_is_refused(written: bytes, place: int, change: int) -> None:
    """Whatever the byte and whatever it became, line ends and blanks included."""
    place %= len(written)
    altered = bytearray(written)
    altered[place] ^= change
    with TemporaryDirectory() as folder:
        path = Path(folder) / "student.json"
        path.write_bytes(altered)

        with pytest.raises(RecordError):
            read_student(path)


def test_a_file_is_read_byte_for_byte(tmp_path: Path) -> None:
    """A file gives back its student; the digest of a manifest is compared; no file is an error."""
    path = tmp_path / "student.json"
    path.write_bytes(_TEXT.encode())
    digest = hashlib.sha256(_TEXT.encode()).hexdigest()

    assert read_student(path, sha256=digest).file == _STUDENT.file
    with pytest.raises(DigestMismatchError):
        read_student(path, sha256="0" * 64)
    with pytest.raises(StorageError, match=r"student\.json"):
        read_student(path.with_name("none") / "student.json")


def test_coefficients_that_moved_are_noticed() -> None:
    """A regression whose numbers are not those of its digest does not load."""
    model = json.loads(_REGRESSION.to_text())["logistic"]
    forged = _resealed(_REGRESSION.to_text(), logistic={**model, "intercept": 0.25})

    with pytest.raises(DigestMismatchError, match="coefficients"):
        load_student(forged)


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


def test_a_novel_row_is_not_scored() -> None:
    """A row far from all that was learnt from has its novelty and reason, and no number else."""
    rows = _rows(n=4, start=130, seed=5).with_columns(
        momentum=pl.Series([1000.0, 0.1, None, None]),
        range=pl.Series([1000.0, 0.2, 0.1, None]),
        volume=pl.Series([1000.0, 0.2, 0.3, None]),
    )
    result = _scored(rows)
    scored = result.predictions

    assert scored["reason"].to_list() == ["novel", None, None, "novel"]
    assert scored["score"].is_null().to_list() == [True, False, False, True]
    assert scored["probability"].is_null().to_list() == [True, False, False, True]
    assert scored["novelty"].null_count() == 0
    assert scored["novelty"][0] > 3 > scored["novelty"][1]
    assert (result.n_rows, result.n_purged, result.n_novel, result.n_expired) == (4, 0, 2, 0)
    # What the model would say stays on hand for hypothetical questions.
    assert np.isfinite(_STUDENT.score(rows)).all()


def test_an_expired_student_is_silent() -> None:
    """The last day is 200 calendar days after the last label; it still counts, the next not."""
    assert _STUDENT.file.expires_on == _STUDENT.file.trained_through + dt.timedelta(days=200)
    rows = _rows(n=3, start=126 + 199, seed=5).with_columns(
        momentum=pl.Series([0.0, 0.0, 1000.0]), range=pl.Series([0.0, 0.0, 1000.0])
    )
    result = _scored(rows)

    assert result.predictions["reason"].to_list() == [None, None, "expired"]
    assert result.predictions["score"].is_null().to_list() == [False, False, True]
    assert (result.n_novel, result.n_expired) == (0, 1)


def test_probabilities_are_those_of_the_curve() -> None:
    """Recomputed by hand from intercept and slope; null for a student without calibration."""
    rows = _rows(n=20, start=130, seed=5)
    calibration = _STUDENT.file.calibration
    assert calibration.intercept is not None
    assert calibration.slope is not None
    judged = _STUDENT.judge(rows)
    score = judged["score"].to_numpy()
    odds = np.exp(calibration.intercept) * (score / (1 - score)) ** calibration.slope

    np.testing.assert_allclose(judged["probability"].to_numpy(), odds / (1 + odds), rtol=1e-9)
    assert _STUDENTS[2].judge(rows)["probability"].null_count() == 20
    assert _STUDENTS[2].file.calibration.reason == "off"


def test_no_rows_have_no_judgement() -> None:
    """An empty frame keeps its columns and types."""
    judged = _STUDENT.judge(_rows(n=0))

    assert judged.height == 0
    assert judged.schema == pl.Schema(
        {name: PREDICTIONS_SCHEMA[name] for name in ("score", "probability", "novelty", "reason")}
    )


def test_rows_without_an_outcome_are_scored() -> None:
    """What is not yet known stays null beside its score."""
    rows = _rows(n=10, start=130).with_columns(
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
