"""Logistic regression on standardised inputs, with soft targets, kept as plain numbers.

Belongs here: standardisation, the rule for missing inputs, the fit, the score, the check of
coefficients that come from a file. Does not belong here: what is learnt from which rows
(`student`).

Model: score = sigmoid(intercept + sum over columns of coefficient * z + missing_coefficient * m).
z is (input - mean) / scale with mean and standard deviation of the training rows; where the input
is missing, z is 0 and m is 1, else m is 0. A column that was never, or always, missing among the
training rows has no missing_coefficient, because they cannot tell it.

Fit: least weighted cross-entropy plus half of `l2_penalty` times the sum of squared coefficients;
the intercept is free. Weights are taken at mean 1, so that their unit does not change the penalty.
Sums run in NumPy's own loops and not in BLAS, whose threads would change the last bits.

Source: T. Hastie, R. Tibshirani and J. Friedman (2009), "The Elements of Statistical Learning",
section 4.4 and 3.4.1 (penalty on standardised inputs, free intercept).
"""

from typing import cast

import numpy as np
import numpy.typing as npt
from pydantic import model_validator
from scipy.optimize import minimize
from scipy.special import expit, logit

from sensequant.errors import ConfigError, RecordError
from sensequant.records import Finite, Record

__all__ = ["LogisticModel", "fit_logistic"]

_Floats = npt.NDArray[np.float64]

_BLOCK_ROWS = 8192
_MAX_ITERATIONS = 10_000
_GRADIENT_TOLERANCE_PER_ROW = 1e-10
_ACCEPTED_GRADIENT_PER_ROW = 1e-6
_LEAST_SHARE = 1e-9


class LogisticModel(Record):
    """A fitted regression: one number per column in each field, in the order of the columns."""

    mean: tuple[Finite, ...]
    scale: tuple[Finite, ...]
    coefficient: tuple[Finite, ...]
    missing_coefficient: tuple[Finite, ...]
    intercept: Finite

    @model_validator(mode="after")
    def _require_one_number_per_column(self) -> "LogisticModel":
        lengths = {
            len(self.mean),
            len(self.scale),
            len(self.coefficient),
            len(self.missing_coefficient),
        }
        if len(lengths) != 1 or not self.mean or min(self.scale) <= 0:
            raise RecordError(
                "coefficients of a student are not sound",
                where="logistic",
                expected="as many means, positive scales and coefficients of both kinds",
                found=f"lengths {sorted(lengths)}, least scale {min(self.scale, default=None)}",
            )
        return self

    def score(self, features: _Floats) -> _Floats:
        """Return the score of each row, shape (n_rows,), in [0, 1].

        Parameters
        ----------
        features
            Shape (n_rows, n_columns); NaN is missing.

        Notes
        -----
        A row's score does not depend on the rows beside it, not even in its last bit.
        """
        mean, scale, weights, missing_weights = (
            np.array(values)
            for values in (self.mean, self.scale, self.coefficient, self.missing_coefficient)
        )
        scores = np.empty(len(features))
        # Blocks keep the arrays in between within the processor's cache.
        for start in range(0, len(features), _BLOCK_ROWS):
            block = features[start : start + _BLOCK_ROWS]
            terms = np.where(np.isnan(block), missing_weights, (block - mean) / scale * weights)
            scores[start : start + _BLOCK_ROWS] = terms.sum(axis=1)
        return expit(scores + self.intercept)


def fit_logistic(
    features: _Floats, targets: _Floats, *, weights: _Floats | None, l2_penalty: float
) -> LogisticModel:
    """Fit a logistic regression to targets in [0, 1].

    Parameters
    ----------
    features
        Shape (n_rows, n_columns); NaN is missing.
    targets
        Shape (n_rows,), in [0, 1].
    weights
        Shape (n_rows,), positive; None for equal weights.
    l2_penalty
        Half of it times the squared coefficients is added to the summed loss; above 0.

    Raises
    ------
    ConfigError
        The fit did not converge.
    """
    mean, scale = _standards(features)
    is_missing = np.isnan(features)
    told = is_missing.any(axis=0) & ~is_missing.all(axis=0)
    standardised = np.where(is_missing, 0.0, (features - mean) / scale)
    inputs = np.column_stack([standardised, is_missing[:, told].astype(np.float64)])
    weight = np.ones(len(targets)) if weights is None else weights / weights.mean()
    solution = _minimise(np.ascontiguousarray(inputs), targets, weight, l2_penalty=l2_penalty)
    n_columns = features.shape[1]
    missing_coefficient = np.zeros(n_columns)
    missing_coefficient[told] = solution[1 + n_columns :]
    return LogisticModel(
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        coefficient=tuple(solution[1 : 1 + n_columns].tolist()),
        missing_coefficient=tuple(missing_coefficient.tolist()),
        intercept=float(solution[0]),
    )


def _standards(features: _Floats) -> tuple[_Floats, _Floats]:
    present = ~np.isnan(features)
    n_present = np.maximum(present.sum(axis=0), 1)
    mean = np.where(present, features, 0.0).sum(axis=0) / n_present
    deviation = np.where(present, features - mean, 0.0)
    scale = np.sqrt(np.square(deviation).sum(axis=0) / n_present)
    # A constant column has nothing to tell; its coefficient stays 0 at any scale.
    is_constant = scale <= _LEAST_SHARE * np.abs(mean)
    return mean, np.where(is_constant, 1.0, scale)


def _minimise(inputs: _Floats, targets: _Floats, weights: _Floats, *, l2_penalty: float) -> _Floats:
    def loss_and_gradient(solution: _Floats) -> tuple[float, _Floats]:
        slopes = solution[1:]
        linear: _Floats = solution[0] + np.einsum("ij,j->i", inputs, slopes)
        loss = (weights * (np.logaddexp(0.0, linear) - targets * linear)).sum()
        residual = weights * (expit(linear) - targets)
        gradient = np.concatenate(
            [[residual.sum()], np.einsum("ij,i->j", inputs, residual) + l2_penalty * slopes]
        )
        # Per row, so that one tolerance serves few rows and many.
        n_rows = len(targets)
        return float(loss + l2_penalty / 2 * np.square(slopes).sum()) / n_rows, gradient / n_rows

    share = np.clip(np.average(targets, weights=weights), _LEAST_SHARE, 1 - _LEAST_SHARE)
    start = np.zeros(1 + inputs.shape[1])
    start[0] = logit(share)
    result = minimize(
        loss_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": _MAX_ITERATIONS,
            "maxfun": 2 * _MAX_ITERATIONS,
            "gtol": _GRADIENT_TOLERANCE_PER_ROW,
            "ftol": 0.0,
        },
    )
    solution = cast("_Floats", result.x)
    steepest = float(np.abs(result.jac).max())
    if not steepest < _ACCEPTED_GRADIENT_PER_ROW:
        raise ConfigError(
            "logistic regression did not converge",
            where="l2_penalty",
            expected=f"a gradient below {_ACCEPTED_GRADIENT_PER_ROW} per row",
            found=f"{steepest}: {result.message}",
            remedy="raise l2_penalty or drop columns of absurd size",
        )
    return solution
