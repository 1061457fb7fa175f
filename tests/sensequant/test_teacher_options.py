"""The teacher with weights, with many symbols, with intervals and importances, and tuned."""

import datetime as dt
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from sensequant.booster_config import BoosterConfig
from sensequant.errors import (
    ConfigError,
    DegenerateLabelsError,
    InsufficientHistoryError,
    RecordError,
)
from sensequant.evaluation.measures import roc_auc
from sensequant.records import digest_of
from sensequant.splits import SplitConfig, purged_folds, split_validation
from sensequant.teacher import TeacherConfig, train_teacher
from sensequant.teacher_record import TeacherResult
from sensequant.tuning import TuningConfig

# scikit-learn has no types; it is an oracle here.
oracle = cast("Any", metrics)

_COLUMNS = [f"feature_{i}" for i in range(8)]
_HORIZON = 7
_FAST = TeacherConfig(booster=BoosterConfig(n_estimators=40, early_stopping_rounds=10))
_FIXED = TeacherConfig(booster=BoosterConfig(n_estimators=20, early_stopping_rounds=0))


def _window(seed: int = 0, n: int = 120, *, signal: float = 1.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, len(_COLUMNS)))
    outcome = rng.normal(size=n) + signal * features[:, 0]
    days = [dt.date(2020, 1, 1) + dt.timedelta(day) for day in range(n + _HORIZON)]
    numbers = np.arange(1000, 1000 + n, dtype=np.int32)
    return pl.DataFrame(
        {
            "symbol": ["AAA"] * n,
            "session": days[:n],
            "session_number": numbers,
            "label_end": days[_HORIZON:],
            "label_end_number": numbers + np.int32(_HORIZON),
            "forward_return": outcome / 100,
            "label": (outcome > 0).astype(np.int8),
            **{name: features[:, place] for place, name in enumerate(_COLUMNS)},
        }
    )


def _train(rows: pl.DataFrame, config: TeacherConfig = _FAST, **changes: Any) -> TeacherResult:
    usual: dict[str, Any] = {"columns": _COLUMNS, "min_samples": 20, "seed": 1, "n_threads": 1}
    return train_teacher(rows, config=config, **(usual | changes))


def _weighted(window: pl.DataFrame, weights: Any) -> pl.DataFrame:
    return window.with_columns(weight=pl.Series(weights))


def test_equal_weights_are_no_weights() -> None:
    """A column of ones gives the same model, and stands in the rows either way."""
    window = _window()
    none = _train(window)
    ones = _train(_weighted(window, np.ones(120)), weight_column="weight")

    assert ones.model_text == none.model_text
    assert ones.rows.equals(none.rows)
    assert none.rows["sample_weight"].to_list() == [1.0] * 120
    assert (none.metadata.weight_column, ones.metadata.weight_column) == (None, "weight")


def test_weights_act_on_every_fit_and_on_no_figure() -> None:
    """Rounds, folds and the kept model change; figures stay those of rows that count equally."""
    window = _weighted(_window(), np.where(np.arange(120) % 2, 1.9, 0.1))
    equal, found = _train(window, _FIXED), _train(window, _FIXED, weight_column="weight")
    labels, scores = (found.rows[name].to_numpy() for name in ("label", "teacher_probability"))

    assert found.model_text != equal.model_text
    assert all(
        not part.equals(other)
        for part, other in zip(
            found.rows.partition_by("fold"), equal.rows.partition_by("fold"), strict=True
        )
    )
    assert found.metadata.out_of_fold.log_loss == pytest.approx(oracle.log_loss(labels, scores))
    assert found.rows["sample_weight"].to_list() == window["weight"].to_list()
    long = BoosterConfig(n_estimators=300, learning_rate=0.1, early_stopping_rounds=30)
    chosen = [
        _train(window, TeacherConfig(booster=long), **changes).metadata.best_iteration
        for changes in ({}, {"weight_column": "weight"})
    ]
    assert chosen[0] != chosen[1]


