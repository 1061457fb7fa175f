"""Training of the student: the small model that is deployed, distilled from the teachers.

Belongs here: its settings, the soft targets, the fit, and the record of how well it follows its
teachers. Does not belong here: LightGBM (`boosting`), the file and the scoring of later rows
(`student_file`), weights from rewards (they come as a column).

Target of a row: alpha * sigmoid(logit(teacher_probability) / temperature) + (1 - alpha) * label,
fitted with cross-entropy. The teacher's probability is out-of-fold: no model behind it saw the
label of its row.

Conventions: scores lie in [0, 1], larger meaning more likely label 1. A score estimates the mixed
target, not the frequency of label 1: with alpha above 0 and temperature above 1 it is drawn
towards one half. Null features are missing. Figures of the training rows are called so.

Source: G. Hinton, O. Vinyals and J. Dean (2015), "Distilling the knowledge in a neural network".
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator
from scipy.special import expit, logit, rel_entr

from sensequant.booster_config import BoosterConfig
from sensequant.boosting import (
    FittedBooster,
    Floats,
    TrainingData,
    feature_matrix,
    predict,
    train_booster,
)
from sensequant.errors import DegenerateLabelsError, InsufficientHistoryError, RecordError
from sensequant.records import Config, Finite, Record, derive_seed, digest_of
from sensequant.student_file import (
    Student,
    StudentFile,
    recorded_sample,
    require_columns,
    sealed,
)

__all__ = [
    "Fidelity",
    "StudentConfig",
    "StudentCounts",
    "StudentMetadata",
    "TrainedStudent",
    "soft_targets",
    "train_student",
]

_SCORE_DEFINITION = (
    "estimate of alpha * sigmoid(logit(teacher_probability) / temperature) + (1 - alpha) * label, "
    "known after the close of the session"
)

_NEEDED = (
    "symbol",
    "session",
    "label_end",
    "label_end_number",
    "label",
    "teacher_probability",
)
_DEFAULT_TEMPERATURE = 2.0
_LEAST_PROBABILITY = 1e-12
_DECISION_THRESHOLD = 0.5


class StudentConfig(Config):
    """How teachers' rows become a student."""

    temperature: float = Field(
        default=_DEFAULT_TEMPERATURE,
        ge=0.5,
        le=10,
        description="Divisor of the teacher's log-odds (ratio); above 1 softens them.",
    )
    alpha: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Weight of the teacher against the hard label (fraction).",
    )
    num_leaves: int = Field(default=7, ge=2, le=64, description="Leaves per tree, at most (count).")
    learning_rate: float = Field(
        default=0.05, ge=0.001, le=1, description="Share of each tree that is added (fraction)."
    )
    n_estimators: int = Field(
        default=60, ge=10, le=1000, description="Boosting rounds (count of trees)."
    )
    min_child_samples: int = Field(
        default=20, ge=1, le=1000, description="Rows per leaf, at least (count)."
    )
    subsample: float = Field(
        default=0.8,
        ge=0.1,
        le=1,
        description="Share of the rows that a tree is grown on (fraction).",
    )
    colsample_bytree: float = Field(
        default=0.8,
        ge=0.1,
        le=1,
        description="Share of the columns that a tree may use (fraction).",
    )
    reg_lambda: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="L2 penalty on leaf values (in units of the hessian).",
    )

    @model_validator(mode="after")
    def _refuse_settings_without_effect(self) -> Self:
        if self.alpha == 0 and self.temperature != _DEFAULT_TEMPERATURE:
            message = "temperature has no effect while alpha is 0"
            raise ValueError(message)
        return self

    def without_teacher(self) -> Self:
        """Return the same settings with hard labels only: what distillation is compared with."""
        return self.model_copy(update={"alpha": 0.0, "temperature": _DEFAULT_TEMPERATURE})

    def booster(self) -> BoosterConfig:
        """Return the settings of the booster; a student is grown on the CPU, without early stop."""
        return BoosterConfig(
            num_leaves=self.num_leaves,
            max_depth=-1,
            learning_rate=self.learning_rate,
            n_estimators=self.n_estimators,
            min_child_samples=self.min_child_samples,
            subsample=self.subsample,
            colsample_bytree=self.colsample_bytree,
            reg_lambda=self.reg_lambda,
            early_stopping_rounds=0,
        )


