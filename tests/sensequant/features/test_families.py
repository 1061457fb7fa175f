"""Gaps, delivery, ranks, listing and market context: the cases that SQL does not show."""

from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl
import pytest

from sensequant.features.build import build_features
from sensequant.features.context import MarketContext
from sensequant.features.registry import FeatureConfig
from sensequant.market.sessions import nse_calendar

BarsMaker = Callable[..., pl.DataFrame]
ContextMaker = Callable[..., MarketContext]


def test_gaps_are_filled_and_run_by_hand(make_bars: BarsMaker) -> None:
    """Closes of 100: up 10 half filled, up 5 overfilled, none, down 10 filled by a quarter, up."""
    bars = make_bars(6).with_columns(
        open=pl.Series([100.0, 110.0, 105.0, 100.0, 90.0, 101.0]),
        high=pl.Series([100.0, 112.0, 106.0, 104.0, 92.5, 103.0]),
        low=pl.Series([100.0, 105.0, 95.0, 97.0, 88.0, 100.5]),
        close=pl.lit(100.0),
    )
    features = build_features(bars, FeatureConfig(gaps=True))

    assert features["gap_fill_frac"].to_list() == [None, 0.5, 1, None, 0.25, 0.5]
    assert features["gap_run"].to_list() == [None, 1, 2, 0, -1, 1]


def test_equal_gaps_have_no_measure(make_bars: BarsMaker) -> None:
    """Twenty gaps of exactly 0 spread by nothing, so the next gap has no z-score."""
    bars = make_bars(25).with_columns(open=pl.lit(50.0), close=pl.lit(50.0))
    jumped = bars.with_columns(
        open=pl.when(pl.int_range(pl.len()) == 24).then(55.0).otherwise(50.0)
    )

    assert build_features(jumped, FeatureConfig(gaps=True))["gap_zscore_20"].count() == 0


def test_delivery_is_missing_where_a_bar_has_none(make_bars: BarsMaker) -> None:
    """A missing value, or no trade, empties its share and the twenty means that hold it."""
    bars = make_bars(70).with_columns(
        delivered_volume=pl.when(pl.int_range(pl.len()) != 30).then(pl.col("volume") / 4),
        volume=pl.when(pl.int_range(pl.len()) != 69).then("volume").otherwise(0.0),
    )
    features = build_features(bars, FeatureConfig(delivery=True))

    shares, means = features["delivery_share"], features["delivery_share_mean_20"]
    assert shares.is_null().to_numpy().nonzero()[0].tolist() == [30, 69]
    assert means.is_null().to_numpy().nonzero()[0].tolist() == [*range(19), *range(30, 50), 69]
    assert means[50] == pytest.approx(0.25)
    assert features["delivery_share_zscore_20"].count() == 0


def test_equal_values_share_their_mean_rank(make_bars: BarsMaker) -> None:
    """Returns 1, 2, 2, 2, 5 rank 0, 2/4, 2/4, 2/4, 1; of four that trade none has a rank."""
    symbols = ("A", "B", "C", "D", "E")
    closes = {"A": 101.0, "B": 102.0, "C": 102.0, "D": 102.0, "E": 105.0}
    bars = make_bars(7, symbols=symbols).with_columns(
        close=pl.when(pl.col("session") >= date(2020, 1, 8))
        .then(pl.col("symbol").replace_strict(closes))
        .otherwise(100.0)
    )
    last = bars["session"].max()
    holed = bars.filter((pl.col("symbol") != "B") | (pl.col("session") != last))
    ranks = build_features(holed, FeatureConfig(ranks=True)).select(
        "symbol", "session", "rank_return_5"
    )
    sixth = ranks.filter(pl.col("session") == date(2020, 1, 8))

    assert sixth["rank_return_5"].to_list() == [0, 0.5, 0.5, 0.5, 1]
    assert ranks.filter(pl.col("session") == last)["rank_return_5"].to_list() == [None] * 4


