"""The page of a run: complete, self-contained, honest about what is missing."""

import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest

from sensequant.release.gates import Decision, Verdict
from sensequant.reports.run_report import ReportInput, build_report

VOID = {"meta", "br", "hr", "img", "link", "input"}
HEADINGS = [
    "Verdict",
    "Gates",
    "Figures out of sample",
    "Equity",
    "Drawdown",
    "Sharpe ratio in time",
    "Return by month",
    "Calibration",
    "AUC per window",
    "States of the market",
    "Symbols",
    "Costs",
    "Statistics",
    "What chance alone would make of it",
    "What these data could have shown",
    "Stress tests",
    "Students compared",
    "Reward loop",
    "Teachers",
    "Features",
    "Label balance",
    "Windows and rows",
    "Novelty and expiry",
    "Units of work",
    "Not done yet",
    "Data",
]
HOSTILE = "<script>alert('x')</script>"


class Walker(HTMLParser):
    """Checks that tags are balanced and gathers what pages must not or must have."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.seen: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element and, unless it is void, that it is open."""
        found = dict(attrs)
        self.seen.append(tag)
        if "id" in found:
            self.ids.append(found["id"] or "")
        if tag == "th" and found.get("scope") not in {"row", "col"}:
            self.problems.append("th without scope")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that closes itself, as in SVG."""
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost open element, which must be this one."""
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing")


def walk(page: str) -> Walker:
    walker = Walker()
    walker.feed(page)
    walker.close()
    return walker


def headings(page: str) -> list[str]:
    return re.findall(r"<h2[^>]*>([^<]*)</h2>", page)


def section(page: str, key: str) -> str:
    start = page.index(f'<section id="{key}"')
    return page[start : page.index("</section>", start)]


@pytest.fixture(scope="module")
def page(full: ReportInput) -> str:
    return build_report(full)


@pytest.fixture(scope="module")
def empty(full: ReportInput) -> ReportInput:
    return ReportInput(
        universe="RELIANCE",
        start=date(2022, 1, 1),
        end=date(2022, 12, 31),
        horizon_sessions=7,
        is_simulated=False,
        data=full.data,
    )


def test_equal_inputs_give_equal_bytes(full: ReportInput, page: str) -> None:
    """The page is an artifact."""
    assert build_report(full) == page


def test_records_of_stages_leave_no_trace_of_when_and_where(full: ReportInput, page: str) -> None:
    """Run id, start and duration of the stages differ between equal runs, the page does not."""
    other = tuple(
        stage.model_copy(update={"run_id": "other", "started_at": None, "seconds": 99.0})
        for stage in full.stages
    )

    assert build_report(replace(full, stages=other)) == page
    assert "live_candidate" not in page


@pytest.mark.parametrize("which", ["full", "empty"])
def test_structure_is_valid(which: str, request: pytest.FixtureRequest) -> None:
    """Tags are balanced, ids unique, tables have captions, header cells have scopes."""
    walker = walk(build_report(request.getfixturevalue(which)))

    assert walker.open == []
    assert walker.problems == []
    assert len(walker.ids) == len(set(walker.ids))
    assert walker.seen.count("caption") == walker.seen.count("table")
    assert walker.seen.count("h1") == 1


def test_page_needs_nothing_from_elsewhere(page: str) -> None:
    """No address, script, font or image is asked for."""
    for word in ("http", "//", "<script", "<link", "<img", "@import", "@font-face", "src="):
        assert word not in page
    assert re.findall(r"url\((?!#)", page) == []


def test_page_is_readable_in_light_and_dark(page: str) -> None:
    """Every colour of a chart is a variable that both schemes define."""
    light, dark = page.split("@media (prefers-color-scheme: dark)")[:2]
    used = set(re.findall(r"(?:stroke|fill): var\((--\w+)\)", page))
    chart_colours = re.findall(r"(?:stroke|fill): (?!var|none)([^;\"]+)", page)

    assert len(used) >= 6
    assert chart_colours == []
    for name in used:
        assert f"{name}:" in light
        assert f"{name}:" in dark


@pytest.mark.parametrize("which", ["full", "empty"])
def test_sections_stand_in_their_order(which: str, request: pytest.FixtureRequest) -> None:
    """Verdict first, data last; a part without result keeps its place."""
    assert headings(build_report(request.getfixturevalue(which))) == HEADINGS


@pytest.mark.parametrize("is_simulated", [True, False])
def test_banner_tells_simulated_from_real(full: ReportInput, is_simulated: bool) -> None:
    """The word stands on the page if and only if the bars were invented."""
    page = build_report(replace(full, is_simulated=is_simulated))

    assert ("SIMULATED" in page) is is_simulated
    assert ('<p class="banner"' in page) is is_simulated


