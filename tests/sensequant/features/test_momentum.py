"""RSI, MACD and returns, against TA-Lib and by hand."""

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
def test_rsi_is_that_of_talib(seed: int, make_bars: BarsMaker) -> None:
    """RSI agrees from the first value on, which stands at the same bar."""
    bars = make_bars(500, seed=seed)
    ours = build_features(bars, ALL)["rsi_14"].to_numpy()

    np.testing.assert_allclose(ours, talib.RSI(bars["close"].to_numpy(), 14), rtol=1e-9)


@pytest.mark.parametrize("seed", [1, 2])
def test_macd_is_the_difference_of_talib_averages(seed: int, make_bars: BarsMaker) -> None:
    """Line, signal and histogram are TA-Lib's EMA 12 less EMA 26, its EMA 9, and the rest."""
    bars = make_bars(500, seed=seed)
    rows = build_features(bars, ALL)
    close = bars["close"].to_numpy()
    line = talib.EMA(close, 12) - talib.EMA(close, 26)
    signal = np.concatenate([np.full(25, np.nan), talib.EMA(line[25:], 9)])

    for name, expected in (
        ("macd_line", line),
        ("macd_signal", signal),
        ("macd_histogram", line - signal),
    ):
        np.testing.assert_allclose(rows[name].to_numpy(), expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(rows[f"{name}_of_close"], expected / close, atol=1e-11)


def test_macd_is_that_of_talib_once_the_seed_is_forgotten(make_bars: BarsMaker) -> None:
    """TA-Lib's MACD seeds both averages at bar 25; after 250 bars none of it is left."""
    bars = make_bars(500)
    rows = build_features(bars, ALL)
    theirs = talib.MACD(bars["close"].to_numpy(), 12, 26, 9)

    for name, expected in zip(("line", "signal", "histogram"), theirs, strict=True):
        ours = rows[f"macd_{name}"].to_numpy()
        np.testing.assert_allclose(ours[250:], expected[250:], rtol=1e-9, atol=1e-9)


def test_rsi_counts_gains_against_all_moves(make_bars: BarsMaker) -> None:
    """Seven gains of 3 and seven losses of 1 make an RSI of 75; without any loss it is 100."""
    moves = np.array([0.0] + [3.0, -1.0] * 7)
    bars = make_bars(15).with_columns(close=100 + pl.Series(moves.cumsum()))
    rising = make_bars(15).with_columns(close=100 + pl.Series(np.abs(moves).cumsum()))

    assert build_features(bars, ALL)["rsi_14"][-1] == pytest.approx(75)
    assert build_features(rising, ALL)["rsi_14"][-1] == 100


def test_changes_and_returns_by_hand(make_bars: BarsMaker) -> None:
    """A return compares closes n bars apart; the change of RSI compares it five bars apart."""
    bars = make_bars(40)
    rows = build_features(bars, ALL)
    close, rsi = bars["close"], rows["rsi_14"]

    for n_bars in (1, 5, 10, 20):
        assert rows[f"return_{n_bars}"][39] == close[39] / close[39 - n_bars] - 1
    assert rows["rsi_14_change_5"][39] == rsi[39] - rsi[34]
