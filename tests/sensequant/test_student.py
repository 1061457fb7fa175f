"""The student fits softened teachers mixed with labels, and says how well it follows them."""

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.boosting import load_booster
from sensequant.errors import DegenerateLabelsError, InsufficientHistoryError, RecordError
from sensequant.evaluation.measures import roc_auc
from sensequant.features.registry import FeatureConfig
from sensequant.records import digest_of
from sensequant.student import (
    Lesson,
    StudentConfig,
    StudentMetadata,
    TrainedStudent,
    soft_targets,
    train_student,
)
from sensequant.student_file import score_out_of_sample

_COLUMNS = [f"feature_{i}" for i in range(5)]


def _rows(seed: int = 0, n: int = 200) -> pl.DataFrame:
    # The teacher knows the sign of feature 0, the labels follow feature 1.
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, len(_COLUMNS)))
    teacher = 1 / (1 + np.exp(-3 * features[:, 0]))
    label = (features[:, 1] + 0.5 * rng.normal(size=n) > 0).astype(np.int8)
    first = dt.date(2021, 1, 1)
    return pl.DataFrame(
        {
            "symbol": ["TEST"] * n,
            "session": [first + dt.timedelta(i) for i in range(n)],
            "session_number": pl.Series(range(n), dtype=pl.Int32),
            "label_end": [first + dt.timedelta(i + 7) for i in range(n)],
            "label_end_number": pl.Series(range(7, n + 7), dtype=pl.Int32),
            "label": label,
            "teacher_probability": teacher,
            **{name: features[:, i] for i, name in enumerate(_COLUMNS)},
        }
    )


def _train(
    rows: pl.DataFrame, config: StudentConfig | None = None, **changes: Any
) -> TrainedStudent:
    lesson = Lesson(_COLUMNS, FeatureConfig(), weight_column=changes.pop("weight_column", None))
    settings: dict[str, Any] = {"min_samples": 20, "seed": 1, "n_threads": 1}
    return train_student(
        rows, lesson=lesson, config=config or StudentConfig(), **{**settings, **changes}
    )


