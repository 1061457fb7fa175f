"""A small seeded run, measured by the real stages' functions, for the pages to show."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from sensequant.evaluation.backtest import BacktestConfig, buy_and_hold, run_backtest
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.significance import SignificanceConfig, SignificanceReport, assess
from sensequant.evaluation.validation import Validation, ValidationConfig, validate
from sensequant.market.sessions import nse_calendar
from sensequant.records import SkipReason
from sensequant.release import gates
from sensequant.reports.performance import Portfolio
from sensequant.reports.run_report import ReportInput
from sensequant.runs import Stage, StageOutcome, StageRecord
from sensequant.stress.resilience import (
    BALANCED,
    CASH,
    NIFTY_50,
    FailureMode,
    Hits,
    Performance,
    ScenarioResult,
    SkippedScenario,
    StressSummary,
    summarise_stress,
)
from sensequant.stress.scenarios import Scenario, StressConfig, load_scenarios

SYMBOLS = ("BAJAJ-AUTO", "HDFCBANK", "INFY", "ITC", "M&M", "RELIANCE", "SBIN", "TCS")
HORIZON = 7
N_SESSIONS = 420
N_WARMUP = 20


def sessions() -> list[date]:
    """Return sessions of the calendar, the first ones before anything is scored."""
    return nse_calendar().sessions(date(2022, 1, 3), date(2024, 12, 31))[:N_SESSIONS]


def market(rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return bars of all symbols, random walks with a common factor, and of the index."""
    dates, n = sessions(), N_SESSIONS
    common = rng.normal(0.0003, 0.008, n)
    frames: list[pl.DataFrame] = []
    for symbol in SYMBOLS:
        close = 1000 * np.cumprod(1 + common + rng.normal(0, 0.01, n))
        opened = close * (1 + rng.normal(0, 0.002, n))
        frames.append(
            pl.DataFrame({"symbol": [symbol] * n, "session": dates, "open": opened, "close": close})
        )
    bars = pl.concat(frames).with_columns(is_unexplained_gap=pl.lit(value=False))
    index = pl.DataFrame({"session": dates, "close": 17000 * np.cumprod(1 + common)})
    return bars, index


def predictions(rng: np.random.Generator, bars: pl.DataFrame) -> pl.DataFrame:
    """Return scores that know a little of what follows."""
    ahead = (pl.col("close").shift(-HORIZON) / pl.col("open").shift(-1) - 1).over("symbol")
    half = pl.col("session").dt.truncate("6mo")
    names = ("symbol", half.dt.to_string(), half.dt.offset_by("179d").dt.to_string())
    rows = bars.with_columns(forward_return=ahead).filter(pl.col("session") > sessions()[N_WARMUP])
    noise = pl.Series(rng.normal(0, 0.06, rows.height))
    return rows.join(nse_calendar().numbers(), on="session", maintain_order="left").select(
        "symbol",
        "session",
        "session_number",
        "forward_return",
        scored_window=pl.format("{}_{}_to_{}", *names),
        score=(0.45 + 0.3 * pl.col("forward_return").fill_null(0) + noise).clip(0, 1),
        label=(pl.col("forward_return") > 0.01).cast(pl.Int8),
    )


def measured(rng: np.random.Generator) -> tuple[Portfolio, Validation, SignificanceReport]:
    """Return what stages 4 and 5 say of the small market."""
    bars, index = market(rng)
    scored = predictions(rng, bars)
    costs, config = CostConfig(), BacktestConfig(threshold=0.5, max_position_frac=0.2)
    backtest = run_backtest(scored, bars, horizon_sessions=HORIZON, costs=costs, config=config)
    hold = buy_and_hold(scored, bars, horizon_sessions=HORIZON, costs=costs, config=config)
    validation = validate(
        scored,
        backtest=backtest,
        universe=hold,
        benchmark=index,
        seed=5,
        config=ValidationConfig(n_bootstrap_draws=100, n_placebo=5),
    )
    significance = assess(
        validation.returns,
        n_trials=3,
        trial_sharpe_variance=None,
        horizon_sessions=HORIZON,
        seed=5,
        config=SignificanceConfig(n_draws=100),
    )
    portfolio = Portfolio(
        equity=backtest.equity,
        trades=backtest.trades,
        capital_inr=config.capital_inr,
        hold=hold.equity,
        benchmark=index,
    )
    return portfolio, validation, significance