class StudentCounts(Record):
    """Rows of one training; `effective_n` is (sum of weights) squared over the sum of squares."""

    n_rows: int
    n_without_label: int
    n_without_probability: int
    n_trained: int
    n_positive: int
    n_symbols: int
    effective_n: Finite


class Fidelity(Record):
    """How well a student follows its teachers on the very rows it was trained on.

    In sample: it says whether the student could express its teachers, not whether either is right.
    `agreement_frac` is the share of rows on the same side of one half; `mean_kl_nats` is the mean
    Kullback-Leibler divergence of the student's score from the teacher's probability.
    """

    measured_on: Literal["training_rows"] = "training_rows"
    agreement_frac: Finite
    mean_kl_nats: Finite


class StudentMetadata(Record):
    """What one student is, on what it was trained and how well it follows its teachers there."""

    columns: tuple[str, ...]
    counts: StudentCounts
    fidelity: Fidelity
    first_session: dt.date
    last_session: dt.date
    trained_through: dt.date
    is_weighted: bool
    n_trees: int
    parameters: dict[str, str]
    n_splits: dict[str, int]
    model_sha256: str
    config_digest: str
    seed: int


@dataclass(frozen=True, slots=True)
class TrainedStudent:
    """A student with the record of its training."""

    student: Student
    metadata: StudentMetadata


@dataclass(frozen=True, slots=True)
class _Distilled:
    rows: pl.DataFrame
    usable: pl.DataFrame
    data: TrainingData
    fitted: FittedBooster
    scores: Floats
    config_digest: str
    seed: int


def soft_targets(
    teacher_probability: Floats, labels: Floats, *, temperature: float, alpha: float
) -> Floats:
    """Return what the student fits.

    Parameters
    ----------
    teacher_probability, labels
        Shape (n_rows,), in [0, 1].
    temperature
        Divisor of the teacher's log-odds, above 0.
    alpha
        Weight of the softened teacher, in [0, 1].

    References
    ----------
    Hinton et al. (2015), section 2, for two classes.
    """
    softened = expit(logit(_inside(teacher_probability)) / temperature)
    return alpha * softened + (1 - alpha) * labels


def train_student(
    rows: pl.DataFrame,
    *,
    columns: Sequence[str],
    config: StudentConfig,
    min_samples: int,
    seed: int,
    n_threads: int,
    weight_column: str | None = None,
) -> TrainedStudent:
    """Distil a student from the rows of all teachers up to one window.

    Parameters
    ----------
    rows
        Teacher rows of all windows so far, joined with their features. Rows without a label or a
        teacher probability are not learnt from, but count as seen.
    columns
        Feature columns to learn from, in this order.
    config
        Soft targets and model.
    min_samples
        Rows to learn from below which nothing is trained (count).
    seed
        Of bagging and column sampling.
    n_threads
        Threads of the fit; it changes no byte of the result.
    weight_column
        Column with the positive weight of each row; None for equal weights.

    Raises
    ------
    InsufficientHistoryError
        Too few rows to learn from.
    DegenerateLabelsError
        One class among their labels.
    RecordError
        A column is missing.
    """
    weighted = [weight_column] if weight_column else []
    require_columns(rows, [*_NEEDED, *weighted])
    usable = _usable_rows(rows, config=config, min_samples=min_samples)
    teacher = usable["teacher_probability"].to_numpy()
    labels = usable["label"].cast(pl.Float64).to_numpy()
    data = TrainingData(
        feature_matrix(usable, columns),
        soft_targets(teacher, labels, temperature=config.temperature, alpha=config.alpha),
        tuple(columns),
        weights=feature_matrix(usable, weighted)[:, 0] if weighted else None,
    )
    fitted = train_booster(
        data,
        objective="cross_entropy",
        config=config.booster(),
        seed=derive_seed(seed, "student"),
        n_threads=n_threads,
    )
    scores = predict(fitted.predictor, data.features, n_threads=n_threads)
    distilled = _Distilled(rows, usable, data, fitted, scores, digest_of(config), seed)
    file = _student_file(distilled)
    return TrainedStudent(Student(file, fitted.predictor), _metadata(distilled, file))


