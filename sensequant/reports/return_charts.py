"""Charts of returns in time and of what costs take of them, as inline SVG.

Belongs here: how finished figures are drawn. Does not belong here: the figures themselves
(`evaluation.returns_in_time`), curves of equity (`reports.charts`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from sensequant.reports.charts import CURVES, thinned
from sensequant.reports.drawing import (
    BENCHMARK,
    GRID,
    HOLD,
    INK,
    MUTED,
    STRATEGY,
    Axes,
    dates_of,
    draw_svg,
    finish_dates,
    legend_above,
    values_of,
)

__all__ = ["monthly_chart", "rolling_chart", "waterfall_chart"]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_COLOURS = {"strategy": STRATEGY, "benchmark": BENCHMARK, "buy_and_hold": HOLD}
_FULL_COLOUR = 0.8
_N_STRENGTHS = 8
_ROW_PIXELS = 30


def monthly_chart(months: pl.DataFrame) -> str:
    """Draw the return of each month as a cell, the stronger the further from zero.

    Parameters
    ----------
    months
        As `evaluation.returns_in_time.monthly_returns` returns it, at least one row.
    """
    years: list[int] = months["year"].unique().sort().to_list()
    largest = max(float(np.abs(values_of(months, "net_return")).max()), 1e-9)

    def paint(axes: Axes, *, wide: bool) -> None:
        # One path for each strength of colour: a tenth of the bytes of one for each cell.
        for strength, corners in _cells_by_strength(months, years, largest).items():
            path = Path.make_compound_path(*(_cell_at(corner) for corner in corners))
            colour = STRATEGY if strength > 0 else HOLD
            alpha = _FULL_COLOUR * abs(strength) / _N_STRENGTHS
            axes.add_patch(PathPatch(path, facecolor=colour, alpha=alpha, linewidth=0))
        if wide:
            _write_cells(axes, months, years)
        axes.set_xlim(0, 12)
        axes.set_ylim(len(years), 0)
        axes.set_xticks(np.arange(12) + 0.5, [name if wide else name[0] for name in _MONTHS])
        axes.set_yticks(np.arange(len(years)) + 0.5, [str(year) for year in years])
        axes.tick_params(length=0)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)

    best, worst = (months.sort("net_return")[row] for row in (-1, 0))
    words = (
        f"Net return of {months.height} months; best {_month(best)}, worst {_month(worst)}. "
        "Gains in the colour of the strategy, losses in that of buy-and-hold."
    )
    height = 40 + _ROW_PIXELS * len(years)
    return draw_svg("months", ("Return by month", words), height=height, paint=paint)


def rolling_chart(ratios: pl.DataFrame, *, names: Mapping[str, str] = CURVES) -> str:
    """Draw the Sharpe ratio of the year behind each session.

    Parameters
    ----------
    ratios
        session (Date) and columns of `CURVES` (Float64, nullable), sorted.
    names
        What the legend calls each column.
    """
    drawn = [name for name in CURVES if name in ratios.columns and ratios[name].count()]

    def paint(axes: Axes, *, wide: bool) -> None:
        axes.axhline(0, color=MUTED, linewidth=1)
        for name in drawn:
            style: dict[str, Any] = {"color": _COLOURS[name], "label": names[name]}
            points = thinned(ratios, name, wide=wide)
            axes.plot(dates_of(points), values_of(points, name), linewidth=1.3, **style)
        finish_dates(axes, ratios, wide=wide)
        axes.set_ylabel("Sharpe ratio of a year")
        legend_above(axes, wide=wide)

    ends = ", ".join(f"{names[name]} {ratios[name].drop_nulls()[-1]:.2f}" for name in drawn)
    words = f"Sharpe ratio of the year behind each session; at the end: {ends}."
    return draw_svg("rolling", ("Sharpe ratio in time", words), height=300, paint=paint)


def waterfall_chart(gross: float, items: Sequence[tuple[str, float]]) -> str:
    """Draw how costs turn the gain before them into the gain after them.

    Parameters
    ----------
    gross
        Gain before costs, in any unit; negative for a loss.
    items
        Name and amount (same unit, not negative) of each cost, in the order in which they are
        taken off.
    """
    taken = [(name, cost) for name, cost in items if cost > 0]
    levels = gross - np.cumsum([0.0, *(cost for _, cost in taken)])
    labels = ["Before costs", *(name for name, _ in taken), "After costs"]

    def paint(axes: Axes, *, wide: bool) -> None:
        rows = np.arange(len(labels))
        starts = np.concatenate([[0.0], levels[1:], [0.0]])
        widths = np.concatenate([[gross], [cost for _, cost in taken], [levels[-1]]])
        colours = [STRATEGY, *([HOLD] * len(taken)), STRATEGY]
        axes.barh(rows, widths, left=starts, color=colours, height=0.65)
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_yticks(rows, labels if wide else [_short(label) for label in labels])
        axes.invert_yaxis()
        axes.grid(visible=True, axis="x", color=GRID)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("Per cent of the capital")

    words = f"{gross:.1f} before costs, {levels[-1]:.1f} after them, in per cent of the capital."
    height = 60 + _ROW_PIXELS * len(labels)
    return draw_svg("waterfall", ("What costs take", words), height=height, paint=paint)


def _cells_by_strength(
    months: pl.DataFrame, years: list[int], largest: float
) -> dict[int, list[tuple[int, int]]]:
    cells: dict[int, list[tuple[int, int]]] = {}
    for year, month, value in months.select("year", "month", "net_return").iter_rows():
        strength = math.ceil(abs(value) / largest * _N_STRENGTHS)
        corner = (month - 1, years.index(year))
        cells.setdefault(strength if value >= 0 else -strength, []).append(corner)
    return cells


def _cell_at(corner: tuple[int, int]) -> Path:
    unit = np.array([(0.03, 0.04), (0.97, 0.04), (0.97, 0.96), (0.03, 0.96), (0.03, 0.04)])
    return Path(unit + np.array(corner), closed=True)


def _write_cells(axes: Axes, months: pl.DataFrame, years: list[int]) -> None:
    for year, month, value in months.select("year", "month", "net_return").iter_rows():
        text = f"{100 * value:.1f}".replace("-", "\u2212")
        place = (month - 0.5, years.index(year) + 0.5)
        axes.text(*place, text, ha="center", va="center", color=INK, fontsize=10)


def _month(row: pl.DataFrame) -> str:
    year, month, value = row.select("year", "month", "net_return").row(0)
    return f"{_MONTHS[month - 1]} {year} {100 * value:.1f}%"


def _short(label: str) -> str:
    return label.split(",", maxsplit=1)[0].split(maxsplit=1)[0]
