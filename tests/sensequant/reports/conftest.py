"""A small seeded run, measured by the real stages' functions, for the pages to show."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from sensequant.evaluation.backtest import BacktestConfig, buy_and_hold, run_backtest
from sensequant.evaluation.comparison import ScorePair, compare_scores
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.feature_use import feature_use
from sensequant.evaluation.figures import Figure
from sensequant.evaluation.hypotheses import (
    SignificanceConfig,
    SignificanceReport,
    TrialCount,
)
from sensequant.evaluation.measures import (
    brier_score,
    calibration_table,
    expected_calibration_error,
)
from sensequant.evaluation.regimes import regime_table, regimes_of
from sensequant.evaluation.significance import OutOfSample, assess
from sensequant.evaluation.validation import Validation, ValidationConfig, validate
from sensequant.market.sessions import nse_calendar
from sensequant.records import Outcome, SkipReason
from sensequant.release import gates
from sensequant.reports.model_evidence import (
    NOVELTY_SCHEMA,
    TEACHERS_SCHEMA,
    Calibrated,
    ModelEvidence,
)
from sensequant.reports.performance import Portfolio
from sensequant.reports.run_report import ReportInput
from sensequant.reward import (
    RewardConfig,
    paired_rewards,
    reward_decisions,
    reward_returns,
    reward_trend,
)
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
from sensequant.stress.shocks import ShockReport, ShockResult
from sensequant.units import UnitRecord, unit_table

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
    bars = pl.concat(frames).with_columns(
        volume=pl.lit(1e8), is_unexplained_gap=pl.lit(value=False)
    )
    index = pl.DataFrame({"session": dates, "close": 17000 * np.cumprod(1 + common)})
    return bars, index


def predictions(rng: np.random.Generator, bars: pl.DataFrame) -> pl.DataFrame:
    """Return scores that know a little of what follows."""
    ahead = (pl.col("close").shift(-HORIZON) / pl.col("open").shift(-1) - 1).over("symbol")
    half = pl.col("session").dt.truncate("6mo")
    names = ("symbol", half.dt.to_string(), half.dt.offset_by("179d").dt.to_string())
    rows = bars.with_columns(forward_return=ahead).filter(pl.col("session") > sessions()[N_WARMUP])
    noise = pl.Series(rng.normal(0, 0.06, rows.height))
    return (
        rows.join(nse_calendar().numbers(), on="session", maintain_order="left")
        .select(
            "symbol",
            "session",
            "session_number",
            "forward_return",
            scored_window=pl.format("{}_{}_to_{}", *names),
            score=(0.45 + 0.3 * pl.col("forward_return").fill_null(0) + noise).clip(0, 1),
            label=(pl.col("forward_return") > 0.01).cast(pl.Int8),
        )
        .with_columns(probability=pl.col("score"))
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
        annual_risk_free_frac=0.065,
        seed=5,
        config=ValidationConfig(n_bootstrap_draws=100, n_placebo=5),
    )
    assert validation.panel is not None
    regimes = regimes_of(validation.returns["session"], nifty=index, vix=None)
    states = regime_table(validation.panel, validation.returns, regimes)
    validation = replace(validation, by_regime=states)
    found = OutOfSample(validation.returns, HORIZON, TrialCount(n_trials=3), scores=scored)
    significance = assess(found, seed=5, config=SignificanceConfig(n_draws=100)).report
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
        resilience_error=None if resilience is None else 5.0,
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


def shocks() -> ShockReport:
    """Return one shock with figures and one without."""

    def under(name: str, total_return: float) -> Performance:
        return Performance(
            name=name,
            n_sessions=400,
            total_return=total_return,
            max_drawdown=-0.21,
            sharpe=0.4,
            sortino=0.5,
        )

    return ShockReport(
        first_session=date(2022, 2, 1),
        last_session=date(2023, 9, 29),
        undisturbed=under("undisturbed", 0.123),
        shocks=(
            ShockResult(name="gap_down", rule="all 10% lower", shocked=under("gap_down", 0.017)),
            ShockResult(
                name="halted_symbol", rule="TCS does not trade", shocked=None, reason="never held"
            ),
        ),
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


def teachers_table(symbols: tuple[str, ...], years: range) -> pl.DataFrame:
    """Return a teacher for each half of each year and symbol, the first without AUC."""
    rng = np.random.default_rng(21)
    spans = [(f"{y}-01-01", f"{y}-06-30") for y in years]
    spans += [(f"{y}-07-01", f"{y}-12-27") for y in years]
    names = [(symbol, f"{symbol}_{a}_to_{b}") for symbol in symbols for a, b in sorted(spans)]
    n = len(names)
    auc = rng.normal(0.57, 0.07, n)
    return pl.DataFrame(
        {
            "symbol": [symbol for symbol, _ in names],
            "window": [name for _, name in names],
            "n_labelled": np.full(n, 120),
            "n_positive": rng.integers(20, 70, n),
            "n_train": np.full(n, 89),
            "n_validation": np.full(n, 24),
            "n_purged": np.full(n, 7),
            "auc": [None, *auc[1:].tolist()],
            "auc_lower": [None, None, *(auc[2:] - 0.09).tolist()],
            "auc_upper": [None, None, *(auc[2:] + 0.09).tolist()],
            "log_loss": rng.normal(0.69, 0.02, n),
            "best_iteration": rng.integers(1, 200, n),
            "n_trees": rng.integers(1, 200, n),
            "device": ["cpu"] * n,
        },
        schema=TEACHERS_SCHEMA,
    )


def units_of(teachers: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Return units of these windows, and one for each way in which a window is lost."""
    counts = {"n_bars": 124, "n_feature_rows": 122, "n_scored": 113}
    names = ("n_labelled", "n_train", "n_validation", "n_purged")
    done = [
        UnitRecord(
            kind=kind,
            name=f"{kind} {row['window']}",
            symbol=row["symbol"],
            window=row["window"].removeprefix(f"{row['symbol']}_").replace("_to_", ".."),
            outcome=Outcome.SUCCESS,
            counts=counts | {name: row[name] for name in names},
            seconds=0.0,
        )
        for row in teachers.iter_rows(named=True)
    ]
    lost = [
        UnitRecord(
            kind=kind,
            name=f"{kind} LOST{number}",
            symbol=f"LOST{number}",
            window="2022-01-01..2022-06-30",
            outcome=Outcome.SKIPPED,
            reason=reason,
            seconds=0.0,
        )
        for number, reason in enumerate(("one_class", "one_class", "pre_listing", "moon_phase"))
    ]
    failed = lost[0].model_copy(
        update={"symbol": "BROKEN", "outcome": Outcome.FAILED, "reason": None}
    )
    return unit_table([*done, *lost, failed])


