"""The single tests agree with explicit sums and answer None where data cannot."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sensequant.evaluation.contenders import Contenders
from sensequant.evaluation.hac import hac_fit, hac_lags
from sensequant.evaluation.hypotheses import (
    ReturnSeries,
    SignificanceConfig,
    TestResult,
    TrialCount,
)
from sensequant.evaluation.inference import (
    alpha_beta,
    deflated_excess_test,
    deflated_sharpe_test,
    information_ratio,
    mean_excess_bootstrap,
    mean_excess_newey_west,
    probabilistic_sharpe_test,
    sharpe_estimate,
    tracking_error,
)
from sensequant.evaluation.sharpe import expected_max_sharpe, probabilistic_sharpe

CONFIG = SignificanceConfig(n_draws=300)


def series(
    net: np.ndarray, benchmark: np.ndarray, horizon: int = 3, config: SignificanceConfig = CONFIG
) -> ReturnSeries:
    return ReturnSeries(
        net=net,
        paired_net=net[: benchmark.size],
        benchmark=benchmark,
        risk_free=0.0002,
        horizon=horizon,
        seed=11,
        config=config,
    )


def sample(seed: int = 0, n: int = 400, edge: float = 0.0005) -> ReturnSeries:
    rng = np.random.default_rng(seed)
    benchmark = rng.normal(0.0003, 0.01, n)
    return series(edge + 0.8 * benchmark + rng.normal(0, 0.004, n), benchmark)


def bartlett_error(values: np.ndarray, lags: int) -> float:
    """Return the Newey-West standard error of a mean by explicit sums."""
    n = values.size
    centred = values - values.mean()
    total = float(centred @ centred)
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag])
    return math.sqrt(total / n / n * n / (n - 1))


def test_lags_by_hand() -> None:
    """At 100 sessions 4 lags, at 1,500 7, and never fewer than the horizon less one."""
    assert hac_lags(100, 1) == 4
    assert hac_lags(1500, 1) == 7
    assert hac_lags(100, 10) == 9


def test_newey_west_by_explicit_sums() -> None:
    """The t statistic of the mean excess equals that from summed autocovariances."""
    data = sample()
    error = bartlett_error(data.excess, hac_lags(400, 3))
    statistic = float(data.excess.mean()) / error

    found = mean_excess_newey_west(data)

    assert found.statistic == pytest.approx(statistic)
    assert found.p_value == pytest.approx(float(stats.t.sf(statistic, 399)))
    assert found.estimate == pytest.approx(data.excess.mean() * 248)
    reach = float(stats.t.ppf(0.975, 399)) * error
    assert found.lower == pytest.approx((data.excess.mean() - reach) * 248)
    assert found.n_effective == pytest.approx(data.excess.var(ddof=1) / error**2)
    assert found.p_value is not None
    assert found.rejects_null is (found.p_value < 0.05)


def test_bootstrap_of_the_mean_agrees_with_theory() -> None:
    """On independent excess returns the bootstrap's p-value is near the t-test's."""
    rng = np.random.default_rng(3)
    net = rng.normal(0.0008, 0.01, 500)
    data = series(net, np.zeros(500), horizon=1, config=SignificanceConfig(n_draws=4000))
    expected = stats.ttest_1samp(net, 0, alternative="greater").pvalue

    found = mean_excess_bootstrap(data)

    assert found.p_value == pytest.approx(expected, abs=0.02)
    assert found.block_sessions is not None
    assert found.block_sessions >= 1
    assert found.lower is not None
    assert found.estimate is not None
    assert found.upper is not None
    assert found.lower < found.estimate < found.upper


def test_bootstrap_rarely_rejects_true_nulls() -> None:
    """Of 100 series without edge the bootstrap rejects about five."""
    rejected = 0
    config = SignificanceConfig(n_draws=200)
    for seed in range(100):
        net = np.random.default_rng(seed).normal(0, 0.01, 150)
        found = mean_excess_bootstrap(series(net, np.zeros(150), config=config))
        rejected += bool(found.rejects_null)

    assert rejected <= 13


def test_alpha_and_beta_are_those_of_least_squares() -> None:
    """Point estimates equal a plain least-squares fit; a planted beta of 0.8 is in its interval."""
    data = sample()
    design = np.column_stack([np.ones(400), data.benchmark - 0.0002])
    intercept, slope = np.linalg.lstsq(design, data.net - 0.0002, rcond=None)[0]

    alpha, beta = alpha_beta(data)

    assert alpha.estimate == pytest.approx(intercept * 248)
    assert beta.estimate == pytest.approx(slope)
    assert beta.lower is not None
    assert beta.upper is not None
    assert beta.lower < 0.8 < beta.upper
    assert beta.rejects_null is True


def test_alpha_error_by_explicit_sandwich() -> None:
    """The HAC error of alpha equals the sandwich of summed score products."""
    data = sample(4)
    design = np.column_stack([np.ones(400), data.benchmark - 0.0002])
    values = data.net - 0.0002
    fitted = np.linalg.lstsq(design, values, rcond=None)[0]
    scores = design * (values - design @ fitted)[:, None]
    lags = hac_lags(400, 3)
    middle = scores.T @ scores
    for lag in range(1, lags + 1):
        product = scores[lag:].T @ scores[:-lag]
        middle += (1 - lag / (lags + 1)) * (product + product.T)
    bread = np.linalg.inv(design.T @ design)
    covariance = bread @ middle @ bread * 400 / 398

    alpha, beta = alpha_beta(data)

    assert alpha.statistic == pytest.approx(fitted[0] / math.sqrt(covariance[0, 0]))
    residual = values - design @ fitted
    plain = float(residual @ residual) / 398 * bread[0, 0]
    assert alpha.n_effective == pytest.approx(400 * plain / covariance[0, 0])
    assert beta.statistic == pytest.approx(fitted[1] / math.sqrt(covariance[1, 1]))


def test_sharpe_tests_use_the_excess_over_the_risk_free_return() -> None:
    """The ratio inside is mean less risk-free over deviation; p is one less the probability."""
    data = sample()
    ratio = (data.net.mean() - 0.0002) / data.net.std(ddof=1)

    found = probabilistic_sharpe_test(data)
    annual = sharpe_estimate(data)

    assert found.inputs["sharpe_session"] == pytest.approx(ratio)
    assert found.inputs["kurtosis"] == pytest.approx(stats.kurtosis(data.net) + 3)
    assert found.estimate is not None
    assert found.p_value == pytest.approx(1 - found.estimate)
    assert annual.estimate == pytest.approx(ratio * math.sqrt(248))


def test_many_trials_weaken_the_evidence() -> None:
    """The deflated ratio of one trial is the probabilistic one; of fifty it is smaller."""
    data = sample()
    plain = probabilistic_sharpe_test(data).estimate

    one = deflated_sharpe_test(data, TrialCount(n_trials=1))
    fifty = deflated_sharpe_test(data, TrialCount(n_trials=50, sharpe_variance=0.001))
    unknown = deflated_sharpe_test(data, TrialCount(n_trials=50))

    assert one.estimate == plain
    assert fifty.estimate is not None
    assert plain is not None
    assert fifty.estimate < plain
    assert unknown.estimate is None
    assert unknown.rejects_null is None
    assert unknown.reason is not None


def test_certain_ratios_have_no_infinite_statistic() -> None:
    """A ratio so high that its probability rounds to one keeps a finite record."""
    rng = np.random.default_rng(0)
    net = 0.01 + rng.normal(0, 1e-4, 300)

    found = probabilistic_sharpe_test(series(net, np.zeros(300)))

    assert found.estimate == 1.0
    assert found.statistic is None
    assert found.p_value == 0


def test_ratio_without_a_variance_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the formula has no variance (two-point returns can) there is a reason, no pass."""

    def undefined(*_: float, **__: float) -> None:
        return None

    monkeypatch.setattr("sensequant.evaluation.inference.probabilistic_sharpe", undefined)

    found = probabilistic_sharpe_test(sample())

    assert found.reason == "the variance of the Sharpe ratio is not positive"
    assert found.rejects_null is None


