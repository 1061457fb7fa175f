"""All families on real bars of NSE, with their holes, splits and late listings."""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sensequant.context.sessions import OF_CONTEXT
from sensequant.features.build import build_features
from sensequant.features.context import MarketContext
from sensequant.features.registry import FeatureConfig, model_columns
from sensequant.features.spec import Family
from sensequant.market.adjustments import adjust_bars
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.source import FilesSource

pytestmark = pytest.mark.real_data

SYMBOLS = ("RELIANCE", "TCS", "HDFCBANK", "LICI", "LIQUIDBEES", "GOLDBEES", "TATAMOTORS")
ALL = FeatureConfig.model_validate(
    {"classic_levels": True} | dict.fromkeys(set(Family) - OF_CONTEXT, True)
)
"""All families that need no context beside bars and indices."""


@pytest.fixture(scope="module")
def source(real_data: Path) -> FilesSource:
    return FilesSource(real_data / "daily_bhavcopy_2019_2026")


@pytest.fixture(scope="module")
def bars(source: FilesSource) -> pl.DataFrame:
    raw = pl.concat(source.fetch(Chunk(symbol)).bars for symbol in SYMBOLS)
    return adjust_bars(raw, source.actions(), nse_calendar())


@pytest.fixture(scope="module")
def context(source: FilesSource, bars: pl.DataFrame) -> MarketContext:
    index, vix = (source.fetch(Chunk(name)).bars for name in ("NIFTY50", "INDIAVIX"))
    listed = bars.filter(pl.col("symbol") == "LICI")["session"][0]
    return MarketContext(benchmark=index, vix=vix, listings={"LICI": listed})


def test_every_column_has_values_and_none_is_impossible(
    bars: pl.DataFrame, context: MarketContext
) -> None:
    """Where index, delivery and listing are there, so are the features; all are finite."""
    features = build_features(bars, ALL, context)
    columns = features.select(model_columns(ALL))

    assert columns.select(pl.all().is_finite().all()).row(0) == (True,) * columns.width
    n_known = columns.select(pl.all().count()).row(0, named=True)
    assert n_known.pop("post_listing_sessions") == bars.filter(pl.col("symbol") == "LICI").height
    assert min(n_known.values()) > 0.5 * bars.height
    assert n_known["delivery_share"] > 0.99 * bars.height
    # Gold and cash move little with the index, so that the middle of the seven is below 1.
    beta = columns["beta_60"].drop_nulls().to_numpy()
    assert 0.5 < np.median(beta) < 1.1


def test_the_first_half_does_not_know_the_second(
    bars: pl.DataFrame, context: MarketContext
) -> None:
    """Bars, actions and indices up to 2023 give the same bits as those up to 2026."""
    is_first = pl.col("session") <= pl.date(2023, 6, 30)
    assert context.benchmark is not None
    assert context.vix is not None
    earlier = MarketContext(
        benchmark=context.benchmark.filter(is_first),
        vix=context.vix.filter(is_first),
        listings=context.listings,
    )
    build = partial(build_features, config=ALL)

    whole = build(bars, context=context).filter(is_first)
    assert whole.equals(build(bars.filter(is_first), context=earlier))
