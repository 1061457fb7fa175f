"""Orders do to cash and shares what a plain ledger, one trade at a time, says they do."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensequant.errors import ConfigError, DataError
from sensequant.evaluation.account import (
    AT_CLOSE,
    AT_OPEN,
    EQUITY_SCHEMA,
    EXPOSURE_SCHEMA,
    POSITIONS_SCHEMA,
    REASONS,
    TRADES_SCHEMA,
    WITHIN_BAR,
    Account,
    Limits,
)
from sensequant.evaluation.costs import CostConfig, Product, cost_rates
from sensequant.evaluation.grid import BarGrid, lay_out
from sensequant.evaluation.measures import SESSIONS_PER_YEAR
from sensequant.evaluation.portfolio import Orders, closing_orders, concat_orders, execute
from sensequant.market.intervals import bar_starts
from sensequant.market.sessions import nse_calendar

CALENDAR = nse_calendar()
FIRST = CALENDAR.number_of(date(2025, 6, 2))
DEAR = CostConfig(brokerage_bps=10, dp_charge_inr=20, slippage_bps=5, impact_bps=80)
FREE = CostConfig(brokerage_bps=0, dp_charge_inr=0, slippage_bps=0, impact_bps=0)
LIMITS = Limits(
    capital_inr=1e6, gross_limit_frac=1.0, max_participation_frac=1.0, cash_rate_frac=0.0
)
SIGNAL = REASONS.index("signal")


class Bar(NamedTuple):
    """A bar as the ledger knows it: adjusted prices, adjusted volume, shares per adjusted share."""

    open: float
    close: float
    volume: float
    factor: float


class Order(NamedTuple):
    """One order as a person would write it down."""

    bar: int
    moment: int
    symbol: str
    target: float
    price: float


Fill = tuple[int, int, str, float, float]
"""Bar, moment, symbol, adjusted shares, price."""


class World(NamedTuple):
    """A random market with random orders, as plain values and as a frame."""

    bars: dict[tuple[str, int], Bar]
    session_of_bar: list[int]
    n_sessions: int
    symbols: list[str]
    orders: list[Order]
    frame: pl.DataFrame


@dataclass
class Ledger:
    """The rules of the module once more, with nothing but dictionaries and loops."""

    world: World
    limits: Limits
    costs: CostConfig
    product: Product
    cash: float
    units: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    last_close: dict[str, float] = field(default_factory=dict[str, float])
    charged: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    paid: float = 0.0
    turned_over: float = 0.0
    fills: list[Fill] = field(default_factory=list[Fill])

    def side_frac(self, session: int, *, is_buy: bool) -> float:
        """Return what a rupee bought or sold costs without DP charge and impact."""
        day = CALENDAR.session_at(FIRST + session)
        rates = cost_rates([day], self.costs, product=self.product)
        return float((rates.buy_frac if is_buy else rates.sell_frac)[0])

    def cost(self, symbol: str, bar: int, units: float, price: float) -> float:
        """Return what a trade costs; a symbol sold a second time in a session has no DP charge."""
        session = self.world.session_of_bar[bar]
        value = abs(units) * price
        share = abs(units) / self.world.bars[symbol, bar].volume
        cost = value * self.side_frac(session, is_buy=units > 0)
        cost += value * self.costs.impact_bps / 1e4 * share**0.5
        is_sale = units < 0 and self.product == "delivery"
        if is_sale and (symbol, session) not in self.charged:
            cost += self.costs.dp_charge_inr
        return cost

    def trade(self, order: Order, units: float) -> None:
        """Book one fill."""
        if units == 0:
            return
        cost = self.cost(order.symbol, order.bar, units, order.price)
        if units < 0:
            self.charged.add((order.symbol, self.world.session_of_bar[order.bar]))
        self.cash -= units * order.price + cost
        self.units[order.symbol] += units
        self.paid += cost
        self.turned_over += abs(units) * order.price
        self.fills.append((order.bar, order.moment, order.symbol, units, order.price))

    def value(self, prices: dict[str, float]) -> float:
        """Return cash and all positions at these prices."""
        return self.cash + sum(held * prices[name] for name, held in self.units.items() if held)

    def at_open(self, bar: int, orders: list[Order]) -> None:
        """Make positions smaller as asked, then larger as far as volume, limit and cash allow."""
        prices = dict(self.last_close)
        for symbol in self.world.symbols:
            if (symbol, bar) in self.world.bars:
                prices[symbol] = self.world.bars[symbol, bar].open
        equity = self.value(prices)
        closing: dict[str, float] = {}
        opening: dict[str, float] = {}
        for order in orders:
            factor = self.world.bars[order.symbol, bar].factor
            held = self.units[order.symbol]
            wish = order.target * equity / order.price
            is_flip = held * wish < 0 or wish == 0
            if is_flip or abs(wish) < abs(held):
                kept = 0.0 if is_flip else int(abs(wish) * factor + 1e-6) / factor
                closing[order.symbol] = (kept - abs(held)) * (1 if held > 0 else -1)
            if is_flip or abs(wish) > abs(held):
                opening[order.symbol] = abs(wish) - (0.0 if is_flip else abs(held))
        gross = sum(abs(held) * prices[name] for name, held in self.units.items() if held)
        released = sum(abs(units) * prices[name] for name, units in closing.items())
        costs = sum(self.cost(n, bar, u, prices[n]) for n, u in closing.items() if u)
        cuts: dict[str, float] = {}
        for name, wanted in opening.items():
            most = self.limits.max_participation_frac * self.world.bars[name, bar].volume
            cuts[name] = min(wanted, most)
        gross_after = gross - released
        asked = dear = 0.0
        for order in orders:
            units = cuts.get(order.symbol, 0.0)
            value = units * prices[order.symbol]
            asked += value
            direction = 1 if order.target > 0 else -1
            cost = self.cost(order.symbol, bar, direction * units, prices[order.symbol])
            dear += value + (cost if units else 0.0)
        scale = 1.0
        if asked > 0:
            by_limit = (self.limits.gross_limit_frac * equity - gross_after) / asked
            by_cash = (equity - costs - gross_after) / dear
            scale = max(0.0, min(1.0, by_limit, by_cash))
        for order in orders:
            name, factor = order.symbol, self.world.bars[order.symbol, bar].factor
            more = int(cuts.get(name, 0.0) * scale * factor + 1e-6) / factor
            direction = 1 if order.target > 0 else -1
            self.trade(order, closing.get(name, 0.0) + direction * more)


def slow_ledger(
    world: World, limits: Limits, costs: CostConfig, product: Product
) -> tuple[list[tuple[float, ...]], Ledger]:
    """Return equity, costs, interest and turnover of each session, in INR, and the ledger."""
    book = Ledger(world, limits, costs, product, limits.capital_inr)
    rate = (1 + limits.cash_rate_frac) ** (1 / SESSIONS_PER_YEAR) - 1
    rows: list[tuple[float, ...]] = []
    for session in range(world.n_sessions):
        interest = book.cash * rate
        book.cash += interest
        book.paid = book.turned_over = 0.0
        for bar in [b for b, of in enumerate(world.session_of_bar) if of == session]:
            for moment in (AT_OPEN, WITHIN_BAR, AT_CLOSE):
                due = [o for o in world.orders if (o.bar, o.moment) == (bar, moment)]
                due.sort(key=lambda order: order.symbol)
                if moment == AT_OPEN and due:
                    book.at_open(bar, due)
                else:
                    for order in due:
                        book.trade(order, -book.units[order.symbol])
            for symbol in world.symbols:
                if (symbol, bar) in world.bars:
                    book.last_close[symbol] = world.bars[symbol, bar].close
        rows.append((book.value(book.last_close), book.paid, interest, book.turned_over))
    return rows, book


def random_world(seed: int, *, is_intraday: bool = False) -> World:
    """Return halts, early ends, late listings, splits, thin volume, and orders of all kinds."""
    rng = np.random.default_rng(seed)
    n_symbols, n_sessions = int(rng.integers(1, 5)), int(rng.integers(2, 9))
    bars_per_session = int(rng.integers(2, 6)) if is_intraday else 1
    session_of_bar = [s for s in range(n_sessions) for _ in range(bars_per_session)]
    symbols = [f"S{code}" for code in range(n_symbols)]
    bars: dict[tuple[str, int], Bar] = {}
    orders: list[Order] = []
    for symbol in symbols:
        price = float(rng.uniform(5, 900))
        factor = 1.0
        start, end = rng.integers(0, 2), len(session_of_bar) - rng.integers(0, 3)
        for bar in range(int(start), int(end)):
            if rng.random() < 0.1:
                factor *= float(rng.choice([2.0, 1.5, 10.0, 0.2]))
            if rng.random() < 0.15:
                continue
            open_ = price * float(np.exp(rng.normal(0, 0.05)))
            price = open_ * float(np.exp(rng.normal(0, 0.05)))
            bars[symbol, bar] = Bar(open_, price, float(rng.integers(1, 20_000)), factor)
            if rng.random() < 0.5:
                low = -0.6 if is_intraday else 0.0
                target = 0.0 if rng.random() < 0.3 else float(rng.uniform(low, 0.9))
                orders.append(Order(bar, AT_OPEN, symbol, target, open_))
            if rng.random() < 0.1:
                touched = (open_ + price) / 2
                orders.append(Order(bar, WITHIN_BAR, symbol, 0.0, touched))
    return World(bars, session_of_bar, n_sessions, symbols, orders, frame_of(bars, session_of_bar))


def frame_of(bars: dict[tuple[str, int], Bar], session_of_bar: list[int]) -> pl.DataFrame:
    """Return the bars as a frame, intraday ones with their instants."""
    is_intraday = len(session_of_bar) != len(set(session_of_bar))
    rows: list[dict[str, Any]] = []
    for (symbol, bar), (open_, close, volume, factor) in bars.items():
        session = CALENDAR.session_at(FIRST + session_of_bar[bar])
        row: dict[str, Any] = {
            "symbol": symbol,
            "session": session,
            "open": open_,
            "close": close,
            "volume": volume,
            "share_factor": factor,
            "is_unexplained_gap": False,
        }
        if is_intraday:
            opened = (bar_starts(CALENDAR, session, "1minute") or [])[0]
            within = bar - session_of_bar.index(session_of_bar[bar])
            row["starts_at"] = opened + timedelta(minutes=within)
        rows.append(row)
    kinds: dict[str, Any] = {"symbol": pl.String, "session": pl.Date}
    kinds |= dict.fromkeys(("open", "close", "volume", "share_factor"), pl.Float64)
    kinds |= {"is_unexplained_gap": pl.Boolean}
    kinds |= {"starts_at": pl.Datetime("us", "UTC")} if is_intraday else {}
    return pl.DataFrame(rows, schema=kinds)


def grid_of(world: World) -> BarGrid:
    return lay_out(
        world.frame, first=FIRST, last=FIRST + world.n_sessions - 1, symbols=tuple(world.symbols)
    )


def orders_of(world: World, grid: BarGrid, *, is_square_off: bool) -> tuple[Orders, World]:
    """Return the orders as arrays, closing ones included, and the world with all of them."""
    # An intraday frame has no row for a bar that no symbol has.
    place = {bar: n for n, bar in enumerate(sorted({bar for _, bar in world.bars}))}
    is_daily = grid.starts_at is None
    given_orders = Orders(
        bar=np.array([o.bar if is_daily else place[o.bar] for o in world.orders], dtype=np.int64),
        moment=np.array([o.moment for o in world.orders], dtype=np.int64),
        column=np.array([world.symbols.index(o.symbol) for o in world.orders], dtype=np.int64),
        target=np.array([o.target for o in world.orders]),
        price=np.array([o.price for o in world.orders]),
        reason=np.full(len(world.orders), SIGNAL),
    )
    every = concat_orders([given_orders, closing_orders(grid, is_square_off=is_square_off)])
    final = {
        symbol: max((b for s, b in world.bars if s == symbol), default=-1)
        for symbol in world.symbols
    }
    plain = list(world.orders)
    for (symbol, bar), row in world.bars.items():
        session = world.session_of_bar[bar]
        same_day = [b for s, b in world.bars if s == symbol and world.session_of_bar[b] == session]
        is_last_of_day = bar == max(same_day)
        is_end = is_last_of_day and session == world.n_sessions - 1
        if bar == final[symbol] or is_end or (is_square_off and is_last_of_day):
            plain.append(Order(bar, AT_CLOSE, symbol, 0.0, row.close))
    return every, world._replace(orders=plain)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 100_000),
    st.booleans(),
    st.sampled_from([0.5, 1.0]),
    st.sampled_from([0.05, 1.0]),
    st.sampled_from([0.0, 0.065]),
)
def test_a_plain_ledger_finds_the_same_to_the_paisa(
    seed: int, is_intraday: bool, gross: float, participation: float, rate: float
) -> None:
    """On random markets every session's equity, costs, interest and turnover are the same."""
    world = random_world(seed, is_intraday=is_intraday)
    product: Product = "intraday" if is_intraday else "delivery"
    limits = Limits(
        capital_inr=1e6,
        gross_limit_frac=gross,
        max_participation_frac=participation,
        cash_rate_frac=rate,
    )
    grid = grid_of(world)
    orders, plain = orders_of(world, grid, is_square_off=is_intraday)

    found = execute(grid, orders, limits=limits, costs=DEAR, product=product)
    rows, ledger = slow_ledger(plain, limits, DEAR, product)

    before = np.array([1e6, *(equity for equity, *_ in rows)])[:-1]
    fast = found.equity.select("equity", "cost_return", "interest_return", "turnover").to_numpy()
    fast[:, 1:] *= before[:, np.newaxis]
    assert np.abs(fast - np.array(rows)).max() < 0.005
    assert found.trades.height == len(ledger.fills)
    assert found.trades["value_inr"].to_list() == pytest.approx(
        [abs(units) * price for *_, units, price in ledger.fills], abs=0.005
    )
    assert found.trades["cost_inr"].sum() == pytest.approx(sum(row[1] for row in rows), abs=0.005)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100_000), st.booleans())
