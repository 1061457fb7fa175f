"""Which edge these data would have shown, had it been there.

Belongs here: the least Sharpe ratio and the least AUC that a test would have found with a stated
power, and the power at other Sharpe ratios. Does not belong here: whether there is one
(`evaluation.inference`).

A series that is too short or too flat to be tested still has an answer here: its edge must have
been at least so large. Where nothing can be learnt about dependence, values count as independent,
so that the stated edge is, if anything, too small.

Sources: A. W. Lo (2002), "The Statistics of Sharpe Ratios"; J. Cohen (1988), "Statistical Power
Analysis", chapter 2 (noncentral t); H. B. Mann and D. R. Whitney (1947): variance of the AUC of
independent rows without skill.
"""

from statistics import NormalDist
from typing import Any, cast

import numpy as np
from statsmodels.stats.power import TTestPower

from sensequant.evaluation.hac import effective_size
from sensequant.evaluation.hypotheses import (
    RankedRows,
    ReturnSeries,
    SignificanceConfig,
    TestResult,
    answered,
    unanswered,
    unfit,
)

__all__ = ["detectable_auc", "detectable_sharpe"]

_FEWEST_SESSIONS = 2
"""A test of a mean needs a degree of freedom."""

_LEAST_REACH = 3.0
"""The curve of power is told up to this annual Sharpe ratio at least."""

_N_SIZES = 31

_POINT = "a bound from the size of the sample"


def detectable_sharpe(data: ReturnSeries) -> TestResult:
    """Return the least annual Sharpe ratio that so many sessions would have shown."""
    blank = TestResult(
        name="detectable_sharpe",
        null=None,
        alternative=None,
        source="Lo (2002); Cohen (1988); effective sample by Newey and West (1987)",
        assumptions="One-sided t-test of a Sharpe ratio near zero.",
        no_interval=_POINT,
    )
    n = data.net.size
    if n < _FEWEST_SESSIONS:
        return unanswered(blank, n, f"{n} sessions could not have shown anything")
    n_effective, lags = float(n), None
    if unfit(data.net, data) is None:
        n_effective, lags = effective_size(data.net, data.horizon)
    else:
        independent = "Too little to learn about dependence: sessions count as independent."
        blank = blank.model_copy(update={"assumptions": f"{blank.assumptions} {independent}"})
    session_sharpe = cast("Any", TTestPower()).solve_power(
        nobs=n_effective,
        alpha=1 - data.config.confidence,
        power=data.config.power,
        alternative="larger",
    )
    estimate = float(session_sharpe) * data.yearly**0.5
    return answered(
        blank,
        data.config,
        estimate=estimate,
        unit=f"annual Sharpe ratio detected with power {data.config.power:g}",
        n=n,
        n_effective=n_effective,
        lags=lags,
        inputs={"alpha": 1 - data.config.confidence, "power": data.config.power},
        power_curve=_power_curve(data, n_effective, up_to=max(_LEAST_REACH, 2 * estimate)),
    )


def _power_curve(
    data: ReturnSeries, n_effective: float, *, up_to: float
) -> tuple[tuple[float, float], ...]:
    sizes = np.linspace(0, up_to, _N_SIZES)
    powers = cast("Any", TTestPower()).power(
        effect_size=sizes / data.yearly**0.5,
        nobs=n_effective,
        alpha=1 - data.config.confidence,
        alternative="larger",
    )
    known = np.isfinite(powers)
    return tuple(zip(sizes[known].tolist(), np.asarray(powers)[known].tolist(), strict=True))


def detectable_auc(rows: RankedRows | None, config: SignificanceConfig) -> TestResult:
    """Return the least AUC that so many labelled rows would have shown.

    Parameters
    ----------
    rows
        The AUC of stage 4 with its block-bootstrap interval, from which its error is read; None
        when no row was scored and labelled.
    config
        Confidence and power.
    """
    blank = TestResult(
        name="detectable_auc",
        null=None,
        alternative=None,
        source="Mann and Whitney (1947); error by the two-way block bootstrap (Owen 2007)",
        assumptions="One-sided test of an AUC near one half; large sample.",
        no_interval=_POINT,
    )
    if rows is None or rows.auc.value is None:
        n = 0 if rows is None else rows.auc.n
        reason = None if rows is None else rows.auc.reason
        return unanswered(blank, n, reason or "no row was scored and labelled")
    counts = rows.n_positive, rows.n_negative
    if not all(counts):
        return unanswered(blank, rows.auc.n, "one class only")
    independent = ((sum(counts) + 1) / 12 / counts[0] / counts[1]) ** 0.5
    error = independent
    if rows.auc.lower is not None and rows.auc.upper is not None:
        reach = NormalDist().inv_cdf((1 + rows.confidence) / 2)
        error = (rows.auc.upper - rows.auc.lower) / 2 / reach
    if error <= 0:
        return unanswered(blank, rows.auc.n, "the interval of the AUC has no width")
    known = NormalDist().inv_cdf(config.confidence) + NormalDist().inv_cdf(config.power)
    return answered(
        blank,
        config,
        estimate=min(1.0, 0.5 + known * error),
        unit=f"AUC detected with power {config.power:g}",
        n=rows.auc.n,
        n_effective=rows.auc.n * min(1.0, (independent / error) ** 2),
        inputs={"n_positive": float(counts[0]), "n_negative": float(counts[1]), "error": error},
    )
