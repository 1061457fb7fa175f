"""Options of a session: which prices say something, what a chain says, and nothing known later."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensequant.context.black_scholes import Terms, price
from sensequant.context.hours import decisions_of
from sensequant.context.option_sessions import (
    HISTORY_SESSIONS,
    MIN_HISTORY,
    OPTIONS_SESSION_SCHEMA,
    options_by_session,
)
from sensequant.context.options import OPTIONS, QUOTE_SCHEMA, with_volatilities
from sensequant.market.sessions import nse_calendar

CALENDAR = nse_calendar()
DECISIONS = decisions_of(CALENDAR)
AT = datetime(2024, 1, 16, 9, 50, tzinfo=UTC)
CLOSE = datetime(2024, 1, 16, 10, tzinfo=UTC)
TODAY = AT.date()
NEAR, NEXT = date(2024, 1, 25), date(2024, 2, 29)
SPOT = 20_000.0
RATES = {"rate_frac": 0.065, "dividend_frac": 0.01}
SESSIONS = CALENDAR.sessions(date(2023, 1, 2), date(2024, 6, 28))


def quote(**changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "expiry": NEAR,
        "strike_inr": SPOT,
        "is_call": True,
        "last_inr": 200.0,
        "last_date": AT.date(),
        "bid_inr": None,
        "ask_inr": None,
        "volume": 50.0,
        "open_interest": 100.0,
        "spot_inr": SPOT,
    }
    return usual | changes


def solved(*quotes: dict[str, Any]) -> pl.DataFrame:
    return with_volatilities(pl.DataFrame(list(quotes), schema=QUOTE_SCHEMA), at=AT, **RATES)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"last_date": date(2024, 1, 15)}, "no_trade"),
        ({"volume": 0.0}, "no_trade"),
        ({"volume": None}, "no_trade"),
        ({"last_inr": 0.0}, "no_trade"),
        ({"expiry": date(2024, 1, 15)}, "expired"),
        ({"expiry": AT.date()}, None),
        ({"spot_inr": None}, "no_spot"),
        ({"spot_inr": 0.0}, "no_spot"),
        ({"strike_inr": 19_000.0, "last_inr": 900.0}, "negative_time_value"),
        ({"strike_inr": 21_000.0, "is_call": False, "last_inr": 900.0}, "negative_time_value"),
        ({"last_inr": 20_001.0}, "above_bound"),
        ({"strike_inr": 30_000.0, "last_inr": 1e-300}, None),
    ],
)
def test_a_price_that_implies_nothing_says_why(changes: dict[str, Any], reason: str | None) -> None:
    """The contract stays, with its volume and open interest."""
    (row,) = solved(quote(**changes)).to_dicts()

    assert row["reason"] == reason
    assert (row["implied_volatility"] is None) == (reason is not None)
    assert row["open_interest"] == 100.0


def test_the_middle_of_bid_and_offer_goes_before_the_last_price() -> None:
    """Where both are there and not crossed."""
    quoted = {"bid_inr": 299.0, "ask_inr": 301.0}
    crossed = {"bid_inr": 301.0, "ask_inr": 299.0, "last_inr": 300.0}
    found = solved(quote(**quoted), quote(**crossed), quote(last_inr=300.0), quote())
    levels = found["implied_volatility"].to_list()

    assert levels[0] == levels[1] == levels[2]
    assert levels[3] < levels[0]
    assert found["rate_frac"].unique().to_list() == [0.065]


def chain(
    session: date = TODAY,
    *,
    level: float = 0.2,
    slope: float = -0.4,
    term: float = 0.03,
    symbol: str = "AAA",
    minute: int = 50,
    delay: timedelta = timedelta(0),
    expiries: tuple[date, date] = (NEAR, NEXT),
) -> pl.DataFrame:
    """Return a chain whose volatility is level + slope ln(strike / forward), later term higher."""
    at = datetime.combine(session, datetime.min.time(), UTC) + timedelta(hours=9, minutes=minute)
    rows: list[dict[str, Any]] = []
    for number, expiry in enumerate(expiries):
        ends = datetime.combine(expiry, datetime.min.time(), UTC) + timedelta(hours=10)
        years = (ends - at) / timedelta(days=365)
        forward = SPOT * math.exp((RATES["rate_frac"] - RATES["dividend_frac"]) * years)
        for strike in np.arange(17_000.0, 23_500.0, 500.0):
            sigma = level + slope * math.log(strike / forward) + number * term
            for is_call in (True, False):
                numbers = (SPOT, strike, years, *RATES.values())
                terms = Terms(*(np.array([each]) for each in numbers), is_call=np.array([is_call]))
                paid = float(price(terms, np.array([sigma]))[0])
                lots = 100.0 if is_call else 150.0
                rows.append(
                    quote(
                        expiry=expiry,
                        strike_inr=strike,
                        is_call=is_call,
                        last_inr=paid,
                        last_date=session,
                        volume=lots,
                        open_interest=2 * lots if strike == 19_500 else lots,
                    )
                )
    found = with_volatilities(pl.DataFrame(rows, schema=QUOTE_SCHEMA), at=at, **RATES)
    return found.select(
        symbol=pl.lit(symbol),
        at=pl.lit(at, OPTIONS.schema["at"]),
        known_at=pl.lit(at + delay, OPTIONS.schema["at"]),
        source=pl.lit("test"),
        is_simulated=pl.lit(value=False),
        **{name: pl.col(name) for name in OPTIONS.values},
    ).cast(OPTIONS.schema)


def only(rows: pl.DataFrame) -> dict[str, Any]:
    (row,) = options_by_session(rows, DECISIONS).to_dicts()
    return row


def test_a_chain_says_what_it_was_made_of() -> None:
    """Level, slope and term come back from the prices; the ratios and the pain by counting."""
    row = only(chain())

    assert row["known_at"] == CLOSE
    # The smile is straight, and so is what lies between two strikes but for the curve of ln.
    assert row["atm_volatility"] == pytest.approx(0.2, abs=1e-4)
    assert row["skew"] == pytest.approx(0.04, abs=1e-4)
    assert row["term_structure"] == pytest.approx(0.03, abs=1e-4)
    assert row["put_call_volume"] == pytest.approx(1.5)
    assert row["put_call_open_interest"] == pytest.approx(1.5)
    assert (row["volatility_rank"], row["volatility_percentile"]) == (None, None)


def test_max_pain_by_brute_force() -> None:
    """What all holders receive together, for every strike, in plain loops."""
    rows = chain()
    near = rows.filter(pl.col("expiry") == NEAR).to_dicts()

    def received(strike: float) -> float:
        return sum(
            row["open_interest"]
            * max((1 if row["is_call"] else -1) * (strike - row["strike_inr"]), 0)
            for row in near
        )

    least = min({row["strike_inr"] for row in near}, key=lambda each: (received(each), each))

    assert only(rows)["max_pain_to_spot"] == pytest.approx(least / SPOT - 1)


def test_what_is_not_there_is_missing() -> None:
    """One expiry has no term, strikes on one side no level, no calls no ratio."""
    near = chain().filter(pl.col("expiry") == NEAR)
    high = near.filter(pl.col("strike_inr") > 20_500)
    puts = near.filter(pl.col("is_call").not_())
    soon = chain(date(2024, 1, 24))

    assert only(near)["term_structure"] is None
    assert (only(high)["atm_volatility"], only(high)["skew"]) == (None, None)
    assert only(puts)["put_call_volume"] is None
    # The expiry of tomorrow is not the near one.
    assert only(soon)["atm_volatility"] == pytest.approx(0.23, abs=1e-3)
    assert only(soon)["term_structure"] is None
    assert options_by_session(chain().clear(), DECISIONS).schema == OPTIONS_SESSION_SCHEMA


def test_a_snapshot_counts_if_it_is_fresh_and_was_known() -> None:
    """Not one from the morning, nor one that came after the close; of two the later one."""
    morning = chain(minute=-120)
    late = chain(delay=timedelta(minutes=11), level=0.5)
    early = chain(minute=20, level=0.4)

    assert options_by_session(morning, DECISIONS).is_empty()
    assert options_by_session(late, DECISIONS).is_empty()
    assert only(pl.concat([morning, early, late, chain()])) == only(chain())
    assert only(pl.concat([early, late]))["atm_volatility"] == pytest.approx(0.4, abs=1e-3)


def levels(n: int, *, seed: int = 0) -> pl.DataFrame:
    """Return two contracts around the forward for each of n sessions, with a level drawn."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[Any, ...]] = []
    for session in SESSIONS[:n]:
        at = datetime.combine(session, datetime.min.time(), UTC) + timedelta(hours=9, minutes=50)
        level = float(rng.uniform(0.1, 0.5))
        expiry = session + timedelta(days=30)
        rows += [
            ("AAA", at, at, "test", False, expiry, strike, strike > SPOT, 1.0, session, None, None,
             1.0, 1.0, SPOT, 0.0, 0.0, level, None)
            for strike in (19_000.0, 21_000.0)
        ]  # fmt: skip
    return pl.DataFrame(rows, schema=OPTIONS.schema, orient="row")


