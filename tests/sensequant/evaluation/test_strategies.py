"""Each strategy trades what a person would who follows its rules bar by bar."""

from datetime import date, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.errors import ConfigError
from sensequant.evaluation.account import Account
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.sizing import PortfolioConfig
from sensequant.evaluation.strategies import (
    BalancedConfig,
    CashConfig,
    HoldConfig,
    IntradayConfig,
    StrategyConfig,
    SwingConfig,
    trade_rules,
)
from sensequant.market.intervals import bar_starts
from sensequant.market.sessions import nse_calendar

CALENDAR = nse_calendar()
FIRST = CALENDAR.number_of(date(2025, 6, 2))
FREE = CostConfig(
    brokerage_bps=0, dp_charge_inr=0, slippage_bps=0, impact_bps=0, rates_as_of=date(2025, 6, 2)
)
# Small positions, so that no limit decides what is traded.
SMALL = PortfolioConfig(
    position_frac=0.01, max_participation_frac=1.0, cash_rate_frac=0.0, capital_inr=1e9
)
SWING = SwingConfig(fast_bars=3, slow_bars=7, stop_frac=0.03, target_frac=0.05, max_sessions=6)
INTRADAY = IntradayConfig(average_bars=5, rsi_bars=4, can_short=True)

Fill = tuple[str, int, str, str, str, float]
"""Symbol, bar, side, moment, reason, price."""


class Bar(NamedTuple):
    """A bar; place is its session, or its minute."""

    place: int
    open: float
    high: float
    low: float
    close: float


def random_bars(seed: int, *, n_bars: int, hole_frac: float, spread: float) -> dict[str, list[Bar]]:
    """Return bars of up to three symbols with holes, ends and wide candles."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[Bar]] = {}
    for symbol in ["A", "B", "C"][: int(rng.integers(1, 4))]:
        price, bars = 100.0, list[Bar]()
        for place in range(n_bars - int(rng.integers(0, 4))):
            if rng.random() < hole_frac:
                continue
            open_ = price * float(np.exp(rng.normal(0, spread)))
            close = open_ * float(np.exp(rng.normal(0, spread)))
            high = max(open_, close) * float(np.exp(rng.exponential(spread / 2)))
            low = min(open_, close) * float(np.exp(-rng.exponential(spread / 2)))
            bars.append(Bar(place, open_, high, low, close))
            price = close
        found[symbol] = bars
    return found


def daily_frame(bars: dict[str, list[Bar]]) -> pl.DataFrame:
    rows = [
        {"symbol": symbol, "session": CALENDAR.session_at(FIRST + bar.place), **bar._asdict()}
        for symbol, each in bars.items()
        for bar in each
    ]
    columns = {"volume": pl.lit(1e12), "is_unexplained_gap": pl.lit(value=False)}
    return pl.DataFrame(rows).drop("place").with_columns(**columns)


def mean_of(bars: list[Bar], place: int, n: int) -> float | None:
    known = [bar.close for bar in bars[max(0, place - n + 1) : place + 1]]
    return sum(known) / n if len(known) == n else None


def slow_swing(symbol: str, bars: list[Bar], config: SwingConfig, n_sessions: int) -> list[Fill]:
    """Follow the rules with one position and one bar at a time."""
    fills: list[Fill] = []
    paid, bought_at = 0.0, -1
    was_above: bool | None = None
    is_due = False
    for number, bar in enumerate(bars):
        if paid:
            stop, target = paid * (1 - config.stop_frac), paid * (1 + config.target_frac)
            is_late = bar.place - bought_at >= config.max_sessions
            if bar.open <= stop or bar.open >= target or is_late:
                why = "stop" if bar.open <= stop else "target" if bar.open >= target else "time"
                fills.append((symbol, bar.place, "sell", "open", why, bar.open))
                paid = 0.0
        elif is_due:
            paid, bought_at = bar.open, bar.place
            fills.append((symbol, bar.place, "buy", "open", "signal", bar.open))
        if paid:
            stop, target = paid * (1 - config.stop_frac), paid * (1 + config.target_frac)
            if bar.low <= stop or bar.high >= target:
                why, price = ("stop", stop) if bar.low <= stop else ("target", target)
                fills.append((symbol, bar.place, "sell", "within", why, price))
                paid = 0.0
        if paid and number == len(bars) - 1:
            why = "end" if bar.place == n_sessions - 1 else "delisted"
            fills.append((symbol, bar.place, "sell", "close", why, bar.close))
        fast, slow = (mean_of(bars, number, n) for n in (config.fast_bars, config.slow_bars))
        is_above = None if fast is None or slow is None else fast > slow
        is_due = is_above is True and was_above is False and paid == 0
        was_above = is_above
    return fills


def fills_of(account: Account, places: dict[Any, int]) -> list[Fill]:
    at = pl.col("session") if account.trades["starts_at"].is_null().all() else pl.col("starts_at")
    rows = account.trades.select("symbol", at.alias("at"), "side", "moment", "reason", "price")
    return [(s, places[day], *rest) for s, day, *rest in rows.iter_rows()]  # pyright: ignore[reportReturnType]


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 100_000))
def test_swing_trades_as_a_person_would(seed: int) -> None:
    """Entries, stops, targets, gaps and time limits are those of the slow follower of the rules."""
    bars = random_bars(seed, n_bars=60, hole_frac=0.1, spread=0.02)
    last = max(bar.place for each in bars.values() for bar in each)
    expected = [
        fill for symbol, each in bars.items() for fill in slow_swing(symbol, each, SWING, last + 1)
    ]

    found = trade_rules(
        SWING, daily_frame(bars), first=FIRST, last=FIRST + last, costs=FREE, portfolio=SMALL
    )

    places = {CALENDAR.session_at(FIRST + place): place for place in range(last + 1)}
    assert [fill[:5] for fill in sorted(fills_of(found, places))] == [
        fill[:5] for fill in sorted(expected)
    ]
    assert [fill[5] for fill in sorted(fills_of(found, places))] == pytest.approx(
        [fill[5] for fill in sorted(expected)]
    )


def slow_rsi(closes: list[float], n: int) -> float | None:
    """Return Wilder's RSI of the last close: first simple means, then smoothed ones."""
    moves = [now - before for before, now in pairwise(closes)]
    if len(moves) < n:
        return None
    gain = sum(max(move, 0) for move in moves[:n]) / n
    loss = sum(max(-move, 0) for move in moves[:n]) / n
    for move in moves[n:]:
        gain = (gain * (n - 1) + max(move, 0)) / n
        loss = (loss * (n - 1) + max(-move, 0)) / n
    return 100 * gain / (gain + loss) if gain + loss > 0 else 50.0


