"""Facts about the pages of stress tests and of scores: what is drawn, said, and missing."""

import re
from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest

from sensequant.evaluation.figures import absent_figure
from sensequant.evaluation.regimes import month_table
from sensequant.evaluation.sectors import sector_table
from sensequant.reports.accuracy_report import AccuracyInput, build_accuracy_report
from sensequant.reports.run_report import ReportInput
from sensequant.reports.stress_report import StressInput, build_stress_report
from sensequant.stress.resilience import ScenarioResult

SECTORS = pl.DataFrame({"symbol": ["M&M"], "sector": ["Automobile"]})
RETURNS = (-0.10, 0.05, -0.20)
"""From 100 to 90, 94.5 and 75.6; deepest 24.4 per cent below the start."""


def section(page: str, key: str) -> str:
    start = page.index(f'<section id="{key}"')
    return page[start : page.index("</section>", start)]


def descriptions(part: str) -> list[str]:
    return re.findall(r"<desc[^>]*>([^<]*)</desc>", part)


def drawn(result: ScenarioResult) -> ScenarioResult:
    days = tuple(result.first_session + timedelta(days=number) for number in range(3))
    return result.model_copy(update={"sessions": days, "net_returns": RETURNS})


@pytest.fixture
def crises(full: ReportInput) -> StressInput:
    """Return three crises, of which the first has curves."""
    assert full.stress is not None
    first, *others = full.stress.results
    stress = full.stress.model_copy(update={"results": (drawn(first), *others)})
    start = first.first_session
    days = [start + timedelta(days=number) for number in range(-1, 3)]
    return StressInput(
        universe="nifty50",
        start=date(2022, 1, 1),
        end=date(2023, 9, 30),
        is_simulated=False,
        stress=stress,
        shocks=full.shocks,
        benchmark=pl.DataFrame({"session": days, "close": [200.0, 190.0, 210.0, 180.0]}),
    )


def test_curves_begin_before_the_crisis(crises: StressInput) -> None:
    """By hand: 100 at the close before, then the net returns one after the other."""
    key = crises.stress.results[0].scenario.name.replace("_", "-")
    part = section(build_stress_report(crises), f"crisis-{key}")
    equity, _, drawdown, _ = descriptions(part)

    assert "Strategy, net of costs 75.6, NIFTY 50 90.0" in equity
    assert "Strategy, net of costs -24.4%, NIFTY 50 -14.3%" in drawdown


def test_crisis_without_curve_or_benchmark_says_so(crises: StressInput) -> None:
    """A record of an earlier version has no returns; a run may have no index."""
    page = build_stress_report(replace(crises, benchmark=None))
    first, second, _ = (
        section(page, f"crisis-{each.scenario.name.replace('_', '-')}")
        for each in crises.stress.results
    )

    assert "NIFTY 50 is not drawn: the run has no bars of it here." in first
    assert len(descriptions(first)) == 4
    assert "No curve: replayed by a version that did not record it." in second
    assert descriptions(second) == []


def test_missing_resilience_is_told_in_words(crises: StressInput) -> None:
    """No mark-up is shown as text; the method that was not asked for keeps its place."""
    page = build_stress_report(crises)

    assert "Resilience is not defined: precision." in page
    assert "&lt;" not in page
    assert "not asked for: stress.method_windows is 0" in section(page, "method")
    with_method = build_stress_report(replace(crises, method=crises.stress))
    ids = re.findall(r' id="([^"]+)"', with_method)
    assert len(ids) == len(set(ids))
    assert "method as of then</h2>" in with_method


@pytest.fixture
def scores(full: ReportInput) -> AccuracyInput:
    """Return the scores of the small run."""
    validation = full.validation
    assert validation is not None
    assert validation.panel is not None
    return AccuracyInput(
        universe="nifty50",
        start=date(2022, 1, 1),
        end=date(2023, 9, 30),
        horizon_sessions=7,
        is_simulated=True,
        validation=replace(
            validation,
            by_month=month_table(validation.panel),
            by_sector=sector_table(validation.panel, SECTORS),
        ),
    )


def test_every_group_stands_beside_shuffled_labels(scores: AccuracyInput) -> None:
    """By window, symbol, state, month and sector."""
    page = build_accuracy_report(scores)
    months = scores.validation.by_month
    assert months is not None

    for key in ("windows", "symbols", "states", "by-month", "sectors"):
        assert ">Shuffled</th>" in section(page, key)
    assert section(page, "by-month").count("<tr>") == months.height + 1
    assert "Automobile" in section(page, "sectors")
    assert "SIMULATED" in page
    assert "&lt;" not in page


@pytest.mark.parametrize(
    ("lower", "best_shuffle", "word"),
    [
        (0.53, 0.51, "Yes, by the whole interval"),
        (0.49, 0.51, "By the estimate alone"),
        (0.53, 0.99, "No"),
    ],
)
def test_headline_follows_from_auc_and_placebo(
    scores: AccuracyInput, lower: float, best_shuffle: float, word: str
) -> None:
    """The whole interval above the best shuffle, the estimate alone, or neither."""
    summary = scores.validation.summary
    figures = summary.classification
    changed = figures.model_copy(
        update={
            "auc": figures.auc.model_copy(update={"value": 0.55, "lower": lower, "upper": 0.6}),
            "auc_placebo": figures.auc_placebo.model_copy(update={"upper": best_shuffle}),
        }
    )
    summary = summary.model_copy(update={"classification": changed})
    page = build_accuracy_report(
        replace(scores, validation=replace(scores.validation, summary=summary))
    )

    assert f'<p class="word">{word}</p>' in page


def test_scores_that_tell_nothing_have_no_headline(scores: AccuracyInput) -> None:
    """One class only is a reason, and no rejection."""
    summary = scores.validation.summary
    absent = absent_figure("probability", "one class only")
    figures = summary.classification.model_copy(update={"auc": absent})
    summary = summary.model_copy(update={"classification": figures})
    validation = replace(scores.validation, summary=summary, by_month=None, by_sector=None)
    page = build_accuracy_report(replace(scores, validation=validation))

    assert '<p class="word">Not known</p>' in page
    assert "One class only." in page
    assert "Not available" in section(page, "by-month")
    assert "no list of sectors was imported" in section(page, "sectors")
