"""On-balance volume and the volume-weighted price, against TA-Lib and by hand."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import talib

from sensequant.features.build import build_features
from sensequant.features.registry import FeatureConfig

BarsMaker = Callable[..., pl.DataFrame]

ALL = FeatureConfig(classic_levels=True)


@pytest.mark.parametrize("seed", [1, 2])
def test_obv_is_that_of_talib(seed: int, make_bars: BarsMaker) -> None:
    """On-balance volume starts at the first bar's volume and agrees on every bar."""
    bars = make_bars(500, seed=seed)
    theirs = talib.OBV(bars["close"].to_numpy(), bars["volume"].to_numpy())
    rows = build_features(bars, ALL)

    np.testing.assert_allclose(rows["obv"].to_numpy(), theirs, rtol=1e-9)
    total = talib.SUM(bars["volume"].to_numpy(), 20)
    np.testing.assert_allclose(
        rows["obv_slope_20"].to_numpy()[20:], ((theirs[20:] - theirs[:-20]) / total[20:]), atol=1e-9
    )


def test_unchanged_close_adds_no_volume(make_bars: BarsMaker) -> None:
    """Up 20, unchanged, down 5: 10, then 30, then 30, then 25."""
    bars = make_bars(4).with_columns(
        close=pl.Series([10.0, 11.0, 11.0, 10.5]), volume=pl.Series([10.0, 20.0, 40.0, 5.0])
    )

    assert build_features(bars, ALL)["obv"].to_list() == [10, 30, 30, 25]


def test_vwap_weighs_the_typical_price_by_volume(make_bars: BarsMaker) -> None:
    """Nineteen bars at 100 of one share and one at 160 of twenty-one: (1900 + 3360) / 40."""
    price = pl.Series([100.0] * 19 + [160.0])
    bars = make_bars(20).with_columns(
        high=price + 2, low=price - 2, close=price, volume=pl.Series([1.0] * 19 + [21.0])
    )
    row = build_features(bars, ALL)[-1].to_dicts()[0]

    assert row["vwap"] == pytest.approx(131.5)
    assert row["vwap_to_close"] == pytest.approx(131.5 / 160 - 1)
    assert row["volume_ratio_20"] == pytest.approx(21 / 2)
