"""What a nested search was worth: its steps in a chain, beside the settings as given.

Belongs here: the record of a whole search and the figures of its chain. Does not belong here: the
search (`evaluation.optimisation`), wording (`evaluation.optimised_text`), files
(`stages.optimisation`).

The returns of the steps follow each other as one series, by what was taken before each step and by
the settings as given. Every one of them is out of sample for the search. Their difference carries
the interval of a paired bootstrap: where it holds zero, the search has shown nothing. A search that
only trades less beats settings that lose to costs; it has an edge where its own Sharpe ratio over
the risk-free return is above zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from sensequant.evaluation.contenders import Contenders
from sensequant.evaluation.differences import return_differences
from sensequant.evaluation.figures import (
    Figure,
    PerformanceFigures,
    absent_figure,
    performance_figures,
)
from sensequant.evaluation.hypotheses import SignificanceConfig, TestResult
from sensequant.evaluation.multiple_testing import overfitting_probability
from sensequant.evaluation.optimisation import OptimisationConfig, Search, StepReport, TradedStep
from sensequant.evaluation.parameter_importance import parameter_importances
from sensequant.evaluation.search_space import SPACES, StrategyName, Value
from sensequant.records import Finite, Record, derive_seed

__all__ = ["CHAIN_SCHEMA", "Found", "OptimisationSummary", "chain_of", "summarise_search"]

CHAIN_SCHEMA = pl.Schema(
    {"step": pl.Int32, "session": pl.Date}
    | dict.fromkeys(("optimised_return", "default_return"), pl.Float64)
    | dict.fromkeys(("optimised_equity", "default_equity"), pl.Float64)
)
"""One row per session out of sample; equity of a rupee before the first of them."""

_LEAST_BLOCK_SESSIONS = 21
_UNITS = {"net_sharpe": "annual ratio", "net_annual_return": "fraction per year"}
_NO_INTERVAL = "a mean of steps whose known sessions overlap; they are not independent"


class OptimisationSummary(Record):
    """What a nested search found.

    Attributes
    ----------
    optimised, default
        The chain of steps by what was taken before each, and by the settings as given.
    differences
        Optimised minus default on the same sessions, by name (`differences.DIFFERENCES`).
    beats_default
        Whether the difference of Sharpe ratios is above zero with its whole interval; None where it
        has no interval.
    has_edge
        Whether the Sharpe ratio of the chain is above zero with its whole interval; None likewise.
    in_sample, in_sample_default
        Mean over the steps of what the search made large, on the sessions known before each.
    optimism
        `in_sample` minus the same figure of the chain: what the search promised too much.
    overfitting
        Probability of backtest overfitting, of all trials of the last step that have a value.
    importances
        Share of each parameter in the value of the trials of the last step, the largest first.
    """

    strategy: StrategyName
    settings: OptimisationConfig
    defaults: dict[str, Value]
    is_simulated: bool
    n_symbols: int
    n_steps: int
    n_sessions: int
    first_session: date
    last_session: date
    n_trials: int
    n_trials_of_step: int
    steps: tuple[StepReport, ...]
    optimised: PerformanceFigures
    default: PerformanceFigures
    differences: dict[str, Figure]
    beats_default: bool | None
    has_edge: bool | None
    in_sample: Figure
    in_sample_default: Figure
    optimism: Figure
    overfitting: TestResult
    importances: dict[str, Finite]


@dataclass(frozen=True, slots=True)
class Found:
    """All that a search found.

    Attributes
    ----------
    steps
        One report per step, in order.
    traded
        What was traded in each step.
    trials
        Every trial of every step (`evaluation.optimisation.trials_schema`).
    last_returns
        session, and a column of net returns for each trial of the last step that has a value.
    """

    steps: Sequence[StepReport]
    traded: Sequence[TradedStep]
    trials: pl.DataFrame
    last_returns: pl.DataFrame


def chain_of(steps: Sequence[StepReport], traded: Sequence[TradedStep]) -> pl.DataFrame:
    """Return the returns of all steps one after the other (`CHAIN_SCHEMA`)."""
    parts = [
        each.optimised.select(
            pl.lit(report.step.index, dtype=pl.Int32).alias("step"),
            "session",
            optimised_return="net_return",
        ).with_columns(default_return=each.default["net_return"])
        for report, each in zip(steps, traded, strict=True)
    ]
    return pl.concat(parts).with_columns(
        (1 + pl.col(f"{name}_return")).cum_prod().alias(f"{name}_equity")
        for name in ("optimised", "default")
    )


def summarise_search(
    found: Found,
    search: Search,
    *,
    defaults: Mapping[str, Value],
    n_symbols: int,
    is_simulated: bool,
) -> OptimisationSummary:
    """Sum up a search whose steps are all done.

    Parameters
    ----------
    found
        Its steps.
    search
        How it was searched.
    defaults
        The settings as given.
    n_symbols
        Symbols that could be traded.
    is_simulated
        Whether the bars were invented.
    """
    chain, config = chain_of(found.steps, found.traded), search.config
    optimised, default = (_performance(name, found, search) for name in ("optimised", "default"))
    returns = (chain[f"{name}_return"].to_numpy() for name in ("optimised", "default"))
    differences = return_differences(
        *returns,
        min_block=_LEAST_BLOCK_SESSIONS,
        n_draws=config.n_bootstrap_draws,
        confidence=config.confidence,
        seed=derive_seed(config.seed, "difference"),
        risk_free_daily=search.risk_free_daily,
    )
    in_sample = _mean_of([step.in_sample for step in found.steps], search)
    return OptimisationSummary(
        strategy=config.strategy,
        settings=config,
        defaults=dict(defaults),
        is_simulated=is_simulated,
        n_symbols=n_symbols,
        n_steps=len(found.steps),
        n_sessions=chain.height,
        first_session=found.steps[0].first_session,
        last_session=found.steps[-1].last_session,
        n_trials=sum(step.n_trials for step in found.steps),
        n_trials_of_step=max(step.n_trials for step in found.steps),
        steps=tuple(found.steps),
        optimised=optimised,
        default=default,
        differences=differences,
        beats_default=_is_above_zero(differences["net_sharpe"]),
        has_edge=_is_above_zero(optimised.net_sharpe),
        in_sample=in_sample,
        in_sample_default=_mean_of([step.in_sample_default for step in found.steps], search),
        optimism=_optimism(in_sample, getattr(optimised, config.objective), search),
        overfitting=_overfitting(found.last_returns),
        importances=parameter_importances(
            found.trials.filter(pl.col("step") == pl.col("step").max()), SPACES[config.strategy]
        ),
    )


def _performance(name: str, found: Found, search: Search) -> PerformanceFigures:
    config = search.config
    n_trades = {
        "optimised": sum(each.n_trades for each in found.traded),
        "default": sum(each.n_trades_default for each in found.traded),
    }
    return performance_figures(
        name,
        pl.concat([getattr(each, name) for each in found.traded]),
        n_trades=n_trades[name],
        min_block=_LEAST_BLOCK_SESSIONS,
        n_draws=config.n_bootstrap_draws,
        confidence=config.confidence,
        seed=derive_seed(config.seed, name),
        risk_free_daily=search.risk_free_daily,
    )


def _is_above_zero(figure: Figure) -> bool | None:
    return None if figure.lower is None else figure.lower > 0


def _mean_of(values: Sequence[float | None], search: Search) -> Figure:
    known = [value for value in values if value is not None]
    unit = _UNITS[search.config.objective]
    if not known:
        return absent_figure(unit, "no step has a figure before it")
    return Figure(value=float(np.mean(known)), n=len(known), unit=unit, reason=_NO_INTERVAL)


def _optimism(in_sample: Figure, later: Figure, search: Search) -> Figure:
    unit = _UNITS[search.config.objective]
    if in_sample.value is None or later.value is None:
        return absent_figure(unit, in_sample.reason or later.reason or "not defined")
    return Figure(
        value=in_sample.value - later.value, n=in_sample.n, unit=unit, reason=_NO_INTERVAL
    )


def _overfitting(returns: pl.DataFrame) -> TestResult:
    sessions = returns.select("session", benchmark_return=pl.lit(None, dtype=pl.Float64))
    contenders = Contenders.of(sessions, returns, None)
    return overfitting_probability(contenders, SignificanceConfig(), reason=None)
