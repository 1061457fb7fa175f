"""Strategies whose settings a search may change: trading from one session to another.

Belongs here: cutting scores and bars so that nothing later is seen, and settings by name of
parameter. Does not belong here: the rules (`evaluation.backtest`, `evaluation.strategies`), the
search (`evaluation.optimisation`).

The account holds every session from the first to the last, also those before anything is scored.
`trade` reads bars up to the last session that is traded and scores up to the one before it, and
nothing else: whoever is given another future gets the same account. At the last session all
positions are sold, so that accounts of neighbouring spans share nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from sensequant.evaluation.account import Account
from sensequant.evaluation.backtest import BacktestConfig, run_backtest
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.grid import with_session_numbers
from sensequant.evaluation.search_space import (
    Parameter,
    StrategyName,
    Value,
    chosen_parameters,
    threshold_within,
)
from sensequant.evaluation.sizing import PortfolioConfig
from sensequant.evaluation.strategies import SwingConfig, trade_rules

__all__ = ["ScoreTrading", "SwingTrading", "Tradable"]

_NUMBER = "number"


class Tradable(Protocol):
    """A strategy on given data."""

    @property
    def strategy(self) -> StrategyName:
        """Its name."""
        ...

    @property
    def span(self) -> tuple[int, int]:
        """Numbers of the first and last session to trade; the last is before the first for none."""
        ...

    def defaults(self) -> dict[str, Value]:
        """Return the settings as given, by name of parameter."""
        ...

    def parameters(self, names: tuple[str, ...], *, last: int) -> tuple[Parameter, ...]:
        """Return what may be changed by one who knows the sessions up to `last`."""
        ...

    def trade(self, settings: Mapping[str, Value], *, first: int, last: int) -> Account:
        """Trade from one session to another by the settings given, changed by these."""
        ...

    def known_until(self, last: int) -> list[pl.DataFrame]:
        """Return all that is read when the sessions up to `last` are traded."""
        ...


@dataclass(frozen=True, slots=True)
class ScoreTrading:
    """Scores of a run.

    Attributes
    ----------
    predictions
        symbol, session, score, number: that of the session.
    bars
        As `run_backtest` takes them, with `number`.
    hold_sessions
        For how many sessions a signal is held, as given.
    """

    predictions: pl.DataFrame
    bars: pl.DataFrame
    hold_sessions: int
    costs: CostConfig
    config: BacktestConfig
    strategy: StrategyName = "scores"

    @classmethod
    def of(
        cls,
        predictions: pl.DataFrame,
        bars: pl.DataFrame,
        *,
        hold_sessions: int,
        costs: CostConfig,
        config: BacktestConfig,
    ) -> "ScoreTrading":
        """Return the strategy on scores and bars as they are stored."""
        scored = predictions.select("symbol", "session", "score").drop_nulls("score")
        rows = with_session_numbers(scored.sort("symbol", "session"))
        return cls(rows, with_session_numbers(bars), hold_sessions, costs, config)

    @property
    def span(self) -> tuple[int, int]:
        """From the session after the first score to as long as the last one is held."""
        scored = self.predictions[_NUMBER]
        bars = self.bars.filter(pl.col("symbol").is_in(self.predictions["symbol"].implode()))
        if scored.is_empty() or bars.is_empty():
            return 0, -1
        numbers = scored.to_numpy()
        end = int(bars[_NUMBER].to_numpy().max())
        return int(numbers.min()) + 1, min(int(numbers.max()) + self.hold_sessions, end)

    def defaults(self) -> dict[str, Value]:
        """Return threshold, holding time, sizes as given."""
        given = self.config.model_dump()
        names = ("threshold", "min_change_frac", "sizing", "position_frac")
        return {"hold_sessions": self.hold_sessions} | {name: given[name] for name in names}

    def parameters(self, names: tuple[str, ...], *, last: int) -> tuple[Parameter, ...]:
        """Return what may be changed; the threshold lies among the scores known by `last`."""
        known = self.predictions.filter(pl.col(_NUMBER) < last)["score"]
        return threshold_within(chosen_parameters("scores", names), known)

    def trade(self, settings: Mapping[str, Value], *, first: int, last: int) -> Account:
        """Trade the scores of the session before `first` to that before `last`."""
        whole: dict[str, Any] = self.config.model_dump() | self.defaults() | dict(settings)
        horizon = int(whole.pop("hold_sessions"))
        scored = self.predictions.filter(pl.col(_NUMBER).is_between(first - 1, last - 1))
        return run_backtest(
            scored.drop(_NUMBER),
            _until(self.bars, last).drop(_NUMBER),
            horizon_sessions=horizon,
            costs=self.costs,
            config=BacktestConfig.model_validate(whole),
            within=(first, last),
        )

    def known_until(self, last: int) -> list[pl.DataFrame]:
        """Return the scores before `last` and the bars up to it."""
        return [self.predictions.filter(pl.col(_NUMBER) < last), _until(self.bars, last)]


@dataclass(frozen=True, slots=True)
class SwingTrading:
    """Averages that cross, on daily bars.

    Attributes
    ----------
    bars
        As `trade_rules` takes them, with `number`.
    first, last
        Numbers of the first and last session that may be traded; bars before them warm averages up.
    """

    bars: pl.DataFrame
    first: int
    last: int
    rules: SwingConfig
    portfolio: PortfolioConfig
    costs: CostConfig
    strategy: StrategyName = "swing"

    @classmethod
    def of(
        cls,
        bars: pl.DataFrame,
        *,
        first: int,
        last: int,
        rules: SwingConfig,
        portfolio: PortfolioConfig,
        costs: CostConfig,
    ) -> "SwingTrading":
        """Return the strategy on bars as they are stored."""
        return cls(with_session_numbers(bars), first, last, rules, portfolio, costs)

    @property
    def span(self) -> tuple[int, int]:
        """From the first session asked for to the last one that has a bar."""
        if self.bars.is_empty():
            return 0, -1
        return self.first, min(self.last, int(self.bars[_NUMBER].to_numpy().max()))

    def defaults(self) -> dict[str, Value]:
        """Return averages, stop, target, time and sizes as given."""
        sizes = self.portfolio.model_dump(include={"sizing", "position_frac"})
        return self.rules.model_dump(exclude={"kind"}) | sizes

    def parameters(self, names: tuple[str, ...], *, last: int) -> tuple[Parameter, ...]:
        """Return what may be changed, whatever is known."""
        del last
        return chosen_parameters("swing", names)

    def trade(self, settings: Mapping[str, Value], *, first: int, last: int) -> Account:
        """Trade crossings that closed before each session from `first` to `last`."""
        whole: dict[str, Any] = self.defaults() | dict(settings)
        sizes = {name: whole.pop(name) for name in ("sizing", "position_frac")}
        return trade_rules(
            SwingConfig.model_validate(whole),
            _until(self.bars, last).drop(_NUMBER),
            first=first,
            last=last,
            costs=self.costs,
            portfolio=PortfolioConfig.model_validate(self.portfolio.model_dump() | sizes),
        )

    def known_until(self, last: int) -> list[pl.DataFrame]:
        """Return the bars up to `last`."""
        return [_until(self.bars, last)]


def _until(bars: pl.DataFrame, last: int) -> pl.DataFrame:
    return bars.filter(pl.col(_NUMBER) <= last)
