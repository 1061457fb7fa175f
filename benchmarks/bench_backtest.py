"""What a backtest costs: daily scores of 100 symbols over five years, and minutes of 14 over forty.

The same orders are given to vectorbt, which compiles its loop; its compilation is not counted. It
is to be held against our engine alone, `execute`: both take orders and prices as arrays, and give
equity and the record of every order; ours also exposure, positions and itemised costs. The whole
of ours also checks the bars, makes the signals and sizes the positions. Absolute times depend on
the machine and on who else uses it, so the shortest of several turns is printed, on the clock and
on the processor.
"""

import json
import time
import warnings
from collections.abc import Callable
from datetime import date
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.evaluation import backtest, strategies
from sensequant.evaluation.account import Account
from sensequant.evaluation.backtest import BacktestConfig, run_backtest
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.portfolio import execute
from sensequant.evaluation.sizing import PortfolioConfig
from sensequant.evaluation.strategies import IntradayConfig, trade_rules
from sensequant.market.intervals import bar_starts
from sensequant.market.sessions import nse_calendar

N_REPEATS = 3
N_SYMBOLS, HORIZON = 100, 7
N_MINUTE_SYMBOLS, N_MINUTE_SESSIONS = 14, 40
CAPITAL_INR = 1e7
# Vectorbt knows costs per rupee alone.
COSTS = CostConfig(impact_bps=0, dp_charge_inr=0, rates_as_of=date(2024, 1, 1))
FEE_FRAC = 0.0015

Floats = NDArray[np.float64]


class Cost(NamedTuple):
    """Seconds on the clock and on all threads of the processor."""

    wall: float
    cpu: float


def main() -> None:
    """Measure and print one JSON object."""
    days, minutes = daily_market(), minute_market()
    scores = days.select(
        "symbol", "session", score=pl.Series(np.random.default_rng(1).random(days.height))
    )
    daily = best_of(lambda: trade_scores(scores, days))
    by_minute = best_of(lambda: trade_minutes(minutes))
    daily_engine = best_of(engine_of(backtest, lambda: trade_scores(scores, days)))
    minute_engine = best_of(engine_of(strategies, lambda: trade_minutes(minutes)))
    theirs_daily = best_of(vectorbt_run(days, "session", trade_scores(scores, days)))
    theirs_minute = best_of(vectorbt_run(minutes, "starts_at", trade_minutes(minutes)))
    print(
        json.dumps(
            {
                "daily": {
                    "n_symbols": N_SYMBOLS,
                    "n_sessions": days["session"].n_unique(),
                    "ours_seconds": daily._asdict(),
                    "our_engine_seconds": daily_engine._asdict(),
                    "vectorbt_seconds": theirs_daily._asdict(),
                },
                "minutes": {
                    "n_symbols": N_MINUTE_SYMBOLS,
                    "n_bars": minutes["starts_at"].n_unique(),
                    "ours_seconds": by_minute._asdict(),
                    "our_engine_seconds": minute_engine._asdict(),
                    "vectorbt_seconds": theirs_minute._asdict(),
                },
            },
            indent=2,
        )
    )


def engine_of(module: ModuleType, work: Callable[[], Account]) -> Callable[[], Account]:
    """Return what executes once more the orders that a piece of work executes."""
    with patch.object(module, "execute", wraps=execute) as spy:
        work()
    call = spy.call_args
    return lambda: execute(*call.args, **call.kwargs)


def best_of(work: Callable[[], Any]) -> Cost:
    """Return the shortest times of a piece of work that was done once before."""
    work()
    walls: list[float] = []
    cpus: list[float] = []
    for _ in range(N_REPEATS):
        started, started_cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - started)
        cpus.append(time.process_time() - started_cpu)
    return Cost(round(min(walls), 3), round(min(cpus), 3))


def trade_scores(scores: pl.DataFrame, bars: pl.DataFrame) -> Account:
    """Trade random scores with the default settings."""
    return run_backtest(
        scores, bars, horizon_sessions=HORIZON, costs=COSTS, config=BacktestConfig()
    )


