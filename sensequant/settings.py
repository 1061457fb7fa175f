"""What a person asks of a run: the request (which data) and the configuration (which method).

Belongs here: the composition of the settings of all concerns, and rules between them. Does not
belong here: one concern's settings; they stand beside the code that reads them.

Both models are parameters of flows, so that Prefect renders them as a form.
"""

from datetime import date
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from sensequant.errors import ConfigError
from sensequant.evaluation.backtest import BacktestConfig
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.hypotheses import SignificanceConfig
from sensequant.evaluation.validation import ValidationConfig
from sensequant.features.registry import FeatureConfig
from sensequant.labels import LabelConfig
from sensequant.market.selection import SymbolSelection
from sensequant.market.sources.build import SourceConfig
from sensequant.records import Config
from sensequant.release.limits import GateConfig
from sensequant.reward import RewardConfig
from sensequant.runs import Stage
from sensequant.stress.scenarios import StressConfig
from sensequant.student import StudentConfig
from sensequant.teacher import TeacherConfig
from sensequant.twins import TwinConfig
from sensequant.windows import WindowConfig

__all__ = ["DecisionMode", "RunOptions", "RunRequest", "TrainingConfig"]


class RunRequest(SymbolSelection):
    """Which symbols, from when to when, from which source."""

    start: date = Field(
        default=date(2022, 1, 1), description="First session that a window may hold."
    )
    end: date = Field(
        default=date(2024, 12, 31), description="Last session that a window may hold."
    )
    source: SourceConfig = Field(
        default_factory=SourceConfig, description="Where the bars come from."
    )

    @model_validator(mode="after")
    def _start_precedes_end(self) -> Self:
        if self.start >= self.end:
            raise ConfigError(
                "range is upside down",
                where="start and end",
                expected="start before end",
                found=f"{self.start} to {self.end}",
                remedy="swap or correct the two dates",
            )
        return self


class DecisionMode(StrEnum):
    """What a run does when its candidate is ready for review."""

    LATER = "later"
    AWAIT = "await"
    AUTO_APPROVE = "auto_approve"


class RunOptions(Config):
    """How to execute a run; nothing here changes an artifact."""

    workers: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Units that run side by side; the number of cores when empty.",
    )
    stages: tuple[Stage, ...] | None = Field(
        default=None, min_length=1, description="Stages to execute, in order; all eight when empty."
    )
    skip_fetch: bool = Field(
        default=False, description="Use the bars that are already stored; ask the source nothing."
    )
    runner: str | None = Field(
        default=None,
        pattern=r"^dask://[A-Za-z0-9.-]+:[0-9]{1,5}$",
        description="Dask cluster that does the windows and crises, as dask://host:port of its "
        "scheduler; threads of the run's own process when empty.",
    )
    gpu_pools: tuple[str, ...] = Field(
        default=(),
        max_length=64,
        description="Work pools, one per GPU (gpu-0, gpu-1), that share the windows between them; "
        "the run's own process trains all when empty.",
    )
    pool_start_seconds: int = Field(
        default=120,
        ge=5,
        le=3600,
        description="Time that a GPU pool has to begin its windows before others take them "
        "(seconds).",
    )
    decision: DecisionMode = Field(
        default=DecisionMode.LATER,
        description="When every gate passes: later ends the run, and its candidate waits for "
        "`sensequant approve`; await suspends the run until somebody decides on its page or by "
        "command; auto_approve approves at once, in the name of the gates.",
    )
    decision_hours: float = Field(
        default=168,
        gt=0,
        le=2160,
        description="Time to decide (hours); then the candidate is rejected as expired.",
    )

    @model_validator(mode="after")
    def _pools_are_named_once(self) -> Self:
        if len(set(self.gpu_pools)) != len(self.gpu_pools):
            raise ConfigError(
                "pools are named twice",
                where="gpu_pools",
                expected="each pool once",
                found=", ".join(self.gpu_pools),
            )
        return self

    @model_validator(mode="after")
    def _stages_are_in_order(self) -> Self:
        order = list(Stage)
        if self.stages is not None and list(self.stages) != sorted(
            set(self.stages), key=order.index
        ):
            raise ConfigError(
                "stages are out of order or named twice",
                where="stages",
                expected=", ".join(order),
                found=", ".join(self.stages),
                remedy="name each stage once, in this order",
            )
        return self


class TrainingConfig(Config):
    """How to train, how to score, how to judge; every field changes a result or is refused."""

    seed: int = Field(
        default=42, ge=0, lt=2**31, description="Seed of everything that draws at random."
    )
    max_failure_rate: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Share of tried units (skips left out) that may fail before a stage does.",
    )
    windows: WindowConfig = Field(
        default_factory=WindowConfig, description="How the range is cut into training windows."
    )
    features: FeatureConfig = Field(
        default_factory=FeatureConfig, description="What a model may see."
    )
    labels: LabelConfig = Field(
        default_factory=LabelConfig, description="What a model learns to foresee."
    )
    teacher: TeacherConfig = Field(
        default_factory=TeacherConfig, description="The model that labels softly."
    )
    student: StudentConfig = Field(
        default_factory=StudentConfig, description="The model that is distilled and scored."
    )
    reward: RewardConfig = Field(
        default_factory=RewardConfig,
        description="How earlier decisions weight what a student learns from.",
    )
    costs: CostConfig = Field(
        default_factory=CostConfig, description="What trading costs beyond statutory charges."
    )
    backtest: BacktestConfig = Field(
        default_factory=BacktestConfig, description="How scores become positions."
    )
    validation: ValidationConfig = Field(
        default_factory=ValidationConfig, description="How scores are measured."
    )
    significance: SignificanceConfig = Field(
        default_factory=SignificanceConfig, description="How chance is ruled out."
    )
    stress: StressConfig = Field(
        default_factory=StressConfig, description="Which crises are replayed."
    )
    gates: GateConfig = Field(
        default_factory=GateConfig, description="What evidence must reach for an approval."
    )
    twins: TwinConfig = Field(
        default_factory=TwinConfig,
        description="Random-walk twins that the candidate is shown beside.",
    )

    @model_validator(mode="after")
    def _idle_cash_shows_no_skill(self) -> Self:
        earned, demanded = self.backtest.cash_rate_frac, self.significance.annual_risk_free_frac
        if earned > demanded:
            raise ConfigError(
                "idle cash earns more than the risk-free return",
                where="backtest.cash_rate_frac",
                expected=f"at most significance.annual_risk_free_frac, {demanded:g}",
                found=f"{earned:g}",
                remedy="lower the one or raise the other, or doing nothing looks like skill",
            )
        return self
