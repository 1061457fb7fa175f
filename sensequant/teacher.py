"""The teacher: the model that sees the labels of one window first.

Belongs here: the steps from the labelled rows of one window to a model, its out-of-fold
probabilities and the record of both. Does not belong here: LightGBM (`boosting`), the rule that
splits (`splits`), what the student makes of the probabilities (`student`).

Steps: drop rows without a label; hold out the last part, purged; fit with early stopping on it and
so choose the number of rounds; cross-fit with that number over purged folds, so that the
probability of each row comes from models that saw neither its label nor one that overlaps it; fit
the model that is kept on all labelled rows with the same number of rounds.

Conventions: probabilities are of label 1, in [0, 1]; null means that no model could say.
Out-of-fold probabilities are stated at one fixed share of label 1: the share that a fold's model
saw is the opposite of what was held out. Definitions, and what the figures cannot show, stand in
`docs/methods/teacher-and-student.md`.

Sources: M. Lopez de Prado (2018), "Advances in Financial Machine Learning", ch. 7 (purging);
C. Elkan (2001), "The foundations of cost-sensitive learning", theorem 2 (change of base rate).
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field
from scipy.special import expit, logit

from sensequant.booster_config import BoosterConfig
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
from sensequant.errors import DegenerateLabelsError, InsufficientHistoryError, RecordError
from sensequant.evaluation.measures import brier_score, log_loss, precision_recall_f1, roc_auc
from sensequant.records import Config, Finite, Record, derive_seed, digest_of
from sensequant.splits import IntArray, Split, SplitConfig, purged_folds, split_validation

__all__ = [
    "IMPORTANCE_SCHEMA",
    "ROW_COLUMNS",
    "TEACHER_ROWS_SCHEMA",
    "ScoreMetrics",
    "TeacherConfig",
    "TeacherCounts",
    "TeacherMetadata",
    "TeacherResult",
    "train_teacher",
]

TEACHER_ROWS_SCHEMA = pl.Schema(
    {
        "symbol": pl.String,
        "session": pl.Date,
        "session_number": pl.Int32,
        "label_end": pl.Date,
        "label_end_number": pl.Int32,
        "label": pl.Int8,
        "forward_return": pl.Float64,
        "fold": pl.Int8,
        "teacher_probability": pl.Float64,
        "is_validation": pl.Boolean,
    }
)
ROW_COLUMNS = tuple(TEACHER_ROWS_SCHEMA.names()[:7])
"""What a row must say besides its features."""

IMPORTANCE_SCHEMA = pl.Schema({"feature": pl.String, "gain": pl.Float64, "n_splits": pl.Int64})
"""One row per feature column, most gain first."""

_DECISION_THRESHOLD = 0.5
_LEAST_PROBABILITY = 1e-12


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


class ScoreMetrics(Record):
    """Figures of merit of one set of scored rows; None where the rows do not define one."""

    n: int
    n_positive: int
    roc_auc: Finite | None
    log_loss: Finite | None
    brier_score: Finite | None
    precision: Finite | None
    recall: Finite | None
    f1: Finite | None


class TeacherCounts(Record):
    """Rows at every step of one window."""

    n_rows: int
    n_without_label: int
    n_labelled: int
    n_positive: int
    n_train: int
    n_validation: int
    n_purged: int
    n_with_probability: int
    n_fold_one_class: int
    n_fold_too_small: int


class TeacherMetadata(Record):
    """What one teacher is, on what it was trained and how it did.

    `validation` is measured on the rows that also chose the number of rounds; `out_of_fold` on
    probabilities whose models saw no overlapping label. Both lie inside the window, so neither is
    evidence of what a later window will bring.
    """

    columns: tuple[str, ...]
    missing_frac: dict[str, Finite]
    first_session: dt.date
    last_session: dt.date
    last_label_end: dt.date
    counts: TeacherCounts
    positive_frac: Finite
    validation: ScoreMetrics
    out_of_fold: ScoreMetrics
    fold_positive_frac: tuple[Finite | None, ...]
    best_iteration: int
    n_trees: int
    final_fit_rows: Literal["all_labelled"]
    device: str
    parameters: dict[str, str]
    model_sha256: str
    config_digest: str
    seed: int


@dataclass(frozen=True, slots=True)
class TeacherResult:
    """A teacher with its rows (`TEACHER_ROWS_SCHEMA`) and importances (`IMPORTANCE_SCHEMA`)."""

    model_text: str
    rows: pl.DataFrame
    importance: pl.DataFrame
    metadata: TeacherMetadata


@dataclass(frozen=True, slots=True)
class _Window:
    """The labelled rows of one window and what every fit on them shares."""

    labelled: pl.DataFrame
    data: TrainingData
    split: Split
    config: TeacherConfig
    seed: int
    n_threads: int

    def part(self, indices: IntArray) -> TrainingData:
        return TrainingData(
            self.data.features[indices], self.data.targets[indices], self.data.columns
        )


@dataclass(frozen=True, slots=True)
class _CrossFit:
    fold: IntArray
    probability: Floats
    positive_frac: tuple[float | None, ...]
    left_out: dict[str, int]


def train_teacher(
    rows: pl.DataFrame,
    *,
    columns: Sequence[str],
    config: TeacherConfig,
    min_samples: int,
    seed: int,
    n_threads: int,
) -> TeacherResult:
    """Train the teacher of one window.

    Parameters
    ----------
    rows
        Rows of the window: `ROW_COLUMNS` and the feature columns; null features are missing, rows
        with a null label are dropped and counted.
    columns
        Feature columns to learn from, in this order.
    config
        Model and split.
    min_samples
        Labelled rows below which the window is not trained (count).
    seed
        Of bagging and column sampling in every fit.
    n_threads
        Threads of each fit; it changes no byte of the result.

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
    """
    labelled = _labelled_rows(rows, min_samples=min_samples)
    targets = labelled["label"].cast(pl.Float64).to_numpy()
    window = _Window(
        labelled=labelled,
        data=TrainingData(feature_matrix(labelled, columns), targets, tuple(columns)),
        split=split_validation(*_numbers(labelled), config.split),
        config=config,
        seed=seed,
        n_threads=n_threads,
    )
    chosen = _choose_rounds(window)
    crossed = _cross_fit(window, n_rounds=chosen.n_rounds)
    final = train_booster(
        window.data,
        objective="binary",
        config=config.booster,
        seed=derive_seed(seed, "final"),
        n_threads=n_threads,
        n_rounds=chosen.n_rounds,
    )
    return TeacherResult(
        model_text=final.model_text,
        rows=_teacher_rows(window, crossed),
        importance=_importance(final),
        metadata=_metadata(window, n_rows=rows.height, chosen=chosen, crossed=crossed, final=final),
    )


def _labelled_rows(rows: pl.DataFrame, *, min_samples: int) -> pl.DataFrame:
    missing = [name for name in ROW_COLUMNS if name not in rows.columns]
    if missing:
        raise RecordError(
            "rows lack what a teacher needs",
            where=", ".join(missing),
            expected=", ".join(ROW_COLUMNS),
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


def _choose_rounds(window: _Window) -> Predictor:
    train = window.part(window.split.train)
    least = window.config.booster.smallest_training_part
    if len(train.targets) < least:
        raise InsufficientHistoryError(
            "training part is too small for a single split of a tree",
            expected=f"at least {least} rows (min_child_samples in two leaves, after subsample)",
            found=f"{len(train.targets)} after the validation part and the purge",
        )
    if _is_one_class(train.targets):
        raise DegenerateLabelsError("training part of the window has one class only")
    return fit_predictor(
        train,
        objective="binary",
        config=window.config.booster,
        seed=derive_seed(window.seed, "rounds"),
        n_threads=window.n_threads,
        validation=window.part(window.split.validation),
    )


def _cross_fit(window: _Window, *, n_rounds: int) -> _CrossFit:
    n_rows = len(window.data.targets)
    fold = np.full(n_rows, -1)
    probability = np.full(n_rows, np.nan)
    shares: list[float | None] = []
    left_out = {"one_class": 0, "too_small": 0}
    for number, split in enumerate(purged_folds(*_numbers(window.labelled), window.config.split)):
        fold[split.validation] = number
        train = window.part(split.train)
        reason = _why_not(train, window.config.booster)
        shares.append(float(train.targets.mean()) if len(train.targets) else None)
        if reason is not None:
            left_out[reason] += len(split.validation)
            continue
        predictor = fit_predictor(
            train,
            objective="binary",
            config=window.config.booster,
            seed=derive_seed(window.seed, "fold", str(number)),
            n_threads=window.n_threads,
            n_rounds=n_rounds,
        )
        held_out = window.data.features[split.validation]
        scores = predict(predictor, held_out, n_threads=window.n_threads)
        probability[split.validation] = _at_base_rate(
            scores,
            learnt=float(train.targets.mean()),
            wanted=window.config.reference_positive_frac,
        )
    return _CrossFit(fold, probability, tuple(shares), left_out)


def _why_not(train: TrainingData, config: BoosterConfig) -> str | None:
    if len(train.targets) < config.smallest_training_part:
        return "too_small"
    return "one_class" if _is_one_class(train.targets) else None


def _is_one_class(targets: Floats) -> bool:
    return bool((targets == targets[0]).all())


def _at_base_rate(scores: Floats, *, learnt: float, wanted: float) -> Floats:
    # A fold that holds many ones leaves few to the rows that its model learns from, so that raw
    # probabilities of different folds rank rows against the truth (AUC 0.33 on noise). Nor may the
    # window's own share of ones be put back: it holds the row's label (pooled AUC 0.63 on noise).
    inside = np.clip(scores, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return expit(logit(inside) - logit(learnt) + logit(wanted))


def _teacher_rows(window: _Window, crossed: _CrossFit) -> pl.DataFrame:
    is_validation = np.zeros(window.labelled.height, dtype=bool)
    is_validation[window.split.validation] = True
    return window.labelled.select(
        *(pl.col(name).cast(TEACHER_ROWS_SCHEMA[name]) for name in ROW_COLUMNS),
        fold=pl.Series(crossed.fold, dtype=pl.Int8),
        teacher_probability=pl.Series(crossed.probability).fill_nan(None),
        is_validation=pl.Series(is_validation),
    )


def _importance(final: FittedBooster) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "feature": list(final.importance_gain),
            "gain": list(final.importance_gain.values()),
            "n_splits": list(final.n_splits.values()),
        },
        schema=IMPORTANCE_SCHEMA,
    )
    return frame.sort("gain", "feature", descending=[True, False])


def _metadata(
    window: _Window, *, n_rows: int, chosen: Predictor, crossed: _CrossFit, final: FittedBooster
) -> TeacherMetadata:
    held_out = window.part(window.split.validation)
    scored = np.isfinite(crossed.probability)
    missing = np.isnan(window.data.features).mean(axis=0)
    labelled = window.labelled
    return TeacherMetadata(
        columns=window.data.columns,
        missing_frac=dict(zip(window.data.columns, missing.tolist(), strict=True)),
        first_session=labelled["session"][0],
        last_session=labelled["session"][-1],
        last_label_end=labelled["label_end"].sort()[-1],
        counts=_counts(window, n_rows=n_rows, crossed=crossed),
        positive_frac=float(window.data.targets.mean()),
        validation=_metrics(
            held_out.targets, predict(chosen, held_out.features, n_threads=window.n_threads)
        ),
        out_of_fold=_metrics(window.data.targets[scored], crossed.probability[scored]),
        fold_positive_frac=crossed.positive_frac,
        best_iteration=chosen.n_rounds,
        n_trees=final.n_trees,
        final_fit_rows="all_labelled",
        device=final.parameters["device_type"],
        parameters=dict(final.parameters),
        model_sha256=final.sha256,
        config_digest=digest_of(window.config),
        seed=window.seed,
    )


def _counts(window: _Window, *, n_rows: int, crossed: _CrossFit) -> TeacherCounts:
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
        n_fold_one_class=crossed.left_out["one_class"],
        n_fold_too_small=crossed.left_out["too_small"],
    )


def _metrics(labels: Floats, scores: Floats) -> ScoreMetrics:
    precision, recall, f1 = precision_recall_f1(labels, scores >= _DECISION_THRESHOLD)
    return ScoreMetrics(
        n=len(labels),
        n_positive=int(labels.sum()),
        roc_auc=roc_auc(labels, scores),
        log_loss=log_loss(labels, scores),
        brier_score=brier_score(labels, scores),
        precision=precision,
        recall=recall,
        f1=f1,
    )
