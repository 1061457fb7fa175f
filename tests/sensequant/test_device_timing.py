"""Which device is faster is measured, told in words, and asked once per process."""

from collections.abc import Generator
from typing import Any

import pytest

from sensequant import device_timing
from sensequant.booster_config import BoosterConfig
from sensequant.boosting import fit_predictor
from sensequant.device_timing import DeviceTiming, compare_with_cpu

TIMING = DeviceTiming(
    device="cuda", n_rows=120, n_columns=40, n_rounds=50, cpu_seconds=0.02, device_seconds=0.5
)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Generator[list[BoosterConfig]]:
    """Return the settings of all fits of a machine whose GPU is a CPU."""
    seen: list[BoosterConfig] = []

    def fit(data: Any, *, config: BoosterConfig, n_rounds: int, **others: Any) -> Any:
        seen.append(config)
        assert n_rounds == 12
        on_cpu = BoosterConfig(num_leaves=config.num_leaves)
        return fit_predictor(data, config=on_cpu, n_rounds=n_rounds, **others)

    monkeypatch.setattr(device_timing, "fit_predictor", fit)

    def device_of(config: BoosterConfig) -> str:
        return config.device

    monkeypatch.setattr(device_timing, "resolve_device", device_of)
    device_timing._compared.cache_clear()
    yield seen
    device_timing._compared.cache_clear()


def test_both_devices_fit_the_same_and_once_per_process(fits: list[BoosterConfig]) -> None:
    """Twice each, with the very settings that are asked about but for the device."""
    config = BoosterConfig(
        device="gpu", gpu_platform_id=0, gpu_device_id=0, num_leaves=9, n_estimators=12
    )

    timing = compare_with_cpu(config, 60, 5)

    assert timing is not None
    assert (timing.device, timing.n_rows, timing.n_columns, timing.n_rounds) == ("gpu", 60, 5, 12)
    assert timing.cpu_seconds > 0
    assert timing.device_seconds > 0
    assert [each.device for each in fits] == ["cpu", "cpu", "gpu", "gpu"]
    assert {each.num_leaves for each in fits} == {9}
    assert fits[-1] == config
    assert compare_with_cpu(config, 60, 5) is timing


def test_on_the_cpu_there_is_nothing_to_compare(fits: list[BoosterConfig]) -> None:
    """No fit is made."""
    assert compare_with_cpu(BoosterConfig(), 60, 5) is None
    assert fits == []


def test_the_verdict_says_it_plainly() -> None:
    """Which is faster, how many times, and both figures."""
    assert TIMING.is_cpu_faster
    assert TIMING.verdict.startswith("the CPU is 25.0 times as fast on a fit of 120 rows")
    assert "0.020 s on one thread of the CPU, 0.500 s on cuda" in TIMING.verdict
    other = TIMING.model_copy(update={"cpu_seconds": 5.0})
    assert not other.is_cpu_faster
    assert other.verdict.startswith("device cuda is 10.0 times as fast")
