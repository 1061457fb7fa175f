"""One portfolio over all symbols: what orders do to cash and shares, and what that is worth.

Belongs here: fills, lots, limits, cash and its interest. Does not belong here: which orders there
are (`evaluation.backtest`, `evaluation.strategies`), what a trade costs (`evaluation.costs`), the
tables of what happened (`evaluation.account`).

Rules
-----
1. An order asks for a share of the equity (signed; 0 is none) in one symbol at one moment of a bar:
   its open, a price within it, its close. It is executed at the price that it names, in whole
   shares. Shares that a split or bonus made out of one are no longer whole; what is left of them is
   sold with the rest.
2. Equity at the open is cash and all positions at that open; a symbol without a bar counts at its
   last close.
3. What makes positions smaller is executed first, and as a whole. What makes them larger is cut: by
   `max_participation_frac` of the volume of the bar, and then, all alike, to what the gross limit
   leaves and what cash can pay with its costs. What is cut is not made up for until the next order.
4. Costs leave the cash of their session. Idle cash, and debts, bear interest from one close to the
   next.
5. Short positions are kept by cash of their own size; they cost no fee for lending. That is true of
   positions that are closed in the session in which they were opened, and of no others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import copysign, floor, sqrt

import numpy as np

from sensequant.evaluation.account import (
    AT_CLOSE,
    AT_OPEN,
    MOMENTS,
    REASONS,
    Account,
    Charges,
    Fills,
    Limits,
    States,
    account_of,
    no_capital,
    prices_at_open,
)
from sensequant.evaluation.costs import (
    CostConfig,
    Product,
    cost_rates,
    impact_frac,
)
from sensequant.evaluation.grid import BarGrid, Bools, Floats, Ints

__all__ = ["Orders", "closing_orders", "concat_orders", "execute"]

_WHOLE = 1e-6
"""A share that lacks less than this is whole; prices have rounding errors."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Orders in the sequence in which they are executed, each array of shape (n_orders,).

    Parameters
    ----------
    bar, moment, column
        When (`AT_OPEN`, `WITHIN_BAR`, `AT_CLOSE`) and in which symbol.
    target
        Signed share of the equity that is to be held afterwards. Only 0 except at the open.
    price
        Adjusted price of the fill.
    reason
        Place in `REASONS`.
    """

    bar: Ints
    moment: Ints
    column: Ints
    target: Floats
    price: Floats
    reason: Ints


@dataclass(slots=True)
class _Book:
    """What is owned at a moment, the session it is in, and where DP charges were due last."""

    cash: float
    units: Floats
    session: int
    charged_on: list[int]
    n_cut: int


@dataclass(frozen=True, slots=True)
class _Tickets:
    """Orders with all that is known of them beforehand, each of n_orders plain numbers.

    Few orders fall on one moment, so that a loop over numbers is faster than arrays.

    Parameters
    ----------
    buy_frac, sell_frac
        Costs per rupee, without impact.
    impact_frac
        Impact per rupee of an order of one adjusted share; it grows with the root of the number.
    most_units
        Largest opening order, in adjusted shares.
    shares_per_unit
        Shares that one adjusted share is.
    dp_inr
        The DP charge of a sale.
    """

    column: list[int]
    target: list[float]
    price: list[float]
    buy_frac: list[float]
    sell_frac: list[float]
    impact_frac: list[float]
    most_units: list[float]
    shares_per_unit: list[float]
    dp_inr: float

    def whole(self, order: int, units: float) -> float:
        """Return adjusted shares rounded down to whole shares."""
        per_unit = self.shares_per_unit[order]
        return floor(units * per_unit + _WHOLE) / per_unit

    def is_dp_due(self, order: int, units: float, book: _Book) -> bool:
        """Return whether a trade is the symbol's first sale of the session."""
        return units < 0 and book.charged_on[self.column[order]] < book.session

    def cost(self, order: int, units: float, book: _Book) -> float:
        """Return the cost of trading so many adjusted shares."""
        if units == 0:
            return 0.0
        size = abs(units)
        frac = self.buy_frac[order] if units > 0 else self.sell_frac[order]
        cost = size * self.price[order] * (frac + self.impact_frac[order] * sqrt(size))
        return cost + self.dp_inr if self.is_dp_due(order, units, book) else cost


_Fill = tuple[int, float, float, bool, bool]
"""Place in the orders, units, cost, whether a DP charge is due, whether nothing is held then."""


