"""Facts about the option chain."""

import math
from datetime import date
from typing import Any

import pytest

from sensequant.breeze_simulator.options import N_STRIKES, RATE_FRAC, expiries
from sensequant.market.sessions import nse_calendar

TODAY = date(2024, 1, 16)


def chain(vendor: Any, *, expiry: str = "", right: str = "", strike: str = "") -> Any:
    return vendor.sdk.option_chain(
        vendor.code("SIM03"), expiry_date=expiry, right=right, strike_price=strike
    ).value


def futures(vendor: Any, **changed: str) -> Any:
    given = {
        "stock_code": vendor.code("SIM03"),
        "exchange_code": "NFO",
        "product_type": "futures",
        "expiry_date": "",
        "right": "",
        "strike_price": "",
    }
    return vendor.sdk._breeze.get_option_chain_quotes(**given | changed)


def test_contracts_end_on_the_last_thursday() -> None:
    """Or on the session before it; today's expiry still counts; years roll over."""
    assert expiries(TODAY) == [date(2024, 1, 25), date(2024, 2, 29), date(2024, 3, 28)]
    assert expiries(date(2024, 1, 25))[0] == date(2024, 1, 25)
    assert expiries(date(2024, 1, 26))[0] == date(2024, 2, 29)
    assert expiries(date(2023, 11, 30))[1:] == [date(2023, 12, 28), date(2024, 1, 25)]
    assert expiries(date(2023, 3, 1))[0] == date(2023, 3, 29)  # the 30th was a holiday
    weeks = expiries(date(2024, 1, 18), has_weeks=True)
    assert weeks[:4] == [date(2024, 1, day) for day in (18, 25)] + [
        date(2024, 2, day) for day in (1, 8)
    ]
    # The last Thursday of March 2023 was a holiday.
    assert expiries(date(2023, 3, 24), has_weeks=True)[0] == date(2023, 3, 29)
    assert expiries(date(2023, 3, 30), has_weeks=True)[0] == date(2023, 4, 6)
    beyond = expiries(date(nse_calendar().last.year, 12, 1))
    assert beyond[1].year == nse_calendar().last.year + 1
    assert all(one.weekday() == 3 for one in beyond[1:])


@pytest.mark.parametrize("right", ["call", "put"])
def test_a_chain_has_the_strikes_around_the_spot(vendor: Any, right: str) -> None:
    """Twenty-one strikes on either side of the spot; calls fall with the strike, puts rise."""
    rows = chain(vendor, expiry="2024-01-25T06:00:00.000Z", right=right)["Success"]

    strikes = [row["strike_price"] for row in rows]
    spot = float(rows[0]["spot_price"])
    assert len(strikes) == 2 * N_STRIKES + 1
    assert strikes == sorted(strikes)
    assert strikes[0] < spot < strikes[-1]
    prices = [row["ltp"] for row in rows]
    assert prices == sorted(prices, reverse=right == "call")
    assert {row["right"] for row in rows} == {right.capitalize()}
    assert {row["expiry_date"] for row in rows} == {"25-Jan-2024"}
    assert all(isinstance(row["total_quantity_traded"], str) for row in rows)


def test_puts_and_calls_are_at_parity(vendor: Any) -> None:
    """Call less put is the spot less the discounted strike, but for the tick."""
    rows = chain(vendor, expiry="29-Feb-2024", right="others", strike="")["Success"]
    years = ((date(2024, 2, 29) - TODAY).days + 1) / 365
    by_strike: dict[float, dict[str, float]] = {}
    for row in rows:
        by_strike.setdefault(row["strike_price"], {})[row["right"]] = row["ltp"]

    assert len(by_strike) == 2 * N_STRIKES + 1
    spot = float(rows[0]["spot_price"])
    for strike, prices in by_strike.items():
        parity = spot - strike * math.exp(-RATE_FRAC * years)
        assert prices["Call"] - prices["Put"] == pytest.approx(parity, abs=0.11)


def test_conditions_select_contracts(vendor: Any) -> None:
    """One strike, one right: a row for each expiry; a strike that is none has no row."""
    rows = chain(vendor, right="call", strike="215")["Success"]

    assert [row["expiry_date"] for row in rows] == ["25-Jan-2024", "29-Feb-2024", "28-Mar-2024"]
    assert chain(vendor, right="call", strike="many")["Error"] == "No Data Found"


def test_futures_carry_the_spot(vendor: Any) -> None:
    """Three of them, dearer the later they end."""
    rows = futures(vendor)["Success"]

    prices = [row["ltp"] for row in rows]
    assert len(prices) == 3
    assert prices == sorted(prices)
    assert {row["product_type"] for row in rows} == {"Future"}


def test_what_has_no_chain(vendor: Any) -> None:
    """Unknown codes and the other exchange."""
    for changed in ({"stock_code": "NOSUCH"}, {"exchange_code": "BFO"}):
        assert futures(vendor, **changed)["Error"] == "No Data Found"
