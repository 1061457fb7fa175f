"""Sections on teachers: how good, on which features, on which rows, and what was lost on the way.

Belongs here: teachers, features, label balance, the funnel of windows. Does not belong here:
students (`reports.students`). Counts, sums and shares of them are the only numbers made here.
"""

from dataclasses import replace

import polars as pl

from sensequant.records import Outcome, SkipReason, explain_skip
from sensequant.reports.drawing import last_day
from sensequant.reports.model_charts import balance_chart, importance_chart, teachers_chart
from sensequant.reports.model_evidence import ModelEvidence
from sensequant.reports.sections import Section, listed, without
from sensequant.reports.tables import (
    Column,
    Table,
    count,
    decimals,
    percent,
    table_of,
    words,
)

__all__ = [
    "features_section",
    "labels_section",
    "teachers_section",
    "window_funnel_section",
]

_N_BARS = 20
_STEPS = {
    "n_bars": "Bars in trained windows",
    "n_feature_rows": "with at least one feature",
    "n_labelled": "with a label",
    "n_purged": "purged before the validation part",
    "n_train": "in training parts",
    "n_validation": "in validation parts",
}


def teachers_section(models: ModelEvidence | None) -> Section:
    """Draw how well each teacher told the labels of its own window apart, out of fold."""
    blank = Section("teachers", "Teachers")
    why = _why(models, "teachers")
    if models is None or models.teachers is None:
        return without(blank, why)
    teachers = models.teachers.with_columns(session=last_day("window"))
    known = teachers.drop_nulls("auc")
    if known.is_empty():
        return without(blank, "no teacher has an out-of-fold AUC")
    devices = teachers.group_by("device").len().sort("device").iter_rows()
    lead = (
        f"{count(teachers.height)} teachers, grown on "
        f"{', '.join(f'{device} ({count(number)})' for device, number in devices)}. Each AUC is "
        "taken on probabilities whose models saw no overlapping label, but inside one short "
        "window: it is biased upward even on pure chance and says nothing about later windows."
    )
    score = decimals(3)
    columns = (
        Column("window", "Window", str, is_number=False),
        Column("auc", "AUC", score),
        Column("auc_lower", "from", score),
        Column("auc_upper", "to", score),
        Column("log_loss", "Log loss", score),
        Column("n_labelled", "Rows", count),
        Column("n_positive", "Label 1", count),
        Column("best_iteration", "Rounds chosen", count),
        Column("n_trees", "Trees", count),
    )
    ordered = teachers.sort("session", "window")
    return replace(
        blank,
        lead=lead,
        chart=teachers_chart(known, placebo=models.teacher_placebo),
        tables=(table_of(ordered, columns, caption="Each teacher", is_folded=True),),
    )


def features_section(models: ModelEvidence | None) -> Section:
    """Draw which features teachers used most, and tell how much of each was missing."""
    blank = Section("features", "Features")
    if models is None or models.feature_use is None:
        return without(blank, _why(models, "feature_use"))
    used = models.feature_use
    gains, shuffled = used.drop_nulls("gain_share"), used.drop_nulls("permutation_log_loss")
    charts = [
        importance_chart(top, column, name=name, as_percent=as_percent)
        for top, column, name, as_percent in (
            (gains.head(_N_BARS), "gain_share", "Mean share of the gain", True),
            (
                shuffled.sort("permutation_log_loss", "feature", descending=[True, False]).head(
                    _N_BARS
                ),
                "permutation_log_loss",
                "Mean rise of the log loss when shuffled, nats",
                False,
            ),
        )
        if not top.is_empty()
    ]
    lead = (
        f"{count(used.height)} features. Gain is what a feature was used for in training, also "
        "where it only fitted noise; the rise of the log loss when its values are shuffled is what "
        "held-out rows lose without it, and at or below zero nothing. Features that say the same "
        "share both."
    )
    columns = (
        Column("feature", "Feature", str, is_number=False),
        Column("gain_share", "Share of gain", percent),
        Column("permutation_log_loss", "Rise when shuffled", decimals(4)),
        Column("missing_frac", "Missing, mean", percent),
        Column("most_missing_frac", "Missing, worst window", percent),
        Column("n_windows", "Windows", count),
    )
    no_permutation = "No feature has a permutation importance." if shuffled.is_empty() else ""
    return replace(
        blank,
        lead=lead,
        chart="\n".join(charts),
        missing=no_permutation,
        tables=(table_of(used, columns, caption="Every feature", is_folded=True),),
    )