def concat_orders(parts: Sequence[Orders]) -> Orders:
    """Return the orders of all parts in the sequence of their execution.

    The orders of one moment are taken together, whatever part they come from.
    """
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Orders.__dataclass_fields__
    }
    order = np.lexsort((joined["column"], joined["moment"], joined["bar"]))
    return Orders(**{name: values[order] for name, values in joined.items()})


def closing_orders(grid: BarGrid, *, is_square_off: bool = False) -> Orders:
    """Return the sales that no strategy decides: at the last bar of a symbol, and at the end.

    Parameters
    ----------
    grid
        The bars.
    is_square_off
        Whether positions are also closed at the last bar of each symbol in each session.

    Returns
    -------
    Orders
        At the close, of every symbol that has such a bar, held or not. A symbol that has no bar in
        the last session is not sold.
    """
    is_closing = np.zeros(grid.shape, dtype=np.bool_)
    reasons = np.full(grid.shape, REASONS.index("square_off"))
    last_bars = _last_bars(grid)
    if is_square_off:
        is_closing |= last_bars
    is_end = last_bars & (grid.session_of_bar == len(grid.sessions) - 1)[:, np.newaxis]
    for name, cells in (("delisted", grid.is_last_ever), ("end", is_end)):
        is_closing |= cells
        reasons[cells] = REASONS.index(name)
    bar, column = np.nonzero(is_closing)
    return Orders(
        bar=bar,
        moment=np.full(bar.size, AT_CLOSE),
        column=column,
        target=np.zeros(bar.size),
        price=grid.closes[bar, column],
        reason=reasons[bar, column],
    )


def execute(
    grid: BarGrid, orders: Orders, *, limits: Limits, costs: CostConfig, product: Product
) -> Account:
    """Execute orders by the rules at the top of this module.

    Parameters
    ----------
    grid
        The bars.
    orders
        From `concat_orders`; each in a bar that its symbol has.
    limits
        Capital, limits and interest.
    costs
        Charges, slippage and impact.
    product
        Whether shares are delivered or all positions end with their session.

    Raises
    ------
    ConfigError
        Costs are not known at a session, or losses and costs used the capital up.
    """
    tickets = _tickets(grid, orders, limits=limits, costs=costs, product=product)
    fills, states, n_cut = _run(grid, orders, tickets, limits)
    charges = Charges(costs, product)
    return account_of(grid, states, fills, limits=limits, charges=charges, n_cut=n_cut)


def _last_bars(grid: BarGrid) -> Bools:
    rows, columns = np.nonzero(grid.has_bar)
    cells = grid.session_of_bar[rows] * grid.shape[1] + columns
    # Of equal cells the last one counts, because bars ascend.
    _, from_end = np.unique(cells[::-1], return_index=True)
    places = cells.size - 1 - from_end
    found = np.zeros(grid.shape, dtype=np.bool_)
    found[rows[places], columns[places]] = True
    return found


def _tickets(
    grid: BarGrid, orders: Orders, *, limits: Limits, costs: CostConfig, product: Product
) -> _Tickets:
    rates = cost_rates(grid.sessions, costs, product=product)
    session = grid.session_of_bar[orders.bar]
    volume = grid.volumes[orders.bar, orders.column]
    return _Tickets(
        column=orders.column.tolist(),
        target=orders.target.tolist(),
        price=orders.price.tolist(),
        buy_frac=rates.buy_frac[session].tolist(),
        sell_frac=rates.sell_frac[session].tolist(),
        impact_frac=impact_frac(1 / volume, costs).tolist(),
        most_units=(limits.max_participation_frac * volume).tolist(),
        shares_per_unit=grid.share_factors[orders.bar, orders.column].tolist(),
        dp_inr=costs.dp_charge_inr if product == "delivery" else 0.0,
    )


