"""The option chain of a stock or index: futures and options at prices of a model.

Belongs here: contracts, their prices and the rows of the chain. Does not belong here: the spot
price (`market`).

Contracts end on the last Thursday of the month, or the session before it; three months are listed,
on an index also the next `N_WEEKS` Thursdays. There are `N_STRIKES` strikes on either side of the
spot. Futures are the spot carried at `RATE_FRAC`, options are priced by Black and Scholes (Journal
of Political Economy 81, 1973) at a volatility that smiles. Open interest and volume are drawn from
the contract's name. None of this is a market: it has the vendor's shape and the arithmetic of
options, no more.
"""

import calendar
import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from sensequant.breeze_simulator.clock import Clock, is_open, wall_time
from sensequant.breeze_simulator.directory import Directory
from sensequant.breeze_simulator.market import MarketFeed, Snapshot, snapshot
from sensequant.breeze_simulator.quotes import CIRCUIT_FRAC, TICK_INR, on_tick
from sensequant.breeze_simulator.wire import Reply, envelope, failure
from sensequant.market.sessions import nse_calendar

__all__ = [
    "N_EXPIRIES",
    "N_STRIKES",
    "N_WEEKS",
    "RATE_FRAC",
    "VOLATILITY_FRAC",
    "OptionChain",
    "expiries",
]

N_EXPIRIES = 3
N_STRIKES = 10
N_WEEKS = 4
RATE_FRAC = 0.065
"""Yearly rate of interest."""

VOLATILITY_FRAC = 0.25
"""Yearly volatility at the money."""

_SMILE = 0.6
_DAYS_PER_YEAR = 365.0
_LOT = 50
_STEPS = (1.0, 2.5, 5.0, 10.0, 20.0, 50.0, 100.0)
_STEP_FRAC = 0.01
_EXCHANGES = ("NFO", "BFO")
_RIGHTS = {"call": "Call", "put": "Put"}


def expiries(today: date, *, has_weeks: bool = False) -> list[date]:
    """Return the next expiry dates, today's included; an index has weeks beside the months."""
    monthly = _months(today)
    if not has_weeks:
        return monthly
    first = today + timedelta(days=(calendar.THURSDAY - today.weekday()) % 7)
    weekly = [_or_before(first + timedelta(weeks=ahead)) for ahead in range(N_WEEKS)]
    return sorted({*monthly, *(day for day in weekly if day >= today)})


def _months(today: date) -> list[date]:
    found: list[date] = []
    year, month = today.year, today.month
    while len(found) < N_EXPIRIES:
        expiry = _last_thursday(year, month)
        if expiry >= today:
            found.append(expiry)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)  # noqa: PLR2004
    return found


