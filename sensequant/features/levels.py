"""Levels: prices that traders remember, and how far the close is from them.

Belongs here: 52-week high and low, swing pivots, and the features of anchored prices and of the
volume profile. Does not belong here: how those two are computed (`anchored_vwap`,
`volume_profile`), and moving averages (`trend`).

A level is fed as a fraction of the close, so that it compares over time and between symbols.

A **pivot** high is a bar whose high no bar of the five before and the five after exceeds, and that
the five before do not even reach. It is known five bars later, and stands in the features from
then on. A pivot low likewise.

Sources: George and Hwang, *The 52-Week High and Momentum Investing* (2004); Williams, *Trading
Chaos* (1995), for pivots (his fractals), here with five bars on either side; Shannon, *Maximum
Trading Gains with Anchored VWAP* (2023); Steidlmayer and Koy, *Markets and Market Logic* (1986).
"""

from collections.abc import Iterator, Mapping

import polars as pl

from sensequant.features.anchored_vwap import anchor_helpers, segment_of, since
from sensequant.features.expressions import (
    CLOSE,
    HIGH,
    LOW,
    previous,
    ratio,
    relative_to_close,
)
from sensequant.features.spec import Column, Family, Feature, FeatureSpec
from sensequant.features.volume_profile import PROFILE_BARS

__all__ = ["LEVEL_FEATURES", "LEVEL_HELPERS"]

_HWANG = "George and Hwang (2004)"
_WILLIAMS = "Williams (1995)"
_SHANNON = "Shannon (2023)"
_STEIDLMAYER = "Steidlmayer and Koy (1986)"

_YEAR_BARS = 252
_PIVOT_BARS = 5
_PIVOT_WARMUP = 2 * _PIVOT_BARS
_TOUCH_FRAC = 0.01

_PIVOTS: Mapping[str, pl.Expr] = {"pivot_high": HIGH, "pivot_low": LOW}
_ANCHORS: Mapping[str, int] = {
    **dict.fromkeys(_PIVOTS, _PIVOT_WARMUP),
    "high_252": _YEAR_BARS - 1,
}
"""Anchors and the first row on which one can be known."""


def _becomes_pivot(values: pl.Expr) -> pl.Expr:
    candidate = previous(values, _PIVOT_BARS)
    earlier = previous(values.rolling_max(_PIVOT_BARS), _PIVOT_BARS + 1)
    return (candidate == values.rolling_max(2 * _PIVOT_BARS + 1)) & (candidate > earlier)


def _pivot_helpers(anchor: str) -> dict[str, Column]:
    price, level = pl.col(f"_{anchor}_price"), pl.col(f"_{anchor}_level")
    upper, lower = level * (1 + _TOUCH_FRAC), level * (1 - _TOUCH_FRAC)
    is_near = (upper >= LOW) & (lower <= HIGH)
    return {
        f"_{anchor}_price": Column(previous(_PIVOTS[anchor], _PIVOT_BARS)),
        f"_{anchor}_level": Column(since(anchor, price.first()), segment_of(anchor)),
        f"_{anchor}_touch": Column(is_near & ~pl.col(f"_{anchor}_starts"), ()),
    }


LEVEL_HELPERS: Mapping[str, Column] = {
    "_typical_price": Column((HIGH + LOW + CLOSE) / 3, ()),
    "_high_252": Column(HIGH.rolling_max(_YEAR_BARS)),
    "_low_252": Column(LOW.rolling_min(_YEAR_BARS)),
    **anchor_helpers("pivot_high", _becomes_pivot(HIGH), n_back=_PIVOT_BARS),
    **anchor_helpers("pivot_low", _becomes_pivot(-LOW), n_back=_PIVOT_BARS),
    **anchor_helpers("high_252", pl.col("_high_252") == HIGH, n_back=0),
    **_pivot_helpers("pivot_high"),
    **_pivot_helpers("pivot_low"),
}
"""Columns on the way to a feature: INR, shares, shares times fractions, yes or no, numbers."""