def labels_section(models: ModelEvidence | None) -> Section:
    """Draw the share of label 1 in the windows that were learnt from."""
    blank = Section("labels", "Label balance")
    if models is None or models.teachers is None:
        return without(blank, _why(models, "teachers"))
    known = models.teachers.filter(pl.col("n_labelled") > 0)
    if known.is_empty():
        return without(blank, "no window was learnt from")
    n_rows, n_positive = int(known["n_labelled"].sum()), int(known["n_positive"].sum())
    each = known.with_columns(
        session=last_day("window"),
        positive_percent=100 * pl.col("n_positive") / pl.col("n_labelled"),
    )
    share = pl.col("positive_percent") / 100
    by_end = (
        each.group_by("session")
        .agg(
            pl.len().alias("n_windows"),
            pl.col("n_labelled", "n_positive").sum(),
            lowest=share.min(),
            highest=share.max(),
        )
        .sort("session")
        .with_columns(share=pl.col("n_positive") / pl.col("n_labelled"))
    )
    columns = (
        Column("session", "Windows that end on", str, is_number=False),
        Column("n_windows", "Windows", count),
        Column("n_labelled", "Labelled rows", count),
        Column("n_positive", "Label 1", count),
        Column("share", "Share", percent),
        Column("lowest", "Lowest window", percent),
        Column("highest", "Highest window", percent),
    )
    lead = (
        f"{percent(n_positive / n_rows)} of {count(n_rows)} labelled rows carry label 1. Shares "
        "that swing from window to window are market moves: a model that says up in a rising "
        "window is right without knowing why."
    )
    return replace(
        blank,
        lead=lead,
        chart=balance_chart(each, share=n_positive / n_rows),
        tables=(table_of(by_end, columns, caption="Labels by the windows' last day"),),
    )


def window_funnel_section(models: ModelEvidence | None) -> Section:
    """Count the rows of all windows at every step, and tell why windows were lost."""
    blank = Section("window-funnel", "Windows and rows")
    if models is None or models.teacher_units is None or models.teacher_units.is_empty():
        return without(blank, _why(models, "teacher_units"))
    units = models.teacher_units
    trained = units.filter(pl.col("outcome") == Outcome.SUCCESS)
    lead = (
        f"{count(trained.height)} of {count(units.height)} planned windows have a teacher. The "
        "rows of a window that was lost are in none of the sums."
    )
    students = models.student_units
    parts = [("teacher", units)] + ([] if students is None else [("student", students)])
    lost = [row for kind, part in parts for row in _lost_rows(kind, part)]
    tables = [_steps_table(trained)]
    if lost:
        columns = {"Lost": False, "Why": False, "Windows": True, "Symbols": True, "First": False}
        tables.append(listed("Windows that were lost", columns, lost))
    tables.append(_windows_table(units, students))
    nothing_lost = () if lost else ("No window was lost.",)
    return replace(blank, lead=lead, tables=tuple(tables), points=nothing_lost)


def _why(models: ModelEvidence | None, name: str) -> str:
    return "the stage has no result" if models is None else models.why(name)


def _steps_table(trained: pl.DataFrame) -> Table:
    sums = {name: int(trained[name].sum()) for name in _STEPS if name in trained.columns}
    n_bars = sums.get("n_bars", 0)
    rows = [
        (name, count(sums[step]), percent(sums[step] / n_bars if n_bars else None))
        for step, name in _STEPS.items()
        if step in sums
    ]
    return listed("Rows at every step", {"Step": False, "Rows": True, "Of the bars": True}, rows)


def _lost_rows(kind: str, units: pl.DataFrame) -> list[tuple[str, ...]]:
    lost = units.filter(pl.col("outcome") != Outcome.SUCCESS)
    reasons = (
        lost.group_by("outcome", "reason")
        .agg(
            n=pl.len(),
            n_symbols=pl.col("symbol").n_unique(),
            first=pl.format("{} {}", "symbol", "window").sort().first(),
        )
        .sort("n", "outcome", "reason", descending=[True, False, False])
    )
    return [
        (
            f"{kind} {row['outcome']}",
            _reason(row["outcome"], row["reason"]),
            count(row["n"]),
            count(row["n_symbols"]),
            words(row["first"]),
        )
        for row in reasons.iter_rows(named=True)
    ]


def _windows_table(units: pl.DataFrame, students: pl.DataFrame | None) -> Table:
    rows = units.sort("symbol", "window").with_columns(
        fate=pl.struct("outcome", "reason").map_elements(
            lambda unit: _fate(unit["outcome"], unit["reason"]), return_dtype=pl.String
        )
    )
    if students is not None and "n_scored" in students.columns:
        scored = students.select("symbol", "window", "n_scored")
        rows = rows.join(scored, on=["symbol", "window"], how="left", maintain_order="left")
    columns = (
        Column("symbol", "Symbol", words, is_number=False),
        Column("window", "Window", words, is_number=False),
        Column("fate", "Teacher", str, is_number=False),
        Column("n_bars", "Bars", count),
        Column("n_feature_rows", "With features", count),
        Column("n_labelled", "Labelled", count),
        Column("n_purged", "Purged", count),
        Column("n_train", "Train", count),
        Column("n_validation", "Validation", count),
        Column("n_scored", "Scored later", count),
    )
    return table_of(rows, columns, caption="Each window", is_folded=True)


def _fate(outcome: str, reason: str | None) -> str:
    return "trained" if outcome == Outcome.SUCCESS else f"{outcome}: {_reason(outcome, reason)}"


def _reason(outcome: str, reason: str | None) -> str:
    if reason is None:
        return (
            "an error, told in the table of units of the run" if outcome == Outcome.FAILED else ""
        )
    if reason in set(SkipReason):
        return explain_skip(SkipReason(reason)).rstrip(".")
    return words(reason)
