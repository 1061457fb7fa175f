"""Charts of a nested search.

Belongs here: how trials, steps and the surface over two parameters are drawn. Does not belong here:
any figure but the order of importance of parameters, which the page itself names.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from sensequant.evaluation.optimisation import StepReport
from sensequant.evaluation.search_space import Parameter
from sensequant.reports.drawing import (
    BENCHMARK,
    HOLD,
    INK,
    MUTED,
    STRATEGY,
    Axes,
    draw_svg,
    legend_above,
    values_of,
)

__all__ = ["distance_chart", "history_chart", "surface_chart"]

_Floats = NDArray[np.float64]
_N_LEVELS = 6
_FEWEST_FOR_SURFACE = 6
_SHADE = 0.13


def history_chart(trials: pl.DataFrame, *, objective: str) -> str:
    """Draw what every trial earned before its step, and the best so far.

    Parameters
    ----------
    trials
        step, trial, value, as `evaluation.optimisation.trials_schema` says.
    objective
        Name of the value.
    """
    last = trials["step"].max()

    def paint(axes: Axes, *, wide: bool) -> None:
        known = trials.drop_nulls("value")
        earlier = known.filter(pl.col("step") < last)
        _dots(axes, earlier, color=MUTED, alpha=0.35, name="Trials of earlier steps")
        _dots(axes, known.filter(pl.col("step") == last), color=INK, alpha=0.7, name="Last step")
        for step in known["step"].unique().sort():
            rows = known.filter(pl.col("step") == step).sort("trial")
            style = {"color": STRATEGY, "linewidth": 2.0} if step == last else _FAINT
            label = "Best so far, last step" if step == last else None
            best = np.maximum.accumulate(values_of(rows, "value"))
            axes.step(values_of(rows, "trial"), best, where="post", label=label, **style)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlabel("Trial; 0 are the settings as given")
        axes.set_ylabel(f"{objective}, in sample")
        axes.grid(visible=True, axis="y")
        legend_above(axes, wide=wide)

    words = f"{trials.height} trials by number; value in sample and best so far."
    return draw_svg("history", ("Trial history", words), height=320, paint=paint)


def distance_chart(steps: Sequence[StepReport], *, objective: str) -> str:
    """Draw for each step what the settings taken earned before it and in it, beside the default."""
    places = np.arange(len(steps), dtype=np.float64)
    inside, later, default = (
        np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        for values in (
            [step.in_sample for step in steps],
            [step.out_of_sample for step in steps],
            [step.out_of_sample_default for step in steps],
        )
    )

    def paint(axes: Axes, *, wide: bool) -> None:
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.vlines(places, later, inside, color=MUTED, linewidth=1.2, zorder=1)
        style: dict[str, Any] = {"linewidth": 0, "markersize": 7, "zorder": 3}
        axes.plot(places, inside, color=STRATEGY, marker="o", label="Before the step", **style)
        axes.plot(places, later, color=BENCHMARK, marker="s", label="In the step", **style)
        axes.plot(places, default, color=HOLD, marker="x", label="Default in the step", **style)
        axes.set_xticks(places)
        axes.set_xticklabels([f"{step.last_session:%y-%m}" for step in steps], rotation=90)
        axes.set_xlabel("Last session of the step (year-month)")
        axes.set_ylabel(objective)
        axes.grid(visible=True, axis="y")
        legend_above(axes, wide=wide)

    words = f"In-sample and out-of-sample {objective} of {len(steps)} steps; the table holds each."
    return draw_svg("distance", ("In sample against out of sample", words), height=340, paint=paint)


def surface_chart(
    trials: pl.DataFrame, pair: tuple[Parameter, Parameter], *, objective: str
) -> str:
    """Draw the value of the trials of one step over two parameters, the stronger the higher.

    Parameters
    ----------
    trials
        Trials of one step that have a value; a column for each of the two parameters.
    pair
        Across and upward.
    objective
        Name of the value.
    """
    x, y = (_positions(trials, parameter) for parameter in pair)
    value = values_of(trials, "value")

    def paint(axes: Axes, *, wide: bool) -> None:
        _shade(axes, x, y, value)
        span = float(np.ptp(value)) or 1.0
        alpha = 0.25 + 0.75 * (value - value.min()) / span
        axes.scatter(x, y, s=26, color=INK, alpha=alpha, linewidths=0, zorder=3, label="Trial")
        for name, mark, color, rows in (
            ("As given", "x", HOLD, trials["trial"].to_numpy() == 0),
            ("Taken", "o", STRATEGY, trials["is_chosen"].to_numpy()),
        ):
            axes.plot(
                x[rows],
                y[rows],
                marker=mark,
                color=color,
                markersize=11,
                markerfacecolor="none",
                markeredgewidth=2,
                linewidth=0,
                zorder=4,
                label=name,
            )
        for axis, parameter, label in (
            (axes.xaxis, pair[0], axes.set_xlabel),
            (axes.yaxis, pair[1], axes.set_ylabel),
        ):
            _tick(axis, parameter)
            label(parameter.name)
        legend_above(axes, wide=wide)

    words = (
        f"{objective} in sample of {trials.height} trials over {pair[0].name} and {pair[1].name}; "
        "stronger is higher."
    )
    return draw_svg("surface", ("Surface of the search", words), height=380, paint=paint)


_FAINT: dict[str, Any] = {"color": MUTED, "linewidth": 0.8, "alpha": 0.6}


def _dots(axes: Axes, frame: pl.DataFrame, *, color: str, alpha: float, name: str) -> None:
    axes.scatter(
        values_of(frame, "trial"),
        values_of(frame, "value"),
        s=12,
        color=color,
        alpha=alpha,
        linewidths=0,
        label=name,
    )


def _positions(trials: pl.DataFrame, parameter: Parameter) -> _Floats:
    if parameter.choices:
        codes = {name: place for place, name in enumerate(parameter.choices)}
        return np.array([codes[value] for value in trials[parameter.name]], dtype=np.float64)
    values = values_of(trials, parameter.name)
    return np.log10(values) if parameter.is_log else values


def _shade(axes: Axes, x: _Floats, y: _Floats, value: _Floats) -> None:
    few = min(np.unique(x).size, np.unique(y).size, np.unique(value).size)
    if few < _FEWEST_FOR_SURFACE or np.linalg.matrix_rank(np.cov(x, y)) < 2:  # noqa: PLR2004
        return
    low, high = float(value.min()), float(value.max())
    # One shade over the other, so that one hue serves light and dark.
    for level in np.linspace(low, high, _N_LEVELS, endpoint=False)[1:]:
        axes.tricontourf(
            x, y, value, levels=[level, high + 1], colors=[STRATEGY], alpha=_SHADE, zorder=1
        )


def _tick(axis: Any, parameter: Parameter) -> None:
    if parameter.choices:
        axis.set_ticks(range(len(parameter.choices)), labels=list(parameter.choices))
        return
    axis.set_major_locator(MaxNLocator(6))

    def text(place: float, _position: int | None) -> str:
        return f"{10**place if parameter.is_log else place:.3g}"

    axis.set_major_formatter(FuncFormatter(text))
