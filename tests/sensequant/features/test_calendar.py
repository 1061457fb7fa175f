"""What the date of a session says, by hand, and that it says nothing of later dates."""

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.features.build import build_features
from sensequant.features.calendar import _columns_of
from sensequant.features.registry import FeatureConfig
from sensequant.market.sessions import nse_calendar

NUMBERS = nse_calendar().numbers()
CONFIG = FeatureConfig(calendar=True)


def on(session: date) -> dict[str, Any]:
    """Return the features of a bar on a session."""
    bar = {"symbol": "AAA", "session": session, "volume": 1.0, "is_unexplained_gap": False}
    prices = dict.fromkeys(("open", "high", "low", "close"), 10.0)
    return build_features(pl.DataFrame(bar | prices), CONFIG).to_dicts()[0]


def test_a_monday_is_the_top_of_the_week() -> None:
    """Weekdays lie on a circle of seven: Monday at (0, 1), the sum of squares is 1."""
    monday, thursday = on(date(2024, 6, 3)), on(date(2024, 6, 6))

    assert (monday["weekday_sin"], monday["weekday_cos"]) == (0, 1)
    assert thursday["weekday_sin"] == pytest.approx(0.43388373911755823)
    assert thursday["weekday_cos"] == pytest.approx(-0.9009688679024191)


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        (date(2024, 2, 28), 0),
        (date(2024, 2, 29), 1),
        (date(2024, 3, 4), 1),
        (date(2024, 3, 5), 0),
        # Friday the 29th was Good Friday: a moving holiday is no rule, so the 28th is not the last.
        (date(2024, 3, 28), 0),
        (date(2024, 5, 31), 1),
    ],
)
def test_the_turn_of_the_month(session: date, expected: int) -> None:
    """The first three sessions count (1, 2 and 4 March 2024; the 2nd was a Saturday's drill)."""
    assert on(session)["is_month_turn"] == expected


def test_closures_of_the_past_are_counted_from() -> None:
    """Saturday 2024-01-20 traded, Monday the 22nd was closed at short notice."""
    saturday, tuesday, thursday = (on(date(2024, 1, day)) for day in (20, 23, 25))

    assert saturday["days_since_previous_session"] == 1
    assert saturday["sessions_since_closure"] == 19
    assert tuesday["days_since_previous_session"] == 3
    assert tuesday["sessions_since_closure"] == 0
    assert thursday["sessions_since_closure"] == 2


def test_only_fixed_holidays_are_looked_ahead_to() -> None:
    """From 2024-01-24 it is one weekday to Republic Day; Good Friday is nothing to wait for."""
    assert on(date(2024, 1, 24))["weekdays_to_fixed_holiday"] == 1
    assert on(date(2024, 1, 25))["weekdays_to_fixed_holiday"] == 0
    # 14 April 2024 is a Sunday, so the next one is Wednesday 1 May.
    assert on(date(2024, 3, 28))["weekdays_to_fixed_holiday"] == 23
    assert on(date(2024, 4, 29))["weekdays_to_fixed_holiday"] == 1


def test_no_fixed_holiday_was_ever_a_session() -> None:
    """The rule that looks ahead has held on every weekday that the calendar knows."""
    fixed = {(1, 26), (4, 14), (5, 1), (8, 15), (10, 2), (12, 25)}
    broken = [day for day in NUMBERS["session"] if (day.month, day.day) in fixed]

    assert broken == []


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        (date(2024, 1, 19), 0),
        (date(2024, 1, 23), 1),
        (date(2024, 1, 29), 0),
        (date(2025, 8, 25), 1),
        (date(2025, 8, 29), 1),
        (date(2025, 9, 1), 0),
        (date(2025, 9, 25), 0),
        (date(2025, 9, 29), 1),
        (date(2025, 10, 1), 1),
    ],
)
def test_the_week_of_the_monthly_expiry(session: date, expected: int) -> None:
    """Last Thursday until August 2025, last Tuesday from September 2025 on."""
    assert on(session)["is_expiry_week"] == expected


def test_every_month_has_one_week_of_expiry() -> None:
    """Over all weeks of the calendar, as many are flagged as there are months."""
    weeks = (
        _columns_of(NUMBERS)
        .filter(pl.col("is_expiry_week") == 1)
        .select(pl.col("session").dt.truncate("1w"))
        .unique()
    )

    assert weeks.height == NUMBERS["session"].dt.truncate("1mo").n_unique()


def test_a_muhurat_session_is_short() -> None:
    """The evening of 2024-11-01 is flagged, the session before is not."""
    assert on(date(2024, 11, 1))["is_short_session"] == 1
    assert on(date(2024, 10, 31))["is_short_session"] == 0


@given(st.integers(1, NUMBERS.height))
def test_later_sessions_and_closures_change_nothing(n_known: int) -> None:
    """A calendar that ends at t gives t and all before it the same features."""
    assert _columns_of(NUMBERS[:n_known]).equals(_columns_of(NUMBERS)[:n_known])


def test_a_date_off_the_calendar_has_no_features() -> None:
    """What is no session is null, not guessed."""
    sunday = on(date(2024, 6, 3) - timedelta(days=1))

    assert sunday["weekday_sin"] is None
    assert sunday["is_expiry_week"] is None