def slow_intraday(symbol: str, session: list[Bar], config: IntradayConfig) -> list[tuple[Any, ...]]:
    """Return symbol, minute and direction wanted from each open on, where it changes."""
    changes: list[tuple[Any, ...]] = []
    state = wanted = 0
    for number, bar in enumerate(session):
        if wanted != state:
            changes.append((symbol, bar.place, wanted))
            state = wanted
        closes = [each.close for each in session[: number + 1]]
        average, rsi = (
            mean_of(session, number, config.average_bars),
            slow_rsi(closes, config.rsi_bars),
        )
        rsi = 50.0 if rsi is None else rsi
        if average is None:
            continue
        is_above, is_below = bar.close > average, bar.close < average
        if wanted == 1 and (is_below or rsi < config.short_rsi):
            wanted = 0
        if wanted == -1 and (is_above or rsi > config.long_rsi):
            wanted = 0
        if is_above and rsi > config.long_rsi:
            wanted = 1
        if config.can_short and is_below and rsi < config.short_rsi:
            wanted = -1
    return changes


def minute_frame(sessions: list[dict[str, list[Bar]]]) -> tuple[pl.DataFrame, dict[Any, int]]:
    rows: list[dict[str, Any]] = []
    places: dict[Any, int] = {}
    for number, bars in enumerate(sessions):
        day = CALENDAR.session_at(FIRST + number)
        opened = (bar_starts(CALENDAR, day, "1minute") or [])[0]
        for symbol, each in bars.items():
            for bar in each:
                starts_at = opened + timedelta(minutes=bar.place)
                places[starts_at] = 1000 * number + bar.place
                row = {"symbol": symbol, "session": day, "starts_at": starts_at}
                rows.append(row | bar._asdict())
    columns = {"volume": pl.lit(1e12), "is_unexplained_gap": pl.lit(value=False)}
    frame = (
        pl.DataFrame(rows)
        .drop("place")
        .with_columns(pl.col("starts_at").cast(pl.Datetime("us", "UTC")), **columns)
    )
    return frame, places


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100_000), st.booleans())
def test_intraday_is_in_the_market_when_a_person_would_be(seed: int, can_short: bool) -> None:
    """After every open the direction held is the one the slow follower of the rules wants."""
    config = INTRADAY.model_copy(update={"can_short": can_short})
    sessions = [
        random_bars(seed + number, n_bars=40, hole_frac=0.05, spread=0.002) for number in range(2)
    ]
    frame, places = minute_frame(sessions)
    expected: list[tuple[Any, ...]] = []
    for number, bars in enumerate(sessions):
        for symbol, each in bars.items():
            changes = slow_intraday(symbol, each, config)
            expected += [(s, 1000 * number + place, wanted) for s, place, wanted in changes]

    found = trade_rules(config, frame, first=FIRST, last=FIRST + 1, costs=FREE, portfolio=SMALL)

    signed = pl.when(pl.col("side") == "buy").then(pl.col("shares")).otherwise(-pl.col("shares"))
    held = found.trades.with_columns(held=signed.cum_sum().over("symbol"))
    at_open = held.filter(pl.col("moment") == "open").select("symbol", "starts_at", "held")
    directions = [(s, places[at], int(np.sign(round(n)))) for s, at, n in at_open.iter_rows()]
    assert sorted(directions) == sorted(expected)
    assert found.positions.is_empty()
    assert set(held.filter(pl.col("moment") == "close")["reason"]) <= {
        "square_off",
        "end",
        "delisted",
    }