def test_a_row_of_hardly_any_weight_teaches_hardly_anything() -> None:
    """Wrong labels on half of the rows do no harm where their weight is next to nothing."""
    window = _window(3, 240, signal=2.0)
    is_wrong = pl.int_range(pl.len()) % 2 == 0
    wrong = _weighted(
        window.with_columns(
            label=pl.when(is_wrong).then(1 - pl.col("label")).otherwise("label").cast(pl.Int8)
        ),
        np.where(np.arange(240) % 2 == 0, 1e-3, 1.0),
    )

    def right_auc(**changes: Any) -> float:
        rows = _train(wrong, _FIXED, **changes).rows.gather_every(2, offset=1)
        auc = roc_auc(rows["label"].to_numpy(), rows["teacher_probability"].to_numpy())
        assert auc is not None
        return auc

    assert right_auc(weight_column="weight") > 0.75
    assert right_auc() < 0.65


@pytest.mark.parametrize(
    ("weights", "error"),
    [([None] + [1.0] * 119, ConfigError), ([0.0] * 120, ConfigError), (None, RecordError)],
)
def test_weights_that_are_none_are_refused(weights: Any, error: type[Exception]) -> None:
    """Missing, zero, or no column: nothing is taken for one."""
    window = _window() if weights is None else _weighted(_window(), weights)
    with pytest.raises(error, match="weight"):
        _train(window, weight_column="weight")


def _universe() -> pl.DataFrame:
    # BBB is listed late: it has rows in the last folds only. CCC has a hole.
    return pl.concat(
        [
            _window(1),
            _window(2).with_columns(symbol=pl.lit("BBB")).tail(40),
            _window(3)
            .with_columns(symbol=pl.lit("CCC"))
            .filter(~pl.col("session_number").is_between(1030, 1049)),
        ]
    )


def test_one_teacher_learns_from_many_symbols() -> None:
    """Folds and the validation part are sessions of all symbols, whichever of them were there."""
    rows = _universe()
    result = _train(rows)
    found, counts = result.rows, result.metadata.counts

    assert result.metadata.symbols == ("AAA", "BBB", "CCC")
    assert found.height == rows.height == 260
    assert found["teacher_probability"].null_count() == 0
    by_session = found.group_by("session").agg(
        pl.col("fold").n_unique(), pl.col("is_validation").n_unique()
    )
    assert by_session.select("fold", "is_validation").unique().rows() == [(1, 1)]
    assert set(found.filter(symbol="BBB")["fold"]) == {3, 4}
    # 52 rows are a fifth of 260; they lie in the last 18 sessions, of which two are cut off.
    assert (counts.n_validation, counts.n_train + counts.n_purged) == (54, 206)
    assert result.metadata.out_of_fold.roc_auc_interval is not None
    assert _train(rows.sample(fraction=1, shuffle=True, seed=1)).model_text == result.model_text


def test_labels_of_a_session_reach_no_symbol_of_its_fold() -> None:
    """Flipping one symbol's labels in a fold changes no probability of another one there."""
    ordered = _universe().sort("session_number", "symbol")
    starts, ends = (ordered[name].to_numpy() for name in ("session_number", "label_end_number"))
    folds = purged_folds(starts, ends, SplitConfig())
    unseen = np.zeros(ordered.height, dtype=bool)
    unseen[folds[3].validation] = unseen[folds[3].purged] = True
    flipped = ordered.with_columns(
        label=pl.when(pl.Series(unseen) & (pl.col("symbol") == "AAA"))
        .then(1 - pl.col("label"))
        .otherwise("label")
        .cast(pl.Int8)
    )
    before, after = (_train(each, _FIXED).rows for each in (ordered, flipped))

    in_fold = before["fold"] == 3
    assert before.filter(in_fold)["teacher_probability"].equals(
        after.filter(in_fold)["teacher_probability"]
    )
    assert not before["teacher_probability"].equals(after["teacher_probability"])


def test_importance_by_permutation_stands_beside_gain() -> None:
    """The planted column costs the held-out folds most; both columns are in the order of gain."""
    importance = _train(_window(signal=2.0)).importance
    costs = dict(importance.select("feature", "permutation_log_loss").iter_rows())

    assert max(costs, key=lambda name: costs[name]) == "feature_0"
    assert importance["permutation_log_loss_sd"].null_count() == 0
    unused = importance.filter(pl.col("feature") == "feature_0")["permutation_log_loss_sd"].item()
    assert unused > 0