def test_every_gate_is_a_row_with_its_outcome_in_words(full: ReportInput, page: str) -> None:
    """Pass, fail and undetermined can be told without colour."""
    assert full.verdict is not None
    gates = section(page, "gates")
    outcomes = re.findall(r'<span class="mark (\w+)">(\w+)</span>', gates)

    assert outcomes == [(gate.outcome.value,) * 2 for gate in full.verdict.gates]
    assert {"pass", "fail", "undetermined"} == {word for _, word in outcomes}
    assert "n/a - the variance of the trials is not known" in gates


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (Decision.APPROVE, "Approve"),
        (Decision.REJECT, "Reject"),
        (Decision.NOT_ENOUGH_EVIDENCE, "Not enough evidence"),
    ],
)
def test_verdict_is_written_out(full: ReportInput, decision: Decision, words: str) -> None:
    """The decision stands in words at the top."""
    verdict = Verdict(
        decision=decision,
        headline="Why.",
        reasons=(),
        n_passed=0,
        n_failed=0,
        n_undetermined=0,
        detectable_sharpe=None,
        gates=(),
        is_simulated=False,
    )

    assert f'<p class="word">{words}</p>' in build_report(replace(full, verdict=verdict))


def test_text_from_outside_is_escaped(full: ReportInput) -> None:
    """No symbol, source, reason or name can become markup."""
    assert full.validation is not None
    assert full.portfolio is not None
    assert full.verdict is not None
    assert full.significance is not None
    hostile = pl.lit(HOSTILE)
    gates = tuple(
        g.model_copy(update={"reason": HOSTILE, "n_unit": HOSTILE}) for g in full.verdict.gates
    )
    tests = tuple(
        t.model_copy(update={"name": HOSTILE + t.name, "estimate": None, "reason": HOSTILE})
        if t.null
        else t
        for t in full.significance.tests
    )
    tests += (full.significance.of("mean_excess_bootstrap"),)
    page = build_report(
        replace(
            full,
            universe=HOSTILE,
            data=full.data.with_columns(source=hostile, bars_digest=hostile),
            validation=replace(
                full.validation,
                by_symbol=full.validation.by_symbol.with_columns(symbol=hostile),
                by_window=full.validation.by_window.with_columns(
                    scored_window=pl.format("{}_2022-12-31", hostile)
                ),
            ),
            portfolio=replace(full.portfolio, benchmark_name=HOSTILE),
            verdict=full.verdict.model_copy(
                update={"gates": gates, "reasons": (HOSTILE,), "headline": HOSTILE}
            ),
            significance=full.significance.model_copy(
                update={"tests": tests, "not_done_yet": (HOSTILE,)}
            ),
            stages=tuple(
                stage.model_copy(update={"skip_reasons": {HOSTILE: 1}}) for stage in full.stages
            ),
        )
    )
    walker = walk(page)

    assert "script" not in walker.seen
    assert page.count("&lt;script&gt;") > 30
    assert walker.problems == []


def test_missing_results_are_named(empty: ReportInput) -> None:
    """A run that failed early has a page that says what is not there."""
    page = build_report(empty)

    assert page.count("Not available: the stage has no result.") == 22
    assert "Not available: no stage has ended." in page
    assert "No verdict" in page
    assert "<svg" not in page
    assert 'class="tiles"' not in page


def test_tests_that_were_not_run_are_missing_in_the_tiles(full: ReportInput) -> None:
    """Without stage 5 there is no excess return; the tile gives the reason, not a number."""
    page = build_report(replace(full, significance=None))
    tiles = page[page.index('class="tiles"') : page.index("</dl>")]

    assert tiles.count("n/a - the statistical tests have no result") == 2


def test_untraded_run_has_no_curves_and_no_costs(full: ReportInput) -> None:
    """Nothing scored, nothing bought: the sections say so."""
    assert full.portfolio is not None
    idle = replace(
        full.portfolio, equity=full.portfolio.equity.clear(), trades=full.portfolio.trades.clear()
    )
    page = build_report(replace(full, portfolio=idle))

    assert "nothing was scored, so nothing was traded" in section(page, "equity")
    assert "nothing was scored, so nothing was traded" in section(page, "drawdown")
    assert "the backtest made no trade" in section(page, "costs")


def test_missing_benchmark_is_said_beside_the_curve(full: ReportInput, page: str) -> None:
    """The curve of the scores is drawn alone, and the page says why."""
    assert full.portfolio is not None
    alone = build_report(replace(full, portfolio=replace(full.portfolio, benchmark=None)))

    assert "not drawn" not in section(page, "equity")
    assert "NIFTY 50 is not drawn" in section(alone, "equity")


def test_unlabelled_run_has_no_calibration_windows_or_symbols(full: ReportInput) -> None:
    """Tables without rows become reasons, not empty plots."""
    assert full.validation is not None
    bare = replace(
        full.validation,
        by_symbol=full.validation.by_symbol.clear(),
        by_window=full.validation.by_window.clear(),
        calibration=full.validation.calibration.clear(),
    )
    page = build_report(replace(full, validation=bare))

    assert "fewer labelled rows than bins" in section(page, "calibration")
    assert "no window holds both classes" in section(page, "windows")
    assert "no row is both scored and labelled" in section(page, "symbols")


