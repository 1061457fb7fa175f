"""Cross-fitting: a probability for each row from a model that saw nothing that overlaps it.

Belongs here: one model per purged fold, what it says of the held-out rows, and how much worse it
says it when a column is shuffled. Does not belong here: which rows and folds (`teacher`, `splits`),
LightGBM (`boosting`).

The number of rounds is chosen anew for each fold, on rows that its model may know: rounds chosen on
rows that are scored afterwards would spread the probabilities of windows in which chance was kind
(pooled AUC 0.54 on noise).

Probabilities are of label 1 and stated at one share of label 1 for all folds: the share that a
fold's model saw is the opposite of what was held out (`docs/methods/teacher.md`).

Sources: C. Elkan (2001), "The foundations of cost-sensitive learning", theorem 2 (change of base
rate); L. Breiman (2001), "Random forests", section 10, and A. Fisher, C. Rudin and F. Dominici
(2019), "All models are wrong, but many are useful" (permutation importance on held-out rows).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit, logit

from sensequant.booster_config import BoosterConfig
from sensequant.boosting import (
    Floats,
    Predictor,
    TrainingData,
    fit_predictor,
    predict,
    split_counts,
)
from sensequant.records import derive_seed
from sensequant.splits import IntArray, Split

__all__ = ["CrossFit", "cross_fit", "is_one_class"]

_LEAST_PROBABILITY = 1e-12
_CELLS_AT_ONCE = 1 << 22
_ROWS_TO_SHUFFLE = 256


@dataclass(frozen=True, slots=True)
class CrossFit:
    """What the models of the folds said of the rows that they had not seen.

    Attributes
    ----------
    fold
        Number of each row's fold, shape (n_rows,).
    probability
        Shape (n_rows,); NaN where no model could say.
    positive_frac
        Weighted share of label 1 from which each fold's model learnt; None without rows.
    n_one_class, n_too_small
        Rows of folds whose training part has one class, or no room for a split.
    loss_increase
        Increase of a fold's log loss (nats) when one column is shuffled within the fold, shape
        (n_folds_with_model, n_columns); of a fold with more than 256 rows, that many of them.
    """

    fold: IntArray
    probability: Floats
    positive_frac: tuple[float | None, ...]
    n_one_class: int
    n_too_small: int
    loss_increase: Floats


@dataclass(frozen=True, slots=True)
class _Restated:
    """A fold's model whose scores are stated at the wanted share of label 1."""

    predictor: Predictor
    learnt_frac: float
    wanted_frac: float
    n_threads: int

    def probability(self, features: Floats) -> Floats:
        scores = predict(self.predictor, features, n_threads=self.n_threads)
        inside = np.clip(scores, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        # Raw probabilities of different folds rank rows against the truth (AUC 0.33 on noise). Nor
        # may the window's own share of ones be put back: it holds the row's label (pooled AUC 0.63
        # on noise).
        return expit(logit(inside) - logit(self.learnt_frac) + logit(self.wanted_frac))


@dataclass(frozen=True, slots=True)
class _Rounds:
    """What the rounds of one fold's model are chosen on, or why there can be no model."""

    reason: str | None
    learns: TrainingData | None = None
    examines: TrainingData | None = None

    @classmethod
    def of(cls, train: TrainingData, division: Split | None, config: BoosterConfig) -> Self:
        reason = _why_not(train, config)
        if reason is not None or not config.early_stopping_rounds:
            return cls(reason)
        if division is None:
            return cls("too_small")
        learns = train.take(division.train)
        return cls(_why_not(learns, config), learns, train.take(division.validation))

    def number(self, config: BoosterConfig, *, seed: int, n_threads: int) -> int:
        if self.learns is None:
            return config.n_estimators
        fitted = fit_predictor(
            self.learns,
            objective="binary",
            config=config,
            seed=derive_seed(seed, "rounds"),
            n_threads=n_threads,
            validation=self.examines,
        )
        return fitted.n_rounds


def cross_fit(
    data: TrainingData,
    folds: Sequence[Split],
    *,
    rounds: Sequence[Split | None],
    config: BoosterConfig,
    reference_positive_frac: float,
    seed: int,
    n_threads: int,
) -> CrossFit:
    """Score every row by the model of its fold.

    Parameters
    ----------
    data
        Labelled rows.
    folds
        Purged folds of these rows; each row is validated once.
    rounds
        For each fold, how the rows of its training part are divided to choose its model's rounds;
        None where there is nothing to divide. Not read without early stopping.
    config
        Settings of the models.
    reference_positive_frac
        Share of label 1 at which probabilities are stated, in (0, 1).
    seed
        Of bagging, column sampling and shuffling; each fold has its own.
    n_threads
        Threads of each fit; it changes no bit of the result.
    """
    fold = np.full(len(data.targets), -1)
    probability = np.full(len(data.targets), np.nan)
    shares: list[float | None] = []
    increases: list[Floats] = []
    n_left_out = {"one_class": 0, "too_small": 0}
    for number, split in enumerate(folds):
        fold[split.validation] = number
        train, held_out = data.take(split.train), data.take(split.validation)
        share = _positive_frac(train)
        shares.append(share)
        chosen = _Rounds.of(train, rounds[number], config)
        if chosen.reason is not None or share is None:
            n_left_out[chosen.reason or "too_small"] += len(split.validation)
            continue
        fold_seed = derive_seed(seed, "fold", str(number))
        predictor = fit_predictor(
            train,
            objective="binary",
            config=config,
            seed=fold_seed,
            n_threads=n_threads,
            n_rounds=chosen.number(config, seed=fold_seed, n_threads=n_threads),
        )
        model = _Restated(predictor, share, reference_positive_frac, n_threads)
        scores = model.probability(held_out.features)
        probability[split.validation] = scores
        rng = np.random.default_rng(derive_seed(fold_seed, "permutation"))
        increases.append(_loss_increase(model, held_out, scores=scores, rng=rng))
    return CrossFit(
        fold=fold,
        probability=probability,
        positive_frac=tuple(shares),
        n_one_class=n_left_out["one_class"],
        n_too_small=n_left_out["too_small"],
        loss_increase=np.array(increases).reshape(len(increases), len(data.columns)),
    )


def is_one_class(targets: Floats) -> bool:
    """Return whether all targets are the same; so they are where there are none."""
    return not len(targets) or bool((targets == targets[0]).all())


def _why_not(train: TrainingData, config: BoosterConfig) -> str | None:
    if len(train.targets) < config.smallest_training_part:
        return "too_small"
    return "one_class" if is_one_class(train.targets) else None


def _positive_frac(train: TrainingData) -> float | None:
    # A weighted fit learns the weighted share.
    return float(np.average(train.targets, weights=train.weights)) if len(train.targets) else None


def _loss_increase(
    model: _Restated, held_out: TrainingData, *, scores: Floats, rng: np.random.Generator
) -> Floats:
    # Over a universe, scoring every row once per column would cost as much as all the fits.
    n_rows = len(scores)
    kept = np.arange(n_rows)
    if n_rows > _ROWS_TO_SHUFFLE:
        kept = np.sort(rng.choice(n_rows, size=_ROWS_TO_SHUFFLE, replace=False))
    features, targets = held_out.features[kept], held_out.targets[kept]
    shuffled = rng.permuted(features, axis=0)
    loss = _mean_loss(targets, scores[kept])
    increase = np.zeros(len(held_out.columns))
    # A column without a split cannot change a score.
    used = np.flatnonzero(split_counts(model.predictor))
    for columns in _chunks(used, n_at_once=_CELLS_AT_ONCE // features.size):
        batch = np.repeat(features[None], len(columns), axis=0)
        batch[np.arange(len(columns)), :, columns] = shuffled[:, columns].T
        worse = model.probability(batch.reshape(-1, batch.shape[2]))
        increase[columns] = _mean_loss(targets, worse.reshape(len(columns), -1)) - loss
    return increase


def _chunks(columns: IntArray, *, n_at_once: int) -> Iterator[IntArray]:
    step = max(1, n_at_once)
    for start in range(0, len(columns), step):
        yield columns[start : start + step]


def _mean_loss(targets: Floats, probability: Floats) -> Floats:
    return -np.log(np.where(targets == 1, probability, 1 - probability)).mean(axis=-1)