def test_tables_agree_with_each_other(seed: int, is_intraday: bool) -> None:
    """Positions and cash make the equity, and cash is never owed."""
    world = random_world(seed, is_intraday=is_intraday)
    grid = grid_of(world)
    orders, _ = orders_of(world, grid, is_square_off=is_intraday)
    product: Product = "intraday" if is_intraday else "delivery"

    found = execute(grid, orders, limits=LIMITS, costs=DEAR, product=product)

    assert (found.equity.schema, found.exposure.schema) == (EQUITY_SCHEMA, EXPOSURE_SCHEMA)
    assert (found.positions.schema, found.trades.schema) == (POSITIONS_SCHEMA, TRADES_SCHEMA)
    held = found.positions.group_by("session").agg(pl.col("value_inr").sum())
    both = (
        found.equity.join(held, on="session", how="left")
        .fill_null(0)
        .join(found.exposure, on="session")
    )
    cash = both["cash_frac"] * both["equity"]
    assert (cash + both["value_inr"]).to_list() == pytest.approx(both["equity"].to_list())
    assert both["net_frac"].to_list() == pytest.approx(
        (both["value_inr"] / both["equity"]).to_list()
    )
    if not is_intraday:
        assert (found.exposure["cash_frac"] > -1e-9).all()
    if is_intraday:
        assert found.positions.is_empty()
        assert found.trades["dp_inr"].sum() == 0