def test_information_ratio_and_tracking_error_by_hand() -> None:
    """Their quotient rule: ratio times error is the annual mean excess."""
    data = sample()

    ratio, error = information_ratio(data), tracking_error(data)

    assert error.estimate == pytest.approx(data.excess.std(ddof=1) * math.sqrt(248))
    assert error.unit == "fraction per year"
    assert ratio.estimate is not None
    assert error.estimate is not None
    assert ratio.estimate * error.estimate == pytest.approx(data.excess.mean() * 248)
    assert ratio.p_value is None
    assert ratio.lower is not None


def test_a_t_test_by_hand() -> None:
    """Of 1, 2, 3, 4, 5 the mean is 3, its error sqrt(2.5 / 5), and t sqrt(18)."""
    fit = hac_fit(np.arange(1.0, 6.0), np.ones((5, 1)), 0)

    assert fit.estimates[0] == pytest.approx(3)
    assert fit.errors[0] == pytest.approx(math.sqrt(0.5))
    assert fit.freedom == 4


def test_few_trades_are_no_evidence() -> None:
    """Returns behind which one purchase and one sale stand have reasons, not figures."""
    data = replace(sample(), n_trades=2)

    for found in (sharpe_estimate(data), mean_excess_bootstrap(data), *alpha_beta(data)):
        assert found.reason == "2 trades are too few, at least 10 are needed"
        assert found.rejects_null is None


