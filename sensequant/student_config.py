"""Settings of a student: its targets, its model, its calibration and where it falls silent.

Belongs here: the fields, their bounds, and the refusal of settings that would act on nothing. Does
not belong here: what they do (`student`, `student_model`, `student_calibration`,
`student_novelty`).
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from sensequant.booster_config import BoosterConfig
from sensequant.records import Config

__all__ = ["StudentConfig", "StudentKind"]

StudentKind = Literal["boosted", "logistic"]

_DEFAULT_TEMPERATURE = 2.0
_ONLY_BOOSTED = (
    "num_leaves",
    "learning_rate",
    "n_estimators",
    "min_child_samples",
    "subsample",
    "colsample_bytree",
    "reg_lambda",
)
_ONLY_LOGISTIC = ("l2_penalty",)
_SMALLEST_LOGISTIC_PART = 10
"""Rows below which a regression is not tried; the penalty makes any number solvable."""


class StudentConfig(Config):
    """How teachers' rows become a student."""

    kind: StudentKind = Field(
        default="boosted",
        description="Model of the student (name): boosted for few small trees, logistic for a "
        "logistic regression on standardised inputs.",
    )
    scope: Literal["universe", "symbol"] = Field(
        default="universe",
        description="Whose rows the deployed student learns from (name): universe for those of all "
        "symbols, symbol for those of its own.",
    )
    temperature: float = Field(
        default=_DEFAULT_TEMPERATURE,
        ge=0.5,
        le=10,
        description="Divisor of the teacher's log-odds (ratio); above 1 softens them.",
    )
    alpha: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Weight of the teacher against the hard label (fraction).",
    )
    num_leaves: int = Field(
        default=7, ge=2, le=64, description="Leaves per tree, at most (count). Kind boosted only."
    )
    learning_rate: float = Field(
        default=0.05,
        ge=0.001,
        le=1,
        description="Share of each tree that is added (fraction). Kind boosted only.",
    )
    n_estimators: int = Field(
        default=60,
        ge=10,
        le=1000,
        description="Boosting rounds (count of trees). Kind boosted only.",
    )
    min_child_samples: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Rows per leaf, at least (count). Kind boosted only.",
    )
    subsample: float = Field(
        default=0.8,
        ge=0.1,
        le=1,
        description="Share of the rows that a tree is grown on (fraction). Kind boosted only.",
    )
    colsample_bytree: float = Field(
        default=0.8,
        ge=0.1,
        le=1,
        description="Share of the columns that a tree may use (fraction). Kind boosted only.",
    )
    reg_lambda: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="L2 penalty on leaf values (in units of the hessian). Kind boosted only.",
    )
    l2_penalty: float = Field(
        default=10.0,
        ge=0.001,
        le=1_000_000,
        description="Half of it times the squared coefficients is added to the summed loss (in "
        "nats per squared unit). Kind logistic only.",
    )
    calibration: Literal["platt", "none"] = Field(
        default="platt",
        description="How a score becomes a probability of label 1 (name): platt for a logistic "
        "curve through cross-fitted scores, none for no probability.",
    )
    calibration_folds: int = Field(
        default=5,
        ge=2,
        le=20,
        description="Purged blocks in time that cross-fit the scores of the calibration (count).",
    )
    novelty_limit: float = Field(
        default=3.0,
        ge=1,
        le=100,
        description="Distance from the training rows above which a row is not scored (multiples of "
        "their own 99th percentile).",
    )
    valid_days: int = Field(
        default=200,
        ge=1,
        le=3650,
        description="Calendar days after the last label that was learnt from on which the student "
        "may still score (count).",
    )

    @model_validator(mode="after")
    def _refuse_settings_without_effect(self) -> Self:
        if self.alpha == 0 and self.temperature != _DEFAULT_TEMPERATURE:
            message = "temperature has no effect while alpha is 0"
            raise ValueError(message)
        for name in self._changed(_ONLY_LOGISTIC if self.kind == "boosted" else _ONLY_BOOSTED):
            message = f"{name} has no effect on kind {self.kind}"
            raise ValueError(message)
        if self.calibration == "none" and self._changed(("calibration_folds",)):
            message = "calibration_folds has no effect while calibration is none"
            raise ValueError(message)
        return self

    @property
    def smallest_training_part(self) -> int:
        """Rows below which the model cannot learn anything."""
        if self.kind == "logistic":
            return _SMALLEST_LOGISTIC_PART
        return self.booster().smallest_training_part

    def without_teacher(self) -> Self:
        """Return the same settings with hard labels only: what distillation is compared with."""
        return self.model_copy(update={"alpha": 0.0, "temperature": _DEFAULT_TEMPERATURE})

    def uncalibrated(self) -> Self:
        """Return the same settings without calibration, for a student that only ranks."""
        folds = type(self).model_fields["calibration_folds"].default
        return self.model_copy(update={"calibration": "none", "calibration_folds": folds})

    def booster(self) -> BoosterConfig:
        """Return the settings of the booster; a student is grown on the CPU, without early stop."""
        return BoosterConfig(
            num_leaves=self.num_leaves,
            max_depth=-1,
            learning_rate=self.learning_rate,
            n_estimators=self.n_estimators,
            min_child_samples=self.min_child_samples,
            subsample=self.subsample,
            colsample_bytree=self.colsample_bytree,
            reg_lambda=self.reg_lambda,
            early_stopping_rounds=0,
        )

    def _changed(self, names: tuple[str, ...]) -> list[str]:
        fields = type(self).model_fields
        return [name for name in names if getattr(self, name) != fields[name].default]
