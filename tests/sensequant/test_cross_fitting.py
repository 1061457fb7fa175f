"""Cross-fitting: base rates with weights, and permutation importance against a loop."""

from typing import Any

import numpy as np
import pytest

from sensequant import cross_fitting
from sensequant.booster_config import BoosterConfig
from sensequant.boosting import Floats, TrainingData, fit_predictor, predict
from sensequant.cross_fitting import CrossFit, cross_fit, is_one_class
from sensequant.records import derive_seed
from sensequant.splits import Split, SplitConfig, purged_folds, split_validation

COLUMNS = ("planted", "weak", "noise_1", "noise_2", "constant")
BOOSTER = BoosterConfig(n_estimators=20, num_leaves=7, learning_rate=0.1, early_stopping_rounds=0)


def _data(seed: int = 0, n: int = 150, weights: Any = None) -> TrainingData:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, len(COLUMNS)))
    features[:, 4] = 1.0
    outcome = 2 * features[:, 0] + 0.7 * features[:, 1] + rng.normal(size=n)
    features[rng.random(features.shape) < 0.05] = np.nan
    return TrainingData(features, (outcome > 0).astype(np.float64), COLUMNS, weights)


def _folds(n: int = 150) -> list[Split]:
    return purged_folds(np.arange(n), np.arange(n) + 3, SplitConfig())


def _crossed(data: TrainingData, **changes: Any) -> CrossFit:
    settings: dict[str, Any] = {
        "config": BOOSTER,
        "rounds": [None] * len(_folds()),
        "reference_positive_frac": 0.5,
        "seed": 3,
        "n_threads": 1,
    }
    return cross_fit(data, _folds(), **(settings | changes))


def _loss(targets: Floats, probability: Floats) -> float:
    chance = np.where(targets == 1, probability, 1 - probability)
    return float(-np.log(chance).mean())


def test_permutation_importance_is_that_of_a_loop() -> None:
    """Column by column, fold by fold, with models fitted anew: the same increases of the loss."""
    data = _data()
    found = _crossed(data)

    for number, split in enumerate(_folds()):
        train, held_out = data.take(split.train), data.take(split.validation)
        seed = derive_seed(3, "fold", str(number))
        model = fit_predictor(
            train, objective="binary", config=BOOSTER, seed=seed, n_threads=1, n_rounds=20
        )
        odds_of_training = train.targets.mean() / (1 - train.targets.mean())
        rng = np.random.default_rng(derive_seed(seed, "permutation"))
        shuffled = rng.permuted(held_out.features, axis=0)
        losses: list[float] = []
        for column in [None, *range(len(COLUMNS))]:
            features = held_out.features.copy()
            if column is not None:
                features[:, column] = shuffled[:, column]
            scores = predict(model, features, n_threads=1)
            odds = scores / (1 - scores) / odds_of_training
            losses.append(_loss(held_out.targets, odds / (1 + odds)))
        assert found.loss_increase[number] == pytest.approx(np.array(losses[1:]) - losses[0])


def test_permutation_importance_finds_the_planted_column() -> None:
    """Over 30 windows the planted column costs most, the weak one less, noise about nothing."""
    mean = np.mean([_crossed(_data(seed), seed=seed).loss_increase for seed in range(30)], axis=0)
    planted, weak, noise_1, noise_2, constant = mean.mean(axis=0)

    assert planted > 0.2
    assert 0.01 < weak < planted / 3
    assert abs(noise_1) < 0.01
    assert abs(noise_2) < 0.01
    assert constant == 0.0


