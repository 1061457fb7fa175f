"""What a teacher leaves behind: the columns of its tables and the record beside its model.

Belongs here: schemas, counts, metadata and the result that holds them. Does not belong here: how
they come about (`teacher`).
"""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

import polars as pl

from sensequant.records import Finite, Record
from sensequant.teacher_metrics import ScoreMetrics
from sensequant.tuning import TuningRecord

__all__ = [
    "IMPORTANCE_SCHEMA",
    "ROW_COLUMNS",
    "TEACHER_ROWS_SCHEMA",
    "TeacherCounts",
    "TeacherMetadata",
    "TeacherResult",
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
        "sample_weight": pl.Float64,
    }
)
ROW_COLUMNS = tuple(TEACHER_ROWS_SCHEMA.names()[:7])
"""What a row must say besides its features."""

IMPORTANCE_SCHEMA = pl.Schema(
    {
        "feature": pl.String,
        "gain": pl.Float64,
        "n_splits": pl.Int64,
        "permutation_log_loss": pl.Float64,
        "permutation_log_loss_sd": pl.Float64,
    }
)
"""One row per feature column, most gain first.

Gain and splits are those of the kept model. The other two are of the models of the folds: mean and
sample deviation over folds of the increase of the held-out log loss (nats) when the column is
shuffled; null where no fold, or no second one, could say.
"""


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
    evidence of what a later window will bring. `missing_by_family` names every family of features:
    null where its flag was off, else the share of its values that were missing in this window.
    """

    symbols: tuple[str, ...]
    columns: tuple[str, ...]
    missing_frac: dict[str, Finite]
    missing_by_family: dict[str, Finite | None]
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
    weight_column: str | None
    tuning: TuningRecord | None
    device: str
    parameters: dict[str, str]
    model_sha256: str
    config_digest: str
    seed: int


@dataclass(frozen=True, slots=True)
class TeacherResult:
    """A teacher with what it said, what it used and what was tried before.

    Attributes
    ----------
    model_text
        LightGBM's text.
    rows, importance, trials
        `TEACHER_ROWS_SCHEMA`, `IMPORTANCE_SCHEMA`, `tuning.TRIALS_SCHEMA` (empty without tuning).
    metadata
        What stands beside the model.
    """

    model_text: str
    rows: pl.DataFrame
    importance: pl.DataFrame
    trials: pl.DataFrame
    metadata: TeacherMetadata
