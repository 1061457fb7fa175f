"""A student from elsewhere loads only after a process that may die has survived it."""

import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensequant import foreign_student
from sensequant.errors import (
    DigestMismatchError,
    RecordError,
    SchemaVersionError,
    SenseQuantError,
    StorageError,
)
from sensequant.features.registry import FeatureConfig
from sensequant.foreign_student import load_foreign_student
from sensequant.student import Lesson, StudentConfig, train_student
from sensequant.student_file import Student
from sensequant.student_record import StudentFile, sealed, student_text

_FIRST = dt.date(2021, 1, 1)
_N = 120


def _student(kind: str) -> Student:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(_N, 2))
    rows = pl.DataFrame(
        {
            "symbol": ["TEST"] * _N,
            "session": [_FIRST + dt.timedelta(i) for i in range(_N)],
            "session_number": pl.Series(range(_N), dtype=pl.Int32),
            "label_end": [_FIRST + dt.timedelta(i + 7) for i in range(_N)],
            "label_end_number": pl.Series(range(7, _N + 7), dtype=pl.Int32),
            "label": (features[:, 0] + rng.normal(size=_N) > 0).astype(np.int8),
            "teacher_probability": rng.uniform(0.3, 0.7, _N),
            "a": features[:, 0],
            "b": features[:, 1],
        }
    )
    return train_student(
        rows,
        lesson=Lesson(("a", "b"), FeatureConfig()),
        config=StudentConfig.model_validate({"kind": kind}),
        min_samples=20,
        seed=1,
        n_threads=1,
    ).student


_STUDENTS = {kind: _student(kind) for kind in ("boosted", "logistic")}
_TEXT = _STUDENTS["boosted"].to_text()
_MODEL_TEXT = _STUDENTS["boosted"].file.model_text or ""


def _written(folder: Path, text: str) -> Path:
    path = folder / "foreign.json"
    path.write_bytes(text.encode())
    return path


def _forged(**fields: Any) -> str:
    file = StudentFile.model_validate_json(json.dumps(json.loads(_TEXT) | fields))
    return student_text(sealed(file))


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every attempt to start a child fail the test."""

    def refuse(*_: object, **__: object) -> None:
        message = "a child was started"
        raise AssertionError(message)

    monkeypatch.setattr(foreign_student.subprocess, "run", refuse)


@pytest.mark.parametrize("kind", ["boosted", "logistic"])
def test_a_sound_student_is_loaded(tmp_path: Path, kind: str) -> None:
    """Both kinds survive the child, with and without a promised digest."""
    text = _STUDENTS[kind].to_text()
    digest = hashlib.sha256(text.encode()).hexdigest()

    loaded = load_foreign_student(_written(tmp_path, text), sha256=digest)

    assert loaded.to_text() == text


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", RecordError),
        ("{}", SchemaVersionError),
        (_TEXT + " ", RecordError),
        (_TEXT.replace("leaf_value=", "leaf_value=1", 1), DigestMismatchError),
        (_forged(model_sha256="0" * 64), DigestMismatchError),
    ],
)
def test_what_is_wrong_as_data_never_reaches_a_child(
    tmp_path: Path, text: str, error: type[SenseQuantError]
) -> None:
    """Texts that are no student, were altered, or hold another model than they say."""
    with pytest.raises(error):
        load_foreign_student(_written(tmp_path, text))


@pytest.mark.usefixtures("no_child")
def test_files_that_cannot_be_text_are_refused(tmp_path: Path) -> None:
    """No file, no UTF-8, not the promised digest."""
    path = tmp_path / "foreign.json"
    with pytest.raises(StorageError):
        load_foreign_student(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecordError, match="utf-8"):
        load_foreign_student(path)
    with pytest.raises(DigestMismatchError):
        load_foreign_student(_written(tmp_path, _TEXT), sha256="0" * 64)


@pytest.mark.usefixtures("no_child")
def test_a_forged_structure_never_reaches_a_child(tmp_path: Path) -> None:
    """Even with right digests, a model whose nodes go astray is refused as data."""
    model = _MODEL_TEXT.replace("left_child=", "left_child=9", 1)
    digest = hashlib.sha256(model.encode()).hexdigest()

    with pytest.raises(RecordError, match="not sound"):
        load_foreign_student(_written(tmp_path, _forged(model_text=model, model_sha256=digest)))


def test_a_sample_that_is_not_reproduced_is_refused_by_the_child(tmp_path: Path) -> None:
    """The child's own words are in the message, and the file's name."""
    sample = json.loads(_TEXT)["sample"]
    scores = [score + 1e-6 for score in sample["scores"]]
    path = _written(tmp_path, _forged(sample=sample | {"scores": scores}))

    with pytest.raises(RecordError, match=r"recorded sample as it did") as caught:
        load_foreign_student(path)

    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal 11"),
        ("import time; time.sleep(60)", "no answer within 1 seconds"),
        ("raise SystemExit(7)", "ended with code 7: no word"),
        ("raise MemoryError", "MemoryError"),
    ],
)
def test_a_child_that_dies_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, told: str
) -> None:
    """A crash, a hang, an exit and an exception end in one typed error here."""
    monkeypatch.setattr(foreign_student, "_PROGRAM", program)

    with pytest.raises(RecordError, match=told):
        load_foreign_student(_written(tmp_path, _TEXT), timeout_seconds=1)


@pytest.mark.parametrize(
    ("work", "told"),
    [("bytearray(8 * 1024**3)", "MemoryError"), ("exec('while True: pass')", "signal")],
)
def test_the_child_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str, told: str
) -> None:
    """What takes eight gigabytes, or computes without end, is stopped by the limits themselves."""
    # One or two processor seconds of work, under a time that would allow for more.
    program = foreign_student._PROGRAM.replace(
        "load_student(sys.stdin.buffer.read().decode())", work
    ).replace("int(sys.argv[2])", "1")
    monkeypatch.setattr(foreign_student, "_PROGRAM", program)

    with pytest.raises(RecordError, match=told):
        load_foreign_student(_written(tmp_path, _TEXT), timeout_seconds=120)
