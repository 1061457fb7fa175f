"""The model inside a student: few boosted trees or a logistic regression, fitted and scored alike.

Belongs here: the choice of the kind, its fit, and what is recorded of it. Does not belong here:
what is learnt from which rows (`student`), the file (`student_file`), the two kinds themselves
(`boosting`, `logistic`).

Conventions: features are float64 of shape (n_rows, n_columns), NaN is missing; scores lie in
[0, 1], larger meaning more likely label 1. What a model fits depends on how many labels were 1 in
its rows; a score does not: one half means as likely as usual, whatever was usual then.

Source: C. Elkan (2001), "The foundations of cost-sensitive learning", theorem 2 (change of base
rate).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.special import expit, logit

from sensequant.boosting import (
    Floats,
    Predictor,
    TrainingData,
    check_features,
    fit_predictor,
    predict,
    train_booster,
)
from sensequant.logistic import LogisticModel, fit_logistic
from sensequant.records import digest_of
from sensequant.student_config import StudentConfig

__all__ = ["FittedModel", "Scorer", "fit_model", "fit_scorer"]

_LEAST_PROBABILITY = 1e-12


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model of either kind, ready to score rows; safe to share between threads.

    `mean_target` is the weighted mean of what the model was fitted to.
    """

    columns: tuple[str, ...]
    model: Predictor | LogisticModel
    mean_target: float

    def score(self, features: Floats, *, n_threads: int) -> Floats:
        """Return the score of each row, shape (n_rows,).

        Its odds are those of the model's estimate over those of the mean target.

        Raises
        ------
        ConfigError
            The array has another number of columns.
        InvalidBarsError
            A feature is infinite.
        """
        estimates = self._estimates(features, n_threads=n_threads)
        inside = np.clip(estimates, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        return expit(logit(inside) - logit(self.mean_target))

    def _estimates(self, features: Floats, *, n_threads: int) -> Floats:
        if isinstance(self.model, Predictor):
            return predict(self.model, features, n_threads=n_threads)
        check_features(features, columns=self.columns)
        return self.model.score(features)


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A model to keep, with what it says about itself.

    Attributes
    ----------
    scorer
        The model, ready to score.
    model_text, logistic
        What is stored: LightGBM's text or coefficients; the other one is None.
    sha256
        Digest of what is stored.
    n_trees, n_splits
        Trees, and splits per column name; 0 and empty for a regression.
    parameters
        Every setting as the model says it.
    """

    scorer: Scorer
    model_text: str | None
    logistic: LogisticModel | None
    sha256: str
    n_trees: int
    n_splits: Mapping[str, int]
    parameters: Mapping[str, str]


def fit_scorer(data: TrainingData, *, config: StudentConfig, seed: int, n_threads: int) -> Scorer:
    """Fit a model that is used at once and not kept, as in cross-fitting."""
    if config.kind == "logistic":
        return Scorer(data.columns, _regression(data, config), _mean_target(data))
    predictor = fit_predictor(
        data,
        objective="cross_entropy",
        config=config.booster(),
        seed=seed,
        n_threads=n_threads,
    )
    return Scorer(data.columns, predictor, _mean_target(data))


def fit_model(
    data: TrainingData, *, config: StudentConfig, seed: int, n_threads: int
) -> FittedModel:
    """Fit a model to keep.

    Parameters
    ----------
    data
        Rows to learn from, with targets in [0, 1].
    config
        Kind and settings of the model.
    seed
        Of bagging and column sampling; a regression draws nothing.
    n_threads
        Threads of the fit; it changes no byte of the result.
    """
    if config.kind == "logistic":
        model = _regression(data, config)
        return FittedModel(
            scorer=Scorer(data.columns, model, _mean_target(data)),
            model_text=None,
            logistic=model,
            sha256=digest_of(model),
            n_trees=0,
            n_splits=MappingProxyType({}),
            parameters=MappingProxyType({"l2_penalty": str(config.l2_penalty)}),
        )
    fitted = train_booster(
        data,
        objective="cross_entropy",
        config=config.booster(),
        seed=seed,
        n_threads=n_threads,
    )
    return FittedModel(
        scorer=Scorer(data.columns, fitted.predictor, _mean_target(data)),
        model_text=fitted.model_text,
        logistic=None,
        sha256=fitted.sha256,
        n_trees=fitted.n_trees,
        n_splits=fitted.n_splits,
        parameters=fitted.parameters,
    )


def _mean_target(data: TrainingData) -> float:
    mean = np.average(data.targets, weights=data.weights)
    return float(np.clip(mean, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY))


def _regression(data: TrainingData, config: StudentConfig) -> LogisticModel:
    return fit_logistic(
        data.features, data.targets, weights=data.weights, l2_penalty=config.l2_penalty
    )
