"""Differences of portfolios: by hand, paired, and silent where nothing is defined."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sensequant.evaluation.differences import DIFFERENCES, is_told_from_zero, return_differences
from sensequant.evaluation.figures import Figure

HOW: dict[str, Any] = {
    "min_block": 5,
    "n_draws": 400,
    "confidence": 0.9,
    "seed": 3,
    "risk_free_daily": 0.0001,
}


def series(seed: int, n: int = 300, mean: float = 0.0005) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(mean, 0.01, n)


def test_a_difference_is_that_of_the_figures() -> None:
    """By explicit sums, on the data."""
    a, b = series(1), series(2)
    found = return_differences(a, b, **HOW)

    def sharpe(x: NDArray[np.float64]) -> float:
        return float((x - 0.0001).mean() / x.std(ddof=1) * 248**0.5)

    def yearly(x: NDArray[np.float64]) -> float:
        return float(np.prod(1 + x) ** (248 / len(x)) - 1)

    assert found["net_sharpe"].value == pytest.approx(sharpe(a) - sharpe(b))
    assert found["net_annual_return"].value == pytest.approx(yearly(a) - yearly(b))
    assert {name: each.unit for name, each in found.items()} == DIFFERENCES
    assert {each.n for each in found.values()} == {300}


def test_what_both_share_cancels() -> None:
    """A small gain on top of the same returns is told; the same gain on others is not."""
    base = series(4)
    gain = np.random.default_rng(5).normal(0.0004, 0.0002, base.size)

    paired = return_differences(base + gain, base, **HOW)["net_annual_return"]
    apart = return_differences(base + gain, series(6), **HOW)["net_annual_return"]

    assert is_told_from_zero(paired)
    assert is_told_from_zero(apart) is False


def test_equal_portfolios_differ_by_nothing() -> None:
    """The interval of no difference is no difference, which is not told from zero."""
    found = return_differences(series(7), series(7), **HOW)

    assert [(each.lower, each.value, each.upper) for each in found.values()] == [(0, 0, 0)] * 2
    assert not any(is_told_from_zero(each) for each in found.values())


@pytest.mark.parametrize(("n", "reason"), [(0, "no sessions"), (5, "do not vary")])
def test_what_is_not_defined_is_absent(n: int, reason: str) -> None:
    """Cash has no Sharpe ratio, and no session no figure."""
    found = return_differences(series(8, n), np.full(n, 0.0001), **HOW)["net_sharpe"]

    assert found.value is None
    assert reason in (found.reason or "")
    assert is_told_from_zero(found) is None


@pytest.mark.parametrize(
    ("lower", "upper", "told"), [(0.1, 0.2, True), (-2.0, -1.0, True), (-1.0, 1.0, False)]
)
def test_an_interval_tells(lower: float, upper: float, told: bool) -> None:
    """Told from zero is what leaves zero out, on either side."""
    assert is_told_from_zero(Figure(value=0, lower=lower, upper=upper, n=1, unit="x")) is told
