"""New bars go through the student's own features, and drift of their rows is told."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from sensequant.errors import InvalidBarsError, LeakageError, RecordError
from sensequant.features.build import build_features
from sensequant.features.registry import FeatureConfig, model_columns
from sensequant.market.sessions import nse_calendar
from sensequant.prediction import PREDICTED_SCHEMA, predict_bars
from sensequant.student import Lesson, StudentConfig, train_student
from sensequant.student_drift import DRIFT_SCHEMA
from sensequant.student_file import Student

_SESSIONS = nse_calendar().sessions(dt.date(2019, 1, 1), dt.date(2021, 12, 31))
_N_TRAINED = 400
_FEATURES = FeatureConfig(volume=False)


def _bars(symbol: str, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = len(_SESSIONS)
    close = 100 * np.exp(np.cumsum(0.015 * rng.normal(size=n)))
    open_ = close * np.exp(0.005 * rng.normal(size=n))
    return pl.DataFrame(
        {
            "symbol": [symbol] * n,
            "session": _SESSIONS,
            "open": open_,
            "high": np.maximum(open_, close) * 1.01,
            "low": np.minimum(open_, close) * 0.99,
            "close": close,
            "volume": rng.uniform(1e5, 2e5, n),
            "is_unexplained_gap": [False] * n,
        }
    )


_BARS = pl.concat([_bars(symbol, seed) for seed, symbol in enumerate(("AAA", "BBB"))])


def _student(columns: tuple[str, ...] = model_columns(_FEATURES)) -> Student:
    rows = (
        build_features(_BARS, _FEATURES)
        .with_columns(pl.int_range(pl.len(), dtype=pl.Int32).over("symbol").alias("session_number"))
        .filter(pl.col("session_number").is_between(60, _N_TRAINED))
        .with_columns(
            label_end=pl.col("session") + pl.duration(days=10),
            label_end_number=pl.col("session_number") + 7,
            label=(pl.col("return_5") > 0).cast(pl.Int8),
            teacher_probability=pl.when(pl.col("return_5") > 0).then(0.7).otherwise(0.3),
        )
    )
    return train_student(
        rows,
        lesson=Lesson(columns, _FEATURES),
        config=StudentConfig(valid_days=100),
        min_samples=20,
        seed=1,
        n_threads=1,
    ).student


_STUDENT = _student()
_THROUGH = _STUDENT.file.trained_through


def test_new_sessions_are_scored_as_their_features_say() -> None:
    """Every session after the last that was learnt from, each row as `judge` says, in order."""
    prediction = predict_bars(_STUDENT, _BARS)
    features = build_features(_BARS, _FEATURES).filter(pl.col("session") > _THROUGH)

    assert prediction.rows.schema == PREDICTED_SCHEMA
    assert prediction.rows.select("symbol", "session").equals(features.select("symbol", "session"))
    assert prediction.rows.drop("symbol", "session").equals(_STUDENT.judge(features))
    assert prediction.n_scored == prediction.rows["score"].count() > 100
    assert prediction.n_expired == (features["session"] > _STUDENT.file.expires_on).sum() > 0
    assert prediction.n_scored + prediction.n_novel + prediction.n_expired == features.height


def test_only_the_asked_sessions_are_scored() -> None:
    """One session of two symbols has two rows; a day without bars has none."""
    session = next(each for each in _SESSIONS if each > _THROUGH)
    prediction = predict_bars(_STUDENT, _BARS, sessions=[session, dt.date(2035, 1, 1)])

    assert prediction.rows.select("symbol", "session").rows() == [
        ("AAA", session),
        ("BBB", session),
    ]
    # Two rows say nothing about drift.
    assert prediction.drift["psi"].null_count() == prediction.drift.height


def test_later_bars_change_no_score() -> None:
    """A score is known at the close of its session: bars after it may be anything."""
    session = [each for each in _SESSIONS if each > _THROUGH][20]
    cut = _BARS.filter(pl.col("session") <= session)
    whole, known = (predict_bars(_STUDENT, bars, sessions=[session]) for bars in (_BARS, cut))

    assert whole.rows.equals(known.rows)


def test_a_session_that_was_learnt_from_is_refused() -> None:
    """The last seen session itself is not new."""
    with pytest.raises(LeakageError, match=str(_THROUGH)):
        predict_bars(_STUDENT, _BARS, sessions=[_THROUGH, _SESSIONS[-1]])


def test_other_features_are_named() -> None:
    """A student that was trained on other columns says which are missing and which are new."""
    columns = model_columns(_FEATURES)
    with pytest.raises(RecordError, match=f"missing: none; new: {columns[3]};"):
        predict_bars(_student((*columns[:3], *columns[4:])), _BARS)
    with pytest.raises(RecordError, match="another order"):
        predict_bars(_student((*columns[1:], columns[0])), _BARS)


def test_bars_that_contradict_themselves_are_refused() -> None:
    """A price of zero reaches no student."""
    with pytest.raises(InvalidBarsError):
        predict_bars(_STUDENT, _BARS.with_columns(low=0.0))


def test_drift_is_that_of_the_scored_rows() -> None:
    """A market five times as wild drifts in its volatility first; as it was, it does not."""
    wild = _BARS.with_columns(
        pl.when(pl.col("session") > _THROUGH)
        .then(pl.col("close") * pl.Series(np.exp(0.08 * np.sin(np.arange(_BARS.height)))))
        .otherwise("close")
        .alias("close")
    ).with_columns(
        high=pl.max_horizontal("open", "high", "close"),
        low=pl.min_horizontal("open", "low", "close"),
    )
    usual, moved = (predict_bars(_STUDENT, bars).drift for bars in (_BARS, wild))
    worst = dict(moved.select("column", "psi").iter_rows())

    assert moved.schema == DRIFT_SCHEMA
    assert set(moved["column"]) == set(_STUDENT.file.columns)
    assert worst["return_1"] > 0.25 > dict(usual.select("column", "psi").iter_rows())["return_1"]
    assert moved["state"][0] == "large"


def test_bars_in_another_unit_are_not_scored() -> None:
    """Prices of one symbol that fall by a thousand in the midst make its next rows novel."""
    session = [each for each in _SESSIONS if each > _THROUGH][5]
    broken = (pl.col("session") >= session) & (pl.col("symbol") == "AAA")
    prices = ("open", "high", "low", "close")
    bars = _BARS.with_columns(
        pl.when(broken).then(pl.col(n) / 1000).otherwise(n).alias(n) for n in prices
    )
    rows = predict_bars(_STUDENT, bars, sessions=[session]).rows

    assert rows["reason"].to_list() == ["novel", None]
    assert rows["score"].is_null().to_list() == [True, False]


def test_no_new_sessions_are_no_rows() -> None:
    """Bars that end with what was learnt from give an empty answer."""
    prediction = predict_bars(_STUDENT, _BARS.filter(pl.col("session") <= _THROUGH))

    assert prediction.rows.equals(PREDICTED_SCHEMA.to_frame())
    assert (prediction.n_scored, prediction.n_novel, prediction.n_expired) == (0, 0, 0)