def use_of_features() -> pl.DataFrame:
    """Return what 25 features were worth in three windows."""
    rng = np.random.default_rng(8)
    names = [f"feature_{number:02d}" for number in range(24)] + [
        "close_to_upper_band_of_20_sessions"
    ]
    rows = pl.DataFrame(
        {
            "window": [f"w{window}" for window in range(3) for _ in names],
            "feature": names * 3,
            "gain": rng.exponential(1, 75),
            "permutation_log_loss": rng.normal(0.002, 0.003, 75),
            "missing_frac": rng.uniform(0, 0.1, 75),
        }
    )
    return feature_use(rows, rows)


def models(rng: np.random.Generator) -> ModelEvidence:
    """Return what could be said of the models behind the small run."""
    bars, _ = market(rng)
    scored = predictions(rng, bars).with_columns(
        trained_window=pl.lit("before"),
        probability=(pl.col("score") * 0.6 + 0.1),
        score_without_teacher=pl.Series(rng.uniform(0.3, 0.6, bars.height - 8 * 21)),
    )
    scored = scored.with_columns(
        score_weighted=0.7 * pl.col("score") + 0.3 * pl.col("score_without_teacher")
    )
    numbered = bars.join(nse_calendar().numbers(), on="session", maintain_order="left")
    moves = reward_returns(numbered, nse_calendar().numbers(), horizon_sessions=5)
    config, draws = RewardConfig(), ValidationConfig(n_bootstrap_draws=100, n_placebo=5)
    names = ("score", "score_weighted", "score_without_teacher")
    rows = paired_rewards(scored, moves, columns=names, config=config)
    distillation, weighting = (
        compare_scores(rows, pair, horizon_sessions=HORIZON, seed=5, config=draws)
        for pair in (
            ScorePair("distillation", "score", "score_without_teacher"),
            ScorePair("weighting", "score_weighted", "score"),
        )
    )
    known = scored.drop_nulls("label")
    label, raw, better = (known[name].to_numpy() for name in ("label", "score", "probability"))
    bins = calibration_table(label, better, 10)
    assert bins is not None
    windows = scored.group_by("scored_window").len("n_rows").sort("scored_window")
    teachers = teachers_table(SYMBOLS, range(2022, 2024))
    return ModelEvidence(
        teachers=teachers,
        teacher_placebo=Figure(value=0.55, lower=0.52, upper=0.58, n=31, unit="probability"),
        feature_use=use_of_features(),
        teacher_units=units_of(teachers, "teacher"),
        student_units=units_of(teachers, "student"),
        calibrated=Calibrated(
            bins=bins,
            n=known.height,
            expected_calibration_error=expected_calibration_error(label, better),
            brier_score=brier_score(label, better),
            raw_calibration_error=expected_calibration_error(label, raw),
            raw_brier_score=brier_score(label, raw),
        ),
        distillation=distillation,
        weighting=weighting,
        reward_trend=reward_trend(reward_decisions(scored, moves, config)),
        novelty=windows.select(
            "scored_window",
            "n_rows",
            n_scored=pl.col("n_rows") - 3,
            n_novel=pl.lit(2),
            n_expired=pl.lit(None, dtype=pl.Int64),
        ).cast(dict(NOVELTY_SCHEMA)),  # pyright: ignore[reportArgumentType]
        why_missing={"pooling": "no pooled student was trained"},
    )


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
        shocks=shocks(),
        verdict=verdict(validation, is_simulated=False),
        models=models(np.random.default_rng(11)),
    )


@pytest.fixture(scope="session")
def large(full: ReportInput) -> ReportInput:
    """Return a run of 157 symbols, 600 windows and twenty years."""
    rng = np.random.default_rng(3)
    assert full.validation is not None
    assert full.portfolio is not None
    assert full.models is not None
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
    teachers = teachers_table(symbols[:150], range(2021, 2023))
    return replace(
        full,
        data=data_table(symbols),
        validation=replace(
            full.validation,
            by_symbol=many.with_columns(symbol=pl.Series(symbols)),
            by_window=windows,
        ),
        portfolio=replace(full.portfolio, equity=equity, hold=equity, benchmark=index),
        models=replace(
            full.models,
            teachers=teachers,
            teacher_units=units_of(teachers, "teacher"),
            student_units=units_of(teachers, "student"),
        ),
    )
