"""Settings of one gradient-boosted model.

Belongs here: the fields, their bounds, and the refusal of settings that would act on nothing. Does
not belong here: how they reach LightGBM (`boosting`), and which model uses which values.
"""

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sensequant.records import Config

__all__ = ["BoosterConfig", "Device"]

Device = Literal["auto", "cpu", "gpu", "cuda"]


class BoosterConfig(Config):
    """Settings of one gradient-boosted model; every one of them reaches the fitted booster."""

    num_leaves: int = Field(
        default=127, ge=2, le=1024, description="Leaves per tree, at most (count)."
    )
    max_depth: int = Field(
        default=9, ge=-1, le=20, description="Levels per tree, at most (count); -1 for no bound."
    )
    learning_rate: float = Field(
        default=0.01,
        ge=0.001,
        le=1,
        description="Share of each tree that is added to the model (fraction).",
    )
    n_estimators: int = Field(
        default=500, ge=10, le=5000, description="Boosting rounds, at most (count of trees)."
    )
    min_child_samples: int = Field(
        default=20, ge=1, le=1000, description="Rows per leaf, at least (count)."
    )
    subsample: float = Field(
        default=0.8,
        ge=0.1,
        le=1,
        description="Share of the rows that a tree is grown on (fraction).",
    )
    bagging_freq: int = Field(
        default=1,
        ge=0,
        le=100,
        description="Rounds after which the rows are drawn anew (count); 0 never.",
    )
    colsample_bytree: float = Field(
        default=0.8,
        ge=0.1,
        le=1,
        description="Share of the columns that a tree may use (fraction).",
    )
    reg_lambda: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="L2 penalty on leaf values (in units of the hessian).",
    )
    early_stopping_rounds: int = Field(
        default=50,
        ge=0,
        le=1000,
        description="Rounds without a better validation loss that end the fit (count); 0 for off.",
    )
    device: Device = Field(
        default="cpu",
        description="Where trees are grown (name); auto takes the first of cuda, gpu, cpu.",
    )
    gpu_platform_id: int = Field(
        default=-1,
        ge=-1,
        le=63,
        description="OpenCL platform (index); -1 for its default. Device gpu only.",
    )
    gpu_device_id: int = Field(
        default=-1, ge=-1, le=63, description="GPU within the platform (index); -1 for its default."
    )
    gpu_use_dp: bool = Field(
        default=True,
        description="Sum in double precision (yes or no); else a GPU agrees neither with a CPU nor "
        "with itself. Devices gpu and cuda only.",
    )

    @model_validator(mode="after")
    def _refuse_settings_without_effect(self) -> Self:
        if self.max_depth == 0:
            message = "max_depth 0 grows no tree; use -1 for no bound or at least 1"
            raise ValueError(message)
        if self.subsample < 1 and self.bagging_freq == 0:
            message = "subsample below 1 has no effect while bagging_freq is 0"
            raise ValueError(message)
        if self.subsample == 1 and self.bagging_freq > 1:
            message = "bagging_freq has no effect while subsample is 1"
            raise ValueError(message)
        for name in self._gpu_settings_without_effect():
            message = f"{name} has no effect on device {self.device}"
            raise ValueError(message)
        return self

    @property
    def smallest_training_part(self) -> int:
        """Rows below which no tree can make a single split (two full leaves after bagging)."""
        share = self.subsample if self.bagging_freq else 1.0
        return int(np.ceil(2 * self.min_child_samples / share))

    def _gpu_settings_without_effect(self) -> list[str]:
        acting: dict[Device, set[str]] = {
            "cpu": set(),
            "cuda": {"gpu_device_id", "gpu_use_dp"},
            "gpu": {"gpu_platform_id", "gpu_device_id", "gpu_use_dp"},
            "auto": {"gpu_platform_id", "gpu_device_id", "gpu_use_dp"},
        }
        changed = {
            "gpu_platform_id": self.gpu_platform_id != -1,
            "gpu_device_id": self.gpu_device_id != -1,
            "gpu_use_dp": not self.gpu_use_dp,
        }
        return [
            name for name, is_set in changed.items() if is_set and name not in acting[self.device]
        ]