def simple(rows: dict[str, list[tuple[float, float]]], **columns: Any) -> BarGrid:
    """Return a grid of daily (open, close) per symbol from the first session on."""
    bars = {
        (s, n): Bar(o, c, 1e9, 1.0) for s, each in rows.items() for n, (o, c) in enumerate(each)
    }
    n_sessions = max(len(each) for each in rows.values())
    frame = frame_of(bars, list(range(n_sessions))).with_columns(**columns)
    return lay_out(frame, first=FIRST, last=FIRST + n_sessions - 1, symbols=tuple(sorted(rows)))


def asked(grid: BarGrid, rows: list[tuple[int, int, float]]) -> Orders:
    """Return orders at the open from (bar, column, target)."""
    bar, column = (np.array([row[n] for row in rows], dtype=np.int64) for n in (0, 1))
    return Orders(
        bar=bar,
        moment=np.full(bar.size, AT_OPEN),
        column=column,
        target=np.array([row[2] for row in rows], dtype=np.float64),
        price=grid.opens[bar, column],
        reason=np.full(bar.size, SIGNAL),
    )


def run(grid: BarGrid, rows: list[tuple[int, int, float]], **changes: Any) -> Account:
    limits = {name: getattr(LIMITS, name) for name in Limits.__dataclass_fields__} | changes
    costs, product = limits.pop("costs", FREE), limits.pop("product", "delivery")
    orders = concat_orders([asked(grid, rows), closing_orders(grid)])
    return execute(grid, orders, limits=Limits(**limits), costs=costs, product=product)


