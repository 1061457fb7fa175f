"""The drawing of GPUs: one curve per device and panel, thinned, and whole without a style sheet."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from sensequant.gpu_samples import gpu_table
from sensequant.reports.gpu_chart import gpu_chart

NO_SAMPLES = gpu_table(Path("no such file"))
AT = datetime(2025, 1, 1, 3, 45, tzinfo=UTC)


def _samples(n_moments: int, n_devices: int = 2, *, is_busy_known: bool = True) -> pl.DataFrame:
    rows = [
        {
            "at": AT + timedelta(seconds=3 * moment),
            "host": "box",
            "device_index": device,
            "device_uuid": f"GPU-{device}",
            "device_name": "Some GPU",
            "utilisation_frac": 0.5 if is_busy_known else None,
            "memory_used_bytes": device * 2**30,
            "memory_total_bytes": 80 * 2**30,
            "temperature_celsius": 40,
        }
        for moment in range(n_moments)
        for device in range(n_devices)
    ]
    return pl.DataFrame(rows, schema=NO_SAMPLES.schema)


def _points(svg: str) -> list[int]:
    """Return the number of points of every curve, by its stroke of 1.2 points."""
    paths = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}path")  # noqa: S314 - our own
    curves = [path for path in paths if "stroke-width: 1.2" in path.get("style", "")]
    return [path.get("d", "").count("L") + 1 for path in curves if path.get("clip-path")]


def test_every_device_is_drawn_in_both_panels() -> None:
    """Two devices, two panels: four curves of five moments, named once, at the time of India."""
    svg = gpu_chart(_samples(5))

    assert len(_points(svg)) == 4
    assert "09:15:00" in svg
    for name in ("box GPU 0", "box GPU 1"):
        assert svg.count(f"<!-- {name} -->") == 1


def test_a_long_run_is_thinned() -> None:
    """Two hours are drawn with some hundred points, the same bytes each time."""
    svg = gpu_chart(_samples(2400, 1))

    assert max(_points(svg)) <= 401
    assert len(svg) < 200_000
    assert svg == gpu_chart(_samples(2400, 1))


def test_what_is_not_known_is_a_gap() -> None:
    """A product that does not say how busy it is leaves its panel empty; memory is there."""
    assert len([n for n in _points(gpu_chart(_samples(5, 1, is_busy_known=False))) if n > 1]) == 1


def test_no_samples_make_an_empty_drawing() -> None:
    """Nothing fails where nothing was sampled."""
    assert _points(gpu_chart(_samples(0))) == []