def crisis(scenario: Scenario, *, resilience: float | None) -> ScenarioResult:
    """Return a replayed crisis with made-up figures."""
    fell = Performance(
        name=NIFTY_50,
        n_sessions=24,
        total_return=-0.312,
        max_drawdown=-0.381,
        sharpe=-3.1,
        sortino=-3.9,
    )
    passes = None if resilience is None else resilience >= 50
    return ScenarioResult(
        scenario=scenario,
        kind="walk_forward",
        rows_by_kind={"walk_forward": 190},
        first_session=scenario.start,
        last_session=scenario.end,
        n_sessions=24,
        n_rows=190,
        n_symbols=8,
        skipped_symbols={},
        strategy=fell.model_copy(update={"name": "strategy", "total_return": -0.104}),
        baselines=(
            fell,
            fell.model_copy(update={"name": BALANCED}),
            fell.model_copy(update={"name": CASH}),
        ),
        hits=Hits(
            n_labelled=190,
            n_decisions=61,
            n_positive=50,
            precision=0.295,
            recall=0.36,
            base_rate=0.263,
        ),
        hits_outside=Hits(
            n_labelled=900,
            n_decisions=300,
            n_positive=400,
            precision=0.44,
            recall=0.33,
            base_rate=0.45,
        ),
        market_shock_sigma=-5.6,
        resilience=resilience,
        resilience_reason="not defined: precision" if resilience is None else None,
        passes=passes,
        failure_modes=(
            (FailureMode.REGIME_CHANGE, FailureMode.BLACK_SWAN) if passes is False else ()
        ),
    )


def stress() -> StressSummary:
    """Return crises of every outcome."""
    first, second, third, *others = load_scenarios()
    return summarise_stress(
        [
            crisis(first, resilience=56.2),
            crisis(second, resilience=31.8),
            crisis(third, resilience=None),
            *(
                SkippedScenario(
                    scenario=each, skip_reason=SkipReason.NO_DATA, skipped_symbols={"no_data": 8}
                )
                for each in others
            ),
        ],
        StressConfig(),
    )


def verdict(validation: Validation, *, is_simulated: bool) -> gates.Verdict:
    """Return the verdict on the small market, with one figure missing."""
    auc = validation.summary.classification.auc
    deepest = validation.summary.strategy.max_drawdown
    evidence = gates.Evidence(
        scored_sessions=gates.Figure(observed=392, n=392, n_unit="sessions"),
        trades=gates.Figure(observed=1204, n=1204, n_unit="trades"),
        auc=gates.Figure(
            observed=auc.value, lower=auc.lower, upper=auc.upper, n=auc.n, n_unit="rows"
        ),
        auc_placebo=gates.Figure(observed=0.5, lower=0.49, upper=0.5, n=20, n_unit="placebos"),
        mean_excess_return=gates.Figure(
            observed=0.041, lower=-0.062, upper=0.149, n=398, n_unit="sessions"
        ),
        deflated_sharpe=gates.Figure(reason="the variance of the trials is not known"),
        alpha_p_value=gates.Figure(observed=0.97, n=398, n_unit="sessions"),
        max_drawdown=gates.Figure(observed=deepest.value, n=398, n_unit="sessions"),
        resilience=gates.Figure(observed=44.0, n=2, n_unit="crises"),
        coverage=gates.Figure(observed=0.9991, n=3360, n_unit="sessions"),
        failure_rate=gates.Figure(observed=0.0, n=58, n_unit="units"),
        detectable_sharpe=gates.Figure(observed=1.9),
    )
    rows = gates.evaluate_gates(evidence, gates.GateConfig())
    return gates.judge(rows, detectable_sharpe=1.9, is_simulated=is_simulated)


