"""From scores to probabilities of label 1: a logistic curve through scores of unseen rows.

Belongs here: cross-fitted scores of the training rows, the curve through them, and how good
probabilities were before and after. Does not belong here: the model (`student_model`) and what
calibration is worth on later windows (`evaluation.validation`).

Probability = sigmoid(intercept + slope * logit(score)). The curve is fitted on hard labels and on
scores that the training rows get from models that saw neither their labels nor overlapping ones
(purged folds). A fold that holds many ones leaves few to its model, so that estimates of different
folds rank rows against the truth; scores are relative to what was usual in a model's own rows, and
compare.

The slope is exp(beta) with beta ~ N(0, 1) and so above 0: ranks stay as they are. Where scores
know nothing, the slope goes towards 0 and every probability towards the share of label 1. The
intercept is free. All rows count alike, also where weights of rows were learnt with.

Sources: J. Platt (1999), "Probabilistic outputs for support vector machines"; C. Elkan (2001),
"The foundations of cost-sensitive learning", theorem 2 (change of base rate).
"""

from typing import Literal

import numpy as np
from pydantic import model_validator
from scipy.optimize import minimize
from scipy.special import expit, logit

from sensequant.boosting import Floats, TrainingData
from sensequant.errors import InsufficientHistoryError, RecordError
from sensequant.evaluation.measures import (
    brier_score,
    calibration_table,
    expected_calibration_error,
)
from sensequant.records import Finite, Record, derive_seed
from sensequant.splits import IntArray, Split, SplitConfig, purged_folds
from sensequant.student_config import StudentConfig
from sensequant.student_model import fit_scorer

__all__ = [
    "Calibration",
    "ReliabilityBin",
    "calibrate",
    "cross_fitted_log_odds",
    "fit_curve",
]

_LEAST_ROWS = 30
_LEAST_PROBABILITY = 1e-12
_N_BINS = 10


class ReliabilityBin(Record):
    """One bin of equally many rows: what was said, and what came."""

    n: int
    lowest_probability: Finite
    mean_probability: Finite
    highest_probability: Finite
    positive_frac: Finite


class Calibration(Record):
    """How a score becomes a probability, and how well that did on the cross-fitted training rows.

    Attributes
    ----------
    reason
        Why there is no probability: `off`, `too_few_sessions`, `too_few_rows`, `one_class`; None
        where there is one.
    intercept, slope
        Of the curve over log-odds; None without a probability.
    n_rows, n_positive
        Cross-fitted rows that the curve went through, and those of label 1.
    brier_before, brier_after, ece_before, ece_after
        Brier score and expected calibration error of score and probability on these rows. The
        curve's two numbers were fitted on them, so those after are slightly optimistic.
    reliability
        Of the probabilities, lowest bin first.
    """

    reason: Literal["off", "too_few_sessions", "too_few_rows", "one_class"] | None
    intercept: Finite | None = None
    slope: Finite | None = None
    n_rows: int = 0
    n_positive: int = 0
    brier_before: Finite | None = None
    brier_after: Finite | None = None
    ece_before: Finite | None = None
    ece_after: Finite | None = None
    reliability: tuple[ReliabilityBin, ...] = ()

    @model_validator(mode="after")
    def _require_a_rising_curve_or_a_reason(self) -> "Calibration":
        is_curve = self.intercept is not None and self.slope is not None and self.slope > 0
        if is_curve != (self.reason is None):
            raise RecordError(
                "calibration of a student is not sound",
                where="calibration",
                expected="an intercept and a slope above 0, or the reason for none",
                found=f"intercept {self.intercept}, slope {self.slope}, reason {self.reason}",
            )
        return self

    def probability(self, scores: Floats) -> Floats:
        """Return the probability of label 1 for each score, NaN where there is none.

        Parameters
        ----------
        scores
            Shape (n_rows,), in [0, 1].
        """
        if self.intercept is None or self.slope is None:
            return np.full(len(scores), np.nan)
        return expit(self.intercept + self.slope * _log_odds(scores))


