"""Momentum: how far and how one-sidedly the price moved lately.

Belongs here: returns over several spans, RSI, MACD. Does not belong here: dispersion of returns
(`volatility`).

Levels are INR of the adjusted bars; fractions are plain numbers (0.01 is one per cent).

Sources: Wilder (1978), section VI, for RSI; Appel, *Technical Analysis: Power Tools for Active
Investors* (2005), chapter 8, for MACD. MACD is the difference of the columns `ema_12` and
`ema_26`, each with its own seed; TA-Lib's MACD seeds both at the same bar and agrees once the
seeds are forgotten.
"""

from collections.abc import Mapping

import polars as pl

from sensequant.features.expressions import (
    CLOSE,
    exponential_mean,
    previous,
    ratio,
    simple_return,
    wilder_mean,
)
from sensequant.features.spec import Family, Feature, FeatureSpec

__all__ = ["MOMENTUM_FEATURES", "MOMENTUM_HELPERS"]

_WILDER = "Wilder (1978), section VI"
_APPEL = "Appel (2005), ch. 8"
_RSI_BARS = 14
_SLOPE_BARS = 5
_MACD_WARMUP = 25
_SIGNAL_WARMUP = 33


_CHANGE = CLOSE - previous(CLOSE)
_MEAN_GAIN = pl.col("_mean_gain")
_MEAN_LOSS = pl.col("_mean_loss")

MOMENTUM_HELPERS: Mapping[str, pl.Expr] = {
    "_gain": _CHANGE.clip(lower_bound=0),
    "_loss": (-_CHANGE).clip(lower_bound=0),
    "_mean_gain": wilder_mean("_gain", _RSI_BARS),
    "_mean_loss": wilder_mean("_loss", _RSI_BARS),
}
"""Columns on the way to a feature, all in INR."""


def _macd(name: str, expression: pl.Expr, *, warmup_bars: int, formula: str) -> list[Feature]:
    level = FeatureSpec(
        name=name,
        family=Family.MOMENTUM,
        warmup_bars=warmup_bars,
        unit="INR",
        formula=formula,
        source=_APPEL,
        is_scale_free=False,
        is_classic=True,
    )
    share = FeatureSpec(
        name=f"{name}_of_close",
        family=Family.MOMENTUM,
        warmup_bars=warmup_bars,
        unit="fraction",
        formula=f"{name} / close",
        source=_APPEL,
    )
    return [Feature(level, expression), Feature(share, ratio(pl.col(name), CLOSE))]


def _return(n_bars: int) -> Feature:
    spec = FeatureSpec(
        name=f"return_{n_bars}",
        family=Family.MOMENTUM,
        warmup_bars=n_bars,
        unit="fraction",
        formula=f"close[t] / close[t-{n_bars}] - 1",
        source="definition",
    )
    return Feature(spec, simple_return(CLOSE, n_bars))


MOMENTUM_FEATURES: tuple[Feature, ...] = (
    Feature(
        FeatureSpec(
            name="rsi_14",
            family=Family.MOMENTUM,
            warmup_bars=_RSI_BARS,
            unit="0 to 100",
            formula="100 G / (G + L); G, L: Wilder means of gains and losses",
            source=_WILDER,
            is_classic=True,
        ),
        ratio(100 * _MEAN_GAIN, _MEAN_GAIN + _MEAN_LOSS),
    ),
    Feature(
        FeatureSpec(
            name=f"rsi_14_change_{_SLOPE_BARS}",
            family=Family.MOMENTUM,
            warmup_bars=_RSI_BARS + _SLOPE_BARS,
            unit="-100 to 100",
            formula=f"rsi_14[t] - rsi_14[t-{_SLOPE_BARS}]",
            source=_WILDER,
        ),
        pl.col("rsi_14") - previous(pl.col("rsi_14"), _SLOPE_BARS),
    ),
    *_macd(
        "macd_line",
        pl.col("ema_12") - pl.col("ema_26"),
        warmup_bars=_MACD_WARMUP,
        formula="ema_12 - ema_26",
    ),
    *_macd(
        "macd_signal",
        exponential_mean("macd_line", 9),
        warmup_bars=_SIGNAL_WARMUP,
        formula="EMA(macd_line), weight 2/10, SMA seed",
    ),
    *_macd(
        "macd_histogram",
        pl.col("macd_line") - pl.col("macd_signal"),
        warmup_bars=_SIGNAL_WARMUP,
        formula="macd_line - macd_signal",
    ),
    _return(1),
    _return(5),
    _return(10),
    _return(20),
)
