"""Stage 4: what the out-of-sample scores and trading on them were worth.

Belongs here: the settings, the summary and how its parts are put together. Does not belong here:
the parts themselves (`evaluation.scoring`, `evaluation.backtest`, `evaluation.figures`), tests
(`evaluation.significance`), wording (`evaluation.validation_text`).

Only rows with a score count as scored, only those with a label as labelled. Every figure carries
the number of observations behind it and an interval, or the reason why there is none.
"""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import polars as pl
from pydantic import Field

from sensequant.errors import DataError
from sensequant.evaluation import measures
from sensequant.evaluation.account import Account
from sensequant.evaluation.backtest import BacktestResult
from sensequant.evaluation.figures import (
    PerformanceFigures,
    benchmark_returns,
    index_figures,
    performance_figures,
    risk_free_per_session,
)
from sensequant.evaluation.scoring import (
    ClassificationFigures,
    ScoredPanel,
    classification_figures,
    group_table,
)
from sensequant.records import Config, Finite, Record, derive_seed

__all__ = ["Validation", "ValidationConfig", "ValidationSummary", "validate"]

_NOT_DONE_YET = ("Figures by sector: no source of sectors is known here.",)
_NO_CALIBRATION = pl.DataFrame(
    schema={"bin": pl.Int32, "n": pl.Int64}
    | dict.fromkeys(("lowest_score", "mean_score", "highest_score", "positive_frac"), pl.Float64)
)
_COLUMNS = (
    "symbol",
    "session",
    "session_number",
    "scored_window",
    "score",
    "probability",
    "label",
    "forward_return",
)


class ValidationConfig(Config):
    """How intervals, placebo and calibration are made."""

    n_bootstrap_draws: int = Field(
        default=1000, ge=100, le=100_000, description="Bootstrap draws per figure (a count)."
    )
    confidence: float = Field(
        default=0.95, ge=0.5, lt=1, description="Two-sided coverage of intervals (a fraction)."
    )
    min_block_sessions: int = Field(
        default=21,
        ge=1,
        le=250,
        description="Least block of the bootstraps, in sessions; the horizon where longer.",
    )
    n_calibration_bins: int = Field(
        default=10, ge=2, le=100, description="Equal-mass bins of the calibration table (a count)."
    )
    n_placebo: int = Field(
        default=20, ge=1, le=1000, description="Repetitions with shuffled labels (a count)."
    )


class ValidationSummary(Record):
    """What was measured out of sample; the tables stand beside it in `Validation`."""

    first_session: date | None
    last_session: date | None
    n_predictions: int
    n_scored: int
    n_labelled: int
    n_symbols: int
    n_windows: int
    horizon_sessions: int
    threshold: Finite
    n_true_positive: int
    n_false_positive: int
    n_true_negative: int
    n_false_negative: int
    classification: ClassificationFigures
    strategy: PerformanceFigures
    universe: PerformanceFigures
    nifty50: PerformanceFigures
    swing: PerformanceFigures | None = None
    n_gaps_held: int
    block_sessions: int
    n_draws: int
    n_placebo: int
    confidence: Finite
    seed: int
    not_done_yet: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Validation:
    """The summary and its tables.

    `panel` holds the labelled rows, from which `evaluation.regimes` makes
    `by_regime` and `by_month` where the caller knows the market, and `evaluation.sectors` makes
    `by_sector` where it knows those. `by_symbol`
    and `by_window` have the columns of `scoring.group_table`; `calibration` those of
    `measures.calibration_table` (no rows with fewer labelled rows than bins); `returns` holds
    session, net_return and benchmark_return, as `significance.assess` takes them.
    """

    summary: ValidationSummary
    by_symbol: pl.DataFrame
    by_window: pl.DataFrame
    calibration: pl.DataFrame
    returns: pl.DataFrame
    panel: ScoredPanel | None = None
    by_regime: pl.DataFrame | None = None
    by_month: pl.DataFrame | None = None
    by_sector: pl.DataFrame | None = None


