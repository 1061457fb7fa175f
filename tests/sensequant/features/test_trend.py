"""Moving averages and directional movement, against TA-Lib."""

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
@pytest.mark.parametrize(
    ("name", "indicator", "n_bars"),
    [
        ("sma_20", talib.SMA, 20),
        ("sma_50", talib.SMA, 50),
        ("ema_12", talib.EMA, 12),
        ("ema_26", talib.EMA, 26),
    ],
)
def test_averages_are_those_of_talib(
    name: str, indicator: Callable[..., np.ndarray], n_bars: int, seed: int, make_bars: BarsMaker
) -> None:
    """Averages agree from the first value on, which stands at the same bar."""
    bars = make_bars(500, seed=seed)
    ours = build_features(bars, ALL)[name].to_numpy()

    np.testing.assert_allclose(ours, indicator(bars["close"].to_numpy(), n_bars), rtol=1e-9)


@pytest.mark.parametrize("seed", [1, 2])
def test_adx_is_that_of_talib_once_the_seed_is_forgotten(seed: int, make_bars: BarsMaker) -> None:
    """Wilder seeds by fourteen moves, TA-Lib by thirteen; after 400 bars none of it is left."""
    bars = make_bars(800, seed=seed)
    ours = build_features(bars, ALL)["adx_14"].to_numpy()
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    theirs = talib.ADX(high, low, close, 14)

    assert np.flatnonzero(~np.isnan(theirs))[0] == np.flatnonzero(~np.isnan(ours))[0]
    np.testing.assert_allclose(ours[400:], theirs[400:], rtol=1e-9)


def test_directional_balance_is_that_of_talib(make_bars: BarsMaker) -> None:
    """The balance is the difference of TA-Lib's two indicators over their sum."""
    bars = make_bars(800)
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    plus, minus = talib.PLUS_DI(high, low, close, 14), talib.MINUS_DI(high, low, close, 14)
    ours = build_features(bars, ALL)["directional_balance_14"].to_numpy()

    np.testing.assert_allclose(
        ours[400:], ((plus - minus) / (plus + minus))[400:], rtol=1e-9, atol=1e-12
    )


def test_directional_movement_by_hand(make_bars: BarsMaker) -> None:
    """A price that only rises by one a day has no movement down: balance 1, ADX 100."""
    steps = pl.int_range(60).cast(pl.Float64)
    bars = make_bars(60).with_columns(
        open=100 + steps, high=102 + steps, low=99 + steps, close=101 + steps
    )
    last = build_features(bars, ALL)[-1].to_dicts()[0]

    assert last["directional_balance_14"] == 1
    assert last["adx_14"] == pytest.approx(100)


def test_forms_are_those_of_the_levels(make_bars: BarsMaker) -> None:
    """Distances are level over close minus one, slopes the level over itself five bars before."""
    bars = make_bars(120)
    rows = build_features(bars, ALL)
    close = bars["close"].to_numpy()
    for name in ("sma_20", "sma_50", "ema_12", "ema_26"):
        level = rows[name].to_numpy()
        np.testing.assert_allclose(rows[f"{name}_to_close"], level / close - 1, atol=1e-12)
    for name in ("sma_20", "sma_50"):
        level = rows[name].to_numpy()
        slope = rows[f"{name}_slope_5"].to_numpy()
        np.testing.assert_allclose(slope[5:], level[5:] / level[:-5] - 1, atol=1e-12)
