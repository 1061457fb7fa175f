"""Volume: how much was traded, at what price, on which side.

Belongs here: on-balance volume, the volume-weighted price, volume against its own mean. Does not
belong here: delivered volume and the order book, which other sources deliver.

Volume is in shares of the adjusted bars (inverse to the price factor). A bar without volume has
no volume-weighted price: null, not 0.

Sources: Granville, *New Key to Stock Market Profits* (1963), for on-balance volume. `vwap` on
daily bars is the rolling 20-session mean of the typical price (high + low + close) / 3 weighted by
volume; an intraday anchor does not exist in daily bars.
"""

from collections.abc import Mapping

import polars as pl

from sensequant.features.expressions import (
    CLOSE,
    HIGH,
    LOW,
    VOLUME,
    previous,
    ratio,
    relative_to_close,
    rolling_total,
)
from sensequant.features.spec import Family, Feature, FeatureSpec

__all__ = ["VOLUME_FEATURES", "VOLUME_HELPERS"]

_GRANVILLE = "Granville (1963)"
_VWAP = "volume-weighted typical price over 20 sessions"
_DEFINITION = "definition"
_ROLLING_BARS = 20


_SIGNED_VOLUME = pl.col("_signed_volume")
_VOLUME_20 = pl.col("_volume_20")

VOLUME_HELPERS: Mapping[str, pl.Expr] = {
    "_signed_volume": VOLUME * (CLOSE - previous(CLOSE)).sign(),
    "_turnover": (HIGH + LOW + CLOSE) / 3 * VOLUME,
    "_volume_20": rolling_total("volume", _ROLLING_BARS),
}
"""Columns on the way to a feature: shares, INR, shares."""

VOLUME_FEATURES: tuple[Feature, ...] = (
    Feature(
        FeatureSpec(
            name="vwap",
            family=Family.VOLUME,
            warmup_bars=_ROLLING_BARS - 1,
            unit="INR",
            formula="sum(typical price * volume) / sum(volume) over 20 sessions",
            source=_VWAP,
            is_scale_free=False,
            is_classic=True,
        ),
        ratio(rolling_total("_turnover", _ROLLING_BARS), _VOLUME_20),
    ),
    Feature(
        FeatureSpec(
            name="obv",
            family=Family.VOLUME,
            warmup_bars=0,
            unit="shares",
            formula="volume of the first bar, then plus or minus volume by the sign of the change",
            source=_GRANVILLE,
            is_scale_free=False,
            is_classic=True,
        ),
        # The first bar has no direction; counting its volume as bought is TA-Lib's convention.
        _SIGNED_VOLUME.fill_null(VOLUME).cum_sum(),
    ),
    Feature(
        FeatureSpec(
            name="vwap_to_close",
            family=Family.VOLUME,
            warmup_bars=_ROLLING_BARS - 1,
            unit="fraction",
            formula="vwap / close - 1",
            source=_VWAP,
        ),
        relative_to_close(pl.col("vwap")),
    ),
    Feature(
        FeatureSpec(
            name="obv_slope_20",
            family=Family.VOLUME,
            warmup_bars=_ROLLING_BARS,
            unit="-1 to 1",
            formula="(obv[t] - obv[t-20]) / sum(volume) over 20 sessions",
            source=_GRANVILLE,
        ),
        ratio(rolling_total("_signed_volume", _ROLLING_BARS), _VOLUME_20),
    ),
    Feature(
        FeatureSpec(
            name="volume_ratio_20",
            family=Family.VOLUME,
            warmup_bars=_ROLLING_BARS - 1,
            unit="multiple",
            formula="volume / mean of the last 20 volumes",
            source=_DEFINITION,
        ),
        ratio(VOLUME * _ROLLING_BARS, _VOLUME_20),
    ),
)
