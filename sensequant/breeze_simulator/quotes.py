"""Quotes of a stock or index.

Belongs here: the two rows of a quote. Does not belong here: which prices there are (`market`),
depth (`depth`), options (`options`).

As at the vendor, prices are numbers, quantities are texts, there is a row for NSE and one for BSE;
the market has no BSE, so that row is zero and its time is NA.
"""

from collections.abc import Mapping
from typing import Any

from sensequant.breeze_simulator.clock import Clock, wall_time
from sensequant.breeze_simulator.directory import Directory
from sensequant.breeze_simulator.market import MarketFeed, Snapshot, snapshot
from sensequant.breeze_simulator.wire import Reply, envelope, failure

__all__ = ["CIRCUIT_FRAC", "TICK_INR", "Quotes", "on_tick"]

TICK_INR = 0.05
CIRCUIT_FRAC = 0.1
"""Distance of the circuit limits from the previous close."""

_SHARE_OF_VOLUME = 2000


def on_tick(price: float) -> float:
    """Return the nearest price that can be quoted, at least one tick."""
    return max(TICK_INR, round(round(price / TICK_INR) * TICK_INR, 2))


class Quotes:
    """The quotes service.

    Parameters
    ----------
    feed
        The market.
    directory
        Its names.
    clock
        The vendor's time.
    """

    def __init__(self, feed: MarketFeed, directory: Directory, *, clock: Clock) -> None:
        self._feed = feed
        self._directory = directory
        self._clock = clock

    def answer(self, params: Mapping[str, str], renamed: frozenset[str]) -> Reply:
        """Answer a request for the quotes of a code."""
        code = params.get("stock_code", "")
        listing = self._directory.of_code(code, renamed)
        if listing is None:
            return failure("No Data Found", outcome="unknown_code", status=200)
        known = (*self._feed.symbols(), *self._feed.indices())
        state = None
        if listing.symbol in known:
            state = snapshot(self._feed, listing.symbol, now=self._clock())
        return envelope([_row(code, "NSE", state), _row(code, "BSE", None)])


def _row(code: str, exchange: str, state: Snapshot | None) -> dict[str, Any]:
    nothing = {
        "exchange_code": exchange,
        "product_type": "",
        "stock_code": code,
        "expiry_date": None,
        "right": None,
        "strike_price": 0.0,
        "ltp": 0.0,
        "ltt": "NA",
        "best_bid_price": 0.0,
        "best_bid_quantity": "0",
        "best_offer_price": 0.0,
        "best_offer_quantity": "0",
        "open": 0.0,
        "high": 0.0,
        "low": 0.0,
        "previous_close": 0.0,
        "ltp_percent_change": 0.0,
        "upper_circuit": 0.0,
        "lower_circuit": 0.0,
        "total_quantity_traded": "0",
        "spot_price": None,
    }
    return nothing if state is None else nothing | _traded(state)


def _traded(state: Snapshot) -> dict[str, Any]:
    quantity = str(state.volume // _SHARE_OF_VOLUME)
    return {
        "ltp": state.last,
        "ltt": f"{wall_time(state.traded_at):%d-%b-%Y %H:%M:%S}",
        "best_bid_price": on_tick(state.last - TICK_INR),
        "best_bid_quantity": quantity,
        "best_offer_price": on_tick(state.last + TICK_INR),
        "best_offer_quantity": quantity,
        "open": state.open,
        "high": state.high,
        "low": state.low,
        "previous_close": state.previous_close,
        "ltp_percent_change": round(100.0 * (state.last / state.previous_close - 1.0), 2),
        "upper_circuit": on_tick(state.previous_close * (1.0 + CIRCUIT_FRAC)),
        "lower_circuit": on_tick(state.previous_close * (1.0 - CIRCUIT_FRAC)),
        "total_quantity_traded": str(state.volume),
    }
