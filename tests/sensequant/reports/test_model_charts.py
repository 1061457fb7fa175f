"""What charts about models draw, and that their bytes depend on the frames alone."""

import re
from datetime import date
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest

from sensequant.evaluation.figures import Figure
from sensequant.reports.model_charts import (
    balance_chart,
    importance_chart,
    reward_chart,
    teachers_chart,
    win_rate_chart,
)

ENDS = [date(2022, 6, 30), date(2022, 12, 27), date(2023, 6, 30)]


def teachers(n_each: int = 4) -> pl.DataFrame:
    auc = np.random.default_rng(1).normal(0.56, 0.05, 3 * n_each)
    return pl.DataFrame(
        {
            "session": ENDS * n_each,
            "auc": auc,
            "auc_lower": [None, *(auc[1:] - 0.1)],
            "auc_upper": [None, *(auc[1:] + 0.1)],
        }
    )


def features(n: int = 3) -> pl.DataFrame:
    return pl.DataFrame(
        {"feature": [f"f<{number}>" for number in range(n)], "gain_share": [0.5, 0.3, -0.1][:n]}
    )


def trend() -> pl.DataFrame:
    return pl.DataFrame(
        {"session": ENDS, "mean_reward": [0.002, None, -0.001], "win_rate": [0.55, None, 0.5]}
    )


def balance() -> pl.DataFrame:
    return pl.DataFrame({"session": ENDS, "positive_percent": [30.0, 45.0, 0.0]})


PLACEBO = Figure(value=0.55, lower=0.5, upper=0.6, n=9, unit="probability")
CHARTS = {
    "teachers": lambda: teachers_chart(teachers(), placebo=PLACEBO),
    "importance": lambda: importance_chart(features(), "gain_share", name="Share", as_percent=True),
    "balance": lambda: balance_chart(balance(), share=0.3),
    "rewards": lambda: reward_chart(trend()),
    "wins": lambda: win_rate_chart(trend()),
}


def strokes(chart: str) -> list[int]:
    """Return how many separate strokes each path of a chart has, most first."""
    paths = re.findall(r' d="([^"]*)"', chart)
    return sorted((path.count("M") for path in paths), reverse=True)


@pytest.mark.parametrize("name", CHARTS)
def test_chart_is_self_contained_and_repeatable(name: str) -> None:
    """Well-formed, named, described, in the page's colours, and the same bytes every time."""
    chart = CHARTS[name]()
    drawings = list(ET.fromstring(f"<div>{chart}</div>"))  # noqa: S314
    ids = re.findall(r'\bid="([^"]*)"', chart)

    assert chart == CHARTS[name]()
    assert [d.get("class") for d in drawings] == ["chart chart-wide", "chart chart-narrow"]
    assert all([part.tag for part in list(d)[:2]] == ["title", "desc"] for d in drawings)
    assert len(ids) == len(set(ids))
    for word in ("http", "<script", "<style", "font-family", "#0", "#f", "nan ", "f<"):
        assert word not in chart


def test_every_teacher_is_a_dot_and_known_intervals_are_lines() -> None:
    """Twelve dots and eleven intervals in each drawing; the one without bounds has none."""
    assert strokes(CHARTS["teachers"]())[:4] == [12, 12, 11, 11]


def test_teachers_without_intervals_are_dots_only() -> None:
    """A legend for what is not drawn would mislead."""
    missing = pl.lit(None, dtype=pl.Float64)
    chart = teachers_chart(
        teachers().with_columns(auc_lower=missing, auc_upper=missing), placebo=None
    )

    assert "interval" not in chart
    assert "Shuffled" not in chart


@pytest.mark.parametrize("n_ends", [1, 2])
def test_few_windows_can_be_drawn(n_ends: int) -> None:
    """A run of one round of windows has no time between rounds to spread them over."""
    few = teachers().filter(pl.col("session").is_in(ENDS[:n_ends]))

    assert f"AUC of {4 * n_ends} teachers" in teachers_chart(few, placebo=None)
    assert strokes(balance_chart(balance().head(n_ends), share=0.3))[0] == max(1, n_ends)


def test_windows_of_one_day_stand_side_by_side() -> None:
    """No dot hides another: all have a place of their own."""
    equal = teachers(5).with_columns(auc=pl.lit(0.5))
    wide = teachers_chart(equal, placebo=None).split("</svg>")[0]
    dots = max(re.findall(r' d="([^"]*)"', wide), key=lambda path: path.count("M"))

    assert len({point.split()[0] for point in dots.split("M ")[1:]}) == 15


def test_bars_carry_the_names_of_their_features() -> None:
    """In both drawings, escaped, in the order of the rows."""
    chart = CHARTS["importance"]()

    assert chart.count(">f&lt;0&gt;</text>") == 2
    assert chart.index("f&lt;0&gt;") < chart.index("f&lt;2&gt;")


def test_axes_of_small_figures_are_told_apart() -> None:
    """Ticks of mean rewards have two decimals, of win rates one."""
    assert re.search(r">0\.\d\d%<", CHARTS["rewards"]())
    assert re.search(r">5\d\.\d%<", CHARTS["wins"]())
