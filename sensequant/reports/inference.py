"""Sections on what the tests rest on: what chance would have made, what could have been shown.

Belongs here: the two sections. Does not belong here: the table of all tests (`reports.sections`),
drawings (`reports.inference_charts`).
"""

from dataclasses import replace

from sensequant.evaluation.hypotheses import SignificanceReport
from sensequant.reports.inference_charts import draws_chart, power_chart
from sensequant.reports.sections import Section, without
from sensequant.reports.tables import between, count, decimals, p_value, percent

__all__ = ["chance_section", "power_section"]

_OF_EARLIER = "this run was tested by a version that did not record it"


def chance_section(report: SignificanceReport | None) -> Section:
    """Draw the observed excess return in the spread that chance alone gives it."""
    blank = Section("chance", "What chance alone would make of it")
    if report is None:
        return without(blank)
    test = report.of("mean_excess_bootstrap")
    if test.estimate is None:
        return without(blank, test.reason or "the test has no figure")
    if test.draws is None:
        return without(blank, _OF_EARLIER)
    interval = "no interval"
    if test.lower is not None and test.upper is not None:
        interval = f"interval {between(test.lower, test.upper, percent)}"
    lead = (
        f"Observed: {percent(test.estimate)} per year over the benchmark, {interval}, "
        f"n {count(test.n)} sessions. "
        f"{count(sum(test.draws.counts))} stationary-bootstrap draws in blocks of "
        f"{count(test.block_sessions)} sessions on average, moved to a mean of zero. The share "
        f"at or beyond the observed value is the p-value, {p_value(test.p_value)}; it counts one "
        "trial."
    )
    chart = draws_chart(
        test.draws, observed=test.estimate, alternative=test.alternative or "two-sided"
    )
    return replace(blank, lead=lead, chart=chart)


def power_section(report: SignificanceReport | None) -> Section:
    """Draw with which probability these data would have shown a true Sharpe ratio."""
    blank = Section("power", "What these data could have shown")
    if report is None:
        return without(blank)
    test = report.of("detectable_sharpe")
    if test.estimate is None:
        return without(blank, test.reason or "the test has no figure")
    if not test.power_curve:
        return without(blank, _OF_EARLIER)
    power, alpha = test.inputs["power"], test.inputs["alpha"]
    lead = (
        f"A true Sharpe ratio of {decimals(2)(test.estimate)} a year would have been shown with "
        f"probability {power:.0%}, by {count(test.n)} sessions that are worth "
        f"{decimals(0)(test.n_effective)} independent ones. A smaller one would more often have "
        "been missed, so that its absence from this report proves nothing. Assumed: "
        f"{test.assumptions} Level {alpha:.0%}; one trial, not corrected for the number tried. "
        "No interval: a bound from the size of the sample."
    )
    chart = power_chart(test.power_curve, detectable=test.estimate, power=power, alpha=alpha)
    return replace(blank, lead=lead, chart=chart)
