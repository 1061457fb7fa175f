"""Regimes: in which state the market is, by rules that are stated and not fitted.

Belongs here: volatility and trend of the market as a few states. Does not belong here: their
levels (`market`).

A session without a bar of its index has no state; nothing is carried forward.

The rules are those by which validation groups scores (`evaluation.regimes`), told as numbers.

Source: Faber, *A Quantitative Approach to Tactical Asset Allocation* (2007), for the trend; the
limits of India VIX are a convention.
"""

import polars as pl

from sensequant.features.spec import Family, Feature, FeatureSpec

__all__ = ["CALM_BELOW", "NERVOUS_FROM", "REGIME_FEATURES"]

CALM_BELOW = 15.0
"""India VIX below which the market is calm, percent a year."""

NERVOUS_FROM = 25.0
"""India VIX from which on the market is nervous, percent a year."""

_VIX = pl.col("vix_level")
_DISTANCE = pl.col("nifty_sma_200_to_close")


def _spec(name: str, *, warmup_bars: int, unit: str, formula: str, source: str) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family=Family.REGIMES,
        warmup_bars=warmup_bars,
        unit=unit,
        formula=formula,
        source=source,
    )


REGIME_FEATURES: tuple[Feature, ...] = (
    Feature(
        _spec(
            "regime_volatility",
            warmup_bars=0,
            unit="0, 1 or 2",
            formula="India VIX: 0 below 15, 1 from 15 to below 25, 2 from 25 on",
            source="convention",
        ),
        pl.when(_VIX.is_not_null()).then(
            (_VIX >= CALM_BELOW).cast(pl.Float64) + (_VIX >= NERVOUS_FROM).cast(pl.Float64)
        ),
        (),
    ),
    Feature(
        _spec(
            "regime_trend",
            warmup_bars=199,
            unit="-1 or 1",
            formula="NIFTY 50: 1 where the close is at or above the mean of the last 200, -1 below",
            source="Faber (2007)",
        ),
        pl.when(_DISTANCE <= 0).then(1.0).when(_DISTANCE > 0).then(-1.0),
        (),
    ),
)
