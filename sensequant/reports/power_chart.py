"""How often the verdict approves, by what an oracle would have earned, as one drawing.

Belongs here: the drawing. Does not belong here: the counts (`calibration.summary`).

The drawing stands alone, without a style sheet: it is shown as an image, on paper of its own.
"""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from sensequant.calibration.summary import Judged

__all__ = ["power_chart"]

_PERCENT = 100
_INK, _WALKS, _POWER = "#16191d", "#b3161b", "#0b57c4"

# The library's own types leave most keywords unknown.
_mpl: Any = mpl


def power_chart(walks: Judged, levels: Sequence[Judged]) -> str:
    """Draw the share of approvals with its interval for each planted edge, as SVG.

    Parameters
    ----------
    walks
        Worlds without anything to find; drawn apart, left of the edges.
    levels
        Worlds by what their edge is worth to an oracle.
    """
    with _mpl.rc_context({"svg.hashsalt": "sensequant", "svg.fonttype": "none"}):
        figure: Any = Figure(figsize=(8, 4.5), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        known = [level for level in levels if level.oracle_sharpe_asked is not None]
        places = [level.oracle_sharpe_asked for level in known]
        left = min([place for place in places if place is not None], default=0.0) - 1
        _draw(axes, [left], [walks], color=_WALKS, name="nothing to find")
        _draw(axes, places, known, color=_POWER, name="an edge")
        axes.axhline(80, color=_INK, linewidth=0.8, linestyle=":")
        axes.axhline(5, color=_INK, linewidth=0.8, linestyle=":")
        axes.set(
            ylim=(-3, _PERCENT + 3),
            ylabel="approved, % of worlds",
            xlabel="yearly net Sharpe ratio of an oracle that knows the edge",
        )
        axes.set_xticks([left, *places], ["no edge", *(f"{place:g}" for place in places)])
        axes.legend(loc="upper left", frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _draw(axes: Any, places: Sequence[Any], rows: Sequence[Judged], **style: str) -> None:
    drawn = [
        (place, row.approved)
        for place, row in zip(places, rows, strict=True)
        if row.approved.value is not None
    ]
    values = [_PERCENT * (each.value or 0.0) for _, each in drawn]
    below = [_PERCENT * ((each.value or 0.0) - (each.lower or 0.0)) for _, each in drawn]
    above = [_PERCENT * ((each.upper or 0.0) - (each.value or 0.0)) for _, each in drawn]
    axes.errorbar(
        [place for place, _ in drawn],
        values,
        yerr=[below, above],
        color=style["color"],
        marker="o",
        linewidth=1.4,
        capsize=4,
        label=style["name"],
    )
