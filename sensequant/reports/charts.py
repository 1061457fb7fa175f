"""Charts as inline SVG, each in a wide and a narrow drawing, for pages that need no network.

Belongs here: how a frame of finished figures is drawn. Does not belong here: the figures
themselves; the only arithmetic is what puts curves on one scale (rebasing to 100, depth below the
previous high).

Missing values are gaps. A curve without any value is not drawn and not named. How a drawing becomes
SVG: `reports.drawing`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.ticker import FuncFormatter

from sensequant.errors import DataError
from sensequant.evaluation.figures import Figure as Estimate
from sensequant.reports.drawing import (
    BAND,
    BENCHMARK,
    HOLD,
    MUTED,
    STRATEGY,
    WIDTHS,
    Axes,
    dates_of,
    draw_band,
    draw_dots,
    draw_svg,
    finish_dates,
    last_day,
    legend_above,
    percent_tick,
    values_of,
)
from sensequant.reports.tables import count

__all__ = [
    "CURVES",
    "curves_of",
    "drawdown_chart",
    "equity_chart",
    "reliability_chart",
    "thinned",
    "window_chart",
]

CURVES = {
    "strategy": "Strategy, net of costs",
    "benchmark": "NIFTY 50",
    "buy_and_hold": "Equal-weight buy-and-hold, net",
}
"""Columns of a frame of curves in the order in which they are drawn, and their usual names."""

_CURVE_STYLES: dict[str, dict[str, Any]] = {
    "strategy": {"color": STRATEGY, "linewidth": 1.8, "zorder": 4},
    "benchmark": {"color": BENCHMARK, "linewidth": 1.3, "linestyle": (0, (5, 1.5)), "zorder": 3},
    "buy_and_hold": {"color": HOLD, "linewidth": 1.3, "linestyle": (0, (1.5, 1.2)), "zorder": 2},
}


def curves_of(
    equity: pl.DataFrame,
    *,
    capital_inr: float,
    benchmark: pl.DataFrame | None,
    hold: pl.DataFrame | None,
) -> pl.DataFrame:
    """Return the frame that the charts of curves take, from a backtest's tables.

    Parameters
    ----------
    equity
        session, equity (INR after the close), one row per session; not empty.
    capital_inr
        Equity before the first session.
    benchmark
        session, close (INR), also of the session before the first where there is one.
    hold
        Like `equity`, of the same capital, for equal-weight buy-and-hold.

    Returns
    -------
    polars.DataFrame
        session and the columns of `CURVES` that were given. The first row is the state before the
        first session, dated by the benchmark's session before it, else by the calendar day before.
    """
    first = pl.lit(equity["session"].min())
    earlier = None if benchmark is None else benchmark.filter(pl.col("session") < first)
    base = (
        equity.select(first.dt.offset_by("-1d").alias("session")).head(1)
        if earlier is None or earlier.is_empty()
        else earlier.select(pl.col("session").max())
    )
    sessions = pl.concat([base, equity.select("session")])
    curves = sessions
    for name, frame in (("strategy", equity), ("buy_and_hold", hold)):
        if frame is not None:
            levels = frame.select("session", pl.col("equity").alias(name))
            start = base.with_columns(pl.lit(capital_inr).alias(name))
            curves = curves.join(pl.concat([start, levels]), on="session", how="left")
    if benchmark is not None:
        closes = benchmark.select("session", benchmark=pl.col("close"))
        curves = curves.join(closes, on="session", how="left")
    return curves.sort("session")


def equity_chart(
    curves: pl.DataFrame, *, names: Mapping[str, str] = CURVES, key: str = "equity"
) -> str:
    """Draw the growth of 100 for each curve.

    Parameters
    ----------
    curves
        session (Date) and columns of `CURVES` (Float64, any positive level, nullable), sorted.
        Each curve is 100 at the first session on which all drawn curves have a value.
    names
        What the legend calls each column.
    key
        Unique on the page.

    Raises
    ------
    DataError
        There is no such session.
    """
    drawn = _drawn(curves)
    rebased = _rebased(curves, drawn)

    def paint(axes: Axes, *, wide: bool) -> None:
        axes.axhline(100, color=MUTED, linewidth=0.8)
        _draw_curves(axes, rebased, {name: names[name] for name in drawn}, wide=wide)
        finish_dates(axes, rebased, wide=wide)
        axes.set_ylabel("Value of 100 invested")
        legend_above(axes, wide=wide)

    ends = ", ".join(f"{names[name]} {_last(rebased, name):.1f}" for name in drawn)
    first, last = _ends(rebased)
    words = f"Value of 100 from {first} to {last}; at the end: {ends}."
    return draw_svg(key, ("Equity curves", words), height=340, paint=paint)


def drawdown_chart(
    curves: pl.DataFrame, *, names: Mapping[str, str] = CURVES, key: str = "drawdown"
) -> str:
    """Draw how far each curve of `equity_chart` stands below its previous high, in per cent."""
    drawn = _drawn(curves)
    depths = curves.select(
        "session", *[(pl.col(name) / pl.col(name).cum_max() - 1) * 100 for name in drawn]
    )

    def paint(axes: Axes, *, wide: bool) -> None:
        area = thinned(depths, drawn[0], wide=wide)
        axes.fill_between(dates_of(area), values_of(area, drawn[0]), color=BAND, linewidth=0)
        _draw_curves(axes, depths, {name: names[name] for name in drawn}, wide=wide)
        finish_dates(axes, depths, wide=wide)
        axes.yaxis.set_major_formatter(FuncFormatter(percent_tick))
        axes.set_ylabel("Below previous high")
        legend_above(axes, wide=wide)

    worst = ", ".join(f"{names[name]} {_lowest(depths, name):.1f}%" for name in drawn)
    words = f"Depth below the previous high; deepest: {worst}."
    return draw_svg(key, ("Drawdown", words), height=260, paint=paint)


def reliability_chart(bins: pl.DataFrame, *, calibrated: pl.DataFrame | None = None) -> str:
    """Draw how often the event happened against how likely the score said it was.

    Parameters
    ----------
    bins
        n (Int64), mean_score, positive_frac (Float64), one row per bin, as
        `sensequant.evaluation.measures.calibration_table` returns it.
    calibrated
        The same of the calibrated probabilities, or None without calibration.
    """
    shown = bins if calibrated is None else pl.concat([bins, calibrated], how="diagonal")
    values = np.concatenate([values_of(shown, name) for name in ("mean_score", "positive_frac")])

    def paint(axes: Axes, *, wide: bool) -> None:
        top = max(float(values.max()), 0.01) * 1.1
        bottom = float(values.min())
        bottom = max(0.0, bottom - 0.3 * (top - bottom))
        axes.plot([bottom, top], [bottom, top], color=MUTED, linewidth=1, label="Perfect")
        _draw_bins(axes, bins, color=STRATEGY, marker="o", name="Scores")
        if calibrated is not None:
            _draw_bins(axes, calibrated, color=BENCHMARK, marker="s", name="Calibrated")
        # Counts of two sets of bins would stand on each other.
        if wide and calibrated is None:
            _label_counts(axes, bins, bottom=bottom)
        axes.set_xlim(bottom, top)
        axes.set_ylim(bottom, top)
        axes.set_xlabel("Mean score of the bin")
        axes.set_ylabel("Share of rows with label 1")
        axes.grid(visible=True)
        legend_above(axes, wide=wide)

    words = f"Reliability of the scores in {bins.height} bins"
    if calibrated is not None:
        words += f" and of the calibrated probabilities in {calibrated.height}"
    words += "; the table below holds each bin."
    return draw_svg("reliability", ("Calibration", words), height=340, paint=paint)


def window_chart(windows: pl.DataFrame, *, pooled: Estimate, placebo: Estimate) -> str:
    """Draw the AUC of each scored window beside the pooled figure and the placebo.

    Parameters
    ----------
    windows
        scored_window (String that ends in the window's last date), auc (Float64, nullable).
    pooled, placebo
        AUC over all rows with its interval; mean AUC of the windows on shuffled labels with its
        range. A line without band where there are no bounds, nothing where there is no value.
    """
    ends = last_day("scored_window").alias("session")
    known = windows.drop_nulls("auc").select(ends, "auc").sort("session", "auc")

    def paint(axes: Axes, *, wide: bool) -> None:
        axes.axhline(0.5, color=MUTED, linewidth=1)
        draw_dots(axes, known, "auc", name="One window")
        draw_band(axes, placebo, color=BENCHMARK, name="Windows on shuffled labels")
        draw_band(axes, pooled, color=STRATEGY, name="All rows pooled")
        finish_dates(axes, known, wide=wide)
        axes.set_ylabel("AUC (0.5 = coin)")
        legend_above(axes, wide=wide)

    words = f"AUC of {known.height} windows by their last date; the line at 0.5 is chance."
    return draw_svg("windows", ("AUC per window", words), height=340, paint=paint)


def _drawn(curves: pl.DataFrame) -> list[str]:
    return [
        name
        for name in CURVES
        if name in curves.columns and curves[name].null_count() < len(curves)
    ]


def _rebased(curves: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    common = curves.drop_nulls(names)
    if common.is_empty():
        raise DataError(
            "curves have no session in common",
            where=", ".join(names),
            expected="one session on which every curve has a value",
            found=f"{curves.height} sessions, none complete",
        )
    return curves.select("session", *[pl.col(n) / common[n][0] * 100 for n in names])


def _ends(frame: pl.DataFrame) -> tuple[str, str]:
    sessions = frame["session"]
    return str(sessions[0]), str(sessions[-1])


def _last(frame: pl.DataFrame, name: str) -> float:
    return float(frame[name].drop_nulls()[-1])


def _lowest(frame: pl.DataFrame, name: str) -> float:
    return float(values_of(frame.drop_nulls(name), name).min())


def _draw_curves(axes: Axes, frame: pl.DataFrame, names: Mapping[str, str], *, wide: bool) -> None:
    for column, name in names.items():
        points = thinned(frame, column, wide=wide)
        style = dict(_CURVE_STYLES[column])
        if points.height < frame.height:
            style["linewidth"] *= 0.7
        axes.plot(dates_of(points), values_of(points, column), label=name, **style)


def thinned(frame: pl.DataFrame, name: str, *, wide: bool) -> pl.DataFrame:
    """Return the rows of a curve that a drawing needs: each few pixels' lowest and highest."""
    # With more sessions than pixels, the lowest and the highest of each few pixels say it all.
    n_buckets = WIDTHS["wide" if wide else "narrow"] // 3
    row, value = pl.int_range(pl.len()), pl.col(name)
    bucket = row * n_buckets // pl.len()
    is_extreme = (value == value.min().over(bucket)) | (value == value.max().over(bucket))
    is_inside_flat = (value == value.shift(1)) & (value == value.shift(-1))
    is_end = (row == 0) | (row == pl.len() - 1)
    return frame.filter(value.is_null() | is_end | (is_extreme & ~is_inside_flat))


def _draw_bins(axes: Axes, bins: pl.DataFrame, *, color: str, marker: str, name: str) -> None:
    scores, fractions = values_of(bins, "mean_score"), values_of(bins, "positive_frac")
    axes.plot(scores, fractions, color=color, marker=marker, markersize=5, label=name)


def _label_counts(axes: Axes, bins: pl.DataFrame, *, bottom: float) -> None:
    for score, number in bins.select("mean_score", "n").iter_rows():
        axes.annotate(
            f"n {count(number)}",
            (score, bottom),
            xytext=(0, 4),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=9,
            color=MUTED,
        )
