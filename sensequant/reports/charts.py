"""Charts as inline SVG, each in a wide and a narrow drawing, for pages that need no network.

Belongs here: how a frame of finished figures is drawn. Does not belong here: the figures
themselves; the only arithmetic is what puts curves on one scale (rebasing to 100, depth below the
previous high).

Conventions
-----------
- A chart is a string of two `<svg>` elements; the page's style sheet shows the one that fits
  (classes `chart-wide` and `chart-narrow`).
- Colours are CSS variables of the page (`--ink`, `--muted`, `--grid`, `--strategy`, `--benchmark`,
  `--hold`, `--band`), so that one drawing serves light and dark.
- Text stays text; its family is the page's. Equal frames give equal bytes.
- Missing values are gaps. A curve without any value is not drawn and not named.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from markupsafe import escape
from matplotlib import dates as mdates
from matplotlib.backends import backend_svg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from sensequant.errors import DataError
from sensequant.evaluation.figures import Figure as Estimate
from sensequant.reports.tables import count

__all__ = [
    "CURVES",
    "curves_of",
    "drawdown_chart",
    "equity_chart",
    "reliability_chart",
    "window_chart",
]

CURVES = {
    "strategy": "Strategy, net of costs",
    "benchmark": "NIFTY 50",
    "buy_and_hold": "Equal-weight buy-and-hold, net",
}
"""Columns of a frame of curves in the order in which they are drawn, and their usual names."""

# Stand-ins that matplotlib accepts as colours; each is replaced by the variable of the page.
_VARIABLES = {
    "#0a0b01": "var(--ink)",
    "#0a0b02": "var(--muted)",
    "#0a0b03": "var(--grid)",
    "#0a0b04": "var(--strategy)",
    "#0a0b05": "var(--benchmark)",
    "#0a0b06": "var(--hold)",
    "#0a0b07": "var(--band)",
}
_INK, _MUTED, _GRID, _STRATEGY, _BENCHMARK, _HOLD, _BAND = _VARIABLES
_CURVE_STYLES: dict[str, dict[str, Any]] = {
    "strategy": {"color": _STRATEGY, "linewidth": 1.8, "zorder": 4},
    "benchmark": {"color": _BENCHMARK, "linewidth": 1.3, "linestyle": (0, (5, 1.5)), "zorder": 3},
    "buy_and_hold": {"color": _HOLD, "linewidth": 1.3, "linestyle": (0, (1.5, 1.2)), "zorder": 2},
}

# The library's own types leave the keywords of nearly every call unknown: its objects are Any here.
_mpl: Any = mpl
_mdates: Any = mdates
_backend: Any = backend_svg
_Axes = Any

_ISO_DATE = len("2024-12-31")
_PIXELS_PER_INCH = 72
_WIDTHS = {"wide": 880, "narrow": 380}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "path.simplify": False,  # it would drop strokes without length, and curves are thinned here
    "text.parse_math": False,
    "font.size": 11,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "text.color": _INK,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
}
# Drawing reads matplotlib's global settings, so one chart is drawn at a time.
_drawing = Lock()


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


def equity_chart(curves: pl.DataFrame, *, names: Mapping[str, str] = CURVES) -> str:
    """Draw the growth of 100 for each curve.

    Parameters
    ----------
    curves
        session (Date) and columns of `CURVES` (Float64, any positive level, nullable), sorted.
        Each curve is 100 at the first session on which all drawn curves have a value.
    names
        What the legend calls each column.

    Raises
    ------
    DataError
        There is no such session.
    """
    drawn = _drawn(curves)
    rebased = _rebased(curves, drawn)

    def paint(axes: _Axes, *, wide: bool) -> None:
        axes.axhline(100, color=_MUTED, linewidth=0.8)
        _draw_curves(axes, rebased, {name: names[name] for name in drawn}, wide=wide)
        _finish_dates(axes, rebased, wide=wide)
        axes.set_ylabel("Value of 100 invested")
        _legend_above(axes, wide=wide)

    ends = ", ".join(f"{names[name]} {_last(rebased, name):.1f}" for name in drawn)
    first, last = _ends(rebased)
    words = f"Value of 100 from {first} to {last}; at the end: {ends}."
    return _svg("equity", ("Equity curves", words), height=340, paint=paint)


def drawdown_chart(curves: pl.DataFrame, *, names: Mapping[str, str] = CURVES) -> str:
    """Draw how far each curve of `equity_chart` stands below its previous high, in per cent."""
    drawn = _drawn(curves)
    depths = curves.select(
        "session", *[(pl.col(name) / pl.col(name).cum_max() - 1) * 100 for name in drawn]
    )

    def paint(axes: _Axes, *, wide: bool) -> None:
        area = _thinned(depths, drawn[0], wide=wide)
        axes.fill_between(_dates(area), _values(area, drawn[0]), color=_BAND, linewidth=0)
        _draw_curves(axes, depths, {name: names[name] for name in drawn}, wide=wide)
        _finish_dates(axes, depths, wide=wide)
        axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick))
        axes.set_ylabel("Below previous high")
        _legend_above(axes, wide=wide)

    worst = ", ".join(f"{names[name]} {_lowest(depths, name):.1f}%" for name in drawn)
    words = f"Depth below the previous high; deepest: {worst}."
    return _svg("drawdown", ("Drawdown", words), height=260, paint=paint)


def reliability_chart(bins: pl.DataFrame) -> str:
    """Draw how often the event happened against how likely the score said it was.

    Parameters
    ----------
    bins
        n (Int64), mean_score, positive_frac (Float64), one row per bin, as
        `sensequant.evaluation.measures.calibration_table` returns it.
    """
    scores, fractions = _values(bins, "mean_score"), _values(bins, "positive_frac")

    def paint(axes: _Axes, *, wide: bool) -> None:
        top = max(float(scores.max()), float(fractions.max()), 0.01) * 1.1
        bottom = min(float(scores.min()), float(fractions.min()))
        bottom = max(0.0, bottom - 0.3 * (top - bottom))
        axes.plot([bottom, top], [bottom, top], color=_MUTED, linewidth=1, label="Perfect")
        axes.plot(scores, fractions, color=_STRATEGY, marker="o", markersize=5, label="Scores")
        if wide:
            _label_counts(axes, bins, bottom=bottom)
        axes.set_xlim(bottom, top)
        axes.set_ylim(bottom, top)
        axes.set_xlabel("Mean score of the bin")
        axes.set_ylabel("Share of rows with label 1")
        axes.grid(visible=True)
        _legend_above(axes, wide=wide)

    words = f"Reliability of the scores in {bins.height} bins; the table below holds each bin."
    return _svg("reliability", ("Calibration", words), height=340, paint=paint)


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
    ends = pl.col("scored_window").str.tail(_ISO_DATE).str.to_date()
    known = windows.drop_nulls("auc").select(ends.alias("session"), "auc").sort("session", "auc")

    def paint(axes: _Axes, *, wide: bool) -> None:
        axes.axhline(0.5, color=_MUTED, linewidth=1)
        _draw_dots(axes, known, name="One window")
        _draw_band(axes, placebo, color=_BENCHMARK, name="Windows on shuffled labels")
        _draw_band(axes, pooled, color=_STRATEGY, name="All rows pooled")
        _finish_dates(axes, known, wide=wide)
        axes.set_ylabel("AUC (0.5 = coin)")
        _legend_above(axes, wide=wide)

    words = f"AUC of {known.height} windows by their last date; the line at 0.5 is chance."
    return _svg("windows", ("AUC per window", words), height=340, paint=paint)


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


def _dates(frame: pl.DataFrame) -> NDArray[np.float64]:
    return np.asarray(_mdates.date2num(frame["session"].to_numpy()), dtype=np.float64)


def _values(frame: pl.DataFrame, name: str) -> NDArray[np.float64]:
    # Null becomes NaN here, which matplotlib leaves out.
    return frame[name].cast(pl.Float64).to_numpy().astype(np.float64)


def _ends(frame: pl.DataFrame) -> tuple[str, str]:
    sessions = frame["session"]
    return str(sessions[0]), str(sessions[-1])


def _last(frame: pl.DataFrame, name: str) -> float:
    return float(frame[name].drop_nulls()[-1])


def _lowest(frame: pl.DataFrame, name: str) -> float:
    return float(_values(frame.drop_nulls(name), name).min())


def _draw_curves(axes: _Axes, frame: pl.DataFrame, names: Mapping[str, str], *, wide: bool) -> None:
    for column, name in names.items():
        points = _thinned(frame, column, wide=wide)
        style = dict(_CURVE_STYLES[column])
        if points.height < frame.height:
            style["linewidth"] *= 0.7
        axes.plot(_dates(points), _values(points, column), label=name, **style)


def _thinned(frame: pl.DataFrame, name: str, *, wide: bool) -> pl.DataFrame:
    # With more sessions than pixels, the lowest and the highest of each few pixels say it all.
    n_buckets = _WIDTHS["wide" if wide else "narrow"] // 3
    row, value = pl.int_range(pl.len()), pl.col(name)
    bucket = row * n_buckets // pl.len()
    is_extreme = (value == value.min().over(bucket)) | (value == value.max().over(bucket))
    is_inside_flat = (value == value.shift(1)) & (value == value.shift(-1))
    is_end = (row == 0) | (row == pl.len() - 1)
    return frame.filter(value.is_null() | is_end | (is_extreme & ~is_inside_flat))


def _draw_band(axes: _Axes, estimate: Estimate, *, color: str, name: str) -> None:
    if estimate.value is None:
        return
    label = f"{name} {estimate.value:.3f}"
    if estimate.lower is not None and estimate.upper is not None:
        label += f" [{estimate.lower:.3f}, {estimate.upper:.3f}]"
        axes.axhspan(estimate.lower, estimate.upper, color=color, alpha=0.2, linewidth=0, zorder=1)
    axes.axhline(estimate.value, color=color, linewidth=1.6, zorder=3, label=label)


def _draw_dots(axes: _Axes, windows: pl.DataFrame, *, name: str) -> None:
    # One path of zero-length strokes with round caps: a tenth of the bytes of one element per dot.
    dates, values = _dates(windows), _values(windows, "auc")
    gap = np.full_like(dates, np.nan)
    axes.plot(
        np.column_stack([dates, dates, gap]).ravel(),
        np.column_stack([values, values, gap]).ravel(),
        color=_INK,
        alpha=0.5,
        linewidth=4,
        solid_capstyle="round",
        zorder=2,
    )
    axes.plot([], [], color=_INK, alpha=0.5, marker="o", markersize=4, linewidth=0, label=name)


def _label_counts(axes: _Axes, bins: pl.DataFrame, *, bottom: float) -> None:
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
            color=_MUTED,
        )


def _finish_dates(axes: _Axes, frame: pl.DataFrame, *, wide: bool) -> None:
    locator = _mdates.AutoDateLocator(minticks=3 if wide else 2, maxticks=9 if wide else 5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(_mdates.AutoDateFormatter(locator))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(visible=True, axis="y")
    dates = _dates(frame)
    margin = max(2.0, 0.01 * float(np.ptp(dates)))
    axes.set_xlim(float(dates.min()) - margin, float(dates.max()) + margin)


def _legend_above(axes: _Axes, *, wide: bool) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4 if wide else 1,
        borderaxespad=0.2,
        handlelength=2.4,
        borderpad=0.2,
    )


def _percent_tick(value: float, _position: int | None) -> str:
    return f"{value:.0f}%".replace("-", "\u2212")


def _svg(name: str, words: tuple[str, str], *, height: int, paint: Callable[..., None]) -> str:
    drawings: list[str] = []
    with _drawing, _mpl.rc_context():
        # A reader's own matplotlibrc must not change the bytes.
        _mpl.rcdefaults()
        _mpl.rcParams.update(_STYLE)
        for size, width in _WIDTHS.items():
            key = f"{name}-{size}"
            _mpl.rcParams["svg.hashsalt"] = key
            raw = _draw(width, height, paint=paint, wide=size == "wide")
            drawings.append(_inline(raw, key=key, size=size, words=words))
    return "\n".join(drawings)


def _draw(width: int, height: int, *, paint: Callable[..., None], wide: bool) -> str:
    inches = (width / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH)
    figure = Figure(figsize=inches, layout="constrained")
    figure.patch.set_visible(False)
    axes: _Axes = figure.add_subplot()
    axes.patch.set_visible(False)
    paint(axes, wide=wide)
    buffer = io.StringIO()
    none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    _backend.FigureCanvasSVG(figure).print_svg(buffer, metadata=none)
    return buffer.getvalue()


def _inline(raw: str, *, key: str, size: str, words: tuple[str, str]) -> str:
    body = raw[raw.index("<svg") :]
    view_box = re.search(r'viewBox="([^"]*)"', body)
    inner = body[body.index(">") + 1 : body.rindex("</svg>")]
    title, text = (escape(part) for part in words)
    return (
        f'<svg class="chart chart-{size}" viewBox="{view_box[1] if view_box else ""}" role="img" '
        f'aria-labelledby="{key}-title {key}-desc"><title id="{key}-title">{title}</title>'
        f'<desc id="{key}-desc">{text}</desc>{_slim(inner)}</svg>'
    )


def _slim(inner: str) -> str:
    for stand_in, variable in _VARIABLES.items():
        inner = inner.replace(stand_in, variable)
    used = set(re.findall(r'(?:url\(#|xlink:href="#)([^")]+)', inner))
    inner = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", inner)
    inner = inner.replace("xlink:href=", "href=")
    # The style sheet and the fonts of the page hold inside it too.
    inner = re.sub(r"<style.*?</style>|<!--.*?-->", "", inner, flags=re.DOTALL)
    inner = re.sub(r"font-family: [^;\"]*; ", "", inner)
    inner = re.sub(r' transform="rotate\(-0 [^"]*"', "", inner)
    inner = re.sub(r"<[^>]*>", lambda match: _round_coordinates(match[0]), inner)
    inner = re.sub(r' d="[^"]*"', lambda match: _slim_path(match[0]), inner)
    return re.sub(r">\s+<", "><", inner).replace("<defs></defs>", "").replace("\n", " ")


def _round_coordinates(tag: str) -> str:
    # A tenth of a pixel is finer than any screen.
    return re.sub(r"-?\d+\.\d{2,}", lambda match: f"{float(match[0]):.1f}", tag)


def _slim_path(path: str) -> str:
    words = path.replace("\n", " ")
    # Points after the first of a straight path need no letter of their own.
    return words if "C" in words or "Q" in words else words.replace(" L ", " ")
