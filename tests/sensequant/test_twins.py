"""Facts about twins: what of a market stays exactly, and that direction goes."""

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.market.adjustments import ADJUSTED_SCHEMA, adjust_bars
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.twins import TwinConfig, signs_of, twin_of

MARKET = SimulatedConfig(n_symbols=6, planted_edge_bps=60.0, market_correlation=0.5)
PRICES = ("open", "high", "low", "close")


@pytest.fixture(scope="module")
def bars() -> dict[str, pl.DataFrame]:
    """Return adjusted bars with a late listing, a split, a hole, and both indices."""
    source = SimulatedSource(MARKET)
    names = (*source.symbols(), *source.indices())
    return {
        name: adjust_bars(source.fetch(Chunk(name)).bars, source.actions(), nse_calendar())
        for name in names
    }


@pytest.fixture(scope="module")
def twins(bars: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    signs = signs_of(42, 1)
    return {name: twin_of(frame, signs) for name, frame in bars.items()}


def moves(frame: pl.DataFrame) -> np.ndarray[Any, Any]:
    """Return log moves over the night, of the session, and its range, one row per session."""
    logs = {name: np.log(frame[name].to_numpy()) for name in PRICES}
    before = np.r_[logs["open"][0], logs["close"][:-1]]
    night, session = logs["open"] - before, logs["close"] - before
    return np.column_stack([night, session, logs["high"] - logs["low"]])


def test_only_prices_differ(bars: dict[str, pl.DataFrame], twins: dict[str, pl.DataFrame]) -> None:
    """Sessions, listing, holes, volumes, gaps and factors are those of the symbol, row by row."""
    rest = [name for name in ADJUSTED_SCHEMA if name not in PRICES]
    for name, frame in bars.items():
        assert twins[name].select(rest).equals(frame.select(rest))
        assert twins[name].schema == frame.schema
        assert twins[name]["open"][0] == pytest.approx(frame["open"][0])
    assert bars["SIM06"]["session"][0] > bars["SIM01"]["session"][0]
    assert bars["SIM01"].height < bars["SIM03"].height


def test_sizes_of_moves_stay_and_so_does_their_path(
    bars: dict[str, pl.DataFrame], twins: dict[str, pl.DataFrame]
) -> None:
    """Each night's, session's and range's absolute log move, session by session."""
    for name, frame in bars.items():
        assert np.abs(moves(twins[name])) == pytest.approx(np.abs(moves(frame)), abs=1e-9)


def test_symbols_move_together_as_before(
    bars: dict[str, pl.DataFrame], twins: dict[str, pl.DataFrame]
) -> None:
    """Products of two symbols' moves in a session stay; the sign is one for the whole market."""
    (one, other), (first, second) = (
        [moves(market[name])[1:, 1] for name in ("SIM02", "SIM03")] for market in (bars, twins)
    )

    assert first * second == pytest.approx(one * other, abs=1e-9)
    flipped = np.sign(first) != np.sign(one)
    moved = one != 0
    assert 0.45 < flipped[moved].mean() < 0.55
    assert (np.sign(second) != np.sign(other))[other != 0].mean() == pytest.approx(
        flipped[moved].mean(), abs=0.02
    )


def momentum(market: dict[str, pl.DataFrame]) -> tuple[float, float]:
    """Return what following the sign of ten sessions earned per session, and its error, in bps."""
    earned: list[np.ndarray[Any, Any]] = []
    for number in range(1, 6):
        closes = np.log(market[f"SIM{number:02d}"]["close"].to_numpy())[-1000:]
        known = np.sign(closes[10:-1] - closes[:-11])
        earned.append(known * np.diff(closes)[10:] * 1e4)
    # Simultaneous moves are one observation.
    mean = np.mean(earned, axis=0)
    return float(mean.mean()), float(mean.std(ddof=1) / len(mean) ** 0.5)


def test_direction_cannot_be_foreseen(
    bars: dict[str, pl.DataFrame], twins: dict[str, pl.DataFrame]
) -> None:
    """What a planted edge earns in the market is gone in its twin."""
    (real, real_error), (gone, gone_error) = momentum(bars), momentum(twins)

    assert real > 4 * real_error
    assert abs(gone) < 3 * gone_error


def test_a_bar_stays_a_bar(twins: dict[str, pl.DataFrame]) -> None:
    """High and low contain open and close; an index with only a close still has only that."""
    for frame in twins.values():
        prices = frame.select(PRICES)
        assert (prices["high"] >= frame.select(pl.max_horizontal(PRICES)).to_series()).all()
        assert (prices["low"] <= frame.select(pl.min_horizontal(PRICES)).to_series()).all()
        assert (prices.to_numpy() > 0).all()
    closes = twins["NIFTY50TRI"]
    assert (closes["high"] == closes["low"]).all()


def test_two_sessions_by_hand() -> None:
    """Up 10 % and mirrored: divided by 1.1; the range turns over with it."""
    frame = pl.DataFrame(
        {
            "symbol": "A",
            "session": [date(2024, 1, 1), date(2024, 1, 2)],
            "session_number": pl.Series([0, 1], dtype=pl.Int32),
            "open": [100.0, 100.0],
            "high": [100.0, 120.0],
            "low": [100.0, 95.0],
            "close": [100.0, 110.0],
        }
    )

    mirrored = twin_of(frame, np.array([1, -1], dtype=np.int8))

    assert mirrored.row(0)[3:] == pytest.approx((100, 100, 100, 100))
    assert mirrored.row(1)[3:] == pytest.approx((100, 100 / 0.95, 100 / 1.2, 100 / 1.1))


@given(st.integers(1, 30), st.data())
def test_mirroring_twice_is_no_change(n: int, data: st.DataObject) -> None:
    """The same signs again give the bars back."""
    ends = data.draw(st.lists(st.floats(1.0, 1e4), min_size=2 * n, max_size=2 * n))
    signs = np.array(data.draw(st.lists(st.sampled_from([-1, 1]), min_size=n, max_size=n)), np.int8)
    opens, closes = np.array(ends[:n]), np.array(ends[n:])
    frame = pl.DataFrame(
        {
            "symbol": "A",
            "session_number": pl.Series(range(n), dtype=pl.Int32),
            "open": opens,
            "high": np.maximum(opens, closes) * 1.01,
            "low": np.minimum(opens, closes) * 0.99,
            "close": closes,
        }
    )

    again = twin_of(twin_of(frame, signs), signs)

    for name in PRICES:
        assert again[name].to_numpy() == pytest.approx(frame[name].to_numpy(), rel=1e-9)


def test_a_level_is_left_alone(bars: dict[str, pl.DataFrame]) -> None:
    """India VIX says how much is feared, not which way; an empty frame stays empty."""
    level = bars["NIFTY50"].with_columns(symbol=pl.lit("INDIAVIX"))

    assert twin_of(level, signs_of(1, 1)).equals(level)
    assert twin_of(level.clear(), signs_of(1, 1)).is_empty()


def test_signs_follow_from_seed_and_number() -> None:
    """Equal ones are equal, others are independent; half of them are up."""
    signs = [signs_of(seed, number) for seed, number in ((1, 1), (1, 2), (2, 1))]

    assert (signs_of(1, 1) == signs[0]).all()
    for one in range(3):
        assert set(signs[one].tolist()) == {-1, 1}
        assert abs(signs[one].mean()) < 4 / len(signs[one]) ** 0.5
        agreed = (signs[one] == signs[(one + 1) % 3]).mean()
        assert agreed == pytest.approx(0.5, abs=2 / len(signs[one]) ** 0.5)
    assert len(signs[0]) > nse_calendar().numbers().height
    assert TwinConfig().n_twins == 0
