"""Figures of merit of scores and of daily returns, as pure functions on NumPy arrays.

Belongs here: one definition of each figure, used by teacher, student, validation and reports alike.
Does not belong here: intervals (`evaluation.bootstrap`), tests (`evaluation.significance`), costs.

Conventions
-----------
- Labels and decisions are 0 or 1, scores lie in [0, 1], returns are simple and per session, as
  fractions; drawdowns are fractions <= 0.
- A figure that these data do not define is None, never 0, 0.5 or NaN; each function says when.
- NaN or infinity in an input is an error of the caller (rows without a label are dropped before).

Sources: T. Fawcett (2006), "An introduction to ROC analysis"; G. W. Brier (1950); C. Guo et al.
(2017), "On Calibration of Modern Neural Networks" (expected calibration error); W. F. Sharpe
(1994), "The Sharpe Ratio"; F. A. Sortino and L. N. Price (1994); T. W. Young (1991) (Calmar).
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from sensequant.errors import DataError

__all__ = [
    "SESSIONS_PER_YEAR",
    "Confusion",
    "annual_return",
    "annual_volatility",
    "brier_score",
    "calibration_table",
    "calmar_ratio",
    "confusion",
    "drawdown_length_sessions",
    "equity_curve",
    "expected_calibration_error",
    "hit_rate",
    "log_loss",
    "max_drawdown",
    "precision_recall_f1",
    "roc_auc",
    "sharpe_ratio",
    "sortino_ratio",
    "total_return",
]

SESSIONS_PER_YEAR = 248.0
"""NSE sessions in a year: the mean of the years 2005 to 2025, rounded."""

_RELATIVE_NOISE = 1e-12
"""A spread below this share of the largest value is rounding, not variation."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of decisions against labels."""

    n_true_positive: int
    n_false_positive: int
    n_true_negative: int
    n_false_negative: int


def roc_auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float | None:
    """Return the area under the ROC curve: P(score of a 1 > score of a 0), ties counting half.

    Parameters
    ----------
    labels
        0 or 1, shape (n,).
    scores
        Any finite numbers, larger meaning more likely 1, shape (n,).
    weights
        Non-negative weights of the rows, shape (n,); all equal when absent.

    Returns
    -------
    float or None
        None when one of the two classes has no weight.
    """
    truth, score = _labels_and_values(labels, scores)
    weight = np.ones(truth.size) if weights is None else _finite(weights)
    _same_length(truth, weight)
    ranks = np.unique(score, return_inverse=True)[1]
    positive = np.bincount(ranks, weights=weight * truth)
    negative = np.bincount(ranks, weights=weight * ~truth)
    total = positive.sum() * negative.sum()
    if total == 0:
        return None
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / total)


