"""Sharpe formulas agree with the numbers printed in their papers and with simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import ConfigError
from sensequant.evaluation.sharpe import (
    deflated_sharpe,
    expected_max_sharpe,
    probabilistic_sharpe,
)

DAILY = 2.5 / math.sqrt(250)
TRIAL_VARIANCE = 0.5 / 250


def test_expected_maximum_of_the_paper() -> None:
    """Bailey and López de Prado (2014): 100 trials of variance 1/2 a year give SR0 = 0.1132."""
    assert expected_max_sharpe(100, TRIAL_VARIANCE) == pytest.approx(0.1132, abs=5e-5)


@pytest.mark.parametrize(("n_trials", "expected"), [(100, 0.9004), (46, 0.9505)])
def test_deflated_ratio_of_the_paper(n_trials: int, expected: float) -> None:
    """The paper's example: 1,250 sessions, skewness -3, raw kurtosis 10, annual ratio 2.5."""
    found = deflated_sharpe(
        DAILY,
        n=1250,
        skewness=-3,
        kurtosis=10,
        n_trials=n_trials,
        trial_sharpe_variance=TRIAL_VARIANCE,
    )

    assert found == pytest.approx(expected, abs=5e-5)


def test_probabilistic_ratio_by_hand() -> None:
    """With a normal law, ratio 0.1 and 101 sessions: z = 1 / sqrt(1.005), by a table 0.8407."""
    found = probabilistic_sharpe(0.1, benchmark_sharpe=0, n=101, skewness=0, kurtosis=3)

    assert found == pytest.approx(0.5 * math.erfc(-1 / math.sqrt(1.005) / math.sqrt(2)))
    assert found == pytest.approx(0.8407, abs=5e-4)


def test_undefined_ratios_are_absent() -> None:
    """One session, or moments that make the variance negative, have no probability."""
    assert probabilistic_sharpe(0.1, benchmark_sharpe=0, n=1, skewness=0, kurtosis=3) is None
    assert probabilistic_sharpe(1.0, benchmark_sharpe=0, n=9, skewness=5, kurtosis=3) is None


def test_one_trial_needs_no_deflation() -> None:
    """With a single trial the best expected ratio is zero."""
    plain = probabilistic_sharpe(0.1, benchmark_sharpe=0, n=500, skewness=0, kurtosis=3)
    deflated = deflated_sharpe(
        0.1, n=500, skewness=0, kurtosis=3, n_trials=1, trial_sharpe_variance=0
    )

    assert deflated == plain


@given(st.integers(2, 500), st.floats(1e-6, 0.1))
def test_more_trials_raise_the_bar(n_trials: int, variance: float) -> None:
    """The best expected ratio grows with the number of trials and is never negative."""
    fewer = expected_max_sharpe(n_trials, variance)

    assert 0 <= fewer < expected_max_sharpe(n_trials + 1, variance)


def test_expected_maximum_is_that_of_simulated_trials() -> None:
    """The mean of the largest of 50 standard normal numbers is the formula's."""
    draws = np.random.default_rng(0).normal(size=(20_000, 50)).max(axis=1)

    assert expected_max_sharpe(50, 1.0) == pytest.approx(draws.mean(), abs=0.03)


@pytest.mark.parametrize(("n_trials", "variance"), [(0, 0.1), (5, -0.1)])
def test_impossible_trials_are_refused(n_trials: int, variance: float) -> None:
    """There is at least one trial and no negative variance."""
    with pytest.raises(ConfigError):
        expected_max_sharpe(n_trials, variance)