def test_costs_by_item_add_up_to_the_trades(full: ReportInput, page: str) -> None:
    """The last row is the cost of all trades, in rupees."""
    assert full.portfolio is not None
    digits = f"{round(full.portfolio.trades['cost_inr'].sum()):d}"
    together = re.search(r"Together</th><td[^>]*>([^(]*)", section(page, "costs"))

    assert together is not None
    assert re.sub(r"\D", "", together[1]) == digits


def test_net_contribution_is_shown_where_it_was_measured(full: ReportInput, page: str) -> None:
    """The column appears with the figure, in rupees."""
    assert full.validation is not None
    richer = full.validation.by_symbol.with_columns(net_contribution_inr=pl.lit(-123456.0))
    shown = build_report(
        replace(full, validation=replace(full.validation, by_symbol=richer), portfolio=None)
    )

    assert "Net contribution" not in page
    assert "\u2212\u20b91,23,456" in section(shown, "symbols")


def test_shocks_stand_beside_what_was_undisturbed(page: str) -> None:
    """A shock without a figure says why."""
    cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", section(page, "stress"))
    row = cells.index("gap down")
    halted = cells.index("halted symbol")

    assert "as it was" in cells
    assert cells[row + 1 : row + 5] == ["all 10% lower", "1.7%", "\u221221.0%", "0.40"]
    assert cells[halted + 1] == "TCS does not trade"
    assert all("n/a - never held" in cell for cell in cells[halted + 2 : halted + 5])


def test_crises_say_why_they_were_not_passed_or_skipped(page: str) -> None:
    """Failure modes, missing resilience and skip reasons are words in the table."""
    stress = section(page, "stress")

    assert "not passed (regime change, black swan)" in stress
    assert "n/a - not defined: precision" in stress
    assert ">no data<" in stress


def test_crisis_without_benchmark_has_no_figure_of_it(full: ReportInput) -> None:
    """An index that had no bars then is missing, not zero; so is a failure mode that none named."""
    assert full.stress is not None
    results = tuple(
        result.model_copy(update={"baselines": (), "failure_modes": ()})
        for result in full.stress.results
    )
    stress = full.stress.model_copy(update={"results": results, "skipped": ()})
    text = section(build_report(replace(full, stress=stress)), "stress")

    assert ">not passed<" in text
    assert "Crises that were skipped" not in text


def test_chance_and_power_are_drawn_from_what_was_recorded(full: ReportInput) -> None:
    """With sample size and interval; a record of an earlier version says what it lacks."""
    assert full.significance is not None
    tests = {test.name: test for test in full.significance.tests}
    excess, power = tests["mean_excess_bootstrap"], tests["detectable_sharpe"]
    assert excess.draws is not None
    assert excess.estimate is not None
    assert sum(excess.draws.counts) == 100
    page = build_report(full)

    chance, shown = section(page, "chance"), section(page, "power")
    assert f"n {excess.n} sessions" in chance
    assert f"Observed {100 * excess.estimate:.1f}%".replace("-", "\u2212") in chance
    assert f"p-value, {excess.p_value:.3f}" in chance
    assert f"80% at {power.estimate:.2f}" in shown
    assert f"{power.n} sessions that are worth {power.n_effective:.0f} independent ones" in shown

    old = tuple(
        test.model_copy(update={"draws": None, "power_curve": ()})
        for test in full.significance.tests
    )
    earlier = full.significance.model_copy(update={"tests": old})
    page = build_report(replace(full, significance=earlier))
    assert all("did not record it" in section(page, key) for key in ("chance", "power"))


def test_skips_are_listed_with_reasons(page: str) -> None:
    """The funnel tells skips from failures."""
    funnel = section(page, "funnel")

    assert "one class 1, pre listing 5" in funnel
    assert "7.7%" in funnel


def test_open_points_stand_once(page: str) -> None:
    """A sentence that several stages repeat is listed once."""
    assert page.count("Daily bars only; 30, 5 and 1 minute bars are not ingested.") == 1


def test_refused_rows_without_usable_symbol_are_counted(full: ReportInput) -> None:
    """A row may be refused because its symbol is missing or unknown: it counts in the sum."""
    unusable: dict[Any, int] = {None: 2, "NOSUCH": 1}
    page = build_report(replace(full, n_quarantined=unusable))

    assert "3 delivered rows quarantined" in section(page, "data")


def test_quarantined_rows_are_counted_by_symbol(page: str) -> None:
    """Three rows of TCS and one of SBIN are four; other symbols had none."""
    data = section(page, "data")

    assert "4 delivered rows quarantined" in data
    assert data.count('<td class="num">3</td>') == 1


def test_large_run_stays_small(large: ReportInput) -> None:
    """157 symbols, 600 windows and twenty years take hardly more than a megabyte."""
    page = build_report(large)

    assert len(page.encode()) < 1_100_000
    assert walk(page).problems == []