def trade_minutes(bars: pl.DataFrame) -> Account:
    """Trade the intraday strategy with the default settings."""
    first = nse_calendar().number_of(bars["session"].to_list()[0])
    return trade_rules(
        IntradayConfig(),
        bars,
        first=first,
        last=first + N_MINUTE_SESSIONS - 1,
        costs=COSTS,
        portfolio=PortfolioConfig(),
    )


def vectorbt_run(bars: pl.DataFrame, at: str, account: Account) -> Callable[[], Any]:
    """Return what has vectorbt execute the orders that were executed, and value every bar."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vectorbt  # noqa: PLC0415 - it takes seconds

    engine: Any = vectorbt
    closes = wide(bars, at, "close")
    fills = account.trades.with_columns(
        signed=pl.when(pl.col("side") == "buy").then(pl.col("shares")).otherwise(-pl.col("shares"))
    )
    # One order for a bar: what was bought and sold within one counts as its sum.
    sizes = fills.group_by(at, "symbol").agg(pl.col("signed").sum(), pl.col("price").first())
    frame = bars.select(at, "symbol").join(sizes, on=[at, "symbol"], how="left")
    size, price = wide(frame, at, "signed"), wide(frame, at, "price")

    def run() -> Any:
        portfolio = engine.Portfolio.from_orders(
            closes,
            size=size,
            price=np.where(np.isnan(price), closes, price),
            fees=FEE_FRAC,
            init_cash=CAPITAL_INR,
            cash_sharing=True,
            group_by=True,
            call_seq="auto",
        )
        return portfolio.value(), portfolio.orders.records_readable

    return run


def wide(frame: pl.DataFrame, at: str, column: str) -> Floats:
    """Return a column as one row per bar and one column per symbol, as vectorbt wants it."""
    table = frame.sort(at, "symbol").pivot(on="symbol", index=at, values=column)
    return table.drop(at).cast(pl.Float64).to_numpy()


def daily_market() -> pl.DataFrame:
    """Return random walks of five years."""
    sessions = nse_calendar().sessions(date(2019, 1, 1), date(2023, 12, 31))
    rng = np.random.default_rng(0)
    closes = 250 * np.exp(rng.normal(0, 0.02, (N_SYMBOLS, len(sessions))).cumsum(axis=1))
    opens = closes * np.exp(rng.normal(0, 0.01, closes.shape))
    return pl.DataFrame(
        {
            "symbol": np.repeat([f"S{code:03}" for code in range(N_SYMBOLS)], len(sessions)),
            "session": sessions * N_SYMBOLS,
            "open": opens.ravel(),
            "close": closes.ravel(),
            "volume": 1e7,
            "is_unexplained_gap": False,
        }
    )


def minute_market() -> pl.DataFrame:
    """Return random walks of forty sessions, minute by minute."""
    calendar = nse_calendar()
    sessions = calendar.sessions(date(2024, 4, 1), date(2024, 12, 31))[:N_MINUTE_SESSIONS]
    starts = [(day, at) for day in sessions for at in bar_starts(calendar, day, "1minute") or []]
    rng = np.random.default_rng(0)
    steps = rng.normal(0, 0.0006, (N_MINUTE_SYMBOLS, len(starts)))
    closes = 250 * np.exp(steps.cumsum(axis=1))
    opens = closes * np.exp(rng.normal(0, 0.0002, closes.shape))
    frame = pl.DataFrame(
        {
            "symbol": np.repeat([f"S{n:02}" for n in range(N_MINUTE_SYMBOLS)], len(starts)),
            "session": [day for day, _ in starts] * N_MINUTE_SYMBOLS,
            "starts_at": [at for _, at in starts] * N_MINUTE_SYMBOLS,
            "open": opens.ravel(),
            "close": closes.ravel(),
            "volume": 1e5,
            "is_unexplained_gap": False,
        }
    )
    return frame.with_columns(pl.col("starts_at").cast(pl.Datetime("us", "UTC")))


if __name__ == "__main__":
    main()