def tried_beside(data: ReturnSeries, *others: np.ndarray) -> Contenders:
    columns = np.column_stack([data.paired_net, *others])
    names = tuple(str(place) for place in range(columns.shape[1]))
    return Contenders(names, names[0], columns, data.benchmark, n_left_out=0)


def over_benchmark(data: ReturnSeries, count: TrialCount, *others: np.ndarray) -> TestResult:
    return deflated_excess_test(data, count, tried_beside(data, *others), benchmark="index")


def test_the_deflated_ratio_over_the_benchmark_is_that_of_the_excess() -> None:
    """By the closed formula on the excess, with the variance of all contenders' excesses."""
    data = sample()
    other = data.benchmark + np.random.default_rng(3).normal(0, 0.003, data.benchmark.size)
    excesses = [data.paired_net - data.benchmark, other - data.benchmark]
    ratios = [excess.mean() / excess.std(ddof=1) for excess in excesses]

    found = over_benchmark(data, TrialCount(n_trials=7, n_contenders=2), other)

    variance = float(np.var(ratios, ddof=1))
    expected = probabilistic_sharpe(
        ratios[0],
        benchmark_sharpe=expected_max_sharpe(7, variance),
        n=excesses[0].size,
        skewness=float(stats.skew(excesses[0])),
        kurtosis=float(stats.kurtosis(excesses[0], fisher=False)),
    )
    assert found.name == "deflated_sharpe_index"
    assert found.estimate == pytest.approx(expected)
    assert found.inputs["trial_sharpe_variance"] == pytest.approx(variance)


def test_a_rising_market_is_no_skill_over_the_benchmark() -> None:
    """Who holds the market with noise beats the risk-free return by far, and the market not."""
    rng = np.random.default_rng(1)
    benchmark = rng.normal(0.002, 0.01, 500)
    noise = rng.normal(0, 0.003, 500)
    data = series(benchmark + noise - noise.mean(), benchmark)

    assert deflated_sharpe_test(data, TrialCount(n_trials=1)).rejects_null is True
    assert over_benchmark(data, TrialCount(n_trials=1)).estimate == pytest.approx(0.5)


def test_trials_without_returns_leave_no_deflated_ratio_over_the_benchmark() -> None:
    """Two trials of which one has returns: their spread is not known."""
    found = over_benchmark(sample(), TrialCount(n_trials=2))

    assert found.estimate is None
    assert "is not known" in (found.reason or "")


def test_an_altered_ledger_leaves_no_deflated_ratio() -> None:
    """Who cannot count the trials cannot deflate by them, whatever the number says."""
    count = TrialCount(n_trials=1, problems=("entry 2 is gone",))

    found = deflated_sharpe_test(sample(), count)

    assert found.reason == "the ledger of trials was altered: entry 2 is gone"
    assert found.rejects_null is None


@pytest.mark.parametrize(
    ("net", "benchmark", "reason"),
    [
        (np.zeros(30), np.zeros(30), "too few"),
        (np.full(100, 0.001), np.full(100, 0.002), "do not vary"),
        (np.random.default_rng(0).normal(size=100) / 100, np.zeros(0), "no benchmark"),
    ],
)
def test_unanswerable_questions_have_reasons(
    net: np.ndarray, benchmark: np.ndarray, reason: str
) -> None:
    """Too few sessions, constant returns or no benchmark: no figures, a reason, never a pass."""
    data = series(net, benchmark)
    with_benchmark = [
        mean_excess_bootstrap(data),
        mean_excess_newey_west(data),
        *alpha_beta(data),
        information_ratio(data),
        tracking_error(data),
    ]
    alone = [
        sharpe_estimate(data),
        probabilistic_sharpe_test(data),
        deflated_sharpe_test(data, TrialCount(n_trials=1)),
    ]

    for found in with_benchmark if reason == "no benchmark" else with_benchmark + alone:
        assert found.reason is not None
        assert reason in found.reason
        assert found.estimate is None
        assert found.p_value is None
        assert found.rejects_null is None


def test_an_exact_multiple_of_the_benchmark_has_no_error() -> None:
    """Returns that follow the benchmark without a residual have no test of alpha."""
    benchmark = np.random.default_rng(0).normal(0, 0.01, 200)
    net = 0.0002 + 2 * (benchmark - 0.0002)

    alpha, beta = alpha_beta(series(net, benchmark))

    assert alpha.reason == "the returns follow the benchmark exactly"
    assert beta.rejects_null is None


def test_a_constant_benchmark_has_no_beta() -> None:
    """Against a benchmark that does not move there is no regression."""
    net = np.random.default_rng(0).normal(0, 0.01, 200)

    alpha, _ = alpha_beta(series(net, np.full(200, 0.001)))

    assert alpha.reason == "the returns do not vary"