def test_breadth_is_the_share_above_the_average(make_bars: BarsMaker) -> None:
    """Three of five symbols rise at the end: each session has one breadth, for all symbols."""
    symbols = ("A", "B", "C", "D", "E")
    bars = make_bars(50, symbols=symbols).with_columns(
        close=pl.when(pl.int_range(pl.len()).over("symbol") == 49)
        .then(pl.when(pl.col("symbol") < "D").then(101.0).otherwise(99.0))
        .otherwise(100.0)
    )
    features = build_features(bars, FeatureConfig(ranks=True))

    last = features.filter(pl.col("session") == features["session"].max())
    assert last["share_above_sma_50"].to_list() == [0.6] * 5
    assert features["share_above_sma_50"].count() == 5


def test_the_age_of_a_listing_counts_sessions_of_the_calendar(make_bars: BarsMaker) -> None:
    """A listing on a Sunday counts from Monday; bars before it, and unknown listings, have none."""
    bars = make_bars(6, symbols=("NEW", "OLD", "UNKNOWN")).filter(
        pl.col("session") != date(2020, 1, 7)
    )
    context = MarketContext(listings={"NEW": date(2020, 1, 5), "OLD": date(1995, 5, 5)})
    ages = build_features(bars, FeatureConfig(), context).select("symbol", "post_listing_sessions")

    new = ages.filter(pl.col("symbol") == "NEW")["post_listing_sessions"]
    assert new.to_list() == [None, None, None, 0, 2]
    assert ages.filter(pl.col("symbol") != "NEW")["post_listing_sessions"].count() == 0


def test_listings_do_not_wait_for_the_first_bar(make_bars: BarsMaker) -> None:
    """A symbol that was listed long before its first bar is that old on it."""
    listed = nse_calendar().sessions(date(2018, 1, 1), date(2020, 1, 1))
    context = MarketContext(listings={"AAA": listed[0]})
    ages = build_features(make_bars(2), FeatureConfig(), context)["post_listing_sessions"]

    assert ages.to_list() == [len(listed) - 1, len(listed)]


def test_a_session_without_an_index_has_no_market(
    make_bars: BarsMaker, make_context: ContextMaker
) -> None:
    """Nothing is carried forward; behind the hole, windows hold the sessions that both have."""
    bars = make_bars(100)
    whole = make_context(bars)
    assert whole.benchmark is not None
    hole = bars["session"][80]
    context = MarketContext(
        benchmark=whole.benchmark.filter(pl.col("session") != hole), vix=whole.vix
    )
    features = build_features(bars, FeatureConfig(market_context=True), context)
    row = features.filter(pl.col("session") == hole).to_dicts()[0]

    for name in ("nifty_return_1", "beta_60", "correlation_60", "relative_strength_20"):
        assert row[name] is None
        assert features[name][81:].null_count() == 0
    assert row["vix_level"] is not None

    own, market = (
        frame.filter(pl.col("session") != hole)["close"].to_numpy()
        for frame in (bars, whole.benchmark)
    )
    own, market = (np.diff(closes) / closes[:-1] for closes in (own, market))
    expected = np.polyfit(market[-60:], own[-60:], 1)[0]
    assert features["beta_60"][-1] == pytest.approx(expected, rel=1e-9)


def test_the_index_is_its_own_measure(make_bars: BarsMaker) -> None:
    """A symbol that is the index has beta and correlation 1 and no relative strength."""
    bars = make_bars(100)
    index = bars.select("session", "close")
    context = MarketContext(benchmark=index, vix=index)
    last = build_features(bars, FeatureConfig(market_context=True), context)[-1].to_dicts()[0]

    assert last["beta_60"] == pytest.approx(1, abs=1e-12)
    assert last["correlation_60"] == pytest.approx(1, abs=1e-12)
    assert last["relative_strength_20"] == 0


def test_an_index_that_stands_still_has_no_beta(
    make_bars: BarsMaker, make_context: ContextMaker
) -> None:
    """Where the index never moved there is nothing to move with: null, not 0 or 1."""
    bars = make_bars(100)
    whole = make_context(bars)
    assert whole.benchmark is not None
    still = whole.benchmark.with_columns(close=pl.lit(12_345.6))
    features = build_features(
        bars, FeatureConfig(market_context=True), MarketContext(benchmark=still, vix=whole.vix)
    )

    assert features["beta_60"].count() == features["correlation_60"].count() == 0
    assert features["nifty_return_20"][-1] == 0
    assert features["nifty_realised_volatility_20"][-1] == 0
