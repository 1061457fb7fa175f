"""What a test of returns is asked and what it answers.

Belongs here: the settings of the tests, the series they read and the record each of them fills.
Does not belong here: the tests (`evaluation.inference`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sensequant.evaluation.measures import SESSIONS_PER_YEAR
from sensequant.records import Config, Finite, Record

__all__ = ["ReturnSeries", "SignificanceConfig", "TestResult"]

_Floats = NDArray[np.float64]


class SignificanceConfig(Config):
    """How sure the tests have to be and what they assume."""

    n_draws: int = Field(
        default=2000, ge=100, le=100_000, description="Bootstrap draws per test (a count)."
    )
    confidence: float = Field(
        default=0.95,
        ge=0.5,
        lt=1,
        description="Confidence of intervals; a null is rejected below 1 minus it (a fraction).",
    )
    annual_risk_free_frac: float = Field(
        default=0.065, ge=0, le=0.5, description="Risk-free return per year, as a fraction."
    )
    power: float = Field(
        default=0.80,
        ge=0.5,
        lt=1,
        description="Power at which the least detectable Sharpe ratio is stated (a fraction).",
    )
    min_sessions: int = Field(
        default=60, ge=20, le=10_000, description="Fewest sessions to test on (sessions)."
    )
    sessions_per_year: float = Field(
        default=SESSIONS_PER_YEAR, ge=200, le=366, description="Sessions in a year (sessions)."
    )


class TestResult(Record):
    """One test or estimate, complete enough to be judged without its code.

    A pure estimate has no null, alternative, statistic and p-value. When the data cannot answer,
    all figures are None and `reason` says why.
    """

    __test__ = False

    name: str
    null: str | None
    alternative: str | None
    source: str
    assumptions: str
    statistic: Finite | None = None
    p_value: Finite | None = None
    rejects_null: bool | None = None
    estimate: Finite | None = None
    unit: str | None = None
    lower: Finite | None = None
    upper: Finite | None = None
    confidence: Finite | None = None
    n: int = 0
    n_effective: Finite | None = None
    block_sessions: int | None = None
    lags: int | None = None
    seed: int | None = None
    inputs: dict[str, Finite] = Field(default_factory=dict)
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ReturnSeries:
    """Net returns, the sessions of them that have a benchmark, and how to test them.

    `paired_net` and `benchmark` have equal length; `risk_free` is per session.
    """

    net: _Floats
    paired_net: _Floats
    benchmark: _Floats
    risk_free: float
    horizon: int
    seed: int
    config: SignificanceConfig

    @property
    def excess(self) -> _Floats:
        """Net return over the benchmark, where there is one."""
        return self.paired_net - self.benchmark

    @property
    def yearly(self) -> float:
        """Sessions in a year."""
        return self.config.sessions_per_year
