"""An independent library, given the same targets, ends every session with the same equity.

Shared ground is what both engines can express: whole shares bought for a share of the equity at the
open and sold as a whole, with costs per rupee. Interest, DP charges, impact, volume and cuts are
ours alone; `test_portfolio.py` has a plain ledger for them.
"""

import warnings
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensequant.evaluation.account import AT_OPEN, Limits
from sensequant.evaluation.costs import CostConfig, cost_rates
from sensequant.evaluation.grid import lay_out
from sensequant.evaluation.portfolio import Orders, concat_orders, execute
from sensequant.market.sessions import nse_calendar

# Its first call compiles the whole engine.
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

N_SYMBOLS, N_SESSIONS = 12, 250
FIRST = nse_calendar().number_of(date(2024, 1, 1))
COSTS = CostConfig(dp_charge_inr=0, impact_bps=0, rates_as_of=date(2025, 6, 2))
LIMITS = Limits(
    capital_inr=1e7, gross_limit_frac=1.0, max_participation_frac=1.0, cash_rate_frac=0.0
)


@pytest.fixture(scope="module")
def vectorbt() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vectorbt  # noqa: PLC0415 - it takes seconds

    return vectorbt


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(5))
def test_equity_and_fees_are_the_same_to_the_paisa(vectorbt: Any, seed: int) -> None:
    """Random entries and exits of twelve symbols over a year, costs of law and broker included."""
    rng = np.random.default_rng(seed)
    shape = (N_SESSIONS, N_SYMBOLS)
    closes = 500 * np.exp(np.cumsum(rng.normal(0, 0.02, shape), axis=0))
    opens = closes * np.exp(rng.normal(0, 0.01, shape))
    is_held = np.zeros(shape, dtype=np.bool_)
    for row in range(N_SESSIONS - 1):
        is_flipped = rng.random(N_SYMBOLS) < 0.1
        is_held[row] = is_held[max(row - 1, 0)] ^ is_flipped
    is_due = is_held != np.vstack([np.zeros((1, N_SYMBOLS), dtype=np.bool_), is_held[:-1]])
    targets = np.where(is_held, 1 / (2 * N_SYMBOLS), 0.0)
    rates = cost_rates([date(2024, 1, 1)], COSTS)
    fees = np.where(is_held, float(rates.buy_frac[0]), float(rates.sell_frac[0]))

    theirs = vectorbt.Portfolio.from_orders(
        closes,
        size=np.where(is_due, targets, np.nan),
        size_type="targetpercent",
        price=opens,
        val_price=opens,
        fees=fees,
        size_granularity=1.0,
        init_cash=LIMITS.capital_inr,
        cash_sharing=True,
        group_by=True,
        call_seq="auto",
    )
    ours = execute_on_bars(opens, closes, is_due, targets)

    assert np.abs(ours.equity["equity"].to_numpy() - np.asarray(theirs.value())).max() < 0.005
    assert ours.trades.height == len(theirs.orders.records) == is_due.sum()
    assert ours.trades["cost_inr"].sum() == pytest.approx(
        float(theirs.orders.records["fees"].sum()), abs=0.005
    )


def execute_on_bars(
    opens: np.ndarray[Any, Any],
    closes: np.ndarray[Any, Any],
    is_due: np.ndarray[Any, Any],
    targets: np.ndarray[Any, Any],
) -> Any:
    symbols = tuple(f"S{code:02}" for code in range(N_SYMBOLS))
    days = [nse_calendar().session_at(FIRST + place) for place in range(N_SESSIONS)]
    bars = pl.DataFrame(
        {
            "symbol": np.repeat(symbols, N_SESSIONS),
            "session": days * N_SYMBOLS,
            "open": opens.T.ravel(),
            "close": closes.T.ravel(),
            "volume": 1e9,
            "is_unexplained_gap": False,
        }
    )
    grid = lay_out(bars, first=FIRST, last=FIRST + N_SESSIONS - 1, symbols=symbols)
    bar, column = np.nonzero(is_due)
    orders = Orders(
        bar=bar,
        moment=np.full(bar.size, AT_OPEN),
        column=column,
        target=targets[bar, column],
        price=grid.opens[bar, column],
        reason=np.zeros(bar.size, dtype=np.int64),
    )
    # Neither engine is told to sell at the end.
    return execute(grid, concat_orders([orders]), limits=LIMITS, costs=COSTS, product="delivery")
