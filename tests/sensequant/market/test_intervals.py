"""Bars of a session: how many, and when they begin."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import ConfigError
from sensequant.market.intervals import (
    DAILY,
    INTERVALS,
    Interval,
    bar_starts,
    bars_in_range,
    grid,
    is_intraday,
    minutes_of,
    n_bars_expected,
)
from sensequant.market.sessions import nse_calendar

REGULAR = date(2024, 1, 2)
MUHURAT = date(2023, 11, 12)
DRILL = date(2024, 3, 2)
INTRADAY = [interval for interval in INTERVALS if is_intraday(interval)]


@pytest.mark.parametrize(
    ("interval", "regular", "muhurat"),
    [("1day", 1, 1), ("30minute", 13, 2), ("5minute", 75, 12), ("1minute", 375, 60)],
)
def test_sessions_hold_the_known_numbers_of_bars(
    interval: Interval, regular: int, muhurat: int
) -> None:
    """09:15 to 15:30 are 375 minutes; the evening of Diwali 2023 traded from 18:15 to 19:15."""
    calendar = nse_calendar()
    assert n_bars_expected(calendar, REGULAR, interval) == regular
    assert n_bars_expected(calendar, MUHURAT, interval) == muhurat


@pytest.mark.parametrize("interval", INTRADAY)
def test_a_drill_in_two_parts_has_no_grid(interval: Interval) -> None:
    """On 2024-03-02 two sessions were held with a break: what they should hold is not known."""
    assert n_bars_expected(nse_calendar(), DRILL, interval) is None
    assert bar_starts(nse_calendar(), DRILL, interval) is None
    assert n_bars_expected(nse_calendar(), DRILL, DAILY) == 1


def test_bars_begin_at_a_quarter_past_nine_in_india() -> None:
    """09:15 IST is 03:45 UTC, and the last half hour begins at 15:15 IST."""
    starts = bar_starts(nse_calendar(), REGULAR, "30minute")
    assert starts is not None
    assert starts[0] == datetime(2024, 1, 2, 3, 45, tzinfo=UTC)
    assert starts[-1] == datetime(2024, 1, 2, 9, 45, tzinfo=UTC)


@given(
    position=st.integers(0, len(nse_calendar().table) - 1),
    interval=st.sampled_from(INTRADAY),
)
def test_the_grid_is_the_loop_over_minutes(position: int, interval: Interval) -> None:
    """Brute force: from the opening on, step by step, as long as the session is open."""
    calendar = nse_calendar()
    session = calendar.session_at(position)
    starts = bar_starts(calendar, session, interval)
    opened, closed = calendar.opens(session), calendar.closes(session)
    if starts is None:
        assert opened is None or calendar.table["kind"][position] == "drill"
        return
    assert opened is not None
    assert closed is not None
    expected: list[datetime] = []
    while opened < closed:
        expected.append(opened)
        opened += timedelta(minutes=minutes_of(interval))
    assert starts == expected
    assert n_bars_expected(calendar, session, interval) == len(expected)


def test_a_range_counts_each_session() -> None:
    """The week of the drill: five regular sessions, none on Friday's eve, and the Saturday."""
    counts = bars_in_range(nse_calendar(), date(2024, 2, 29), date(2024, 3, 4), "5minute")
    assert counts.rows() == [
        (date(2024, 2, 29), 75),
        (date(2024, 3, 1), 75),
        (DRILL, None),
        (date(2024, 3, 4), 75),
    ]
    assert counts.schema == {"session": pl.Date, "n_expected": pl.Int32}


@pytest.mark.parametrize("interval", INTERVALS)
def test_a_holiday_is_refused(interval: Interval) -> None:
    """Republic Day 2024 is no session, so the question has no answer."""
    with pytest.raises(ConfigError, match="date is no session"):
        n_bars_expected(nse_calendar(), date(2024, 1, 26), interval)
    if is_intraday(interval):
        with pytest.raises(ConfigError, match="date is no session"):
            bar_starts(nse_calendar(), date(2024, 1, 26), interval)


def test_a_session_has_no_fixed_minutes() -> None:
    """A day's bar has no length in minutes, so a grid of days is refused."""
    with pytest.raises(ConfigError, match="no fixed number of minutes"):
        minutes_of(DAILY)
    with pytest.raises(ConfigError, match="no fixed number of minutes"):
        grid(nse_calendar(), DAILY)
