"""Scores become the orders of a slow loop that knows nothing of arrays, and trade as by hand."""

import math
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from statistics import stdev
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensequant.errors import ConfigError, DataError
from sensequant.evaluation import backtest
from sensequant.evaluation.account import (
    AT_OPEN,
    EQUITY_SCHEMA,
    EXPOSURE_SCHEMA,
    POSITIONS_SCHEMA,
    TRADES_SCHEMA,
)
from sensequant.evaluation.backtest import (
    BacktestConfig,
    BacktestResult,
    buy_and_hold,
    run_backtest,
)
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.grid import lay_out
from sensequant.evaluation.portfolio import Orders, closing_orders, concat_orders, execute
from sensequant.market.sessions import nse_calendar

FREE = CostConfig(
    brokerage_bps=0, dp_charge_inr=0, slippage_bps=0, impact_bps=0, rates_as_of=date(2025, 6, 2)
)
DEAR = CostConfig(brokerage_bps=10, dp_charge_inr=20, slippage_bps=5)
PLAIN: dict[str, Any] = {"cash_rate_frac": 0.0, "max_participation_frac": 1.0}
FIRST = nse_calendar().number_of(date(2025, 6, 2))


def session(place: int) -> date:
    return nse_calendar().session_at(FIRST + place)


def bars_of(rows: Sequence[tuple[str, int, float, float]]) -> pl.DataFrame:
    """Return bars from (symbol, place, open, close)."""
    return pl.DataFrame(
        [
            (symbol, session(place), open_, close, 1e9, False)
            for symbol, place, open_, close in rows
        ],
        schema={
            "symbol": pl.String,
            "session": pl.Date,
            "open": pl.Float64,
            "close": pl.Float64,
            "volume": pl.Float64,
            "is_unexplained_gap": pl.Boolean,
        },
        orient="row",
    )


def scores_of(rows: Sequence[tuple[str, int, float | None]]) -> pl.DataFrame:
    """Return predictions from (symbol, place, score)."""
    return pl.DataFrame(
        [(symbol, session(place), score) for symbol, place, score in rows],
        schema={"symbol": pl.String, "session": pl.Date, "score": pl.Float64},
        orient="row",
    )


