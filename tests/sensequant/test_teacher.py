"""The teacher learns from its window without seeing the labels that it is asked about."""

import datetime as dt
import re
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn import metrics

from sensequant import booster_device
from sensequant.booster_config import BoosterConfig
from sensequant.boosting import load_booster
from sensequant.errors import (
    ConfigError,
    DataError,
    DegenerateLabelsError,
    InsufficientHistoryError,
    RecordError,
)
from sensequant.evaluation.measures import roc_auc
from sensequant.features.spec import Family
from sensequant.records import digest_of
from sensequant.splits import SplitConfig, purged_folds, split_validation
from sensequant.teacher import TeacherConfig, require_device, train_teacher
from sensequant.teacher_record import IMPORTANCE_SCHEMA, TEACHER_ROWS_SCHEMA, TeacherResult

# scikit-learn has no types; it is an oracle here.
oracle = cast("Any", metrics)

_COLUMNS = [f"feature_{i}" for i in range(8)]
_HORIZON = 7
_FAST = TeacherConfig(booster=BoosterConfig(n_estimators=40, early_stopping_rounds=10))
_FIXED = TeacherConfig(booster=BoosterConfig(n_estimators=20, early_stopping_rounds=0))


def _window(
    seed: int = 0, n: int = 120, *, signal: float = 0.0, is_random_walk: bool = False
) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, len(_COLUMNS)))
    steps = rng.normal(size=n + _HORIZON)
    walk = np.array([steps[i : i + _HORIZON].sum() for i in range(n)]) / np.sqrt(_HORIZON)
    outcome = (walk if is_random_walk else rng.normal(size=n)) + signal * features[:, 0]
    features[rng.random(features.shape) < 0.05] = np.nan
    first = dt.date(2020, 1, 1)
    return pl.DataFrame(
        {
            "symbol": ["TEST"] * n,
            "session": [first + dt.timedelta(i) for i in range(n)],
            "session_number": pl.Series(range(1000, 1000 + n), dtype=pl.Int32),
            "label_end": [first + dt.timedelta(i + _HORIZON) for i in range(n)],
            "label_end_number": pl.Series(range(1007, 1007 + n), dtype=pl.Int32),
            "forward_return": outcome / 100,
            "label": pl.Series(outcome > 0).cast(pl.Int8),
            **{name: pl.Series(features[:, i]).fill_nan(None) for i, name in enumerate(_COLUMNS)},
        }
    )


def _train(rows: pl.DataFrame, config: TeacherConfig = _FAST, **changes: Any) -> TeacherResult:
    settings_: dict[str, Any] = {
        "columns": _COLUMNS,
        "min_samples": 20,
        "seed": 1,
        "n_threads": 1,
        **changes,
    }
    return train_teacher(rows, config=config, **settings_)


def test_rows_and_importances_have_their_schemas_and_order() -> None:
    """Labelled rows come sorted by session, importances by gain, whatever the order given."""
    window = _window(signal=1.0)
    result = _train(window.sample(fraction=1.0, shuffle=True, seed=4))

    assert result.rows.schema == TEACHER_ROWS_SCHEMA
    assert result.rows["session"].to_list() == window["session"].to_list()
    assert result.importance.schema == IMPORTANCE_SCHEMA
    assert result.importance["feature"][0] == "feature_0"
    assert result.importance["gain"].is_sorted(descending=True)
    assert sorted(result.importance["feature"]) == sorted(_COLUMNS)


def test_equal_inputs_give_equal_bytes_on_any_number_of_threads() -> None:
    """One thread, three threads, and rows in another order: the same model and the same rows."""
    window = _window(signal=0.5)
    one, three = _train(window), _train(window.reverse(), n_threads=3)

    assert one.model_text == three.model_text
    assert one.rows.equals(three.rows)
    assert one.importance.equals(three.importance)
    assert one.metadata == three.metadata
    assert _train(window, seed=2).model_text != one.model_text


