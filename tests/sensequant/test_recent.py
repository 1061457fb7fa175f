"""Facts about what schedules ask: ranges that end at the scheduled time, on days in India."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.errors import ConfigError
from sensequant.market.sessions import IST, nse_calendar
from sensequant.recent import DailyIngestion, RecentRange, due_after, why_not_today
from sensequant.windows import WindowConfig, pooled_windows

CALENDAR = nse_calendar()
# Friday; Monday is Republic Day.
FRIDAY = date(2026, 1, 23)


def india(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=IST)


@pytest.mark.parametrize(
    ("scheduled", "end"),
    [
        (india(FRIDAY, 20), FRIDAY),
        (india(FRIDAY, 15), date(2026, 1, 22)),
        (india(date(2026, 1, 24), 6), FRIDAY),
        # Half past midnight in India is still the day before in Greenwich.
        (india(date(2026, 1, 24), 0, 30), FRIDAY),
        (india(FRIDAY, 0, 30), date(2026, 1, 22)),
        # Holiday on a Monday: the range ends with Friday.
        (india(date(2026, 1, 26), 20), FRIDAY),
    ],
)
def test_range_ends_with_the_last_closed_session(scheduled: datetime, end: date) -> None:
    """The clock of India decides, whatever the zone in which the instant is written."""
    asked = RecentRange(universe="pilot", last_days=90)

    for written in (scheduled, scheduled.astimezone(UTC)):
        request = asked.request_at(written, CALENDAR, window_days=45)
        assert request.end == end


def test_range_begins_with_the_window_that_holds_its_first_day() -> None:
    """Ninety days to 2026-01-23, both included, begin on 2025-10-26; that window on 2025-10-06.

    In Python's count of days 2025-10-06 is number 739530, which is 16434 windows of 45 days.
    """
    request = RecentRange(last_days=90).request_at(india(FRIDAY, 20), CALENDAR, window_days=45)

    assert date(2025, 10, 6).toordinal() == 739_530 == 16_434 * 45
    assert (request.start, request.end) == (date(2025, 10, 6), FRIDAY)


@given(
    minutes=st.integers(0, 3 * 365 * 24 * 60),
    last_days=st.integers(60, 1095),
    window_days=st.integers(30, 365),
)
def test_range_holds_the_days_that_were_asked_for(
    minutes: int, last_days: int, window_days: int
) -> None:
    """It ends with a session that has closed, and begins less than a window too early."""
    scheduled = datetime(2023, 1, 3, tzinfo=UTC) + timedelta(minutes=minutes)

    request = RecentRange(last_days=last_days).request_at(
        scheduled, CALENDAR, window_days=window_days
    )

    assert CALENDAR.is_session(request.end)
    closes = CALENDAR.closes(request.end)
    assert closes is None or closes <= scheduled
    n_days = (request.end - request.start).days + 1
    assert last_days <= n_days < last_days + window_days


@given(
    minutes=st.integers(0, 2 * 365 * 24 * 60),
    later_days=st.integers(0, 365),
    last_days=st.integers(60, 1095),
    window_days=st.integers(30, 365),
)
def test_runs_share_every_whole_window_that_lies_in_both_ranges(
    minutes: int, later_days: int, last_days: int, window_days: int
) -> None:
    """Only a window that its range cuts off at the end is another one in a later run."""
    first = datetime(2023, 1, 3, tzinfo=UTC) + timedelta(minutes=minutes)
    asked, config = RecentRange(last_days=last_days), WindowConfig(window_days=window_days)

    earlier, later = (
        asked.request_at(at, CALENDAR, window_days=window_days)
        for at in (first, first + timedelta(days=later_days))
    )

    spans = [
        {(each.start, each.end) for each in pooled_windows(request.start, request.end, config)}
        for request in (earlier, later)
    ]
    length = timedelta(days=window_days - 1)
    whole = {(start, end) for start, end in spans[0] if end - start == length}
    assert {span for span in whole if span[0] >= later.start} <= spans[1]


def test_symbols_and_source_are_handed_on() -> None:
    """Whichever way they are named."""
    asked = RecentRange.model_validate({"symbols": ["TCS"], "source": {"kind": "breeze"}})

    request = asked.request_at(india(FRIDAY, 20), CALENDAR, window_days=180)

    assert (request.symbols, request.universe, request.source.kind) == (("TCS",), None, "breeze")
    with pytest.raises(ValidationError, match="more than one way"):
        RecentRange.model_validate({"symbols": ["TCS"], "universe": "pilot"})


@pytest.mark.parametrize(
    ("scheduled", "reason"),
    [
        (india(FRIDAY, 20), None),
        (india(FRIDAY, 15), "the session of 2026-01-23 had not closed yet"),
        (india(date(2026, 1, 24), 20), "Saturday 2026-01-24 is no session of NSE"),
        (india(date(2026, 1, 26), 20), "Monday 2026-01-26 is no session of NSE"),
        # Saturday sessions: budget of 2025, and the disaster-recovery drill of March 2024.
        (india(date(2025, 2, 1), 20), None),
        (india(date(2024, 3, 2), 20), None),
        # Muhurat trading in the evening, after the usual close.
        (india(date(2024, 11, 1), 18, 30), "the session of 2024-11-01 had not closed yet"),
        (india(date(2024, 11, 1), 20), None),
    ],
)
def test_only_a_closed_session_has_new_bars(scheduled: datetime, reason: str | None) -> None:
    """Weekends, holidays and an open market have none; special sessions do."""
    assert why_not_today(scheduled, CALENDAR) == reason


def test_daily_ingestion_goes_on_where_bars_end() -> None:
    """It asks up to the scheduled session, even after midnight, and never for all again."""
    asked = DailyIngestion(universe="nifty100", intervals=("1day", "5minute"), workers=2)

    request = asked.request_at(india(FRIDAY, 20).astimezone(UTC))

    assert (request.start, request.end) == (date(2022, 1, 1), FRIDAY)
    assert (request.universe, request.intervals) == ("nifty100", ("1day", "5minute"))
    assert (asked.options.incremental, asked.options.force, asked.options.workers) == (
        True,
        False,
        2,
    )


def test_year_that_the_calendar_does_not_know_is_an_error() -> None:
    """A guess would ask for the wrong sessions."""
    with pytest.raises(ConfigError, match="year is not in the calendar"):
        RecentRange().request_at(datetime(2031, 1, 1, tzinfo=UTC), CALENDAR, window_days=180)


@pytest.mark.parametrize(
    ("session", "due"),
    [
        # Friday, then Monday.
        (date(2024, 5, 10), "weekly"),
        (date(2024, 5, 9), None),
        # A session on Saturday is the last one of its week, so Friday is not.
        (date(2024, 5, 17), None),
        (date(2024, 5, 18), "weekly"),
        # Thursday before Good Friday; the next session is on the 1st of April.
        (date(2024, 3, 28), "quarterly"),
        # Friday, the last session of May; the 31st of December ends a quarter amid its week.
        (date(2024, 5, 31), "monthly"),
        (date(2024, 12, 31), "quarterly"),
    ],
)
def test_rarest_training_that_is_due_after_a_session(session: date, due: str | None) -> None:
    """By the sessions of the exchange, not by days of the week."""
    assert due_after(session, CALENDAR) == due