def universe(
    seed: int, n_symbols: int = 4, n_sessions: int = 25, hole_frac: float = 0.15
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return random scores and bars with halts, late listings and early ends."""
    rng = np.random.default_rng(seed)
    bars: list[tuple[str, int, float, float]] = []
    scores: list[tuple[str, int, float | None]] = []
    for code in range(n_symbols):
        start, end = int(rng.integers(0, 5)), n_sessions - int(rng.integers(0, 8))
        price = 100.0
        for place in range(start, end):
            if rng.random() < hole_frac:
                continue
            open_ = price * float(np.exp(rng.normal(0, 0.02)))
            price = open_ * float(np.exp(rng.normal(0, 0.02)))
            bars.append((f"S{code}", place, open_, price))
            if place < n_sessions - 4 and rng.random() < 0.8:
                scores.append((f"S{code}", place, float(rng.random())))
    return scores_of(scores), bars_of(bars)


def slow_sizes(
    closes: dict[tuple[str, int], float], symbol: str, place: int, config: BacktestConfig
) -> float:
    """Return a full position as it is known after a session, from the closes up to it."""
    if config.sizing == "equal":
        return min(config.position_frac, config.max_position_frac)
    known = [closes[key] for key in sorted(closes) if key[0] == symbol and key[1] <= place]
    moves = [math.log(now / before) for before, now in pairwise(known)][-60:]
    if len(moves) < 20:
        return 0.0
    volatility = stdev(moves) * math.sqrt(248)
    size = config.position_frac * config.reference_volatility_frac / volatility
    return min(size, config.max_position_frac)


def slow_size(
    closes: dict[tuple[str, int], float],
    implied: float | None,
    symbol: str,
    place: int,
    config: BacktestConfig,
) -> float:
    """Return the size that a decision has after a session: its own, or that of the symbol."""
    if implied is None:
        return slow_sizes(closes, symbol, place, config)
    size = config.position_frac * config.reference_volatility_frac / implied
    return min(size, config.max_position_frac)


def slow_orders(
    predictions: pl.DataFrame, bars: pl.DataFrame, horizon: int, config: BacktestConfig
) -> list[tuple[int, str, float]]:
    """Return place, symbol and target of every order of the rules, one at a time."""
    number = nse_calendar().number_of
    scored = [
        ((row["symbol"], number(row["session"]) - FIRST), row)
        for row in predictions.iter_rows(named=True)
        if row["score"] is not None
    ]
    scores = {key: row["score"] for key, row in scored}
    implied = {key: row.get("implied_volatility") for key, row in scored}
    closes = {(s, number(d) - FIRST): c for s, d, _, c, *_ in bars.iter_rows()}
    symbols = sorted({symbol for symbol, _ in scores})
    closes = {key: value for key, value in closes.items() if key[0] in symbols}
    first, last = min(p for _, p in scores), max(p for _, p in scores)
    end = min(last + horizon, max(p for _, p in closes))
    applied = dict.fromkeys(symbols, 0.0)
    orders: list[tuple[int, str, float]] = []
    for place in range(first + 1, end + 1):
        targets: dict[str, float] = {}
        for symbol in symbols:
            target = 0.0
            for key in ((symbol, place - 1 - back) for back in range(horizon)):
                if scores.get(key, -1) >= config.threshold:
                    target += slow_size(closes, implied[key], symbol, place - 1, config) / horizon
            targets[symbol] = target
        excess = max(1.0, sum(targets.values()) / config.gross_limit_frac)
        for symbol in symbols:
            target = targets[symbol] / excess
            moved = abs(target - applied[symbol]) >= max(config.min_change_frac, 1e-9)
            ended = target == 0 and applied[symbol] != 0
            if (symbol, place) in closes and (moved or ended):
                orders.append((place - first - 1, symbol, target))
                applied[symbol] = target
    return orders


def run(
    predictions: pl.DataFrame, bars: pl.DataFrame, horizon: int = 3, **changes: Any
) -> BacktestResult:
    costs = changes.pop("costs", DEAR)
    config = BacktestConfig(**PLAIN | changes)
    return run_backtest(predictions, bars, horizon_sessions=horizon, costs=costs, config=config)


def with_implied(predictions: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return predictions with an implied volatility for two thirds of them."""
    rng = np.random.default_rng(seed)
    drawn = rng.uniform(0.1, 1.0, predictions.height)
    known = rng.random(predictions.height) < 2 / 3
    values = [
        float(each) if is_known else None for each, is_known in zip(drawn, known, strict=True)
    ]
    return predictions.with_columns(implied_volatility=pl.Series(values, dtype=pl.Float64))


@pytest.mark.parametrize("is_implied", [False, True], ids=["", "implied"])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"position_frac": 0.6, "max_position_frac": 0.5, "gross_limit_frac": 0.9},
        {"position_frac": 1.0, "threshold": 0.2, "min_change_frac": 0.05},
        {"sizing": "volatility", "max_position_frac": 0.5},
    ],
    ids=["default", "scaled", "banded", "by volatility"],
)
def test_a_slow_loop_finds_the_same_orders(
    seed: int, changes: dict[str, Any], is_implied: bool
) -> None:
    """On random universes the orders, and what they do, are those of the slow reference."""
    predictions, bars = universe(seed, n_sessions=60)
    predictions = with_implied(predictions, seed) if is_implied else predictions
    config = BacktestConfig(**PLAIN, **changes)
    expected = slow_orders(predictions, bars, 3, config)

    found = run(predictions, bars, **changes)

    span = backtest._span(backtest._scored(predictions, 3), bars, 3)
    grid = lay_out(bars, first=span.first, last=span.last, symbols=span.symbols)
    place = np.array([order[0] for order in expected])
    column = np.array([span.symbols.index(order[1]) for order in expected])
    slow = Orders(
        bar=place,
        moment=np.full(place.size, AT_OPEN),
        column=column,
        target=np.array([order[2] for order in expected]),
        price=grid.opens[place, column],
        reason=np.zeros(place.size, dtype=np.int64),
    )
    account = execute(
        grid,
        concat_orders([slow, closing_orders(grid)]),
        limits=config.limits,
        costs=DEAR,
        product="delivery",
    )
    assert len(expected) > 0
    assert np.abs(found.equity["equity"] - account.equity["equity"]).max() < 0.005
    assert found.trades.select("session", "symbol", "side", "moment", "shares").equals(
        account.trades.select("session", "symbol", "side", "moment", "shares")
    )


