"""The page of a nested search: one self-contained HTML file that needs neither network nor script.

Belongs here: what the page is made from and the order of its sections. Does not belong here: the
figures, which come finished from `evaluation.optimised`, but for the importance of parameters,
which no decision rests on; drawing (`reports.optimisation_charts`).

The page holds no run id, clock or path, so equal searches give equal bytes.
"""

from dataclasses import replace

import polars as pl

from sensequant.evaluation.optimised import OptimisationSummary
from sensequant.evaluation.optimised_text import headline_of, settings_text
from sensequant.evaluation.search_space import SPACES
from sensequant.reports.charts import equity_chart
from sensequant.reports.optimisation_charts import distance_chart, history_chart, surface_chart
from sensequant.reports.page import Headline, Page, Tile, render_page
from sensequant.reports.sections import Section, listed, without
from sensequant.reports.tables import count, decimals, figure_cells, format_of, missing, words

__all__ = ["build_search_report"]

_PERFORMANCE = {
    "net_annual_return": "Annual return, net",
    "net_sharpe": "Sharpe ratio over risk-free",
    "net_annual_volatility": "Volatility per year",
    "max_drawdown": "Maximum drawdown",
    "annual_turnover": "Turnover per year, times equity",
    "annual_cost_frac": "Costs per year, of equity",
    "mean_exposure": "Mean exposure",
    "n_trades": "Purchases and sales",
}
_CURVES = {"strategy": "Searched settings, net", "buy_and_hold": "Default settings, net"}


