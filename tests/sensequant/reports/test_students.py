"""What the page says of comparisons, rewards and rows that were not scored."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from sensequant.evaluation.comparison import ComparisonRecord
from sensequant.reports import students as sections
from sensequant.reports.model_evidence import ModelEvidence
from sensequant.reports.performance import calibration_section
from sensequant.reports.run_report import ReportInput
from sensequant.reports.sections import Section
from sensequant.reports.tables import Table


@pytest.fixture
def evidence(full: ReportInput) -> ModelEvidence:
    assert full.models is not None
    return full.models


def distilled(evidence: ModelEvidence) -> ComparisonRecord:
    assert evidence.distillation is not None
    return evidence.distillation


def table(section: Section, caption: str) -> Table:
    return next(each for each in section.tables if each.caption.startswith(caption))


def changed(record: ComparisonRecord, **update: Any) -> ComparisonRecord:
    """Return the record with other values in each of its differences."""
    differences = tuple(each.model_copy(update=update) for each in record.differences)
    return record.model_copy(update={"differences": differences})


def test_comparison_shows_both_figures_their_difference_and_interval(
    evidence: ModelEvidence,
) -> None:
    """The row of the AUC holds what the record holds."""
    auc = distilled(evidence).of("auc")
    assert auc.estimate is not None
    row = table(sections.distillation_section(evidence), "The student beside its twin").rows[0]

    assert row[0] == "AUC, pooled"
    assert row[1:3] == (f"{auc.inputs['candidate']:.4f}", f"{auc.inputs['reference']:.4f}")
    assert row[3] == f"+{auc.estimate:.4f}"
    assert row[4] == f"{auc.lower:.4f} to {auc.upper:.4f}"
    assert row[6] == "3,136"


@pytest.mark.parametrize(
    ("rejects", "estimate", "higher", "lower"),
    [
        (True, 0.1, "better", "worse"),
        (True, -0.1, "worse", "better"),
        (False, 0.1, "not shown", "not shown"),
        (None, None, "undetermined", "undetermined"),
    ],
)
def test_result_says_which_student_is_better(
    evidence: ModelEvidence,
    rejects: bool | None,
    estimate: float | None,
    higher: str,
    lower: str,
) -> None:
    """A higher AUC is better, a higher loss is worse; what is not shown is claimed by none."""
    record = changed(distilled(evidence), rejects_null=rejects, estimate=estimate)
    rows = sections.distillation_section(replace(evidence, distillation=record)).tables[0].rows
    words = [str(row[5]) for row in rows]

    assert [f">{higher}<" in words[place] for place in (0, 3, 4)] == [True] * 3
    assert [f">{lower}<" in words[place] for place in (1, 2)] == [True] * 2


def test_difference_without_interval_gives_its_reason(evidence: ModelEvidence) -> None:
    """One class has no AUC: the reason stands where the number would."""
    record = changed(
        distilled(evidence),
        estimate=None,
        lower=None,
        upper=None,
        inputs={},
        reason="one class only",
    )
    row = sections.distillation_section(replace(evidence, distillation=record)).tables[0].rows[0]

    assert "n/a - one class only" in row[3]
    assert "n/a" in row[1]


def test_comparison_that_is_missing_says_why(evidence: ModelEvidence) -> None:
    """One of two beside the other; none at all as a section without content."""
    section = sections.distillation_section(evidence)
    nothing = sections.distillation_section(
        replace(evidence, distillation=None, why_missing={"distillation": "no twin was trained"})
    )

    assert "One student of all symbols" in section.missing
    assert "no pooled student was trained" in section.missing
    assert nothing.missing == "Not available: no twin was trained."
    assert nothing.tables == ()


def test_pooled_comparison_stands_beside_the_twin(evidence: ModelEvidence) -> None:
    """With both records nothing is missing."""
    both = replace(evidence, pooling=distilled(evidence))
    section = sections.distillation_section(both)

    assert section.missing == ""
    assert [column.name for column in section.tables[1].columns][1:3] == ["Pooled", "Per symbol"]


def test_rewards_are_drawn_and_listed_in_time_order(evidence: ModelEvidence) -> None:
    """One row per round of windows; two charts, each drawn twice."""
    assert evidence.reward_trend is not None
    mixed = replace(evidence, reward_trend=evidence.reward_trend.reverse())
    section = sections.rewards_section(mixed)
    found = table(section, "Rewards by")

    assert [row[0] for row in found.rows] == sorted(row[0] for row in found.rows)
    assert len(found.rows) == evidence.reward_trend.height
    assert section.chart.count("<svg") == 4
    assert table(section, "The student weighted by rewards").columns[1].name == "B, weighted"


def test_rewards_without_a_second_student_say_why(evidence: ModelEvidence) -> None:
    """The trend stands alone, and the reason beside it."""
    alone = replace(evidence, weighting=None, why_missing={"weighting": "reward mode is none"})
    section = sections.rewards_section(alone)

    assert section.missing == "No comparison of A and B: reward mode is none."
    assert len(section.tables) == 1


def test_rewards_that_nobody_knows_yet_are_not_drawn(evidence: ModelEvidence) -> None:
    """Decisions without outcome have no mean; without any win or loss there is no win rate."""
    assert evidence.reward_trend is not None
    missing = pl.lit(None, dtype=pl.Float64)
    unknown = evidence.reward_trend.with_columns(mean_reward=missing, win_rate=missing)
    still = evidence.reward_trend.with_columns(mean_reward=pl.lit(0.0), win_rate=missing)
    section = sections.rewards_section(replace(evidence, reward_trend=unknown))

    assert section.missing == "Not available: no reward is known yet."
    quiet = sections.rewards_section(replace(evidence, reward_trend=still))
    assert quiet.chart.count("<svg") == 2


def test_novelty_counts_add_up_and_what_was_not_counted_is_missing(
    evidence: ModelEvidence,
) -> None:
    """Novel rows are summed; a count that was never taken is not zero."""
    assert evidence.novelty is not None
    section = sections.novelty_section(evidence)
    found = section.tables[0]

    assert f"{2 * evidence.novelty.height} lay outside" in section.lead
    assert "an unknown number came after" in section.lead
    assert [column.name for column in found.columns][-1] == "Expired"
    assert all("n/a" in row[-1] for row in found.rows)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("distillation", sections.distillation_section),
        ("reward_trend", sections.rewards_section),
        ("novelty", sections.novelty_section),
    ],
)
def test_sections_without_result_keep_their_place(
    evidence: ModelEvidence, name: str, build: Any
) -> None:
    """Without the part, and without any evidence at all."""
    bare = replace(evidence, why_missing={}, **{name: None})

    assert build(bare).missing == "Not available: the run has no such result."
    assert build(None).missing == "Not available: the stage has no result."


def test_calibration_stands_before_and_after(full: ReportInput, evidence: ModelEvidence) -> None:
    """Both curves and both errors with calibration, one curve without."""
    assert evidence.calibrated is not None
    before = calibration_section(full.validation)
    after = calibration_section(full.validation, evidence.calibrated)
    found = table(after, "Before and after calibration").rows

    assert ">Calibrated<" in after.chart
    assert "Calibrated" not in before.chart
    assert found[0][1] == f"{evidence.calibrated.raw_calibration_error:.4f}"
    assert found[1][2] == f"{evidence.calibrated.brier_score:.4f}"
    assert len(after.tables) == len(before.tables) + 2
