"""The volume profile: by hand, and by brute force on random bars."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from sensequant.features.build import build_features
from sensequant.features.registry import FeatureConfig
from sensequant.features.volume_profile import _value_area

BarsMaker = Callable[..., pl.DataFrame]

LEVELS = FeatureConfig(levels=True)
NAMES = ("point_of_control_to_close", "value_area_high_to_close", "value_area_low_to_close")


def _grown(volumes: list[float]) -> tuple[int, int]:
    profile = np.zeros((1, 24))
    profile[0, : len(volumes)] = volumes
    bottom, top = _value_area(profile, profile.argmax(axis=1))
    return int(bottom[0]), int(top[0])


@pytest.mark.parametrize(
    ("volumes", "expected"),
    [
        # 70 of 100 are in the largest row alone.
        ([10, 70, 10, 10], (1, 1)),
        # 40, then the larger neighbour 20 below, then 15 above: 75.
        ([5, 20, 40, 15, 10, 10], (1, 3)),
        # Of equal neighbours the upper one comes first: 40, 20, 20.
        ([20, 40, 20, 20], (1, 3)),
        # The lowest row of all: only upwards.
        ([30, 20, 20, 20, 10], (0, 2)),
        # Everything at one price.
        ([0, 0, 60], (2, 2)),
    ],
)
def test_the_value_area_grows_towards_volume(
    volumes: list[float], expected: tuple[int, int]
) -> None:
    """It starts at the largest row and takes the larger neighbour until it holds 70 percent."""
    assert _grown(volumes) == expected


def test_sixty_bars_by_hand(make_bars: BarsMaker) -> None:
    """Range 100 to 124, rows of 1: fifty bars at 110.5, five at 100.5 and five at 123.5."""
    typical = pl.Series([100.5] * 5 + [110.5] * 50 + [123.5] * 5)
    bars = make_bars(60).with_columns(
        high=typical + 0.5, low=typical - 0.5, close=typical, volume=pl.lit(10.0)
    )
    last = build_features(bars, LEVELS)[-1].to_dicts()[0]

    expected = [110.5 / 123.5 - 1, 111 / 123.5 - 1, 110 / 123.5 - 1]
    assert [last[name] for name in NAMES] == pytest.approx(expected)


def test_bars_without_range_or_volume_have_no_profile(make_bars: BarsMaker) -> None:
    """One price is no range, and no volume is nowhere: null."""
    still = make_bars(60).with_columns(
        pl.lit(77.7).alias(name) for name in ("open", "high", "low", "close")
    )
    empty = make_bars(60).with_columns(volume=pl.lit(0.0))

    for bars in (still, empty):
        features = build_features(bars, LEVELS)
        assert all(features[name].count() == 0 for name in NAMES)


def _brute_force(bars: pl.DataFrame) -> list[float]:
    """Return the three levels of one window, bar by bar and row by row."""
    floor, ceiling = bars["low"].min(), bars["high"].max()
    assert isinstance(floor, float)
    assert isinstance(ceiling, float)
    height = (ceiling - floor) / 24
    profile = [0.0] * 24
    for bar in bars.to_dicts():
        price = (bar["high"] + bar["low"] + bar["close"]) / 3
        profile[min(int((price - floor) / height), 23)] += bar["volume"]
    control = bottom = top = profile.index(max(profile))
    while sum(profile[bottom : top + 1]) < 0.7 * sum(profile):
        above = profile[top + 1] if top < 23 else -1
        below = profile[bottom - 1] if bottom > 0 else -1
        if above >= below:
            top += 1
        else:
            bottom -= 1
    places = (control + 0.5, top + 1, bottom)
    return [(floor + place * height) / bars["close"][-1] - 1 for place in places]


def test_brute_force_agrees(make_bars: BarsMaker) -> None:
    """Every window of two symbols has the levels that counting bar by bar gives."""
    bars = make_bars(150, seed=9, symbols=("AAA", "BBB"))
    features = build_features(bars, LEVELS)
    for start in (0, 150):
        for stop in range(start + 60, start + 151):
            row = features.row(stop - 1, named=True)
            expected = _brute_force(bars[stop - 60 : stop])
            assert [row[name] for name in NAMES] == pytest.approx(expected, abs=1e-12)
        assert features["point_of_control_to_close"][start : start + 59].count() == 0
