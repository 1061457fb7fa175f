"""What the charts draw, and that their bytes depend on the frames alone."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest

from sensequant.errors import DataError
from sensequant.evaluation.figures import Figure
from sensequant.reports.charts import (
    curves_of,
    drawdown_chart,
    equity_chart,
    reliability_chart,
    window_chart,
)


def days(n: int) -> list[date]:
    return [date(2023, 1, 2) + timedelta(days=number) for number in range(n)]


def curves(n: int = 40) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    walks = 100 * np.cumprod(1 + rng.normal(0, 0.01, (n, 3)), axis=0)
    return pl.DataFrame(
        {
            "session": days(n),
            "strategy": walks[:, 0],
            "benchmark": walks[:, 1],
            "buy_and_hold": walks[:, 2],
        }
    )


def bins() -> pl.DataFrame:
    return pl.DataFrame(
        {"n": [1200, 1201], "mean_score": [0.31, 0.62], "positive_frac": [0.28, 0.55]}
    )


def windows() -> pl.DataFrame:
    names = [f"M&M_2022-01-01_to_{day}" for day in days(3)]
    return pl.DataFrame({"scored_window": names, "auc": [0.51, None, 0.48]})


def figure(value: float | None, lower: float | None = None, upper: float | None = None) -> Figure:
    return Figure(value=value, lower=lower, upper=upper, n=9, unit="probability")


def description(chart: str) -> str:
    found = re.search(r"<desc[^>]*>([^<]*)</desc>", chart)
    assert found is not None
    return found[1]


CHARTS = {
    "equity": lambda: equity_chart(curves()),
    "drawdown": lambda: drawdown_chart(curves()),
    "reliability": lambda: reliability_chart(bins()),
    "windows": lambda: window_chart(windows(), pooled=figure(0.51, 0.5, 0.52), placebo=figure(0.5)),
}


@pytest.mark.parametrize("name", CHARTS)
def test_bytes_are_equal_for_equal_frames(name: str) -> None:
    """Neither the clock nor a reader's own matplotlib settings change a chart."""
    first = CHARTS[name]()
    with mpl.rc_context(  # pyright: ignore[reportUnknownMemberType]
        {"font.size": 30, "svg.hashsalt": "other", "lines.linewidth": 9}
    ):
        second = CHARTS[name]()

    assert first == second


def test_threads_do_not_disturb_each_other() -> None:
    """Charts drawn at the same time are those drawn one after another."""
    one_by_one = [CHARTS[name]() for name in CHARTS]
    with ThreadPoolExecutor(4) as pool:
        together = [one.result() for one in [pool.submit(draw) for draw in CHARTS.values()]]

    assert one_by_one == together


def test_drawing_leaves_global_settings_alone() -> None:
    """Whoever uses matplotlib beside us finds the settings as they were."""
    before = dict(mpl.rcParams)
    CHARTS["equity"]()

    assert before == dict(mpl.rcParams)


@pytest.mark.parametrize("name", CHARTS)
def test_chart_is_self_contained_and_accessible(name: str) -> None:
    """Each drawing is well-formed, named, described, without address, script or fixed ink."""
    chart = CHARTS[name]()
    drawings = list(ET.fromstring(f"<div>{chart}</div>"))  # noqa: S314
    ids = re.findall(r'\bid="([^"]*)"', chart)

    assert [d.get("class") for d in drawings] == ["chart chart-wide", "chart chart-narrow"]
    assert all(d.get("role") == "img" for d in drawings)
    assert all([part.tag for part in list(d)[:2]] == ["title", "desc"] for d in drawings)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', chart)) <= set(ids)
    for word in ("http", "<script", "<style", "font-family", "#0", "#f", "nan "):
        assert word not in chart


def test_equity_is_rebased_to_100_at_the_first_common_session() -> None:
    """A benchmark that begins late pulls the base of all curves to its first value."""
    frame = pl.DataFrame(
        {
            "session": days(3),
            "strategy": [10.0, 20.0, 30.0],
            "benchmark": [None, 400.0, 300.0],
        }
    )

    words = "Value of 100 from 2023-01-02 to 2023-01-04; at the end: "
    words += "Strategy, net of costs 150.0, NIFTY 50 75.0."
    assert words == description(equity_chart(frame))


def test_drawdown_is_measured_from_the_previous_high() -> None:
    """100, 125, 100, 150 fell by a fifth at worst; a rising curve by nothing."""
    frame = pl.DataFrame(
        {
            "session": days(4),
            "strategy": [100.0, 125.0, 100.0, 150.0],
            "benchmark": [1.0, 2.0, 3.0, 4.0],
        }
    )
    words = "Depth below the previous high; deepest: "
    words += "Strategy, net of costs -20.0%, NIFTY 50 0.0%."

    assert words == description(drawdown_chart(frame))