def test_folds_and_validation_are_those_of_the_split() -> None:
    """Every row is in one fold; the last fifth by time validates."""
    window = _window()
    result = _train(window)
    numbers = window["session_number"].to_numpy(), window["label_end_number"].to_numpy()
    folds = purged_folds(*numbers, SplitConfig())
    split = split_validation(*numbers, SplitConfig())

    for number, fold in enumerate(folds):
        assert set(result.rows["fold"].to_numpy()[fold.validation]) == {number}
    assert result.rows["is_validation"].arg_true().to_list() == split.validation.tolist()
    counts = result.metadata.counts
    assert (counts.n_train, counts.n_validation, counts.n_purged) == (89, 24, 7)
    assert counts.n_labelled == counts.n_with_probability == 120


@settings(max_examples=8)
@given(st.integers(min_value=0, max_value=4))
def test_labels_of_a_fold_do_not_reach_its_probabilities(fold: int) -> None:
    """Flipping every label of a fold and of what overlaps it changes none of its probabilities."""
    window = _window(signal=1.0)
    numbers = window["session_number"].to_numpy(), window["label_end_number"].to_numpy()
    split = purged_folds(*numbers, SplitConfig())[fold]
    unseen = np.zeros(window.height, dtype=bool)
    unseen[split.validation] = unseen[split.purged] = True
    flipped = window.with_columns(
        label=pl.when(pl.Series(unseen)).then(1 - pl.col("label")).otherwise("label").cast(pl.Int8)
    )
    before, after = (_train(rows, _FIXED).rows["teacher_probability"] for rows in (window, flipped))

    np.testing.assert_array_equal(
        before.to_numpy()[split.validation], after.to_numpy()[split.validation]
    )
    assert not before.equals(after)


def test_the_kept_model_is_fitted_on_all_labelled_rows() -> None:
    """The root of each of its trees, grown without sampling, counts every labelled row."""
    window = _window(signal=1.0)
    booster = BoosterConfig(n_estimators=10, subsample=1.0, early_stopping_rounds=0)
    result = _train(window, TeacherConfig(booster=booster))
    roots = re.findall(r"internal_count=(\d+)", result.model_text)

    assert result.metadata.final_fit_rows == "all_labelled"
    assert roots == ["120"] * 10
    assert load_booster(result.model_text, sha256=result.metadata.model_sha256).n_rounds == 10


def test_missing_features_are_counted() -> None:
    """The share of missing values stands in the record, per column."""
    window = _window()

    assert _train(window).metadata.missing_frac == {
        name: window[name].null_count() / 120 for name in _COLUMNS
    }
    assert set(_train(window).metadata.missing_by_family) == set(Family)


def test_metrics_are_those_of_an_independent_engine() -> None:
    """Out-of-fold AUC, log loss, Brier, precision, recall and F1 equal scikit-learn's."""
    result = _train(_window(signal=1.0))
    rows, found = result.rows, result.metadata.out_of_fold
    labels, scores = rows["label"].to_numpy(), rows["teacher_probability"].to_numpy()
    decisions = scores >= 0.5

    assert found.n == 120
    assert found.n_positive == labels.sum()
    assert found.roc_auc == pytest.approx(oracle.roc_auc_score(labels, scores))
    assert found.log_loss == pytest.approx(oracle.log_loss(labels, scores))
    assert found.brier_score == pytest.approx(oracle.brier_score_loss(labels, scores))
    assert found.precision == pytest.approx(oracle.precision_score(labels, decisions))
    assert found.recall == pytest.approx(oracle.recall_score(labels, decisions))
    assert found.f1 == pytest.approx(oracle.f1_score(labels, decisions))
    assert result.metadata.validation.n == 24


def _pooled(**kind: Any) -> tuple[float, float]:
    labels: list[np.ndarray[Any, Any]] = []
    scores: list[np.ndarray[Any, Any]] = []
    within: list[float] = []
    for seed in range(50):
        rows = _train(_window(seed, **kind), _FIXED, seed=seed).rows
        labels.append(rows["label"].to_numpy())
        scores.append(rows["teacher_probability"].to_numpy())
        auc = roc_auc(labels[-1], scores[-1])
        assert auc is not None
        within.append(auc)
    pooled = roc_auc(np.concatenate(labels), np.concatenate(scores))
    assert pooled is not None
    return pooled, float(np.mean(within))


