"""The teacher: the model that sees the labels of one window first.

Belongs here: the steps from the labelled rows of one window to a model, its out-of-fold
probabilities and the record of both. Does not belong here: the form of that record
(`teacher_record`), LightGBM (`boosting`), the rule that splits (`splits`), the models of the folds
(`cross_fitting`), the search for settings (`tuning`), what the student makes of the probabilities
(`student`).

Steps: drop rows without a label; hold out the last part, purged; search for settings in the rest,
where asked to; fit with early stopping on the held-out part and so choose the number of rounds of
the model that is kept; cross-fit over purged folds, the rounds of each chosen inside its training
part, so that nothing behind the probability of a row saw its label or one that overlaps it; fit the
model that is kept on all labelled rows. Weights enter every fit and no figure.

Conventions: probabilities are of label 1, in [0, 1]; null means that no model could say.
Definitions, and what the figures cannot show, stand in `docs/methods/teacher.md`.

Source: M. Lopez de Prado (2018), "Advances in Financial Machine Learning", ch. 7 (purging).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from sensequant.booster_config import BoosterConfig
from sensequant.booster_device import resolve_device
from sensequant.boosting import (
    FittedBooster,
    Floats,
    Predictor,
    TrainingData,
    feature_matrix,
    fit_predictor,
    predict,
    train_booster,
)
from sensequant.cross_fitting import CrossFit, cross_fit, is_one_class
from sensequant.errors import DegenerateLabelsError, InsufficientHistoryError, RecordError
from sensequant.features.registry import missing_by_family
from sensequant.records import Config, derive_seed, digest_of
from sensequant.splits import IntArray, Split, SplitConfig, purged_folds, split_validation
from sensequant.teacher_metrics import ScoredRows, ScoreMetrics, score_metrics
from sensequant.teacher_record import (
    IMPORTANCE_SCHEMA,
    ROW_COLUMNS,
    TEACHER_ROWS_SCHEMA,
    TeacherCounts,
    TeacherMetadata,
    TeacherResult,
)
from sensequant.tuning import Tuned, TuningConfig, tune_booster

__all__ = [
    "IMPORTANCE_SCHEMA",
    "ROW_COLUMNS",
    "TEACHER_ROWS_SCHEMA",
    "ScoreMetrics",
    "TeacherConfig",
    "TeacherCounts",
    "TeacherMetadata",
    "TeacherResult",
    "require_device",
    "train_teacher",
]


class TeacherConfig(Config):
    """How a window's rows become a teacher."""

    booster: BoosterConfig = Field(
        default_factory=BoosterConfig, description="The gradient-boosted model (settings)."
    )
    split: SplitConfig = Field(
        default_factory=SplitConfig, description="Validation part and folds (settings)."
    )
    reference_positive_frac: float = Field(
        default=0.5,
        ge=0.05,
        le=0.95,
        description="Share of label 1 at which out-of-fold probabilities are stated (fraction).",
    )
    scope: Literal["symbol", "universe"] = Field(
        default="symbol",
        description="Whose rows one teacher learns from (name): one symbol, or all of a window.",
    )
    n_interval_draws: int = Field(
        default=200,
        ge=0,
        le=5000,
        description="Bootstrap draws behind the intervals of a window's figures (count); 0 for no "
        "intervals.",
    )
    interval_confidence: float = Field(
        default=0.95,
        ge=0.5,
        le=0.999,
        description="Two-sided coverage of the intervals of a window's figures (fraction).",
    )
    tuning: TuningConfig = Field(
        default_factory=TuningConfig, description="Search for the model's settings (settings)."
    )

    @model_validator(mode="after")
    def _refuse_settings_without_effect(self) -> Self:
        default = type(self).model_fields["interval_confidence"].default
        if not self.n_interval_draws and self.interval_confidence != default:
            message = "interval_confidence has no effect while n_interval_draws is 0"
            raise ValueError(message)
        return self


@dataclass(frozen=True, slots=True)
class _Window:
    """The labelled rows of one window and what every fit on them shares."""

    labelled: pl.DataFrame
    data: TrainingData
    split: Split
    config: TeacherConfig
    seed: int
    n_threads: int


def require_device(config: TeacherConfig) -> str:
    """Return the device that teachers are trained on, before any of them is.

    A run asks once, so that a GPU that this machine or this build of LightGBM lacks is one refusal
    of the request and not a failure of every window. The answer is `cpu`, `gpu` or `cuda`.

    Raises
    ------
    ConfigError
        The device was asked for by name and does not work here.
    """
    return resolve_device(config.booster)


