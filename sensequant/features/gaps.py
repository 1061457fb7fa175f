"""Gaps: how far a session opened from the last close, and what became of it.

Belongs here: the size of a gap against earlier ones, its filling, runs of gaps. Does not belong
here: the gap itself (`volatility` holds `overnight_gap`), and gaps that nothing explains
(`market.adjustments`), which start a new history.

Fractions are plain numbers (0.01 is one per cent). A gap of exactly 0 has no direction: it ends a
run and cannot be filled.
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
    rolling_deviation,
    rolling_mean,
)
from sensequant.features.spec import HISTORY, Column, Family, Feature, FeatureSpec

__all__ = ["GAP_FEATURES", "GAP_HELPERS"]

_DEFINITION = "definition"
_GAP_BARS = 20

_GAP = pl.col("overnight_gap")
_GAP_INR = OPEN - previous(CLOSE)
_DIRECTION = pl.col("_gap_direction")

GAP_HELPERS: Mapping[str, Column] = {
    "_mean_gap_20": Column(rolling_mean("overnight_gap", _GAP_BARS)),
    "_gap_deviation_20": Column(
        rolling_deviation("overnight_gap", _GAP_BARS, mean_column="_mean_gap_20", ddof=1)
    ),
    "_gap_direction": Column(_GAP_INR.sign()),
    "_gap_run": Column(_DIRECTION.rle_id()),
}
"""Columns on the way to a feature: fraction, fraction, -1 to 1, number of the run."""


def _spec(name: str, *, warmup_bars: int, unit: str, formula: str) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family=Family.GAPS,
        warmup_bars=warmup_bars,
        unit=unit,
        formula=formula,
        source=_DEFINITION,
    )


GAP_FEATURES: tuple[Feature, ...] = (
    Feature(
        _spec(
            "gap_zscore_20",
            # Twenty earlier gaps, the first of which needs a previous close.
            warmup_bars=_GAP_BARS + 1,
            unit="standard deviations",
            formula="(overnight_gap[t] - mean) / sample deviation of the 20 gaps before t",
        ),
        ratio(_GAP - previous(pl.col("_mean_gap_20")), previous(pl.col("_gap_deviation_20"))),
    ),
    Feature(
        _spec(
            "gap_fill_frac",
            warmup_bars=1,
            unit="0 to 1",
            formula="share of the gap that the session traded back: "
            "(open - low) / gap up, (high - open) / gap down, at most 1",
        ),
        ratio(pl.when(_DIRECTION > 0).then(OPEN - LOW).otherwise(HIGH - OPEN), _GAP_INR.abs()).clip(
            0, 1
        ),
    ),
    Feature(
        _spec(
            "gap_run",
            warmup_bars=1,
            unit="bars, + up and - down",
            formula="gaps in a row with the direction of this one, with its sign",
        ),
        _DIRECTION * _DIRECTION.cum_count(),
        keys=(HISTORY, "_gap_run"),
    ),
)