@pytest.mark.parametrize(("n_ones", "n_null"), [(60, (0, 8)), (0, (8, 8))])
def test_importance_is_null_where_no_fold_can_say(n_ones: int, n_null: tuple[int, int]) -> None:
    """One fold has a mean and no deviation, no fold has neither."""
    embargo = 60 if n_ones else 0
    window = _window() if n_ones else _window(n=80)
    split = SplitConfig(n_folds=2, embargo_sessions=embargo)
    booster = _FAST.booster.model_copy(update={"early_stopping_rounds": 0})
    importance = _train(window, TeacherConfig(booster=booster, split=split)).importance

    assert importance["permutation_log_loss"].null_count() == n_null[0]
    assert importance["permutation_log_loss_sd"].null_count() == n_null[1]


def test_figures_carry_intervals_of_blocks_as_long_as_the_labels() -> None:
    """Out of fold they have one; 24 validated sessions hold three blocks of seven."""
    metadata = _train(_window()).metadata
    off = TeacherConfig(booster=_FAST.booster, n_interval_draws=0)
    other = TeacherConfig(booster=_FAST.booster, n_interval_draws=100, interval_confidence=0.8)

    assert metadata.out_of_fold.block_sessions == _HORIZON
    assert metadata.out_of_fold.roc_auc_interval is not None
    assert metadata.validation.log_loss_interval is not None
    assert _train(_window(), off).metadata.out_of_fold.f1_interval is None
    changed = _train(_window(), other).metadata.out_of_fold
    assert (changed.n_draws, changed.confidence) == (100, 0.8)
    assert changed.roc_auc_interval != metadata.out_of_fold.roc_auc_interval


_TUNED = TeacherConfig(booster=_FAST.booster, tuning=TuningConfig(n_trials=5))


def test_tuning_never_sees_a_label_of_the_validation_part() -> None:
    """Flipped there and where labels reach into it, they change no trial and no choice."""
    window = _window()
    numbers = window["session_number"].to_numpy(), window["label_end_number"].to_numpy()
    split = split_validation(*numbers, SplitConfig())
    unseen = np.ones(window.height, dtype=bool)
    unseen[split.train] = False

    def flipped(rows: np.ndarray[Any, Any]) -> TeacherResult:
        label = pl.when(pl.Series(rows)).then(1 - pl.col("label")).otherwise("label")
        return _train(window.with_columns(label=label.cast(pl.Int8)), _TUNED)

    # Not all of them: two classes with changed names are as hard to tell apart.
    seen = ~unseen & (np.arange(window.height) % 2 == 0)
    before, after, other = _train(window, _TUNED), flipped(unseen), flipped(seen)

    assert before.trials.height == 6
    assert before.trials.equals(after.trials)
    assert before.metadata.tuning == after.metadata.tuning
    assert before.model_text != after.model_text
    assert not before.trials.equals(other.trials)


def test_chosen_settings_reach_the_kept_model() -> None:
    """The booster itself says them; without tuning there is no trial and no record."""
    window = _window()
    result = _train(window, _TUNED)
    tuning, parameters = result.metadata.tuning, result.metadata.parameters

    assert tuning is not None
    assert tuning.n_trials == 6
    assert tuning.chosen_trial > 0
    assert float(parameters["num_leaves"]) == tuning.parameters["num_leaves"]
    assert float(parameters["learning_rate"]) == pytest.approx(tuning.parameters["learning_rate"])
    assert result.metadata.config_digest == digest_of(_TUNED)
    assert (_train(window).trials.height, _train(window).metadata.tuning) == (0, None)


@pytest.mark.parametrize("config", [_FAST, _TUNED], ids=["given", "tuned"])
@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (_window(n=30).with_columns(label=(pl.int_range(pl.len()) >= 24).cast(pl.Int8)), "small"),
        (_window().with_columns(label=(pl.int_range(pl.len()) >= 110).cast(pl.Int8)), "one class"),
        (_window().with_columns(label_end_number=pl.lit(5000, dtype=pl.Int32)), "small|no rows"),
    ],
    ids=["short", "one class", "all purged"],
)
def test_a_window_that_cannot_teach_is_skipped_tuned_or_not(
    config: TeacherConfig, rows: pl.DataFrame, error: str
) -> None:
    """Tuning finds no settings for it either; too few rows are told before one class."""
    with pytest.raises((InsufficientHistoryError, DegenerateLabelsError), match=error):
        _train(rows, config, min_samples=10)
