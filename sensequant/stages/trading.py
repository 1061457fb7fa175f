"""Backtests that a person asks for: rules on stored bars, and other settings on a run's scores.

Belongs here: which bars and scores a backtest gets, what stands beside it, which files are written.
Does not belong here: rules and engine (`sensequant.evaluation`), words (`sensequant.cli`). Nothing
here is evidence: no gate reads it, and what is tried on a run's scores after the fact is a search
that the run's tests know nothing of.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Self

import polars as pl
from pydantic import BaseModel, Field, model_validator

from sensequant.errors import ConfigError, MissingBarsError
from sensequant.evaluation.account import Account
from sensequant.evaluation.backtest import BacktestConfig, buy_and_hold, run_backtest
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.figures import (
    Figure,
    PerformanceFigures,
    benchmark_returns,
    index_figures,
    performance_figures,
    risk_free_per_session,
)
from sensequant.evaluation.gates import GateConfig
from sensequant.evaluation.round_trips import round_trips_of
from sensequant.evaluation.sizing import PortfolioConfig
from sensequant.evaluation.strategies import (
    CashConfig,
    HoldConfig,
    IntradayConfig,
    StrategyConfig,
    SwingConfig,
    is_sized,
    trade_rules,
)
from sensequant.histories import read_histories
from sensequant.market.intervals import DAILY, Interval, is_intraday
from sensequant.market.sessions import nse_calendar
from sensequant.market.store import BarStore
from sensequant.market.symbols import NIFTY50, NIFTY50_TRI
from sensequant.records import Config, Record, derive_seed
from sensequant.stages.context import Run
from sensequant.stages.gated import GateEffect, effects_of, paired_differences
from sensequant.storage import read_table, write_json, write_table

__all__ = [
    "RuleBacktest",
    "ScoreBacktest",
    "Traded",
    "TradedSlice",
    "trade_scores",
    "trade_stored",
    "write_traded",
]

_LEAST_BLOCK_SESSIONS = 21


class _Shown(Config):
    """How figures are made."""

    n_bootstrap_draws: int = Field(
        default=1000, ge=100, le=100_000, description="Bootstrap draws per figure (a count)."
    )
    confidence: float = Field(
        default=0.95, ge=0.5, lt=1, description="Two-sided coverage of intervals (a fraction)."
    )
    annual_risk_free_frac: float = Field(
        default=0.065,
        ge=0,
        le=0.5,
        description="Return per year over which Sharpe and Sortino ratios are measured.",
    )
    seed: int = Field(default=42, ge=0, lt=2**31, description="Seed of the draws.")


class RuleBacktest(_Shown):
    """A backtest of a strategy without scores; a setting that would do nothing is refused."""

    strategy: StrategyConfig = Field(
        default_factory=SwingConfig, description="Which rules, and their settings."
    )
    portfolio: PortfolioConfig = Field(
        default_factory=PortfolioConfig, description="Capital, sizes, limits, interest."
    )
    costs: CostConfig = Field(default_factory=CostConfig, description="What trading costs.")

    @model_validator(mode="after")
    def _settings_act(self) -> Self:
        given = {f"portfolio.{name}" for name in self.portfolio.model_fields_set}
        given |= {f"costs.{name}" for name in self.costs.model_fields_set}
        idle = sorted(given & self._idle())
        if idle:
            raise ConfigError(
                "setting does nothing with this strategy",
                where=", ".join(idle),
                expected="settings that the strategy reads",
                found=f"strategy {self.strategy.kind}",
                remedy="leave it out",
            )
        return self

    def _idle(self) -> set[str]:
        """Return the settings that the strategy does not read."""
        idle = set[str]()
        if not is_sized(self.strategy):
            sizes = ("sizing", "position_frac", "max_position_frac", "reference_volatility_frac")
            idle |= {f"portfolio.{name}" for name in sizes}
        if isinstance(self.strategy, IntradayConfig):
            idle.add("costs.dp_charge_inr")
        if isinstance(self.strategy, CashConfig):
            idle |= {"portfolio.gross_limit_frac", "portfolio.max_participation_frac"}
            idle |= {f"costs.{name}" for name in CostConfig.model_fields}
        if self.portfolio.sizing == "equal":
            idle.add("portfolio.reference_volatility_frac")
        return idle


class ScoreBacktest(_Shown):
    """A backtest of the scores of a run, by its settings or others."""

    backtest: BacktestConfig = Field(
        default_factory=BacktestConfig, description="How scores become positions."
    )
    costs: CostConfig = Field(default_factory=CostConfig, description="What trading costs.")
    gates: GateConfig = Field(
        default_factory=GateConfig, description="Which decisions are not traded, and how large."
    )


@dataclass(frozen=True, slots=True)
class TradedSlice:
    """Which stored bars are traded on: symbols, length of bars, first and last day."""

    symbols: tuple[str, ...]
    interval: Interval
    start: date
    end: date


class TradedFigures(Record):
    """What a portfolio earned, others beside it over the same sessions, what gates changed."""

    portfolios: tuple[PerformanceFigures, ...]
    gates: tuple[GateEffect, ...] = ()


@dataclass(frozen=True, slots=True)
class Traded:
    """A backtest that was asked for.

    Parameters
    ----------
    asked
        Its settings.
    account
        What the portfolio did.
    round_trips
        `round_trips.ROUND_TRIP_SCHEMA`.
    figures
        The portfolio first, then buying and holding the same symbols, then NIFTY 50.
    without_bars
        Symbols that were named and have no usable bars, with the reason.
    effects
        What each gate that has a limit changed.
    """

    asked: RuleBacktest | ScoreBacktest
    account: Account
    round_trips: pl.DataFrame
    figures: tuple[PerformanceFigures, ...]
    without_bars: dict[str, str]
    is_simulated: bool
    effects: tuple[GateEffect, ...] = ()


def trade_stored(store: BarStore, chosen: TradedSlice, asked: RuleBacktest) -> Traded:
    """Trade a strategy on bars of a store.

    Daily bars are adjusted, and those before the first day warm the strategy up. Intraday bars are
    taken as they were published: no position is held over a night in which a split could fall.

    Raises
    ------
    ConfigError
        The strategy does not trade bars of this length, no session lies in the range, or losses
        and costs used the capital up.
    MissingBarsError
        None of the symbols has a bar in the range.
    """
    calendar = nse_calendar()
    sessions = calendar.sessions(chosen.start, chosen.end)
    bars, without = _stored_bars(store, chosen)
    if (
        not sessions
        or bars.filter(pl.col("session").is_between(chosen.start, chosen.end)).is_empty()
    ):
        raise MissingBarsError(
            "store has no bars to trade on",
            where=f"{chosen.interval}, {chosen.start} to {chosen.end}",
            expected=", ".join(chosen.symbols[:5]) or "at least one symbol",
            found=", ".join(f"{name}: {why}" for name, why in sorted(without.items())[:5])
            or "none",
            remedy="ingest them first: sensequant ingest",
        )
    span = {"first": calendar.number_of(sessions[0]), "last": calendar.number_of(sessions[-1])}
    account = trade_rules(
        asked.strategy, bars, **span, costs=asked.costs, portfolio=asked.portfolio
    )
    held = trade_rules(
        HoldConfig(),
        _whole_sessions(bars),
        **span,
        costs=asked.costs,
        portfolio=asked.portfolio,
    )
    return _traded(
        asked,
        account,
        held,
        benchmark=_benchmark(store),
        without=without,
        is_simulated=_is_simulated(store, bars["symbol"].unique().to_list(), chosen.interval),
    )


def trade_scores(run: Run, asked: ScoreBacktest) -> Traded:
    """Trade the out-of-sample scores of a run on the bars that it stood on.

    Raises
    ------
    RecordError
        The run has no scores yet.
    ConfigError
        A gate has a limit and no data.
    """
    predictions = read_table(run.folder.predictions)
    bars = run.bars
    settings: dict[str, Any] = {
        "horizon_sessions": run.config.labels.horizon_sessions,
        "costs": asked.costs,
        "config": asked.backtest,
    }
    account, effects = _gated(
        run, predictions, asked, lambda scores: run_backtest(scores, bars, **settings)
    )
    traded = _traded(
        asked,
        account,
        buy_and_hold(predictions, bars, **settings),
        benchmark=run.benchmark,
        without={},
        is_simulated=run.record.is_simulated,
    )
    return replace(traded, effects=effects)


def _gated(
    run: Run,
    predictions: pl.DataFrame,
    asked: ScoreBacktest,
    trade: Callable[[pl.DataFrame], Account],
) -> tuple[Account, tuple[GateEffect, ...]]:
    gates = asked.gates
    if not gates.closed:
        return trade(predictions), ()

    def compare(with_gate: pl.DataFrame, without: pl.DataFrame, name: str) -> dict[str, Figure]:
        return paired_differences(
            with_gate,
            without,
            min_block=_LEAST_BLOCK_SESSIONS,
            n_draws=asked.n_bootstrap_draws,
            confidence=asked.confidence,
            seed=derive_seed(asked.seed, "gate", name),
            risk_free_daily=risk_free_per_session(asked.annual_risk_free_frac),
        )

    return effects_of(
        run,
        predictions,
        gates,
        threshold=asked.backtest.threshold,
        trade=trade,
        compare=compare,
    )


def write_traded(folder: Path, traded: Traded) -> list[Path]:
    """Write the tables, the figures and the settings of a backtest; return the files."""
    tables = {
        "equity": traded.account.equity,
        "exposure": traded.account.exposure,
        "positions": traded.account.positions,
        "trades": traded.account.trades,
        "round_trips": traded.round_trips,
    }
    records: dict[str, BaseModel] = {
        "settings": traded.asked,
        "figures": TradedFigures(portfolios=traded.figures, gates=traded.effects),
    }
    files = {name: folder / f"{name}.parquet" for name in tables}
    for name, path in files.items():
        write_table(path, tables[name])
    for name, record in records.items():
        write_json(folder / f"{name}.json", record)
    return [*files.values(), *(folder / f"{name}.json" for name in records)]


def _traded(
    asked: RuleBacktest | ScoreBacktest,
    account: Account,
    held: Account,
    *,
    benchmark: pl.DataFrame | None,
    without: dict[str, str],
    is_simulated: bool,
) -> Traded:
    risk_free = risk_free_per_session(asked.annual_risk_free_frac)

    def measured(name: str, found: Account) -> PerformanceFigures:
        return performance_figures(
            name,
            found.equity,
            n_trades=found.trades.height,
            min_block=_LEAST_BLOCK_SESSIONS,
            n_draws=asked.n_bootstrap_draws,
            confidence=asked.confidence,
            seed=derive_seed(asked.seed, name),
            risk_free_daily=risk_free,
        )

    index = index_figures(
        "nifty50",
        benchmark_returns(account.equity, benchmark),
        min_block=_LEAST_BLOCK_SESSIONS,
        n_draws=asked.n_bootstrap_draws,
        confidence=asked.confidence,
        seed=derive_seed(asked.seed, "nifty50"),
        risk_free_daily=risk_free,
    )
    return Traded(
        asked=asked,
        account=account,
        round_trips=round_trips_of(account.trades),
        figures=(measured("strategy", account), measured("hold", held), index),
        without_bars=without,
        is_simulated=is_simulated,
    )


def _stored_bars(store: BarStore, chosen: TradedSlice) -> tuple[pl.DataFrame, dict[str, str]]:
    if is_intraday(chosen.interval):
        return _intraday_bars(store, chosen)
    histories = read_histories(store, chosen.symbols, nse_calendar())
    found = {name: each.bars for name, each in histories.items() if each.bars is not None}
    without = {name: str(each.reason) for name, each in histories.items() if each.bars is None}
    bars = pl.concat(found.values()) if found else pl.DataFrame(schema={"session": pl.Date})
    # Bars after the last day would say which bar is a symbol's last.
    return bars.filter(pl.col("session") <= chosen.end), without


def _intraday_bars(store: BarStore, chosen: TradedSlice) -> tuple[pl.DataFrame, dict[str, str]]:
    known = set(store.symbols(chosen.interval))
    without = {name: "no_data" for name in chosen.symbols if name not in known}
    tables = [
        store.read(
            symbol, interval=chosen.interval, start=chosen.start, end=chosen.end, final_only=True
        )
        for symbol in chosen.symbols
        if symbol in known
    ]
    bars = pl.concat(tables) if tables else pl.DataFrame(schema={"session": pl.Date})
    return bars.with_columns(is_unexplained_gap=pl.lit(value=False)), without


def _whole_sessions(bars: pl.DataFrame) -> pl.DataFrame:
    if "starts_at" not in bars.columns:
        return bars
    return (
        bars.sort("symbol", "starts_at")
        .group_by("symbol", "session", maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
            pl.col("is_unexplained_gap").any(),
        )
    )


def _benchmark(store: BarStore) -> pl.DataFrame | None:
    stored = store.symbols(DAILY)
    for name in (NIFTY50_TRI, NIFTY50):
        if name in stored:
            return store.read(name, interval=DAILY, final_only=True)
    return None


def _is_simulated(store: BarStore, symbols: Sequence[str], interval: Interval) -> bool:
    return any(bool(store.read(name, interval=interval)["is_simulated"].any()) for name in symbols)