def log_loss(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """Return the mean negative log likelihood in nats, scores clipped by the machine epsilon.

    Returns
    -------
    float or None
        None without rows.
    """
    truth, score = _labels_and_values(labels, scores)
    if truth.size == 0:
        return None
    epsilon = np.finfo(np.float64).eps
    clipped = np.clip(score, epsilon, 1 - epsilon)
    return float(-np.where(truth, np.log(clipped), np.log1p(-clipped)).mean())


def brier_score(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """Return the mean squared difference of score and label (0 is perfect, 1 is worst).

    Returns
    -------
    float or None
        None without rows.
    """
    truth, score = _labels_and_values(labels, scores)
    return float(np.square(score - truth).mean()) if truth.size else None


def expected_calibration_error(
    labels: ArrayLike, scores: ArrayLike, n_bins: int = 10
) -> float | None:
    """Return the mean absolute gap of score and label over equal-mass bins, weighted by rows.

    Biased upward in small samples: even a perfectly calibrated score has a positive value.

    Parameters
    ----------
    labels
        0 or 1, shape (n,).
    scores
        Probabilities in [0, 1], shape (n,).
    n_bins
        Number of bins of nearly equal size.

    Returns
    -------
    float or None
        None with fewer rows than bins.
    """
    table = calibration_table(labels, scores, n_bins)
    if table is None:
        return None
    share = table["n"] / table["n"].sum()
    return float((share * (table["mean_score"] - table["positive_frac"]).abs()).sum())


def calibration_table(
    labels: ArrayLike, scores: ArrayLike, n_bins: int = 10
) -> pl.DataFrame | None:
    """Return one row per equal-mass bin of the score: what a reliability plot shows.

    Rows of equal score stay in one bin (that of their first), so that the table does not depend
    on the order of rows; with many ties there are fewer bins than asked.

    Returns
    -------
    polars.DataFrame or None
        bin (Int32, from 0), n (Int64), lowest_score, mean_score, highest_score, positive_frac.
        None with fewer rows than bins.
    """
    truth, score = _labels_and_values(labels, scores)
    if truth.size < n_bins or n_bins < 1:
        return None
    ordered = np.sort(score)
    first_place = np.searchsorted(ordered, score, side="left")
    bins = (first_place * n_bins) // score.size
    frame = pl.DataFrame({"bin": bins, "score": score, "label": truth.astype(np.float64)})
    table = (
        frame.sort("bin", "score", "label")
        .group_by("bin", maintain_order=True)
        .agg(
            n=pl.len().cast(pl.Int64),
            lowest_score=pl.col("score").min(),
            mean_score=pl.col("score").mean(),
            highest_score=pl.col("score").max(),
            positive_frac=pl.col("label").mean(),
        )
    )
    return table.with_columns(bin=pl.int_range(table.height, dtype=pl.Int32))


def confusion(labels: ArrayLike, decisions: ArrayLike) -> Confusion:
    """Return the four counts of decisions against labels (0 or 1 both)."""
    truth, decided = _labels_and_decisions(labels, decisions)
    return Confusion(
        n_true_positive=int((truth & decided).sum()),
        n_false_positive=int((~truth & decided).sum()),
        n_true_negative=int((~truth & ~decided).sum()),
        n_false_negative=int((truth & ~decided).sum()),
    )


def precision_recall_f1(
    labels: ArrayLike, decisions: ArrayLike
) -> tuple[float | None, float | None, float | None]:
    """Return precision, recall and their harmonic mean.

    Returns
    -------
    tuple
        Precision is None without positive decisions, recall without positive labels, F1 without
        either.
    """
    counts = confusion(labels, decisions)
    n_decided = counts.n_true_positive + counts.n_false_positive
    n_true = counts.n_true_positive + counts.n_false_negative
    precision = counts.n_true_positive / n_decided if n_decided else None
    recall = counts.n_true_positive / n_true if n_true else None
    f1 = 2 * counts.n_true_positive / (n_decided + n_true) if n_decided + n_true else None
    return precision, recall, f1


def hit_rate(decisions: ArrayLike, forward_returns: ArrayLike) -> float | None:
    """Return the share of positive decisions whose forward return was above zero.

    Returns
    -------
    float or None
        None without positive decisions.
    """
    decided = _zeros_and_ones(decisions)
    returns = _finite(forward_returns)
    _same_length(decided, returns)
    return float((returns[decided] > 0).mean()) if decided.any() else None


def total_return(returns: ArrayLike) -> float | None:
    """Return the compounded simple return over all sessions, as a fraction.

    Returns
    -------
    float or None
        None without sessions.
    """
    values = _finite(returns)
    return float(np.prod(1 + values) - 1) if values.size else None


def annual_return(returns: ArrayLike, sessions_per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """Return the constant yearly return that compounds to the total return.

    Returns
    -------
    float or None
        None without sessions, or when more than everything was lost.
    """
    total = total_return(returns)
    if total is None or total < -1:
        return None
    n_years = _finite(returns).size / sessions_per_year
    with np.errstate(over="ignore"):
        annual = np.expm1(np.log1p(total) / n_years) if total > -1 else -1.0
    return float(annual) if np.isfinite(annual) else None


def annual_volatility(
    returns: ArrayLike, sessions_per_year: float = SESSIONS_PER_YEAR
) -> float | None:
    """Return the sample standard deviation (n - 1) of returns, scaled by the root of a year.

    Returns
    -------
    float or None
        None with fewer than two sessions.
    """
    values = _finite(returns)
    if values.size < 2:  # noqa: PLR2004
        return None
    return float(values.std(ddof=1) * np.sqrt(sessions_per_year))


def sharpe_ratio(
    returns: ArrayLike,
    *,
    risk_free_daily: float = 0.0,
    sessions_per_year: float = SESSIONS_PER_YEAR,
) -> float | None:
    """Return the annualised mean excess return per unit of its standard deviation (n - 1).

    Parameters
    ----------
    returns
        Simple returns per session, shape (n,).
    risk_free_daily
        Risk-free simple return per session, subtracted from each.
    sessions_per_year
        The ratio per session is scaled by its root; 1 gives the ratio per session.

    Returns
    -------
    float or None
        None with fewer than two sessions or when returns do not vary.
    """
    values = _finite(returns)
    excess = values - risk_free_daily
    if excess.size < 2:  # noqa: PLR2004
        return None
    deviation = excess.std(ddof=1)
    if deviation <= _noise(values, risk_free_daily):
        return None
    return float(excess.mean() / deviation * np.sqrt(sessions_per_year))


def sortino_ratio(
    returns: ArrayLike,
    *,
    risk_free_daily: float = 0.0,
    sessions_per_year: float = SESSIONS_PER_YEAR,
) -> float | None:
    """Return the annualised mean excess return per unit of downside deviation.

    The downside deviation is the root of the mean over **all** sessions of the squared shortfall
    below the risk-free return.

    Returns
    -------
    float or None
        None without sessions or without any shortfall.
    """
    values = _finite(returns)
    excess = values - risk_free_daily
    if excess.size == 0 or excess.min() >= -_noise(values, risk_free_daily):
        return None
    downside = np.sqrt(np.square(np.minimum(excess, 0)).mean())
    return float(excess.mean() / downside * np.sqrt(sessions_per_year))


def equity_curve(returns: ArrayLike, start: float = 1.0) -> NDArray[np.float64]:
    """Return the equity before the first session and after each one, shape (n + 1,)."""
    return start * np.concatenate([[1.0], np.cumprod(1 + _finite(returns))])


def max_drawdown(equity: ArrayLike) -> float | None:
    """Return the deepest fall from a previous high, as a fraction <= 0.

    Parameters
    ----------
    equity
        Value at each session, positive at first; start with the value before the first session
        (`equity_curve`), or a loss in the first session does not count.

    Returns
    -------
    float or None
        None without values.
    """
    values = _finite(equity)
    if values.size == 0:
        return None
    return float((values / np.maximum.accumulate(values) - 1).min())


def drawdown_length_sessions(equity: ArrayLike) -> int | None:
    """Return the longest run of sessions spent below a previous high, an open one included.

    Returns
    -------
    int or None
        None without values; 0 when every value is a new high or equals one.
    """
    values = _finite(equity)
    if values.size == 0:
        return None
    is_high = values >= np.maximum.accumulate(values)
    highs = np.flatnonzero(np.concatenate([is_high, [True]]))
    return int(np.diff(highs).max(initial=1)) - 1


def calmar_ratio(returns: ArrayLike, sessions_per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """Return the annual return per unit of maximum drawdown over the whole series.

    Returns
    -------
    float or None
        None without sessions or without any drawdown.
    """
    annual = annual_return(returns, sessions_per_year)
    deepest = max_drawdown(equity_curve(returns))
    if annual is None or not deepest:
        return None
    return annual / abs(deepest)


def _noise(returns: NDArray[np.float64], risk_free_daily: float) -> float:
    """Return below what a difference of such returns is rounding.

    Returns are made of equities, whose rounding grows with 1 and not with the return.
    """
    largest = max(np.abs(returns).max(), abs(risk_free_daily))
    return float(max(_RELATIVE_NOISE * largest, 8 * np.finfo(np.float64).eps))


def _labels_and_values(
    labels: ArrayLike, values: ArrayLike
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth, numbers = _zeros_and_ones(labels), _finite(values)
    _same_length(truth, numbers)
    return truth, numbers


def _labels_and_decisions(
    labels: ArrayLike, decisions: ArrayLike
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    truth, decided = _zeros_and_ones(labels), _zeros_and_ones(decisions)
    _same_length(truth, decided)
    return truth, decided


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise DataError(
            "a measure was given unusable numbers",
            expected="one dimension of finite numbers",
            found=f"shape {numbers.shape}, {int((~np.isfinite(numbers)).sum())} not finite",
            remedy="drop rows without a value first",
        )
    return numbers


def _zeros_and_ones(values: ArrayLike) -> NDArray[np.bool_]:
    numbers = _finite(values)
    if not np.isin(numbers, (0.0, 1.0)).all():
        raise DataError(
            "labels or decisions were not 0 or 1",
            expected="0 or 1",
            found=str(np.unique(numbers)[:5].tolist()),
            remedy="drop rows without a label first",
        )
    return numbers == 1


def _same_length(left: NDArray[np.generic], right: NDArray[np.generic]) -> None:
    if left.size != right.size:
        raise DataError(
            "a measure was given columns of different lengths",
            expected=str(left.size),
            found=str(right.size),
        )
