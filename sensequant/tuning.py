"""Nested tuning: settings of a teacher chosen by what the training part alone can tell.

Belongs here: the search space, the objective and the record of every trial. Does not belong here:
the split into training and validation part (`teacher`), which is made before, so that no label of
the validation part is seen here.

The objective is the mean, over purged folds of the training part, of the log loss of the held-out
fold; with early stopping, each fit takes the round that was best there, as the teacher does on its
validation part. Proposals come from Optuna's tree-structured Parzen estimator, seeded, one after
the other, so that equal inputs give equal trials on any number of threads.

Source: J. Bergstra, R. Bardenet, Y. Bengio and B. Kegl (2011), "Algorithms for hyper-parameter
optimization"; T. Akiba et al. (2019), "Optuna".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from pydantic import Field

from sensequant.booster_config import BoosterConfig
from sensequant.boosting import TrainingData, fit_predictor, predict
from sensequant.cross_fitting import is_one_class
from sensequant.evaluation.measures import log_loss
from sensequant.records import Config, Finite, Record, derive_seed
from sensequant.splits import Split

__all__ = ["TRIALS_SCHEMA", "Tuned", "TuningConfig", "TuningRecord", "tune_booster"]

TRIALS_SCHEMA = pl.Schema(
    {
        "trial": pl.Int32,
        "log_loss": pl.Float64,
        "is_chosen": pl.Boolean,
        "num_leaves": pl.Int64,
        "learning_rate": pl.Float64,
        "min_child_samples": pl.Int64,
        "reg_lambda": pl.Float64,
        "colsample_bytree": pl.Float64,
        "subsample": pl.Float64,
    }
)
"""One row per trial; trial 0 are the settings as given, log_loss is null where they cannot fit."""

_TUNED = tuple(TRIALS_SCHEMA.names()[3:])


class TuningConfig(Config):
    """How the settings of a teacher are searched for."""

    n_trials: int = Field(
        default=0,
        ge=0,
        le=200,
        description="Settings tried beside the given ones, per window (count); 0 for no tuning.",
    )


class TuningRecord(Record):
    """What the search tried and took; `n_trials` counts the given settings too."""

    n_trials: int
    n_without_value: int
    chosen_trial: int
    chosen_log_loss: Finite | None
    given_log_loss: Finite | None
    parameters: dict[str, Finite]


@dataclass(frozen=True, slots=True)
class Tuned:
    """The settings to train with, and every trial (`TRIALS_SCHEMA`) that led to them."""

    booster: BoosterConfig
    trials: pl.DataFrame
    record: TuningRecord | None

    @classmethod
    def without_trials(cls, booster: BoosterConfig) -> Self:
        """Return the given settings, for which nothing was tried."""
        return cls(booster, pl.DataFrame(schema=TRIALS_SCHEMA), None)


def tune_booster(
    data: TrainingData,
    folds: Sequence[Split],
    *,
    booster: BoosterConfig,
    n_trials: int,
    seed: int,
    n_threads: int,
) -> Tuned:
    """Search for settings that predict held-out folds better than the given ones.

    Parameters
    ----------
    data
        Rows of the training part, and of nothing else.
    folds
        Purged folds of these rows.
    booster
        Given settings: the first trial, and the source of all that is not searched for.
    n_trials
        Proposals beside the given settings (count), at least 1.
    seed
        Of the proposals, and of bagging and column sampling in every fit.
    n_threads
        Threads of each fit; it changes no bit of the result.

    Returns
    -------
    Tuned
        The trial of the least loss, the earliest of equals; the given settings where no trial has
        a loss. A trial has none when its settings leave no room for a split in some fold, or when
        every fold would learn from one class.
    """
    # Takes half a second to import, and most runs do not tune.
    import optuna  # noqa: PLC0415

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=derive_seed(seed, "proposals"))
    study = optuna.create_study(sampler=sampler)
    n_smallest = min(split.train.size for split in folds)
    tried = [booster]
    losses = [_loss(data, folds, booster=booster, seed=seed, n_threads=n_threads)]
    for _ in range(n_trials):
        trial = study.ask()
        tried.append(_proposed(trial, booster, n_smallest=n_smallest))
        losses.append(_loss(data, folds, booster=tried[-1], seed=seed, n_threads=n_threads))
        if losses[-1] is None:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, losses[-1])
    return _chosen(tried, losses)


def _proposed(trial: Any, booster: BoosterConfig, *, n_smallest: int) -> BoosterConfig:
    changes: dict[str, float] = {
        "num_leaves": trial.suggest_int("num_leaves", 2, 127, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.005, 0.2, log=True),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.001, 100, log=True),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1.0),
    }
    share = 1.0
    if booster.bagging_freq:
        # Without bagging a share of the rows would act on nothing.
        share = changes["subsample"] = trial.suggest_float("subsample", 0.5, 0.95)
    # Two leaves must find room in the smallest fold, or the trial would be for nothing.
    most = max(1, min(60, int(n_smallest * share / 2)))
    changes["min_child_samples"] = trial.suggest_int(
        "min_child_samples", min(5, most), most, log=True
    )
    return BoosterConfig.model_validate(booster.model_dump() | changes)


def _loss(
    data: TrainingData, folds: Sequence[Split], *, booster: BoosterConfig, seed: int, n_threads: int
) -> float | None:
    losses: list[float] = []
    for number, split in enumerate(folds):
        train, held_out = data.take(split.train), data.take(split.validation)
        if len(train.targets) < booster.smallest_training_part:
            return None
        if is_one_class(train.targets):
            # So it is for all settings: trials are compared on the same folds.
            continue
        predictor = fit_predictor(
            train,
            objective="binary",
            config=booster,
            seed=derive_seed(seed, "fold", str(number)),
            n_threads=n_threads,
            validation=held_out,
        )
        scores = predict(predictor, held_out.features, n_threads=n_threads)
        loss = log_loss(held_out.targets, scores)
        losses += [] if loss is None else [loss]
    return float(np.mean(losses)) if losses else None


def _chosen(tried: Sequence[BoosterConfig], losses: Sequence[float | None]) -> Tuned:
    valued = [(loss, number) for number, loss in enumerate(losses) if loss is not None]
    best_loss, best = min(valued, default=(None, 0))
    parameters = [{name: getattr(config, name) for name in _TUNED} for config in tried]
    trials = pl.DataFrame(
        [
            {"trial": number, "log_loss": loss, "is_chosen": number == best, **parameters[number]}
            for number, loss in enumerate(losses)
        ],
        schema=TRIALS_SCHEMA,
    )
    record = TuningRecord(
        n_trials=len(tried),
        n_without_value=len(tried) - len(valued),
        chosen_trial=best,
        chosen_log_loss=best_loss,
        given_log_loss=losses[0],
        parameters=parameters[best],
    )
    return Tuned(tried[best], trials, record)
