"""Sections on what the scores and trading on them were worth.

Belongs here: headline figures, curves, calibration, windows, symbols, costs. Does not belong here:
verdict, tests, stress, data (`reports.sections`). Counts and sums of trades are the only numbers
that are made here.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from sensequant.evaluation.costs import COST_COLUMNS
from sensequant.evaluation.figures import Figure, PerformanceFigures, risk_free_per_session
from sensequant.evaluation.returns_in_time import YEAR_SESSIONS, monthly_returns, rolling_sharpe
from sensequant.evaluation.scoring import ClassificationFigures
from sensequant.evaluation.validation import Validation
from sensequant.reports.charts import (
    CURVES,
    curves_of,
    drawdown_chart,
    equity_chart,
    reliability_chart,
    window_chart,
)
from sensequant.reports.model_evidence import Calibrated
from sensequant.reports.return_charts import monthly_chart, rolling_chart, waterfall_chart
from sensequant.reports.sections import SCORE_COLUMNS, Section, listed, without
from sensequant.reports.tables import (
    Column,
    Table,
    count,
    decimals,
    figure_cells,
    inr,
    percent,
    table_of,
    words,
)

__all__ = [
    "Portfolio",
    "calibration_section",
    "costs_section",
    "drawdown_section",
    "equity_section",
    "headline_section",
    "months_section",
    "rolling_section",
    "score_rows",
    "states_section",
    "symbols_section",
    "windows_section",
]

_FEW_ROWS = 30
_PERFORMANCE = {
    "net_annual_return": "Annual return, net",
    "gross_annual_return": "Annual return, before costs",
    "net_total_return": "Total return, net",
    "net_annual_volatility": "Volatility per year",
    "net_sharpe": "Sharpe ratio",
    "net_sortino": "Sortino ratio",
    "net_calmar": "Calmar ratio",
    "max_drawdown": "Maximum drawdown",
    "drawdown_length_sessions": "Longest drawdown, sessions",
    "mean_exposure": "Mean exposure",
}
_SCORES = {
    "auc": "AUC, all rows pooled",
    "auc_placebo": "the same on shuffled labels",
    "window_auc_mean": "AUC, mean of windows",
    "window_auc_placebo": "the same on shuffled labels",
    "positive_frac": "Share of labels that are 1",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "hit_rate": "Hit rate: decisions with a gain before costs",
    "brier_score": "Brier score",
    "log_loss": "Log loss, nats",
    "expected_calibration_error": "Expected calibration error",
}
_COSTS = {
    "annual_cost_frac": "Costs per year, of equity",
    "cost_share_frac": "Costs, of the gross gain",
    "annual_turnover": "Turnover per year, times equity",
    "n_trades": "Purchases and sales",
}
_COST_NAMES = {
    "brokerage_inr": "Brokerage",
    "stt_inr": "Securities transaction tax",
    "exchange_inr": "Exchange charges",
    "ipft_inr": "Investor protection fund",
    "sebi_inr": "SEBI fee",
    "stamp_inr": "Stamp duty",
    "gst_inr": "GST",
    "dp_inr": "Depository charges",
    "slippage_inr": "Slippage, assumed",
    "impact_inr": "Impact of large orders, assumed",
}


@dataclass(frozen=True, slots=True)
class Portfolio:
    """The tables of the backtest that the page draws.

    Attributes
    ----------
    equity, hold
        `sensequant.evaluation.backtest.EQUITY_SCHEMA`: of the scores, and of equal-weight
        buy-and-hold; the latter may be missing.
    trades
        `sensequant.evaluation.backtest.TRADES_SCHEMA`, of the scores.
    capital_inr
        Equity before the first session.
    benchmark
        session, close; also of the session before the first. None when it is missing.
    benchmark_name
        What the page calls it.
    annual_risk_free_frac
        Yearly risk-free return, which Sharpe ratios are over.
    """

    equity: pl.DataFrame
    trades: pl.DataFrame
    capital_inr: float
    hold: pl.DataFrame | None = None
    benchmark: pl.DataFrame | None = None
    benchmark_name: str = "NIFTY 50"
    annual_risk_free_frac: float = 0.0

    @property
    def names(self) -> dict[str, str]:
        """What the page calls the curves."""
        return CURVES | {"benchmark": self.benchmark_name}

    @property
    def curves(self) -> pl.DataFrame:
        """All curves on the sessions of the strategy."""
        return curves_of(
            self.equity, capital_inr=self.capital_inr, benchmark=self.benchmark, hold=self.hold
        )


def headline_section(validation: Validation | None, *, benchmark_name: str) -> Section:
    """Tell the figures that a reader looks for first."""
    blank = Section("headline", "Figures out of sample")
    if validation is None:
        return without(blank)
    summary = validation.summary
    lead = (
        f"{count(summary.n_scored)} rows scored by students that had not seen them, "
        f"{count(summary.n_labelled)} of them labelled, of {count(summary.n_symbols)} symbols and "
        f"{count(summary.n_windows)} windows, from {summary.first_session} to "
        f"{summary.last_session}. Intervals hold {summary.confidence:.0%} of "
        f"{count(summary.n_draws)} block-bootstrap draws (blocks of at least "
        f"{summary.block_sessions} sessions)."
    )
    columns = {"Figure": False, "Strategy": True, "Interval": True, "n sessions": True}
    columns |= {benchmark_name: True, "Equal-weight hold": True}
    others = [summary.nifty50, summary.universe]
    if summary.swing is not None:
        columns["Swing"] = True
        others.append(summary.swing)
    performance = listed(
        "Trading on the scores, after costs",
        columns,
        [
            (name, *figure_cells(_of(summary.strategy, key)), *(_value(o, key) for o in others))
            for key, name in _PERFORMANCE.items()
        ],
    )
    scores = listed(
        f"Scores against labels; a decision is a score of at least {summary.threshold:g}",
        {"Figure": False, "Value": True, "Interval or range": True, "n": True},
        score_rows(summary.classification),
    )
    return replace(blank, lead=lead, tables=(performance, scores))


def score_rows(figures: ClassificationFigures) -> list[tuple[str, ...]]:
    """Return each figure of scores against labels, its placebo below it where it has one."""
    return [(name, *figure_cells(getattr(figures, key))) for key, name in _SCORES.items()]


def equity_section(portfolio: Portfolio | None) -> Section:
    """Draw the equity of the scores beside that of doing nothing clever."""
    blank = Section("equity", "Equity")
    why = _why_no_curve(portfolio)
    if portfolio is None or why:
        return without(blank, why)
    return replace(
        blank,
        lead="Value of 100 invested before the first session, after costs where there are any.",
        chart=equity_chart(portfolio.curves, names=portfolio.names),
        missing=_why_no_benchmark(portfolio),
    )


def drawdown_section(portfolio: Portfolio | None) -> Section:
    """Draw how far each curve fell from its previous high."""
    blank = Section("drawdown", "Drawdown")
    why = _why_no_curve(portfolio)
    if portfolio is None or why:
        return without(blank, why)
    return replace(blank, chart=drawdown_chart(portfolio.curves, names=portfolio.names))


def months_section(portfolio: Portfolio | None) -> Section:
    """Draw what each month brought."""
    blank = Section("months", "Return by month")
    why = _why_no_curve(portfolio)
    if portfolio is None or why:
        return without(blank, why)
    lead = "Net return of each calendar month, in per cent; the first and last may be cut short."
    returns = portfolio.curves.select("session", net_return=pl.col("strategy").pct_change())[1:]
    return replace(blank, lead=lead, chart=monthly_chart(monthly_returns(returns)))


def rolling_section(portfolio: Portfolio | None) -> Section:
    """Draw the Sharpe ratio of the year behind each session."""
    blank = Section("rolling", "Sharpe ratio in time")
    why = _why_no_curve(portfolio)
    if portfolio is None or why:
        return without(blank, why)
    ratios = _rolling_ratios(portfolio)
    if not ratios["strategy"].count():
        return without(blank, f"there are fewer than {YEAR_SESSIONS} sessions")
    lead = (
        f"Each point rests on the {YEAR_SESSIONS} sessions up to it, so neighbours share nearly "
        "all of them; it shows where the ratio of the whole came from, and has no interval."
    )
    return replace(blank, lead=lead, chart=rolling_chart(ratios, names=portfolio.names))


def calibration_section(
    validation: Validation | None, calibrated: Calibrated | None = None
) -> Section:
    """Draw whether scores, and calibrated probabilities where there are any, come true."""
    blank = Section("calibration", "Calibration")
    if validation is None:
        return without(blank)
    bins = validation.calibration
    if bins.is_empty():
        return without(blank, "there are fewer labelled rows than bins")
    score = decimals(3)
    columns = (
        Column("bin", "Bin", count, is_number=False),
        Column("n", "Rows", count),
        Column("lowest_score", "Lowest score", score),
        Column("mean_score", "Mean score", score),
        Column("highest_score", "Highest score", score),
        Column("positive_frac", "Share with label 1", percent),
    )
    lead = (
        "On the diagonal, a probability of 0.6 comes true six times in ten. A score says how much "
        "likelier than usual a success is, one half being as likely as usual; it should rise, not "
        "lie on the diagonal."
    )
    tables = [table_of(bins, columns, caption="Bins of nearly equal size")]
    if calibrated is not None:
        caption = "Bins of the calibrated probabilities"
        tables = [_before_and_after(calibrated), *tables]
        tables.append(table_of(calibrated.bins, columns, caption=caption, is_folded=True))
    chart = reliability_chart(bins, calibrated=None if calibrated is None else calibrated.bins)
    return replace(blank, lead=lead, chart=chart, tables=tuple(tables))


def windows_section(validation: Validation | None) -> Section:
    """Draw the AUC of each window beside the pooled one and that of shuffled labels."""
    blank = Section("windows", "AUC per window")
    if validation is None:
        return without(blank)
    windows, figures = validation.by_window, validation.summary.classification
    if windows["auc"].is_null().all():
        return without(blank, figures.auc.reason or "no window holds both classes")
    lead = (
        "Within one short window the AUC is biased upward even on pure chance. Judge by the pooled "
        "figure; a single window says something only against shuffled labels of the same windows."
    )
    columns = (
        Column("scored_window", "Window", str, is_number=False),
        Column("n", "Rows", count),
        Column("n_positive", "Label 1", count),
        Column("auc", "AUC", decimals(3)),
        Column("auc_placebo", "Shuffled", decimals(3)),
    )
    table = table_of(windows, columns, caption="Scored windows", is_folded=True)
    chart = window_chart(windows, pooled=figures.auc, placebo=figures.window_auc_placebo)
    return replace(blank, lead=lead, chart=chart, tables=(table,))


def states_section(validation: Validation | None) -> Section:
    """Tell the figures in each state of the market."""
    blank = Section("states", "States of the market")
    if validation is None:
        return without(blank)
    if validation.by_regime is None:
        return without(blank, "nothing was scored and labelled, or the states were not looked at")
    score = decimals(3)
    columns = (
        Column("rule", "Rule", words, is_number=False),
        Column("state", "State", words, is_number=False),
        Column("n", "Rows", count),
        Column("auc", "AUC", score),
        Column("auc_lower", "from", score),
        Column("auc_upper", "to", score),
        Column("auc_placebo", "Shuffled", score),
        Column("hit_rate", "Hit rate", percent),
        Column("n_sessions", "Sessions", count),
        Column("net_annual_mean", "Net per year", percent),
        Column("net_annual_lower", "from", percent),
        Column("net_annual_upper", "to", percent),
        Column("reason", "Why unknown", words, is_number=False),
    )
    lead = (
        "At the close of the decision: India VIX below 15 (calm), below 25 (usual) or above "
        "(nervous); NIFTY 50 at or above the mean of its last 200 closes (rising) or below "
        "(falling). A state that came once is one event, whatever the number of its rows."
    )
    table = table_of(validation.by_regime, columns, caption="Figures by state of the market")
    return replace(blank, lead=lead, tables=(table,))


def symbols_section(validation: Validation | None, portfolio: Portfolio | None) -> Section:
    """Tell the figures of each symbol.

    A column `net_contribution_inr` in `by_symbol` is shown where there is one.
    """
    blank = Section("symbols", "Symbols")
    if validation is None:
        return without(blank)
    rows = validation.by_symbol
    if rows.is_empty():
        return without(blank, "no row is both scored and labelled")
    if portfolio is not None:
        trades = portfolio.trades.group_by("symbol").agg(n_trades=pl.len().cast(pl.Int64))
        # A symbol that never traded has no row among the trades: its count is known to be 0.
        rows = rows.join(trades, on="symbol", how="left", maintain_order="left").with_columns(
            pl.col("n_trades").fill_null(0)
        )
    columns = (
        Column("symbol", "Symbol", str, is_number=False),
        *SCORE_COLUMNS,
        Column("n_trades", "Trades", count),
        Column("net_contribution_inr", "Net contribution", inr),
    )
    table = table_of(
        rows, columns, caption="Figures of each symbol", is_folded=rows.height > _FEW_ROWS
    )
    lead = (
        "Among many symbols some look good by luck alone; no correction for their number is made "
        "in this table."
    )
    return replace(blank, lead=lead, tables=(table,))


def costs_section(validation: Validation | None, portfolio: Portfolio | None) -> Section:
    """Tell what trading cost, by item."""
    blank = Section("costs", "Costs")
    if validation is None or portfolio is None:
        return without(blank)
    if portfolio.trades.is_empty():
        return without(blank, "the backtest made no trade")
    totals = portfolio.trades.select(pl.col(*COST_COLUMNS, "cost_inr", "value_inr").sum())
    total, traded = totals["cost_inr"][0], totals["value_inr"][0]
    items = [(_COST_NAMES[item], totals[item][0]) for item in COST_COLUMNS]
    by_item = listed(
        f"Costs by item, on trades worth {inr(traded)}",
        {"Item": False, "Amount": True, "Of all costs": True, "Of the value traded": True},
        [
            (name, inr(cost), percent(cost / total) if total else percent(None), _bps(cost, traded))
            for name, cost in [*items, ("Together", total)]
        ],
    )
    strategy = validation.summary.strategy
    shares = listed(
        "What costs take",
        {"Figure": False, "Value": True, "Interval": True, "n sessions": True},
        [(name, *figure_cells(_of(strategy, key))) for key, name in _COSTS.items()],
    )
    gain = portfolio.equity["equity"][-1] - portfolio.capital_inr + total
    in_per_cent = 100 / portfolio.capital_inr
    chart = waterfall_chart(gain * in_per_cent, [(n, cost * in_per_cent) for n, cost in items])
    return replace(blank, chart=chart, tables=(shares, by_item))


def _rolling_ratios(portfolio: Portfolio) -> pl.DataFrame:
    curves, risk_free = portfolio.curves, risk_free_per_session(portfolio.annual_risk_free_frac)
    ratios = {
        name: rolling_sharpe(
            curves[name].pct_change()[1:].to_numpy().astype(np.float64), risk_free_daily=risk_free
        )
        for name in CURVES
        if name in curves.columns
    }
    return (
        curves[1:]
        .select("session")
        .with_columns(pl.Series(name, values).fill_nan(None) for name, values in ratios.items())
    )


def _before_and_after(found: Calibrated) -> Table:
    write = decimals(4)
    before = (found.raw_calibration_error, found.raw_brier_score)
    after = (found.expected_calibration_error, found.brier_score)
    names = ("Expected calibration error", "Brier score")
    return listed(
        f"Before and after calibration, on {count(found.n)} rows that have both; less is better",
        {"Figure": False, "Scores": True, "Calibrated": True},
        [(n, write(b), write(a)) for n, b, a in zip(names, before, after, strict=True)],
    )


def _bps(cost: float, traded: float) -> str:
    return f"{cost / traded * 1e4:.3f} bps"


def _of(figures: PerformanceFigures, key: str) -> Figure:
    return getattr(figures, key)


def _value(figures: PerformanceFigures, key: str) -> str:
    return figure_cells(_of(figures, key))[0]


def _why_no_curve(portfolio: Portfolio | None) -> str:
    if portfolio is None:
        return "the stage has no result"
    return "nothing was scored, so nothing was traded" if portfolio.equity.is_empty() else ""


def _why_no_benchmark(portfolio: Portfolio) -> str:
    curves = portfolio.curves
    if "benchmark" in curves.columns and curves["benchmark"].count():
        return ""
    return f"{portfolio.benchmark_name} is not drawn: the run has no bars of it on these sessions."