def test_columns_may_be_scored_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide universe does not fit into one call: piece by piece it is the same to the bit."""
    whole = _crossed(_data())
    monkeypatch.setattr(cross_fitting, "_CELLS_AT_ONCE", 1)
    pieces = _crossed(_data())

    np.testing.assert_array_equal(whole.loss_increase, pieces.loss_increase)
    np.testing.assert_array_equal(whole.probability, pieces.probability)


def test_of_a_large_fold_some_rows_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty of thirty rows of each fold rank the columns alike, and change no probability."""
    whole = _crossed(_data())
    monkeypatch.setattr(cross_fitting, "_ROWS_TO_SHUFFLE", 20)
    some = _crossed(_data())

    np.testing.assert_array_equal(whole.probability, some.probability)
    assert not np.array_equal(whole.loss_increase, some.loss_increase)
    assert some.loss_increase.mean(axis=0).argmax() == 0
    assert some.loss_increase[:, 4].tolist() == [0.0] * 5


def test_threads_change_no_bit() -> None:
    """One thread and three give the same probabilities and importances."""
    one, three = _crossed(_data()), _crossed(_data(), n_threads=3)

    np.testing.assert_array_equal(one.probability, three.probability)
    np.testing.assert_array_equal(one.loss_increase, three.loss_increase)


def test_weights_shift_the_share_that_a_fold_learns() -> None:
    """Ones that weigh three times as much are learnt as more, and restated from there.

    Without restating, mean probabilities would move by about a fifth.
    """
    labels = _data().targets
    weighted = _data(weights=np.where(labels == 1, 3.0, 1.0))
    found, equal = _crossed(weighted), _crossed(_data())
    for number, split in enumerate(_folds()):
        ones = labels[split.train].mean()
        assert found.positive_frac[number] == pytest.approx(3 * ones / (2 * ones + 1))

    assert not np.array_equal(found.probability, equal.probability)
    assert abs(found.probability.mean() - equal.probability.mean()) < 0.06


def test_folds_that_cannot_learn_say_nothing() -> None:
    """No model, no importance of that fold; the others speak."""
    data = _data()
    ones = np.zeros(150)
    ones[[31, 35, 40, 44, 50, 55]] = 1.0
    late = TrainingData(data.features, ones, COLUMNS)
    found = _crossed(late)
    none = _crossed(_data(), config=BOOSTER.model_copy(update={"min_child_samples": 100}))

    assert (found.n_one_class, found.n_too_small) == (30, 0)
    assert found.loss_increase.shape == (4, 5)
    assert np.isnan(found.probability[30:60]).all()
    assert none.loss_increase.shape == (0, 5)
    assert none.n_too_small == 150


@pytest.mark.parametrize(("targets", "expected"), [([], True), ([1, 1], True), ([0, 1], False)])
def test_one_class_is_recognised(targets: list[int], expected: bool) -> None:
    """No targets are no two classes either."""
    assert is_one_class(np.array(targets, dtype=np.float64)) == expected


def test_rounds_are_chosen_by_rows_that_are_not_scored() -> None:
    """With early stopping, no label of a fold reaches the probabilities of its rows."""
    stopping = BOOSTER.model_copy(update={"n_estimators": 200, "early_stopping_rounds": 10})
    places = np.arange(150), np.arange(150) + 3
    divisions = [
        split_validation(places[0][fold.train], places[1][fold.train], SplitConfig())
        for fold in _folds()
    ]
    data = _data()
    found = _crossed(data, config=stopping, rounds=divisions)

    for number, fold in enumerate(_folds()):
        targets = data.targets.copy()
        targets[fold.validation] = 1 - targets[fold.validation]
        flipped = TrainingData(data.features, targets, COLUMNS)
        other = _crossed(flipped, config=stopping, rounds=divisions)

        np.testing.assert_array_equal(
            found.probability[found.fold == number], other.probability[found.fold == number]
        )
    assert np.isfinite(found.probability).all()
    assert not np.array_equal(found.probability, _crossed(data).probability)


def test_a_fold_that_cannot_choose_its_rounds_says_nothing() -> None:
    """Where the training part leaves nothing to choose on, there is no default number of rounds."""
    stopping = BOOSTER.model_copy(update={"early_stopping_rounds": 10})

    found = _crossed(_data(), config=stopping)

    assert np.isnan(found.probability).all()
    assert found.n_too_small == 150