def _usable_rows(rows: pl.DataFrame, *, config: StudentConfig, min_samples: int) -> pl.DataFrame:
    usable = rows.drop_nulls(["label", "teacher_probability"]).sort("session", "symbol")
    if not usable["teacher_probability"].is_between(0, 1).all():
        raise RecordError(
            "teacher probabilities are outside [0, 1]",
            where="teacher_probability",
            remedy="train the teachers of these rows again",
        )
    least = max(min_samples, config.booster().smallest_training_part)
    if usable.height < least:
        raise InsufficientHistoryError(
            "student has too few rows to learn from",
            expected=f"at least {least} with a label and a teacher probability",
            found=f"{usable.height} of {rows.height}",
        )
    if usable["label"].n_unique() == 1:
        raise DegenerateLabelsError(
            "student's rows have one class only",
            expected="labels 0 and 1",
            found=f"{usable.height} times {usable['label'][0]}",
        )
    return usable


def _student_file(distilled: _Distilled) -> StudentFile:
    # All labelled rows are seen: teachers of other folds learnt from those without a probability.
    seen = distilled.rows.drop_nulls("label")
    return sealed(
        StudentFile(
            columns=distilled.data.columns,
            model_text=distilled.fitted.model_text,
            model_sha256=distilled.fitted.sha256,
            trained_through=seen["label_end"].sort()[-1],
            trained_through_number=seen["label_end_number"].sort()[-1],
            config_digest=distilled.config_digest,
            seed=distilled.seed,
            score_definition=_SCORE_DEFINITION,
            sample=recorded_sample(distilled.data.features, distilled.scores),
            content_sha256="",
        )
    )


def _metadata(distilled: _Distilled, file: StudentFile) -> StudentMetadata:
    usable, fitted = distilled.usable, distilled.fitted
    return StudentMetadata(
        columns=file.columns,
        counts=_counts(distilled),
        fidelity=_fidelity(usable["teacher_probability"].to_numpy(), distilled.scores),
        first_session=usable["session"][0],
        last_session=usable["session"][-1],
        trained_through=file.trained_through,
        is_weighted=distilled.data.weights is not None,
        n_trees=fitted.n_trees,
        parameters=dict(fitted.parameters),
        n_splits=dict(fitted.n_splits),
        model_sha256=fitted.sha256,
        config_digest=file.config_digest,
        seed=file.seed,
    )


def _counts(distilled: _Distilled) -> StudentCounts:
    rows, usable = distilled.rows, distilled.usable
    n_without_label = rows["label"].null_count()
    given = distilled.data.weights
    weight = np.ones(usable.height) if given is None else given
    return StudentCounts(
        n_rows=rows.height,
        n_without_label=n_without_label,
        n_without_probability=rows.height - n_without_label - usable.height,
        n_trained=usable.height,
        n_positive=int(usable["label"].sum()),
        n_symbols=usable["symbol"].n_unique(),
        effective_n=float(weight.sum() ** 2 / np.square(weight).sum()),
    )


def _fidelity(teacher: Floats, scores: Floats) -> Fidelity:
    given, found = _inside(teacher), _inside(scores)
    divergence = rel_entr(given, found) + rel_entr(1 - given, 1 - found)
    agrees = (teacher >= _DECISION_THRESHOLD) == (scores >= _DECISION_THRESHOLD)
    return Fidelity(
        agreement_frac=float(agrees.mean()), mean_kl_nats=max(0.0, float(divergence.mean()))
    )


def _inside(probability: Floats) -> Floats:
    return np.clip(probability, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