def calibrate(
    data: TrainingData,
    labels: Floats,
    *,
    places: tuple[IntArray, IntArray],
    config: StudentConfig,
    seed: int,
    n_threads: int,
) -> Calibration:
    """Fit the curve from scores to probabilities on the student's training rows.

    Parameters
    ----------
    data
        What the student learns from, rows in the order of time.
    labels
        Hard labels, shape (n_rows,), 0 or 1.
    places
        Calendar numbers of each row's session and label end, each of shape (n_rows,).
    config
        Model, folds, and whether there is a calibration at all.
    seed
        Of bagging and column sampling in every fold.
    n_threads
        Threads of each fit; it changes no byte of the result.
    """
    if config.calibration == "none":
        return Calibration(reason="off")
    try:
        folds = purged_folds(*places, SplitConfig(n_folds=config.calibration_folds))
    except InsufficientHistoryError:
        return Calibration(reason="too_few_sessions")
    log_odds = cross_fitted_log_odds(data, folds, config=config, seed=seed, n_threads=n_threads)
    is_scored = np.isfinite(log_odds)
    log_odds, truth = log_odds[is_scored], labels[is_scored]
    n_rows, n_positive = len(truth), int(truth.sum())
    if n_rows < _LEAST_ROWS:
        return Calibration(reason="too_few_rows", n_rows=n_rows, n_positive=n_positive)
    if n_positive in {0, n_rows}:
        return Calibration(reason="one_class", n_rows=n_rows, n_positive=n_positive)
    intercept, slope = fit_curve(log_odds, truth)
    before = expit(log_odds)
    after = expit(intercept + slope * log_odds)
    return Calibration(
        reason=None,
        intercept=intercept,
        slope=slope,
        n_rows=n_rows,
        n_positive=n_positive,
        brier_before=brier_score(truth, before),
        brier_after=brier_score(truth, after),
        ece_before=expected_calibration_error(truth, before, _N_BINS),
        ece_after=expected_calibration_error(truth, after, _N_BINS),
        reliability=_reliability(truth, after),
    )


def cross_fitted_log_odds(
    data: TrainingData, folds: list[Split], *, config: StudentConfig, seed: int, n_threads: int
) -> Floats:
    """Return the log-odds of each row's score by a model that did not learn from it.

    Scores of different folds compare, because each is relative to the mean target of its model's
    rows. NaN where a fold leaves its model too few rows, or rows of one target only.
    """
    log_odds = np.full(len(data.targets), np.nan)
    for number, fold in enumerate(folds):
        part = _part(data, fold.train)
        if len(part.targets) < config.smallest_training_part or not np.ptp(part.targets):
            continue
        scorer = fit_scorer(
            part,
            config=config,
            seed=derive_seed(seed, "calibration", str(number)),
            n_threads=n_threads,
        )
        scores = scorer.score(data.features[fold.validation], n_threads=n_threads)
        log_odds[fold.validation] = _log_odds(scores)
    return log_odds


def fit_curve(
    log_odds: Floats, labels: Floats, *, prior_sd: float | None = 1.0
) -> tuple[float, float]:
    """Return intercept and slope of the most probable curve.

    Parameters
    ----------
    log_odds
        Of the scores, shape (n_rows,), finite.
    labels
        Shape (n_rows,), 0 and 1, both present.
    prior_sd
        Standard deviation of the slope's logarithm before any row is seen; None for no prior.
    """
    precision = 0.0 if prior_sd is None else prior_sd**-2

    def loss_and_gradient(solution: Floats) -> tuple[float, Floats]:
        slope = np.exp(solution[1])
        linear: Floats = solution[0] + slope * log_odds
        loss = (np.logaddexp(0.0, linear) - labels * linear).sum()
        residual = expit(linear) - labels
        steep = slope * (residual * log_odds).sum() + precision * solution[1]
        gradient = np.array([residual.sum(), steep])
        n_rows = len(labels)
        return float(loss + precision / 2 * solution[1] ** 2) / n_rows, gradient / n_rows

    # A slope of 1 and the log-odds of the labels' share, as if the scores were probabilities.
    start = np.array([logit(labels.mean()) - log_odds.mean(), 0.0])
    result = minimize(
        loss_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(None, None), (-30.0, 30.0)],
        options={"ftol": 0.0, "gtol": 1e-11, "maxiter": 1000},
    )
    return float(result.x[0]), float(np.exp(result.x[1]))


def _part(data: TrainingData, rows: IntArray) -> TrainingData:
    weights = None if data.weights is None else data.weights[rows]
    return TrainingData(data.features[rows], data.targets[rows], data.columns, weights=weights)


def _log_odds(scores: Floats) -> Floats:
    return logit(np.clip(scores, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY))


def _reliability(truth: Floats, probability: Floats) -> tuple[ReliabilityBin, ...]:
    table = calibration_table(truth, probability, _N_BINS)
    if table is None:
        return ()
    return tuple(
        ReliabilityBin(
            n=row["n"],
            lowest_probability=row["lowest_score"],
            mean_probability=row["mean_score"],
            highest_probability=row["highest_score"],
            positive_frac=row["positive_frac"],
        )
        for row in table.iter_rows(named=True)
    )