def _spec(
    name: str,
    *,
    warmup_bars: int,
    formula: str,
    source: str,
    unit: str = "fraction",
    waits_for_event: bool = False,
) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family=Family.LEVELS,
        warmup_bars=warmup_bars,
        unit=unit,
        formula=formula,
        source=source,
        waits_for_event=waits_for_event,
    )


def _extreme(name: str, formula: str) -> Feature:
    spec = _spec(
        f"{name}_252_to_close",
        warmup_bars=_YEAR_BARS - 1,
        formula=f"{formula} of the last 252 bars / close - 1",
        source=_HWANG,
    )
    return Feature(spec, relative_to_close(pl.col(f"_{name}_252")), ())


def _pivot_features(anchor: str, extreme: str) -> Iterator[Feature]:
    spec = _spec(
        f"{anchor}_to_close",
        warmup_bars=_PIVOT_WARMUP,
        formula=f"{extreme} of the last known {anchor} / close - 1",
        source=_WILLIAMS,
        waits_for_event=True,
    )
    yield Feature(spec, relative_to_close(pl.col(f"_{anchor}_level")), ())
    spec = _spec(
        f"bars_since_{anchor}",
        warmup_bars=_PIVOT_WARMUP,
        unit="bars",
        formula=f"bars since the bar of the last known {anchor}, at least 5",
        source=_WILLIAMS,
        waits_for_event=True,
    )
    n_known = CLOSE.cum_count() - 1
    yield Feature(spec, since(anchor, n_known + _PIVOT_BARS), segment_of(anchor))
    spec = _spec(
        f"{anchor}_touches",
        warmup_bars=_PIVOT_WARMUP,
        unit="bars",
        formula=f"bars since the {anchor} became known whose range came within 1 % of it",
        source=_WILLIAMS,
        waits_for_event=True,
    )
    touches = pl.col(f"_{anchor}_touch").cum_sum()
    yield Feature(spec, since(anchor, touches), segment_of(anchor))


def _anchor_features(anchor: str) -> Iterator[Feature]:
    price = pl.col(f"_{anchor}_vwap")
    spec = _spec(
        f"vwap_from_{anchor}_to_close",
        warmup_bars=_ANCHORS[anchor],
        formula=f"typical price weighted by volume since the last known {anchor} / close - 1",
        source=_SHANNON,
        waits_for_event=True,
    )
    yield Feature(spec, relative_to_close(price), ())
    spec = _spec(
        f"vwap_from_{anchor}_zscore",
        warmup_bars=_ANCHORS[anchor],
        unit="standard deviations",
        formula=f"(close - that price since the {anchor}) / deviation of typical prices weighted "
        "by volume: the place in the bands",
        source=_SHANNON,
        waits_for_event=True,
    )
    yield Feature(spec, ratio(CLOSE - price, pl.col(f"_{anchor}_deviation")), ())


def _profile_feature(name: str, formula: str) -> Feature:
    spec = _spec(
        f"{name}_to_close",
        warmup_bars=PROFILE_BARS - 1,
        formula=f"{formula} of the volume profile of {PROFILE_BARS} bars / close - 1",
        source=_STEIDLMAYER,
    )
    return Feature(spec, relative_to_close(pl.col(f"_{name}")), ())


LEVEL_FEATURES: tuple[Feature, ...] = (
    _extreme("high", "highest high"),
    _extreme("low", "lowest low"),
    *_pivot_features("pivot_high", "high"),
    *_pivot_features("pivot_low", "low"),
    *(feature for anchor in _ANCHORS for feature in _anchor_features(anchor)),
    _profile_feature("point_of_control", "price with the most volume"),
    _profile_feature("value_area_high", "upper edge of the value area"),
    _profile_feature("value_area_low", "lower edge of the value area"),
)
