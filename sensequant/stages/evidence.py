"""Stage 4: what the scores were worth.

Belongs here: which files of the run the measures read and write. Does not belong here: any measure
(`evaluation`), whether chance explains it (`stages.statistical_tests`).
"""

from dataclasses import replace

import polars as pl

from sensequant.evaluation.account import Account
from sensequant.evaluation.backtest import BacktestResult, buy_and_hold, run_backtest
from sensequant.evaluation.regimes import month_table, regime_table, regimes_of
from sensequant.evaluation.sectors import sector_table
from sensequant.evaluation.sizing import PortfolioConfig
from sensequant.evaluation.strategies import SwingConfig, trade_rules
from sensequant.evaluation.validation import Validation, ValidationSummary, validate
from sensequant.evaluation.validation_text import render_markdown
from sensequant.market.sessions import nse_calendar
from sensequant.records import derive_seed
from sensequant.stages.context import Findings, Run
from sensequant.stages.students_evidence import scores_by_variant
from sensequant.stages.tried import record_contenders
from sensequant.storage import read_json, read_table, write_atomically, write_json, write_table

__all__ = [
    "read_summary",
    "validate_scores",
]


def validate_scores(run: Run) -> tuple[str, Findings]:
    """Measure the out-of-sample scores and trade them; return a page of Markdown and findings."""
    predictions = read_table(run.folder.predictions)
    bars = run.bars
    backtest, universe = (
        trade(
            predictions,
            bars,
            horizon_sessions=run.config.labels.horizon_sessions,
            costs=run.config.costs,
            config=run.config.backtest,
        )
        for trade in (run_backtest, buy_and_hold)
    )
    swing = _swing(run, predictions, bars, backtest)
    validation = validate(
        predictions,
        backtest=backtest,
        universe=universe,
        swing=swing,
        benchmark=run.benchmark,
        annual_risk_free_frac=run.config.significance.annual_risk_free_frac,
        seed=derive_seed(run.config.seed, "validation"),
        config=run.config.validation,
    )
    validation = _with_groups(run, validation)
    page = render_markdown(validation.summary, validation.by_regime)
    # Before anybody can see what they were worth.
    record_contenders(run, backtest.equity, _variants_traded(run, bars))
    _write_validation(run, validation, backtest, universe, page)
    if swing is not None:
        write_table(run.folder.validation / "swing_equity.parquet", swing.equity)
    return page, _findings(validation.summary)


def _swing(
    run: Run, predictions: pl.DataFrame, bars: pl.DataFrame, backtest: BacktestResult
) -> Account | None:
    """Trade the classical baseline on the symbols and sessions of the scores."""
    if backtest.equity.is_empty():
        return None
    sessions = backtest.equity["session"].to_list()
    calendar = nse_calendar()
    scored = predictions.drop_nulls("score")["symbol"].unique()
    sizes = run.config.backtest.model_dump(include=set(PortfolioConfig.model_fields))
    return trade_rules(
        SwingConfig(),
        # Bars after the last session would say which bar is a symbol's last.
        bars.filter(pl.col("symbol").is_in(scored.implode()), pl.col("session") <= sessions[-1]),
        first=calendar.number_of(sessions[0]),
        last=calendar.number_of(sessions[-1]),
        costs=run.config.costs,
        portfolio=PortfolioConfig.model_validate(sizes),
    )


def _with_groups(run: Run, validation: Validation) -> Validation:
    panel = validation.panel
    if panel is None or panel.rows.is_empty() or validation.returns.is_empty():
        return validation
    context = run.market_context
    sessions = pl.concat([panel.rows["session"], validation.returns["session"]])
    regimes = regimes_of(sessions, nifty=context.benchmark, vix=context.vix)
    sectors = run.folder.sectors
    return replace(
        validation,
        by_sector=sector_table(panel, read_table(sectors)) if sectors.exists() else None,
        by_regime=regime_table(panel, validation.returns, regimes),
        by_month=month_table(panel),
    )


def _variants_traded(run: Run, bars: pl.DataFrame) -> dict[str, pl.DataFrame]:
    return {
        name: run_backtest(
            scores,
            bars,
            horizon_sessions=run.config.labels.horizon_sessions,
            costs=run.config.costs,
            config=run.config.backtest,
        ).equity
        for name, scores in scores_by_variant(run).items()
    }


def read_summary(run: Run) -> ValidationSummary:
    """Return the summary of stage 4."""
    path = run.folder.validation / "validation_summary.json"
    return ValidationSummary.model_validate(read_json(path))


def _write_validation(
    run: Run, validation: Validation, backtest: BacktestResult, universe: BacktestResult, page: str
) -> None:
    folder = run.folder.validation
    tables = {
        "equity": backtest.equity,
        "exposure": backtest.exposure,
        "positions": backtest.positions,
        "trades": backtest.trades,
        "universe_equity": universe.equity,
        "returns": validation.returns,
        "by_symbol": validation.by_symbol,
        "by_window": validation.by_window,
        "calibration": validation.calibration,
    }
    groups = {
        "by_regime": validation.by_regime,
        "by_month": validation.by_month,
        "by_sector": validation.by_sector,
    }
    tables |= {name: table for name, table in groups.items() if table is not None}
    for name, table in tables.items():
        write_table(folder / f"{name}.parquet", table)
    write_atomically(folder / "validation_summary.md", page.encode())
    write_json(folder / "validation_summary.json", validation.summary)


def _findings(summary: ValidationSummary) -> Findings:
    figures = {
        "auc": summary.classification.auc,
        "net_sharpe": summary.strategy.net_sharpe,
        "net_annual_return": summary.strategy.net_annual_return,
        "max_drawdown": summary.strategy.max_drawdown,
        "n_trades": summary.strategy.n_trades,
    }
    return Findings(
        values={
            "n_scored": summary.n_scored,
            "n_labelled": summary.n_labelled,
            **{name: figure.value for name, figure in figures.items()},
        },
        not_done_yet=list(summary.not_done_yet),
    )
