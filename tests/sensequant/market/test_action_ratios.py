"""Facts about what an action did to the price, where no list says it."""

from datetime import date
from typing import Any

import polars as pl
import pytest

from sensequant.errors import InvalidBarsError
from sensequant.market.action_ratios import (
    CASH_SCHEMA,
    FACE_VALUE_WIDTH,
    OPEN_OVER_PREVIOUS_CLOSE,
    RATIO_SCHEMA,
    THEORETICAL_EX_RIGHTS,
    cash_factors,
    cumulative_factors,
    price_ratios,
)
from sensequant.market.actions import actions_frame
from sensequant.market.sessions import nse_calendar

CALENDAR = nse_calendar()
SESSIONS = CALENDAR.sessions(date(2024, 1, 1), date(2024, 1, 31))


def bars(*rows: tuple[int, float, float], symbol: str = "TCS") -> pl.DataFrame:
    """Return bars of (number of the session, open, close)."""
    return pl.DataFrame(
        [(symbol, SESSIONS[at], first, last) for at, first, last in rows],
        schema={"symbol": pl.String, "session": pl.Date, "open": pl.Float64, "close": pl.Float64},
        orient="row",
    )


def action(
    at: int,
    kind: str,
    ratio: float | None = None,
    *,
    amount: float | None = None,
    terms: str | None = None,
) -> tuple[Any, ...]:
    return ("TCS", SESSIONS[at], kind, ratio, kind, "test", None, amount, terms)


def ratios(frame: pl.DataFrame, *actions: tuple[Any, ...]) -> list[tuple[object, ...]]:
    found = price_ratios(frame, actions_frame(actions), CALENDAR)
    assert found.schema == RATIO_SCHEMA
    return found.select("session", "kind", "price_ratio", "ratio_source").rows()


def factors(frame: pl.DataFrame, *actions: tuple[Any, ...]) -> list[tuple[date, float | None]]:
    listed = actions_frame(actions)
    found = cash_factors(frame, listed, price_ratios(frame, listed, CALENDAR), CALENDAR)
    assert found.schema == CASH_SCHEMA
    return found.select("session", "dividend_factor").rows()


STEADY = bars((0, 100.0, 100.0), (1, 80.0, 82.0), (2, 82.0, 82.0))


def test_a_listed_ratio_needs_no_bars() -> None:
    """It stands there before the first bar, on a bar and behind the last one."""
    later = bars((3, 10.0, 10.0), (4, 10.0, 10.0))

    found = ratios(later, action(0, "split", 0.1), action(4, "bonus", 0.5), action(9, "bonus", 0.5))

    assert found == [
        (SESSIONS[3], "split", 0.1, "listed"),
        (SESSIONS[4], "bonus", 0.5, "listed"),
        (None, "bonus", 0.5, "listed"),
    ]


@pytest.mark.parametrize("kind", ["demerger", "arrangement", "capital_reduction", "rights"])
def test_the_night_is_taken_out(kind: str) -> None:
    """Opened at 80 after a close of 100: the market's own ratio is 0.8."""
    assert ratios(STEADY, action(1, kind)) == [
        (SESSIONS[1], kind, pytest.approx(0.8), OPEN_OVER_PREVIOUS_CLOSE)
    ]


def test_a_known_ratio_of_the_same_session_is_not_taken_out_twice() -> None:
    """Opened at 80 after 100 with a bonus of one for four: the demerger took nothing."""
    found = ratios(STEADY, action(1, "bonus", 0.8), action(1, "demerger"))

    assert found[1][2] == pytest.approx(1.0)


def test_two_unknown_actions_share_one_night() -> None:
    """The open tells what both did together."""
    assert ratios(STEADY, action(1, "demerger"), action(1, "arrangement")) == [
        (SESSIONS[1], "arrangement+demerger", pytest.approx(0.8), OPEN_OVER_PREVIOUS_CLOSE)
    ]


