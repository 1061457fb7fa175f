"""Implied volatilities: known prices, a second formula, and the way back to 1e-8."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sensequant.context.black_scholes import Terms, implied, price


def terms(
    spot: float, strike: float, years: float, rate: float, dividend: float, *, is_call: bool
) -> Terms:
    numbers = (np.array([value]) for value in (spot, strike, years, rate, dividend))
    return Terms(*numbers, is_call=np.array([is_call]))


def by_erfc(one: Terms, volatility: float) -> float:
    """Return the price as the textbook writes it, in numbers of Python."""
    spot, strike, years, rate, dividend = (
        float(each[0])
        for each in (one.spot_inr, one.strike_inr, one.years, one.rate_frac, one.dividend_frac)
    )
    deviation = volatility * math.sqrt(years)
    upper = (math.log(spot / strike) + (rate - dividend) * years) / deviation + deviation / 2
    sign = 1 if one.is_call[0] else -1

    def normal(value: float) -> float:
        return 0.5 * math.erfc(-value / math.sqrt(2))

    return sign * (
        spot * math.exp(-dividend * years) * normal(sign * upper)
        - strike * math.exp(-rate * years) * normal(sign * (upper - deviation))
    )


@pytest.mark.parametrize(
    ("one", "volatility", "expected"),
    [
        # Hull, Options, Futures, and Other Derivatives, example 15.6.
        (terms(42, 40, 0.5, 0.10, 0, is_call=True), 0.2, 4.76),
        (terms(42, 40, 0.5, 0.10, 0, is_call=False), 0.2, 0.81),
        # The same book, example 17.1: an index with a dividend yield.
        (terms(930, 900, 2 / 12, 0.08, 0.03, is_call=True), 0.2, 51.83),
    ],
)
def test_prices_of_a_textbook(one: Terms, volatility: float, expected: float) -> None:
    """To the cents that are printed there."""
    assert price(one, np.array([volatility]))[0] == pytest.approx(expected, abs=0.005)


MARKETS = {
    "moneyness": st.floats(-0.4, 0.4),
    "years": st.floats(1 / 365, 3),
    "rate": st.floats(-0.02, 0.15),
    "dividend": st.floats(0, 0.08),
    "volatility": st.floats(0.01, 3),
    "is_call": st.booleans(),
}


@settings(max_examples=200, deadline=None)
@given(**MARKETS)
def test_the_way_back_to_1e_8(
    moneyness: float,
    years: float,
    rate: float,
    dividend: float,
    volatility: float,
    *,
    is_call: bool,
) -> None:
    """Wherever the price still tells volatilities apart; elsewhere none is made up.

    A price of size P holds its last digit to 1e-16 P, so that a volatility is known to that by
    vega at best: where this is more than 1e-9, nobody could come back to 1e-8.
    """
    spot = 20_000.0
    one = terms(spot, spot * math.exp(moneyness), years, rate, dividend, is_call=is_call)
    sigma = np.array([volatility])
    paid = price(one, sigma)
    step = 1e-4 * volatility
    vega = (price(one, sigma + step) - price(one, sigma - step))[0] / (2 * step)

    found = implied(one, paid)[0]

    assert paid[0] == pytest.approx(by_erfc(one, volatility), rel=1e-9, abs=1e-7)
    if vega * 1e-9 > 2e-15 * spot:
        assert found == pytest.approx(volatility, abs=1e-8)
    elif not math.isnan(found):
        assert price(one, np.array([found]))[0] == pytest.approx(paid[0], abs=1e-8 * spot)


def test_many_at_once_are_each_alone() -> None:
    """Arrays of calls and puts, with prices that imply nothing among them."""
    rng = np.random.default_rng(0)
    n = 500
    many = Terms(
        rng.uniform(90, 110, n),
        rng.uniform(80, 120, n),
        rng.uniform(0.05, 2, n),
        rng.uniform(0, 0.1, n),
        rng.uniform(0, 0.05, n),
        is_call=rng.random(n) < 0.5,
    )
    volatility = rng.uniform(0.1, 1, n)
    paid = price(many, volatility)
    paid[:3] = many.intrinsic_inr[0] - 0.01, many.intrinsic_inr[1], many.highest_inr[2]

    found = implied(many, paid)

    assert np.isnan(found[:3]).all()
    assert_allclose(found[3:], volatility[3:], atol=1e-8, rtol=0)
    assert_allclose(
        paid[3:],
        [
            by_erfc(
                Terms(
                    *(
                        each[row : row + 1]
                        for each in (
                            many.spot_inr,
                            many.strike_inr,
                            many.years,
                            many.rate_frac,
                            many.dividend_frac,
                        )
                    ),
                    is_call=many.is_call[row : row + 1],
                ),
                volatility[row],
            )
            for row in range(3, n)
        ],
        rtol=1e-10,
    )
