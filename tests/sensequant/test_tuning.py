"""Tuning: which settings are tried, what they are worth, and which are taken."""

from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from sklearn import metrics

from sensequant.booster_config import BoosterConfig
from sensequant.boosting import TrainingData, fit_predictor, predict
from sensequant.records import derive_seed
from sensequant.splits import Split, SplitConfig, purged_folds
from sensequant.tuning import TRIALS_SCHEMA, Tuned, TuningConfig, TuningRecord, tune_booster

# scikit-learn has no types; it is an oracle here.
oracle = cast("Any", metrics)

COLUMNS = ("a", "b", "c", "d")
GIVEN = BoosterConfig(n_estimators=15, min_child_samples=10, early_stopping_rounds=5)
TUNED = TRIALS_SCHEMA.names()[3:]


def _data(seed: int = 0, n: int = 120, *, signal: float = 1.0) -> TrainingData:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, len(COLUMNS)))
    outcome = signal * features[:, 0] + rng.normal(size=n)
    return TrainingData(features, (outcome > 0).astype(np.float64), COLUMNS)


def _folds(n: int = 120) -> list[Split]:
    return purged_folds(np.arange(n), np.arange(n) + 3, SplitConfig(n_folds=3))


def _tune(data: TrainingData, booster: BoosterConfig = GIVEN, **changes: Any) -> Tuned:
    settings: dict[str, Any] = {"n_trials": 12, "seed": 5, "n_threads": 1}
    return tune_booster(data, _folds(), booster=booster, **(settings | changes))


def _record(tuned: Tuned) -> TuningRecord:
    assert tuned.record is not None
    return tuned.record


def test_every_trial_is_kept_and_the_best_is_taken() -> None:
    """Trial 0 are the given settings; the least loss is chosen and reaches the booster."""
    tuned = _tune(_data())
    record, trials = _record(tuned), tuned.trials

    assert trials.schema == TRIALS_SCHEMA
    assert trials["trial"].to_list() == list(range(13))
    assert trials.row(0, named=True) | {"log_loss": 0, "is_chosen": 0} == {
        "trial": 0,
        "log_loss": 0,
        "is_chosen": 0,
        **{name: getattr(GIVEN, name) for name in TUNED},
    }
    best = trials.sort("log_loss", "trial", nulls_last=True).row(0, named=True)
    assert trials.filter("is_chosen")["trial"].to_list() == [best["trial"]]
    assert {name: getattr(tuned.booster, name) for name in TUNED} == {
        name: best[name] for name in TUNED
    }
    assert record.parameters == {name: best[name] for name in TUNED}
    assert (record.n_trials, record.chosen_trial) == (13, best["trial"])
    assert (record.chosen_log_loss, record.given_log_loss) == (
        best["log_loss"],
        trials["log_loss"][0],
    )
    assert tuned.booster.n_estimators == GIVEN.n_estimators
    assert TuningRecord.model_validate_json(record.model_dump_json()) == record


def test_a_trial_is_worth_the_mean_loss_of_its_folds() -> None:
    """Fitted anew fold by fold and judged by scikit-learn, the given settings have that loss."""
    data, losses = _data(), list[float]()
    for number, split in enumerate(_folds()):
        held_out = data.take(split.validation)
        predictor = fit_predictor(
            data.take(split.train),
            objective="binary",
            config=GIVEN,
            seed=derive_seed(5, "fold", str(number)),
            n_threads=1,
            validation=held_out,
        )
        scores = predict(predictor, held_out.features, n_threads=1)
        losses.append(oracle.log_loss(held_out.targets, scores))

    assert _record(_tune(data)).given_log_loss == pytest.approx(np.mean(losses))


def test_equal_inputs_give_equal_trials_on_any_number_of_threads() -> None:
    """Proposals and losses depend on the seed and on nothing else."""
    one, two = _tune(_data(), n_trials=3), _tune(_data(), n_trials=3, n_threads=2)

    assert one.trials.equals(two.trials)
    assert one.booster == two.booster
    assert not one.trials.equals(_tune(_data(), n_trials=3, seed=6).trials)


