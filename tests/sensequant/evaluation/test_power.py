"""The least detectable edge by hand, by simulation, and where nothing else can be told."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sensequant.evaluation.figures import Figure
from sensequant.evaluation.hypotheses import RankedRows, ReturnSeries, SignificanceConfig
from sensequant.evaluation.power import detectable_auc, detectable_sharpe

CONFIG = SignificanceConfig(n_draws=100)


def series(net: np.ndarray) -> ReturnSeries:
    return ReturnSeries(
        net=net,
        paired_net=net[:0],
        benchmark=net[:0],
        risk_free=0.0,
        horizon=1,
        seed=0,
        config=CONFIG,
    )


def ranked(**fields: float | str | None) -> RankedRows:
    auc = {"value": 0.53, "lower": 0.49, "upper": 0.57, "n": 1000, "unit": "probability"}
    return RankedRows(
        auc=Figure.model_validate(auc | fields), confidence=0.95, n_positive=400, n_negative=600
    )


def test_detectable_ratio_by_hand() -> None:
    """On 992 effective sessions (four years) it is (1.645 + 0.842) / 2 = 1.243, and 1 % more."""
    found = detectable_sharpe(series(np.random.default_rng(1).normal(0, 0.01, 500)))

    assert found.estimate is not None
    assert found.n_effective is not None
    as_if_four_years = found.estimate * math.sqrt(found.n_effective / 992)
    assert as_if_four_years == pytest.approx(1.2432, rel=0.01)
    assert as_if_four_years > 1.2432


def test_detectable_ratio_of_few_sessions_by_the_noncentral_t() -> None:
    """With ten sessions, at the ratio that is told, the t-test's power is the one asked for."""
    found = detectable_sharpe(series(np.random.default_rng(1).normal(0, 0.01, 10)))

    assert found.estimate is not None
    shift = found.estimate / math.sqrt(248) * math.sqrt(10)
    assert stats.nct.sf(stats.t.ppf(0.95, 9), 9, shift) == pytest.approx(0.8, abs=1e-5)


@pytest.mark.parametrize("n", [10, 500])
def test_power_curve_is_that_of_the_noncentral_t(n: int) -> None:
    """From the level without an edge, rising, through the power asked at the detectable ratio."""
    found = detectable_sharpe(series(np.random.default_rng(1).normal(0, 0.01, n)))
    sizes, powers = np.array(found.power_curve).T

    assert found.estimate is not None
    assert found.n_effective is not None
    worth, freedom = found.n_effective, found.n_effective - 1
    expected = stats.nct.sf(stats.t.ppf(0.95, freedom), freedom, sizes[1:] * math.sqrt(worth / 248))
    np.testing.assert_allclose(powers[1:], expected, atol=1e-4)
    assert powers[0] == pytest.approx(0.05)
    assert np.interp(found.estimate, sizes, powers) == pytest.approx(0.8, abs=0.01)
    assert sizes[-1] == pytest.approx(max(3, 2 * found.estimate))


def test_two_sessions_have_a_curve_without_holes() -> None:
    """What cannot be computed is left out, and never written as a number."""
    curve = detectable_sharpe(series(np.array([0.01, -0.01]))).power_curve

    assert all(math.isfinite(value) for point in curve for value in point)


def test_detectable_ratio_is_detected_as_often_as_stated() -> None:
    """Series whose true ratio is the detectable one are found in about 80 % of simulations."""
    n, found = 250, 0
    planted = (1.6449 + 0.8416) / math.sqrt(n)
    for seed in range(300):
        net = np.random.default_rng(seed).normal(planted * 0.01, 0.01, n)
        found += stats.ttest_1samp(net, 0, alternative="greater").pvalue < 0.05

    assert 0.72 < found / 300 < 0.88


def test_dependence_hides_more() -> None:
    """Returns that hang together show less: the edge is larger, the effective sample smaller."""
    noise = np.random.default_rng(2).normal(0, 0.01, 1000)
    smooth = np.convolve(noise, np.ones(5) / 5, mode="valid")

    alone, together = (detectable_sharpe(series(values)) for values in (noise, smooth))

    assert alone.estimate is not None
    assert together.estimate is not None
    assert together.estimate > 1.3 * alone.estimate
    assert together.n_effective is not None
    assert together.n_effective < 600


@pytest.mark.parametrize("net", [np.full(100, 0.001), np.linspace(0, 0.01, 30)])
def test_what_cannot_be_tested_still_tells_its_edge(net: np.ndarray) -> None:
    """Constant returns and short series: sessions count as independent, and the record says so."""
    found = detectable_sharpe(series(net))

    assert found.n_effective == net.size
    assert "count as independent" in found.assumptions
    assert found.reason is None


@pytest.mark.parametrize("n", [0, 1])
def test_without_sessions_nothing_could_have_been_shown(n: int) -> None:
    """No figure, and no limit that would look like one."""
    found = detectable_sharpe(series(np.zeros(n)))

    assert found.estimate is None
    assert "could not have shown anything" in (found.reason or "")


def test_few_trades_hide_dependence_but_not_the_edge() -> None:
    """One trade is too little for any test, and the data still have a least edge."""
    data = replace(series(np.random.default_rng(0).normal(0, 0.01, 200)), n_trades=1)

    assert detectable_sharpe(data).n_effective == 200


def test_detectable_auc_by_hand() -> None:
    """Half an interval of 0.08 over 1.96 is an error of 0.0204; times 2.4865 it is 0.0507."""
    found = detectable_auc(ranked(), CONFIG)

    assert found.estimate == pytest.approx(0.5507, abs=1e-4)
    error = math.sqrt(1001 / 12 / 400 / 600)
    assert found.n_effective == pytest.approx(1000 * (error / 0.020408) ** 2, rel=1e-3)
    assert found.rejects_null is None


def test_detectable_auc_without_an_interval_is_that_of_independent_rows() -> None:
    """Mann and Whitney: variance (n + 1) / (12 n1 n0)."""
    found = detectable_auc(ranked(lower=None, upper=None, reason="no draws"), CONFIG)

    error = math.sqrt(1001 / 12 / 400 / 600)
    assert found.estimate == pytest.approx(0.5 + 2.4865 * error, abs=1e-4)
    assert found.n_effective == 1000


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (None, "no row was scored and labelled"),
        (ranked(value=None, reason="one class only"), "one class only"),
        (ranked(lower=0.53, upper=0.53), "the interval of the AUC has no width"),
    ],
)
def test_no_ranking_no_detectable_auc(rows: RankedRows | None, reason: str) -> None:
    """Absent with its reason."""
    found = detectable_auc(rows, CONFIG)

    assert found.reason == reason
    assert found.estimate is None
