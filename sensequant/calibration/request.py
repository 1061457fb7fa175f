"""What a calibration is asked: which worlds, how many, under which method.

Belongs here: the settings, and the simulated market and the run that follow from them. Does not
belong here: doing a world (`calibration.worlds`), counting verdicts (`calibration.summary`).
"""

from datetime import date
from typing import Self

from pydantic import Field, model_validator

from sensequant.errors import ConfigError
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.records import Config
from sensequant.settings import RunRequest, TrainingConfig

__all__ = ["CalibrationRequest", "WalkConfig"]

_LAST_YEAR = 2024


class WalkConfig(Config):
    """The law of the random walks: fat tails, clusters of volatility, a common factor."""

    annual_volatility_frac: float = Field(
        default=0.28, gt=0, le=2, description="Yearly volatility of a typical stock, as a fraction."
    )
    volatility_dispersion: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Standard deviation of the log of volatility between stocks.",
    )
    market_correlation: float = Field(
        default=0.35,
        ge=0,
        lt=1,
        description="Share of a stock's variance that it has in common with all others.",
    )
    annual_drift_frac: float = Field(
        default=0.08,
        ge=-0.5,
        le=0.5,
        description="Expected yearly growth of every stock, as a log fraction: the premium of "
        "equity, which nobody needs skill to earn.",
    )
    tail_degrees_of_freedom: float | None = Field(
        default=5.0,
        gt=2,
        le=100,
        description="Degrees of freedom of Student's t law of returns (a count); the normal law "
        "when empty.",
    )
    garch_reaction_frac: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Share of a session's variance that follows from the squared return before.",
    )
    garch_memory_frac: float = Field(
        default=0.92,
        ge=0,
        lt=1,
        description="Share of a session's variance that follows from the variance before.",
    )


class CalibrationRequest(Config):
    """Worlds without anything to find, worlds with a planted edge, and the method."""

    n_worlds: int = Field(
        default=200, ge=0, le=100_000, description="Worlds of random walks (a count)."
    )
    n_edge_worlds: int = Field(
        default=40,
        ge=0,
        le=100_000,
        description="Worlds for each planted edge (a count); 0 measures no power.",
    )
    oracle_sharpes: tuple[float, ...] = Field(
        default=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0),
        max_length=50,
        description="Edges to plant, by the yearly net Sharpe ratio of who knows the signal.",
    )
    n_symbols: int = Field(default=50, ge=2, le=500, description="Stocks of a world (a count).")
    years: int = Field(
        default=3, ge=1, le=6, description="Length of the range of a run, which ends with 2024."
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of all worlds.")
    walk: WalkConfig = Field(default_factory=WalkConfig, description="The law of the walks.")
    config: TrainingConfig = Field(
        default_factory=TrainingConfig, description="The method whose verdict is calibrated."
    )

    @model_validator(mode="after")
    def _edges_are_told_apart(self) -> Self:
        given = self.oracle_sharpes
        if list(given) != sorted(set(given)) or any(each < 0 for each in given):
            raise ConfigError(
                "planted edges are out of order, named twice or negative",
                where="oracle_sharpes",
                expected="Sharpe ratios from 0 on, ascending, each once",
                found=", ".join(f"{each:g}" for each in given),
            )
        return self

    @property
    def start(self) -> date:
        """First session that a window may hold."""
        return date(_LAST_YEAR + 1 - self.years, 1, 1)

    @property
    def end(self) -> date:
        """Last session that a window may hold."""
        return date(_LAST_YEAR, 12, 31)

    def market(self, *, seed: int, edge_bps: float) -> SimulatedConfig:
        """Return the market of one world."""
        return SimulatedConfig(
            seed=seed,
            n_symbols=self.n_symbols,
            planted_edge_bps=edge_bps,
            has_regimes=False,
            has_events=False,
            **self.walk.model_dump(),
        )

    def run_request(self, market: SimulatedConfig) -> RunRequest:
        """Return what a run on one world is asked."""
        return RunRequest(
            start=self.start,
            end=self.end,
            source=SourceConfig(kind="simulated", simulated=market),
        )

    def same_but_counts(self) -> dict[str, object]:
        """Return all that a world follows from; more worlds change none that is there."""
        counts = {"n_worlds", "n_edge_worlds", "oracle_sharpes"}
        return self.model_dump(mode="json", exclude=counts)
