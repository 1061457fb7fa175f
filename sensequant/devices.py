"""What a process saw of the GPUs of its machine, for the record of each unit that it did.

Belongs here: which device an environment names, and what is written down of it. Does not belong
here: NVIDIA's library (`nvml`), samples over time (`gpu_samples`), and the device that LightGBM is
asked for (`booster_device`).

None of this may reach an artifact: it says where something was computed, not what.
"""

from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from sensequant.records import Record

__all__ = ["Device", "DeviceLibrary", "DeviceReading", "SeenDevice", "named_device", "see_device"]


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU of this machine.

    Attributes
    ----------
    index
        Number in the order of the PCI bus, from 0; that of `nvidia-smi`.
    uuid
        `GPU-` and a UUID; the same after a restart and in every process.
    name
        Product.
    """

    index: int
    uuid: str
    name: str


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """What one GPU does now; None where the product does not say.

    Attributes
    ----------
    utilisation_frac
        Share of the last moments in which something was computed, in [0, 1].
    memory_used_bytes, memory_total_bytes
        Memory of the device.
    temperature_celsius
        Of the chip.
    """

    utilisation_frac: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    temperature_celsius: int | None


class DeviceLibrary(Protocol):
    """Who knows the GPUs of this machine; NVIDIA's library, or a stand-in for it."""

    def devices(self) -> list[Device]:
        """Return the GPUs of the machine, whatever this process may use of them."""
        ...

    def read(self, device: Device) -> DeviceReading:
        """Return what a device does now."""
        ...


class SeenDevice(Record):
    """Where a unit of work was done, as seen from inside its process.

    `visible_devices` is what the environment lets the process use (CUDA_VISIBLE_DEVICES), null
    where it says nothing. `device_index` and `device_uuid` are what NVIDIA's library says of the
    first of them, null where there is no such library.
    """

    pool: str | None = None
    visible_devices: str | None = None
    device_index: int | None = Field(default=None, ge=0)
    device_uuid: str | None = None
    n_threads: int = Field(ge=1)


def see_device(
    library: DeviceLibrary | None, *, pool: str | None, visible: str | None, n_threads: int
) -> SeenDevice:
    """Return what this process sees.

    Parameters
    ----------
    library
        Who knows the GPUs; None where nobody does.
    pool
        Work pool that started the process; None for a process of its own.
    visible
        What the environment lets the process use: numbers or UUIDs, separated by commas.
    n_threads
        Threads of each fit.
    """
    device = None if library is None else named_device(library.devices(), visible)
    return SeenDevice(
        pool=pool,
        visible_devices=visible,
        device_index=None if device is None else device.index,
        device_uuid=None if device is None else device.uuid,
        n_threads=n_threads,
    )


def named_device(devices: list[Device], visible: str | None) -> Device | None:
    """Return the first device that CUDA would use.

    Parameters
    ----------
    devices
        All of the machine, in the order of the PCI bus.
    visible
        As in CUDA_VISIBLE_DEVICES, with CUDA_DEVICE_ORDER=PCI_BUS_ID: the first entry counts, a
        number or the beginning of a UUID. None: the first device of the machine.

    Returns
    -------
    Device or None
        None where the entry names no device; CUDA then sees none either.
    """
    if visible is None:
        return devices[0] if devices else None
    first = visible.split(",")[0].strip()
    if first.startswith("GPU-"):
        found = [device for device in devices if device.uuid.startswith(first)]
        return found[0] if len(found) == 1 else None
    return next((device for device in devices if str(device.index) == first), None)
