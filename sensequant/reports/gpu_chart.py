"""What the GPUs of a run did, as one drawing for the run's page in Prefect.

Belongs here: the drawing. Does not belong here: the samples (`sensequant.gpu_samples`).

The drawing stands alone, without a style sheet: it is shown as an image. Times are those of India.
"""

import io
from typing import Any

import matplotlib as mpl
import polars as pl
from matplotlib import dates as mdates
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["gpu_chart"]

_N_POINTS = 400
_PERCENT = 100
_GIB = 2**30

# The library's own types leave most keywords unknown.
_mpl: Any = mpl
_mdates: Any = mdates


def gpu_chart(samples: pl.DataFrame) -> str:
    """Draw utilisation and memory of each device over time, as SVG.

    Parameters
    ----------
    samples
        As `gpu_samples.gpu_table` returns them; may be empty. More than 400 samples of a device
        are averaged over equal spans of time.
    """
    thinned = _thinned(samples)
    with _mpl.rc_context({"svg.hashsalt": "sensequant"}):
        figure: Any = Figure(figsize=(9, 4.5), layout="constrained")
        FigureCanvasSVG(figure)
        upper, lower = figure.subplots(2, 1, sharex=True)
        for (host, index), one in thinned.group_by("host", "device_index", maintain_order=True):
            name = f"{host} GPU {index}"
            upper.plot(one["at"], one["utilisation_frac"] * _PERCENT, label=name, linewidth=1.2)
            lower.plot(one["at"], one["memory_used_bytes"] / _GIB, label=name, linewidth=1.2)
        # An idle GPU must not hide behind the axis.
        upper.set(ylabel="busy, %", ylim=(-3, _PERCENT + 3))
        lower.set(ylabel="memory, GiB")
        lower.set_ylim(bottom=0)
        lower.xaxis.set_major_formatter(_mdates.DateFormatter("%H:%M:%S", tz="Asia/Kolkata"))
        if not thinned.is_empty():
            upper.legend(loc="upper right", fontsize="small")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _thinned(samples: pl.DataFrame) -> pl.DataFrame:
    since = pl.col("at") - pl.col("at").min()
    slot = since.dt.total_microseconds() * _N_POINTS // (since.max().dt.total_microseconds() + 1)
    return (
        samples.with_columns(slot.alias("slot"))
        .group_by("host", "device_index", "slot")
        .agg(pl.col("at").min(), pl.col("utilisation_frac", "memory_used_bytes").mean())
        .sort("host", "device_index", "slot")
    )