def stages() -> tuple[StageRecord, ...]:
    """Return records of stages of every kind of outcome."""
    at = datetime(2025, 1, 1, 4, 5, 6, tzinfo=UTC)
    name = "live_candidate_20250101_040506_deadbeef"

    def record(stage: Stage, outcome: StageOutcome, *counts: int) -> StageRecord:
        success, skipped, failed = counts
        tried = success + failed
        return StageRecord(
            run_id=name,
            stage=stage,
            outcome=outcome,
            n_success=success,
            n_skipped=skipped,
            n_failed=failed,
            skip_reasons={"one_class": 1, "pre_listing": skipped - 1} if skipped else {},
            failure_rate=failed / tried if tried else None,
            max_failure_rate=0.15,
            started_at=at,
            seconds=1.5,
            not_done_yet=["Daily bars only; 30, 5 and 1 minute bars are not ingested."],
        )

    return (
        record(Stage.DATA_INGESTION, StageOutcome.SUCCESS, 9, 0, 0),
        record(Stage.TEACHER_TRAINING, StageOutcome.DEGRADED, 24, 6, 2),
        record(Stage.STUDENT_TRAINING, StageOutcome.SUCCESS, 16, 8, 0),
        record(Stage.STRESS_TESTS, StageOutcome.FAILED, 1, 7, 2),
        record(Stage.RELEASE_AUDIT, StageOutcome.SKIPPED, 0, 0, 0),
    )


def data_table(symbols: tuple[str, ...] = SYMBOLS) -> pl.DataFrame:
    """Return facts about the bars of each symbol."""
    n = len(symbols)
    return pl.DataFrame(
        {
            "symbol": symbols,
            "source": ["nse_bhavcopy"] * n,
            "n_bars": [N_SESSIONS] * n,
            "first_session": [sessions()[0]] * n,
            "last_session": [sessions()[-1]] * n,
            "n_expected": [N_SESSIONS] * n,
            "n_present": [N_SESSIONS - 1] * n,
            "n_unexplained_gaps": [0] * n,
            "bars_digest": [f"{number:064x}" for number in range(n)],
        }
    )


@pytest.fixture(scope="session")
def full() -> ReportInput:
    """Return a run of which every part has a result."""
    portfolio, validation, significance = measured(np.random.default_rng(11))
    return ReportInput(
        universe="nifty50",
        start=date(2022, 1, 1),
        end=date(2023, 9, 30),
        horizon_sessions=HORIZON,
        is_simulated=False,
        data=data_table(),
        n_quarantined={"TCS": 3, "SBIN": 1},
        stages=stages(),
        validation=validation,
        portfolio=portfolio,
        significance=significance,
        stress=stress(),
        verdict=verdict(validation, is_simulated=False),
    )


@pytest.fixture(scope="session")
def large(full: ReportInput) -> ReportInput:
    """Return a run of 157 symbols, 600 windows and twenty years."""
    rng = np.random.default_rng(3)
    assert full.validation is not None
    assert full.portfolio is not None
    symbols = tuple(f"SYMBOL{number:03d}" for number in range(157))
    many = pl.concat([full.validation.by_symbol] * 20).head(157)
    windows = pl.DataFrame(
        {
            "scored_window": [
                f"{symbol}_{year}-01-01_to_{year}-06-29"
                for symbol in symbols
                for year in range(2019, 2023)
            ][:600],
            "n": np.full(600, 121),
            "n_positive": np.full(600, 44),
            "auc": rng.normal(0.56, 0.08, 600),
            "auc_placebo": rng.normal(0.55, 0.02, 600),
        }
    )
    dates = nse_calendar().sessions(date(2003, 1, 1), date(2024, 12, 31))
    equity = pl.DataFrame(
        {"session": dates, "equity": 1e7 * np.cumprod(1 + rng.normal(0.0004, 0.01, len(dates)))}
    )
    index = pl.DataFrame(
        {"session": dates, "close": 1e3 * np.cumprod(1 + rng.normal(0.0004, 0.01, len(dates)))}
    )
    return replace(
        full,
        data=data_table(symbols),
        validation=replace(
            full.validation,
            by_symbol=many.with_columns(symbol=pl.Series(symbols)),
            by_window=windows,
        ),
        portfolio=replace(full.portfolio, equity=equity, hold=equity, benchmark=index),
    )
