"""What the GPUs of a machine did while something ran: one line per device and moment.

Belongs here: taking samples, keeping them, and the table of them. Does not belong here: NVIDIA's
library (`nvml`), and drawing (`reports.gpu_chart`).

Samples are appended as they are taken, one JSON line each, so that a kill loses none of them; the
table is made from the lines.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from sensequant.devices import Device, DeviceLibrary
from sensequant.telemetry import Telemetry, read_events

__all__ = ["SAMPLE_SECONDS", "GpuSampler", "gpu_table"]

SAMPLE_SECONDS = 3.0
"""Time between two samples; a reading takes under a millisecond."""

_EVENT = "gpu_sample"
_SCHEMA = pl.Schema(
    {
        "at": pl.Datetime("us", "UTC"),
        "host": pl.String,
        "device_index": pl.Int64,
        "device_uuid": pl.String,
        "device_name": pl.String,
        "utilisation_frac": pl.Float64,
        "memory_used_bytes": pl.Int64,
        "memory_total_bytes": pl.Int64,
        "temperature_celsius": pl.Int64,
    }
)


class GpuSampler:
    """Samples all GPUs of this machine while its context is open.

    Parameters
    ----------
    path
        File of JSON lines to append to; its folder must exist.
    library
        Who knows the GPUs.
    run_id
        Stands in every line.
    now
        Clock that returns an aware UTC datetime.
    sample_seconds
        Time between two samples.
    """

    def __init__(
        self,
        path: Path,
        library: DeviceLibrary,
        *,
        run_id: str,
        now: Callable[[], datetime],
        sample_seconds: float = SAMPLE_SECONDS,
    ) -> None:
        self._lines = Telemetry(path, run_id=run_id, now=now)
        self._library = library
        self._devices = library.devices()
        self._seconds = sample_seconds
        self._host = socket.gethostname()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-samples", daemon=True)

    def __enter__(self) -> Self:
        """Take the first sample now, and go on in the background."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take a last sample and stop."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        # A full disk ends the samples; whatever else writes there says so.
        with contextlib.suppress(OSError):
            while True:
                for device in self._devices:
                    self._sample(device)
                if self._is_over.is_set():
                    return
                self._is_over.wait(self._seconds)

    def _sample(self, device: Device) -> None:
        self._lines.emit(
            _EVENT,
            host=self._host,
            device_index=device.index,
            device_uuid=device.uuid,
            device_name=device.name,
            **asdict(self._library.read(device)),
        )


def gpu_table(path: Path) -> pl.DataFrame:
    """Return the samples of a file of lines, one row each, by time, host and device.

    Returns
    -------
    DataFrame
        at (UTC), host, device_index, device_uuid, device_name, utilisation_frac,
        memory_used_bytes, memory_total_bytes, temperature_celsius; null where a product says
        nothing. A last line that was cut by a kill is left out; without a file there are no rows.
    """
    lines = list(read_events(path)) if path.exists() else []
    rows = [
        {**line, "at": datetime.fromisoformat(line["at"])}
        for line in lines
        if line["event"] == _EVENT
    ]
    return pl.DataFrame(rows, schema=_SCHEMA).sort("at", "host", "device_index")