@pytest.mark.parametrize("is_random_walk", [False, True])
def test_noise_teaches_nothing(is_random_walk: bool) -> None:
    """Over 50 windows of pure noise the out-of-fold AUC is near one half, pooled and within.

    Also where outcomes overlap as those of a random walk do. Without one share of label 1 for all
    folds it was measured 0.33 within windows: soft labels that contradict the hard ones.
    """
    pooled, within = _pooled(is_random_walk=is_random_walk)

    assert abs(pooled - 0.5) < 0.03
    assert abs(within - 0.5) < 0.05


def test_a_planted_signal_is_found() -> None:
    """A feature that moves the outcome by its own size is seen through, pooled and within."""
    pooled, within = _pooled(signal=1.0)

    assert pooled > 0.7
    assert within > 0.7


def test_probabilities_are_stated_at_the_reference_share() -> None:
    """Elkan (2001), theorem 2: another base rate multiplies the odds by a constant."""
    window = _window(signal=1.0)
    half = _train(window, _FIXED).rows["teacher_probability"].to_numpy()
    rarer = _train(window, _FIXED.model_copy(update={"reference_positive_frac": 0.2}))
    scores = rarer.rows["teacher_probability"].to_numpy()

    np.testing.assert_allclose(scores / (1 - scores), half / (1 - half) * 0.25, rtol=1e-9)


def test_unlabelled_rows_are_dropped_and_counted() -> None:
    """A row without a label is neither learnt from nor scored."""
    window = _window()
    unknown = window.with_columns(
        label=pl.when(pl.int_range(pl.len()) >= 110).then(None).otherwise("label"),
        forward_return=pl.when(pl.int_range(pl.len()) >= 110).then(None).otherwise("label"),
    )
    result = _train(unknown)

    assert result.rows.height == 110
    assert result.metadata.counts.n_rows == 120
    assert result.metadata.counts.n_without_label == 10
    assert result.model_text == _train(window.head(110)).model_text


def test_the_record_holds_what_the_booster_says() -> None:
    """Parameters come from the model's text, the digest of the configuration beside them."""
    result = _train(_window(signal=1.0))
    metadata = result.metadata

    assert f"[num_iterations: {metadata.best_iteration}]" in result.model_text
    assert metadata.parameters["num_iterations"] == str(metadata.best_iteration)
    assert metadata.parameters["bagging_fraction"] == "0.8"
    assert metadata.device == "cpu"
    assert metadata.config_digest == digest_of(_FAST)
    assert metadata.last_label_end == dt.date(2020, 1, 1) + dt.timedelta(126)
    assert (metadata.first_session, metadata.last_session) == (
        dt.date(2020, 1, 1),
        dt.date(2020, 1, 1) + dt.timedelta(119),
    )
    assert type(metadata).model_validate_json(metadata.model_dump_json()) == metadata


def test_early_stopping_off_takes_all_rounds() -> None:
    """The number of rounds is then that of the settings, and 1 at least otherwise."""
    assert _train(_window(), _FIXED).metadata.best_iteration == 20
    assert 1 <= _train(_window(), _FAST).metadata.best_iteration < 40


def test_a_fold_that_learns_from_one_class_leaves_its_rows_null() -> None:
    """Ones that all lie in one fold: nothing can be learnt without it, and nothing is invented."""
    window = _window().with_columns(
        label=((pl.int_range(pl.len()) >= 50) & (pl.int_range(pl.len()) < 65)).cast(pl.Int8)
    )
    result = _train(window)
    by_fold = (
        result.rows.group_by("fold").agg(pl.col("teacher_probability").null_count()).sort("fold")
    )

    assert by_fold.rows() == [(0, 0), (1, 0), (2, 24), (3, 0), (4, 0)]
    assert result.metadata.counts.n_fold_one_class == 24
    assert result.metadata.counts.n_with_probability == 96
    assert result.metadata.fold_positive_frac[2] == 0.0
    assert result.metadata.out_of_fold.n == 96
    # The validation part holds no ones, so these figures do not exist.
    assert result.metadata.validation.roc_auc is None
    assert result.metadata.validation.recall is None


