"""What a run's page and its tables say about its models, collected from their files.

Belongs here: which file each table comes from. Does not belong here: what a page makes of them
(`reports`), and any figure that is not in a file or a column of one.
"""

from collections.abc import Iterator
from typing import Any

import polars as pl

from sensequant.evaluation.comparison import ComparisonRecord
from sensequant.evaluation.feature_use import feature_use
from sensequant.evaluation.measures import (
    brier_score,
    calibration_table,
    expected_calibration_error,
)
from sensequant.reports.model_evidence import (
    NOVELTY_SCHEMA,
    TEACHERS_SCHEMA,
    Calibrated,
    ModelEvidence,
)
from sensequant.reward import reward_trend
from sensequant.stages.context import Run
from sensequant.stages.students_evidence import read_comparisons
from sensequant.stages.training import planned_teachers
from sensequant.storage import read_json, read_table
from sensequant.windows import Window

__all__ = ["collect_models", "teacher_table", "teachers_by_window"]

_COUNTS = ("n_labelled", "n_positive", "n_train", "n_validation", "n_purged")


def collect_models(run: Run) -> ModelEvidence:
    """Return everything that the page says about the models of a run, as far as it exists."""
    teachers = teacher_table(run)
    comparisons = read_comparisons(run) if run.folder.comparisons.exists() else {}
    return ModelEvidence(
        teachers=teachers if teachers.height else None,
        feature_use=_feature_use(run) if teachers.height else None,
        teacher_units=_units(run, "teacher"),
        student_units=_units(run, "student"),
        calibrated=_calibrated(run),
        distillation=comparisons.get("distillation"),
        weighting=comparisons.get("weighting"),
        pooling=comparisons.get("pooling"),
        reward_trend=_reward_trend(run),
        novelty=_novelty(run),
        why_missing=_why_missing(run, comparisons),
    )


def teacher_table(run: Run) -> pl.DataFrame:
    """Return one row per trained teacher (`reports.model_evidence.TEACHERS_SCHEMA`)."""
    rows = [_teacher_row(window, metadata) for window, metadata in _metadata(run)]
    return pl.DataFrame(rows, schema=TEACHERS_SCHEMA)


def teachers_by_window(run: Run) -> pl.DataFrame:
    """Return one row per span of time: how many teachers, how many rows, their AUCs.

    Returns
    -------
    polars.DataFrame
        span, n_teachers, n_labelled, n_positive, n_train, n_validation, n_purged (sums),
        mean_auc, lowest_auc, highest_auc of the out-of-fold probabilities; null without any.
    """
    days = pl.col("window").str.extract(r"(\d{4}-\d\d-\d\d)_to_(\d{4}-\d\d-\d\d)$", 2)
    auc = pl.col("auc")
    return (
        teacher_table(run)
        .with_columns(window_end=days)
        .group_by("window_end")
        .agg(
            n_teachers=pl.len(),
            **{name: pl.col(name).sum() for name in _COUNTS},
            mean_auc=auc.mean(),
            lowest_auc=auc.min(),
            highest_auc=auc.max(),
        )
        .sort("window_end")
    )


def _metadata(run: Run) -> Iterator[tuple[Window, dict[str, Any]]]:
    for window in planned_teachers(run):
        path = run.folder.teacher(window.label) / "metadata.json"
        if path.exists():
            yield window, read_json(path)


def _teacher_row(window: Window, metadata: dict[str, Any]) -> dict[str, Any]:
    found = metadata["out_of_fold"]
    lower, upper = found["roc_auc_interval"] or (None, None)
    return {
        "symbol": window.symbol,
        "window": window.label,
        **{name: metadata["counts"][name] for name in _COUNTS},
        "auc": found["roc_auc"],
        "auc_lower": lower,
        "auc_upper": upper,
        "log_loss": found["log_loss"],
        "best_iteration": metadata["best_iteration"],
        "n_trees": metadata["n_trees"],
        "device": metadata["device"],
    }


def _feature_use(run: Run) -> pl.DataFrame:
    importances: list[pl.DataFrame] = []
    missing: list[dict[str, Any]] = []
    for window, metadata in _metadata(run):
        table = read_table(run.folder.teacher(window.label) / "importance.parquet")
        importances.append(table.with_columns(window=pl.lit(window.label)))
        missing += [
            {"window": window.label, "feature": name, "missing_frac": share}
            for name, share in metadata["missing_frac"].items()
        ]
    return feature_use(pl.concat(importances), pl.DataFrame(missing))


def _units(run: Run, kind: str) -> pl.DataFrame | None:
    path = run.folder.units(kind)
    # Features and labels stand in the table of the teachers, too.
    return read_table(path).filter(pl.col("kind") == kind) if path.exists() else None


def _calibrated(run: Run) -> Calibrated | None:
    if not run.folder.predictions.exists():
        return None
    known = read_table(run.folder.predictions).drop_nulls(["label", "probability"])
    n_bins = run.config.validation.n_calibration_bins
    label, probability, score = (
        known[name].to_numpy() for name in ("label", "probability", "score")
    )
    bins = calibration_table(label, probability, n_bins)
    if bins is None:
        return None
    return Calibrated(
        bins=bins,
        n=known.height,
        expected_calibration_error=expected_calibration_error(label, probability, n_bins),
        brier_score=brier_score(label, probability),
        raw_calibration_error=expected_calibration_error(label, score, n_bins),
        raw_brier_score=brier_score(label, score),
    )


def _reward_trend(run: Run) -> pl.DataFrame | None:
    if not run.folder.rewards.exists():
        return None
    trend = reward_trend(read_table(run.folder.rewards))
    return trend if trend.height else None


def _novelty(run: Run) -> pl.DataFrame | None:
    if not run.folder.predictions.exists():
        return None
    reason = pl.col("reason")
    counted = (
        read_table(run.folder.predictions)
        .group_by("scored_window")
        .agg(
            n_rows=pl.len(),
            n_scored=pl.col("score").count(),
            n_novel=(reason == "novel").sum(),
            n_expired=(reason == "expired").sum(),
        )
        .sort("scored_window")
        .select(pl.col(name).cast(dtype) for name, dtype in NOVELTY_SCHEMA.items())
    )
    return counted if counted.height else None


def _why_missing(run: Run, comparisons: dict[str, ComparisonRecord]) -> dict[str, str]:
    why: dict[str, str] = {}
    if "weighting" not in comparisons and run.config.reward.mode == "none":
        why["weighting"] = "reward mode is none"
    if run.config.student.calibration == "none":
        why["calibrated"] = "calibration is none"
    return why