def test_whole_shares_only() -> None:
    """A half of a million at 333 INR buys 1501 shares, not 1501.5."""
    found = run(simple({"A": [(333.0, 333.0)] * 3}), [(0, 0, 0.5)])

    assert found.positions["shares"].to_list() == [1501, 1501]
    assert found.positions["price"].to_list() == [333, 333]


def test_shares_and_prices_are_those_of_the_exchange_after_a_split() -> None:
    """One adjusted share of 1000 is ten of 100 after a split: 5 become 50, prices are quoted."""
    found = run(
        simple({"A": [(1000.0, 1000.0)] * 3}, share_factor=pl.Series([1.0, 10.0, 10.0])),
        [(0, 0, 0.005)],
    )

    assert found.positions.select("shares", "price").rows() == [(5, 1000), (50, 100)]
    assert found.trades.select("side", "shares", "price").rows() == [
        ("buy", 5, 1000),
        ("sell", 50, 100),
    ]


def test_idle_cash_earns_the_rate_and_no_more() -> None:
    """A year without an order earns 6.5 %, each session the same."""
    grid = simple({"A": [(10.0, 10.0)] * 248})

    found = run(grid, [], cash_rate_frac=0.065)

    assert found.equity["equity"][-1] == pytest.approx(1.065e6)
    assert found.equity["interest_return"].to_list() == pytest.approx(
        found.equity["net_return"].to_list()
    )
    assert found.trades.is_empty()


