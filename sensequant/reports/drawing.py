"""How a chart becomes inline SVG for a page that needs no network.

Belongs here: colours, sizes, axes of dates, legends, and the two drawings of each chart. Does not
belong here: what a chart shows (`reports.charts`, `reports.model_charts`).

Conventions
-----------
- A chart is a string of two `<svg>` elements, a wide and a narrow drawing; the page's style sheet
  shows the one that fits (classes `chart-wide` and `chart-narrow`).
- Colours are CSS variables of the page (`--ink`, `--muted`, `--grid`, `--strategy`, `--benchmark`,
  `--hold`, `--band`), so that one drawing serves light and dark.
- Text stays text; its family is the page's. Equal frames give equal bytes.
"""

import io
import re
from collections.abc import Callable
from threading import Lock
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from markupsafe import escape
from matplotlib import dates as mdates
from matplotlib.backends import backend_svg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sensequant.evaluation.figures import Figure as Estimate

__all__ = [
    "BAND",
    "BENCHMARK",
    "GRID",
    "HOLD",
    "INK",
    "MUTED",
    "STRATEGY",
    "WIDTHS",
    "Axes",
    "dates_of",
    "draw_band",
    "draw_dots",
    "draw_svg",
    "finish_dates",
    "last_day",
    "legend_above",
    "percent_tick",
    "values_of",
]

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
INK, MUTED, GRID, STRATEGY, BENCHMARK, HOLD, BAND = _VARIABLES
"""Colours, each a variable of the page."""

# The library's own types leave the keywords of nearly every call unknown: its objects are Any here.
_mpl: Any = mpl
_mdates: Any = mdates
_backend: Any = backend_svg
Axes = Any
"""A drawing area of matplotlib."""

_ISO_DATE = len("2024-12-31")
_PIXELS_PER_INCH = 72
WIDTHS = {"wide": 880, "narrow": 380}
"""Width of each drawing in pixels."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "path.simplify": False,  # it would drop strokes without length, and curves are thinned here
    "text.parse_math": False,
    "font.size": 11,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.labelcolor": INK,
}
# Drawing reads matplotlib's global settings, so one chart is drawn at a time.
_drawing = Lock()


def dates_of(frame: pl.DataFrame) -> NDArray[np.float64]:
    """Return the column `session` as days that axes understand, shape (n,)."""
    return np.asarray(_mdates.date2num(frame["session"].to_numpy()), dtype=np.float64)


def values_of(frame: pl.DataFrame, name: str) -> NDArray[np.float64]:
    """Return a column as floats, shape (n,); null becomes NaN, which is left out of drawings."""
    return frame[name].cast(pl.Float64).to_numpy().astype(np.float64)


def draw_band(axes: Axes, estimate: Estimate, *, color: str, name: str) -> None:
    """Draw a figure as a line with its interval as a band; what is missing is not drawn."""
    if estimate.value is None:
        return
    label = f"{name} {estimate.value:.3f}"
    if estimate.lower is not None and estimate.upper is not None:
        label += f" [{estimate.lower:.3f}, {estimate.upper:.3f}]"
        axes.axhspan(estimate.lower, estimate.upper, color=color, alpha=0.2, linewidth=0, zorder=1)
    axes.axhline(estimate.value, color=color, linewidth=1.6, zorder=3, label=label)


def draw_dots(axes: Axes, frame: pl.DataFrame, column: str, *, name: str) -> None:
    """Draw one dot per row at its `session`."""
    # One path of zero-length strokes with round caps: a tenth of the bytes of one element per dot.
    dates, values = dates_of(frame), values_of(frame, column)
    gap = np.full_like(dates, np.nan)
    axes.plot(
        np.column_stack([dates, dates, gap]).ravel(),
        np.column_stack([values, values, gap]).ravel(),
        color=INK,
        alpha=0.5,
        linewidth=4,
        solid_capstyle="round",
        zorder=2,
    )
    axes.plot([], [], color=INK, alpha=0.5, marker="o", markersize=4, linewidth=0, label=name)


def finish_dates(axes: Axes, frame: pl.DataFrame, *, wide: bool) -> None:
    """Set both axes of a chart over the column `session` of a frame with rows."""
    locator = _mdates.AutoDateLocator(minticks=3 if wide else 2, maxticks=9 if wide else 5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(_mdates.AutoDateFormatter(locator))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(visible=True, axis="y")
    dates = dates_of(frame)
    margin = max(2.0, 0.01 * float(np.ptp(dates)))
    axes.set_xlim(float(dates.min()) - margin, float(dates.max()) + margin)


def last_day(label: str) -> pl.Expr:
    """Return the last day of windows from a column with their labels, which end in it."""
    return pl.col(label).str.tail(_ISO_DATE).str.to_date()


def legend_above(axes: Axes, *, wide: bool) -> None:
    """Put the legend above the axes, where it hides nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4 if wide else 1,
        borderaxespad=0.2,
        handlelength=2.4,
        borderpad=0.2,
    )


def percent_tick(value: float, _position: int | None) -> str:
    """Return a number of per cent as the text of a tick."""
    return f"{value:.0f}%".replace("-", "\u2212")


def draw_svg(name: str, words: tuple[str, str], *, height: int, paint: Callable[..., None]) -> str:
    """Return the two drawings of a chart.

    Parameters
    ----------
    name
        Key of the chart, unique on its page.
    words
        Title and description for readers who do not see it.
    height
        In pixels.
    paint
        Called as `paint(axes, wide=...)` for each drawing.
    """
    drawings: list[str] = []
    with _drawing, _mpl.rc_context():
        # A reader's own matplotlibrc must not change the bytes.
        _mpl.rcdefaults()
        _mpl.rcParams.update(_STYLE)
        for size, width in WIDTHS.items():
            key = f"{name}-{size}"
            _mpl.rcParams["svg.hashsalt"] = key
            raw = _draw(width, height, paint=paint, wide=size == "wide")
            drawings.append(_inline(raw, key=key, size=size, words=words))
    return "\n".join(drawings)


def _draw(width: int, height: int, *, paint: Callable[..., None], wide: bool) -> str:
    inches = (width / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH)
    figure = Figure(figsize=inches, layout="constrained")
    figure.patch.set_visible(False)
    axes: Axes = figure.add_subplot()
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