def _auc(labels: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> float:
    auc = roc_auc(labels, scores)
    assert auc is not None
    return auc


def test_soft_targets_by_hand() -> None:
    """Odds of 9 to 1 at temperature 2 are 3 to 1; half of 0.75 and half of label 0 is 0.375."""
    teacher, labels = np.array([0.9, 0.9, 0.5, 0.1]), np.array([0.0, 1.0, 1.0, 1.0])

    found = soft_targets(teacher, labels, temperature=2.0, alpha=0.5)

    np.testing.assert_allclose(found, [0.375, 0.875, 0.75, 0.625], rtol=1e-12)


@given(
    st.floats(min_value=0, max_value=1),
    st.sampled_from([0.0, 1.0]),
    st.floats(min_value=0.5, max_value=10),
    st.floats(min_value=0, max_value=1),
)
def test_soft_targets_stay_between_teacher_and_label(
    teacher: float, label: float, temperature: float, alpha: float
) -> None:
    """Targets lie in [0, 1]; alpha 0 is the label, alpha 1 at temperature 1 the teacher."""

    def target(temperature: float, alpha: float) -> float:
        return float(
            soft_targets(
                np.array([teacher]), np.array([label]), temperature=temperature, alpha=alpha
            )[0]
        )

    assert 0 <= target(temperature, alpha) <= 1
    assert target(temperature, 0.0) == label
    assert target(1.0, 1.0) == pytest.approx(teacher, abs=1e-9)


def test_alpha_decides_whom_the_student_follows() -> None:
    """At alpha 1 it ranks by what the teacher knows, at alpha 0 by what the labels know."""
    rows = _rows()
    labels, teacher = rows["label"].to_numpy(), rows["teacher_probability"].to_numpy()
    own, taught = (
        _train(rows, StudentConfig(alpha=alpha)).student.score(rows) for alpha in (0.0, 1.0)
    )
    is_high = (teacher > 0.5).astype(np.int8)

    assert _auc(labels, own) > 0.8 > _auc(labels, taught)
    assert _auc(is_high, own) < 0.8 < _auc(is_high, taught)


def test_temperature_draws_scores_to_one_half() -> None:
    """The hotter, the softer: the spread of the scores shrinks."""
    rows = _rows()
    spreads = [
        _train(rows, StudentConfig(alpha=1.0, temperature=temperature)).student.score(rows).std()
        for temperature in (0.5, 2.0, 10.0)
    ]

    assert spreads[0] > spreads[1] > spreads[2] > 0


def _said(rows: pl.DataFrame, later: pl.DataFrame, config: StudentConfig) -> str:
    trained = _train(rows, config)
    scored = score_out_of_sample(
        trained.student, later, trained_window="a", scored_window="b"
    ).predictions
    return scored.write_json()


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        ("boosted", "kind", "logistic"),
        ("boosted", "temperature", 5.0),
        ("boosted", "alpha", 0.9),
        ("boosted", "num_leaves", 3),
        ("boosted", "learning_rate", 0.2),
        ("boosted", "n_estimators", 20),
        ("boosted", "min_child_samples", 40),
        ("boosted", "subsample", 0.5),
        ("boosted", "colsample_bytree", 0.4),
        ("boosted", "reg_lambda", 5.0),
        ("boosted", "calibration", "none"),
        ("boosted", "calibration_folds", 3),
        ("boosted", "novelty_limit", 1.0),
        ("boosted", "valid_days", 2),
        ("logistic", "temperature", 5.0),
        ("logistic", "alpha", 0.9),
        ("logistic", "l2_penalty", 50.0),
        ("logistic", "calibration_folds", 3),
    ],
)
def test_every_setting_changes_what_is_said(kind: str, setting: str, value: object) -> None:
    """No setting is dead, whichever the kind; `scope` is the choice of the rows that are given."""
    rows = _rows()
    later = _rows(seed=9, n=60).with_columns(
        (pl.col("session_number") + 207),
        pl.col("session") + pl.duration(days=207),
        forward_return=0.0,
    )
    usual = StudentConfig.model_validate({"kind": kind})
    changed = StudentConfig.model_validate({"kind": kind, setting: value})

    assert _said(rows, later, usual) != _said(rows, later, changed)


def test_without_teacher_is_a_student_of_the_labels() -> None:
    """Probabilities of the teacher, whatever they say, no longer matter."""
    config = StudentConfig(alpha=0.7, temperature=4.0, num_leaves=5).without_teacher()
    rows = _rows()
    other = rows.with_columns(teacher_probability=1 - pl.col("teacher_probability"))

    assert (config.alpha, config.num_leaves) == (0.0, 5)
    assert StudentConfig.model_validate(config.model_dump()) == config
    assert (
        _train(rows, config).student.file.model_text
        == _train(other, config).student.file.model_text
    )


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"alpha": 0.0, "temperature": 3.0}, "temperature"),
        ({"temperature": 0.4}, "temperature"),
        ({"alpha": 1.1}, "alpha"),
        ({"num_leaves": 65}, "num_leaves"),
        ({"kind": "logistic", "num_leaves": 3}, "num_leaves has no effect on kind logistic"),
        ({"kind": "logistic", "reg_lambda": 1.0}, "reg_lambda has no effect on kind logistic"),
        ({"l2_penalty": 1.0}, "l2_penalty has no effect on kind boosted"),
        ({"calibration": "none", "calibration_folds": 4}, "calibration_folds"),
        ({"novelty_limit": 0.9}, "novelty_limit"),
        ({"valid_days": 0}, "valid_days"),
        ({"valid_days": 3651}, "valid_days"),
    ],
)
def test_settings_without_effect_or_out_of_bounds_are_refused(
    settings: dict[str, Any], named: str
) -> None:
    """The refusal names the setting."""
    with pytest.raises(ValidationError, match=named):
        StudentConfig.model_validate(settings)


@pytest.mark.parametrize("kind", ["boosted", "logistic"])
def test_equal_rows_give_equal_bytes_on_any_number_of_threads(kind: str) -> None:
    """Neither threads nor the order of rows change the student; the seed does."""
    rows, config = _rows(), StudentConfig.model_validate({"kind": kind})
    one, three = _train(rows, config), _train(rows.reverse(), config, n_threads=3)

    assert one.student.to_text() == three.student.to_text()
    assert one.metadata == three.metadata
    assert _train(rows, config, seed=2).student.to_text() != one.student.to_text()