def test_sizes_by_volatility_are_those_of_the_quieter_symbol_first() -> None:
    """A symbol that moves half as much is bought for twice as much, up to the limit."""
    rng = np.random.default_rng(0)
    moves = rng.normal(0, 0.02, 40)
    rows: list[tuple[str, int, float, float]] = []
    for symbol, times in (("A", 1.0), ("B", 0.5)):
        prices = 100 * np.exp(np.cumsum(times * moves))
        rows += [(symbol, n, float(price), float(price)) for n, price in enumerate(prices)]
    predictions = scores_of([("A", 38, 0.9), ("B", 38, 0.9)])

    found = run(
        predictions, bars_of(rows), horizon=1, costs=FREE, sizing="volatility",
        position_frac=0.1, max_position_frac=0.5,
    )  # fmt: skip

    one, other = found.trades.filter(side="buy")["value_inr"]
    assert other / one == pytest.approx(2, rel=1e-3)
    assert one == pytest.approx(1e6 * 0.3 / (moves[:39][1:].std(ddof=1) * 248**0.5), rel=1e-3)


def test_a_decision_keeps_the_size_that_its_implied_volatility_gave_it() -> None:
    """Three decisions, each a third: 0.1 x 0.3 / 0.6, then the limit of 0.2, then none known."""
    bars = bars_of([("A", place, 100.0, 100.0) for place in range(8)])
    known = [0.6, 0.05, None, 0.6]
    predictions = scores_of([("A", 0, 0.9), ("A", 1, 0.9), ("A", 2, 0.9), ("A", 3, 0.1)])
    predictions = predictions.with_columns(implied_volatility=pl.Series(known, dtype=pl.Float64))

    found = run(predictions, bars, costs=FREE, min_change_frac=0.0, capital_inr=1e9)

    weights = [0.05 / 3, 0.25 / 3, 0.35 / 3, 0.30 / 3, 0.10 / 3, 0.0]
    # Costs of law take a little of the equity.
    assert found.exposure["gross_frac"].to_list() == pytest.approx(weights, abs=2e-4)
    assert found.exposure["n_positions"].to_list() == [1, 1, 1, 1, 1, 0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 25), st.floats(0.05, 5.0))
def test_no_later_implied_volatility_changes_an_earlier_trade(
    seed: int, place: int, level: float
) -> None:
    """Others, or none, from a session on leave the trades up to and including its own."""
    predictions, bars = universe(seed)
    predictions = with_implied(predictions, seed)
    is_later = pl.col("session") >= session(place)
    implied = pl.col("implied_volatility")
    other = pl.when(implied.is_null() | (implied > 0.5)).then(level)
    changed = predictions.with_columns(
        implied_volatility=pl.when(is_later).then(other).otherwise(implied)
    )

    before, after = (
        run(each, bars).trades.filter(pl.col("session") <= session(place))
        for each in (predictions, changed)
    )

    assert before.equals(after)


@pytest.mark.parametrize("level", [0.0, -0.1, float("nan"), float("inf")])
def test_an_impossible_implied_volatility_is_refused(level: float) -> None:
    """It is not taken for one that is not known."""
    predictions = scores_of([("A", 0, 0.9)]).with_columns(implied_volatility=pl.lit(level))

    with pytest.raises(DataError, match="implied volatility"):
        run(predictions, bars_of([("A", 0, 1.0, 1.0), ("A", 1, 1.0, 1.0)]))


def test_hand_case() -> None:
    """One signal held one session: bought at 100, sold at the next open of 110, no costs law aside.

    Capital 100,000; score at session 0; bought at the open of session 1 for 50 % (100 -> close
    105); the target falls to zero after session 1, so all is sold at the open of session 2 (110).
    """
    bars = bars_of([("A", 0, 99, 99), ("A", 1, 100, 105), ("A", 2, 110, 90), ("A", 3, 90, 90)])
    predictions = scores_of([("A", 0, 0.7), ("A", 1, 0.2), ("A", 2, 0.1)])

    found = run(
        predictions, bars, horizon=1, costs=FREE,
        position_frac=0.5, max_position_frac=0.5, capital_inr=100_000,
    )  # fmt: skip

    # 2025: STT 10, exchange 0.297, IPFT 0.01, SEBI 0.01, stamp 1.5 on the purchase, GST 18 %.
    fees = 1.18 * (0.297 + 0.01 + 0.01)
    buy_cost = 50_000 * (10 + 1.5 + fees) / 1e4
    sell_cost = 55_000 * (10 + fees) / 1e4
    assert found.equity["session"].to_list() == [session(1), session(2), session(3)]
    assert found.equity["equity"].to_list() == pytest.approx(
        [102_500 - buy_cost, 105_000 - buy_cost - sell_cost, 105_000 - buy_cost - sell_cost]
    )
    assert found.equity["gross_return"][0] == pytest.approx(0.025)
    after = 50_000 / (100_000 - buy_cost)
    assert found.equity["exposure"].to_list() == pytest.approx([after, 0, 0])
    assert found.equity["turnover"][0] == pytest.approx(0.5)
    held = 500 * 105
    assert found.positions.rows() == [
        (session(1), "A", 500, 105, held, pytest.approx(held / (102_500 - buy_cost)))
    ]
    assert found.exposure["n_positions"].to_list() == [1, 0, 0]
    assert found.trades.select("session", "symbol", "side", "moment", "price").rows() == [
        (session(1), "A", "buy", "open", 100.0),
        (session(2), "A", "sell", "open", 110.0),
    ]
    assert found.trades["value_inr"].to_list() == pytest.approx([50_000, 55_000])


