"""What a page says about the models of a run is made from these tables and records.

Belongs here: their layout, and from which files of a run each column comes. Does not belong here:
reading those files (`stages`), and what the page makes of them (`reports.models`,
`reports.students`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from sensequant.evaluation.comparison import ComparisonRecord
from sensequant.evaluation.figures import Figure

__all__ = ["NOVELTY_SCHEMA", "TEACHERS_SCHEMA", "Calibrated", "ModelEvidence"]

TEACHERS_SCHEMA = pl.Schema(
    {
        "symbol": pl.String,
        "window": pl.String,
        "n_labelled": pl.Int64,
        "n_positive": pl.Int64,
        "n_train": pl.Int64,
        "n_validation": pl.Int64,
        "n_purged": pl.Int64,
        "auc": pl.Float64,
        "auc_lower": pl.Float64,
        "auc_upper": pl.Float64,
        "log_loss": pl.Float64,
        "best_iteration": pl.Int64,
        "n_trees": pl.Int64,
        "device": pl.String,
    }
)
"""One row per trained teacher, from its `metadata.json` (`sensequant.teacher.TeacherMetadata`).

`window` is `Window.label`, which ends in the window's last day. The counts are those of `counts`;
auc, its bounds and log_loss those of `out_of_fold` (null where undefined or not measured).
"""

NOVELTY_SCHEMA = pl.Schema(
    {
        "scored_window": pl.String,
        "n_rows": pl.Int64,
        "n_scored": pl.Int64,
        "n_novel": pl.Int64,
        "n_expired": pl.Int64,
    }
)
"""One row per scored window: rows offered to its student, scored, novel and expired.

A novel row lies outside of what the student learnt from, an expired one after the last day on which
it may be used. A count that a run does not take is null.
"""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """How the calibrated probabilities of the students agree with labels.

    Attributes
    ----------
    bins
        `sensequant.evaluation.measures.calibration_table` of the column `probability`.
    n
        Labelled rows with a probability.
    expected_calibration_error, brier_score
        Of the same rows (`sensequant.evaluation.measures`).
    raw_calibration_error, raw_brier_score
        The same of the column `score` on the very same rows.
    """

    bins: pl.DataFrame
    n: int
    expected_calibration_error: float | None
    brier_score: float | None
    raw_calibration_error: float | None
    raw_brier_score: float | None


@dataclass(frozen=True, slots=True)
class ModelEvidence:
    """Everything that the page says about models; a part is None when the run does not have it.

    Attributes
    ----------
    teachers
        `TEACHERS_SCHEMA`.
    teacher_placebo
        AUC of teachers on shuffled labels with its range, if the run measured it.
    feature_use
        `sensequant.evaluation.feature_use.feature_use` of all `importance.parquet` and
        `missing_frac` of all `metadata.json`.
    teacher_units, student_units
        `teacher_runs.parquet` and `student_runs.parquet` as they are
        (`sensequant.units.unit_table`); counts that a unit does not have are null.
    calibrated
        Of the column `probability` of `predictions.parquet`.
    distillation, weighting, pooling
        `sensequant.evaluation.comparison.compare_scores` with these names: the student against its
        twin without a teacher (`score` - `score_without_teacher`); the student weighted by rewards
        against the unweighted one (`score_weighted` - `score`); the pooled student against one
        per symbol.
    reward_trend
        `sensequant.reward.reward_trend` of `rewards.parquet`.
    novelty
        `NOVELTY_SCHEMA`.
    why_missing
        Why a part is None, by the name of its attribute, such as `reward_trend: reward mode is
        none`; else the page only says that the run has no such result.
    """

    teachers: pl.DataFrame | None = None
    teacher_placebo: Figure | None = None
    feature_use: pl.DataFrame | None = None
    teacher_units: pl.DataFrame | None = None
    student_units: pl.DataFrame | None = None
    calibrated: Calibrated | None = None
    distillation: ComparisonRecord | None = None
    weighting: ComparisonRecord | None = None
    pooling: ComparisonRecord | None = None
    reward_trend: pl.DataFrame | None = None
    novelty: pl.DataFrame | None = None
    why_missing: Mapping[str, str] = field(default_factory=dict[str, str])

    def why(self, name: str) -> str:
        """Return why a part is None."""
        return self.why_missing.get(name, "the run has no such result")
