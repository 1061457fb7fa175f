"""Volatility: how widely the price moves, within a bar, between bars and around its mean.

Belongs here: ranges, bands, realised volatility, gaps. Does not belong here: direction (`trend`,
`momentum`).

Levels are INR of the adjusted bars; fractions are plain numbers (0.01 is one per cent). Realised
volatility is per session, not annualised.

Sources: Wilder (1978), section III, for ATR; Bollinger, *Bollinger on Bollinger Bands* (2001),
for the bands: 20 bars, two population standard deviations.
"""

from collections.abc import Mapping

import polars as pl

from sensequant.features.expressions import (
    CLOSE,
    HIGH,
    LOW,
    OPEN,
    previous,
    ratio,
    relative_to_close,
    rolling_deviation,
    rolling_mean,
    wilder_mean,
)
from sensequant.features.spec import Family, Feature, FeatureSpec

__all__ = ["VOLATILITY_FEATURES", "VOLATILITY_HELPERS"]

_WILDER = "Wilder (1978), section III"
_BOLLINGER = "Bollinger (2001)"
_DEFINITION = "definition"
_ATR_BARS = 14
_BAND_BARS = 20
_BAND_WIDTH = 2


_DEVIATION = pl.col("_deviation_20")
_MIDDLE = pl.col("bb_middle")

VOLATILITY_HELPERS: Mapping[str, pl.Expr] = {
    "_log_return": ratio(CLOSE, previous(CLOSE)).log(),
    "_mean_log_return_10": rolling_mean("_log_return", 10),
    "_mean_log_return_20": rolling_mean("_log_return", 20),
    "_deviation_20": rolling_deviation("close", _BAND_BARS, mean_column="bb_middle", ddof=0),
}
"""Columns on the way to a feature: fraction, fraction, fraction, INR."""


def _level(name: str, expression: pl.Expr, *, formula: str) -> Feature:
    is_band = name.startswith("bb_")
    spec = FeatureSpec(
        name=name,
        family=Family.VOLATILITY,
        warmup_bars=_BAND_BARS - 1 if is_band else _ATR_BARS,
        unit="INR",
        formula=formula,
        source=_BOLLINGER if is_band else _WILDER,
        is_scale_free=False,
        is_classic=True,
    )
    return Feature(spec, expression)


def _band_shape(name: str, expression: pl.Expr, *, unit: str, formula: str) -> Feature:
    spec = FeatureSpec(
        name=name,
        family=Family.VOLATILITY,
        warmup_bars=_BAND_BARS - 1,
        unit=unit,
        formula=formula,
        source=_BOLLINGER,
    )
    return Feature(spec, expression)


def _bar_shape(name: str, expression: pl.Expr, *, warmup_bars: int, formula: str) -> Feature:
    spec = FeatureSpec(
        name=name,
        family=Family.VOLATILITY,
        warmup_bars=warmup_bars,
        unit="fraction",
        formula=formula,
        source=_DEFINITION,
    )
    return Feature(spec, expression)


def _realised(n_bars: int) -> Feature:
    spec = FeatureSpec(
        name=f"realised_volatility_{n_bars}",
        family=Family.VOLATILITY,
        warmup_bars=n_bars,
        unit="fraction per square root of a session",
        formula=f"sample standard deviation of the last {n_bars} log returns",
        source=_DEFINITION,
    )
    expression = rolling_deviation(
        "_log_return", n_bars, mean_column=f"_mean_log_return_{n_bars}", ddof=1
    )
    return Feature(spec, expression)


VOLATILITY_FEATURES: tuple[Feature, ...] = (
    _level("atr_14", wilder_mean("_true_range", _ATR_BARS), formula="Wilder mean of true range"),
    _level(
        "bb_upper",
        _MIDDLE + _BAND_WIDTH * _DEVIATION,
        formula="sma_20 + 2 population deviations of 20 closes",
    ),
    _level("bb_middle", rolling_mean("close", _BAND_BARS), formula="sma_20"),
    _level(
        "bb_lower",
        _MIDDLE - _BAND_WIDTH * _DEVIATION,
        formula="sma_20 - 2 population deviations of 20 closes",
    ),
    Feature(
        FeatureSpec(
            name="atr_14_of_close",
            family=Family.VOLATILITY,
            warmup_bars=_ATR_BARS,
            unit="fraction",
            formula="atr_14 / close",
            source=_WILDER,
        ),
        ratio(pl.col("atr_14"), CLOSE),
    ),
    _band_shape(
        "bb_upper_to_close",
        relative_to_close(pl.col("bb_upper")),
        unit="fraction",
        formula="bb_upper / close - 1",
    ),
    _band_shape(
        "bb_lower_to_close",
        relative_to_close(pl.col("bb_lower")),
        unit="fraction",
        formula="bb_lower / close - 1",
    ),
    _band_shape(
        "bb_zscore",
        ratio(CLOSE - _MIDDLE, _DEVIATION),
        unit="standard deviations",
        formula="(close - bb_middle) / population deviation of 20 closes",
    ),
    _band_shape(
        "bb_bandwidth",
        ratio(2 * _BAND_WIDTH * _DEVIATION, _MIDDLE),
        unit="fraction",
        formula="(bb_upper - bb_lower) / bb_middle",
    ),
    _realised(10),
    _realised(20),
    _bar_shape(
        "overnight_gap",
        ratio(OPEN, previous(CLOSE)) - 1,
        warmup_bars=1,
        formula="open[t] / close[t-1] - 1",
    ),
    _bar_shape(
        "range_of_close",
        ratio(HIGH - LOW, CLOSE),
        warmup_bars=0,
        formula="(high - low) / close",
    ),
    _bar_shape(
        "close_location",
        ratio(CLOSE - LOW, HIGH - LOW),
        warmup_bars=0,
        formula="(close - low) / (high - low)",
    ),
)
