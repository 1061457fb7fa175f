"""Sections on students: what the teacher, the rewards and pooling brought, and what was not scored.

Belongs here: comparisons of students, rewards, novelty and expiry. Does not belong here: teachers
(`reports.models`), and what scores and trading were worth (`reports.performance`).
"""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from sensequant.evaluation.comparison import ComparisonRecord
from sensequant.evaluation.hypotheses import TestResult
from sensequant.reports.drawing import last_day
from sensequant.reports.model_charts import reward_chart, win_rate_chart
from sensequant.reports.model_evidence import ModelEvidence
from sensequant.reports.sections import Section, listed, without
from sensequant.reports.tables import (
    Column,
    Format,
    Table,
    between,
    count,
    decimals,
    mark,
    missing,
    percent,
    table_of,
)

__all__ = ["distillation_section", "novelty_section", "rewards_section"]

_LOWER_IS_BETTER = ("log_loss", "brier_score")
_FIGURES = {
    "auc": "AUC, pooled",
    "log_loss": "Log loss, nats",
    "brier_score": "Brier score",
    "accuracy": "Accuracy",
    "mean_reward": "Mean reward",
}
_NO_RESULT = "the stage has no result"


def distillation_section(models: ModelEvidence | None) -> Section:
    """Tell what learning from a teacher, and from all symbols at once, brought out of sample."""
    blank = Section("distillation", "Students compared")
    if models is None:
        return without(blank, _NO_RESULT)
    parts = (
        ("distillation", models.distillation, ("With teacher", "Without")),
        ("pooling", models.pooling, ("Pooled", "Per symbol")),
    )
    captions = {
        "distillation": "The student beside its twin that never saw a teacher",
        "pooling": "One student of all symbols beside one per symbol",
    }
    tables = tuple(
        _comparison_table(record, captions[name], names)
        for name, record, names in parts
        if record is not None
    )
    absent = [f"{captions[name]}: {models.why(name)}" for name, record, _ in parts if not record]
    if not tables:
        return without(blank, models.why("distillation"))
    return replace(
        blank,
        lead=_comparison_lead(tuple(record for _, record, _ in parts if record)),
        missing=f"Not available: {'; '.join(absent)}." if absent else "",
        tables=tables,
    )


def rewards_section(models: ModelEvidence | None) -> Section:
    """Draw what decisions earned over time, and tell what weighting by it brought."""
    blank = Section("rewards", "Reward loop")
    if models is None:
        return without(blank, _NO_RESULT)
    trend = models.reward_trend
    if trend is None or trend["mean_reward"].is_null().all():
        why = "no reward is known yet" if trend is not None else models.why("reward_trend")
        return without(blank, why)
    dated = trend.rename({"window_end": "session"}).sort("session")
    charts = [reward_chart(dated)]
    if dated["win_rate"].count():
        charts.append(win_rate_chart(dated))
    columns = (
        Column("session", "Windows that end on", str, is_number=False),
        Column("n_decisions", "Decisions", count),
        Column("n", "Rewarded", count),
        Column("n_signals", "With a signal", count),
        Column("mean_reward", "Mean reward", _fine_percent),
        Column("captured_frac", "Of the possible", percent),
        Column("win_rate", "Won", percent),
        Column("volatility", "Volatility", percent),
    )
    tables = [table_of(dated, columns, caption="Rewards by the scored windows' last day")]
    lead = (
        "A decision earns the size of the move that followed where its signal had the right "
        "direction, loses it where it had not, and earns nothing without a signal. Of the possible "
        "is the share of what a signal without error would have earned; windows weigh in the next "
        "training by it. Neighbouring rewards overlap, so single points scatter widely."
    )
    if models.weighting is not None:
        caption = "The student weighted by rewards (B) beside the unweighted one (A)"
        tables.insert(0, _comparison_table(models.weighting, caption, ("B, weighted", "A")))
    no_pair = "" if models.weighting else f"No comparison of A and B: {models.why('weighting')}."
    return replace(blank, lead=lead, chart="\n".join(charts), missing=no_pair, tables=tuple(tables))


