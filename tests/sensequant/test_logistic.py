"""The regression agrees with scikit-learn, and missing inputs follow the stated rule."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from sensequant.boosting import Floats
from sensequant.errors import RecordError
from sensequant.logistic import LogisticModel, fit_logistic

_N = 300


def _data(seed: int = 0, *, missing_frac: float = 0.0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(_N, 4)) * [1.0, 100.0, 0.01, 1.0] + [0.0, 500.0, 0.0, 3.0]
    odds = features[:, 0] + (features[:, 1] - 500) / 100 - 0.5
    labels = (rng.random(_N) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    features[rng.random(features.shape) < missing_frac] = np.nan
    return features, labels


def _theirs(
    inputs: Floats, labels: Floats, *, penalty: float, weights: Floats | None = None
) -> Any:
    model: Any = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=10_000)
    return model.fit(inputs, labels, sample_weight=weights)


def _standardised(features: Floats) -> Floats:
    return (features - np.nanmean(features, axis=0)) / np.nanstd(features, axis=0)


@pytest.mark.parametrize("penalty", [0.1, 10.0, 1000.0])
def test_hard_labels_give_the_coefficients_of_scikit_learn(penalty: float) -> None:
    """The same loss, penalty and free intercept, on inputs that were standardised by hand."""
    features, labels = _data()
    ours = fit_logistic(features, labels, weights=None, l2_penalty=penalty)
    inputs = _standardised(features)
    theirs = _theirs(inputs, labels, penalty=penalty)

    np.testing.assert_allclose(ours.coefficient, theirs.coef_[0], atol=1e-5)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=1e-5)
    np.testing.assert_allclose(ours.score(features), theirs.predict_proba(inputs)[:, 1], atol=1e-6)


def test_soft_targets_are_rows_of_both_labels_by_weight() -> None:
    """A target of 0.3 is a row of label 1 that counts 0.3 and one of label 0 that counts 0.7."""
    features, labels = _data()
    targets = 0.1 + 0.7 * labels
    ours = fit_logistic(features, targets, weights=None, l2_penalty=10.0)
    inputs = _standardised(features)
    theirs = _theirs(
        np.vstack([inputs, inputs]),
        np.repeat([1.0, 0.0], _N),
        penalty=10.0,
        weights=np.concatenate([targets, 1 - targets]),
    )

    np.testing.assert_allclose(ours.coefficient, theirs.coef_[0], atol=1e-5)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=1e-5)


def test_missing_inputs_are_the_mean_and_an_indicator() -> None:
    """Scikit-learn on zeros and indicator columns made by hand finds the same coefficients."""
    features, labels = _data(missing_frac=0.2)
    features[:, 3] = np.random.default_rng(1).normal(size=_N)
    weights = np.random.default_rng(2).uniform(0.5, 2.0, _N)
    ours = fit_logistic(features, labels, weights=weights, l2_penalty=5.0)
    is_missing = np.isnan(features)
    inputs = np.hstack([np.nan_to_num(_standardised(features)), is_missing[:, :3]])
    theirs = _theirs(inputs, labels, penalty=5.0, weights=weights / weights.mean())

    np.testing.assert_allclose(
        [*ours.coefficient, *ours.missing_coefficient[:3]], theirs.coef_[0], atol=1e-5
    )
    # Column 3 was never missing, so its absence says nothing.
    assert ours.missing_coefficient[3] == 0
    np.testing.assert_allclose(ours.score(features), theirs.predict_proba(inputs)[:, 1], atol=1e-6)


def test_columns_without_a_difference_count_nothing() -> None:
    """Constant and always missing columns have coefficient 0, whatever comes later."""
    features, labels = _data()
    features[:, 1], features[:, 2] = 7.0, np.nan
    model = fit_logistic(features, labels, weights=None, l2_penalty=1.0)
    later = features.copy()
    later[:, 1], later[:, 2] = 9.0, 3.0

    assert model.coefficient[1] == model.coefficient[2] == 0
    assert model.missing_coefficient == (0, 0, 0, 0)
    np.testing.assert_array_equal(model.score(features), model.score(later))


def test_the_unit_of_the_weights_counts_nothing() -> None:
    """Weights of 0.5 to 2 and a thousand times as much give one model to rounding."""
    features, labels = _data()
    weights = np.random.default_rng(2).uniform(0.5, 2.0, _N)
    one, other = (
        fit_logistic(features, labels, weights=weights * unit, l2_penalty=5.0)
        for unit in (1.0, 1000.0)
    )

    np.testing.assert_allclose(one.coefficient, other.coefficient, atol=1e-7)


@given(st.integers(min_value=0, max_value=19_999))
def test_the_score_of_a_row_does_not_depend_on_its_neighbours(place: int) -> None:
    """Alone or among 20,000 rows, the same bits."""
    features = np.tile(_data(missing_frac=0.2)[0], (67, 1))[:20_000]
    row = features[place : place + 1]

    assert _MODEL.score(row)[0] == _MODEL.score(features)[place]


_MODEL = fit_logistic(*_data(missing_frac=0.2), weights=None, l2_penalty=10.0)


@pytest.mark.parametrize(
    "fields",
    [
        {"mean": (0.0, 0.0)},
        {"scale": (1.0, 0.0, 1.0, 1.0)},
        {"coefficient": ()},
        {"mean": (), "scale": (), "coefficient": (), "missing_coefficient": ()},
    ],
)
def test_unsound_coefficients_are_refused(fields: dict[str, Any]) -> None:
    """Lengths differ, a scale is not positive, there is no column."""
    with pytest.raises(RecordError, match="not sound"):
        LogisticModel.model_validate(_MODEL.model_dump() | fields)
