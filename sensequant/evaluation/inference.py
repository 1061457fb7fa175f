"""The single tests and estimates on a series of net returns and its benchmark.

Belongs here: one function per test, and the record that each returns. Does not belong here: which
tests make up the assessment, and the checks of its input (`evaluation.significance`).

Conventions: simple returns per session as fractions; estimates carry their unit; p-values are
one-sided where the alternative is. A test that the data cannot answer has no figures and a
`reason`; an absent p-value is never a pass.

Sources
-------
- D. N. Politis and J. P. Romano (1994), "The Stationary Bootstrap".
- W. K. Newey and K. D. West (1987, 1994): see `evaluation.hac`.
- D. H. Bailey and M. López de Prado (2012, 2014): see `evaluation.sharpe`.
- W. F. Sharpe (1994), "The Sharpe Ratio": of the return over that of a benchmark portfolio.
- M. C. Jensen (1968): alpha. T. H. Goodwin (1998), "The Information Ratio".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sensequant.evaluation.bootstrap import (
    block_length,
    stationary_bootstrap_interval,
    stationary_draws,
)
from sensequant.evaluation.contenders import Contenders
from sensequant.evaluation.hac import HacFit, effective_size, hac_fit, hac_lags
from sensequant.evaluation.hypotheses import (
    Draws,
    ReturnSeries,
    TestResult,
    TrialCount,
    answered,
    unanswered,
    unfit,
)
from sensequant.evaluation.measures import annual_volatility, sharpe_ratio
from sensequant.evaluation.sharpe import expected_max_sharpe, probabilistic_sharpe
from sensequant.records import derive_seed

__all__ = [
    "alpha_beta",
    "deflated_excess_test",
    "deflated_sharpe_test",
    "information_ratio",
    "mean_excess_bootstrap",
    "mean_excess_newey_west",
    "mean_test",
    "probabilistic_sharpe_test",
    "sharpe_estimate",
    "tracking_error",
    "unfit_pair",
]

_RESIDUAL_NOISE = 1e-12
"""Errors below this share of the spread of returns mean an exact fit."""

_N_STEPS = 40
"""Equal steps over which the spread of draws is counted."""

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Ratio:
    values: _Floats
    hurdle: float

    @classmethod
    def of_net(cls, data: ReturnSeries) -> Self:
        return cls(data.net, data.risk_free)


def unfit_pair(data: ReturnSeries) -> str | None:
    """Return why returns beside the benchmark cannot be tested, or None."""
    if data.benchmark.size == 0:
        return "no benchmark"
    return unfit(data.paired_net, data) or unfit(data.excess, data)


def sharpe_estimate(data: ReturnSeries) -> TestResult:
    """Return the annual Sharpe ratio over the risk-free return with its interval."""
    blank = TestResult(
        name="sharpe_ratio",
        null=None,
        alternative=None,
        source="Sharpe (1994); interval by Politis and Romano (1994)",
        assumptions="Stationary returns; excess over the constant risk-free return.",
    )
    reason = unfit(data.net, data)

    def ratio(values: _Floats) -> float | None:
        return sharpe_ratio(values, risk_free_daily=data.risk_free, sessions_per_year=data.yearly)

    return _bootstrapped(blank, data, data.net, ratio, reason=reason)


def mean_excess_bootstrap(data: ReturnSeries) -> TestResult:
    """Test the mean net return over the benchmark by the stationary bootstrap."""
    blank = TestResult(
        name="mean_excess_bootstrap",
        null="mean net return over the benchmark <= 0",
        alternative="mean net return over the benchmark > 0",
        source="Politis and Romano (1994); block length by Politis and White (2004)",
        assumptions="Stationary, weakly dependent excess returns.",
    )
    values = data.excess
    reason = unfit_pair(data)
    if reason:
        return unanswered(blank, values.size, reason)
    block = block_length(values, min_block=data.horizon)
    seed = derive_seed(data.seed, blank.name)
    draws = stationary_draws(
        values, np.mean, n_draws=data.config.n_draws, seed=seed, block_sessions=block
    )[:, 0]
    mean = float(values.mean())
    tail = (1 - data.config.confidence) / 2
    lower, upper = np.quantile(draws, [tail, 1 - tail]) * data.yearly
    return answered(
        blank,
        data.config,
        statistic=mean,
        p_value=float((1 + (draws - mean >= mean).sum()) / (1 + draws.size)),
        estimate=mean * data.yearly,
        unit="fraction per year",
        lower=float(lower),
        upper=float(upper),
        n=values.size,
        n_effective=values.size / block,
        block_sessions=block,
        seed=seed,
        draws=_spread(draws * data.yearly),
    )


def mean_excess_newey_west(data: ReturnSeries) -> TestResult:
    """Test the mean net return over the benchmark by a t-test with HAC errors."""
    blank = TestResult(
        name="mean_excess_newey_west",
        null="mean net return over the benchmark <= 0",
        alternative="mean net return over the benchmark > 0",
        source="Newey and West (1987)",
        assumptions="Stationary, weakly dependent excess returns; large sample.",
    )
    return mean_test(blank, data)


def mean_test(blank: TestResult, data: ReturnSeries) -> TestResult:
    """Answer a test of the mean net return over the benchmark by a t-test with HAC errors."""
    reason = unfit_pair(data)
    if reason:
        return unanswered(blank, data.excess.size, reason)
    lags = hac_lags(data.excess.size, data.horizon)
    fit = hac_fit(data.excess, np.ones((data.excess.size, 1)), lags)
    return _t_test(blank, data, fit, 0, scale=data.yearly, unit="fraction per year", lags=lags)


def probabilistic_sharpe_test(data: ReturnSeries) -> TestResult:
    """Test the Sharpe ratio over the risk-free return against zero."""
    blank = TestResult(
        name="probabilistic_sharpe",
        null="true Sharpe ratio <= 0",
        alternative="true Sharpe ratio > 0",
        source="Bailey and López de Prado (2012)",
        assumptions="Returns independent in time; skewness and kurtosis as in the sample.",
    )
    return _sharpe_test(blank, data, _Ratio.of_net(data), benchmark_sharpe=0.0)


def deflated_sharpe_test(data: ReturnSeries, trials: TrialCount) -> TestResult:
    """Test the Sharpe ratio against the best that as many trials reach without skill.

    Parameters
    ----------
    data
        The returns.
    trials
        How often these data were tried. One trial needs no variance; with more and no variance,
        or with a ledger that was altered, there is no figure.
    """
    blank = TestResult(
        name="deflated_sharpe",
        null="true Sharpe ratio <= the best expected of as many trials without skill",
        alternative="true Sharpe ratio > the best expected of as many trials without skill",
        source="Bailey and López de Prado (2014)",
        assumptions="As the probabilistic Sharpe ratio; trials independent of each other.",
    )
    return _deflated(blank, data, _Ratio.of_net(data), trials, trials.sharpe_variance)


def deflated_excess_test(
    data: ReturnSeries, trials: TrialCount, contenders: Contenders, *, benchmark: str
) -> TestResult:
    """Test the Sharpe ratio over the benchmark against the best of as many unskilled trials.

    Without skill a long-only portfolio earns the market's ratio, and none over the benchmark, which
    deflating takes for granted. The variance is that of the `contenders`' ratios.
    """
    blank = TestResult(
        name=f"deflated_sharpe_{benchmark}",
        null="true ratio over the benchmark <= the best expected of as many trials without skill",
        alternative="true ratio over the benchmark > that",
        source="Bailey and López de Prado (2014), of the differential return of Sharpe (1994)",
        assumptions="As the probabilistic Sharpe ratio; trials independent of each other.",
    )
    reason = unfit_pair(data)
    if reason:
        return unanswered(blank, data.excess.size, reason)
    ratios = (sharpe_ratio(column, sessions_per_year=1) for column in contenders.excess.T)
    known = [ratio for ratio in ratios if ratio is not None]
    variance = float(np.var(known, ddof=1)) if len(known) > 1 else None
    return _deflated(blank, data, _Ratio(data.excess, 0.0), trials, variance)


def alpha_beta(data: ReturnSeries) -> tuple[TestResult, TestResult]:
    """Regress the net return on the benchmark, both over the risk-free return, by HAC errors."""
    alpha = TestResult(
        name="alpha",
        null="alpha against the benchmark <= 0",
        alternative="alpha against the benchmark > 0",
        source="Jensen (1968); errors by Newey and West (1987)",
        assumptions="Linear in the benchmark's excess over the risk-free return; constant beta.",
    )
    beta = TestResult(
        name="beta",
        null="beta against the benchmark = 0",
        alternative="beta against the benchmark != 0",
        source="Jensen (1968); errors by Newey and West (1987)",
        assumptions=alpha.assumptions,
    )
    n = data.paired_net.size
    reason = unfit_pair(data) or unfit(data.benchmark, data)
    if reason:
        return unanswered(alpha, n, reason), unanswered(beta, n, reason)
    lags = hac_lags(n, data.horizon)
    design = np.column_stack([np.ones(n), data.benchmark - data.risk_free])
    fit = hac_fit(data.paired_net - data.risk_free, design, lags)
    return (
        _t_test(alpha, data, fit, 0, scale=data.yearly, unit="fraction per year", lags=lags),
        _t_test(beta, data, fit, 1, scale=1.0, unit="ratio", lags=lags),
    )


def information_ratio(data: ReturnSeries) -> TestResult:
    """Return the annual mean excess over the benchmark per unit of its deviation."""
    blank = TestResult(
        name="information_ratio",
        null=None,
        alternative=None,
        source="Goodwin (1998); interval by Politis and Romano (1994)",
        assumptions="Stationary excess returns; annualised by the root of the sessions in a year.",
    )

    def ratio(values: _Floats) -> float | None:
        return sharpe_ratio(values, sessions_per_year=data.yearly)

    return _bootstrapped(blank, data, data.excess, ratio, reason=unfit_pair(data))


def tracking_error(data: ReturnSeries) -> TestResult:
    """Return the annual deviation of the excess over the benchmark."""
    blank = TestResult(
        name="tracking_error",
        null=None,
        alternative=None,
        source="Goodwin (1998); interval by Politis and Romano (1994)",
        assumptions="Stationary excess returns; annualised by the root of the sessions in a year.",
    )

    def error(values: _Floats) -> float | None:
        return annual_volatility(values, data.yearly)

    reason = unfit_pair(data)
    return _bootstrapped(blank, data, data.excess, error, reason=reason, unit="fraction per year")


def _deflated(
    blank: TestResult,
    data: ReturnSeries,
    ratio: _Ratio,
    trials: TrialCount,
    variance: float | None,
) -> TestResult:
    reason = trials.reason
    if trials.n_trials > 1 and variance is None:
        reason = reason or (
            f"the variance of the Sharpe ratios of {trials.n_trials} trials is not known"
        )
    if reason:
        return unanswered(blank, ratio.values.size, reason)
    best = expected_max_sharpe(trials.n_trials, variance or 0.0)
    found = _sharpe_test(blank, data, ratio, benchmark_sharpe=best)
    told = {"n_trials": float(trials.n_trials), "trial_sharpe_variance": variance}
    inputs = found.inputs | {name: value for name, value in told.items() if value is not None}
    return found.model_copy(update={"inputs": inputs})


def _sharpe_test(
    blank: TestResult, data: ReturnSeries, ratio: _Ratio, *, benchmark_sharpe: float
) -> TestResult:
    values = ratio.values
    reason = unfit(values, data)
    if reason:
        return unanswered(blank, values.size, reason)
    session_sharpe = cast(
        "float", sharpe_ratio(values, risk_free_daily=ratio.hurdle, sessions_per_year=1)
    )
    skewness = float(stats.skew(values))
    kurtosis = float(stats.kurtosis(values, fisher=False))
    probability = probabilistic_sharpe(
        session_sharpe,
        benchmark_sharpe=benchmark_sharpe,
        n=values.size,
        skewness=skewness,
        kurtosis=kurtosis,
    )
    if probability is None:
        return unanswered(blank, values.size, "the variance of the Sharpe ratio is not positive")
    return answered(
        blank,
        data.config,
        statistic=float(stats.norm.ppf(probability)) if 0 < probability < 1 else None,
        p_value=1 - probability,
        estimate=probability,
        unit="probability",
        no_interval="a probability",
        n=values.size,
        n_effective=effective_size(values, data.horizon)[0],
        inputs={
            "sharpe_session": session_sharpe,
            "benchmark_sharpe_session": benchmark_sharpe,
            "skewness": skewness,
            "kurtosis": kurtosis,
        },
    )


def _spread(draws: _Floats) -> Draws:
    counts, edges = np.histogram(draws, bins=_N_STEPS)
    return Draws(lower=float(edges[0]), upper=float(edges[-1]), counts=tuple(counts.tolist()))


def _bootstrapped(
    blank: TestResult,
    data: ReturnSeries,
    values: _Floats,
    statistic: Callable[[_Floats], float | None],
    *,
    reason: str | None,
    unit: str = "annual ratio",
) -> TestResult:
    if reason:
        return unanswered(blank, values.size, reason)
    seed = derive_seed(data.seed, blank.name)
    found = stationary_bootstrap_interval(
        values,
        statistic,
        n_draws=data.config.n_draws,
        confidence=data.config.confidence,
        seed=seed,
        min_block=data.horizon,
    )
    return answered(
        blank,
        data.config,
        estimate=found.estimate,
        unit=unit,
        lower=found.lower,
        upper=found.upper,
        n=values.size,
        n_effective=values.size / found.block_sessions,
        block_sessions=found.block_sessions,
        seed=seed,
        reason=found.reason,
    )


def _t_test(
    blank: TestResult,
    data: ReturnSeries,
    fit: HacFit,
    place: int,
    *,
    scale: float,
    unit: str,
    lags: int,
) -> TestResult:
    estimate, error = float(fit.estimates[place]), float(fit.errors[place])
    n = data.paired_net.size
    if error <= _RESIDUAL_NOISE * float(data.paired_net.std()):
        return unanswered(blank, n, "the returns follow the benchmark exactly")
    statistic = estimate / error
    is_two_sided = blank.alternative is not None and "!=" in blank.alternative
    p_value = 2 * stats.t.sf(abs(statistic), fit.freedom) if is_two_sided else None
    reach = float(stats.t.ppf((1 + data.config.confidence) / 2, fit.freedom)) * error
    return answered(
        blank,
        data.config,
        statistic=statistic,
        p_value=float(stats.t.sf(statistic, fit.freedom) if p_value is None else p_value),
        estimate=estimate * scale,
        unit=unit,
        lower=(estimate - reach) * scale,
        upper=(estimate + reach) * scale,
        n=n,
        n_effective=fit.effective_size(place, n),
        lags=lags,
    )
