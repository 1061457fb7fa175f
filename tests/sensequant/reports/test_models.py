"""What the page says of teachers, features, labels and lost windows."""

import html
import re
from dataclasses import replace

import polars as pl
import pytest

from sensequant.records import Outcome, SkipReason, explain_skip
from sensequant.reports import models as sections
from sensequant.reports.model_evidence import ModelEvidence
from sensequant.reports.run_report import ReportInput, build_report
from sensequant.reports.sections import Section
from sensequant.reports.tables import Table, percent

ALIKE = "All labels are the same, so there is nothing to tell apart"
BUILDERS = {
    "teachers": sections.teachers_section,
    "feature_use": sections.features_section,
    "teacher_units": sections.window_funnel_section,
}


@pytest.fixture
def evidence(full: ReportInput) -> ModelEvidence:
    assert full.models is not None
    return full.models


def table(section: Section, caption: str) -> Table:
    return next(each for each in section.tables if each.caption.startswith(caption))


def cells(found: Table, heading: str) -> list[str]:
    place = [column.name for column in found.columns].index(heading)
    return [str(row[place]) for row in found.rows]


@pytest.mark.parametrize("name", BUILDERS)
def test_absent_part_says_why(evidence: ModelEvidence, name: str) -> None:
    """The reason that the stage gave, or that there is none."""
    build = BUILDERS[name]
    bare = replace(evidence, **{name: None})
    told = replace(bare, why_missing={name: "the moon was full"})

    assert build(bare).missing == "Not available: the run has no such result."
    assert build(told).missing == "Not available: the moon was full."
    assert build(None).missing == "Not available: the stage has no result."
    assert build(told).chart == ""


def test_every_teacher_is_a_row_and_devices_are_counted(evidence: ModelEvidence) -> None:
    """A teacher without AUC stands in the table and not in the chart."""
    assert evidence.teachers is not None
    mixed = evidence.teachers.with_columns(
        device=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("cuda")).otherwise("device")
    )
    section = sections.teachers_section(replace(evidence, teachers=mixed))

    assert len(table(section, "Each teacher").rows) == mixed.height
    assert "cpu (29), cuda (3)" in section.lead
    assert "AUC of 31 teachers" in section.chart
    assert sum("n/a" in text for text in cells(table(section, "Each teacher"), "AUC")) == 1


def test_teachers_without_any_auc_are_not_drawn(evidence: ModelEvidence) -> None:
    """An empty chart would look like a result."""
    assert evidence.teachers is not None
    none = evidence.teachers.with_columns(auc=pl.lit(None, dtype=pl.Float64))

    assert (
        "no teacher has an out-of-fold AUC"
        in sections.teachers_section(replace(evidence, teachers=none)).missing
    )


def test_placebo_is_drawn_where_it_was_measured(evidence: ModelEvidence) -> None:
    """The band of shuffled labels comes with the figure."""
    without = sections.teachers_section(replace(evidence, teacher_placebo=None))

    assert "Shuffled labels 0.550" in sections.teachers_section(evidence).chart
    assert "Shuffled labels" not in without.chart


def test_twenty_features_are_drawn_and_all_are_listed(evidence: ModelEvidence) -> None:
    """The bars are the top 20 of each measure; the table holds every feature."""
    assert evidence.feature_use is not None
    section = sections.features_section(evidence)
    by_rise = evidence.feature_use.sort("permutation_log_loss", descending=True)
    gain, rise = re.split(r"(?=<svg class=\"chart chart-wide\")", section.chart)[1:]

    assert len(table(section, "Every feature").rows) == 25
    for drawn, order in ((gain, evidence.feature_use), (rise, by_rise)):
        names = [name for name in order["feature"] if len(name) < 20]
        assert f">{names[0]}</text>" in drawn
        assert f">{names[-1]}</text>" not in drawn


def test_long_feature_names_are_cut_in_charts_only(evidence: ModelEvidence) -> None:
    """The table holds the whole name."""
    assert evidence.feature_use is not None
    name = "close_to_upper_band_of_20_sessions"
    one = evidence.feature_use.filter(pl.col("feature") == name)
    section = sections.features_section(replace(evidence, feature_use=one))

    assert name not in section.chart
    assert "close_to_upper_band_o\u2026" in section.chart
    assert cells(table(section, "Every feature"), "Feature") == [name]


def test_unmeasured_permutation_is_said(evidence: ModelEvidence) -> None:
    """Only the gain is drawn, and the page says so."""
    assert evidence.feature_use is not None
    bare = evidence.feature_use.with_columns(permutation_log_loss=pl.lit(None, dtype=pl.Float64))
    section = sections.features_section(replace(evidence, feature_use=bare))

    assert section.missing == "No feature has a permutation importance."
    assert section.chart.count("<svg") == 2
    assert sections.features_section(evidence).missing == ""


