"""Stages 4 and 5: what the scores were worth, and whether chance or the market explains it.

Belongs here: which files of the run the measures read and write, and the ledger of trials. Does
not belong here: any measure or test (`evaluation`).
"""

import math

import polars as pl

from sensequant.evaluation.backtest import BacktestResult, buy_and_hold, run_backtest
from sensequant.evaluation.measures import sharpe_ratio
from sensequant.evaluation.significance import SignificanceConfig, SignificanceReport, assess
from sensequant.evaluation.validation import Validation, ValidationSummary, validate
from sensequant.evaluation.validation_text import render_markdown
from sensequant.records import code_version, derive_seed, digest_of
from sensequant.stages.context import Findings, Run
from sensequant.storage import read_json, read_table, write_atomically, write_json, write_table
from sensequant.trials import Trial, count_trials, record_trial, trials_of

__all__ = [
    "assess_significance",
    "read_report",
    "read_summary",
    "validate_scores",
]


def validate_scores(run: Run) -> tuple[str, Findings]:
    """Measure the out-of-sample scores and trade them; return a page of Markdown and findings."""
    predictions = read_table(run.folder.predictions)
    bars = pl.concat([read_table(run.folder.bars(symbol)) for symbol in run.symbols])
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
    validation = validate(
        predictions,
        backtest=backtest,
        universe=universe,
        benchmark=run.benchmark,
        seed=derive_seed(run.config.seed, "validation"),
        config=run.config.validation,
    )
    page = render_markdown(validation.summary)
    _write_validation(run, validation, backtest, universe, page)
    return page, _findings(validation.summary)


def assess_significance(run: Run) -> Findings:
    """Test the net returns; the trial is written down before it is counted."""
    returns = read_table(run.folder.validation / "returns.parquet")
    data_digest = _data_digest(run)
    net = returns["net_return"]
    record_trial(
        run.folder.home,
        Trial(
            data_digest=data_digest,
            config_digest=digest_of({"config": run.config_digest, "code": code_version()}),
            daily_sharpe=_sharpe_per_session(net, run.config.significance),
            n_sessions=net.len(),
            n_tuned=run.config.teacher.tuning.n_trials,
        ),
    )
    trials = trials_of(run.folder.home, data_digest)
    report = assess(
        returns,
        n_trials=count_trials(trials),
        trial_sharpe_variance=_variance([trial.daily_sharpe for trial in trials]),
        horizon_sessions=run.config.labels.horizon_sessions,
        seed=derive_seed(run.config.seed, "significance"),
        config=run.config.significance,
    )
    write_json(run.folder.significance / "stat_tests.json", report)
    return Findings(
        values={
            "n_sessions": report.n_sessions,
            "n_trials": report.n_trials,
            **{test.name: test.estimate for test in report.tests},
        },
        not_done_yet=list(report.not_done_yet),
    )


def read_summary(run: Run) -> ValidationSummary:
    """Return the summary of stage 4."""
    path = run.folder.validation / "validation_summary.json"
    return ValidationSummary.model_validate(read_json(path))


def read_report(run: Run) -> SignificanceReport:
    """Return the tests of stage 5."""
    path = run.folder.significance / "stat_tests.json"
    return SignificanceReport.model_validate(read_json(path))


def _write_validation(
    run: Run, validation: Validation, backtest: BacktestResult, universe: BacktestResult, page: str
) -> None:
    folder = run.folder.validation
    tables = {
        "equity": backtest.equity,
        "positions": backtest.positions,
        "trades": backtest.trades,
        "universe_equity": universe.equity,
        "returns": validation.returns,
        "by_symbol": validation.by_symbol,
        "by_window": validation.by_window,
        "calibration": validation.calibration,
    }
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


def _data_digest(run: Run) -> str:
    data = read_table(run.folder.data)
    return digest_of(
        {
            "bars": dict(data.select("symbol", "bars_digest").sort("symbol").iter_rows()),
            "start": run.request.start,
            "end": run.request.end,
        }
    )


def _sharpe_per_session(net: pl.Series, config: SignificanceConfig) -> float | None:
    # The very ratio that is deflated: over the risk-free return, or trials would not compare.
    yearly = config.sessions_per_year
    risk_free = math.expm1(math.log1p(config.annual_risk_free_frac) / yearly)
    return sharpe_ratio(net.to_numpy(), risk_free_daily=risk_free, sessions_per_year=1)


def _variance(sharpes: list[float | None]) -> float | None:
    known = pl.Series([value for value in sharpes if value is not None], dtype=pl.Float64)
    variance = known.var()
    return variance if isinstance(variance, float) else None
