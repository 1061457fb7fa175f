"""Whether a device is worth it: one fit of the size of a window, on the CPU and on the device.

Belongs here: measuring and comparing. Does not belong here: telling it, and choosing a device; the
settings choose, and the run says what the choice costs.

Small windows are faster on a CPU: a tree of a hundred rows takes less time than starting the
kernels that would grow it on a GPU.
"""

import time
from functools import cache

import numpy as np
from pydantic import Field

from sensequant.booster_config import BoosterConfig
from sensequant.booster_device import resolve_device
from sensequant.boosting import TrainingData, fit_predictor
from sensequant.records import Record

__all__ = ["MEASURED_ROUNDS", "DeviceTiming", "compare_with_cpu"]

MEASURED_ROUNDS = 50
"""Boosting rounds of a measured fit, at most; the times of both devices grow alike with them."""


class DeviceTiming(Record):
    """Time of the same fit on one thread of the CPU and on a device."""

    device: str
    n_rows: int = Field(ge=1)
    n_columns: int = Field(ge=1)
    n_rounds: int = Field(ge=1)
    cpu_seconds: float = Field(gt=0)
    device_seconds: float = Field(gt=0)

    @property
    def is_cpu_faster(self) -> bool:
        """Whether the CPU would have been faster."""
        return self.cpu_seconds < self.device_seconds

    @property
    def verdict(self) -> str:
        """Which of the two is faster, and by how much, in one sentence."""
        times = sorted((self.cpu_seconds, self.device_seconds))
        faster = "the CPU" if self.is_cpu_faster else f"device {self.device}"
        return (
            f"{faster} is {times[1] / times[0]:.1f} times as fast on a fit of {self.n_rows} rows "
            f"and {self.n_columns} columns: {self.cpu_seconds:.3f} s on one thread of the CPU, "
            f"{self.device_seconds:.3f} s on {self.device}"
        )


def compare_with_cpu(config: BoosterConfig, n_rows: int, n_columns: int) -> DeviceTiming | None:
    """Fit the same rows on the CPU and on the device of the settings, once per process.

    Parameters
    ----------
    config
        Settings of the fits; `MEASURED_ROUNDS` at most are made.
    n_rows
        Rows, those of a typical window.
    n_columns
        Features.

    Returns
    -------
    DeviceTiming or None
        The better of two fits on each; the first one on a GPU builds its kernels. None where the
        settings use the CPU.

    Raises
    ------
    ConfigError
        The device was asked for by name and this build or machine has it not.
    """
    return _compared(config.model_dump_json(), n_rows, n_columns)


@cache
def _compared(settings: str, n_rows: int, n_columns: int) -> DeviceTiming | None:
    config = BoosterConfig.model_validate_json(settings)
    device = resolve_device(config)
    if device == "cpu":
        return None
    on_cpu = config.model_copy(
        update={"device": "cpu", "gpu_platform_id": -1, "gpu_device_id": -1, "gpu_use_dp": True}
    )
    data = _noise(n_rows, n_columns)
    n_rounds = min(config.n_estimators, MEASURED_ROUNDS)
    return DeviceTiming(
        device=device,
        n_rows=n_rows,
        n_columns=n_columns,
        n_rounds=n_rounds,
        cpu_seconds=_fit_seconds(data, on_cpu, n_rounds),
        device_seconds=_fit_seconds(data, config, n_rounds),
    )


def _fit_seconds(data: TrainingData, config: BoosterConfig, n_rounds: int) -> float:
    times: list[float] = []
    for _ in range(2):
        started = time.perf_counter()
        fit_predictor(
            data, objective="binary", config=config, seed=1, n_threads=1, n_rounds=n_rounds
        )
        times.append(time.perf_counter() - started)
    return min(times)


def _noise(n_rows: int, n_columns: int) -> TrainingData:
    rng = np.random.default_rng(0)
    return TrainingData(
        features=rng.normal(size=(n_rows, n_columns)),
        targets=(np.arange(n_rows) % 2).astype(np.float64),
        columns=tuple(f"column_{i}" for i in range(n_columns)),
    )