def test_a_hole_hides_the_ratio() -> None:
    """Between the bars lie sessions with moves of their own."""
    holed = bars((0, 100.0, 100.0), (2, 80.0, 80.0))

    assert ratios(holed, action(1, "demerger")) == [(SESSIONS[2], "demerger", None, None)]
    assert ratios(holed, action(2, "demerger")) == [(SESSIONS[2], "demerger", None, None)]


def test_a_date_between_sessions_means_the_next_one() -> None:
    """An ex-date on Saturday 2024-01-06 takes effect on Monday."""
    friday = SESSIONS.index(date(2024, 1, 5))
    around = bars((friday, 100.0, 100.0), (friday + 1, 60.0, 60.0))
    saturday = ("TCS", date(2024, 1, 6), "demerger", None, "words", "test")

    assert ratios(around, saturday) == [
        (date(2024, 1, 8), "demerger", pytest.approx(0.6), OPEN_OVER_PREVIOUS_CLOSE)
    ]


def test_a_split_without_ratio_is_not_guessed() -> None:
    """Its ratio was agreed: that it is missing is a fault of the list, and so for its company."""
    assert ratios(STEADY, action(1, "split")) == [(SESSIONS[1], "split", None, None)]
    assert ratios(STEADY, action(1, "split"), action(1, "demerger")) == [
        (SESSIONS[1], "demerger+split", None, None)
    ]


def test_unknown_actions_outside_the_bars_are_left_out() -> None:
    """Before the first bar nobody held anything, and behind the last one nothing is known."""
    assert ratios(STEADY, action(0, "demerger"), action(9, "demerger")) == []


def test_rights_have_their_theoretical_price() -> None:
    """RELIANCE 2020: 1 new for 15 held at 1257 after a close of 1480: (15 * 1480 + 1257) / 16."""
    around = bars((0, 1480.0, 1480.0), (1, 1500.0, 1500.0))

    assert ratios(around, action(1, "rights", amount=1257.0, terms="1:15")) == [
        (
            SESSIONS[1],
            "rights",
            pytest.approx((15 * 1480 + 1257) / 16 / 1480),
            THEORETICAL_EX_RIGHTS,
        )
    ]


def test_rights_above_the_market_are_worth_nothing() -> None:
    """Nobody buys at 120 what costs 100."""
    found = ratios(STEADY, action(1, "rights", amount=120.0, terms="1:5"))

    assert [row[2:] for row in found] == [(1.0, THEORETICAL_EX_RIGHTS)]


def test_a_small_face_value_does_not_matter() -> None:
    """At 1480 rupees the face value moves the ratio by 0.04 percent, at 9 rupees by a fifth."""
    dear = bars((0, 1480.0, 1480.0), (1, 1500.0, 1500.0))
    cheap = bars((0, 9.0, 9.0), (1, 8.0, 8.0))
    terms = "1:15 at premium 1247"

    ((_, _, ratio, source),) = ratios(dear, action(1, "rights", terms=terms))
    limits = [(15 * 1480 + 1247 + face) / 16 / 1480 for face in (1.0, 10.0)]
    assert source == THEORETICAL_EX_RIGHTS
    assert ratio == pytest.approx(sum(limits) / 2)
    assert limits[1] - limits[0] < FACE_VALUE_WIDTH

    ((_, _, ratio, source),) = ratios(cheap, action(1, "rights", terms="5:21 at premium 3"))
    assert source == OPEN_OVER_PREVIOUS_CLOSE
    assert ratio == pytest.approx(8 / 9)


def test_the_theoretical_price_is_not_taken_out_twice() -> None:
    """Rights explain 0.95 of an opening at 0.8; the demerger of that day has the rest."""
    found = ratios(STEADY, action(1, "rights", amount=50.0, terms="1:9"), action(1, "demerger"))

    assert [row[2] for row in found] == [pytest.approx(0.8 / 0.95), pytest.approx(0.95)]


