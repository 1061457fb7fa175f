"""What each section of a run's page says, from the records and tables of the stages.

Belongs here: which figures stand beside each other, in which words. Does not belong here: the
figures, which the stages computed; how they are drawn (`reports.charts`), formatted
(`reports.tables`) or laid out (the template).

A section whose stage has no result says why instead of being left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from sensequant.evaluation.hypotheses import SignificanceReport, TestResult
from sensequant.release.gates import Direction, Gate, Nature, Verdict
from sensequant.reports.tables import (
    Column,
    Format,
    Table,
    bar,
    between,
    code,
    count,
    decimals,
    format_of,
    mark,
    missing,
    p_value,
    percent,
    table_of,
    whole,
    words,
)
from sensequant.runs import StageOutcome, StageRecord
from sensequant.stress.resilience import NIFTY_50, ScenarioResult, StressSummary
from sensequant.stress.shocks import ShockReport, ShockResult

__all__ = [
    "SCORE_COLUMNS",
    "Section",
    "data_section",
    "funnel_section",
    "gates_section",
    "listed",
    "not_done_section",
    "or_reason",
    "statistics_section",
    "stress_section",
    "without",
]

SCORE_COLUMNS = (
    Column("n", "Rows", count),
    Column("auc", "AUC", decimals(3)),
    Column("auc_lower", "from", decimals(3)),
    Column("auc_upper", "to", decimals(3)),
    Column("auc_placebo", "Shuffled", decimals(3)),
    Column("precision", "Precision", percent),
    Column("hit_rate", "Hit rate", percent),
    Column("n_decided", "Decisions", count),
)
"""What is told of a group of rows (`evaluation.scoring.group_table`)."""

_PER_YEAR = "fraction per year"
_DIRECTIONS = {
    Direction.ABOVE: "above",
    Direction.AT_LEAST: "at least",
    Direction.AT_MOST: "at most",
}
_NO_INTERVAL = {
    Nature.AMOUNT: "a count",
    Nature.EXACT: "as realised",
    Nature.PROBABILITY: "a probability",
}
_TEST_NAMES = {
    "mean_excess_bootstrap": "Mean excess return, bootstrap",
    "mean_excess_newey_west": "Mean excess return, Newey-West",
    "sharpe_ratio": "Sharpe ratio over the risk-free rate",
    "probabilistic_sharpe": "Probabilistic Sharpe ratio",
    "deflated_sharpe": "Deflated Sharpe ratio",
    "deflated_sharpe_nifty50": "Deflated Sharpe ratio over NIFTY 50",
    "sharpe_difference_nifty50": "Sharpe ratio over that of NIFTY 50",
    "sharpe_difference_universe": "Sharpe ratio over that of the universe held",
    "mean_excess_universe": "Mean return over the universe held",
    "superior_predictive_ability": "Best of all contenders (SPA)",
    "step_m": "This contender among all (step-M)",
    "overfitting_probability": "Probability of backtest overfitting",
    "false_discovery_runs": "This contender among all (false discoveries)",
    "false_discovery_symbols": "Symbols whose scores tell (false discoveries)",
    "detectable_sharpe": "Smallest Sharpe ratio that these data can show",
    "detectable_auc": "Smallest AUC that these data can show",
}
_GATE_FORMATS: dict[str, Format] = {
    "scored_sessions": whole,
    "trades": whole,
    "mean_excess_return": percent,
    "max_drawdown": percent,
    "resilience": decimals(1),
    "coverage": percent,
    "failure_rate": percent,
}


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page.

    Attributes
    ----------
    key
        Anchor.
    heading
        Its title.
    lead
        One or two sentences before everything else.
    chart
        Inline SVG.
    missing
        Why something that belongs here is absent.
    tables, points
        What follows: tables, then sentences.
    """

    key: str
    heading: str
    lead: str = ""
    chart: str = ""
    missing: str = ""
    tables: tuple[Table, ...] = ()
    points: tuple[str, ...] = ()


def without(section: Section, why: str = "the stage has no result") -> Section:
    """Return a section that only says why it has no content."""
    return replace(section, missing=f"Not available: {why}.")


def listed(
    caption: str,
    columns: Mapping[str, bool],
    rows: Sequence[tuple[str, ...]],
    *,
    is_folded: bool = False,
) -> Table:
    """Return a table of cells, its columns by heading and whether they hold numbers."""
    headings = tuple(Column(name, name, words, is_number) for name, is_number in columns.items())
    return Table(caption, headings, tuple(rows), is_folded)


def gates_section(verdict: Verdict | None) -> Section:
    """Hold every gate's limit beside what was observed."""
    blank = Section("gates", "Gates")
    if verdict is None:
        return without(blank)
    lead = (
        f"{verdict.n_passed} pass, {verdict.n_failed} fail, {verdict.n_undetermined} are "
        "undetermined. The verdict follows from these rows alone."
    )
    columns = {"Question": False, "Result": False, "Observed": True, "Asked": True}
    columns |= {"Interval": True, "n": True}
    table = listed("Gates of the release audit", columns, [_gate_row(g) for g in verdict.gates])
    return replace(blank, lead=lead, tables=(table,))


