"""Which GPU an environment names, and what is written down of it."""

import pytest

from sensequant.devices import Device, DeviceReading, SeenDevice, named_device, see_device

DEVICES = [
    Device(index=0, uuid="GPU-aaaa-1", name="A"),
    Device(index=1, uuid="GPU-aaaa-2", name="A"),
    Device(index=10, uuid="GPU-bbbb-3", name="B"),
]


class _Library:
    def devices(self) -> list[Device]:
        return DEVICES

    def read(self, device: Device) -> DeviceReading:
        raise AssertionError(device)


@pytest.mark.parametrize(
    ("visible", "index"),
    [
        (None, 0),
        ("0", 0),
        ("1", 1),
        ("1,0", 1),
        (" 10 , 1", 10),
        ("GPU-bbbb", 10),
        ("GPU-aaaa-2", 1),
        ("GPU-aaaa", None),
        ("GPU-cccc", None),
        ("2", None),
        ("-1", None),
        ("", None),
        ("NoDevFiles", None),
        ("MIG-GPU-aaaa-1/1/0", None),
    ],
)
def test_the_first_entry_names_the_device(visible: str | None, index: int | None) -> None:
    """A number, or an unambiguous beginning of a UUID; what names no device gives none."""
    found = named_device(DEVICES, visible)

    assert (None if found is None else found.index) == index


def test_what_is_seen_is_what_the_library_says_of_the_named_device() -> None:
    """Pool and threads are those of the caller, index and uuid those of the library."""
    seen = see_device(_Library(), pool="gpu-1", visible="1", n_threads=2)

    assert seen == SeenDevice(
        pool="gpu-1", visible_devices="1", device_index=1, device_uuid="GPU-aaaa-2", n_threads=2
    )


def test_without_a_library_only_the_environment_is_known() -> None:
    """Index and uuid are missing then, not guessed from the environment."""
    seen = see_device(None, pool="gpu-0", visible="0", n_threads=1)

    assert (seen.visible_devices, seen.device_index, seen.device_uuid) == ("0", None, None)


def test_a_machine_without_devices_names_none() -> None:
    """Nothing is visible where nothing is."""
    assert named_device([], None) is None