def test_tranches_overlap() -> None:
    """A single signal with a horizon of four is held at a quarter of its size for four sessions."""
    bars = bars_of([("A", place, 100.0, 100.0) for place in range(8)])
    predictions = scores_of([("A", 0, 0.9), *[("A", place, 0.1) for place in range(1, 4)]])

    found = run(predictions, bars, horizon=4, position_frac=0.4, max_position_frac=0.4, costs=FREE)

    assert found.positions["weight"].to_list() == pytest.approx([0.1] * 4, rel=1e-3)
    assert found.trades.height == 2


def test_a_halt_keeps_the_last_price_and_trades_later() -> None:
    """Without a bar the position stays at its last close and is sold when trade resumes."""
    bars = bars_of([("A", 0, 100, 100), ("A", 1, 100, 120), ("A", 4, 60, 60), ("A", 5, 60, 60)])
    predictions = scores_of([("A", 0, 0.9), *[("B", place, 0.1) for place in range(5)]])

    found = run(predictions, bars, horizon=1, costs=FREE, position_frac=0.5, max_position_frac=0.5)

    assert found.equity["gross_return"].to_list() == pytest.approx(
        [0.1, 0.0, 0.0, -0.6 * 0.5 / 1.1, 0.0], abs=1e-3
    )
    assert found.trades.select("session", "side", "moment").rows() == [
        (session(1), "buy", "open"),
        (session(4), "sell", "open"),
    ]


def test_a_delisted_symbol_is_sold_at_its_last_close() -> None:
    """The position ends at the close of the last bar, and only one DP charge is due."""
    bars = bars_of(
        [("A", place, 100.0, 100.0) for place in range(3)]
        + [("B", place, 50.0, 50.0) for place in range(7)]
    )
    predictions = scores_of([("A", 0, 0.9), ("A", 1, 0.1), *[("B", p, 0.1) for p in range(5)]])

    found = run(predictions, bars, horizon=2, position_frac=0.5, max_position_frac=0.5)

    assert found.trades.select("session", "symbol", "side", "moment").rows() == [
        (session(1), "A", "buy", "open"),
        (session(2), "A", "sell", "close"),
    ]
    assert found.trades["dp_inr"].to_list() == [0, 20]


def test_two_sales_of_a_session_bear_one_dp_charge() -> None:
    """A symbol sold in part at the open and wholly at its last close pays the depository once."""
    bars = bars_of([("A", place, 100.0, 100.0) for place in range(4)])
    predictions = scores_of([("A", 0, 0.9), ("A", 1, 0.9), ("A", 2, 0.1)])

    found = run(predictions, bars, horizon=2, position_frac=0.5, max_position_frac=0.5)
    last = found.trades.filter(pl.col("session") == session(3))

    assert last.select("moment", "dp_inr").rows() == [("open", 20), ("close", 0)]
    assert found.equity["cost_return"][2] * found.equity["equity"][1] == pytest.approx(
        last["cost_inr"].sum()
    )


def test_a_symbol_halted_at_the_end_stays_in_the_book() -> None:
    """What cannot be sold at the last session is valued at its last price, not sold."""
    bars = bars_of(
        [("A", 0, 100, 100), ("A", 1, 100, 110), ("A", 9, 50, 50)]
        + [("B", place, 10.0, 10.0) for place in range(10)]
    )
    predictions = scores_of([("A", 0, 0.9), ("B", 1, 0.1)])

    found = run(predictions, bars, horizon=2, costs=FREE, position_frac=1, max_position_frac=1)

    assert found.equity.height == 3
    assert found.trades["side"].to_list() == ["buy"]
    assert found.equity["equity"][-1] == pytest.approx(1e7 * 1.05, rel=1e-3)