def statistics_section(report: SignificanceReport | None) -> Section:
    """Tell what each test of the daily net returns says."""
    blank = Section("statistics", "Statistics")
    if report is None:
        return without(blank)
    lead = (
        f"{count(report.n_sessions)} sessions of net returns, "
        f"{count(report.n_benchmark_sessions)} of them with the benchmark; "
        f"{count(report.trials.n_trials)} trials of these data so far: "
        f"{count(report.trials.n_contenders)} scored, {count(report.trials.n_unscored)} never "
        f"scored, {count(report.trials.n_tuned)} settings of searches."
    )
    answers = listed(
        "Tests of the daily net returns",
        {"Test": False, "Null hypothesis": False, "Estimate": True, "Interval": True}
        | {"p": True, "Result": False, "Sessions": True},
        [_test_row(test) for test in report.tests],
    )
    sources = listed(
        "Sources and assumptions of the tests",
        {"Test": False, "Source": False, "Assumptions": False, "Against": False},
        [
            (_name(test), test.source, test.assumptions, words(test.alternative))
            for test in report.tests
        ],
        is_folded=True,
    )
    return replace(blank, lead=lead, tables=(answers, sources))


def stress_section(summary: StressSummary | None, shocks: ShockReport | None = None) -> Section:
    """Tell how the scores fared in crises, which could not be replayed, and in synthetic shocks."""
    blank = Section("stress", "Stress tests")
    if summary is None:
        return without(blank)
    lead = (
        f"{summary.n_evaluated} crises replayed on bars that the replayed students never saw; "
        f"{summary.n_passed} reached {summary.resilience_pass:g} points of resilience. Each crisis "
        "is one event, so its figures have no interval; that of the mean is about chance within it."
    )
    columns = {"Crisis": False, "Result": False, "Resilience": True, "Strategy, total": True}
    columns |= {"NIFTY 50, total": True, "Strategy, deepest": True, "Precision": True}
    columns |= {"Base rate": True, "Sessions": True, "Replay": False}
    results = listed(
        "Crises that were replayed", columns, [_crisis_row(result) for result in summary.results]
    )
    skipped = listed(
        "Crises that were skipped",
        {"Crisis": False, "From": False, "To": False, "Reason": False},
        [
            (
                outcome.scenario.title,
                str(outcome.scenario.start),
                str(outcome.scenario.end),
                words(outcome.skip_reason),
            )
            for outcome in summary.skipped
        ],
    )
    tables = tuple(table for table in (results, skipped, _shocks(shocks)) if table.rows)
    return replace(blank, lead=lead, tables=tables)


def _shocks(report: ShockReport | None) -> Table:
    columns = {"Shock": False, "Rule": False, "Total": True, "Deepest": True, "Sharpe": True}
    title = "Synthetic shocks: the same decisions on bars, or at costs, that nobody traded at"
    if report is None or report.undisturbed is None:
        return listed(title, columns, [])
    undisturbed = ShockResult(name="none", rule="as it was", shocked=report.undisturbed)
    return listed(title, columns, [_shock_row(each) for each in (undisturbed, *report.shocks)])


def _shock_row(shock: ShockResult) -> tuple[str, ...]:
    figures, reason = shock.shocked, missing(shock.reason)
    if figures is None:
        return (words(shock.name), shock.rule, reason, reason, reason)
    return (
        words(shock.name),
        shock.rule,
        percent(figures.total_return),
        percent(figures.max_drawdown),
        decimals(2)(figures.sharpe),
    )


def funnel_section(stages: Sequence[StageRecord]) -> Section:
    """Tell how many units of each stage succeeded, were skipped and why, or failed."""
    blank = Section("funnel", "Units of work")
    if not stages:
        return without(blank, "no stage has ended")
    lead = (
        "A skip is an answer with a reason, not a fault; failures count against the limit of the "
        "stage as failed / (success + failed)."
    )
    columns = {"Stage": False, "Share": False, "Success": True, "Skipped": True}
    columns |= {"Reasons of skips": False, "Failed": True, "Failure rate": True, "Limit": True}
    columns |= {"Outcome": False}
    table = listed("Units of work by stage", columns, [_stage_row(stage) for stage in stages])
    return replace(blank, lead=lead, tables=(table,))


def not_done_section(sentences: Sequence[str]) -> Section:
    """List what the run leaves open."""
    if not sentences:
        lead = "The stages that ended name nothing that they leave open."
        return Section("open", "Not done yet", lead=lead)
    return Section("open", "Not done yet", points=tuple(sentences))


