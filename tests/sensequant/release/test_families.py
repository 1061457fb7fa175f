"""Families of features in the briefing: the figures of the ablation, and their chart."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from sensequant.evaluation.ablation import FIGURES, AblationConfig, AblationSummary, FamilyWorth
from sensequant.evaluation.hypotheses import TestResult
from sensequant.features.spec import Family
from sensequant.release.briefing import BriefingInputs, build_briefing, render_markdown
from sensequant.release.briefing_model import FamilyLine
from sensequant.release.evidence import Reports
from sensequant.release.families import ablation_of, interval_chart


def outcome_of(name: str, *, told: bool | None, **fields: Any) -> TestResult:
    return TestResult(
        name=name,
        null="the family makes no difference",
        alternative="it does",
        source="a test",
        assumptions="none",
        unit=FIGURES[name],
        n=500,
        seed=1,
        rejects_null=told,
        **fields,
    )


def worth(family: Family, auc: float, *, told: bool) -> FamilyWorth:
    """Return a family whose AUC differs so much; its Sharpe ratio is not defined."""
    known = {"lower": auc - 0.02, "upper": auc + 0.02, "confidence": 0.95, "p_value": 0.01}
    inputs = {"with": 0.6, "without": 0.6 - auc, "p_holm": 0.03, "q_value": 0.02}
    return FamilyWorth(
        family=family,
        was_fed=family is Family.VOLUME,
        n_columns=3,
        n_rows=500,
        n_rows_left_out=0,
        n_sessions=100,
        worth=(
            outcome_of("auc", told=told, estimate=auc, inputs=inputs, **known),
            outcome_of("log_loss", told=False, estimate=0.0, inputs=inputs, **known),
            outcome_of("net_annual_return", told=False, estimate=0.01, inputs=inputs, **known),
            outcome_of("net_sharpe", told=None, reason="no sessions"),
        ),
    )


@pytest.fixture
def summary() -> AblationSummary:
    """Return what was found of two families: one helps, one does not."""
    return AblationSummary(
        settings=AblationConfig(),
        is_simulated=True,
        n_symbols=2,
        n_tests=6,
        score="score",
        families=(
            worth(Family.VOLUME, 0.1, told=True),
            worth(Family.SENTIMENT, -0.01, told=False),
        ),
    )


@pytest.fixture
def inputs(reports: Reports) -> BriefingInputs:
    """Return the records of a run that nobody has judged yet."""
    return BriefingInputs(
        run_id="live_candidate_20260102_030405_0000abcd",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        is_simulated=False,
        symbols=("INFY",),
        first_session=None,
        last_session=None,
        stages=[],
        stages_asked=(),
        units=[],
        reports=reports,
        twins=[],
        n_twins_asked=0,
        verdict=None,
        manifest_sha256=None,
        evidence_digest=None,
    )


def test_the_part_holds_every_figure_of_the_ablation(summary: AblationSummary) -> None:
    """Differences, intervals, corrected p- and q-values, and what is told from zero."""
    part = ablation_of(summary)

    assert part is not None
    assert part.is_simulated
    assert len(part.lines) == 8
    first = part.lines[0]
    assert (first.family, first.figure, first.told) == ("volume", "auc", "better")
    assert (first.difference, first.p_holm, first.q_value) == (0.1, 0.03, 0.02)
    assert part.lines[3].reason == "no sessions"
    assert {line.told for line in part.lines[1:]} == {"no"}


def test_the_chart_puts_every_interval_where_it_is(summary: AblationSummary) -> None:
    """Zero is in the middle; the widest end is at the margin; the scale says how far it is."""
    part = ablation_of(summary)
    assert part is not None
    volume, sentiment, scale = part.chart

    assert volume.startswith("volume    ")
    drawn = volume[10:], sentiment[10:]
    # 0.12 is the farthest end, on 20 cells.
    assert [line.index("o") for line in drawn] == [20 + round(0.1 / 0.12 * 20), 20 - 2]
    assert drawn[0][20] == ":"
    assert drawn[0].rstrip().endswith("-")
    assert len(drawn[0].rstrip()) == 41
    assert drawn[1].count("-") + 1 == round(0.04 / 0.12 * 20) + 1
    assert "-0.1200" in scale
    assert "+0.1200" in scale
    assert interval_chart([]) == ()
    assert interval_chart([line for line in part.lines if line.difference is None]) == ()


def test_a_chart_of_nothing_but_zeros_is_none(summary: AblationSummary) -> None:
    """A scale of length zero has no places."""
    part = ablation_of(summary)
    assert part is not None
    flat = FamilyLine.model_validate(
        part.lines[0].model_dump() | {"difference": 0.0, "lower": 0.0, "upper": 0.0}
    )

    assert interval_chart([flat]) == ()


def test_the_briefing_shows_it_and_says_that_it_is_no_evidence(
    inputs: BriefingInputs, summary: AblationSummary
) -> None:
    """Table and chart stand in the page; without an ablation neither does."""
    with_it = render_markdown(build_briefing(dataclasses.replace(inputs, ablation=summary)))
    without = render_markdown(build_briefing(inputs))

    assert "## Families of features (SIMULATED)" in with_it
    assert "no evidence, and no gate reads it" in with_it
    assert "| volume | auc | 0.1 | 0.08 to 0.12 | 500 | 0.03 | 0.02 | better |  |" in with_it
    assert "| sentiment (added) | net_sharpe | none | none | 500 |" in with_it
    assert "Families of features" not in without
    part = ablation_of(summary)
    assert part is not None
    for line in part.chart:
        assert line in with_it
