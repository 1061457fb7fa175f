"""Charts about models: teachers, features, labels, rewards.

Belongs here: how finished figures are drawn. Does not belong here: the figures, and how a drawing
becomes SVG (`reports.drawing`). Windows that end on one day stand side by side, from the lowest to
the highest, so that each can be seen.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from sensequant.evaluation.figures import Figure as Estimate
from sensequant.reports.drawing import (
    BENCHMARK,
    HOLD,
    INK,
    MUTED,
    STRATEGY,
    Axes,
    dates_of,
    draw_band,
    draw_dots,
    draw_svg,
    finish_dates,
    legend_above,
    percent_tick,
    values_of,
)

__all__ = ["balance_chart", "importance_chart", "reward_chart", "teachers_chart", "win_rate_chart"]

_SPREAD = 0.6
"""Share of the time between two ends over which the windows of one end are spread."""

_LONGEST_NAME = 22
_ROW_PIXELS = 19
_FRAME_PIXELS = 70


def teachers_chart(teachers: pl.DataFrame, *, placebo: Estimate | None) -> str:
    """Draw the out-of-fold AUC of each teacher with its interval.

    Parameters
    ----------
    teachers
        session (last day of the window, Date), auc, auc_lower, auc_upper (Float64, bounds
        nullable); at least one row, auc without nulls.
    placebo
        AUC on shuffled labels with its range, if measured.
    """
    spread = _spread(teachers, "auc")

    def paint(axes: Axes, *, wide: bool) -> None:
        axes.axhline(0.5, color=MUTED, linewidth=1, label="Coin")
        _draw_intervals(axes, spread)
        draw_dots(axes, spread, "auc", name="One teacher")
        if placebo is not None:
            draw_band(axes, placebo, color=BENCHMARK, name="Shuffled labels")
        finish_dates(axes, spread, wide=wide)
        axes.set_ylabel("AUC, out of fold")
        legend_above(axes, wide=wide)

    words = f"Out-of-fold AUC of {teachers.height} teachers by the last day of their window."
    return draw_svg("teachers", ("AUC of the teachers", words), height=320, paint=paint)


def importance_chart(features: pl.DataFrame, column: str, *, name: str, as_percent: bool) -> str:
    """Draw one bar per feature, in the order of the rows.

    Parameters
    ----------
    features
        feature (String) and the column (Float64, without nulls); at least one row.
    column
        Figure to draw.
    name
        What the axis calls it.
    as_percent
        Whether the figure is a fraction that is shown in per cent.
    """
    names = [_short(each) for each in features["feature"]]
    values = values_of(features, column) * (100 if as_percent else 1)
    places = np.arange(len(names))

    def paint(axes: Axes, *, wide: bool) -> None:
        axes.barh(places, values, color=STRATEGY, height=0.65)
        axes.set_yticks(places, names, fontsize=10 if wide else 9)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.xaxis.set_major_locator(MaxNLocator(6 if wide else 4))
        if as_percent:
            axes.xaxis.set_major_formatter(FuncFormatter(percent_tick))
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=True, axis="x")
        axes.set_xlabel(name)

    words = f"{name} of {features.height} features; the table below holds every feature."
    height = _FRAME_PIXELS + _ROW_PIXELS * len(names)
    return draw_svg(f"importance-{column}", (name, words), height=height, paint=paint)


def balance_chart(windows: pl.DataFrame, *, share: float) -> str:
    """Draw the share of label 1 of each window beside that of all rows.

    Parameters
    ----------
    windows
        session (last day of the window, Date), positive_percent (Float64, without nulls); at least
        one row.
    share
        Share of label 1 among all rows, in [0, 1].
    """
    spread = _spread(windows, "positive_percent")

    def paint(axes: Axes, *, wide: bool) -> None:
        axes.axhline(100 * share, color=STRATEGY, linewidth=1.6, label="All rows")
        draw_dots(axes, spread, "positive_percent", name="One window")
        finish_dates(axes, spread, wide=wide)
        axes.set_ylim(0, min(100.0, float(values_of(spread, "positive_percent").max()) * 1.15 + 1))
        axes.yaxis.set_major_formatter(FuncFormatter(percent_tick))
        axes.set_ylabel("Share of label 1")
        legend_above(axes, wide=wide)

    words = f"Share of label 1 in {windows.height} windows by their last day."
    return draw_svg("balance", ("Label balance", words), height=260, paint=paint)


def reward_chart(trend: pl.DataFrame) -> str:
    """Draw the mean reward of all decisions by the last day of the scored windows.

    Parameters
    ----------
    trend
        session (Date), mean_reward (Float64, nullable), in time order; at least one value.
    """
    rewards = trend.select("session", value=100 * pl.col("mean_reward"))

    def paint(axes: Axes, *, wide: bool) -> None:
        axes.axhline(0, color=MUTED, linewidth=1)
        _draw_trend(axes, rewards, color=STRATEGY, name="Mean reward of a decision")
        finish_dates(axes, rewards, wide=wide)
        axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick_of(2)))
        axes.set_ylabel("Mean reward")
        legend_above(axes, wide=wide)

    words = f"Mean reward of the decisions of {trend.height} rounds of windows; 0 gains nothing."
    return draw_svg("rewards", ("Mean reward", words), height=260, paint=paint)


def win_rate_chart(trend: pl.DataFrame) -> str:
    """Draw the share of decisions that won, on the same axis of time as `reward_chart`.

    Parameters
    ----------
    trend
        session (Date), win_rate (Float64, nullable), in time order; at least one value.
    """
    rates = trend.select("session", value=100 * pl.col("win_rate"))

    def paint(axes: Axes, *, wide: bool) -> None:
        axes.axhline(50, color=MUTED, linewidth=1)
        _draw_trend(axes, rates, color=HOLD, name="Decisions that won")
        finish_dates(axes, rates, wide=wide)
        axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick_of(1)))
        axes.set_ylabel("Win rate")
        legend_above(axes, wide=wide)

    words = f"Share of rewarded decisions that won, in {trend.height} rounds of windows."
    return draw_svg("wins", ("Win rate", words), height=220, paint=paint)


def _spread(windows: pl.DataFrame, column: str) -> pl.DataFrame:
    ordered = windows.sort("session", column)
    ends = windows["session"].unique().sort().diff().drop_nulls().dt.total_hours()
    least = int(ends.to_numpy().min()) if len(ends) else 0
    place = (pl.int_range(pl.len()) - (pl.len() - 1) / 2) / pl.len()
    hours = (place.over("session") * _SPREAD * least).round().cast(pl.Int64)
    moved = pl.col("session").cast(pl.Datetime("us")) + pl.duration(hours=hours)
    return ordered.with_columns(session=moved)


def _draw_intervals(axes: Axes, teachers: pl.DataFrame) -> None:
    known = teachers.drop_nulls(["auc_lower", "auc_upper"])
    if known.is_empty():
        return
    dates = dates_of(known)
    # One path for all, as with dots.
    axes.plot(
        _with_gaps(dates, dates),
        _with_gaps(values_of(known, "auc_lower"), values_of(known, "auc_upper")),
        color=INK,
        alpha=0.25,
        linewidth=1,
        zorder=1,
        label="Its interval",
    )


def _with_gaps(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([first, second, np.full_like(first, np.nan)]).ravel()


def _draw_trend(axes: Axes, frame: pl.DataFrame, *, color: str, name: str) -> None:
    known = frame.drop_nulls("value")
    axes.plot(
        dates_of(known),
        values_of(known, "value"),
        color=color,
        marker="o",
        markersize=4,
        linewidth=1.4,
        label=name,
    )


def _percent_tick_of(places: int) -> Callable[[float, int | None], str]:
    return lambda value, _position: f"{value:.{places}f}%".replace("-", "\u2212")


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}\u2026"
