"""Trend: where the price stands against its own averages, and how directed its moves are.

Belongs here: moving averages of the close, their slopes, directional movement. Does not belong
here: differences of averages (`momentum`) and bands (`volatility`).

Levels are INR of the adjusted bars; fractions are plain numbers (0.01 is one per cent).

Sources: Wilder (1978), section IV, for directional movement; moving averages as in Murphy,
*Technical Analysis of the Financial Markets* (1999), chapter 9.
"""

from collections.abc import Mapping

import polars as pl

from sensequant.features.expressions import (
    CLOSE,
    HIGH,
    LOW,
    exponential_mean,
    previous,
    ratio,
    relative_to_close,
    rolling_mean,
    simple_return,
    wilder_mean,
)
from sensequant.features.spec import Family, Feature, FeatureSpec

__all__ = ["TREND_FEATURES", "TREND_HELPERS"]

_MURPHY = "Murphy (1999), ch. 9"
_WILDER = "Wilder (1978), section IV"
_ADX_BARS = 14
_SLOPE_BARS = 5


def _movement(move: pl.Expr, opposite: pl.Expr) -> pl.Expr:
    counts = (move > opposite) & (move > 0)
    return pl.when(move.is_not_null()).then(pl.when(counts).then(move).otherwise(0.0))


def _true_range() -> pl.Expr:
    # Without a previous close there is none; TA-Lib, too, starts on the second bar.
    last = previous(CLOSE)
    widest = pl.max_horizontal(HIGH - LOW, (HIGH - last).abs(), (LOW - last).abs())
    return pl.when(last.is_not_null()).then(widest)


_UP = HIGH - previous(HIGH)
_DOWN = previous(LOW) - LOW
_PLUS = pl.col("_plus_indicator")
_MINUS = pl.col("_minus_indicator")

TREND_HELPERS: Mapping[str, pl.Expr] = {
    "_true_range": _true_range(),
    "_plus_movement": _movement(_UP, _DOWN),
    "_minus_movement": _movement(_DOWN, _UP),
    "_plus_indicator": ratio(wilder_mean("_plus_movement", _ADX_BARS), pl.col("atr_14")),
    "_minus_indicator": ratio(wilder_mean("_minus_movement", _ADX_BARS), pl.col("atr_14")),
    "_directional_index": 100 * pl.col("directional_balance_14").abs(),
}
"""Columns on the way to a feature: INR, INR, INR, fraction, fraction, 0 to 100."""


def _level(name: str, expression: pl.Expr, *, warmup_bars: int, formula: str) -> Feature:
    spec = FeatureSpec(
        name=name,
        family=Family.TREND,
        warmup_bars=warmup_bars,
        unit="INR",
        formula=formula,
        source=_MURPHY,
        is_scale_free=False,
        is_classic=True,
    )
    return Feature(spec, expression)


def _distance(name: str, *, warmup_bars: int) -> Feature:
    spec = FeatureSpec(
        name=f"{name}_to_close",
        family=Family.TREND,
        warmup_bars=warmup_bars,
        unit="fraction",
        formula=f"{name} / close - 1",
        source=_MURPHY,
    )
    return Feature(spec, relative_to_close(pl.col(name)))


def _slope(n_bars: int) -> Feature:
    spec = FeatureSpec(
        name=f"sma_{n_bars}_slope_{_SLOPE_BARS}",
        family=Family.TREND,
        warmup_bars=n_bars - 1 + _SLOPE_BARS,
        unit="fraction",
        formula=f"sma_{n_bars}[t] / sma_{n_bars}[t-{_SLOPE_BARS}] - 1",
        source=_MURPHY,
    )
    return Feature(spec, simple_return(pl.col(f"sma_{n_bars}"), _SLOPE_BARS))


TREND_FEATURES: tuple[Feature, ...] = (
    _level(
        "sma_20", rolling_mean("close", 20), warmup_bars=19, formula="mean of the last 20 closes"
    ),
    _level(
        "sma_50", rolling_mean("close", 50), warmup_bars=49, formula="mean of the last 50 closes"
    ),
    _level(
        "ema_12",
        exponential_mean("close", 12),
        warmup_bars=11,
        formula="EMA(close), weight 2/13, SMA seed",
    ),
    _level(
        "ema_26",
        exponential_mean("close", 26),
        warmup_bars=25,
        formula="EMA(close), weight 2/27, SMA seed",
    ),
    Feature(
        FeatureSpec(
            name="adx_14",
            family=Family.TREND,
            warmup_bars=2 * _ADX_BARS - 1,
            unit="0 to 100",
            formula="Wilder mean of 100 abs(+DI - -DI) / (+DI + -DI)",
            source=_WILDER,
            is_classic=True,
        ),
        wilder_mean("_directional_index", _ADX_BARS),
    ),
    _distance("sma_20", warmup_bars=19),
    _distance("sma_50", warmup_bars=49),
    _distance("ema_12", warmup_bars=11),
    _distance("ema_26", warmup_bars=25),
    _slope(20),
    _slope(50),
    Feature(
        FeatureSpec(
            name="directional_balance_14",
            family=Family.TREND,
            warmup_bars=_ADX_BARS,
            unit="-1 to 1",
            formula="(+DI - -DI) / (+DI + -DI)",
            source=_WILDER,
        ),
        ratio(_PLUS - _MINUS, _PLUS + _MINUS),
    ),
)