def test_purchases_are_cut_when_a_position_cannot_be_sold() -> None:
    """A halted holding of 60 % leaves room for 40 % of others, whatever their targets ask."""
    bars = bars_of(
        [("A", 0, 10, 10), ("A", 1, 10, 10), ("A", 8, 10, 10)]
        + [("B", place, 10.0, 10.0) for place in range(9)]
    )
    predictions = scores_of([("A", 0, 0.9), ("B", 0, 0.1), ("B", 1, 0.9), ("B", 2, 0.9)])

    found = run(predictions, bars, horizon=1, costs=FREE, position_frac=0.6, max_position_frac=0.6)
    second = found.positions.filter(pl.col("session") == session(2))

    assert second["symbol"].to_list() == ["A", "B"]
    assert second["weight"].to_list() == pytest.approx([0.6, 0.4], rel=2e-3)


def test_held_gaps_are_counted() -> None:
    """An unexplained move of a held symbol counts once, one of a symbol not held does not."""
    bars = bars_of([(s, place, 10.0, 10.0) for s in "AB" for place in range(5)]).with_columns(
        is_unexplained_gap=pl.col("session") == session(2)
    )
    predictions = scores_of([("A", 0, 0.9), ("B", 0, 0.1)])

    assert run(predictions, bars, horizon=2).n_gaps_held == 1


def test_buy_and_hold_trades_twice_per_symbol() -> None:
    """Every symbol is bought once at its first open and sold once, costs included."""
    predictions, bars = universe(3, hole_frac=0)

    found = buy_and_hold(predictions, bars, horizon_sessions=3, costs=DEAR, config=BacktestConfig())

    assert found.trades.group_by("symbol").len()["len"].to_list() == [2] * 4
    assert found.trades.filter(side="buy")["symbol"].n_unique() == 4
    assert found.equity["session"].to_list() == run(predictions, bars).equity["session"].to_list()


def test_buy_and_hold_by_hand() -> None:
    """Two symbols, one doubles and one halves: half of each gives a quarter gain."""
    bars = bars_of(
        [
            *(("A", 0, 9, 9), ("A", 1, 10, 10), ("A", 2, 20, 20)),
            *(("B", 0, 9, 9), ("B", 1, 10, 10), ("B", 2, 5, 5)),
        ]
    )
    predictions = scores_of([("A", 0, 0.1), ("B", 0, 0.1)])

    found = buy_and_hold(predictions, bars, horizon_sessions=2, costs=FREE, config=BacktestConfig())

    assert (1 + found.equity["gross_return"]).product() == pytest.approx(1.25, rel=1e-3)


def test_zero_signals_earn_and_trade_nothing() -> None:
    """Without a score above the threshold equity and turnover stay flat."""
    predictions, bars = universe(1)

    found = run(predictions.with_columns(score=pl.lit(0.0)), bars)

    assert found.equity.height > 0
    assert set(found.equity["net_return"]) == {0.0}
    assert set(found.equity["turnover"]) == {0.0}
    assert found.positions.is_empty()
    assert found.trades.is_empty()


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_costs_never_raise_the_net_return(seed: int) -> None:
    """In no session is the net return above the gross one, and the trades hold the same costs."""
    predictions, bars = universe(seed)
    found = run(predictions, bars)
    base = np.concatenate([[1e7], found.equity["equity"].to_numpy()[:-1]])
    booked = found.equity.select("session", cost_inr=found.equity["cost_return"] * base)
    listed = found.trades.group_by("session").agg(total=pl.col("cost_inr").sum())
    both = booked.join(listed, on="session", how="left").fill_null(0)

    assert (found.equity["net_return"] <= found.equity["gross_return"]).all()
    assert (found.equity["cost_return"] >= 0).all()
    assert np.allclose(both["cost_inr"], both["total"], atol=1e-5)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 20))
def test_no_future_price_changes_earlier_equity(seed: int, place: int) -> None:
    """Doubling every price after a session leaves the equity up to it as it was."""
    predictions, bars = universe(seed)
    is_later = pl.col("session") > session(place)
    changed = bars.with_columns(
        pl.when(is_later).then(pl.col(name) * 2).otherwise(pl.col(name)).alias(name)
        for name in ("open", "close")
    )
    kept = pl.col("session") <= session(place)

    before = run(predictions, bars).equity.filter(kept)
    after = run(predictions, changed).equity.filter(kept)

    assert before.equals(after)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.floats(0.1, 1.0), st.floats(0.05, 1.0))
