"""Replaying a candidate's students on a crisis, on bars that they never saw.

Belongs here: which rows may be scored by which student, and what the scores would have earned.
Does not belong here: the catalogue (`stress.scenarios`), formulas and records
(`stress.resilience`), how positions trade (`evaluation.backtest`).

Which rows
----------
Row by row, for one symbol:

1. `walk_forward`: an out-of-sample prediction of the run exists for the row; it was made by a
   student trained before, and is used as it stands.
2. `trained_later`: the row's label ended before the first session that the last student learned
   from. The bars are unseen, but the student learned from later years: a replay, no forecast.
3. `trained_before`: the row's session lies after the last label end that the last student saw.
4. Any other row was learned from, directly or through an overlapping label, and is left out.

Decisions of the `horizon_sessions` + 1 sessions before the period are taken too, so that at the
close before the crisis the portfolio stands invested as it would have (a decision trades at the
next open, a position is the mean of as many signals as the horizon has sessions). Returns,
precision and recall are counted in the period only, and the portfolio is marked to market at its
last session.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.evaluation.backtest import BacktestConfig, run_backtest
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.measures import precision_recall_f1
from sensequant.market.sessions import nse_calendar
from sensequant.records import SkipReason, derive_seed
from sensequant.stress.baselines import baselines, market_shock, performance
from sensequant.stress.luck import CrisisSessions, resilience_error
from sensequant.stress.resilience import (
    Hits,
    ScenarioOutcome,
    ScenarioResult,
    SkippedScenario,
    failure_modes,
    resilience_points,
)
from sensequant.stress.scenarios import Scenario, StressConfig

__all__ = [
    "REPLAY_SCHEMA",
    "LastStudent",
    "ReplayKind",
    "ReplaySettings",
    "SymbolScores",
    "replay",
    "scores_in_period",
]

REPLAY_SCHEMA = pl.Schema(
    {
        "symbol": pl.String,
        "session": pl.Date,
        "label": pl.Int8,
        "score": pl.Float64,
        "replay_kind": pl.String,
        "is_lead_in": pl.Boolean,
    }
)
"""Rows that may be replayed; label 1, 0 or null, score in [0, 1]."""

# A more telling reason stands before a less telling one.
_REASONS = (
    SkipReason.SEEN_IN_TRAINING,
    SkipReason.NO_EARLIER_TRAINING,
    SkipReason.INSUFFICIENT_SAMPLES,
    SkipReason.NO_DATA,
)


class ReplayKind(StrEnum):
    """Why a student may be judged by a row."""

    WALK_FORWARD = "walk_forward"
    TRAINED_LATER = "trained_later"
    TRAINED_BEFORE = "trained_before"


@dataclass(frozen=True, slots=True)
class LastStudent:
    """The last student of a symbol and what it learned from.

    Parameters
    ----------
    score
        Takes rows of features and labels, returns one score in [0, 1] per row, NaN for none.
    first_session
        First session among all rows that it, its teacher or its earlier windows learned from.
    last_label_end
        Last label end among them.
    """

    score: Callable[[pl.DataFrame], NDArray[np.float64]]
    first_session: date
    last_label_end: date


@dataclass(frozen=True, slots=True)
class SymbolScores:
    """The rows of one symbol that may be replayed, or the reason why there are none."""

    symbol: str
    frame: pl.DataFrame
    reason: SkipReason | None


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """The settings that a replay takes from a run."""

    stress: StressConfig
    backtest: BacktestConfig
    costs: CostConfig
    horizon_sessions: int
    seed: int


def scores_in_period(
    scenario: Scenario,
    *,
    symbol: str,
    rows: pl.DataFrame,
    predictions: pl.DataFrame,
    student: LastStudent | None,
    horizon_sessions: int,
) -> SymbolScores:
    """Return the scores of one symbol in a crisis, from students that never saw the row.

    Parameters
    ----------
    scenario
        The crisis.
    symbol
        NSE ticker.
    rows
        Features and labels of the symbol: session, session_number, label_end, label and what the
        student reads.
    predictions
        Out-of-sample predictions of the symbol: session, score.
    student
        The last student; None where none was made.
    horizon_sessions
        For how many sessions a signal is held.

    Returns
    -------
    SymbolScores
        Rows as `REPLAY_SCHEMA`, sorted by session; empty with the reason `no_data` (no rows in
        the period), `seen_in_training`, or `no_earlier_training` (no student at all).
    """
    nearby = _rows_of_period(scenario, rows, horizon_sessions)
    if nearby.filter(~pl.col("is_lead_in")).is_empty():
        return _no_scores(symbol, SkipReason.NO_DATA)
    known = predictions.select("session", known_score="score").drop_nulls("known_score")
    nearby = nearby.join(known, on="session", how="left").sort("session")
    unseen = nearby.with_columns(replay_kind=_kind_of_row(student)).drop_nulls("replay_kind")
    scored = _scored(unseen, student).with_columns(symbol=pl.lit(symbol))
    frame = scored.select(REPLAY_SCHEMA.names()).cast(REPLAY_SCHEMA)  # pyright: ignore[reportArgumentType]
    if not frame.filter(~pl.col("is_lead_in")).is_empty():
        return SymbolScores(symbol, frame, None)
    if student is None:
        return _no_scores(symbol, SkipReason.NO_EARLIER_TRAINING)
    return _no_scores(symbol, SkipReason.SEEN_IN_TRAINING)


def replay(
    scenario: Scenario,
    *,
    scores: Sequence[SymbolScores],
    bars: pl.DataFrame,
    benchmark: pl.DataFrame | None,
    predictions: pl.DataFrame,
    settings: ReplaySettings,
) -> ScenarioOutcome:
    """Trade the scores of a crisis as one portfolio and judge it.

    Parameters
    ----------
    scenario
        The crisis.
    scores
        From `scores_in_period`, one per symbol.
    bars
        Adjusted bars of the symbols, before, in and after the period.
    benchmark
        NIFTY 50: session, close; a year before the period too. None where there is none.
    predictions
        All out-of-sample predictions of the run (symbol, session, score, label): their rows
        outside the period tell what the students are worth in other times.
    settings
        Of stress tests, backtest and costs.

    Returns
    -------
    ScenarioResult or SkippedScenario
        Skipped when no symbol has a row, or fewer sessions than `min_sessions` are covered.
    """
    skipped = Counter(each.reason.value for each in scores if each.reason is not None)
    frames = [each.frame for each in scores if each.reason is None]
    if not frames:
        return _skipped(scenario, skipped)
    rows = pl.concat(frames).sort("symbol", "session")
    returns = _strategy_returns(scenario, rows, bars, settings)
    if returns.height < settings.stress.min_sessions:
        symbols = Counter({SkipReason.INSUFFICIENT_SAMPLES.value: len(frames)})
        return _skipped(scenario, skipped + symbols)
    outside = predictions.filter(~_is_in(scenario))
    return _result(
        scenario,
        rows=rows.filter(~pl.col("is_lead_in")),
        returns=returns,
        benchmark=benchmark,
        outside=_hits(outside, settings.backtest.threshold),
        skipped=skipped,
        settings=settings,
    )


def _rows_of_period(scenario: Scenario, rows: pl.DataFrame, horizon_sessions: int) -> pl.DataFrame:
    calendar = nse_calendar()
    first = calendar.number_of(calendar.next_on_or_after(scenario.start))
    is_near = (pl.col("session_number") >= first - horizon_sessions - 1) & (
        pl.col("session") <= scenario.end
    )
    return rows.filter(is_near).with_columns(is_lead_in=pl.col("session_number") < first)


def _kind_of_row(student: LastStudent | None) -> pl.Expr:
    kind = pl.when(pl.col("known_score").is_not_null()).then(pl.lit(ReplayKind.WALK_FORWARD.value))
    if student is None:
        return kind.otherwise(None)
    return (
        kind.when(pl.col("label_end") < student.first_session)
        .then(pl.lit(ReplayKind.TRAINED_LATER.value))
        .when(pl.col("session") > student.last_label_end)
        .then(pl.lit(ReplayKind.TRAINED_BEFORE.value))
        .otherwise(None)
    )


def _scored(unseen: pl.DataFrame, student: LastStudent | None) -> pl.DataFrame:
    known = unseen.drop_nulls("known_score").with_columns(score="known_score")
    fresh = unseen.filter(pl.col("known_score").is_null())
    if student is None or fresh.is_empty():
        return known
    features = fresh.drop("known_score", "replay_kind", "is_lead_in")
    values = pl.Series("score", student.score(features), dtype=pl.Float64)
    fresh = fresh.with_columns(values.fill_nan(None)).drop_nulls("score")
    return pl.concat([known, fresh]).sort("session")


def _strategy_returns(
    scenario: Scenario, rows: pl.DataFrame, bars: pl.DataFrame, settings: ReplaySettings
) -> pl.DataFrame:
    result = run_backtest(
        rows.select("symbol", "session", "score"),
        bars,
        horizon_sessions=settings.horizon_sessions,
        costs=settings.costs,
        config=settings.backtest,
    )
    return result.equity.filter(_is_in(scenario)).select("session", "net_return")


def _result(
    scenario: Scenario,
    *,
    rows: pl.DataFrame,
    returns: pl.DataFrame,
    benchmark: pl.DataFrame | None,
    outside: Hits,
    skipped: Counter[str],
    settings: ReplaySettings,
) -> ScenarioResult:
    config = settings.stress
    strategy = performance("strategy", returns["net_return"].to_numpy(), config=config)
    hits = _hits(rows, settings.backtest.threshold)
    first, last = _span(returns)
    shock = market_shock(benchmark, first, last)
    points, reason = resilience_points(
        max_drawdown=strategy.max_drawdown, precision=hits.precision, sharpe=strategy.sharpe
    )
    error = None
    if points is not None:
        error = resilience_error(
            _sessions(returns, rows, settings.backtest.threshold),
            block_sessions=settings.horizon_sessions,
            seed=derive_seed(settings.seed, "resilience", scenario.name),
            config=config,
        )
    passes = None if points is None else points >= config.resilience_pass
    modes = failure_modes(
        lift_inside=hits.lift,
        lift_outside=outside.lift,
        market_shock_sigma=shock,
        config=config,
    )
    kinds = Counter(cast("list[str]", rows["replay_kind"].to_list()))
    return ScenarioResult(
        scenario=scenario,
        kind=next(iter(kinds)) if len(kinds) == 1 else "mixed",
        rows_by_kind=dict(sorted(kinds.items())),
        first_session=first,
        last_session=last,
        n_sessions=returns.height,
        n_rows=rows.height,
        n_symbols=rows["symbol"].n_unique(),
        skipped_symbols=dict(sorted(skipped.items())),
        strategy=strategy,
        baselines=baselines(benchmark, returns, config=config),
        hits=hits,
        hits_outside=outside,
        market_shock_sigma=shock,
        resilience=points,
        resilience_error=error,
        resilience_reason=reason,
        passes=passes,
        failure_modes=modes if passes is False else (),
        sessions=tuple(returns["session"]),
        net_returns=tuple(returns["net_return"]),
    )


def _sessions(returns: pl.DataFrame, rows: pl.DataFrame, threshold: float) -> CrisisSessions:
    is_bought = pl.col("score") >= threshold
    counts = (
        rows.drop_nulls(["label", "score"])
        .filter(is_bought)
        .group_by("session")
        .agg(n_decisions=pl.len().cast(pl.Int64), n_right=pl.col("label").cast(pl.Int64).sum())
    )
    beside = returns.join(counts, on="session", how="left", maintain_order="left").fill_null(0)
    return CrisisSessions(
        returns=beside["net_return"].to_numpy(),
        n_decisions=beside["n_decisions"].to_numpy(),
        n_right=beside["n_right"].to_numpy(),
    )


def _hits(rows: pl.DataFrame, threshold: float) -> Hits:
    labelled = rows.drop_nulls(["label", "score"])
    labels = labelled["label"].to_numpy()
    decisions = (labelled["score"].to_numpy() >= threshold).astype(np.int8)
    precision, recall, _ = precision_recall_f1(labels, decisions)
    return Hits(
        n_labelled=labels.size,
        n_decisions=int(decisions.sum()),
        n_positive=int(labels.sum()),
        precision=precision,
        recall=recall,
        base_rate=float(labels.mean()) if labels.size else None,
    )


def _span(returns: pl.DataFrame) -> tuple[date, date]:
    sessions = cast("list[date]", returns["session"].to_list())
    return sessions[0], sessions[-1]


def _is_in(scenario: Scenario) -> pl.Expr:
    return pl.col("session").is_between(scenario.start, scenario.end)


def _no_scores(symbol: str, reason: SkipReason) -> SymbolScores:
    return SymbolScores(symbol, REPLAY_SCHEMA.to_frame(), reason)


def _skipped(scenario: Scenario, skipped: Counter[str]) -> SkippedScenario:
    reason = next((each for each in _REASONS if each.value in skipped), SkipReason.NO_DATA)
    return SkippedScenario(
        scenario=scenario, skip_reason=reason, skipped_symbols=dict(sorted(skipped.items()))
    )
