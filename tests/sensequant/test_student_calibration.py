"""Probabilities of label 1 are honest on unseen rows, and never change the ranking."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from sensequant.boosting import TrainingData
from sensequant.errors import RecordError
from sensequant.evaluation.measures import brier_score, expected_calibration_error, roc_auc
from sensequant.splits import SplitConfig, purged_folds
from sensequant.student_calibration import (
    Calibration,
    calibrate,
    cross_fitted_log_odds,
    fit_curve,
)
from sensequant.student_config import StudentConfig
from sensequant.student_model import fit_scorer

_COLUMNS = ("a", "b", "c")
_CONFIG = StudentConfig(alpha=0.0, min_child_samples=5)


def _places(n: int, horizon: int = 1) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]:
    numbers = np.arange(n, dtype=np.int64)
    return numbers, numbers + horizon


def _planted(n: int, seed: int, *, strength: float = 1.0, base: float = 0.0) -> TrainingData:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 3))
    labels = rng.random(n) < expit(strength * features[:, 0] + base)
    return TrainingData(features, labels.astype(np.float64), _COLUMNS)


def _calibrated(
    data: TrainingData, config: StudentConfig = _CONFIG, horizon: int = 1
) -> Calibration:
    starts, ends = _places(len(data.targets), horizon)
    return calibrate(data, data.targets, places=(starts, ends), config=config, seed=1, n_threads=1)


@given(st.integers(min_value=0, max_value=1000), st.floats(min_value=0.3, max_value=3))
def test_the_curve_without_a_prior_is_that_of_scikit_learn(seed: int, slope: float) -> None:
    """Unpenalised logistic regression on one input finds the same intercept and slope."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(size=400)
    labels = (rng.random(400) < expit(slope * log_odds - 0.5)).astype(np.float64)
    theirs: Any = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000)
    theirs.fit(log_odds[:, None], labels)

    found = fit_curve(log_odds, labels, prior_sd=None)

    assert found == pytest.approx((theirs.intercept_[0], theirs.coef_[0, 0]), abs=1e-4)


def test_the_prior_is_that_of_the_doc() -> None:
    """No other pair on a fine grid has a higher log-likelihood minus half of ln(slope) squared."""
    rng = np.random.default_rng(3)
    log_odds = rng.normal(size=60)
    labels = (rng.random(60) < expit(0.2 * log_odds)).astype(np.float64)

    def goodness(intercept: float, slope: float) -> float:
        said = expit(intercept + slope * log_odds)
        likely = labels * np.log(said) + (1 - labels) * np.log(1 - said)
        return float(likely.sum() - np.log(slope) ** 2 / 2)

    best = fit_curve(log_odds, labels)
    around = [
        goodness(best[0] + shift, best[1] * stretch)
        for shift in np.linspace(-1, 1, 41)
        for stretch in np.geomspace(0.1, 10, 41)
    ]

    assert goodness(*best) >= max(around) - 1e-9


def test_scores_that_rank_backwards_still_get_a_rising_curve() -> None:
    """The slope is positive even then, so that ranks stay; it is small, and the mean is right."""
    rng = np.random.default_rng(4)
    log_odds = rng.normal(size=2000)
    labels = (rng.random(2000) < expit(-log_odds)).astype(np.float64)

    intercept, slope = fit_curve(log_odds, labels)

    assert 0 < slope < 0.05
    assert expit(intercept + slope * log_odds).mean() == pytest.approx(labels.mean(), abs=1e-6)


@given(
    st.lists(st.floats(min_value=0, max_value=1), min_size=2, max_size=20),
    st.floats(min_value=-5, max_value=5),
    st.floats(min_value=1e-3, max_value=20),
)
def test_probabilities_rank_as_scores_do(
    scores: list[float], intercept: float, slope: float
) -> None:
    """Sorted scores give sorted probabilities in [0, 1]."""
    calibration = Calibration(reason=None, intercept=intercept, slope=slope)
    said = calibration.probability(np.sort(scores))

    assert (np.diff(said) >= 0).all()
    assert ((said >= 0) & (said <= 1)).all()


@pytest.mark.parametrize("kind", ["boosted", "logistic"])
def test_probabilities_are_honest_on_new_rows(kind: str) -> None:
    """Scores drawn to one half by soft targets become probabilities that later rows bear out."""
    known, new = _planted(1500, 0, base=-0.8), _planted(20_000, 1, base=-0.8)
    soft = TrainingData(known.features, 0.35 + 0.3 * known.targets, _COLUMNS)
    config = StudentConfig.model_validate({"kind": kind})
    starts, ends = _places(1500)
    calibration = calibrate(
        soft, known.targets, places=(starts, ends), config=config, seed=1, n_threads=1
    )
    scores = fit_scorer(soft, config=config, seed=1, n_threads=1).score(new.features, n_threads=1)
    probability = calibration.probability(scores)
    before, after = (
        expected_calibration_error(new.targets, said) for said in (scores, probability)
    )

    assert before is not None
    assert after is not None
    assert after < 0.04 < before
    assert roc_auc(new.targets, probability) == roc_auc(new.targets, scores)
    assert calibration.brier_before is not None
    assert calibration.brier_after is not None
    assert calibration.brier_after < calibration.brier_before
    assert calibration.ece_before == pytest.approx(before, abs=0.05)


