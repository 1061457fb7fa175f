"""ATR, bands and ranges, against TA-Lib and by hand."""

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
def test_atr_is_that_of_talib(seed: int, make_bars: BarsMaker) -> None:
    """ATR agrees from the first value on, which stands at the same bar."""
    bars = make_bars(500, seed=seed)
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    rows = build_features(bars, ALL)
    theirs = talib.ATR(high, low, close, 14)

    np.testing.assert_allclose(rows["atr_14"].to_numpy(), theirs, rtol=1e-9)
    np.testing.assert_allclose(rows["atr_14_of_close"], theirs / close, rtol=1e-9)


@pytest.mark.parametrize("seed", [1, 2])
def test_bands_are_those_of_talib(seed: int, make_bars: BarsMaker) -> None:
    """Bands of twenty bars and two population deviations agree from the first value on."""
    bars = make_bars(500, seed=seed)
    rows = build_features(bars, ALL)
    close = bars["close"].to_numpy()
    upper, middle, lower = talib.BBANDS(close, 20, 2, 2)

    np.testing.assert_allclose(rows["bb_upper"].to_numpy(), upper, rtol=1e-9)
    np.testing.assert_allclose(rows["bb_middle"].to_numpy(), middle, rtol=1e-9)
    np.testing.assert_allclose(rows["bb_lower"].to_numpy(), lower, rtol=1e-9)
    np.testing.assert_allclose(rows["bb_upper_to_close"], upper / close - 1, atol=1e-10)
    np.testing.assert_allclose(rows["bb_lower_to_close"], lower / close - 1, atol=1e-10)
    np.testing.assert_allclose(rows["bb_bandwidth"], (upper - lower) / middle, atol=1e-9)
    np.testing.assert_allclose(rows["bb_zscore"], 4 * (close - middle) / (upper - lower), atol=1e-8)


def test_realised_volatility_is_the_deviation_of_log_returns(make_bars: BarsMaker) -> None:
    """Ten and twenty log returns, one degree of freedom taken off, per session."""
    bars = make_bars(60)
    rows = build_features(bars, ALL)
    log_returns = np.diff(np.log(bars["close"].to_numpy()))

    for n_bars in (10, 20):
        expected = log_returns[-n_bars:].std(ddof=1)
        assert rows[f"realised_volatility_{n_bars}"][-1] == pytest.approx(expected, rel=1e-9)


def test_gap_range_and_location_by_hand(make_bars: BarsMaker) -> None:
    """110, 120, 100, 115 after a close of 100: gap a tenth, close at three quarters."""
    bars = make_bars(2).with_columns(
        open=pl.Series([100.0, 110.0]),
        high=pl.Series([101.0, 120.0]),
        low=pl.Series([99.0, 100.0]),
        close=pl.Series([100.0, 115.0]),
    )
    row = build_features(bars, ALL)[-1].to_dicts()[0]

    assert row["overnight_gap"] == pytest.approx(0.1)
    assert row["range_of_close"] == pytest.approx(20 / 115)
    assert row["close_location"] == pytest.approx(0.75)
