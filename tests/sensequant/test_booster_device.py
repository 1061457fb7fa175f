"""A device is what the machine has; one that was asked for and is absent is an error."""

import json
import subprocess
import sys
from collections.abc import Generator
from typing import Any

import pytest

from sensequant import booster_device
from sensequant.booster_config import BoosterConfig
from sensequant.booster_device import resolve_device
from sensequant.errors import ConfigError


@pytest.fixture
def fresh_probes() -> Generator[None]:
    """Forget which devices were asked for, before and after."""
    booster_device._refusal_of.cache_clear()
    yield
    booster_device._refusal_of.cache_clear()


def test_the_cpu_is_never_asked() -> None:
    """The default device needs no probe."""
    assert resolve_device(BoosterConfig()) == "cpu"


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_probes")
def test_a_device_is_what_this_machine_really_has(capfd: pytest.CaptureFixture[str]) -> None:
    """A device works here, or is refused in LightGBM's own words; nothing is printed either way."""
    try:
        found, said = resolve_device(BoosterConfig(device="gpu")), ""
    except ConfigError as error:
        found, said = "", error.found

    assert found == "gpu" or said
    assert capfd.readouterr() == ("", "")


class _Probes:
    """Stands in for the child process: a device works if it is named here."""

    def __init__(self, *working: str, stderr: str = "", times_out: bool = False) -> None:
        self.working = working
        self.stderr = stderr
        self.times_out = times_out
        self.asked: list[dict[str, Any]] = []

    def __call__(self, command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        assert command[0] == sys.executable
        parameters = json.loads(command[-1])
        self.asked.append(parameters)
        if self.times_out:
            raise subprocess.TimeoutExpired(command, 1)
        code = 0 if parameters["device_type"] in self.working else 1
        is_named = min(parameters["gpu_platform_id"], parameters["gpu_device_id"]) >= 0
        said = "Using requested OpenCL platform" if is_named else ""
        return subprocess.CompletedProcess(command, code, stdout=said, stderr=self.stderr)


@pytest.mark.usefixtures("fresh_probes")
@pytest.mark.parametrize(
    ("working", "expected"),
    [(("cuda", "gpu"), "cuda"), (("gpu",), "gpu"), ((), "cpu")],
)
def test_auto_takes_the_first_that_works(
    working: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order: cuda, gpu, cpu; each is asked once."""
    probes = _Probes(*working)
    monkeypatch.setattr(subprocess, "run", probes)

    assert resolve_device(BoosterConfig(device="auto")) == expected
    assert resolve_device(BoosterConfig(device="auto")) == expected
    asked = [parameters["device_type"] for parameters in probes.asked]
    assert asked == ["cuda", "gpu"][: len(asked)]


@pytest.mark.usefixtures("fresh_probes")
@pytest.mark.parametrize(
    ("probes", "said"),
    [
        (_Probes(stderr="lightgbm.basic.LightGBMError: No OpenCL device found\n"), "No OpenCL"),
        (_Probes(stderr="segmentation fault"), "ended with code 1"),
        (_Probes(times_out=True), "no answer within"),
    ],
)
def test_a_device_asked_for_and_absent_is_an_error(
    probes: _Probes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a silent fall back to the CPU: the error says what the build said and what to do."""
    monkeypatch.setattr(subprocess, "run", probes)

    with pytest.raises(ConfigError, match=said) as caught:
        resolve_device(BoosterConfig(device="gpu", gpu_device_id=1, gpu_platform_id=2))

    assert caught.value.remedy
    assert (probes.asked[0]["gpu_device_id"], probes.asked[0]["gpu_platform_id"]) == (1, 2)


@pytest.mark.usefixtures("fresh_probes")
@pytest.mark.parametrize("named", [{"gpu_platform_id": 0}, {"gpu_device_id": 0}])
def test_an_opencl_device_is_named_by_both_numbers(
    named: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """LightGBM ignores one number without the other; such a device is not the one asked for."""
    monkeypatch.setattr(subprocess, "run", _Probes("gpu"))

    with pytest.raises(ConfigError, match="act together"):
        resolve_device(BoosterConfig.model_validate({"device": "gpu", **named}))

    assert resolve_device(BoosterConfig.model_validate({"device": "auto", **named})) == "cpu"