def test_weights_act_and_are_recorded() -> None:
    """Equal weights change nothing but the record; unequal ones change the scores."""
    rows = _rows().with_columns(
        one=pl.lit(1.0), more=pl.when(pl.col("label") == 1).then(3.0).otherwise(1.0)
    )
    plain, equal, more = (_train(rows, weight_column=name) for name in (None, "one", "more"))
    n_ones = int(rows["label"].sum())
    total, squares = 200 + 2 * n_ones, 200 + 8 * n_ones

    assert plain.student.score(rows) == pytest.approx(equal.student.score(rows), abs=1e-12)
    assert more.student.file.mean_target > plain.student.file.mean_target
    assert (plain.metadata.is_weighted, equal.metadata.is_weighted) == (False, True)
    assert plain.metadata.counts.effective_n == pytest.approx(200)
    assert more.metadata.counts.effective_n == pytest.approx(total**2 / squares)


def test_counts_and_dates() -> None:
    """Every row is learnt from or counted; what was seen ends with the last labelled row."""
    rows = _rows().with_columns(
        label=pl.when(pl.col("session_number") >= 195).then(None).otherwise("label"),
        teacher_probability=pl.when(pl.col("session_number").is_between(10, 19))
        .then(None)
        .when(pl.col("session_number").is_between(190, 194))
        .then(None)
        .otherwise("teacher_probability"),
    )
    trained = _train(rows)
    counts, file = trained.metadata.counts, trained.student.file

    assert (counts.n_rows, counts.n_without_label, counts.n_without_probability) == (200, 5, 15)
    assert counts.n_trained == 180
    assert counts.n_symbols == 1
    assert trained.metadata.last_session == dt.date(2021, 1, 1) + dt.timedelta(189)
    # Rows 190 to 194 have no probability, but teachers of other folds learnt from their labels.
    assert file.trained_through_number == 194 + 7
    assert file.trained_through == dt.date(2021, 1, 1) + dt.timedelta(201)


def test_fidelity_is_measured_on_the_training_rows() -> None:
    """Agreement and divergence recomputed by a loop over rows."""
    rows = _rows()
    trained = _train(rows, StudentConfig(alpha=1.0, temperature=1.0))
    scores = trained.student.score(rows)
    agreement, divergence = 0, 0.0
    for p, q in zip(rows["teacher_probability"].to_list(), scores.tolist(), strict=True):
        agreement += (p >= 0.5) == (q >= 0.5)
        divergence += p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    fidelity = trained.metadata.fidelity

    assert fidelity.measured_on == "training_rows"
    assert fidelity.agreement_frac == agreement / 200 > 0.9
    assert fidelity.mean_kl_nats == pytest.approx(divergence / 200)


def test_the_record_holds_what_the_booster_says() -> None:
    """Parameters, digests and the seed are those of the text; the record survives JSON."""
    trained = _train(_rows())
    metadata, file = trained.metadata, trained.student.file

    assert metadata.parameters["objective"] == "cross_entropy"
    assert metadata.parameters["num_leaves"] == "7"
    assert metadata.n_trees == 60
    assert metadata.model_sha256 == file.model_sha256
    assert metadata.config_digest == file.config_digest == digest_of(StudentConfig())
    assert file.model_text is not None
    assert load_booster(file.model_text, sha256=file.model_sha256).columns == tuple(_COLUMNS)
    assert metadata.calibration == file.calibration
    assert metadata.expires_on == file.expires_on
    assert StudentMetadata.model_validate_json(metadata.model_dump_json()) == metadata