def build_search_report(
    summary: OptimisationSummary, trials: pl.DataFrame, chain: pl.DataFrame
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    summary
        What the search found.
    trials
        Every trial of every step (`evaluation.optimisation.trials_schema`).
    chain
        Returns and equity of all steps (`evaluation.optimised.CHAIN_SCHEMA`).
    """
    objective = words(summary.settings.objective)
    last = trials.filter(pl.col("step") == trials["step"].max())
    return render_page(
        Page(
            title=f"Nested search, strategy {summary.strategy}",
            subtitle=f"{summary.first_session} to {summary.last_session}: {summary.n_steps} steps, "
            f"{count(summary.n_sessions)} sessions, {count(summary.n_symbols)} symbols",
            is_simulated=summary.is_simulated,
            verdict=_verdict(summary),
            tiles=_tiles(summary),
            sections=(
                _equity_section(chain),
                _figures_section(summary),
                _distance_section(summary, objective),
                _surface_section(summary, last, objective),
                _history_section(summary, trials, objective),
                _how_section(summary),
            ),
        )
    )


def _verdict(summary: OptimisationSummary) -> Headline:
    kind, word = "open", "Not better than the default"
    if summary.beats_default is None:
        word = "Not known"
    elif summary.beats_default:
        kind, word = "approve", "Better than the default"
        if not summary.has_edge:
            kind, word = "open", "Better than the default, without an edge"
    return Headline("What the search was worth", kind, word, headline_of(summary))


def _tiles(summary: OptimisationSummary) -> tuple[Tile, ...]:
    figures = {
        "Sharpe ratio, searched": summary.optimised.net_sharpe,
        "Sharpe ratio, default": summary.default.net_sharpe,
        "Difference": summary.differences["net_sharpe"],
        "Promised in sample": summary.in_sample,
    }
    units = {"Promised in sample": "steps"}
    return tuple(
        Tile(name, value, interval, f"{n} {units.get(name, 'sessions')}")
        for name, (value, interval, n) in (
            (name, figure_cells(figure)) for name, figure in figures.items()
        )
    )


def _equity_section(chain: pl.DataFrame) -> Section:
    first = chain.select(pl.col("session").head(1).dt.offset_by("-1d"), strategy=1.0)
    base = first.with_columns(buy_and_hold=pl.lit(1.0)).with_columns(pl.col("strategy").cast(float))
    curves = chain.select("session", strategy="optimised_equity", buy_and_hold="default_equity")
    return Section(
        "equity",
        "Equity out of sample",
        lead="Value of 100 invested before the first step, after costs. Every step is traded by "
        "settings that were taken before it began, and ends without positions.",
        chart=equity_chart(pl.concat([base, curves]), names=_CURVES),
    )


def _figures_section(summary: OptimisationSummary) -> Section:
    columns = {"Figure": False, "Searched": True, "Interval": True, "Default": True}
    rows = [
        (
            name,
            *figure_cells(getattr(summary.optimised, key))[:2],
            figure_cells(getattr(summary.default, key))[0],
            *_difference(summary, key),
            count(summary.n_sessions),
        )
        for key, name in _PERFORMANCE.items()
    ]
    columns |= {"Difference": True, "Interval of the difference": True, "n sessions": True}
    return Section(
        "figures",
        "Figures",
        lead="The difference is searched minus default, drawn in pairs of the same sessions.",
        tables=(listed("All steps in a chain", columns, rows),),
    )


def _difference(summary: OptimisationSummary, key: str) -> tuple[str, str]:
    if key not in summary.differences:
        return missing("not tested"), missing()
    return figure_cells(summary.differences[key])[:2]


def _distance_section(summary: OptimisationSummary, objective: str) -> Section:
    write = format_of(summary.in_sample.unit)
    columns = {"Step": False, "Known sessions": True, "Sessions": True, "Taken": False}
    columns |= {"Before": True, "In the step": True, "Default before": True, "Default in it": True}
    rows = [
        (
            f"{step.first_session} to {step.last_session}",
            count(step.n_known_sessions),
            count(step.n_sessions),
            settings_text(step.settings) if step.chosen_trial else "as given",
            write(step.in_sample),
            write(step.out_of_sample),
            write(step.in_sample_default),
            write(step.out_of_sample_default),
        )
        for step in summary.steps
    ]
    promised, _, n_steps = figure_cells(summary.optimism)
    overfit = summary.overfitting
    odds = "not known: " + (overfit.reason or "no reason given")
    if overfit.estimate is not None:
        odds = f"{overfit.estimate:.3f}, where one half is chance"
    lead = (
        f"What was taken promised {promised} more than the chain kept, in the mean of {n_steps} "
        f"steps ({objective}). Single steps are short: a point out of sample says little alone."
    )
    return Section(
        "distance",
        "In sample against out of sample",
        lead=lead,
        chart=distance_chart(summary.steps, objective=objective),
        tables=(listed(f"Steps; {objective}", columns, rows),),
        points=(f"Probability of backtest overfitting, of all trials of the last step: {odds}.",),
    )


def _surface_section(summary: OptimisationSummary, trials: pl.DataFrame, objective: str) -> Section:
    blank = Section("surface", "Surface of the last step")
    valued = trials.drop_nulls("value")
    known = {each.name: each for each in SPACES[summary.strategy]}
    if len(summary.importances) < 2:  # noqa: PLR2004
        return without(blank, "fewer than two parameters, or too few trials with a figure")
    first, second = (known[name] for name in list(summary.importances)[:2])
    table = listed(
        "Importance of the parameters, shares of one (PED-ANOVA; Watanabe et al. 2023)",
        {"Parameter": False, "Share": True},
        [(words(name), decimals(3)(share)) for name, share in summary.importances.items()],
    )
    lead = (
        f"Each point is one of {count(valued.height)} trials before the last step. A narrow peak "
        "is luck more often than a broad hill is."
    )
    chart = surface_chart(valued, (first, second), objective=objective)
    return replace(blank, lead=lead, chart=chart, tables=(table,))


def _history_section(summary: OptimisationSummary, trials: pl.DataFrame, objective: str) -> Section:
    blank = Section("history", "Trial history")
    if trials["value"].is_null().all():
        return without(blank, "no trial has a figure")
    n_without = trials["value"].null_count()
    lead = (
        f"{count(trials.height)} trials of {summary.n_steps} steps, the settings as given among "
        f"them; {count(n_without)} have no figure, because they traded too little or not at all."
    )
    return replace(blank, lead=lead, chart=history_chart(trials, objective=objective))


def _how_section(summary: OptimisationSummary) -> Section:
    asked = summary.settings
    searched = (
        f"Before each step of {asked.step_sessions} sessions, {summary.n_trials_of_step} settings "
        "were tried on the sessions before it, and on nothing else."
    )
    counted = (
        f"The ledger of trials counts {summary.n_trials_of_step} of them: steps are parts of one "
        "strategy."
    )
    return Section(
        "how",
        "How it was searched",
        points=(
            searched,
            f"Settings as given: {settings_text(summary.defaults)}.",
            counted,
            "No gate reads this page, and nothing of it is evidence about the run.",
        ),
    )