def train_teacher(
    rows: pl.DataFrame,
    *,
    columns: Sequence[str],
    config: TeacherConfig,
    min_samples: int,
    seed: int,
    n_threads: int,
    weight_column: str | None = None,
) -> TeacherResult:
    """Train the teacher of one window, on the rows of one symbol or of many.

    Parameters
    ----------
    rows
        Rows of the window: `ROW_COLUMNS` and the feature columns; null features are missing, rows
        with a null label are dropped and counted.
    columns
        Feature columns to learn from, in this order.
    config
        Model, split, intervals and tuning; its `scope` is up to whoever chooses the rows.
    min_samples
        Labelled rows below which the window is not trained (count).
    seed
        Of bagging and column sampling in every fit.
    n_threads
        Threads of each fit; it changes no byte of the result.
    weight_column
        Column with the positive weight of each labelled row in every fit; None for equal weights.

    Returns
    -------
    TeacherResult
        The model, its rows sorted by session and symbol, importances and metadata.

    Raises
    ------
    InsufficientHistoryError
        Fewer labelled rows than `min_samples`, or than one split of a tree takes.
    DegenerateLabelsError
        One class among the labels of the window or of its training part.
    RecordError
        A column is missing.
    ConfigError
        A weight is missing or not positive; LightGBM refuses the settings or the device.
    """
    labelled = _labelled_rows(rows, min_samples=min_samples, weight_column=weight_column)
    window = _Window(
        labelled=labelled,
        data=_training_data(labelled, columns, weight_column),
        split=split_validation(*_numbers(labelled), config.split),
        config=config,
        seed=seed,
        n_threads=n_threads,
    )
    train = window.data.take(window.split.train)
    tuned = _tuned(window, train)
    chosen = _choose_rounds(window, train, tuned.booster)
    folds = purged_folds(*_numbers(labelled), config.split)
    crossed = cross_fit(
        window.data,
        folds,
        rounds=[_division_of(window, fold) for fold in folds],
        config=tuned.booster,
        reference_positive_frac=config.reference_positive_frac,
        seed=seed,
        n_threads=n_threads,
    )
    final = train_booster(
        window.data,
        objective="binary",
        config=tuned.booster,
        seed=derive_seed(seed, "final"),
        n_threads=n_threads,
        n_rounds=chosen.n_rounds,
    )
    return TeacherResult(
        model_text=final.model_text,
        rows=_teacher_rows(window, crossed),
        importance=_importance(final, crossed),
        trials=tuned.trials,
        metadata=TeacherMetadata(
            **_facts_of_rows(window),
            **_facts_of_model(final),
            counts=_counts(window, n_rows=rows.height, crossed=crossed),
            validation=_validation_metrics(window, chosen),
            out_of_fold=_out_of_fold_metrics(window, crossed),
            fold_positive_frac=crossed.positive_frac,
            final_fit_rows="all_labelled",
            weight_column=weight_column,
            tuning=tuned.record,
            config_digest=digest_of(config),
            seed=seed,
        ),
    )


def _labelled_rows(
    rows: pl.DataFrame, *, min_samples: int, weight_column: str | None
) -> pl.DataFrame:
    needed = (*ROW_COLUMNS, *([] if weight_column is None else [weight_column]))
    missing = [name for name in needed if name not in rows.columns]
    if missing:
        raise RecordError(
            "rows lack what a teacher needs",
            where=", ".join(missing),
            expected=", ".join(needed),
            found=", ".join(rows.columns),
        )
    labelled = rows.drop_nulls("label").sort("session_number", "symbol")
    if labelled.height < max(1, min_samples):
        raise InsufficientHistoryError(
            "window has too few labelled rows",
            expected=f"at least {max(1, min_samples)}",
            found=f"{labelled.height} of {rows.height}",
        )
    if labelled["label"].n_unique() == 1:
        raise DegenerateLabelsError(
            "window has one class only",
            expected="labels 0 and 1",
            found=f"{labelled.height} times {labelled['label'][0]}",
        )
    return labelled


def _numbers(labelled: pl.DataFrame) -> tuple[IntArray, IntArray]:
    starts, ends = (
        labelled[name].cast(pl.Int64).to_numpy() for name in ("session_number", "label_end_number")
    )
    return starts, ends


def _training_data(
    labelled: pl.DataFrame, columns: Sequence[str], weight_column: str | None
) -> TrainingData:
    weights = None if weight_column is None else labelled[weight_column].cast(pl.Float64)
    return TrainingData(
        feature_matrix(labelled, columns),
        labelled["label"].cast(pl.Float64).to_numpy(),
        tuple(columns),
        None if weights is None else weights.to_numpy(),
    )


def _tuned(window: _Window, train: TrainingData) -> Tuned:
    n_trials, booster = window.config.tuning.n_trials, window.config.booster
    if not n_trials:
        return Tuned.without_trials(booster)
    sessions, ends = (numbers[window.split.train] for numbers in _numbers(window.labelled))
    return tune_booster(
        train,
        purged_folds(sessions, ends, window.config.split),
        booster=booster,
        n_trials=n_trials,
        seed=derive_seed(window.seed, "tuning"),
        n_threads=window.n_threads,
    )


def _division_of(window: _Window, fold: Split) -> Split | None:
    if not fold.train.size:
        return None
    sessions, ends = (numbers[fold.train] for numbers in _numbers(window.labelled))
    return split_validation(sessions, ends, window.config.split)


