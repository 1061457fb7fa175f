"""Delivery: how much of what was traded changed hands for longer than the day.

Belongs here: delivered volume as a share of the volume. Does not belong here: the volume itself
(`volume`).

Delivered volume is in shares of the adjusted bars, like the volume. A bar whose source gives none
has no share, and neither has a window that holds such a bar: nothing is filled.

Source: NSE publishes the deliverable quantity of each security with its full bhavcopy.
"""

from collections.abc import Mapping

import polars as pl

from sensequant.features.expressions import VOLUME, ratio, rolling_deviation, rolling_mean
from sensequant.features.spec import Column, Family, Feature, FeatureSpec

__all__ = ["DELIVERY_FEATURES", "DELIVERY_HELPERS"]

_BHAVCOPY = "NSE full bhavcopy, DELIV_QTY and TTL_TRD_QNTY"
_MEAN_BARS = 20

_SHARE = pl.col("delivery_share")
_MEAN_SHARE = pl.col("delivery_share_mean_20")
_DEVIATION = pl.col("_delivery_deviation_20")

DELIVERY_HELPERS: Mapping[str, Column] = {
    "_delivery_deviation_20": Column(
        rolling_deviation(
            "delivery_share", _MEAN_BARS, mean_column="delivery_share_mean_20", ddof=0
        )
    ),
}
"""Columns on the way to a feature: fraction."""


def _spec(name: str, *, warmup_bars: int, unit: str, formula: str) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family=Family.DELIVERY,
        warmup_bars=warmup_bars,
        unit=unit,
        formula=formula,
        source=_BHAVCOPY,
    )


DELIVERY_FEATURES: tuple[Feature, ...] = (
    Feature(
        _spec(
            "delivery_share",
            warmup_bars=0,
            unit="0 to 1",
            formula="delivered volume / volume",
        ),
        ratio(pl.col("delivered_volume"), VOLUME),
    ),
    Feature(
        _spec(
            "delivery_share_mean_20",
            warmup_bars=_MEAN_BARS - 1,
            unit="0 to 1",
            formula="mean of the last 20 delivery_share",
        ),
        rolling_mean("delivery_share", _MEAN_BARS),
    ),
    Feature(
        _spec(
            "delivery_share_zscore_20",
            warmup_bars=_MEAN_BARS - 1,
            unit="standard deviations",
            formula="(delivery_share - its mean) / population deviation over 20 bars",
        ),
        ratio(_SHARE - _MEAN_SHARE, _DEVIATION),
    ),
)