def test_poor_settings_are_replaced() -> None:
    """A thousandth of each tree in ten rounds learns nothing; the search finds better."""
    poor = BoosterConfig(
        n_estimators=10, learning_rate=0.001, min_child_samples=20, early_stopping_rounds=0
    )
    record = _record(_tune(_data(signal=2.0), poor))

    assert record.chosen_trial > 0
    assert record.given_log_loss is not None
    assert record.chosen_log_loss is not None
    assert record.chosen_log_loss < record.given_log_loss - 0.05


def test_the_search_learns_from_its_trials() -> None:
    """After the random start, proposals are better than random ones, over eight windows."""
    early, late = list[float](), list[float]()
    for seed in range(8):
        losses = _tune(_data(seed, signal=2.0), seed=seed, n_trials=30).trials["log_loss"]
        early += losses[1:11].drop_nulls().to_list()
        late += losses[21:].drop_nulls().to_list()

    assert np.mean(late) < np.mean(early) - 0.02


def test_settings_that_cannot_split_have_no_value() -> None:
    """They are kept, counted and never taken; where nothing can split the given ones stay."""
    large = GIVEN.model_copy(update={"min_child_samples": 60})
    mixed = _tune(_data(), large)
    hopeless = tune_booster(_data(n=12), _folds(12), booster=large, n_trials=4, seed=5, n_threads=1)

    assert mixed.trials["log_loss"][0] is None
    assert _record(mixed).chosen_trial > 0
    assert _record(mixed).n_without_value == mixed.trials["log_loss"].null_count() == 1
    assert hopeless.booster == large
    assert (_record(hopeless).chosen_trial, _record(hopeless).n_without_value) == (0, 5)


def test_proposals_fit_into_the_smallest_fold() -> None:
    """Thirty rows in three folds leave 14 at least: every proposal finds room for a split."""
    small = BoosterConfig(n_estimators=10, min_child_samples=2, early_stopping_rounds=0)
    tuned = tune_booster(_data(n=30), _folds(30), booster=small, n_trials=40, seed=5, n_threads=1)
    least = tuned.trials.select(2 * pl.col("min_child_samples") / pl.col("subsample"))

    assert min(split.train.size for split in _folds(30)) == 14
    assert tuned.trials["log_loss"].null_count() == 0
    assert least.to_series().max() == pytest.approx(14, abs=2)
    assert tuned.trials["min_child_samples"][1:].n_unique() > 1


def test_where_every_fold_learns_from_one_class_the_given_settings_stay() -> None:
    """No trial has a value then, and none is better than another."""
    labels = np.zeros(120)
    tuned = _tune(TrainingData(_data().features, labels, COLUMNS))
    record = _record(tuned)

    assert tuned.booster == GIVEN
    assert (record.chosen_trial, record.chosen_log_loss) == (0, None)
    assert record.n_without_value == 13


def test_without_bagging_the_share_of_rows_is_not_searched() -> None:
    """It would act on nothing, which settings refuse."""
    whole = BoosterConfig(n_estimators=10, subsample=1.0, bagging_freq=0, min_child_samples=10)
    trials = _tune(_data(), whole).trials

    assert trials["subsample"].unique().to_list() == [1.0]
    assert trials["num_leaves"].n_unique() > 3


def test_weights_reach_the_search() -> None:
    """Other weights, other losses."""
    data = _data()
    weights = np.linspace(0.1, 2, 120)
    weighted = TrainingData(data.features, data.targets, COLUMNS, weights)

    assert not _tune(weighted).trials["log_loss"].equals(_tune(data).trials["log_loss"])


def test_the_search_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed, neither by Optuna nor by LightGBM."""
    _tune(_data())

    assert capfd.readouterr() == ("", "")


def test_nothing_tried_is_an_empty_table() -> None:
    """Without tuning the table has its columns and no row."""
    tuned = Tuned.without_trials(GIVEN)

    assert tuned.trials.equals(pl.DataFrame(schema=TRIALS_SCHEMA))
    assert (tuned.booster, tuned.record) == (GIVEN, None)


@pytest.mark.parametrize("n_trials", [-1, 201])
def test_trials_are_bounded(n_trials: int) -> None:
    """From none to two hundred."""
    with pytest.raises(ValidationError):
        TuningConfig(n_trials=n_trials)