def _run(
    grid: BarGrid, orders: Orders, tickets: _Tickets, limits: Limits
) -> tuple[Fills, States, int]:
    keys = orders.bar * len(MOMENTS) + orders.moment
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    n_steps, n_symbols = starts.size, grid.shape[1]
    book = _Book(limits.capital_inr, np.zeros(n_symbols), -1, [-1] * n_symbols, 0)
    states = States(
        key=np.append(-1, keys[starts]),
        session=np.append(-1, grid.session_of_bar[orders.bar[starts]]),
        cash=np.full(n_steps + 1, book.cash),
        units=np.zeros((n_steps + 1, n_symbols)),
    )
    bars, sessions = orders.bar[starts].tolist(), states.session.tolist()
    is_open = (orders.moment[starts] == AT_OPEN).tolist()
    growth, fills = limits.growth_per_session, list[_Fill]()
    # Before its first bar a symbol is not held, whatever its price.
    prices = np.nan_to_num(prices_at_open(grid))
    bounds = [*starts.tolist(), keys.size]
    for step in range(n_steps):
        places = range(bounds[step], bounds[step + 1])
        _accrue(book, sessions[step + 1], growth)
        if is_open[step]:
            equity = book.cash + float(book.units @ prices[bars[step]])
            if equity <= 0:
                raise no_capital(grid, book.session, equity)
            gross = float(np.abs(book.units) @ prices[bars[step]])
            traded = _wanted_at_open(book, tickets, places, limits, equity=equity, gross=gross)
        else:
            traded = [-float(book.units[tickets.column[order]]) for order in places]
        fills += _booked(book, tickets, places, traded)
        states.cash[step + 1], states.units[step + 1] = book.cash, book.units
    return _fills_of(orders, fills), states, book.n_cut


def _accrue(book: _Book, session: int, growth: float) -> None:
    if session > book.session:
        book.cash *= growth ** (session - book.session)
        book.session = session


def _booked(
    book: _Book, tickets: _Tickets, places: range, traded: Sequence[float]
) -> Iterator[_Fill]:
    for order, units in zip(places, traded, strict=True):
        if units != 0:
            column = tickets.column[order]
            cost = tickets.cost(order, units, book)
            is_dp_due = tickets.is_dp_due(order, units, book)
            if is_dp_due:
                book.charged_on[column] = book.session
            book.cash -= units * tickets.price[order] + cost
            book.units[column] += units
            yield order, units, cost, is_dp_due, bool(book.units[column] == 0)


def _wanted_at_open(
    book: _Book,
    tickets: _Tickets,
    places: range,
    limits: Limits,
    *,
    equity: float,
    gross: float,
) -> list[float]:
    """Return the adjusted shares to trade, after lots and limits."""
    paid = 0.0
    asked, closing, opening = list[float](), list[float](), list[float]()
    value, cost = 0.0, 0.0
    for order in places:
        price = tickets.price[order]
        less, more = _wanted(book, tickets, order, equity)
        allowed = copysign(min(abs(more), tickets.most_units[order]), more)
        gross -= abs(less) * price
        paid += tickets.cost(order, less, book)
        value += abs(allowed) * price
        cost += tickets.cost(order, allowed, book)
        closing.append(less)
        asked.append(more)
        opening.append(allowed)
    scale = 1.0
    if value > 0:
        by_limit = (limits.gross_limit_frac * equity - gross) / value
        by_cash = (equity - paid - gross) / (value + cost)
        scale = max(0.0, min(1.0, by_limit, by_cash))
    traded: list[float] = []
    for place, order in enumerate(places):
        whole = tickets.whole(order, abs(opening[place]) * scale)
        book.n_cut += whole < tickets.whole(order, abs(asked[place]))
        traded.append(closing[place] + copysign(whole, opening[place]))
    return traded


def _wanted(book: _Book, tickets: _Tickets, order: int, equity: float) -> tuple[float, float]:
    """Return what makes the position smaller, in whole shares, and what would make it larger."""
    held = float(book.units[tickets.column[order]])
    wish = tickets.target[order] * equity / tickets.price[order]
    size = abs(held)
    # A position of the other direction is closed before one in this direction is opened.
    kept = abs(wish) if held * wish > 0 else 0.0
    if kept >= size:
        return 0.0, copysign(abs(wish) - size, wish)
    kept = tickets.whole(order, kept)
    return copysign(size - kept, -held), 0.0 if kept > 0 or held * wish > 0 else wish


def _fills_of(orders: Orders, fills: list[_Fill]) -> Fills:
    table = np.array(fills, dtype=np.float64).reshape(-1, 5)
    places = table[:, 0].astype(np.int64)
    return Fills(
        bar=orders.bar[places],
        moment=orders.moment[places],
        column=orders.column[places],
        reason=orders.reason[places],
        units=table[:, 1],
        price=orders.price[places],
        cost=table[:, 2],
        is_dp_due=table[:, 3] == 1,
        is_flat=table[:, 4] == 1,
    )
