"""The dated crises that a candidate is replayed on, and which of them a run selects.

Belongs here: the catalogue (`scenarios.yaml`: dates, severity, the events that set the dates) and
the settings of the stress tests. Does not belong here: replaying (`stress.replay`) and judging
(`stress.resilience`).

A period is a range of dates in India, both included; neither end need be a session. Some periods
end at the lowest close of an index, which is known only afterwards: they are chosen to be hard,
not to be typical.
"""

from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Self, cast

import yaml
from pydantic import Field, field_validator, model_validator

from sensequant.errors import ConfigError
from sensequant.records import Config, Record

__all__ = [
    "SCENARIOS_FILE",
    "Scenario",
    "Severity",
    "StressConfig",
    "load_scenarios",
    "select_scenarios",
]

SCENARIOS_FILE = "sensequant/stress/scenarios.yaml"


class Severity(StrEnum):
    """How hard NIFTY 50 was hit."""

    EXTREME = "extreme"
    HIGH = "high"
    MEDIUM = "medium"


class Scenario(Record):
    """One crisis: its dates and the published events that set them."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    start: date
    end: date
    severity: Severity
    source: str

    @model_validator(mode="after")
    def _start_precedes_end(self) -> Self:
        if self.start >= self.end:
            raise ConfigError(
                "scenario is upside down",
                where=f"{SCENARIOS_FILE} {self.name}",
                expected="start before end",
                found=f"{self.start} to {self.end}",
            )
        return self


class StressConfig(Config):
    """Which crises are replayed, and when a candidate counts as resilient."""

    severities: tuple[Severity, ...] = Field(
        default=(Severity.EXTREME, Severity.HIGH),
        min_length=1,
        description="Severities of the crises to replay; not read where `periods` names them.",
    )
    periods: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Names of the crises to replay, whatever their severity; null: by severity.",
    )
    resilience_pass: float = Field(
        default=50.0, ge=0, le=100, description="Least resilience of a crisis passed, in points."
    )
    min_sessions: int = Field(
        default=10,
        ge=2,
        le=250,
        description="Fewest sessions of a crisis that must be covered for it to count.",
    )
    cash_rate_frac: float = Field(
        default=0.065,
        ge=0,
        le=0.5,
        description="Yearly simple return of cash, as a fraction: baseline and risk-free rate.",
    )
    balanced_equity_frac: float = Field(
        default=0.6,
        gt=0,
        lt=1,
        description="Share of NIFTY 50 in the balanced baseline, as a fraction; the rest is cash.",
    )
    black_swan_sigma: float = Field(
        default=5.0,
        gt=0,
        le=20,
        description=(
            "A crisis is a black swan when NIFTY 50 fell in one session by this many standard "
            "deviations of the year before."
        ),
    )

    method_windows: int = Field(
        default=0,
        ge=0,
        le=20,
        description="Windows before each crisis on which the method is trained anew, knowing "
        "nothing later (count); 0: the method is not replayed.",
    )
    gap_down_frac: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Synthetic shock: fall of every price overnight, as a fraction.",
    )
    volatility_factor: float = Field(
        default=2.0,
        ge=1,
        le=10,
        description="Synthetic shock: by what deviations of returns are multiplied.",
    )
    halt_sessions: int = Field(
        default=20,
        ge=1,
        le=250,
        description="Synthetic shock: sessions in which the largest position does not trade.",
    )
    spread_factor: float = Field(
        default=10.0,
        ge=1,
        le=100,
        description="Synthetic shock: by what slippage is multiplied.",
    )

    @field_validator("periods")
    @classmethod
    def _periods_are_known(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        known = [scenario.name for scenario in load_scenarios()]
        unknown = sorted(set(value or ()) - set(known))
        if unknown:
            raise ConfigError(
                "stress period is unknown",
                where="StressConfig.periods",
                expected=", ".join(known),
                found=", ".join(unknown),
                remedy="name a listed period or leave `periods` empty",
            )
        return value


@cache
def load_scenarios() -> tuple[Scenario, ...]:
    """Return the catalogue, in the order of start dates."""
    text = (files("sensequant.stress") / "scenarios.yaml").read_text("utf-8")
    rows = cast("list[dict[str, Any]]", yaml.safe_load(text))
    scenarios = [Scenario.model_validate(row) for row in rows]
    return tuple(sorted(scenarios, key=lambda scenario: scenario.start))


def select_scenarios(scenarios: Iterable[Scenario], config: StressConfig) -> tuple[Scenario, ...]:
    """Return the scenarios that the settings select, in the order given."""
    if config.periods is not None:
        return tuple(scenario for scenario in scenarios if scenario.name in config.periods)
    return tuple(scenario for scenario in scenarios if scenario.severity in config.severities)