def rules(strategy: StrategyConfig, bars: dict[str, list[Bar]], **portfolio: Any) -> Account:
    last = max(bar.place for each in bars.values() for bar in each)
    config = PortfolioConfig.model_validate({"cash_rate_frac": 0.0} | portfolio)
    return trade_rules(
        strategy, daily_frame(bars), first=FIRST, last=FIRST + last, costs=FREE, portfolio=config
    )


def flat(prices: list[float]) -> list[Bar]:
    return [Bar(place, price, price, price, price) for place, price in enumerate(prices)]


def test_hold_is_the_mean_of_the_symbols() -> None:
    """One doubles, one halves: a quarter of gain, two trades each."""
    found = rules(HoldConfig(), {"A": flat([10, 20]), "B": flat([10, 5])})

    assert (1 + found.equity["gross_return"]).product() == pytest.approx(1.25, rel=2e-3)
    assert found.trades["symbol"].to_list() == ["A", "B", "A", "B"]


def test_balanced_is_brought_back_each_month() -> None:
    """Sixty of a hundred in one symbol; after it doubled, the first of July sells down to it."""
    days = CALENDAR.sessions(date(2025, 6, 2), date(2025, 7, 2))
    is_june = [day < date(2025, 7, 1) for day in days]
    prices = [100.0 if day < date(2025, 6, 16) else 200.0 for day in days]

    found = rules(BalancedConfig(), {"A": flat(prices)})

    gross = dict(zip(days, found.exposure["gross_frac"], strict=True))
    assert gross[date(2025, 6, 2)] == pytest.approx(0.6, abs=1e-3)
    assert gross[date(2025, 6, 30)] == pytest.approx(1.2 / 1.6, abs=1e-3)
    assert gross[date(2025, 7, 1)] == pytest.approx(0.6, abs=1e-3)
    assert found.trades["session"].to_list() == [days[0], days[sum(is_june)], days[-1]]


def test_cash_earns_its_rate() -> None:
    """No trade, and interest alone."""
    found = rules(CashConfig(), {"A": flat([10.0] * 5)}, cash_rate_frac=0.05)

    assert found.trades.is_empty()
    assert found.equity["equity"][-1] == pytest.approx(1e7 * 1.05 ** (5 / 248))


def test_a_strategy_refuses_bars_of_another_length() -> None:
    """Minutes are for `intraday`, days for the others."""
    with pytest.raises(ConfigError, match="length"):
        rules(INTRADAY, {"A": flat([10.0] * 5)})
    with pytest.raises(ConfigError, match="length"):
        trade_rules(
            SWING, minute_frame([{"A": flat([10.0] * 5)}])[0], first=FIRST, last=FIRST,
            costs=FREE, portfolio=SMALL,
        )  # fmt: skip


def test_a_fast_average_is_faster() -> None:
    """Averages of the wrong order are refused."""
    with pytest.raises((ConfigError, ValidationError), match="fast"):
        SwingConfig(fast_bars=50, slow_bars=20)


@pytest.mark.parametrize("strategy", [SWING, HoldConfig(), BalancedConfig()])
def test_no_later_bar_changes_what_was_done(strategy: StrategyConfig) -> None:
    """Doubling every price after a session leaves the equity up to it as it was."""
    bars = random_bars(7, n_bars=60, hole_frac=0.05, spread=0.02)
    changed = {
        symbol: [
            bar if bar.place < 40 else Bar(bar.place, *(2 * price for price in bar[1:]))
            for bar in each
        ]
        for symbol, each in bars.items()
    }

    before, after = (rules(strategy, each).equity.head(40) for each in (bars, changed))

    assert before.equals(after)