def test_cash_pays_for_costs_before_it_buys() -> None:
    """Asked for all of the equity, the portfolio buys less, so that cash stays above zero."""
    found = run(simple({"A": [(10.0, 10.0)] * 3}), [(0, 0, 1.0)], costs=DEAR)

    cash = found.exposure["cash_frac"].to_list()
    assert 0 <= cash[0] < 1e-3
    assert found.n_cut == 1


def test_volume_cuts_an_order() -> None:
    """A tenth of 2000 shares is all that can be bought, and the sale is not cut."""
    grid = simple({"A": [(10.0, 10.0)] * 3}, volume=pl.Series([2000.0, 50.0, 50.0]))

    found = run(grid, [(0, 0, 0.5), (1, 0, 0.0)], max_participation_frac=0.1)

    assert found.trades.select("side", "shares").rows() == [("buy", 200), ("sell", 200)]
    assert found.n_cut == 1


def test_a_bar_without_volume_is_no_bar() -> None:
    """Where nothing was traded the symbol is halted: it keeps its last price."""
    grid = simple(
        {"A": [(10.0, 10.0), (1.0, 1.0), (12.0, 12.0)]}, volume=pl.Series([9e6, 0.0, 9e6])
    )

    found = run(grid, [(0, 0, 0.5)])

    assert found.equity["net_return"].to_list() == pytest.approx([0, 0, 0.1], abs=2e-3)


def test_a_short_position_earns_when_the_price_falls() -> None:
    """Sold at 100 and bought back at 90 within the session: a tenth of its size."""
    bars = {("A", 0): Bar(100, 100, 1e9, 1), ("A", 1): Bar(90, 90, 1e9, 1)}
    grid = lay_out(frame_of(bars, [0, 0]), first=FIRST, last=FIRST, symbols=("A",))
    orders = concat_orders([asked(grid, [(0, 0, -0.5)]), closing_orders(grid, is_square_off=True)])

    found = execute(grid, orders, limits=LIMITS, costs=FREE, product="intraday")

    assert found.equity["gross_return"].to_list() == pytest.approx([0.05])
    assert found.trades["side"].to_list() == ["sell", "buy"]
    assert found.trades["reason"].to_list() == ["signal", "end"]


def test_lost_capital_is_an_error_of_its_own() -> None:
    """A portfolio whose costs exceed its equity stops with a message, not with numbers."""
    dear = CostConfig(dp_charge_inr=1000)
    grid = simple({f"S{n:03}": [(1.0, 1.0)] * 3 for n in range(150)})
    rows = [(0, n, 1e-3) for n in range(150)]

    with pytest.raises(ConfigError, match="used the capital up"):
        run(grid, rows, capital_inr=1e5, costs=dear)


@pytest.mark.parametrize(
    "wrong",
    [
        {"open": pl.lit(0.0)},
        {"close": pl.lit(float("nan"))},
        {"volume": pl.lit(-1.0)},
        {"volume": pl.lit(None, dtype=pl.Float64)},
        {"share_factor": pl.lit(0.0)},
        {"session": pl.lit(date(2025, 6, 1))},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_unusable_bars_are_refused(wrong: dict[str, pl.Expr]) -> None:
    """No trade at a price, volume, factor or session that cannot be."""
    with pytest.raises(DataError):
        simple({"A": [(10.0, 10.0)]}, **wrong)