def test_factors_accumulate() -> None:
    """Ratios of 0.1 and 0.5 multiply later prices by 10 and then by 20; an unknown one by none."""
    found = price_ratios(
        STEADY,
        actions_frame([action(0, "split", 0.1), action(1, "split"), action(2, "bonus", 0.5)]),
        CALENDAR,
    )

    assert cumulative_factors(found).rows() == [
        ("TCS", SESSIONS[0], pytest.approx(10.0)),
        ("TCS", SESSIONS[2], pytest.approx(20.0)),
    ]


def test_a_dividend_leaves_the_rest_of_the_close() -> None:
    """5 rupees of a close of 100 leave 0.95; two payments of a session are added."""
    assert factors(STEADY, action(1, "dividend", amount=5.0)) == [(SESSIONS[1], 0.95)]
    assert factors(
        STEADY, action(1, "dividend", amount=5.0), action(1, "distribution", amount=5.0)
    ) == [(SESSIONS[1], pytest.approx(0.9))]


def test_a_dividend_of_the_first_bar_or_later_than_the_last_has_no_factor() -> None:
    """Nobody held the share before the first bar."""
    assert factors(STEADY, action(0, "dividend", amount=5.0), action(9, "dividend")) == []


def test_an_unknown_dividend_has_no_factor() -> None:
    """Beside a known one the sum is unknown too."""
    assert factors(STEADY, action(1, "dividend", amount=5.0), action(1, "distribution")) == [
        (SESSIONS[1], None)
    ]


def test_a_dividend_is_per_share_before_the_split_of_its_day() -> None:
    """Split 10:1 and 5 rupees on one day: 5 of the close of 100, not of 10."""
    split = bars((0, 100.0, 100.0), (1, 9.5, 9.5))

    assert factors(split, action(1, "split", 0.1), action(1, "dividend", amount=5.0)) == [
        (SESSIONS[1], 0.95)
    ]


def test_a_dividend_after_a_split_in_a_hole_is_per_new_share() -> None:
    """Close of 100, then in the hole a split 10:1 and half a rupee: 0.5 of 10."""
    holed = bars((0, 100.0, 100.0), (3, 9.5, 9.5))

    assert factors(holed, action(1, "split", 0.1), action(2, "dividend", amount=0.5)) == [
        (SESSIONS[3], pytest.approx(0.95))
    ]


def test_a_dividend_is_in_the_night_that_was_taken_out() -> None:
    """The open over the previous close holds the dividend of that day already."""
    assert factors(STEADY, action(1, "demerger"), action(1, "dividend", amount=5.0)) == []


@pytest.mark.parametrize("amounts", [(100.0,), (60.0, 50.0)])
def test_more_than_the_price_cannot_be_paid(amounts: tuple[float, ...]) -> None:
    """A dividend of 100 rupees on a share of 100 is a slip in the list, alone or in sum."""
    kinds = ("dividend", "distribution")
    paid = [action(1, kind, amount=each) for kind, each in zip(kinds, amounts, strict=False)]

    with pytest.raises(InvalidBarsError, match=r"more is paid out.*TCS 2024-01-02"):
        factors(STEADY, *paid)


def test_symbols_do_not_mix() -> None:
    """Each symbol has its own actions, closes and holes."""
    other = bars((0, 10.0, 10.0), (1, 10.0, 10.0), symbol="INFY")
    both = pl.concat([STEADY, other])
    listed = [
        action(1, "demerger"),
        ("INFY", SESSIONS[1], "split", 0.5, "words", "test"),
        ("INFY", SESSIONS[1], "dividend", None, "words", "test", None, 1.0),
        ("WIPRO", SESSIONS[1], "split", 0.5, "words", "test"),
    ]
    found = price_ratios(both, actions_frame(listed), CALENDAR)

    assert found.select("symbol", "price_ratio").rows() == [
        ("INFY", 0.5),
        ("TCS", pytest.approx(0.8)),
    ]
    assert cash_factors(both, actions_frame(listed), found, CALENDAR).rows() == [
        ("INFY", SESSIONS[1], 0.9)
    ]