def test_label_shares_add_up(evidence: ModelEvidence) -> None:
    """Rows and ones of the table are those of the teachers; the lead holds their share."""
    assert evidence.teachers is not None
    n, ones = evidence.teachers.select(pl.col("n_labelled", "n_positive").sum()).row(0)
    section = sections.labels_section(evidence)
    found = table(section, "Labels by")

    assert section.lead.startswith(percent(ones / n))
    for heading, total in (("Labelled rows", n), ("Label 1", ones), ("Windows", 32)):
        assert sum(int(text.replace(",", "")) for text in cells(found, heading)) == total


def test_nothing_learnt_has_no_balance(evidence: ModelEvidence) -> None:
    """No share of no rows."""
    assert evidence.teachers is not None
    section = sections.labels_section(replace(evidence, teachers=evidence.teachers.clear()))

    assert "no window was learnt from" in section.missing


def test_steps_of_the_funnel_are_sums_over_trained_windows(evidence: ModelEvidence) -> None:
    """32 trained windows of 124 bars; lost windows are in none of the sums."""
    found = table(sections.window_funnel_section(evidence), "Rows at every step")
    rows = [int(text.replace(",", "")) for text in cells(found, "Rows")]

    assert rows == [32 * each for each in (124, 122, 120, 7, 89, 24)]
    assert cells(found, "Of the bars")[:2] == ["100.0%", "98.4%"]


def test_lost_windows_are_told_in_words_with_their_number(evidence: ModelEvidence) -> None:
    """Known codes are sentences, unknown ones words; failures are told from skips."""
    found = table(sections.window_funnel_section(evidence), "Windows that were lost")
    why = dict(
        zip(zip(cells(found, "Lost"), cells(found, "Why"), strict=True), found.rows, strict=True)
    )

    assert why["teacher skipped", ALIKE][2:4] == ("2", "2")
    assert why["teacher skipped", ALIKE][4] == "LOST0 2022-01-01..2022-06-30"
    assert ("teacher skipped", "moon phase") in why
    assert ("student skipped", "The symbol was not listed yet") in why
    assert any(lost == "teacher failed" and "error" in text for lost, text in why)


def test_every_skip_reason_has_words(evidence: ModelEvidence) -> None:
    """A code is told as the sentence that explains it, without its full stop."""
    assert evidence.teacher_units is not None
    for reason in SkipReason:
        units = evidence.teacher_units.with_columns(
            outcome=pl.lit("skipped"), reason=pl.lit(str(reason))
        )
        section = sections.window_funnel_section(replace(evidence, teacher_units=units))
        (told,) = set(cells(table(section, "Each window"), "Teacher"))
        assert html.unescape(told) == f"skipped: {explain_skip(reason)[:-1]}"


def test_every_window_is_a_row_with_its_fate(evidence: ModelEvidence) -> None:
    """Trained ones with their counts, lost ones with the reason and without counts."""
    found = table(sections.window_funnel_section(evidence), "Each window")
    fates = cells(found, "Teacher")

    assert len(fates) == 37
    assert fates.count("trained") == 32
    assert fates.count(f"skipped: {ALIKE}") == 2
    assert sum("n/a" in text for text in cells(found, "Bars")) == 5
    assert cells(found, "Scored later").count("113") == 32


def test_run_that_lost_nothing_says_so(evidence: ModelEvidence) -> None:
    """No empty table of losses."""
    assert evidence.teacher_units is not None
    whole = evidence.teacher_units.filter(pl.col("outcome") == Outcome.SUCCESS)
    section = sections.window_funnel_section(
        replace(evidence, teacher_units=whole, student_units=None)
    )

    assert section.points == ("No window was lost.",)
    assert [each.caption for each in section.tables] == ["Rows at every step", "Each window"]


def test_hostile_names_stay_text(full: ReportInput, evidence: ModelEvidence) -> None:
    """Symbols, features, devices and reasons come from files; none becomes markup."""
    hostile = "<script>alert('x')</script>"
    assert evidence.teachers is not None
    assert evidence.feature_use is not None
    assert evidence.teacher_units is not None
    spoilt = replace(
        evidence,
        teachers=evidence.teachers.with_columns(device=pl.lit(hostile)),
        feature_use=evidence.feature_use.with_columns(feature=pl.lit(hostile)),
        teacher_units=evidence.teacher_units.with_columns(
            symbol=pl.lit(hostile), window=pl.lit(hostile), reason=pl.lit(hostile)
        ),
        why_missing={"pooling": hostile},
    )
    page = build_report(replace(full, models=spoilt))

    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 100
