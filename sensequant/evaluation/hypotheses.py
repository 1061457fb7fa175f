"""What a test of returns is asked and what it answers.

Belongs here: the settings of the tests, the series they read, the record each of them fills and
the record of all. Does not belong here: the tests (`evaluation.inference`, `evaluation.selection`,
`evaluation.overfitting`, `evaluation.power`).

Whoever reads a report needs no test, so nothing here loads the libraries that they are made of.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sensequant.errors import ConfigError
from sensequant.evaluation.figures import Figure
from sensequant.evaluation.measures import SESSIONS_PER_YEAR, sharpe_ratio
from sensequant.records import Config, Finite, Record

__all__ = [
    "Draws",
    "RankedRows",
    "ReturnSeries",
    "SignificanceConfig",
    "SignificanceReport",
    "TestResult",
    "TrialCount",
    "answered",
    "unanswered",
    "unfit",
]

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
    min_trades: int = Field(
        default=10,
        ge=0,
        le=10_000,
        description="Fewest purchases and sales behind returns to test on (a count).",
    )
    sessions_per_year: float = Field(
        default=SESSIONS_PER_YEAR, ge=200, le=366, description="Sessions in a year (sessions)."
    )
    n_cscv_blocks: int = Field(
        default=16,
        ge=4,
        le=20,
        multiple_of=2,
        description="Blocks that the sessions are cut into to tell the probability of backtest "
        "overfitting; every half of them is played against the other (an even count).",
    )


class Draws(Record):
    """How an estimate spread over the bootstrap draws: how many of them fell between equal steps.

    `lower` and `upper` are the outer edges of `counts`, in the unit of the estimate.
    """

    lower: Finite
    upper: Finite
    counts: tuple[int, ...] = Field(min_length=1)


class TestResult(Record):
    """One test or estimate, complete enough to be judged without its code.

    A pure estimate has no null, alternative, statistic and p-value. When the data cannot answer,
    all figures are None and `reason` says why; `no_interval` says why an estimate has none.

    `power_curve` holds pairs: the size of a true effect, in the unit of the estimate, and the power
    with which it would have been shown.
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
    draws: Draws | None = None
    power_curve: tuple[tuple[Finite, Finite], ...] = ()
    no_interval: str | None = None
    reason: str | None = None


class TrialCount(Record):
    """How often these data were tried, as the ledger of trials tells.

    Attributes
    ----------
    n_trials
        All that compete for being the best: contenders, unscored configurations, tuned settings.
    n_contenders
        Distinct series of net returns out of sample, those of this run included.
    n_unscored
        Configurations that learnt from these data and were never scored.
    n_tuned
        Settings tried inside training rows: of each search, those of its most searched window.
    n_with_sharpe
        Contenders that have a Sharpe ratio.
    sharpe_variance
        Variance of these ratios, **per session**; None with fewer than two.
    problems
        Why the ledger cannot be trusted; then nothing that counts trials has a figure.
    """

    n_trials: int = Field(ge=1)
    n_contenders: int = Field(default=1, ge=0)
    n_unscored: int = Field(default=0, ge=0)
    n_tuned: int = Field(default=0, ge=0)
    n_with_sharpe: int = Field(default=0, ge=0)
    sharpe_variance: Finite | None = Field(default=None, ge=0)
    problems: tuple[str, ...] = ()

    @property
    def reason(self) -> str | None:
        """Why the count is not to be relied on, if so."""
        if not self.problems:
            return None
        return f"the ledger of trials was altered: {'; '.join(self.problems)}"


class SignificanceReport(Record):
    """All tests on one series of net returns."""

    first_session: date | None
    last_session: date | None
    n_sessions: int
    n_benchmark_sessions: int
    horizon_sessions: int
    trials: TrialCount
    tests: tuple[TestResult, ...]
    not_done_yet: tuple[str, ...]

    def of(self, name: str) -> TestResult:
        """Return the test of that name.

        Raises
        ------
        ConfigError
            There is none.
        """
        for test in self.tests:
            if test.name == name:
                return test
        raise ConfigError(
            "no such test", expected=", ".join(test.name for test in self.tests), found=name
        )


@dataclass(frozen=True, slots=True)
class RankedRows:
    """The AUC of scored rows with its interval, and how many rows of each class there were."""

    auc: Figure
    confidence: float
    n_positive: int
    n_negative: int


@dataclass(frozen=True, slots=True)
class ReturnSeries:
    """Net returns, the sessions of them that have a benchmark, and how to test them.

    `paired_net` and `benchmark` have equal length; `risk_free` is per session. `n_trades` are the
    purchases and sales that made the returns; None where nothing was traded to make them.
    """

    net: _Floats
    paired_net: _Floats
    benchmark: _Floats
    risk_free: float
    horizon: int
    seed: int
    config: SignificanceConfig
    n_trades: int | None = None

    @property
    def excess(self) -> _Floats:
        """Net return over the benchmark, where there is one."""
        return self.paired_net - self.benchmark

    @property
    def yearly(self) -> float:
        """Sessions in a year."""
        return self.config.sessions_per_year


def unfit(values: _Floats, data: ReturnSeries) -> str | None:
    """Return why one series of what is tested cannot be, or None."""
    config = data.config
    if values.size < config.min_sessions:
        return f"{values.size} sessions are too few, at least {config.min_sessions} are needed"
    if data.n_trades is not None and data.n_trades < config.min_trades:
        return f"{data.n_trades} trades are too few, at least {config.min_trades} are needed"
    if sharpe_ratio(values) is None:
        return "the returns do not vary"
    return None


def unanswered(blank: TestResult, n: int, reason: str) -> TestResult:
    """Return a test that the data cannot answer: no figures, and why."""
    return blank.model_copy(update={"n": n, "reason": reason})


def answered(blank: TestResult, config: SignificanceConfig, **figures: Any) -> TestResult:
    """Return a test with its figures; a null is rejected below 1 minus the confidence.

    Parameters
    ----------
    blank
        Name, null, alternative, source and assumptions.
    config
        Confidence.
    **figures
        Other fields of `TestResult`.
    """
    p_value: float | None = figures.get("p_value")
    has_interval = figures.get("lower") is not None
    figures["rejects_null"] = None if p_value is None else p_value < 1 - config.confidence
    figures["confidence"] = config.confidence if has_interval else None
    return TestResult.model_validate(blank.model_dump() | figures)
