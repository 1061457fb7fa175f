"""Training of the student: the small model that is deployed, distilled from the teachers.

Belongs here: the soft targets, the order of the training, and the record of how well a student
follows its teachers. Does not belong here: settings (`student_config`), the model inside
(`student_model`), probabilities (`student_calibration`), the file and the scoring of later rows
(`student_record`, `student_file`), weights from rewards (they come as a column).

Target of a row: alpha * sigmoid(logit(teacher_probability) / temperature) + (1 - alpha) * label,
fitted with cross-entropy. The teacher's probability is out-of-fold: no model behind it saw the
label of its row.

Conventions: scores lie in [0, 1], larger meaning more likely label 1, one half as likely as usual.
A score restates an estimate of the mixed target, not the frequency of label 1: with alpha above 0
and temperature above 1 it is drawn towards one half. A probability is one of label 1. Null features
are missing. Figures of the training rows are called so.

Source: G. Hinton, O. Vinyals and J. Dean (2015), "Distilling the knowledge in a neural network".
"""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl
from pydantic import JsonValue
from scipy.special import expit, logit, rel_entr

from sensequant.boosting import Floats, TrainingData, feature_matrix
from sensequant.errors import DegenerateLabelsError, InsufficientHistoryError, RecordError
from sensequant.features.registry import FeatureConfig, missing_by_family
from sensequant.records import Finite, Record, code_version, derive_seed, digest_of
from sensequant.splits import IntArray
from sensequant.student_calibration import Calibration, calibrate
from sensequant.student_config import StudentConfig, StudentKind
from sensequant.student_drift import training_bins
from sensequant.student_file import Student, require_columns
from sensequant.student_model import FittedModel, fit_model
from sensequant.student_novelty import novelty_reference
from sensequant.student_record import StudentFile, recorded_sample, sealed

__all__ = [
    "Fidelity",
    "Lesson",
    "StudentConfig",
    "StudentCounts",
    "StudentMetadata",
    "TrainedStudent",
    "soft_targets",
    "train_student",
]

_SCORE_DEFINITION = (
    "odds of the estimate of alpha * sigmoid(logit(teacher_probability) / temperature) + "
    "(1 - alpha) * label over the odds of its mean in training, as a fraction in [0, 1]: one half "
    "means as likely as usual; known after the close of the session"
)
_PROBABILITY_DEFINITION = (
    "probability of label 1, fitted on cross-fitted scores of the training rows, "
    "known after the close of the session"
)