@pytest.mark.parametrize(
    ("rows", "changes", "error"),
    [
        (_rows(n=30), {"min_samples": 31}, InsufficientHistoryError),
        (_rows(n=49), {"min_samples": 20}, InsufficientHistoryError),
        (_rows(n=0), {"min_samples": 0}, InsufficientHistoryError),
        (_rows().with_columns(label=pl.lit(0, dtype=pl.Int8)), {}, DegenerateLabelsError),
        (_rows().drop("teacher_probability"), {}, RecordError),
        (_rows().drop("feature_2"), {}, RecordError),
        (_rows(), {"weight_column": "reward_weight"}, RecordError),
        (_rows().with_columns(teacher_probability=pl.lit(1.5)), {}, RecordError),
        (_rows().with_columns(teacher_probability=pl.lit(float("nan"))), {}, RecordError),
    ],
)
def test_rows_that_cannot_teach_are_refused(
    rows: pl.DataFrame, changes: dict[str, Any], error: type[Exception]
) -> None:
    """Too few, one class, a missing column, impossible probabilities."""
    with pytest.raises(error):
        _train(rows, **changes)


def test_a_student_of_coefficients_is_trained_alike() -> None:
    """Kind logistic learns the labels, has no trees, and its record says how it was fitted."""
    rows = _rows()
    trained = _train(rows, StudentConfig(kind="logistic", alpha=0.0, temperature=2.0))
    metadata, file = trained.metadata, trained.student.file

    assert _auc(rows["label"].to_numpy(), trained.student.score(rows)) > 0.85
    assert (metadata.kind, metadata.n_trees, metadata.n_splits) == ("logistic", 0, {})
    assert metadata.parameters == {"l2_penalty": "10.0"}
    assert file.model_text is None
    assert file.logistic is not None
    # The labels follow feature 1.
    assert np.argmax(np.abs(file.logistic.coefficient)) == 1


def test_the_file_says_what_the_rows_were() -> None:
    """Feature settings and the meaning of the label are kept; shares of missing are recorded."""
    rows = _rows().with_columns(
        feature_3=pl.when(pl.col("session_number") < 50).then(None).otherwise("feature_3")
    )
    lesson = Lesson(
        _COLUMNS, FeatureConfig(volume=False), label_settings={"kind": "fixed", "horizon": 7}
    )
    trained = train_student(
        rows, lesson=lesson, config=StudentConfig(), min_samples=20, seed=1, n_threads=1
    )

    assert trained.student.file.features == FeatureConfig(volume=False)
    assert trained.student.file.label_settings == {"kind": "fixed", "horizon": 7}
    assert trained.metadata.missing_frac["feature_3"] == pytest.approx(0.25)
    assert trained.metadata.missing_frac["feature_2"] == 0


@pytest.mark.parametrize("column", ["label", "teacher_probability", "feature_0", "symbol"])
def test_the_digest_of_the_rows_sees_every_value(column: str) -> None:
    """One other value in one row is another lesson."""
    rows = _rows()
    other = {"label": 1 - rows["label"][7], "symbol": "OTHER"}.get(column, 0.123)
    is_seventh = pl.col("session_number") == 7
    changed = rows.with_columns(
        pl.when(is_seventh).then(pl.lit(other)).otherwise(column).alias(column)
    )
    changed = changed.cast({"label": pl.Int8})
    one, two = (_train(each).metadata.training_rows_sha256 for each in (rows, changed))

    assert one != two
    assert _train(rows, StudentConfig(num_leaves=3)).metadata.training_rows_sha256 == one


def test_a_teacher_that_knows_more_than_the_labels_is_worth_something() -> None:
    """Where a teacher knows the odds behind noisy labels, distilled scores rank new rows better."""
    gains: list[float] = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows = _rows(seed, n=600)
        odds = rows["feature_0"].to_numpy() * 0.6
        known = 1 / (1 + np.exp(-odds))
        rows = rows.with_columns(
            label=pl.Series((rng.random(600) < known).astype(np.int8)),
            teacher_probability=pl.Series(known),
        )
        taught, new = rows[:200], rows[200:]
        truth = (known[200:] > 0.5).astype(np.int8)
        config = StudentConfig(calibration="none")
        distilled, twin = (
            _auc(truth, _train(taught, each).student.score(new))
            for each in (config, config.without_teacher())
        )
        gains.append(distilled - twin)

    assert np.mean(gains) > 0.02
    assert min(gains) > 0
