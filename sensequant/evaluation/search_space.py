"""What a search may change about a strategy, and between which bounds.

Belongs here: the parameters of each strategy, how one trial proposes them, and the settings that
follow from a proposal. Does not belong here: which proposal is best (`evaluation.optimisation`),
what the settings do (`evaluation.backtest`, `evaluation.strategies`, `evaluation.sizing`).

Bounds are wide enough to hold what a person would try by hand. Those of the threshold follow from
the scores that the search may see, because scores of different students lie in different places.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from sensequant.errors import ConfigError

__all__ = [
    "SPACES",
    "Parameter",
    "StrategyName",
    "Value",
    "chosen_parameters",
    "proposed",
    "threshold_within",
]

StrategyName = Literal["scores", "swing"]
"""What is traded: the scores of a run, or averages that cross."""

Value = float | int | str
"""A value of a parameter."""

_LOWEST_SCORES, _HIGHEST_SCORES = 0.05, 0.99


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a strategy.

    Attributes
    ----------
    name
        Of the setting that it stands for.
    low, high
        Bounds of a number, both included; whole numbers where both are.
    is_log
        Whether ratios count, and not differences.
    choices
        Values of a parameter that is no number.
    """

    name: str
    low: float = 0
    high: float = 0
    is_log: bool = False
    choices: tuple[str, ...] = ()

    @property
    def polars_type(self) -> type[pl.DataType]:
        """The type of a column of its values."""
        if self.choices:
            return pl.String
        return pl.Int64 if self._is_whole else pl.Float64

    @property
    def _is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def suggest(self, trial: Any) -> Value:
        """Return what an Optuna trial proposes."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self._is_whole:
            return trial.suggest_int(self.name, self.low, self.high, log=self.is_log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.is_log)


_SIZES = (
    Parameter("sizing", choices=("equal", "volatility")),
    Parameter("position_frac", 0.02, 0.20, is_log=True),
)

SPACES: Mapping[StrategyName, tuple[Parameter, ...]] = {
    "scores": (
        Parameter("threshold", 0.0, 1.0),
        Parameter("hold_sessions", 1, 20, is_log=True),
        Parameter("min_change_frac", 0.001, 0.05, is_log=True),
        *_SIZES,
    ),
    "swing": (
        Parameter("fast_bars", 5, 40, is_log=True),
        Parameter("slow_bars", 41, 150, is_log=True),
        Parameter("stop_frac", 0.01, 0.15, is_log=True),
        Parameter("target_frac", 0.02, 0.40, is_log=True),
        Parameter("max_sessions", 3, 60, is_log=True),
        *_SIZES,
    ),
}
"""Every parameter of each strategy."""


def chosen_parameters(strategy: StrategyName, names: Collection[str]) -> tuple[Parameter, ...]:
    """Return the parameters with these names, all of the strategy's where there are none.

    Raises
    ------
    ConfigError
        The strategy has no such parameter.
    """
    known = {parameter.name: parameter for parameter in SPACES[strategy]}
    strange = sorted(set(names) - set(known))
    if strange:
        raise ConfigError(
            "strategy has no such parameter",
            where="parameters",
            expected=", ".join(known),
            found=", ".join(strange),
        )
    return tuple(known[name] for name in known if not names or name in names)


def threshold_within(parameters: tuple[Parameter, ...], scores: pl.Series) -> tuple[Parameter, ...]:
    """Return the parameters with bounds of the threshold that lie among known scores.

    A threshold below nearly all scores buys everything, one above them nothing. Where the scores
    do not vary there is no threshold to search for, and the one that was given stays.
    """
    low, high = scores.quantile(_LOWEST_SCORES), scores.quantile(_HIGHEST_SCORES)
    if low is None or high is None or low >= high:
        return tuple(each for each in parameters if each.name != "threshold")
    narrow = Parameter("threshold", float(low), float(high))
    return tuple(narrow if each.name == "threshold" else each for each in parameters)


def proposed(trial: Any, parameters: tuple[Parameter, ...]) -> dict[str, Value]:
    """Return what one Optuna trial proposes, by name of the parameter."""
    return {parameter.name: parameter.suggest(trial) for parameter in parameters}
