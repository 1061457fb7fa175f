"""Facts about quotes, as the real SDK receives them."""

from datetime import date
from typing import Any

from sensequant.breeze_simulator import Fault, SimulatedFeed
from sensequant.breeze_simulator.quotes import on_tick

TODAY = date(2024, 1, 16)


def test_a_quote_has_two_rows(vendor: Any, feed: SimulatedFeed) -> None:
    """NSE as it stands, BSE all zero; prices are numbers, quantities are texts."""
    minutes = feed.truth("SIM03", "1minute", TODAY, TODAY).head(108)

    nse, bse = vendor.sdk.quotes(vendor.code("SIM03")).value["Success"]

    assert nse["ltp"] == minutes["close"][-1]
    assert nse["ltt"] == "16-Jan-2024 11:03:20"
    assert nse["total_quantity_traded"] == str(minutes["volume"].sum())
    assert nse["best_bid_price"] < nse["ltp"] < nse["best_offer_price"]
    assert isinstance(nse["best_bid_quantity"], str)
    assert nse["lower_circuit"] < nse["low"] <= nse["high"] < nse["upper_circuit"]
    change = 100 * (nse["ltp"] / nse["previous_close"] - 1)
    assert abs(nse["ltp_percent_change"] - change) < 0.01
    assert (bse["exchange_code"], bse["ltp"], bse["ltt"]) == ("BSE", 0.0, "NA")


def test_an_index_is_quoted(vendor: Any) -> None:
    """A login can be proven by NIFTY, whatever the market."""
    nifty = vendor.sdk.quotes("NIFTY").value["Success"][0]
    vix = vendor.sdk.quotes("INDVIX").value["Success"][0]

    assert nifty["ltp"] > 1000
    assert 1 <= vix["ltp"] < 100


def test_an_unknown_code_has_no_quote(vendor: Any) -> None:
    """The old code of a renamed stock is unknown too."""
    assert vendor.sdk.quotes("NOSUCH").value["Error"] == "No Data Found"
    vendor.simulator.faults.add(Fault(name="rename", symbol="SIM03"))
    assert vendor.sdk.quotes(vendor.code("SIM03")).value["Error"] == "No Data Found"


def test_prices_stand_on_ticks() -> None:
    """Nothing is quoted below one tick."""
    assert on_tick(100.03) == 100.05
    assert on_tick(-3.0) == on_tick(0.0) == 0.05
