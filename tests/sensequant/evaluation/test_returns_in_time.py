"""Facts about returns by month and ratios of a year behind, told by hand and by brute force."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.evaluation.returns_in_time import monthly_returns, rolling_sharpe


def test_months_are_compounded() -> None:
    """Two sessions of January, one of February; March has none and no row."""
    returns = pl.DataFrame(
        {
            "session": [date(2024, 1, 30), date(2024, 1, 31), date(2024, 2, 1), date(2024, 4, 1)],
            "net_return": [0.1, -0.1, 0.02, 0.0],
        }
    )

    found = monthly_returns(returns)

    assert found.select("year", "month", "n_sessions").rows() == [
        (2024, 1, 2),
        (2024, 2, 1),
        (2024, 4, 1),
    ]
    assert found["net_return"].to_list() == pytest.approx([-0.01, 0.02, 0.0])


@given(st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=200))
def test_months_compound_to_the_whole(values: list[float]) -> None:
    """Nothing is lost between months."""
    sessions = [date(2023, 1, 1) + timedelta(days=2 * number) for number in range(len(values))]
    months = monthly_returns(pl.DataFrame({"session": sessions, "net_return": values}))

    assert np.prod(1 + months["net_return"].to_numpy()) == pytest.approx(
        np.prod(1 + np.array(values))
    )
    assert months["n_sessions"].sum() == len(values)


def test_each_ratio_rests_on_the_sessions_up_to_it() -> None:
    """Told by a plain loop; the first has as many sessions as were asked for."""
    returns = np.random.default_rng(3).normal(0.001, 0.01, 60)
    returns[40] = np.nan
    found = rolling_sharpe(returns, risk_free_daily=0.0002, n_sessions=10)

    for row in range(60):
        part = returns[row - 9 : row + 1] - 0.0002
        if row < 9 or np.isnan(part).any():
            assert np.isnan(found[row])
        else:
            assert found[row] == pytest.approx(part.mean() / part.std(ddof=1) * np.sqrt(248))


@given(st.integers(0, 49), st.floats(-0.5, 0.5))
def test_no_later_return_changes_a_ratio(place: int, value: float) -> None:
    """A ratio knows its own session and those before it."""
    returns = np.random.default_rng(4).normal(0, 0.01, 50)
    changed = returns.copy()
    changed[place] = value
    before = rolling_sharpe(returns, risk_free_daily=0.0, n_sessions=5)[:place]
    after = rolling_sharpe(changed, risk_free_daily=0.0, n_sessions=5)[:place]

    assert np.array_equal(before, after, equal_nan=True)


@pytest.mark.parametrize("returns", [np.zeros(0), np.full(3, 0.1), np.full(20, 0.01)], ids=len)
def test_what_does_not_vary_or_is_too_short_has_no_ratio(returns: np.ndarray) -> None:
    """Absent, not zero."""
    assert np.isnan(rolling_sharpe(returns, risk_free_daily=0.0, n_sessions=5)).all()
