"""Pivots, anchored prices and their bands: by hand, and by brute force on random bars."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from sensequant.features.build import build_features
from sensequant.features.registry import FeatureConfig

BarsMaker = Callable[..., pl.DataFrame]

LEVELS = FeatureConfig(levels=True)


def _hand(
    make_bars: BarsMaker, highs: list[float], volumes: list[float] | None = None
) -> pl.DataFrame:
    high = pl.Series(highs, dtype=pl.Float64)
    bars = make_bars(len(highs)).with_columns(
        high=high,
        low=high - 2,
        close=high - 1,
        volume=pl.Series(volumes or [1.0] * len(highs), dtype=pl.Float64),
    )
    return build_features(bars, LEVELS)


def test_a_pivot_is_known_five_bars_later(make_bars: BarsMaker) -> None:
    """A high of 20 on the sixth of twelve bars stands in the features from the eleventh on."""
    features = _hand(make_bars, [10, 11, 12, 13, 14, 20, 15, 14, 13, 12, 11, 10])

    assert features["pivot_high_to_close"].to_list() == [None] * 10 + [20 / 10 - 1, 20 / 9 - 1]
    assert features["bars_since_pivot_high"].to_list() == [None] * 10 + [5, 6]
    assert features["pivot_low_to_close"].count() == 0


def test_a_higher_fifth_bar_unmakes_a_pivot(make_bars: BarsMaker) -> None:
    """The bar five later still decides; one that only equals the high leaves the pivot."""
    unmade = _hand(make_bars, [10, 11, 12, 13, 14, 20, 15, 14, 13, 12, 21, 10])
    equalled = _hand(make_bars, [10, 11, 12, 13, 14, 20, 15, 14, 13, 12, 20, 10])

    assert unmade["pivot_high_to_close"].count() == 0
    assert equalled["bars_since_pivot_high"].to_list() == [None] * 10 + [5, 6]


def test_of_equal_highs_the_first_is_the_pivot(make_bars: BarsMaker) -> None:
    """The second of two highs of 20 is reached by the five bars before it, and is no pivot."""
    features = _hand(make_bars, [10, 11, 12, 13, 14, 20, 15, 20, 13, 12, 11, 10, 9, 8])

    assert features["bars_since_pivot_high"].to_list() == [None] * 10 + [5, 6, 7, 8]


def test_touches_are_counted_from_the_bar_after(make_bars: BarsMaker) -> None:
    """Within 1 % of 20 are highs of 19.8 and more, and lows of 20.2 and less."""
    tail = [19.9, 19.9, 19.7, 20.1, 22.2, 22.3]
    features = _hand(make_bars, [10, 11, 12, 13, 14, 20, 15, 14, 13, 12, *tail])

    assert features["pivot_high_touches"].to_list() == [None] * 10 + [0, 1, 1, 2, 3, 3]


def test_the_anchored_price_begins_with_the_pivot(make_bars: BarsMaker) -> None:
    """Typical prices 19, 14, 13, 12, 11, 10 of 5, 1, 1, 1, 1, 1 shares: 155 / 10; then 9 of 10."""
    features = _hand(
        make_bars,
        [10, 11, 12, 13, 14, 20, 15, 14, 13, 12, 11, 10],
        [9, 9, 9, 9, 9, 5, 1, 1, 1, 1, 1, 10],
    )
    first, second = 155 / 10, 245 / 20
    squares = 5 * 19**2 + 14**2 + 13**2 + 12**2 + 11**2 + 10**2
    deviation = (squares / 10 - first**2) ** 0.5

    prices = features["vwap_from_pivot_high_to_close"].to_list()
    assert prices == [None] * 10 + [pytest.approx(first / 10 - 1), pytest.approx(second / 9 - 1)]
    zscore = features["vwap_from_pivot_high_zscore"]
    assert zscore[10] == pytest.approx((10 - first) / deviation)


def test_a_price_that_never_moves_has_no_pivots(make_bars: BarsMaker) -> None:
    """Equal highs and lows make no pivot; the 52-week high is where the price is."""
    features = _hand(make_bars, [50.0] * 300)

    assert features["pivot_high_to_close"].count() == features["pivot_low_to_close"].count() == 0
    assert features["high_252_to_close"].to_list()[251:] == [50 / 49 - 1] * 49
    # Every bar sets the high again, so no spread has grown.
    assert features["vwap_from_high_252_to_close"].to_list()[251:] == [0] * 49
    assert features["vwap_from_high_252_zscore"].count() == 0


def test_prices_that_differ_by_rounding_alone_have_no_spread(make_bars: BarsMaker) -> None:
    """After a 52-week high of 3, a price of 2.9999999999999996 has no band to stand in."""
    highs = [2.0] * 251 + [3.0, 0.3 / 0.1]
    bars = make_bars(253).with_columns(
        *(pl.Series(name, highs) for name in ("open", "high", "low", "close")),
    )
    features = build_features(bars, LEVELS)

    assert features["vwap_from_high_252_to_close"].count() == 2
    assert features["vwap_from_high_252_zscore"].count() == 0


def _brute_pivots(values: np.ndarray) -> list[int | None]:
    """Return, for each row, the row of the last pivot known, by looking at every bar."""
    last: int | None = None
    known: list[int | None] = []
    for row in range(values.size):
        candidate = row - 5
        if candidate >= 5:
            value = values[candidate]
            before, after = values[candidate - 5 : candidate], values[candidate + 1 : row + 1]
            last = candidate if (value > before).all() and (value >= after).all() else last
        known.append(last)
    return known


def _brute_year_highs(highs: np.ndarray) -> list[int | None]:
    last: int | None = None
    known: list[int | None] = []
    for row in range(highs.size):
        is_new = row >= 251 and highs[row] >= highs[row - 251 : row + 1].max()
        last = row if is_new else last
        known.append(last)
    return known


@pytest.mark.parametrize("seed", [3, 12, 14])
def test_brute_force_agrees(seed: int, make_bars: BarsMaker) -> None:
    """Pivots and anchored prices are those found by looking at every bar from its anchor on."""
    bars = make_bars(420, seed=seed)
    features = build_features(bars, LEVELS)
    high, low, close, volume = (
        bars[name].to_numpy() for name in ("high", "low", "close", "volume")
    )
    typical = (high + low + close) / 3
    anchors = {
        "pivot_high": _brute_pivots(high),
        "pivot_low": _brute_pivots(-low),
        "high_252": _brute_year_highs(high),
    }
    for anchor, rows in anchors.items():
        ours = features.select(
            price=f"vwap_from_{anchor}_to_close", zscore=f"vwap_from_{anchor}_zscore"
        ).rows()
        for row, start in enumerate(rows):
            if start is None:
                assert ours[row] == (None, None)
                continue
            prices, weights = typical[start : row + 1], volume[start : row + 1]
            mean = np.average(prices, weights=weights)
            deviation = np.average((prices - mean) ** 2, weights=weights) ** 0.5
            zscore = None if row == start else pytest.approx((close[row] - mean) / deviation, 1e-6)
            assert ours[row] == (pytest.approx(mean / close[row] - 1, abs=1e-12), zscore)
    assert sum(row is not None for row in anchors["high_252"]) > 0


@pytest.mark.parametrize(("anchor", "values"), [("pivot_high", "high"), ("pivot_low", "low")])
def test_brute_force_finds_the_same_pivots(anchor: str, values: str, make_bars: BarsMaker) -> None:
    """Level, age and touches of the last known pivot, row by row."""
    bars = make_bars(300, seed=5)
    features = build_features(bars, LEVELS)
    high, low, close, prices = (bars[name].to_numpy() for name in ("high", "low", "close", values))
    rows = _brute_pivots(prices if values == "high" else -prices)
    for row, pivot in enumerate(rows):
        names = (f"{anchor}_to_close", f"bars_since_{anchor}", f"{anchor}_touches")
        ours = tuple(features[name][row] for name in names)
        if pivot is None:
            assert ours == (None, None, None)
            continue
        level, later = prices[pivot], slice(pivot + 6, row + 1)
        touches = ((low[later] <= 1.01 * level) & (high[later] >= 0.99 * level)).sum()
        assert ours == (pytest.approx(level / close[row] - 1), row - pivot, touches)
