"""NVIDIA's management library: the only module that knows it.

Belongs here: opening it, and its figures in our units. Does not belong here: what they are good for
(`devices`, `gpu_samples`).

The library knows all GPUs of the machine, also those that CUDA_VISIBLE_DEVICES hides from CUDA.
"""

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

import pynvml as untyped_pynvml

from sensequant.devices import Device, DeviceReading
from sensequant.errors import ConfigError

__all__ = ["Nvml", "open_nvml"]

_PERCENT = 100

# The package has no types.
_pynvml: Any = untyped_pynvml


class Nvml:
    """The GPUs of this machine, by NVIDIA's library.

    Parameters
    ----------
    library
        The module `pynvml`, initialised, or a stand-in for it.
    """

    def __init__(self, library: Any = _pynvml) -> None:
        self._library = library

    def devices(self) -> list[Device]:
        """Return the GPUs of the machine, in the order of the PCI bus; asked for once."""
        return list(self._devices)

    def read(self, device: Device) -> DeviceReading:
        """Return what a device does now; None for what its product does not say."""
        library = self._library
        handle = self._said(library.nvmlDeviceGetHandleByIndex, device.index)
        rates = self._said(library.nvmlDeviceGetUtilizationRates, handle)
        memory = self._said(library.nvmlDeviceGetMemoryInfo, handle)
        return DeviceReading(
            utilisation_frac=None if rates is None else rates.gpu / _PERCENT,
            memory_used_bytes=None if memory is None else int(memory.used),
            memory_total_bytes=None if memory is None else int(memory.total),
            temperature_celsius=self._said(
                library.nvmlDeviceGetTemperature, handle, library.NVML_TEMPERATURE_GPU
            ),
        )

    @cached_property
    def _devices(self) -> list[Device]:
        n_devices = int(self._library.nvmlDeviceGetCount())
        return [self._device(index) for index in range(n_devices)]

    def _device(self, index: int) -> Device:
        handle = self._library.nvmlDeviceGetHandleByIndex(index)
        return Device(
            index=index,
            uuid=str(self._library.nvmlDeviceGetUUID(handle)),
            name=str(self._library.nvmlDeviceGetName(handle)),
        )

    def _said(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return ask(*arguments)
        except self._library.NVMLError:
            # Not every product has every figure, and a device that fell off the bus has none.
            return None


@cache
def open_nvml(library: Any = _pynvml) -> Nvml:
    """Return NVIDIA's library, opened once for this process.

    Raises
    ------
    ConfigError
        The machine has no GPU of NVIDIA, or no driver for it.
    """
    try:
        library.nvmlInit()
        n_devices = int(library.nvmlDeviceGetCount())
    except library.NVMLError as error:
        raise _no_device(str(error)) from error
    if not n_devices:
        raise _no_device("no device")
    return Nvml(library)


def _no_device(found: str) -> ConfigError:
    return ConfigError(
        "no GPU of NVIDIA can be watched",
        expected="a driver with its management library (libnvidia-ml.so.1)",
        found=found,
        remedy="install the driver on a machine with a GPU; nothing else needs it",
    )
