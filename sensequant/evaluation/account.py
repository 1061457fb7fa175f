"""What a portfolio did, as tables: equity, exposure, positions, trades.

Belongs here: the form of these tables, and how they follow from the book after each step and the
fills. Does not belong here: how orders become fills (`evaluation.portfolio`), what a trade costs
(`evaluation.costs`).

Marked to market at the close of each session. Returns are simple fractions of the equity at the
previous close; `gross_return` is `net_return` plus `cost_return`, and holds `interest_return`.
`turnover` is the value bought and sold over that same equity. `exposure` is the value of all
positions over the equity after the trades at the open, the mean over the bars of a session.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from sensequant.errors import ConfigError
from sensequant.evaluation.costs import COST_COLUMNS, CostConfig, Product, trade_costs
from sensequant.evaluation.grid import BarGrid, Bools, Floats, Ints
from sensequant.evaluation.measures import SESSIONS_PER_YEAR

__all__ = [
    "AT_CLOSE",
    "AT_OPEN",
    "EQUITY_SCHEMA",
    "EXPOSURE_SCHEMA",
    "MOMENTS",
    "POSITIONS_SCHEMA",
    "REASONS",
    "TRADES_SCHEMA",
    "WITHIN_BAR",
    "Account",
    "Charges",
    "Fills",
    "Limits",
    "States",
    "account_of",
    "no_capital",
    "prices_at_open",
]

EQUITY_SCHEMA = pl.Schema(
    {"session": pl.Date, "equity": pl.Float64}
    | dict.fromkeys(("gross_return", "cost_return", "interest_return"), pl.Float64)
    | dict.fromkeys(("net_return", "exposure", "turnover"), pl.Float64)
)
"""One row per session; equity in INR after the close."""

POSITIONS_SCHEMA = pl.Schema(
    {"session": pl.Date, "symbol": pl.String}
    | dict.fromkeys(("shares", "price", "value_inr", "weight"), pl.Float64)
)
"""What is held over the night: shares and price as they are, not adjusted; share of the equity."""

EXPOSURE_SCHEMA = pl.Schema(
    {"session": pl.Date, "n_positions": pl.Int32}
    | dict.fromkeys(("gross_frac", "net_frac", "largest_frac", "cash_frac"), pl.Float64)
)
"""One row per session, over the equity after the close; short positions are negative in `net`."""

TRADES_SCHEMA = pl.Schema(
    {"session": pl.Date, "starts_at": pl.Datetime("us", "UTC"), "symbol": pl.String}
    | dict.fromkeys(("side", "moment", "reason"), pl.String)
    | dict.fromkeys(("shares", "price", "value_inr", *COST_COLUMNS, "cost_inr"), pl.Float64)
    | {"is_flat": pl.Boolean}
)
"""One row per fill. `starts_at` is null on daily bars; `side` is buy or sell, `moment` open, within
or close; shares and price as they are, not adjusted; `is_flat` where nothing is held afterwards."""

AT_OPEN, WITHIN_BAR, AT_CLOSE = range(3)
"""When in its bar an order is executed."""

MOMENTS = ("open", "within", "close")
REASONS = ("signal", "stop", "target", "time", "square_off", "delisted", "end")
"""Why an order was given: a rule of the strategy, the symbol's last bar, or the last session."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the portfolio may do.

    Parameters
    ----------
    capital_inr
        Equity before the first session.
    gross_limit_frac
        Largest sum of positions over equity, when something is bought or sold short.
    max_participation_frac
        Largest opening order over the volume of its bar.
    cash_rate_frac
        Interest on idle cash per year.
    """

    capital_inr: float
    gross_limit_frac: float
    max_participation_frac: float
    cash_rate_frac: float

    @property
    def growth_per_session(self) -> float:
        """What a rupee of cash is after one session."""
        return float(np.exp(np.log1p(self.cash_rate_frac) / SESSIONS_PER_YEAR))


@dataclass(frozen=True, slots=True)
class Account:
    """What the portfolio did; tables sorted by session and symbol.

    `n_gaps_held` counts unexplained gaps of symbols held over them, `n_cut` opening orders that
    volume, limit or cash made smaller.
    """

    equity: pl.DataFrame
    exposure: pl.DataFrame
    positions: pl.DataFrame
    trades: pl.DataFrame
    n_gaps_held: int
    n_cut: int


class Charges(NamedTuple):
    """What trades cost, and whether their shares are delivered."""

    costs: CostConfig
    product: Product


@dataclass(frozen=True, slots=True)
class Fills:
    """One entry per fill; units are adjusted shares, signed."""

    bar: Ints
    moment: Ints
    column: Ints
    reason: Ints
    units: Floats
    price: Floats
    cost: Floats
    is_dp_due: Bools
    is_flat: Bools


@dataclass(frozen=True, slots=True)
class States:
    """The book after each step, preceded by the one before the first."""

    key: Ints
    session: Ints
    cash: Floats
    units: Floats


def account_of(
    grid: BarGrid, states: States, fills: Fills, *, limits: Limits, charges: Charges, n_cut: int
) -> Account:
    """Return the tables of what happened.

    Parameters
    ----------
    grid
        The bars.
    states, fills
        The book after each step, and every fill.
    limits
        Capital and interest.
    charges
        What the fills cost.
    n_cut
        Opening orders that volume, limit or cash made smaller.

    Raises
    ------
    ConfigError
        Losses and costs used the capital up.
    """
    equity, exposure = _valued(grid, states, fills, limits)
    return Account(
        equity=equity,
        exposure=exposure,
        positions=_positions(grid, states, equity),
        trades=_trades(grid, fills, charges.costs, charges.product),
        n_gaps_held=_gaps_held(grid, states),
        n_cut=n_cut,
    )


def prices_at_open(grid: BarGrid) -> Floats:
    """Return the price at which each symbol counts when a bar opens, shape (n_bars, n_symbols)."""
    """Return what positions count for at the open of each bar: its price, or the last close."""
    earlier = np.vstack([np.full((1, grid.shape[1]), np.nan), grid.marks])[:-1]
    return np.where(grid.has_bar, grid.opens, earlier)


def no_capital(grid: BarGrid, session: int, equity: float) -> ConfigError:
    """Return the error that nothing is left to trade with."""
    return ConfigError(
        "losses and costs used the capital up",
        where=f"session {grid.sessions[session]}",
        found=f"equity of {equity:.0f} INR",
        remedy="raise capital_inr: the DP charge does not shrink with the positions",
    )


def _state_at(states: States, bars: Ints, moment: int) -> Ints:
    """Return the place of the book after a moment of each bar."""
    return np.searchsorted(states.key, bars * len(MOMENTS) + moment, side="right") - 1


def _cash_at(states: States, places: Ints, sessions: Ints, growth: float) -> Floats:
    return states.cash[places] * growth ** (sessions - states.session[places])


def _held(units: Floats, prices: Floats) -> Floats:
    """Return values of positions; what is not held needs no price."""
    return np.where(units == 0, 0.0, units * prices)


def _valued(
    grid: BarGrid, states: States, fills: Fills, limits: Limits
) -> tuple[pl.DataFrame, pl.DataFrame]:
    n_sessions = len(grid.sessions)
    sessions = np.arange(n_sessions)
    growth = limits.growth_per_session
    last_bars = grid.last_bar_of_session
    places = _state_at(states, last_bars, AT_CLOSE)
    cash = _cash_at(states, places, sessions, growth)
    held = _held(states.units[places], grid.marks[last_bars])
    equity = cash + held.sum(axis=1)
    lost = np.flatnonzero(equity <= 0)
    if lost.size:
        raise no_capital(grid, int(lost[0]), float(equity[lost[0]]))
    capital = limits.capital_inr
    before = np.append(capital, equity)[:-1]
    of_fill = grid.session_of_bar[fills.bar]
    value = np.abs(fills.units * fills.price)
    cost_return = np.bincount(of_fill, weights=fills.cost, minlength=n_sessions) / before
    net_return = equity / before - 1
    gross_frac = np.abs(held).sum(axis=1) / equity
    table = {
        "session": pl.Series(grid.sessions, dtype=pl.Date),
        "equity": equity,
        "gross_return": net_return + cost_return,
        "cost_return": cost_return,
        "interest_return": np.append(capital, cash)[:-1] * (growth - 1) / before,
        "net_return": net_return,
        "exposure": _mean_exposure(grid, states, growth, without_bars=gross_frac),
        "turnover": np.bincount(of_fill, weights=value, minlength=n_sessions) / before,
    }
    exposure = {
        "session": table["session"],
        "n_positions": (held != 0).sum(axis=1),
        "gross_frac": gross_frac,
        "net_frac": held.sum(axis=1) / equity,
        "largest_frac": np.abs(held).max(axis=1, initial=0.0) / equity,
        "cash_frac": cash / equity,
    }
    return (
        pl.DataFrame(table).select(*EQUITY_SCHEMA).cast(EQUITY_SCHEMA),
        pl.DataFrame(exposure).select(*EXPOSURE_SCHEMA).cast(EXPOSURE_SCHEMA),
    )


def _mean_exposure(grid: BarGrid, states: States, growth: float, *, without_bars: Floats) -> Floats:
    bars = np.arange(grid.shape[0])
    places = _state_at(states, bars, AT_OPEN)
    held = _held(states.units[places], prices_at_open(grid))
    equity = _cash_at(states, places, grid.session_of_bar, growth) + held.sum(axis=1)
    of_bar = np.abs(held).sum(axis=1) / equity
    n_sessions = without_bars.size
    counts = np.bincount(grid.session_of_bar, minlength=n_sessions)
    sums = np.bincount(grid.session_of_bar, weights=of_bar, minlength=n_sessions)
    return np.where(counts > 0, sums / np.maximum(counts, 1), without_bars)


def _positions(grid: BarGrid, states: States, equity: pl.DataFrame) -> pl.DataFrame:
    last_bars = grid.last_bar_of_session
    units = states.units[_state_at(states, last_bars, AT_CLOSE)]
    sessions, columns = np.nonzero(units)
    bars = last_bars[sessions]
    factors, value = grid.share_factors[bars, columns], units[sessions, columns]
    value = value * grid.marks[bars, columns]
    return pl.DataFrame(
        {
            "session": grid.sessions[sessions],
            "symbol": _names(grid, columns),
            "shares": units[sessions, columns] * factors,
            "price": grid.marks[bars, columns] / factors,
            "value_inr": value,
            "weight": value / equity["equity"].to_numpy()[sessions],
        },
        schema=POSITIONS_SCHEMA,
    )


def _trades(grid: BarGrid, fills: Fills, costs: CostConfig, product: Product) -> pl.DataFrame:
    value = fills.units * fills.price
    factors = grid.share_factors[fills.bar, fills.column]
    sessions = grid.sessions[grid.session_of_bar[fills.bar]]
    items = trade_costs(
        np.maximum(value, 0),
        np.maximum(-value, 0),
        sessions,
        config=costs,
        n_dp_charges=fills.is_dp_due,
        participation=np.abs(fills.units) / grid.volumes[fills.bar, fills.column],
        product=product,
    )
    trades = items.with_columns(
        starts_at=_instants(grid, fills.bar),
        symbol=_names(grid, fills.column),
        side=pl.Series(np.where(value > 0, "buy", "sell"), dtype=pl.String),
        moment=_words(MOMENTS, fills.moment),
        reason=_words(REASONS, fills.reason),
        shares=np.abs(fills.units) * factors,
        price=fills.price / factors,
        value_inr=np.abs(value),
        is_flat=fills.is_flat,
    )
    return trades.select(*TRADES_SCHEMA).cast(TRADES_SCHEMA)


def _instants(grid: BarGrid, bars: Ints) -> pl.Series:
    if grid.starts_at is None:
        return pl.repeat(None, bars.size, dtype=pl.Datetime("us", "UTC"), eager=True)
    instants = pl.Series(grid.starts_at[bars].astype("datetime64[us]"))
    return instants.dt.replace_time_zone("UTC")


def _names(grid: BarGrid, columns: Ints) -> pl.Series:
    return _words(grid.symbols, columns)


def _words(words: Sequence[str], places: Ints) -> pl.Series:
    return pl.Series(list(words), dtype=pl.String).gather(places)


def _gaps_held(grid: BarGrid, states: States) -> int:
    bars, columns = np.nonzero(grid.is_gap)
    before = _state_at(states, bars - 1, AT_CLOSE)
    return int((states.units[before, columns] != 0).sum())