def test_ranks_stand_on_a_real_history() -> None:
    """Null before there are enough sessions; then those of a window, counted by hand."""
    # Of the evening session of Diwali there is none.
    found = options_by_session(levels(HISTORY_SESSIONS + 30), DECISIONS)
    n = found.height
    every = DECISIONS["session"].to_list()
    numbers = [every.index(session) for session in found["session"]]
    values = found["atm_volatility"].to_list()

    assert found["volatility_rank"][: MIN_HISTORY - 1].null_count() == MIN_HISTORY - 1
    for row in (MIN_HISTORY - 1, n - 1):
        window = values[
            numbers.index(max(numbers[0], numbers[row] + 1 - HISTORY_SESSIONS)) : row + 1
        ]
        lowest, highest = min(window), max(window)
        expected = (values[row] - lowest) / (highest - lowest)
        below = sum(each < values[row] for each in window[:-1]) / (len(window) - 1)
        assert found["volatility_rank"][row] == pytest.approx(expected)
        assert found["volatility_percentile"][row] == pytest.approx(below)


@settings(max_examples=8, deadline=None)
@given(
    st.integers(1, 139),
    st.lists(st.tuples(st.integers(0, 139), st.integers(1, 400_000)), min_size=1, max_size=8),
)
def test_nothing_known_later_changes_a_session(
    n_known: int, changes: list[tuple[int, int]]
) -> None:
    """Rows that become known after a close, whenever they happened, leave sessions up to it."""
    rows = levels(140)
    decided = datetime.combine(SESSIONS[n_known], datetime.min.time(), UTC) + timedelta(hours=10)
    news = [
        rows.filter(pl.col("at").dt.date() == SESSIONS[place]).with_columns(
            known_at=pl.max_horizontal(
                "known_at", pl.lit(decided + timedelta(seconds=delay), OPTIONS.schema["at"])
            ),
            implied_volatility=pl.lit(9.0),
            volume=pl.when("is_call").then(70.0).otherwise(1.0),
        )
        for place, delay in dict(changes).items()
    ]
    is_earlier = pl.col("known_at") <= decided

    before = options_by_session(rows, DECISIONS).filter(is_earlier)
    after = options_by_session(pl.concat([rows, *news]), DECISIONS).filter(is_earlier)

    assert before.height == n_known + 1
    assert before.equals(after)