def data_section(data: pl.DataFrame, *, n_quarantined: Mapping[str, int]) -> Section:
    """Tell on which bars the run stands.

    Parameters
    ----------
    data
        One row per symbol: symbol, source, n_bars, first_session, last_session, n_expected,
        n_present, n_unexplained_gaps, bars_digest.
    n_quarantined
        Delivered rows that were refused, by symbol.
    """
    refused = data["symbol"].replace_strict(dict(n_quarantined), default=0, return_dtype=pl.Int64)
    columns = (
        Column("symbol", "Symbol", words, is_number=False),
        Column("source", "Source", str, is_number=False),
        Column("n_bars", "Bars", count),
        Column("first_session", "First", str, is_number=False),
        Column("last_session", "Last", str, is_number=False),
        Column("n_expected", "Sessions expected", count),
        Column("n_present", "Present", count),
        Column("n_unexplained_gaps", "Unexplained gaps", count),
        Column("n_quarantined", "Quarantined", count),
        Column("bars_digest", "Digest of the bars", _short_digest, is_number=False),
    )
    table = table_of(
        data.with_columns(refused.alias("n_quarantined")),
        columns,
        caption="Bars of each symbol",
        is_folded=True,
    )
    lead = (
        f"{count(data.height)} symbols, {whole(float(data['n_bars'].sum()))} daily bars, "
        f"{count(sum(n_quarantined.values()))} delivered rows quarantined. "
        f"Sources: {', '.join(sorted(data['source'].unique()))}."
    )
    return Section("data", "Data", lead=lead, tables=(table,))


def _gate_row(gate: Gate) -> tuple[str, ...]:
    write = _GATE_FORMATS.get(gate.name, decimals(3))
    interval = missing(_NO_INTERVAL.get(gate.nature))
    if gate.lower is not None and gate.upper is not None:
        interval = between(gate.lower, gate.upper, write)
    why = gate.reason.removeprefix("Not known: ").rstrip(".")
    size = missing() if gate.n is None else f"{count(gate.n)} {words(gate.n_unit or '')}".strip()
    return (
        gate.question,
        mark(gate.outcome, words(gate.outcome)),
        missing(why) if gate.observed is None else write(gate.observed),
        f"{_DIRECTIONS[gate.direction]} {write(gate.limit)}",
        interval,
        size,
    )


def _name(test: TestResult) -> str:
    text = words(test.name)
    return _TEST_NAMES.get(test.name, text[:1].upper() + text[1:])


def _test_row(test: TestResult) -> tuple[str, ...]:
    write = format_of(test.unit)
    interval = (
        None if test.lower is None or test.upper is None else between(test.lower, test.upper, write)
    )
    unit = " per year" if test.unit == _PER_YEAR else ""
    return (
        _name(test),
        test.null or "none (an estimate)",
        missing(test.reason) if test.estimate is None else write(test.estimate) + unit,
        missing(test.no_interval) if interval is None else interval,
        p_value(test.p_value),
        _test_result(test),
        count(test.n),
    )


def _test_result(test: TestResult) -> str:
    # No colour: whether a rejected null is good news depends on the null.
    if test.rejects_null is None:
        return mark("undetermined", "undetermined") if test.null else "estimate"
    return mark("plain", "null rejected" if test.rejects_null else "null stands")


def _crisis_row(result: ScenarioResult) -> tuple[str, ...]:
    market = {each.name: each for each in result.baselines}.get(NIFTY_50)
    points = missing(result.resilience_reason)
    if result.resilience is not None:
        points = decimals(1)(result.resilience)
    return (
        result.scenario.title,
        _crisis_mark(result),
        points,
        or_reason(percent, result.strategy.total_return, result.strategy.reason),
        missing() if market is None else or_reason(percent, market.total_return, market.reason),
        percent(result.strategy.max_drawdown),
        percent(result.hits.precision),
        percent(result.hits.base_rate),
        count(result.n_sessions),
        words(result.kind),
    )


def _crisis_mark(result: ScenarioResult) -> str:
    if result.passes is None:
        return mark("undetermined", "undetermined")
    if result.passes:
        return mark("pass", "passed")
    modes = ", ".join(words(mode) for mode in result.failure_modes)
    return mark("fail", f"not passed ({modes})" if modes else "not passed")


def or_reason(write: Format, value: float | None, reason: str | None) -> str:
    """Return the value as text, or why it is missing."""
    return missing(reason) if value is None else write(value)


def _stage_row(stage: StageRecord) -> tuple[str, ...]:
    reasons = ", ".join(
        f"{words(name)} {count(number)}" for name, number in stage.skip_reasons.items()
    )
    kinds = {StageOutcome.SUCCESS: "pass", StageOutcome.FAILED: "fail"}
    return (
        words(stage.stage),
        bar(("pass", stage.n_success), ("undetermined", stage.n_skipped), ("fail", stage.n_failed)),
        count(stage.n_success),
        count(stage.n_skipped),
        reasons or "none",
        count(stage.n_failed),
        percent(stage.failure_rate),
        percent(stage.max_failure_rate),
        mark(kinds.get(stage.outcome, "undetermined"), words(stage.outcome)),
    )


def _short_digest(value: str | None) -> str:
    return code(None if value is None else value[:16])