@pytest.mark.parametrize("kind", ["boosted", "logistic"])
def test_noise_is_said_to_be_the_share_of_ones(kind: str) -> None:
    """Scores that know nothing give nearly one probability, that of the labels."""
    data = _planted(2000, 5, strength=0.0, base=-1.0)
    config = StudentConfig.model_validate({"kind": kind, "alpha": 0.0})
    calibration = _calibrated(data, config)
    scores = fit_scorer(data, config=config, seed=1, n_threads=1).score(data.features, n_threads=1)
    said = calibration.probability(scores)

    assert said.std() < min(0.02, scores.std())
    assert said.mean() == pytest.approx(data.targets.mean(), abs=0.01)


def test_overlapping_noise_does_not_turn_the_ranking_round() -> None:
    """Cross-fitted scores of random walks rank like chance, where raw ones rank backwards."""
    raw_auc: list[float] = []
    restated_auc: list[float] = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        steps = rng.normal(size=150)
        labels = (np.convolve(steps, np.ones(7), "valid")[:130] > 0).astype(np.float64)
        data = TrainingData(rng.normal(size=(130, 3)), labels, _COLUMNS)
        starts, ends = _places(130, 7)
        folds = purged_folds(starts, ends, SplitConfig(n_folds=5))
        restated = cross_fitted_log_odds(data, folds, config=_CONFIG, seed=1, n_threads=1)
        shift = np.full(130, np.nan)
        for fold in folds:
            share = np.clip(labels[fold.train].mean(), 1e-12, 1 - 1e-12)
            shift[fold.validation] = logit(labels.mean()) - logit(share)
        scored = np.isfinite(restated)
        raw = restated - shift
        for values, found in ((raw, raw_auc), (restated, restated_auc)):
            auc = roc_auc(labels[scored], expit(values[scored]))
            assert auc is not None
            found.append(auc)

    assert np.mean(raw_auc) < 0.44
    assert np.mean(restated_auc) == pytest.approx(0.5, abs=0.04)


def test_a_flipped_label_never_reaches_its_own_score() -> None:
    """Labels of a fold may be anything: its scores differ by one common shift only."""
    data = _planted(200, 6)
    starts, ends = _places(200, 3)
    folds = purged_folds(starts, ends, SplitConfig(n_folds=4))
    held_out = folds[2].validation
    flipped = data.targets.copy()
    flipped[held_out] = 1 - flipped[held_out]
    other = TrainingData(data.features, flipped, _COLUMNS)
    one, two = (
        cross_fitted_log_odds(each, folds, config=_CONFIG, seed=1, n_threads=1)
        for each in (data, other)
    )

    assert np.ptp((one - two)[held_out]) < 1e-9


def test_figures_are_those_of_the_cross_fitted_rows() -> None:
    """Counts, Brier score, calibration error and reliability are recomputed from the parts."""
    data = _planted(400, 7)
    calibration = _calibrated(data)
    starts, ends = _places(400)
    folds = purged_folds(starts, ends, SplitConfig(n_folds=5))
    log_odds = cross_fitted_log_odds(data, folds, config=_CONFIG, seed=1, n_threads=1)
    assert calibration.intercept is not None
    assert calibration.slope is not None
    said = expit(calibration.intercept + calibration.slope * log_odds)
    table = calibration.reliability

    assert (calibration.n_rows, calibration.n_positive) == (400, data.targets.sum())
    assert calibration.brier_before == pytest.approx(brier_score(data.targets, expit(log_odds)))
    assert calibration.brier_after == pytest.approx(brier_score(data.targets, said))
    assert calibration.ece_after == pytest.approx(expected_calibration_error(data.targets, said))
    assert sum(each.n for each in table) == 400
    assert sum(each.n * each.positive_frac for each in table) == pytest.approx(data.targets.sum())
    assert [each.mean_probability for each in table] == sorted(
        each.mean_probability for each in table
    )


@pytest.mark.parametrize(
    ("data", "config", "reason"),
    [
        (_planted(200, 0), StudentConfig(calibration="none"), "off"),
        (_planted(4, 0), _CONFIG, "too_few_sessions"),
        (_planted(29, 0), StudentConfig(kind="logistic"), "too_few_rows"),
        # No fold leaves enough rows for a single split.
        (_planted(60, 0), StudentConfig(min_child_samples=100), "too_few_rows"),
    ],
)
def test_why_there_is_no_probability(
    data: TrainingData, config: StudentConfig, reason: str
) -> None:
    """The reason is recorded and every probability is missing."""
    calibration = _calibrated(data, config)

    assert calibration.reason == reason
    assert calibration.slope is None
    assert np.isnan(calibration.probability(np.array([0.1, 0.9]))).all()


def test_one_class_has_no_probability() -> None:
    """Soft targets can differ where all labels of the cross-fitted rows are the same."""
    data = _planted(100, 0)
    starts, ends = _places(100)
    calibration = calibrate(
        TrainingData(data.features, 0.3 + 0.2 * data.targets, _COLUMNS),
        np.zeros(100),
        places=(starts, ends),
        config=_CONFIG,
        seed=1,
        n_threads=1,
    )

    assert (calibration.reason, calibration.n_rows, calibration.n_positive) == ("one_class", 100, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"reason": None},
        {"reason": None, "intercept": 0.0, "slope": 0.0},
        {"reason": "off", "intercept": 0.0, "slope": 1.0},
    ],
)
def test_an_unsound_calibration_is_refused(fields: dict[str, object]) -> None:
    """A curve that rises, or a reason; never both, never neither."""
    with pytest.raises(RecordError, match="not sound"):
        Calibration.model_validate(fields)
