"""First touches: by hand, against a loop, and across holes and symbols."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.barriers import first_touches

Bars = list[tuple[int, float, float, float]]
Touch = tuple[int | None, float | None, bool | None]


def _bars(path: Bars, symbol: str = "AAA") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(path),
            "session_number": [each[0] for each in path],
            "open": [each[1] for each in path],
            "high": [each[2] for each in path],
            "low": [each[3] for each in path],
        },
        schema={
            "symbol": pl.String,
            "session_number": pl.Int32,
            "open": pl.Float64,
            "high": pl.Float64,
            "low": pl.Float64,
        },
    )


def _touches(bars: pl.DataFrame, *, horizon: int, profit: float, stop: float) -> list[Touch]:
    ones = pl.Series([1.0] * bars.height, dtype=pl.Float64)
    found = first_touches(
        bars, horizon_sessions=horizon, profit_frac=ones * profit, stop_frac=ones * stop
    )
    assert found.dtypes == [pl.Int32, pl.Float64, pl.Boolean]
    return [(offset, price, is_profit) for offset, price, is_profit in found.iter_rows()]


FLAT = (100.0, 104.0, 96.0)


@pytest.mark.parametrize(
    ("after_entry", "expected"),
    [
        # Entry at 100; profit at 125, stop at 75. Bars after the entry's, one per session.
        ([FLAT, FLAT], (None, None, None)),
        ([(100, 125, 100), FLAT], (2, 125.0, True)),
        ([(100, 124.9, 100), (100, 130, 99)], (3, 125.0, True)),
        ([(100, 101, 75), FLAT], (2, 75.0, False)),
        ([FLAT, (90, 90, 60)], (3, 75.0, False)),
        ([(100, 130, 70), FLAT], (2, 75.0, False)),  # both inside one bar: the stop counts
        ([(131, 140, 60), FLAT], (2, 131.0, True)),  # opens behind the profit barrier: a gap
        ([(70, 130, 60), FLAT], (2, 70.0, False)),  # opens behind the stop: a worse price than it
        ([(125, 126, 124), FLAT], (2, 125.0, True)),  # opens exactly on the barrier
        ([(100, 125, 100), (100, 100, 10)], (2, 125.0, True)),  # what comes later is not asked
    ],
)
def test_first_touch_by_hand(
    after_entry: list[tuple[float, float, float]], expected: Touch
) -> None:
    """The first bar that reaches a barrier closes the position, at its open if that is behind."""
    bars = [(100.0, 100.0, 100.0), FLAT, *after_entry]
    path = [(number, *bar) for number, bar in enumerate(bars)]

    assert _touches(_bars(path), horizon=3, profit=0.25, stop=0.25)[0] == expected


def test_the_bar_of_the_entry_counts() -> None:
    """From the open of the entry on, its own high and low can touch."""
    path = [(0, 100.0, 200.0, 50.0), (1, 100.0, 125.0, 99.0)]

    assert _touches(_bars(path), horizon=1, profit=0.25, stop=0.25)[0] == (1, 125.0, True)


def test_a_touch_behind_the_horizon_does_not_count() -> None:
    """The time barrier stands at the horizon; holes are sessions too."""
    path = [(0, *FLAT), (1, *FLAT), (4, 100.0, 150.0, 100.0)]

    assert _touches(_bars(path), horizon=3, profit=0.5, stop=0.5)[0] == (None, None, None)
    assert _touches(_bars(path), horizon=4, profit=0.5, stop=0.5)[0] == (4, 150.0, True)


def test_no_entry_and_no_barrier_touch_nothing() -> None:
    """Without a bar to enter on, or a known distance, nothing is invented."""
    bars = _bars([(0, *FLAT), (2, 100.0, 200.0, 1.0), (3, 100.0, 200.0, 1.0)])
    known = pl.Series([0.1, None, 0.1])
    found = first_touches(bars, horizon_sessions=5, profit_frac=known, stop_frac=known)

    assert found.null_count().row(0) == (3, 3, 3)


def test_no_bars_have_no_touches() -> None:
    """An empty frame stays one."""
    assert _touches(_bars([]), horizon=5, profit=0.1, stop=0.1) == []


def _loop(bars: pl.DataFrame, *, horizon: int, profit: float, stop: float) -> list[Touch]:
    rows = {(row["symbol"], row["session_number"]): row for row in bars.iter_rows(named=True)}
    found: list[Touch] = []
    for symbol, number in rows:
        touch: Touch = (None, None, None)
        entry = rows.get((symbol, number + 1), {}).get("open")
        for ahead in range(1, horizon + 1):
            bar = rows.get((symbol, number + ahead))
            if entry is None or bar is None:
                continue
            high_limit, low_limit = entry * (1 + profit), entry * (1 - stop)
            if bar["open"] >= high_limit:
                touch = (ahead, bar["open"], True)
            elif bar["open"] <= low_limit:
                touch = (ahead, bar["open"], False)
            elif bar["low"] <= low_limit:
                touch = (ahead, low_limit, False)
            elif bar["high"] >= high_limit:
                touch = (ahead, high_limit, True)
            else:
                continue
            break
        found.append(touch)
    return found


@st.composite
def _paths(draw: st.DrawFn) -> Bars:
    numbers = sorted(draw(st.sets(st.integers(100, 130), max_size=25)))
    price = st.integers(80, 125).map(float)
    path: Bars = []
    for number in numbers:
        low, start, high = sorted(draw(st.tuples(price, price, price)))
        path.append((number, start, high, low))
    return path


@given(
    first=_paths(),
    second=_paths(),
    horizon=st.integers(1, 9),
    profit=st.sampled_from([0.02, 0.1, 0.25]),
    stop=st.sampled_from([0.02, 0.1, 0.3]),
)
def test_touches_are_those_of_a_loop(
    first: Bars, second: Bars, horizon: int, profit: float, stop: float
) -> None:
    """Arrays and a loop over dictionaries agree on random paths of two symbols with holes."""
    bars = pl.concat([_bars(first), _bars(second, "BBB")])

    assert _touches(bars, horizon=horizon, profit=profit, stop=stop) == _loop(
        bars, horizon=horizon, profit=profit, stop=stop
    )