def _choose_rounds(window: _Window, train: TrainingData, booster: BoosterConfig) -> Predictor:
    least = booster.smallest_training_part
    if len(train.targets) < least:
        raise InsufficientHistoryError(
            "training part is too small for a single split of a tree",
            expected=f"at least {least} rows (min_child_samples in two leaves, after subsample)",
            found=f"{len(train.targets)} after the validation part and the purge",
        )
    if is_one_class(train.targets):
        raise DegenerateLabelsError("training part of the window has one class only")
    return fit_predictor(
        train,
        objective="binary",
        config=booster,
        seed=derive_seed(window.seed, "rounds"),
        n_threads=window.n_threads,
        validation=window.data.take(window.split.validation),
    )


def _teacher_rows(window: _Window, crossed: CrossFit) -> pl.DataFrame:
    is_validation = np.zeros(window.labelled.height, dtype=bool)
    is_validation[window.split.validation] = True
    weights = window.data.weights
    return window.labelled.select(
        *(pl.col(name).cast(TEACHER_ROWS_SCHEMA[name]) for name in ROW_COLUMNS),
        fold=pl.Series(crossed.fold, dtype=pl.Int8),
        teacher_probability=pl.Series(crossed.probability).fill_nan(None),
        is_validation=pl.Series(is_validation),
        sample_weight=pl.lit(1.0) if weights is None else pl.Series(weights),
    )


def _importance(final: FittedBooster, crossed: CrossFit) -> pl.DataFrame:
    n_folds, n_columns = crossed.loss_increase.shape
    nothing = [None] * n_columns
    mean = crossed.loss_increase.mean(axis=0).tolist() if n_folds else nothing
    deviation = crossed.loss_increase.std(axis=0, ddof=1).tolist() if n_folds > 1 else nothing
    frame = pl.DataFrame(
        {
            "feature": list(final.importance_gain),
            "gain": list(final.importance_gain.values()),
            "n_splits": list(final.n_splits.values()),
            "permutation_log_loss": mean,
            "permutation_log_loss_sd": deviation,
        },
        schema=IMPORTANCE_SCHEMA,
    )
    return frame.sort("gain", "feature", descending=[True, False])


def _facts_of_rows(window: _Window) -> dict[str, Any]:
    labelled, data = window.labelled, window.data
    shares = np.isnan(data.features).mean(axis=0).tolist()
    missing = dict(zip(data.columns, shares, strict=True))
    return {
        "symbols": tuple(labelled["symbol"].unique().sort()),
        "columns": data.columns,
        "missing_frac": missing,
        "missing_by_family": missing_by_family(missing),
        "first_session": labelled["session"][0],
        "last_session": labelled["session"][-1],
        "last_label_end": labelled["label_end"].sort()[-1],
        "positive_frac": float(data.targets.mean()),
    }


def _facts_of_model(final: FittedBooster) -> dict[str, Any]:
    return {
        "best_iteration": final.best_iteration,
        "n_trees": final.n_trees,
        "device": final.parameters["device_type"],
        "parameters": dict(final.parameters),
        "model_sha256": final.sha256,
    }


def _counts(window: _Window, *, n_rows: int, crossed: CrossFit) -> TeacherCounts:
    n_labelled = window.labelled.height
    return TeacherCounts(
        n_rows=n_rows,
        n_without_label=n_rows - n_labelled,
        n_labelled=n_labelled,
        n_positive=int(window.data.targets.sum()),
        n_train=len(window.split.train),
        n_validation=len(window.split.validation),
        n_purged=len(window.split.purged),
        n_with_probability=int(np.isfinite(crossed.probability).sum()),
        n_fold_one_class=crossed.n_one_class,
        n_fold_too_small=crossed.n_too_small,
    )


def _validation_metrics(window: _Window, chosen: Predictor) -> ScoreMetrics:
    held_out = window.split.validation
    scores = predict(chosen, window.data.features[held_out], n_threads=window.n_threads)
    return _metrics(window, held_out, scores, name="validation")


def _out_of_fold_metrics(window: _Window, crossed: CrossFit) -> ScoreMetrics:
    scored = np.flatnonzero(np.isfinite(crossed.probability))
    return _metrics(window, scored, crossed.probability[scored], name="out_of_fold")


def _metrics(window: _Window, rows: IntArray, scores: Floats, *, name: str) -> ScoreMetrics:
    sessions, ends = _numbers(window.labelled)
    return score_metrics(
        ScoredRows(
            symbols=window.labelled["symbol"][rows],
            session_numbers=sessions[rows],
            labels=window.data.targets[rows],
            scores=scores,
        ),
        # Labels that end at a barrier are shorter; no two further apart than the longest overlap.
        block_sessions=int((ends - sessions).max()),
        n_draws=window.config.n_interval_draws,
        confidence=window.config.interval_confidence,
        seed=derive_seed(window.seed, "intervals", name),
    )
