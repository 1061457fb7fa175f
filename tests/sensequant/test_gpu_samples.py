"""Samples of GPUs: written as they are taken, whole after a kill, and a table of all of them."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sensequant.devices import Device, DeviceReading
from sensequant.gpu_samples import GpuSampler, gpu_table
from sensequant.telemetry import Telemetry, read_events

AT = datetime(2025, 1, 1, tzinfo=UTC)


class TwoDevices:
    """Two GPUs, of which the second says nothing about its temperature."""

    def __init__(self) -> None:
        self.n_readings = 0

    def devices(self) -> list[Device]:
        """Return both."""
        return [Device(index=i, uuid=f"GPU-{i}", name="Some GPU") for i in range(2)]

    def read(self, device: Device) -> DeviceReading:
        """Count, and say how often this was asked."""
        self.n_readings += 1
        return DeviceReading(
            utilisation_frac=0.25 + device.index / 2,
            memory_used_bytes=self.n_readings,
            memory_total_bytes=100,
            temperature_celsius=None if device.index else 40,
        )


def _clock() -> Callable[[], datetime]:
    ticks = iter(range(10**6))
    return lambda: AT + timedelta(seconds=next(ticks))


def test_every_device_is_sampled_from_the_beginning_to_the_end(tmp_path: Path) -> None:
    """A first sample at once, a last one at the end, and in between one per interval."""
    path = tmp_path / "samples.jsonl"

    with GpuSampler(path, TwoDevices(), run_id="r", now=_clock(), sample_seconds=0.05):
        time.sleep(0.3)

    table = gpu_table(path)
    by_device = table.group_by("device_index").len().sort("device_index")
    assert by_device["device_index"].to_list() == [0, 1]
    assert by_device["len"].n_unique() == 1
    assert 3 <= by_device["len"][0] <= 9
    first = table.row(0, named=True)
    assert (first["at"], first["device_uuid"], first["utilisation_frac"]) == (AT, "GPU-0", 0.25)
    assert (
        table.filter(pl.col("device_index") == 1)["temperature_celsius"].to_list()
        == [None] * by_device["len"][1]
    )


def test_a_short_run_has_samples_too(tmp_path: Path) -> None:
    """What ends at once is sampled all the same, and the sampler does not delay its end."""
    path = tmp_path / "samples.jsonl"
    started = time.monotonic()

    with GpuSampler(path, TwoDevices(), run_id="r", now=_clock()):
        pass

    assert gpu_table(path).height in {2, 4}
    assert time.monotonic() - started < 2


def test_no_lines_make_an_empty_table(tmp_path: Path) -> None:
    """A run without GPUs wrote none; lines of other events are none of ours."""
    path = tmp_path / "samples.jsonl"
    assert gpu_table(path).height == 0

    Telemetry(path, run_id="r", now=_clock()).emit("something")
    assert gpu_table(path).height == 0
    assert gpu_table(path).schema["at"] == pl.Datetime("us", "UTC")


_SAMPLE_FOR_EVER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from sensequant.devices import Device, DeviceReading
from sensequant.gpu_samples import GpuSampler

class One:
    def devices(self):
        return [Device(index=0, uuid="GPU-0", name="Some GPU")]
    def read(self, device):
        return DeviceReading(0.5, 1, 2, 3)

def now():
    return datetime.now(UTC)

with GpuSampler(Path(sys.argv[1]), One(), run_id="r", now=now, sample_seconds=0.01):
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_kill_loses_nothing_that_was_sampled(tmp_path: Path) -> None:
    """After kill -9 every line is whole, and all of them are in the table."""
    path = tmp_path / "samples.jsonl"
    child = subprocess.Popen([sys.executable, "-c", _SAMPLE_FOR_EVER, str(path)])
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_text().count("\n") < 5:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=30)

    table = gpu_table(path)

    assert table.height == len(list(read_events(path))) == path.read_text().count("\n") >= 5
    assert table["utilisation_frac"].unique().to_list() == [0.5]


def test_a_full_disk_ends_the_samples_and_nothing_else(tmp_path: Path) -> None:
    """Where no line can be written the work goes on; a sample is not worth a run."""
    with GpuSampler(tmp_path / "no" / "folder", TwoDevices(), run_id="r", now=_clock()):
        done = True

    assert done
