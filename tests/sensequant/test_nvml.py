"""NVIDIA's library through a stand-in with its functions: figures in our units, gaps as None."""

from collections.abc import Callable, Iterable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sensequant.devices import Device, DeviceReading
from sensequant.errors import ConfigError
from sensequant.nvml import Nvml, open_nvml

GIB = 2**30


class _NVMLError(Exception):
    pass


def fake_nvml(n_devices: int = 2, *, has_driver: bool = True, silent: Iterable[str] = ()) -> Any:
    """Return the functions of `pynvml` that are used, over a machine with some GPUs.

    `silent` names the functions that this product does not support. Handles are numbers.
    """

    def initialise() -> None:
        if not has_driver:
            message = "NVML Shared Library Not Found"
            raise _NVMLError(message)

    def refuse(*_: Any) -> Any:
        raise _NVMLError

    def handle_of(index: int) -> int:
        return 100 + index

    def name_of(_handle: int) -> str:
        return "Some GPU"

    def rates_of(handle: int) -> Any:
        return SimpleNamespace(gpu=handle - 63)

    def memory_of(_handle: int) -> Any:
        return SimpleNamespace(used=3 * GIB, total=80 * GIB)

    def temperature_of(_handle: int, sensor: int) -> int:
        return {7: 41}[sensor]

    fake = ModuleType("fake_nvml")
    functions: dict[str, Callable[..., Any]] = {
        "nvmlInit": initialise,
        "nvmlDeviceGetCount": lambda: n_devices,
        "nvmlDeviceGetHandleByIndex": handle_of,
        "nvmlDeviceGetUUID": "GPU-{}".format,
        "nvmlDeviceGetName": name_of,
        "nvmlDeviceGetUtilizationRates": rates_of,
        "nvmlDeviceGetMemoryInfo": memory_of,
        "nvmlDeviceGetTemperature": temperature_of,
    }
    vars(fake).update(
        functions | dict.fromkeys(silent, refuse),
        NVMLError=_NVMLError,
        NVML_TEMPERATURE_GPU=7,
    )
    return fake


def test_devices_are_those_of_the_library() -> None:
    """Number, UUID and product of each."""
    assert Nvml(fake_nvml()).devices() == [
        Device(index=0, uuid="GPU-100", name="Some GPU"),
        Device(index=1, uuid="GPU-101", name="Some GPU"),
    ]


def test_a_reading_is_in_our_units() -> None:
    """Per cent become a fraction, memory stays bytes, the chip's temperature degrees Celsius."""
    library = Nvml(fake_nvml())

    assert library.read(library.devices()[1]) == DeviceReading(
        utilisation_frac=0.38,
        memory_used_bytes=3 * GIB,
        memory_total_bytes=80 * GIB,
        temperature_celsius=41,
    )


def test_what_a_product_does_not_say_is_missing() -> None:
    """A figure that is not supported is None, and the others are there."""
    fake = fake_nvml(silent=["nvmlDeviceGetUtilizationRates", "nvmlDeviceGetTemperature"])
    library = Nvml(fake)

    reading = library.read(library.devices()[0])

    assert reading.utilisation_frac is None
    assert reading.temperature_celsius is None
    assert reading.memory_total_bytes == 80 * GIB


@pytest.mark.parametrize(
    ("fake", "said"),
    [(fake_nvml(has_driver=False), "Not Found"), (fake_nvml(0), "no device")],
)
def test_a_machine_without_gpus_is_said_so(fake: Any, said: str) -> None:
    """No driver, or none of its devices: an error that says what was found and what to do."""
    with pytest.raises(ConfigError, match=said) as caught:
        open_nvml(fake)

    assert caught.value.remedy


def test_the_library_is_opened_once() -> None:
    """The same process gets the same library."""
    fake = fake_nvml()

    assert open_nvml(fake) is open_nvml(fake)
