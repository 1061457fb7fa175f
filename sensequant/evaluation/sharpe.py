"""Probabilistic and deflated Sharpe ratio, as closed formulas.

Belongs here: the formulas of Bailey and López de Prado. Does not belong here: which series they
are asked of and what follows from them (`evaluation.significance`).

Sharpe ratios are per session throughout, kurtosis is raw (3 for a normal law). Sources: D. H.
Bailey and M. López de Prado (2012), "The Sharpe Ratio Efficient Frontier"; the same (2014), "The
Deflated Sharpe Ratio". Both take returns to be independent of each other in time.
"""

import math

import numpy as np
from scipy import stats

from sensequant.errors import ConfigError

__all__ = ["deflated_sharpe", "expected_max_sharpe", "probabilistic_sharpe"]


def probabilistic_sharpe(
    sharpe: float, *, benchmark_sharpe: float, n: int, skewness: float, kurtosis: float
) -> float | None:
    """Return the probability that the true Sharpe ratio exceeds a benchmark's (2012, eq. 11).

    Parameters
    ----------
    sharpe
        Observed ratio per session.
    benchmark_sharpe
        Ratio per session to exceed.
    n
        Number of sessions.
    skewness
        Of the returns.
    kurtosis
        Of the returns, raw (3 for a normal law).

    Returns
    -------
    float or None
        In [0, 1]; None when the variance in the formula is not positive.
    """
    variance = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if variance <= 0 or n < 2:  # noqa: PLR2004
        return None
    return float(stats.norm.cdf((sharpe - benchmark_sharpe) * math.sqrt((n - 1) / variance)))


def expected_max_sharpe(n_trials: int, trial_sharpe_variance: float) -> float:
    """Return the largest Sharpe ratio expected of that many trials without skill (2014, eq. 1).

    Parameters
    ----------
    n_trials
        Number of independent trials; one gives 0.
    trial_sharpe_variance
        Variance of the trials' ratios, in the unit whose ratio is wanted.

    Raises
    ------
    ConfigError
        Fewer than one trial or a negative variance.
    """
    if n_trials < 1 or trial_sharpe_variance < 0:
        raise ConfigError(
            "trials were not usable",
            expected="at least one trial and a variance >= 0",
            found=f"{n_trials} trials, variance {trial_sharpe_variance}",
        )
    if n_trials == 1:
        return 0.0
    quantiles = stats.norm.ppf([1 - 1 / n_trials, 1 - 1 / (n_trials * math.e)])
    weights = np.array([1 - np.euler_gamma, np.euler_gamma])
    return float(math.sqrt(trial_sharpe_variance) * (weights @ quantiles))


def deflated_sharpe(
    sharpe: float,
    *,
    n: int,
    skewness: float,
    kurtosis: float,
    n_trials: int,
    trial_sharpe_variance: float,
) -> float | None:
    """Return the probabilistic Sharpe ratio against the best expected of unskilled trials (2014).

    Parameters are those of `probabilistic_sharpe` and `expected_max_sharpe`, per session.
    """
    return probabilistic_sharpe(
        sharpe,
        benchmark_sharpe=expected_max_sharpe(n_trials, trial_sharpe_variance),
        n=n,
        skewness=skewness,
        kurtosis=kurtosis,
    )
