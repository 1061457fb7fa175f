"""The HTML report of a run: which of its files the page shows.

Belongs here: reading them. Does not belong here: the page itself (`reports`), when it is written
(`stages.release`), which loads this module only then.
"""

import polars as pl

from sensequant.evaluation.validation import Validation
from sensequant.market.symbols import NIFTY50_TRI
from sensequant.release.evidence import Reports
from sensequant.release.gates import Verdict
from sensequant.reports.performance import Portfolio
from sensequant.reports.run_report import ReportInput, build_report
from sensequant.runs import StageRecord
from sensequant.stages.champion import read_champion
from sensequant.stages.context import Run
from sensequant.stages.crises import read_shocks
from sensequant.stages.model_evidence import collect_models
from sensequant.storage import read_table, write_atomically

__all__ = ["write_page"]


def write_page(
    run: Run, reports: Reports, stages: list[StageRecord], verdict: Verdict, *, is_simulated: bool
) -> None:
    """Write the HTML report of a run whose evidence was judged."""
    refused = read_table(run.folder.quarantine).group_by("symbol").len().sort("symbol")
    given = ReportInput(
        universe=run.request.title,
        start=run.request.start,
        end=run.request.end,
        horizon_sessions=run.config.labels.horizon_sessions,
        is_simulated=is_simulated,
        data=read_table(run.folder.data),
        n_quarantined=dict(refused.iter_rows()),
        stages=tuple(stages),
        validation=_validation(run, reports),
        portfolio=_portfolio(run, reports),
        significance=reports.significance,
        stress=reports.stress,
        shocks=None if reports.stress is None else read_shocks(run),
        verdict=verdict,
        models=collect_models(run),
        champion=read_champion(run),
    )
    write_atomically(run.folder.report, build_report(given).encode())


def _validation(run: Run, reports: Reports) -> Validation | None:
    if reports.validation is None:
        return None
    regimes = run.folder.validation / "by_regime.parquet"
    return Validation(
        summary=reports.validation,
        by_symbol=_validation_table(run, "by_symbol"),
        by_window=_validation_table(run, "by_window"),
        calibration=_validation_table(run, "calibration"),
        returns=_validation_table(run, "returns"),
        # Of a run that was validated by an earlier version, or in which nothing was scored.
        by_regime=read_table(regimes) if regimes.exists() else None,
    )


def _portfolio(run: Run, reports: Reports) -> Portfolio | None:
    if reports.validation is None:
        return None
    benchmark = run.benchmark
    is_total = benchmark is not None and benchmark["symbol"][0] == NIFTY50_TRI
    return Portfolio(
        equity=_validation_table(run, "equity"),
        trades=_validation_table(run, "trades"),
        capital_inr=run.config.backtest.capital_inr,
        hold=_validation_table(run, "universe_equity"),
        benchmark=benchmark,
        benchmark_name="NIFTY 50 total return" if is_total else "NIFTY 50",
        annual_risk_free_frac=run.config.significance.annual_risk_free_frac,
    )


def _validation_table(run: Run, name: str) -> pl.DataFrame:
    return read_table(run.folder.validation / f"{name}.parquet")
