"""Nested search for the settings of a strategy, step by step through time.

Belongs here: the steps, the search inside one of them, and what was traded with what it chose. Does
not belong here: what may be changed (`evaluation.search_space`), how a strategy trades
(`evaluation.tradable`), the figures of all steps together (`evaluation.optimised`), files
(`stages.optimisation`).

The sessions are cut into steps of equal length, after a first span that is only learnt from. Before
each step the search knows all sessions before it: it trades them by each proposal, and takes the
one with the best figure. The step is then traded by what was taken, and by the settings as given.
Every step and every trial begins with the same capital and ends without positions, so that steps
can be searched side by side, and both strategies pay the same for being cut.

Proposals come from Optuna's tree-structured Parzen estimator, seeded, one after the other. Trial 0
is that of the settings as given; it is taken where no proposal is better. A trial with fewer trades
than asked for has no figure: a ratio of three trades is luck.

Source: J. Bergstra, R. Bardenet, Y. Bengio and B. Kegl (2011), "Algorithms for hyper-parameter
optimization"; R. Pardo (2008), "The Evaluation and Optimization of Trading Strategies"
(walk-forward analysis).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from sensequant.errors import ConfigError, DataError
from sensequant.evaluation import measures
from sensequant.evaluation.search_space import (
    SPACES,
    StrategyName,
    Value,
    chosen_parameters,
    proposed,
)
from sensequant.evaluation.strategies import SwingConfig
from sensequant.evaluation.tradable import Tradable
from sensequant.records import Config, Finite, Record, derive_seed

__all__ = [
    "Objective",
    "OptimisationConfig",
    "Search",
    "Searched",
    "Step",
    "StepReport",
    "TradedStep",
    "Trial",
    "plan_steps",
    "report_step",
    "search_step",
    "trade_step",
    "trial_table",
    "trials_schema",
]

Objective = Literal["net_sharpe", "net_annual_return"]
"""What a search makes large: the Sharpe ratio over the risk-free return, or the annual return."""


class OptimisationConfig(Config):
    """How the settings of a strategy are searched for."""

    strategy: StrategyName = Field(
        default="scores",
        description="What is traded: the scores of the run, or its bars by averages that cross.",
    )
    swing: SwingConfig = Field(
        default_factory=SwingConfig,
        description="Settings of the averages as given; of strategy swing only.",
    )
    parameters: tuple[str, ...] = Field(
        default=(),
        description="Names of the parameters that are searched; all of the strategy's when empty.",
    )
    n_trials: int = Field(
        default=50,
        ge=1,
        le=2000,
        description="Settings tried beside the given ones, per step (count).",
    )
    objective: Objective = Field(
        default="net_sharpe",
        description="What is made large inside the sessions before a step: the net Sharpe ratio "
        "over the risk-free return, or the net annual return.",
    )
    min_training_sessions: int = Field(
        default=126,
        ge=40,
        le=5000,
        description="Sessions before the first step, which are only learnt from (sessions).",
    )
    step_sessions: int = Field(
        default=63, ge=5, le=1000, description="Length of a step (sessions)."
    )
    min_trades: int = Field(
        default=10,
        ge=0,
        le=10_000,
        description="Fewest purchases and sales of a trial that can be taken (count).",
    )
    n_bootstrap_draws: int = Field(
        default=1000, ge=100, le=100_000, description="Bootstrap draws per figure (a count)."
    )
    confidence: float = Field(
        default=0.95, ge=0.5, lt=1, description="Two-sided coverage of intervals (a fraction)."
    )
    seed: int = Field(default=42, ge=0, lt=2**31, description="Seed of proposals and draws.")

    @model_validator(mode="after")
    def _settings_act(self) -> Self:
        chosen_parameters(self.strategy, self.parameters)
        if self.strategy != "swing" and self.swing != SwingConfig():
            raise ConfigError(
                "setting does nothing with this strategy",
                where="swing",
                expected="settings that the strategy reads",
                found=f"strategy {self.strategy}",
                remedy="leave it out",
            )
        return self


@dataclass(frozen=True, slots=True)
class Search:
    """How to search, and the risk-free return per session that ratios are over."""

    config: OptimisationConfig
    risk_free_daily: float


class Step(Record):
    """One step, by numbers of sessions: what is known, and what is traded."""

    index: int = Field(ge=0)
    known_first: int
    first: int
    last: int

    @property
    def known_last(self) -> int:
        """The session before the step."""
        return self.first - 1

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"step_{self.index:02d}"


class Trial(Record):
    """What one proposal earned before a step.

    Attributes
    ----------
    number
        0 for the settings as given.
    settings
        By name of parameter; only what was searched.
    value
        What is made large; None with a reason.
    net_returns
        Of each known session that was traded; for the probability of overfitting.
    """

    number: int = Field(ge=0)
    settings: dict[str, Value]
    value: Finite | None = None
    reason: str | None = None
    net_sharpe: Finite | None = None
    net_annual_return: Finite | None = None
    n_trades: int = 0
    net_returns: tuple[Finite, ...] = ()


class Searched(NamedTuple):
    """Every trial of a step, and which of them was taken."""

    trials: tuple[Trial, ...]
    chosen: int


class StepReport(Record):
    """What was taken for one step, what it earned before and in it, and what the default did.

    `in_sample` and `out_of_sample` are the figure that the search makes large, before the step and
    in it; None where returns do not vary.
    """

    step: Step
    first_session: date
    last_session: date
    n_trials: int
    n_without_value: int
    chosen_trial: int
    settings: dict[str, Value]
    n_known_sessions: int
    n_sessions: int
    n_trades: int
    n_trades_default: int
    in_sample: Finite | None
    in_sample_default: Finite | None
    out_of_sample: Finite | None
    out_of_sample_default: Finite | None


class TradedStep(NamedTuple):
    """Equity of a step by what was taken, and by the default (`EQUITY_SCHEMA`), with trades."""

    optimised: pl.DataFrame
    default: pl.DataFrame
    n_trades: int
    n_trades_default: int


def plan_steps(span: tuple[int, int], config: OptimisationConfig) -> tuple[Step, ...]:
    """Return the steps between the first and last session that can be traded.

    Raises
    ------
    DataError
        No session is left after those that are only learnt from.
    """
    first, last = span
    starts = range(first + config.min_training_sessions, last + 1, config.step_sessions)
    if not starts:
        raise DataError(
            "sessions are too few for a nested search",
            where=config.strategy,
            expected=f"more than {config.min_training_sessions} sessions",
            found=f"{max(0, last - first + 1)} sessions that can be traded",
            remedy="take a run over more sessions, or lower min_training_sessions",
        )
    return tuple(
        Step(
            index=index,
            known_first=first,
            first=start,
            last=min(start + config.step_sessions - 1, last),
        )
        for index, start in enumerate(starts)
    )


def search_step(
    tradable: Tradable,
    step: Step,
    search: Search,
    *,
    known: Sequence[Trial] = (),
    tell: Callable[[Trial], None],
) -> Searched:
    """Search before one step.

    Parameters
    ----------
    tradable
        The strategy on its data; only sessions before the step are traded.
    step
        The step.
    search
        How to search.
    known
        Trials of an earlier attempt from the first on; they are not traded again.
    tell
        Is given each new trial as soon as it is known.

    Returns
    -------
    Searched
        The same whatever was known before.
    """
    # Takes half a second to import, and most who load this module do not search.
    import optuna  # noqa: PLC0415

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    config = search.config
    seed = derive_seed(config.seed, "proposals", step.name)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    parameters = tradable.parameters(config.parameters, last=step.known_last)
    trials: list[Trial] = []

    def tried(settings: dict[str, Value]) -> Trial:
        number = len(trials)
        found = known[number] if number < len(known) else None
        if found is None:
            found = _try(tradable, step, search, number=number, settings=settings)
            tell(found)
        trials.append(found)
        return found

    given = tradable.defaults()
    tried({parameter.name: given[parameter.name] for parameter in parameters})
    for _ in range(config.n_trials if parameters else 0):
        asked = study.ask()
        value = tried(proposed(asked, parameters)).value
        if value is None:
            study.tell(asked, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(asked, value)
    return Searched(tuple(trials), _best(trials))


def trade_step(tradable: Tradable, step: Step, searched: Searched) -> TradedStep:
    """Trade a step by what the search took, and by the settings as given."""
    chosen = searched.trials[searched.chosen]
    default = tradable.trade({}, first=step.first, last=step.last)
    optimised = default
    if chosen.number:
        optimised = tradable.trade(chosen.settings, first=step.first, last=step.last)
    return TradedStep(
        optimised.equity, default.equity, optimised.trades.height, default.trades.height
    )


def report_step(step: Step, searched: Searched, traded: TradedStep, search: Search) -> StepReport:
    """Sum up one step."""
    chosen, given = searched.trials[searched.chosen], searched.trials[0]
    name = search.config.objective
    later, later_default = (
        _figures(equity, search)[name] for equity in (traded.optimised, traded.default)
    )
    return StepReport(
        step=step,
        first_session=traded.optimised["session"].to_list()[0],
        last_session=traded.optimised["session"].to_list()[-1],
        n_trials=len(searched.trials) - 1,
        n_without_value=sum(trial.value is None for trial in searched.trials),
        chosen_trial=chosen.number,
        settings=chosen.settings,
        n_known_sessions=len(chosen.net_returns),
        n_sessions=traded.optimised.height,
        n_trades=traded.n_trades,
        n_trades_default=traded.n_trades_default,
        in_sample=getattr(chosen, name),
        in_sample_default=getattr(given, name),
        out_of_sample=later,
        out_of_sample_default=later_default,
    )


def trials_schema(strategy: StrategyName) -> pl.Schema:
    """Return the columns of the table of trials: one row per step and trial."""
    return pl.Schema(
        {
            "step": pl.Int32,
            "trial": pl.Int32,
            "is_chosen": pl.Boolean,
            "value": pl.Float64,
            "net_sharpe": pl.Float64,
            "net_annual_return": pl.Float64,
            "n_sessions": pl.Int64,
            "n_trades": pl.Int64,
            "reason": pl.String,
        }
        | {parameter.name: parameter.polars_type for parameter in SPACES[strategy]}
    )


def trial_table(strategy: StrategyName, step: Step, searched: Searched) -> pl.DataFrame:
    """Return the trials of a step (`trials_schema`); a parameter that was not searched is null."""
    return pl.DataFrame(
        [
            {
                "step": step.index,
                "trial": trial.number,
                "is_chosen": trial.number == searched.chosen,
                "value": trial.value,
                "net_sharpe": trial.net_sharpe,
                "net_annual_return": trial.net_annual_return,
                "n_sessions": len(trial.net_returns),
                "n_trades": trial.n_trades,
                "reason": trial.reason,
            }
            | trial.settings
            for trial in searched.trials
        ],
        schema=trials_schema(strategy),
    )


def _try(
    tradable: Tradable, step: Step, search: Search, *, number: int, settings: dict[str, Value]
) -> Trial:
    try:
        account = tradable.trade(settings, first=step.known_first, last=step.known_last)
    except ConfigError as error:
        # The settings as given must be possible; a proposal may have used the capital up.
        if number == 0:
            raise
        return Trial(number=number, settings=settings, reason=error.what)
    figures, n_trades = _figures(account.equity, search), account.trades.height
    value, least = figures[search.config.objective], search.config.min_trades
    reason = None if value is not None else "returns do not vary"
    if n_trades < least:
        value, reason = None, f"{n_trades} trades are too few, {least} are needed"
    return Trial(
        number=number,
        settings=settings,
        value=value,
        reason=reason,
        n_trades=n_trades,
        net_returns=tuple(account.equity["net_return"].to_list()),
        **figures,
    )


def _figures(equity: pl.DataFrame, search: Search) -> dict[Objective, float | None]:
    net = equity["net_return"].to_numpy().astype(np.float64)
    risk_free = search.risk_free_daily
    return {
        "net_sharpe": measures.sharpe_ratio(net, risk_free_daily=risk_free),
        "net_annual_return": measures.annual_return(net),
    }


def _best(trials: Sequence[Trial]) -> int:
    """Return the number of the earliest of the best trials; that of the default without any."""
    valued: Iterator[tuple[float, int]] = (
        (-trial.value, trial.number) for trial in trials if trial.value is not None
    )
    return min(valued, default=(0.0, 0))[1]