def test_a_fold_that_is_too_small_leaves_its_rows_null() -> None:
    """With two folds half of the rows remain, which is less than one split of a tree takes."""
    window = _window(n=80)
    config = TeacherConfig(booster=_FAST.booster, split=SplitConfig(n_folds=2))
    result = _train(window, config)

    assert result.metadata.counts.n_fold_too_small == 80
    assert result.metadata.counts.n_with_probability == 0
    assert result.rows["teacher_probability"].null_count() == 80
    assert result.metadata.out_of_fold.log_loss is None


def test_a_fold_without_training_rows_leaves_its_rows_null() -> None:
    """An embargo of 60 sessions after the first of two folds leaves nothing to learn from."""
    booster = _FAST.booster.model_copy(update={"early_stopping_rounds": 0})
    config = TeacherConfig(booster=booster, split=SplitConfig(n_folds=2, embargo_sessions=60))
    result = _train(_window(), config)

    assert result.metadata.fold_positive_frac[0] is None
    assert result.metadata.counts.n_fold_too_small == 60
    assert result.rows["teacher_probability"].is_null().to_list() == [True] * 60 + [False] * 60


@pytest.mark.parametrize(
    ("rows", "changes", "error", "message"),
    [
        (_window(n=30), {"min_samples": 31}, InsufficientHistoryError, "too few"),
        (_window(n=30), {"min_samples": 20}, InsufficientHistoryError, "single split"),
        (_window(n=0), {"min_samples": 0}, InsufficientHistoryError, "too few"),
        (
            _window().with_columns(label=pl.lit(1, dtype=pl.Int8)),
            {},
            DegenerateLabelsError,
            "one class",
        ),
        (
            _window().with_columns(label=(pl.int_range(pl.len()) >= 110).cast(pl.Int8)),
            {},
            DegenerateLabelsError,
            "training part",
        ),
        (
            _window().with_columns(
                session_number=pl.lit(7, dtype=pl.Int32), label_end_number=pl.lit(9, dtype=pl.Int32)
            ),
            {},
            InsufficientHistoryError,
            "single split",
        ),
        (
            _window().with_columns(label_end_number=pl.lit(5000, dtype=pl.Int32)),
            {},
            InsufficientHistoryError,
            "single split",
        ),
    ],
)
def test_a_window_that_cannot_teach_is_skipped_with_its_reason(
    rows: pl.DataFrame, changes: dict[str, Any], error: type[DataError], message: str
) -> None:
    """Too short, too much purged, one class, one session: each has its own error and code."""
    with pytest.raises(error, match=message) as caught:
        _train(rows, **changes)

    assert caught.value.reason in {"insufficient_samples", "one_class"}


@pytest.mark.parametrize("column", ["label_end_number", "feature_3"])
def test_a_missing_column_is_named(column: str) -> None:
    """Neither rows nor features are guessed."""
    with pytest.raises(RecordError, match=column):
        _train(_window().drop(column))


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"reference_positive_frac": 1.0}, "reference_positive_frac"),
        ({"n_interval_draws": -1}, "n_interval_draws"),
        ({"interval_confidence": 1.0}, "interval_confidence"),
        ({"n_interval_draws": 0, "interval_confidence": 0.9}, "interval_confidence"),
        ({"scope": "sector"}, "scope"),
    ],
)
def test_settings_are_bounded_and_act(setting: dict[str, Any], named: str) -> None:
    """A share of 1 leaves no odds, a confidence without draws acts on nothing."""
    with pytest.raises(ValidationError, match=named):
        TeacherConfig.model_validate(setting)


def test_a_device_is_asked_for_once_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A GPU that is not there is one refusal of the request, with what to do."""

    def refuse(*_: object) -> str:
        return "No OpenCL device found"

    monkeypatch.setattr(booster_device, "_refusal_of", refuse)
    booster = BoosterConfig(device="gpu")

    assert require_device(TeacherConfig()) == "cpu"
    with pytest.raises(ConfigError, match="No OpenCL device found") as caught:
        require_device(TeacherConfig(booster=booster))
    assert (caught.value.expected, caught.value.where) == ("gpu", "device")
    assert "set device to cpu or auto" in caught.value.remedy