class OptionChain:
    """The option chain service.

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
        """Answer a request for the chain of a code."""
        listing = self._directory.of_code(params.get("stock_code", ""), renamed)
        state = None
        is_known = listing is not None and listing.symbol in (
            *self._feed.symbols(),
            *self._feed.indices(),
        )
        if listing is not None and is_known:
            now = self._clock()
            state = snapshot(self._feed, listing.symbol, now=now)
            if state is not None and is_open(now):
                # An index has no minutes here; its options trade all the same.
                state = dataclasses.replace(state, traded_at=now)
        if listing is None or state is None:
            return failure("No Data Found", outcome="unknown_code", status=200)
        if params.get("exchange_code", "").upper() != _EXCHANGES[0]:
            return failure("No Data Found", outcome="no_contract", status=200)
        is_future = params.get("product_type", "").lower() == "futures"
        has_weeks = listing.symbol in self._feed.indices()
        rows = (
            _futures(listing.code, state)
            if is_future
            else _options(listing.code, state, has_weeks=has_weeks)
        )
        wanted = [row for row in rows if _is_wanted(row, params)]
        if not wanted:
            return failure("No Data Found", outcome="no_contract", status=200)
        return envelope(wanted)


def _last_thursday(year: int, month: int) -> date:
    last = date(year, month, calendar.monthrange(year, month)[1])
    return _or_before(last - timedelta(days=(last.weekday() - calendar.THURSDAY) % 7))


def _or_before(thursday: date) -> date:
    known = nse_calendar()
    # A contract of a year without a known calendar keeps its Thursday.
    return known.previous_on_or_before(thursday) if thursday <= known.last else thursday


def _futures(code: str, state: Snapshot) -> Iterator[dict[str, Any]]:
    today = wall_time(state.traded_at).date()
    for expiry in expiries(today):
        price = state.last * math.exp(RATE_FRAC * _years(today, expiry))
        yield _row(code, state, product="Future", expiry=expiry, right="*", strike=0.0, price=price)


def _options(code: str, state: Snapshot, *, has_weeks: bool) -> Iterator[dict[str, Any]]:
    today = wall_time(state.traded_at).date()
    step = min((one for one in _STEPS if one >= _STEP_FRAC * state.last), default=_STEPS[-1])
    middle = round(state.last / step)
    for expiry in expiries(today, has_weeks=has_weeks):
        for number in range(max(1, middle - N_STRIKES), middle + N_STRIKES + 1):
            for right in ("Call", "Put"):
                price = _black_scholes(
                    state.last, number * step, _years(today, expiry), is_call=right == "Call"
                )
                yield _row(
                    code,
                    state,
                    product="Options",
                    expiry=expiry,
                    right=right,
                    strike=number * step,
                    price=price,
                )


def _years(today: date, expiry: date) -> float:
    # A contract lives to the end of its last session.
    return ((expiry - today).days + 1) / _DAYS_PER_YEAR


def _black_scholes(spot: float, strike: float, years: float, *, is_call: bool) -> float:
    moneyness = math.log(strike / spot)
    deviation = VOLATILITY_FRAC * (1.0 + _SMILE * abs(moneyness)) * math.sqrt(years)
    upper = (-moneyness + RATE_FRAC * years) / deviation + deviation / 2.0
    lower = upper - deviation
    sign = 1.0 if is_call else -1.0
    discounted = strike * math.exp(-RATE_FRAC * years)
    return sign * (spot * _normal(sign * upper) - discounted * _normal(sign * lower))


def _normal(value: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2.0))


def _row(
    code: str,
    state: Snapshot,
    *,
    product: str,
    expiry: date,
    right: str,
    strike: float,
    price: float,
) -> dict[str, Any]:
    quoted = on_tick(price)
    drawn = hashlib.sha256(f"{code} {expiry} {right} {strike}".encode()).digest()
    interest = _LOT * int.from_bytes(drawn[:2], "big")
    volume = _LOT * int.from_bytes(drawn[2:4], "big")
    return {
        "exchange_code": "NFO",
        "product_type": product,
        "stock_code": code,
        "expiry_date": f"{expiry:%d-%b-%Y}",
        "right": right,
        "strike_price": strike,
        "ltp": quoted,
        "ltt": f"{wall_time(state.traded_at):%d-%b-%Y %H:%M:%S}",
        "best_bid_price": on_tick(quoted - TICK_INR),
        "best_bid_quantity": str(_LOT),
        "best_offer_price": on_tick(quoted + TICK_INR),
        "best_offer_quantity": str(_LOT),
        "open": quoted,
        "high": quoted,
        "low": quoted,
        "previous_close": quoted,
        "ltp_percent_change": 0.0,
        "upper_circuit": on_tick(quoted + CIRCUIT_FRAC * state.last),
        "lower_circuit": on_tick(quoted - CIRCUIT_FRAC * state.last),
        "total_quantity_traded": str(volume),
        "spot_price": f"{state.last:g}",
        "ltq": str(_LOT),
        "open_interest": float(interest),
        "chnge_oi": 0.0,
        "total_buy_qty": str(volume // 2),
        "total_sell_qty": str(volume // 2),
    }


def _is_wanted(row: Mapping[str, Any], params: Mapping[str, str]) -> bool:
    expiry = params.get("expiry_date", "")
    if expiry and row["expiry_date"] != _as_listed(expiry):
        return False
    right = params.get("right", "").lower()
    if right in _RIGHTS and row["right"] != _RIGHTS[right]:
        return False
    strike = params.get("strike_price", "")
    return not strike or _number(strike) in (0.0, row["strike_price"])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _as_listed(text: str) -> str:
    # Both forms are in use: 2024-01-25T06:00:00.000Z and 25-Jan-2024.
    try:
        return f"{date.fromisoformat(text[:10]):%d-%b-%Y}"
    except ValueError:
        return text