_NEEDED = (
    "symbol",
    "session",
    "session_number",
    "label_end",
    "label_end_number",
    "label",
    "teacher_probability",
)
_LEAST_PROBABILITY = 1e-12
_DECISION_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the rows of a training are.

    Parameters
    ----------
    columns
        Feature columns to learn from, in this order.
    features
        Settings that built them from bars; kept in the file, so that new bars go the same way.
    label_settings
        What label 1 means, kept in the file.
    weight_column
        Column with the positive weight of each row; None for equal weights.
    teachers_known_through
        Last session, and its number, at whose close a label of any row that the teachers learnt
        from was known; None where they learnt from these rows alone.
    """

    columns: Sequence[str]
    features: FeatureConfig
    label_settings: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    weight_column: str | None = None
    teachers_known_through: tuple[dt.date, int] | None = None


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
    """What one student is, on what it was trained and how well it follows its teachers there.

    `missing_by_family`: as that of its teachers, over the rows that it learnt from.
    """

    kind: StudentKind
    columns: tuple[str, ...]
    missing_frac: dict[str, Finite]
    missing_by_family: dict[str, Finite | None]
    counts: StudentCounts
    fidelity: Fidelity
    calibration: Calibration
    first_session: dt.date
    last_session: dt.date
    trained_through: dt.date
    expires_on: dt.date
    is_weighted: bool
    n_trees: int
    parameters: dict[str, str]
    n_splits: dict[str, int]
    model_sha256: str
    training_rows_sha256: str
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
    lesson: Lesson
    config: StudentConfig
    seed: int
    data: TrainingData
    fitted: FittedModel
    scores: Floats
    calibration: Calibration


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
    lesson: Lesson,
    config: StudentConfig,
    min_samples: int,
    seed: int,
    n_threads: int,
) -> TrainedStudent:
    """Distil a student from the rows of all teachers up to one window.

    Parameters
    ----------
    rows
        Teacher rows of all windows so far, joined with their features. Rows without a label or a
        teacher probability are not learnt from, but count as seen.
    lesson
        What the rows are: feature columns, how they and the labels were made, weights.
    config
        Soft targets, model, calibration and where the student falls silent.
    min_samples
        Rows to learn from below which nothing is trained (count).
    seed
        Of bagging and column sampling.
    n_threads
        Threads of the fits; it changes no byte of the result.

    Raises
    ------
    InsufficientHistoryError
        Too few rows to learn from.
    DegenerateLabelsError
        One class among their labels.
    RecordError
        A column is missing.
    """
    weighted = [lesson.weight_column] if lesson.weight_column else []
    require_columns(rows, [*_NEEDED, *weighted])
    usable = _usable_rows(rows, config=config, min_samples=min_samples)
    teacher = usable["teacher_probability"].to_numpy()
    labels = usable["label"].cast(pl.Float64).to_numpy()
    data = TrainingData(
        feature_matrix(usable, lesson.columns),
        soft_targets(teacher, labels, temperature=config.temperature, alpha=config.alpha),
        tuple(lesson.columns),
        weights=feature_matrix(usable, weighted)[:, 0] if weighted else None,
    )
    own_seed = derive_seed(seed, "student")
    fitted = fit_model(data, config=config, seed=own_seed, n_threads=n_threads)
    distilled = _Distilled(
        rows=rows,
        usable=usable,
        lesson=lesson,
        config=config,
        seed=seed,
        data=data,
        fitted=fitted,
        scores=fitted.scorer.score(data.features, n_threads=n_threads),
        calibration=calibrate(
            data,
            labels,
            places=_places(usable),
            config=config,
            seed=own_seed,
            n_threads=n_threads,
        ),
    )
    file = _student_file(distilled)
    return TrainedStudent(Student(file, fitted.scorer), _metadata(distilled, file))


def _usable_rows(rows: pl.DataFrame, *, config: StudentConfig, min_samples: int) -> pl.DataFrame:
    usable = rows.drop_nulls(["label", "teacher_probability"]).sort("session_number", "symbol")
    if not usable["teacher_probability"].is_between(0, 1).all():
        raise RecordError(
            "teacher probabilities are outside [0, 1]",
            where="teacher_probability",
            remedy="train the teachers of these rows again",
        )
    least = max(min_samples, config.smallest_training_part)
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


def _places(usable: pl.DataFrame) -> tuple[IntArray, IntArray]:
    starts, ends = (
        usable[name].cast(pl.Int64).to_numpy() for name in ("session_number", "label_end_number")
    )
    return starts, ends


def _student_file(distilled: _Distilled) -> StudentFile:
    config, lesson, fitted = distilled.config, distilled.lesson, distilled.fitted
    features, calibration = distilled.data.features, distilled.calibration
    # All labelled rows are seen: teachers of other folds learnt from those without a probability.
    seen = distilled.rows.drop_nulls("label")
    own = (seen["label_end"].sort()[-1], seen["label_end_number"].sort()[-1])
    # A teacher of all symbols may know later outcomes than those of the student's own symbol.
    trained_through, number = max(own, lesson.teachers_known_through or own)
    return sealed(
        StudentFile(
            kind=config.kind,
            columns=distilled.data.columns,
            features=lesson.features,
            model_text=fitted.model_text,
            logistic=fitted.logistic,
            model_sha256=fitted.sha256,
            mean_target=fitted.scorer.mean_target,
            calibration=calibration,
            novelty=novelty_reference(features),
            novelty_limit=config.novelty_limit,
            drift=training_bins(features),
            trained_through=trained_through,
            trained_through_number=number,
            expires_on=trained_through + dt.timedelta(days=config.valid_days),
            label_settings=dict(lesson.label_settings),
            training_rows_sha256=_digest_of_rows(distilled),
            config_digest=digest_of(config),
            seed=distilled.seed,
            code_version=code_version(),
            score_definition=_SCORE_DEFINITION,
            probability_definition=_PROBABILITY_DEFINITION,
            sample=recorded_sample(
                features, distilled.scores, calibration.probability(distilled.scores)
            ),
            content_sha256="",
        )
    )


def _digest_of_rows(distilled: _Distilled) -> str:
    usable, data = distilled.usable, distilled.data
    total = hashlib.sha256("\0".join(data.columns).encode())
    total.update("\0".join(usable["symbol"].to_list()).encode())
    said = usable.select(
        pl.col(name).cast(pl.Float64)
        for name in ("session_number", "label_end_number", "label", "teacher_probability")
    )
    weights = np.ones(usable.height) if data.weights is None else data.weights
    for values in (said.to_numpy(), weights, data.features):
        # Adding 0.0 makes one zero of two; one number stands for every kind of NaN.
        numbers = np.where(np.isnan(values), np.nan, values + 0.0)
        total.update(np.ascontiguousarray(numbers, dtype="<f8").tobytes())
    return total.hexdigest()


def _metadata(distilled: _Distilled, file: StudentFile) -> StudentMetadata:
    usable, fitted = distilled.usable, distilled.fitted
    missing = dict(zip(file.columns, file.novelty.missing_frac, strict=True))
    return StudentMetadata(
        kind=file.kind,
        columns=file.columns,
        missing_frac=missing,
        missing_by_family=missing_by_family(missing),
        counts=_counts(distilled),
        fidelity=_fidelity(usable["teacher_probability"].to_numpy(), distilled.scores),
        calibration=file.calibration,
        first_session=usable["session"].sort()[0],
        last_session=usable["session"].sort()[-1],
        trained_through=file.trained_through,
        expires_on=file.expires_on,
        is_weighted=distilled.data.weights is not None,
        n_trees=fitted.n_trees,
        parameters=dict(fitted.parameters),
        n_splits=dict(fitted.n_splits),
        model_sha256=fitted.sha256,
        training_rows_sha256=file.training_rows_sha256,
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