def test_limits_hold_after_every_trade(seed: int, gross: float, largest: float) -> None:
    """After the trades at an open the sum of weights is within the limit, unless prices drifted."""
    predictions, bars = universe(seed)

    found = run(
        predictions, bars, costs=FREE,
        position_frac=1.0, gross_limit_frac=gross, max_position_frac=largest, threshold=0.0,
    )  # fmt: skip
    bought = found.trades.filter(side="buy")["session"].unique()
    on_purchase = found.equity.filter(pl.col("session").is_in(bought.implode()))

    # Over the equity that costs have made smaller.
    assert (on_purchase["exposure"] <= gross * 1.002).all()
    first = found.trades.filter(pl.col("session") == session(1), side="buy")["value_inr"]
    assert first.is_empty() or float(first.to_numpy().max()) <= largest * 1e7


def test_row_order_does_not_matter() -> None:
    """Shuffled predictions and bars give the same bytes."""
    predictions, bars = universe(5)

    straight = run(predictions, bars)
    shuffled = run(predictions.sample(fraction=1, shuffle=True, seed=1), bars.reverse())

    assert straight.equity.equals(shuffled.equity)
    assert straight.trades.equals(shuffled.trades)


@pytest.mark.parametrize(
    ("predictions", "bars"),
    [
        (scores_of([]), bars_of([("A", 0, 1, 1)])),
        (scores_of([("A", 0, None)]), bars_of([("A", 0, 1, 1)])),
        (scores_of([("A", 0, 0.9)]), bars_of([])),
        (scores_of([("A", 3, 0.9)]), bars_of([("A", 0, 1, 1), ("A", 3, 1, 1)])),
        (scores_of([("A", 3, 0.9)]), bars_of([("A", 0, 1, 1)])),
    ],
)
def test_nothing_to_trade_gives_empty_tables(predictions: pl.DataFrame, bars: pl.DataFrame) -> None:
    """No scores, no bars or no bar after the first score: tables without rows, right columns."""
    for found in (
        run(predictions, bars),
        buy_and_hold(predictions, bars, horizon_sessions=3, costs=DEAR, config=BacktestConfig()),
    ):
        assert found.equity.schema == EQUITY_SCHEMA
        assert found.exposure.schema == EXPOSURE_SCHEMA
        assert found.positions.schema == POSITIONS_SCHEMA
        assert found.trades.schema == TRADES_SCHEMA
        assert found.equity.is_empty()


BAR = ("A", 1, 10.0, 10.0)


@pytest.mark.parametrize(
    ("predictions", "bars", "what"),
    [
        (scores_of([("A", 0, 0.9)] * 2), bars_of([BAR]), "a score stood twice"),
        (scores_of([("A", 0, float("nan"))]), bars_of([BAR]), "a score was not finite"),
        (scores_of([("A", 0, 0.9)]), bars_of([BAR, BAR]), "a bar stood twice"),
        (scores_of([("A", 0, 0.9)]), bars_of([("A", 1, 0.0, 10.0)]), "no usable price"),
        (
            scores_of([("A", 0, 0.9)]).with_columns(session=pl.lit(date(2025, 6, 1))),
            bars_of([BAR]),
            "not in the calendar",
        ),
    ],
)
def test_contradicting_input_is_refused(
    predictions: pl.DataFrame, bars: pl.DataFrame, what: str
) -> None:
    """Doubled rows, NaN, impossible prices and unknown sessions stop the backtest."""
    with pytest.raises(DataError, match=what):
        run(predictions, bars)


def test_impossible_requests_are_refused() -> None:
    """A horizon of zero, and charges that eat the capital, are errors of the request."""
    predictions, bars = universe(1)
    with pytest.raises(ConfigError, match="horizon"):
        run(predictions, bars, horizon=0)
    ruinous = CostConfig(dp_charge_inr=1000, slippage_bps=500, brokerage_bps=500)
    many = bars_of([(name, place, 10.0, 10.0) for name in "ABCDE" for place in range(60)])
    flips = scores_of(
        [(name, place, 0.9 if place % 2 else 0.1) for name in "ABCDE" for place in range(58)]
    )
    with pytest.raises(ConfigError, match="capital"):
        run(
            flips, many, horizon=1, costs=ruinous,
            position_frac=0.01, max_position_frac=0.01, capital_inr=1e5,
        )  # fmt: skip
