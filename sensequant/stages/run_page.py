"""The HTML pages of a run: which of its files they show.

Belongs here: reading them. Does not belong here: the pages themselves (`reports`), when they are
written (`stages.release`), which loads this module only then.
"""

import polars as pl

from sensequant.evaluation.validation import Validation
from sensequant.market.symbols import NIFTY50_TRI
from sensequant.release.evidence import Reports
from sensequant.release.gates import Verdict
from sensequant.reports.accuracy_report import AccuracyInput, build_accuracy_report
from sensequant.reports.performance import Portfolio
from sensequant.reports.run_report import ReportInput, build_report
from sensequant.reports.stress_report import StressInput, build_stress_report
from sensequant.runs import StageRecord
from sensequant.stages.champion import read_champion
from sensequant.stages.context import Run
from sensequant.stages.crises import read_method, read_shocks
from sensequant.stages.model_evidence import collect_models
from sensequant.storage import read_table, write_atomically
from sensequant.stress.resilience import StressSummary

__all__ = ["write_page"]


def write_page(
    run: Run, reports: Reports, stages: list[StageRecord], verdict: Verdict, *, is_simulated: bool
) -> None:
    """Write the HTML pages of a run whose evidence was judged: the run, scores, crises."""
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
    if given.validation is not None:
        page = build_accuracy_report(_accuracy(given, given.validation))
        write_atomically(run.folder.validation / "accuracy_report.html", page.encode())
    if given.stress is not None:
        page = build_stress_report(_stress(run, given, given.stress))
        write_atomically(run.folder.stress / "stress_report.html", page.encode())


def _accuracy(given: ReportInput, validation: Validation) -> AccuracyInput:
    return AccuracyInput(
        universe=given.universe,
        start=given.start,
        end=given.end,
        horizon_sessions=given.horizon_sessions,
        is_simulated=given.is_simulated,
        validation=validation,
        calibrated=None if given.models is None else given.models.calibrated,
    )


def _stress(run: Run, given: ReportInput, stress: StressSummary) -> StressInput:
    return StressInput(
        universe=given.universe,
        start=given.start,
        end=given.end,
        is_simulated=given.is_simulated,
        stress=stress,
        method=read_method(run),
        shocks=given.shocks,
        benchmark=run.benchmark,
        benchmark_name=_benchmark_name(run),
    )


def _benchmark_name(run: Run) -> str:
    benchmark = run.benchmark
    is_total = benchmark is not None and benchmark["symbol"][0] == NIFTY50_TRI
    return "NIFTY 50 total return" if is_total else "NIFTY 50"


def _validation(run: Run, reports: Reports) -> Validation | None:
    if reports.validation is None:
        return None
    regimes, months, sectors = (
        run.folder.validation / f"{name}.parquet" for name in ("by_regime", "by_month", "by_sector")
    )
    return Validation(
        summary=reports.validation,
        by_symbol=_validation_table(run, "by_symbol"),
        by_window=_validation_table(run, "by_window"),
        calibration=_validation_table(run, "calibration"),
        returns=_validation_table(run, "returns"),
        # Of a run that was validated by an earlier version, or in which nothing was scored.
        by_regime=read_table(regimes) if regimes.exists() else None,
        by_month=read_table(months) if months.exists() else None,
        by_sector=read_table(sectors) if sectors.exists() else None,
    )


def _portfolio(run: Run, reports: Reports) -> Portfolio | None:
    if reports.validation is None:
        return None
    return Portfolio(
        equity=_validation_table(run, "equity"),
        trades=_validation_table(run, "trades"),
        capital_inr=run.config.backtest.capital_inr,
        hold=_validation_table(run, "universe_equity"),
        benchmark=run.benchmark,
        benchmark_name=_benchmark_name(run),
        annual_risk_free_frac=run.config.significance.annual_risk_free_frac,
    )


def _validation_table(run: Run, name: str) -> pl.DataFrame:
    return read_table(run.folder.validation / f"{name}.parquet")
