"""The fifteen classic names, all of them, against TA-Lib."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
import talib

from sensequant.features.build import build_features
from sensequant.features.registry import FeatureConfig, registered_features

BarsMaker = Callable[..., pl.DataFrame]


class Prices(NamedTuple):
    """The columns of one symbol."""

    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray


def _vwap(bars: Prices) -> np.ndarray:
    turnover = talib.TYPPRICE(bars.high, bars.low, bars.close) * bars.volume
    return talib.SUM(turnover, 20) / talib.SUM(bars.volume, 20)


ORACLES: Mapping[str, Callable[[Prices], np.ndarray]] = {
    "sma_20": lambda bars: talib.SMA(bars.close, 20),
    "sma_50": lambda bars: talib.SMA(bars.close, 50),
    "ema_12": lambda bars: talib.EMA(bars.close, 12),
    "ema_26": lambda bars: talib.EMA(bars.close, 26),
    "rsi_14": lambda bars: talib.RSI(bars.close, 14),
    "atr_14": lambda bars: talib.ATR(bars.high, bars.low, bars.close, 14),
    "adx_14": lambda bars: talib.ADX(bars.high, bars.low, bars.close, 14),
    "bb_upper": lambda bars: talib.BBANDS(bars.close, 20, 2, 2)[0],
    "bb_middle": lambda bars: talib.BBANDS(bars.close, 20, 2, 2)[1],
    "bb_lower": lambda bars: talib.BBANDS(bars.close, 20, 2, 2)[2],
    "macd_line": lambda bars: talib.MACD(bars.close, 12, 26, 9)[0],
    "macd_signal": lambda bars: talib.MACD(bars.close, 12, 26, 9)[1],
    "macd_histogram": lambda bars: talib.MACD(bars.close, 12, 26, 9)[2],
    "vwap": _vwap,
    "obv": lambda bars: talib.OBV(bars.close, bars.volume),
}

SEED_BARS = {"adx_14": 400, "macd_line": 250, "macd_signal": 250, "macd_histogram": 250}
"""Bars after which nothing is left of the other seed that TA-Lib starts these from."""


def test_every_classic_name_has_an_oracle() -> None:
    """None of the fifteen is left out below."""
    assert ORACLES.keys() == {spec.name for spec in registered_features() if spec.is_classic}


@pytest.mark.parametrize("name", sorted(ORACLES))
@pytest.mark.parametrize("seed", [3, 4])
def test_a_classic_name_is_that_of_talib(name: str, seed: int, make_bars: BarsMaker) -> None:
    """After warm-up, and where seeds differ after they are forgotten, 1e-9 is kept on every bar."""
    bars = make_bars(900, seed=seed)
    ours = build_features(bars, FeatureConfig(classic_levels=True))[name].to_numpy()
    theirs = ORACLES[name](Prices(*(bars[column].to_numpy() for column in Prices._fields)))
    warm_up = {spec.name: spec.warmup_bars for spec in registered_features()}[name]
    first = max(warm_up, SEED_BARS.get(name, 0))

    np.testing.assert_allclose(ours[first:], theirs[first:], rtol=1e-9, atol=1e-9)
