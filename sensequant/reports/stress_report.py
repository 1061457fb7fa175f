"""The page of the stress tests: each crisis with its curves, one self-contained HTML file.

Belongs here: what the page is made from and the order of its sections. Does not belong here: the
replays and their figures (`stress`), tables that the page of the run holds too
(`reports.sections`).

A crisis is one event: its figures have counts and no interval, and the page says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import polars as pl

from sensequant.reports.charts import CURVES, curves_of, drawdown_chart, equity_chart
from sensequant.reports.page import Headline, Page, render_page
from sensequant.reports.sections import Section, listed, or_reason, stress_section, without
from sensequant.reports.tables import Table, count, decimals, percent, words
from sensequant.stress.resilience import Performance, ScenarioResult, StressSummary
from sensequant.stress.shocks import ShockReport

__all__ = ["StressInput", "build_stress_report"]

_PORTFOLIOS = {
    "strategy": "Strategy, net of costs",
    "nifty_50_buy_and_hold": "NIFTY 50, bought and held",
    "nifty_50_and_cash": "NIFTY 50 and cash",
    "cash": "Cash",
}
_REPLAYS = {
    "walk_forward": "scored by a student trained before: what the run would have done then",
    "trained_later": "scored by a student that learned from later years: on bars that it never "
    "saw, but no forecast that could have been made then",
    "trained_before": "scored by the last student, after everything that it learned from",
}


@dataclass(frozen=True, slots=True)
class StressInput:
    """Everything that the page shows.

    Attributes
    ----------
    universe, start, end
        Selection of symbols and range of the run.
    is_simulated
        Whether the bars were invented.
    stress
        Replays of the candidate's students.
    method
        Replays of the method as of then; None where they were not asked for.
    shocks
        What the portfolio did under synthetic shocks.
    benchmark
        session, close; None where it is missing.
    benchmark_name
        What the page calls it.
    """

    universe: str
    start: date
    end: date
    is_simulated: bool
    stress: StressSummary
    method: StressSummary | None = None
    shocks: ShockReport | None = None
    benchmark: pl.DataFrame | None = None
    benchmark_name: str = "NIFTY 50"


def build_stress_report(given: StressInput) -> str:
    """Return the page as HTML."""
    return render_page(
        Page(
            title=f"Stress tests: {given.universe}, {given.start} to {given.end}",
            subtitle="How the students of one training run fared in dated crises, on bars that "
            "they never saw. Each crisis is one event, so no figure has an interval.",
            is_simulated=given.is_simulated,
            verdict=_headline(given.stress),
            tiles=(),
            sections=tuple(_sections(given)),
        )
    )


def _headline(summary: StressSummary) -> Headline:
    heading = "Crises that were survived"
    if not summary.n_with_resilience:
        return Headline(heading, "open", "Nothing to judge", "No crisis has a resilience.")
    is_passed = summary.n_passed == summary.n_with_resilience
    return Headline(
        heading,
        "approve" if is_passed else "reject",
        f"{summary.n_passed} of {summary.n_with_resilience}",
        f"Mean resilience {decimals(1)(summary.mean_resilience)} of 100 points, worst "
        f"{decimals(1)(summary.worst_resilience)}; {summary.resilience_pass:g} are asked of each.",
    )


def _sections(given: StressInput) -> list[Section]:
    overview = replace(stress_section(given.stress, given.shocks), heading="All crises")
    crises = [_crisis(given, result, prefix="crisis") for result in given.stress.results]
    return [overview, *crises, *_method(given)]


def _method(given: StressInput) -> list[Section]:
    blank = Section("method", "The method as of then")
    if given.method is None:
        return [without(blank, "not asked for: stress.method_windows is 0")]
    lead = (
        "The same settings, trained anew on what was known before each crisis, and led through it: "
        f"{given.method.n_evaluated} crises, {given.method.n_skipped} skipped."
    )
    crises = [_crisis(given, result, prefix="method") for result in given.method.results]
    return [replace(blank, lead=lead), *crises]


def _crisis(given: StressInput, result: ScenarioResult, *, prefix: str) -> Section:
    key = f"{prefix}-{result.scenario.name.replace('_', '-')}"
    title = result.scenario.title
    section = Section(
        key,
        f"{title}, method as of then" if prefix == "method" else title,
        lead=f"{result.first_session} to {result.last_session}, severity "
        f"{words(result.scenario.severity)}: {count(result.n_sessions)} sessions, "
        f"{count(result.n_rows)} rows of {count(result.n_symbols)} symbols. {_resilience(result)}",
        tables=(_portfolios((result.strategy, *result.baselines)),),
        points=tuple(_points(result)),
    )
    if not result.sessions:
        return replace(section, missing="No curve: replayed by a version that did not record it.")
    curves = _curves(given, result)
    names = CURVES | {"benchmark": given.benchmark_name}
    charts = (
        equity_chart(curves, names=names, key=f"{key}-equity"),
        drawdown_chart(curves, names=names, key=f"{key}-drawdown"),
    )
    is_alone = "benchmark" not in curves.columns or not curves["benchmark"].count()
    why = f"{given.benchmark_name} is not drawn: the run has no bars of it here."
    return replace(section, chart="\n".join(charts), missing=why if is_alone else "")


def _resilience(result: ScenarioResult) -> str:
    if result.resilience is None:
        return f"Resilience is {result.resilience_reason}."
    return f"Resilience {decimals(1)(result.resilience)} of 100 points."


def _curves(given: StressInput, result: ScenarioResult) -> pl.DataFrame:
    growth = (1 + pl.Series("net_return", result.net_returns, dtype=pl.Float64)).cum_prod()
    equity = pl.DataFrame({"session": list(result.sessions), "equity": 100 * growth})
    return curves_of(equity, capital_inr=100.0, benchmark=given.benchmark, hold=None)


def _portfolios(portfolios: Sequence[Performance]) -> Table:
    columns: Mapping[str, bool] = {"Portfolio": False, "Total": True, "Deepest fall": True}
    columns |= {"Sharpe": True, "Sortino": True, "Sessions": True}
    return listed(
        "What each portfolio did",
        columns,
        [
            (
                _PORTFOLIOS.get(each.name, words(each.name)),
                or_reason(percent, each.total_return, each.reason),
                percent(each.max_drawdown),
                decimals(2)(each.sharpe),
                decimals(2)(each.sortino),
                count(each.n_sessions),
            )
            for each in portfolios
        ],
    )


def _points(result: ScenarioResult) -> list[str]:
    hits = result.hits
    points = [f"{count(hits.n_decisions)} decisions, {count(hits.n_labelled)} labelled rows."]
    if hits.precision is not None and hits.base_rate is not None:
        points[0] += (
            f" Precision {percent(hits.precision)}, where {percent(hits.base_rate)} of the "
            "labelled rows have label 1."
        )
    points += [
        f"{count(number)} rows {_REPLAYS.get(kind, words(kind))}."
        for kind, number in result.rows_by_kind.items()
    ]
    if result.failure_modes:
        named = ", ".join(words(mode) for mode in result.failure_modes)
        points.append(f"Suspected, from point estimates alone: {named}.")
    if result.skipped_symbols:
        reasons = ", ".join(f"{words(name)} {n}" for name, n in result.skipped_symbols.items())
        points.append(f"Symbols left out: {reasons}.")
    return points