def test_curve_without_values_is_not_named() -> None:
    """What was not measured is not in the legend."""
    frame = curves().with_columns(benchmark=pl.lit(None, dtype=pl.Float64))
    chart = equity_chart(frame)

    assert "NIFTY 50" not in chart
    assert "Equal-weight buy-and-hold" in chart


def test_long_curve_is_thinned_but_keeps_its_extremes() -> None:
    """Seven thousand sessions take little more than a thousand, and the lowest stays lowest."""
    long, short = curves(7000), curves(1000)
    dip = 3217
    low = long.with_columns(
        strategy=pl.when(pl.int_range(pl.len()) == dip).then(1.0).otherwise(pl.col("strategy"))
    )

    assert len(equity_chart(long)) < 1.6 * len(equity_chart(short))
    assert equity_chart(low) != equity_chart(long)


def test_reliability_shows_the_count_of_each_bin() -> None:
    """Counts stand at the points of the wide drawing; the narrow one has no room for them."""
    wide, narrow = reliability_chart(bins()).split("</svg>")[:2]

    assert "n 1,200" in wide
    assert "n 1,201" in wide
    assert "n 1,200" not in narrow


def test_windows_without_auc_are_left_out() -> None:
    """A window with one class only has no AUC and is not drawn as anything."""
    chart = window_chart(windows(), pooled=figure(None), placebo=figure(None))

    assert "AUC of 2 windows" in description(chart)
    assert "pooled" not in chart


def test_pooled_figure_is_written_with_its_interval() -> None:
    """The legend holds the numbers; an interval that is missing is not drawn."""
    chart = window_chart(windows(), pooled=figure(0.512, 0.5, 0.524), placebo=figure(0.499))

    assert "All rows pooled 0.512 [0.500, 0.524]" in chart
    assert "Windows on shuffled labels 0.499<" in chart


def test_curves_start_before_the_first_session() -> None:
    """The loss of the first session counts: the base is the capital and the close before it."""
    sessions = days(4)
    equity = pl.DataFrame({"session": sessions[2:], "equity": [90.0, 99.0]})
    benchmark = pl.DataFrame({"session": sessions, "close": [7.0, 8.0, 8.4, 8.8]})
    hold = pl.DataFrame({"session": sessions[2:], "equity": [101.0, 102.0]})
    expected = pl.DataFrame(
        {
            "session": sessions[1:],
            "strategy": [100.0, 90.0, 99.0],
            "buy_and_hold": [100.0, 101.0, 102.0],
            "benchmark": [8.0, 8.4, 8.8],
        }
    )

    assert expected.equals(curves_of(equity, capital_inr=100.0, benchmark=benchmark, hold=hold))


@pytest.mark.parametrize("with_benchmark", [True, False])
def test_curves_without_an_earlier_close_start_the_day_before(with_benchmark: bool) -> None:
    """Without a benchmark's earlier close, nothing is made up for it: its base is missing."""
    sessions = days(3)
    equity = pl.DataFrame({"session": sessions[1:], "equity": [90.0, 99.0]})
    benchmark = pl.DataFrame({"session": sessions[1:], "close": [8.4, 8.8]})
    curve = curves_of(
        equity, capital_inr=100.0, benchmark=benchmark if with_benchmark else None, hold=None
    )

    assert sessions == curve["session"].to_list()
    assert curve["strategy"].to_list() == [100.0, 90.0, 99.0]
    assert not with_benchmark or curve["benchmark"].to_list() == [None, 8.4, 8.8]


def test_every_window_is_a_dot() -> None:
    """Six hundred windows at few dates are six hundred strokes in either drawing."""
    names = [f"A_2020-01-01_to_{day}" for day in days(4)] * 150
    frame = pl.DataFrame(
        {"scored_window": names, "auc": np.random.default_rng(1).uniform(0.4, 0.7, 600)}
    )
    chart = window_chart(frame, pooled=figure(0.5), placebo=figure(0.5))
    longest = sorted(path.count("M") for path in re.findall(r' d="([^"]*)"', chart))[-2:]

    assert longest == [600, 600]


def test_flat_curve_costs_few_bytes() -> None:
    """A strategy that never trades is a line of few points, however long it does nothing."""
    frame = curves(7000).with_columns(strategy=pl.lit(100.0))

    assert len(equity_chart(frame.select("session", "strategy"))) < 20_000


def test_curves_without_common_session_are_refused() -> None:
    """There is no base for a comparison."""
    frame = pl.DataFrame({"session": days(2), "strategy": [1.0, None], "benchmark": [None, 1.0]})

    with pytest.raises(DataError, match="no session in common"):
        equity_chart(frame)


def test_curve_names_are_escaped_and_shown() -> None:
    """The index may be another one, whatever its name holds."""
    names = {"strategy": "S & T", "benchmark": "<b>TRI</b>", "buy_and_hold": "Hold"}
    chart = equity_chart(curves(), names=names)

    assert "S &amp; T" in chart
    assert "<b>" not in chart
