"""Least squares with errors that allow for autocorrelation and unequal variances (HAC).

Belongs here: the fit, its lags, and how many independent rows tell as much. Does not belong here:
tests that rest on them (`evaluation.inference`).

Source: W. K. Newey and K. D. West (1987, 1994); lags floor(4 (n / 100)^(2/9)).
"""

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from statsmodels.regression.linear_model import OLS

__all__ = ["HacFit", "effective_size", "hac_fit", "hac_lags"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HacFit:
    """A least-squares fit with HAC errors.

    `independent` are the errors, were residuals independent of each other; `freedom` are the
    degrees of freedom left.
    """

    estimates: _Floats
    errors: _Floats
    independent: _Floats
    freedom: float

    def effective_size(self, place: int, n: int) -> float:
        """Return how many independent rows tell as much about one coefficient as these `n`."""
        return float(n * (self.independent[place] / self.errors[place]) ** 2)


def hac_lags(n: int, horizon_sessions: int) -> int:
    """Return the lags of HAC errors: max(h - 1, floor(4 (n / 100)^(2/9)))."""
    return max(horizon_sessions - 1, math.floor(4 * (n / 100) ** (2 / 9)))


def hac_fit(values: _Floats, design: _Floats, lags: int) -> HacFit:
    """Regress values, shape (n,), on the columns of a design, shape (n, k), with HAC errors."""
    model = cast("Any", OLS(values, design))
    options = {"maxlags": lags, "use_correction": True}
    fit = model.fit(cov_type="HAC", cov_kwds=options, use_t=True)
    variances = np.diag(fit.normalized_cov_params) * fit.ssr / fit.df_resid
    estimates, errors = np.asarray(fit.params), np.asarray(fit.bse)
    return HacFit(estimates, errors, np.sqrt(variances), float(fit.df_resid))


def effective_size(values: _Floats, horizon: int) -> tuple[float, int]:
    """Return how many independent values tell as much about the mean, and the lags behind that."""
    lags = hac_lags(values.size, horizon)
    fit = hac_fit(values, np.ones((values.size, 1)), lags)
    return fit.effective_size(0, values.size), lags