def novelty_section(models: ModelEvidence | None) -> Section:
    """Tell how many rows were unlike anything learnt, or came after a student's last day."""
    blank = Section("novelty", "Novelty and expiry")
    if models is None:
        return without(blank, _NO_RESULT)
    if models.novelty is None or models.novelty.is_empty():
        return without(blank, models.why("novelty"))
    counts = ("n_rows", "n_scored", "n_novel", "n_expired")
    # A sum of nothing but nulls is not 0: the count was not taken.
    sums = [pl.when(pl.col(n).count() > 0).then(pl.col(n).sum()).alias(n) for n in counts]
    by_end = (
        models.novelty.group_by(last_day("scored_window").alias("window_end"))
        .agg(pl.len().alias("n_windows"), *sums)
        .sort("window_end")
    )
    n_rows, n_scored, n_novel, n_expired = models.novelty.select(sums).row(0)
    columns = (
        Column("window_end", "Windows that end on", str, is_number=False),
        Column("n_windows", "Windows", count),
        Column("n_rows", "Rows offered", count),
        Column("n_scored", "Scored", count),
        Column("n_novel", "Novel", count),
        Column("n_expired", "Expired", count),
    )
    lead = (
        f"Of {_told(n_rows)} rows offered to students {_told(n_scored)} were scored, "
        f"{_told(n_novel)} lay outside of what their student had learnt from, and "
        f"{_told(n_expired)} came after its last day of use."
    )
    table = table_of(by_end, columns, caption="Rows by the scored windows' last day")
    return replace(blank, lead=lead, tables=(table,))


def _comparison_lead(records: Sequence[ComparisonRecord]) -> str:
    first = records[0]
    return (
        f"Both students of a pair scored the same later rows ({count(first.n_rows)} rows, "
        f"{count(first.n_symbols)} symbols, {count(first.n_sessions)} sessions); both are drawn "
        f"together in {count(first.n_draws)} block-bootstrap draws. A difference counts as shown "
        f"when its {first.confidence:.0%} interval leaves zero out."
    )


def _comparison_table(record: ComparisonRecord, caption: str, names: tuple[str, str]) -> Table:
    columns = {"Figure": False, names[0]: True, names[1]: True, "Difference": True}
    columns |= {"Interval": True, "Result": False, "n rows": True}
    return listed(caption, columns, [_difference_row(each) for each in record.differences])


def _difference_row(test: TestResult) -> tuple[str, ...]:
    write = _FORMATS.get(test.name, decimals(4))
    interval = missing(test.reason)
    if test.lower is not None and test.upper is not None:
        interval = between(test.lower, test.upper, write)
    return (
        _FIGURES.get(test.name, test.name),
        write(test.inputs.get("candidate")),
        write(test.inputs.get("reference")),
        missing(test.reason) if test.estimate is None else _signed(test.estimate, write),
        interval,
        _result(test),
        count(test.n),
    )


def _result(test: TestResult) -> str:
    if test.rejects_null is None or test.estimate is None:
        return mark("undetermined", "undetermined")
    if not test.rejects_null:
        return mark("plain", "not shown")
    is_better = (test.estimate < 0) is (test.name in _LOWER_IS_BETTER)
    return mark("pass", "better") if is_better else mark("fail", "worse")


def _signed(value: float, write: Format) -> str:
    return f"+{write(value)}" if value > 0 else write(value)


def _told(number: int | None) -> str:
    return "an unknown number" if number is None else count(number)


def _fine_percent(value: float | None) -> str:
    return missing() if value is None else f"{value * 100:.2f}%".replace("-", "\u2212")


_FORMATS: dict[str, Format] = {"accuracy": _fine_percent, "mean_reward": _fine_percent}