def validate(  # noqa: PLR0913 - what is measured, and everything that stands beside it
    predictions: pl.DataFrame,
    *,
    backtest: BacktestResult,
    universe: BacktestResult,
    swing: Account | None = None,
    benchmark: pl.DataFrame | None,
    annual_risk_free_frac: float,
    seed: int,
    config: ValidationConfig,
) -> Validation:
    """Measure scores and trading on the rows that no model had seen.

    Parameters
    ----------
    predictions
        symbol, session, session_number, scored_window, score, probability, label, forward_return
        (the last four may be null); all rows out of sample.
    backtest
        `run_backtest` on the same predictions: its threshold and horizon apply here too.
    universe
        `buy_and_hold` on the same predictions.
    swing
        What averages that cross earned on the same symbols and sessions, where they were traded.
    benchmark
        NIFTY 50 by session and close, or None when it is missing.
    annual_risk_free_frac
        Return per year over which Sharpe and Sortino ratios are measured.
    seed
        Seed from which every bootstrap and placebo derives its own.
    config
        Draws, confidence, blocks, bins, placebos.

    Raises
    ------
    DataError
        A column is missing, a score is outside [0, 1], or a labelled row has no forward return.
    """
    scored = _checked(predictions)
    labelled = _labelled(scored, backtest.config.threshold)
    panel = ScoredPanel(
        rows=labelled,
        block_sessions=max(config.min_block_sessions, backtest.horizon_sessions),
        n_draws=config.n_bootstrap_draws,
        n_placebo=config.n_placebo,
        n_bins=config.n_calibration_bins,
        confidence=config.confidence,
        seed=derive_seed(seed, "scoring"),
    )
    risk_free = risk_free_per_session(annual_risk_free_frac)
    returns = benchmark_returns(backtest.equity, benchmark)
    label, score = labelled["label"].to_numpy(), labelled["score"].to_numpy()
    parts = {
        "n_predictions": predictions.height,
        "horizon_sessions": backtest.horizon_sessions,
        "threshold": backtest.config.threshold,
        "classification": classification_figures(panel),
        "strategy": _performance("strategy", backtest, panel, seed, risk_free),
        "universe": _performance("universe", universe, panel, seed, risk_free),
        "nifty50": index_figures(
            "nifty50",
            returns,
            min_block=panel.block_sessions,
            n_draws=panel.n_draws,
            confidence=panel.confidence,
            seed=derive_seed(seed, "nifty50"),
            risk_free_daily=risk_free,
        ),
        "swing": None if swing is None else _performance("swing", swing, panel, seed, risk_free),
        "n_gaps_held": backtest.n_gaps_held,
        "seed": seed,
        "not_done_yet": _NOT_DONE_YET,
    }
    calibration = measures.calibration_table(label, score, config.n_calibration_bins)
    return Validation(
        summary=ValidationSummary.model_validate(parts | _scope(scored, panel)),
        by_symbol=group_table(panel, "symbol", has_intervals=True),
        by_window=group_table(panel, "scored_window", has_intervals=False),
        calibration=_NO_CALIBRATION if calibration is None else calibration,
        returns=returns,
        panel=panel,
    )


def _checked(predictions: pl.DataFrame) -> pl.DataFrame:
    missing = [name for name in _COLUMNS if name not in predictions.columns]
    if missing:
        raise DataError(
            "predictions lack columns",
            expected=", ".join(_COLUMNS),
            found=f"no {', '.join(missing)}",
        )
    scored = predictions.select(_COLUMNS).drop_nulls("score").sort("symbol", "session")
    outside = scored.filter(~pl.col("score").is_between(0, 1) | pl.col("score").is_nan())
    unpaired = scored.filter(pl.col("label").is_null() != pl.col("forward_return").is_null())
    for rows, what in (
        (outside, "a score was outside [0, 1]"),
        (unpaired, "a label stood without its forward return, or the other way round"),
    ):
        if not rows.is_empty():
            where = f"{rows['symbol'][0]} {rows['session'][0]}"
            raise DataError(what, where=where, found=f"{rows.height} such rows")
    return scored


def _labelled(scored: pl.DataFrame, threshold: float) -> pl.DataFrame:
    return scored.drop_nulls("label").with_columns(
        pl.col("label").cast(pl.Int8),
        pl.col("forward_return", "score", "probability").cast(pl.Float64),
        is_decided=pl.col("score") >= threshold,
    )


def _scope(scored: pl.DataFrame, panel: ScoredPanel) -> dict[str, Any]:
    rows = panel.rows
    counts = measures.confusion(rows["label"].to_numpy(), rows["is_decided"].to_numpy())
    return asdict(counts) | {
        "first_session": scored["session"].min(),
        "last_session": scored["session"].max(),
        "n_scored": scored.height,
        "n_labelled": rows.height,
        "n_symbols": scored["symbol"].n_unique(),
        "n_windows": scored["scored_window"].n_unique(),
        "block_sessions": panel.block_sessions,
        "n_draws": panel.n_draws,
        "n_placebo": panel.n_placebo,
        "confidence": panel.confidence,
    }


def _performance(
    name: str, found: Account, panel: ScoredPanel, seed: int, risk_free_daily: float
) -> PerformanceFigures:
    return performance_figures(
        name,
        found.equity,
        n_trades=found.trades.height,
        min_block=panel.block_sessions,
        n_draws=panel.n_draws,
        confidence=panel.confidence,
        seed=derive_seed(seed, name),
        risk_free_daily=risk_free_daily,
    )
