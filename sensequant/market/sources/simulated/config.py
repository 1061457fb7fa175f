"""Settings of the simulated market.

Belongs here: what a person may choose. Does not belong here: the constants of the generator
(`paths`, `source`), which no one needs to choose.
"""

from datetime import date
from typing import Self

from pydantic import Field, model_validator

from sensequant.errors import ConfigError
from sensequant.records import Config

__all__ = ["MIN_SYMBOLS_WITH_EVENTS", "SimulatedConfig"]

MIN_SYMBOLS_WITH_EVENTS = 3
"""One symbol each for the listing, the split and the hole."""


class SimulatedConfig(Config):
    """A simulated market; the same settings give the same bars, to the last digit."""

    seed: int = Field(default=20240101, ge=0, lt=2**31, description="seed of every random number")
    n_symbols: int = Field(
        default=8, ge=1, le=500, description="number of stocks, named SIM01, SIM02 and so on"
    )
    history_start: date = Field(
        default=date(2018, 1, 1),
        ge=date(2000, 1, 3),
        le=date(2020, 12, 31),
        description="first date of the history; it ends with the last year of the NSE calendar",
    )
    annual_volatility_frac: float = Field(
        default=0.28,
        gt=0.0,
        le=2.0,
        description="standard deviation of a typical stock's yearly log return, as a fraction",
    )
    volatility_dispersion: float = Field(
        default=0.25,
        ge=0.0,
        le=1.0,
        description="standard deviation of the log of volatility between stocks; 0 makes all equal",
    )
    market_correlation: float = Field(
        default=0.35,
        ge=0.0,
        lt=1.0,
        description="correlation between the returns of any two stocks",
    )
    annual_drift_frac: float = Field(
        default=0.08,
        ge=-0.5,
        le=0.5,
        description="expected yearly growth of every stock, as a log fraction",
    )
    has_regimes: bool = Field(
        default=True,
        description="whether the whole market switches between a calm and a turbulent state",
    )
    tail_degrees_of_freedom: float | None = Field(
        default=None,
        gt=2.0,
        le=100.0,
        description="degrees of freedom of Student's t law, which the returns of the market and of "
        "every stock follow: the fewer, the fatter the tails; the normal law when empty",
    )
    garch_reaction_frac: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="share of the variance of a session that follows from the squared return of "
        "the one before (alpha of a GARCH(1,1)); 0 for a variance that does not cluster",
    )
    garch_memory_frac: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="share of the variance of a session that follows from the variance of the one "
        "before (beta of a GARCH(1,1))",
    )
    planted_edge_bps: float = Field(
        default=0.0,
        ge=0.0,
        le=200.0,
        description="expected excess return of a session, in basis points, in the direction of the "
        "sign of the return over the ten sessions before it; 0 leaves nothing to predict",
    )
    has_events: bool = Field(
        default=True,
        description="whether one stock is listed in mid-history, one is split 10:1 and one has a "
        "hole of sessions",
    )

    @model_validator(mode="after")
    def _enough_symbols_for_events(self) -> Self:
        if self.has_events and self.n_symbols < MIN_SYMBOLS_WITH_EVENTS:
            raise ConfigError(
                "too few simulated stocks for the events",
                where="n_symbols",
                expected=f"at least {MIN_SYMBOLS_WITH_EVENTS} with has_events",
                found=str(self.n_symbols),
                remedy="raise n_symbols or set has_events to false",
            )
        return self

    @model_validator(mode="after")
    def _variance_is_stationary(self) -> Self:
        reaction, memory = self.garch_reaction_frac, self.garch_memory_frac
        if reaction + memory >= 1.0:
            raise ConfigError(
                "simulated variance has no mean",
                where="garch_reaction_frac and garch_memory_frac",
                expected="a sum below 1",
                found=f"{reaction:g} + {memory:g}",
                remedy="lower one of them",
            )
        if memory > 0.0 and reaction == 0.0:
            raise ConfigError(
                "a memory of variance without reaction does nothing",
                where="garch_memory_frac",
                expected="0 where garch_reaction_frac is 0",
                found=f"{memory:g}",
                remedy="set garch_reaction_frac, or leave garch_memory_frac out",
            )
        return self
