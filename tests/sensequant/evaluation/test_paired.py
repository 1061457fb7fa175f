"""Differences against a baseline agree with explicit sums, closed formulas and simulation."""

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from sensequant.evaluation.hypotheses import ReturnSeries, SignificanceConfig
from sensequant.evaluation.paired import mean_difference, sharpe_difference

CONFIG = SignificanceConfig(n_draws=400)


def pair(net: np.ndarray, baseline: np.ndarray, *, horizon: int = 1) -> ReturnSeries:
    return ReturnSeries(
        net=net,
        paired_net=net,
        benchmark=baseline,
        risk_free=0.0,
        horizon=horizon,
        seed=3,
        config=CONFIG,
    )


def correlated(seed: int, *, n: int = 400, edge: float = 0.0) -> ReturnSeries:
    rng = np.random.default_rng(seed)
    common = rng.normal(0.0005, 0.01, n)
    return pair(common + rng.normal(edge, 0.006, n), common + rng.normal(0, 0.006, n))


def test_the_mean_difference_is_the_t_test_of_statsmodels() -> None:
    """Statistic and p-value of a regression on a constant with HAC errors."""
    data = correlated(0)

    found = mean_difference(data, "universe")

    lags = found.lags
    fit = cast("Any", OLS(data.excess, np.ones(400))).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True}, use_t=True
    )
    assert found.name == "mean_excess_universe"
    assert found.statistic == pytest.approx(float(fit.tvalues[0]))
    assert found.p_value == pytest.approx(float(stats.t.sf(float(fit.tvalues[0]), 399)))


def test_the_statistic_by_explicit_delta_method() -> None:
    """Gradient of both Sharpe ratios by the four moments, and Bartlett sums of their products."""
    data = correlated(1)
    a, b = data.paired_net, data.benchmark
    n = a.size
    moments = np.column_stack([a, b, a**2, b**2])
    (mu_a, mu_b, gamma_a, gamma_b) = moments.mean(axis=0)
    var_a, var_b = gamma_a - mu_a**2, gamma_b - mu_b**2
    gradient = np.array(
        [
            gamma_a / var_a**1.5,
            -gamma_b / var_b**1.5,
            -mu_a / 2 / var_a**1.5,
            mu_b / 2 / var_b**1.5,
        ]
    )
    centred = moments - moments.mean(axis=0)
    found = sharpe_difference(data, "universe")
    assert found.lags is not None
    total = centred.T @ centred
    for lag in range(1, found.lags + 1):
        product = centred[lag:].T @ centred[:-lag]
        total += (1 - lag / (found.lags + 1)) * (product + product.T)
    covariance = total / n * n / (n - 1)
    error = math.sqrt(gradient @ covariance @ gradient / n)
    difference = mu_a / math.sqrt(var_a) - mu_b / math.sqrt(var_b)

    assert found.statistic == pytest.approx(difference / error)
    assert found.estimate == pytest.approx(difference * math.sqrt(248))


def test_the_bootstrap_by_brute_force() -> None:
    """Each draw rebuilt session by session: its ratios, its influence, its block sums."""
    data = correlated(7, n=90, edge=0.001)
    found = sharpe_difference(data, "x")
    assert found.block_sessions is not None
    assert found.seed is not None
    block, values = found.block_sessions, np.column_stack([data.paired_net, data.benchmark])
    n_blocks = 90 // block
    observed = float(np.diff(values.mean(axis=0)[::-1] / values.std(axis=0)[::-1])[0])

    starts = np.random.default_rng(found.seed).integers(90, size=(400, n_blocks))
    statistics: list[float] = []
    for draw in starts:
        rows = np.concatenate([values[(start + np.arange(block)) % 90] for start in draw])
        deviations = rows.std(axis=0)
        ratios = rows.mean(axis=0) / deviations
        scaled = (rows - rows.mean(axis=0)) / deviations
        influence = scaled - ratios / 2 * (scaled**2 - 1)
        sums = (influence[:, 0] - influence[:, 1]).reshape(n_blocks, block).sum(axis=1)
        error = math.sqrt((sums**2).mean() / block / len(rows))
        statistics.append((ratios[0] - ratios[1] - observed) / error)

    assert found.estimate == pytest.approx(observed * math.sqrt(248))
    assert found.statistic is not None
    n_as_large = sum(each >= found.statistic for each in statistics)
    assert found.p_value == pytest.approx((1 + n_as_large) / 401)
    error = observed / found.statistic
    reach = float(np.quantile(np.abs(statistics), 0.95)) * error
    assert found.upper == pytest.approx((observed + reach) * math.sqrt(248))


def test_the_error_tends_to_that_of_independent_normal_returns() -> None:
    """Memmel (2003): (2 - 2 r + (s1^2 + s2^2 - 2 s1 s2 r^2) / 2) / n."""
    rng = np.random.default_rng(5)
    n, r = 40_000, 0.6
    noise = rng.normal(size=(n, 2))
    a = 0.10 + noise[:, 0]
    b = 0.05 + r * noise[:, 0] + math.sqrt(1 - r**2) * noise[:, 1]
    data = pair(a, b)

    found = sharpe_difference(replace(data, config=SignificanceConfig(n_draws=100)), "x")

    expected = math.sqrt((2 - 2 * r + (0.01 + 0.0025 - 2 * 0.1 * 0.05 * r**2) / 2) / n)
    assert found.statistic is not None
    assert found.estimate is not None
    assert found.estimate / math.sqrt(248) / found.statistic == pytest.approx(expected, rel=0.05)


def test_equal_ratios_are_rarely_told_apart() -> None:
    """Of 80 pairs without a difference, about four are rejected at 5 %."""
    config = SignificanceConfig(n_draws=100)
    pairs = (replace(correlated(seed, n=200), config=config) for seed in range(80))
    rejected = sum(bool(sharpe_difference(each, "x").rejects_null) for each in pairs)

    assert 1 <= rejected <= 11


def test_a_planted_edge_is_found_and_its_interval_holds_it() -> None:
    """A Sharpe ratio of about two more per year, over four hundred sessions, nearly always."""
    found = [sharpe_difference(correlated(seed, edge=0.002), "x") for seed in range(20)]

    assert sum(bool(each.rejects_null) for each in found) >= 17
    truth = (0.0025 - 0.0005) / math.hypot(0.01, 0.006) * math.sqrt(248)
    held = [each.lower < truth < each.upper for each in found if each.lower and each.upper]
    assert sum(held) >= 17


def test_the_same_portfolio_twice_has_no_test() -> None:
    """Nothing differs, so nothing is tested."""
    data = correlated(2)
    same = replace(data, benchmark=data.paired_net)

    assert sharpe_difference(same, "x").reason == "both portfolios earn the same"
    assert mean_difference(same, "x").reason == "the returns do not vary"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pair(np.zeros(0), np.zeros(0)), "no such baseline"),
        (pair(np.full(100, 0.001), np.random.default_rng(0).normal(size=100)), "do not vary"),
        (pair(np.random.default_rng(0).normal(size=100), np.zeros(100)), "do not vary"),
        (correlated(0, n=40), "too few"),
        (replace(correlated(0, n=80), horizon=40), "blocks to draw from"),
    ],
)
def test_unanswerable_questions_have_reasons(data: ReturnSeries, reason: str) -> None:
    """No baseline, constant returns on either side, too few sessions or blocks: never a pass."""
    found = sharpe_difference(data, "x")

    assert reason in (found.reason or "")
    assert found.rejects_null is None
    assert found.estimate is None
