"""Charts of what the statistical tests rest on, as inline SVG.

Belongs here: how recorded draws and recorded power are drawn. Does not belong here: the tests that
record them (`evaluation.inference`, `evaluation.power`).
"""

import numpy as np
from matplotlib.ticker import FuncFormatter

from sensequant.evaluation.hypotheses import Draws
from sensequant.reports.drawing import (
    BAND,
    BENCHMARK,
    MUTED,
    STRATEGY,
    Axes,
    draw_svg,
    legend_above,
    percent_tick,
)
from sensequant.reports.tables import count

__all__ = ["draws_chart", "power_chart"]

_PER_CENT = 100


def draws_chart(draws: Draws, *, observed: float, alternative: str) -> str:
    """Draw what chance alone would have made of an estimate, beside what it was.

    Parameters
    ----------
    draws
        Spread of the bootstrapped estimates, as fractions per year. Moved so that their middle, the
        observed estimate, stands at zero, they are those of a world in which there is nothing.
    observed
        The estimate, as a fraction per year.
    alternative
        What the test calls the other hypothesis.
    """
    counts = np.asarray(draws.counts, dtype=np.float64)
    edges = np.linspace(draws.lower, draws.upper, counts.size + 1)
    null = _PER_CENT * (edges - observed)
    at = _PER_CENT * observed
    n_draws = int(counts.sum())

    def paint(axes: Axes, *, wide: bool) -> None:
        shares = _PER_CENT * counts / n_draws
        axes.stairs(shares, null, fill=True, color=BAND, label="Draws without any excess")
        axes.stairs(shares, null, color=MUTED, linewidth=0.8)
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.axvline(at, color=STRATEGY, linewidth=2, label=f"Observed {percent_text(at)}")
        axes.xaxis.set_major_formatter(FuncFormatter(percent_tick))
        axes.yaxis.set_major_formatter(FuncFormatter(percent_tick))
        axes.set_xlabel("Mean net return over the benchmark, per year")
        axes.set_ylabel("Share of draws")
        axes.grid(visible=True, axis="y")
        legend_above(axes, wide=wide)

    words = (
        f"{count(n_draws)} bootstrap draws moved to a mean of zero, from {percent_text(null[0])} "
        f"to {percent_text(null[-1])}; observed {percent_text(at)}. Alternative: {alternative}."
    )
    return draw_svg("chance", ("What chance alone would make", words), height=280, paint=paint)


def power_chart(
    curve: tuple[tuple[float, float], ...], *, detectable: float, power: float, alpha: float
) -> str:
    """Draw how likely these data were to show a true Sharpe ratio.

    Parameters
    ----------
    curve
        Annual Sharpe ratio and power, ascending.
    detectable
        Least annual Sharpe ratio that reaches `power`.
    power
        Power that is asked, in (0, 1).
    alpha
        Level of the one-sided test, in (0, 1).
    """
    sizes, powers = np.asarray(curve, dtype=np.float64).T

    def paint(axes: Axes, *, wide: bool) -> None:
        axes.plot(sizes, _PER_CENT * powers, color=STRATEGY, linewidth=1.8, label="Power")
        axes.axhline(
            _PER_CENT * alpha,
            color=MUTED,
            linewidth=1,
            linestyle=(0, (1.5, 1.2)),
            label=f"Without any edge, {_PER_CENT * alpha:.0f}%",
        )
        axes.plot(
            [detectable, detectable, 0],
            [0, _PER_CENT * power, _PER_CENT * power],
            color=BENCHMARK,
            linewidth=1.3,
            linestyle=(0, (5, 1.5)),
            label=f"{_PER_CENT * power:.0f}% at {detectable:.2f}",
        )
        axes.set_xlim(0, sizes[-1])
        axes.set_ylim(0, 102)
        axes.yaxis.set_major_formatter(FuncFormatter(percent_tick))
        axes.set_xlabel("True Sharpe ratio of a year")
        axes.set_ylabel("Shown with this probability")
        axes.grid(visible=True)
        legend_above(axes, wide=wide)

    words = (
        f"Power against the true annual Sharpe ratio, from 0 to {sizes[-1]:.1f}; {power:.0%} at "
        f"{detectable:.2f}."
    )
    return draw_svg("power", ("What these data could have shown", words), height=300, paint=paint)


def percent_text(value: float) -> str:
    """Return a number of per cent with one decimal."""
    return f"{value:.1f}%".replace("-", "\u2212")
