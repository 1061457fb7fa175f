"""Facts about ranges of sessions: what is over, what an answer covers, what is left."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import ConfigError
from sensequant.ingestion.ranges import (
    Answer,
    covered_ranges,
    is_within,
    last_closed_session,
    last_opened_session,
    merge,
)
from sensequant.market.sessions import nse_calendar

SIX_HOURS = timedelta(hours=6)
MONDAY, TUESDAY, WEDNESDAY = date(2024, 6, 10), date(2024, 6, 11), date(2024, 6, 12)
CLOSE = timedelta(hours=10)
"""15:30 in India, as time of the day in UTC."""


def at(day: date, time_of_day: timedelta = CLOSE) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + time_of_day


@pytest.mark.parametrize(
    ("now", "closed", "opened"),
    [
        (at(TUESDAY), TUESDAY, TUESDAY),
        (at(TUESDAY) - timedelta(seconds=1), MONDAY, TUESDAY),
        (datetime(2024, 6, 11, 3, 45, tzinfo=UTC), MONDAY, TUESDAY),
        (datetime(2024, 6, 11, 3, 44, 59, tzinfo=UTC), MONDAY, MONDAY),
        (datetime(2024, 6, 10, 18, 30, tzinfo=UTC), MONDAY, MONDAY),
        (at(date(2024, 6, 9)), date(2024, 6, 7), date(2024, 6, 7)),
        # Muhurat of 2024-11-01 traded from 18:00 to 19:00.
        (datetime(2024, 11, 1, 12, 29, tzinfo=UTC), date(2024, 10, 31), date(2024, 10, 31)),
        (datetime(2024, 11, 1, 12, 30, tzinfo=UTC), date(2024, 10, 31), date(2024, 11, 1)),
        (datetime(2024, 11, 1, 13, 30, tzinfo=UTC), date(2024, 11, 1), date(2024, 11, 1)),
        # The hours of 2012-03-03 are not known, so the day must be over.
        (datetime(2012, 3, 3, 18, 29, tzinfo=UTC), date(2012, 3, 2), date(2012, 3, 2)),
        (datetime(2012, 3, 3, 18, 30, tzinfo=UTC), date(2012, 3, 3), date(2012, 3, 3)),
    ],
)
def test_sessions_open_and_close_at_their_hours(now: datetime, closed: date, opened: date) -> None:
    """A session is over from the second of its close on, and under way from that of its opening."""
    assert last_closed_session(nse_calendar(), now) == closed
    assert last_opened_session(nse_calendar(), now) == opened


def test_before_the_first_session_nothing_has_closed() -> None:
    """The calendar begins on 2000-01-03; before its close there is no answer."""
    with pytest.raises(ConfigError, match="no session had closed"):
        last_closed_session(nse_calendar(), datetime(2000, 1, 3, 9, 59, tzinfo=UTC))
    assert last_closed_session(nse_calendar(), at(date(2000, 1, 3))) == date(2000, 1, 3)


def test_a_year_that_the_calendar_does_not_know_is_refused() -> None:
    """Nobody knows its holidays."""
    with pytest.raises(ConfigError, match="not in the calendar"):
        last_closed_session(nse_calendar(), datetime(2031, 1, 3, tzinfo=UTC))


def covered(*answers: Answer, now: datetime) -> list[tuple[date, date]]:
    return covered_ranges(answers, calendar=nse_calendar(), now=now, confirm_after=SIX_HOURS)


def test_settled_sessions_stay_covered_for_ever() -> None:
    """What will not change needs no second look, years later either."""
    answer = Answer(MONDAY, WEDNESDAY, WEDNESDAY, at(date(2024, 6, 28)))

    assert covered(answer, now=at(date(2026, 6, 10))) == [(MONDAY, WEDNESDAY)]


def test_a_session_that_was_open_is_not_covered() -> None:
    """Its bar was still growing."""
    during = datetime(2024, 6, 12, 6, 0, tzinfo=UTC)
    answer = Answer(MONDAY, WEDNESDAY, None, during)

    assert covered(answer, now=during) == [(MONDAY, TUESDAY)]


def test_another_close_calls_for_another_look() -> None:
    """From the close of Wednesday on, Monday and Tuesday are asked for with it."""
    fetched = at(WEDNESDAY) - timedelta(hours=1)
    answer = Answer(MONDAY, TUESDAY, MONDAY, fetched)

    assert covered(answer, now=at(WEDNESDAY, CLOSE - timedelta(seconds=1))) == [(MONDAY, TUESDAY)]
    assert covered(answer, now=at(WEDNESDAY)) == [(MONDAY, MONDAY)]


def test_a_weekend_does_not_end_the_cover_but_time_does() -> None:
    """No session closes on it, yet after six hours the values wait to be confirmed."""
    friday = date(2024, 6, 7)
    answer = Answer(friday, friday, None, at(friday))

    assert covered(answer, now=at(friday) + SIX_HOURS - timedelta(seconds=1)) == [(friday, friday)]
    assert covered(answer, now=at(friday) + SIX_HOURS) == []


def test_an_answer_without_bounds_covers_all_that_was_settled() -> None:
    """It was asked for everything there is."""
    answer = Answer(None, None, TUESDAY, at(date(2024, 6, 28)))

    assert covered(answer, now=at(date(2024, 6, 28)) + SIX_HOURS) == [(date.min, TUESDAY)]


def test_merging_joins_what_touches() -> None:
    """Neighbouring dates are one range; upside down ones are none; the last date has no next."""
    days = [MONDAY + timedelta(days=number) for number in range(6)]

    assert merge([(days[4], days[4]), (days[0], days[1]), (days[2], days[2])]) == [
        (days[0], days[2]),
        (days[4], days[4]),
    ]
    assert merge([(days[1], days[0])]) == []
    assert merge([(date.min, date.max), (days[0], days[1])]) == [(date.min, date.max)]


A_DAY = st.dates(date(2024, 1, 1), date(2024, 3, 1))
A_RANGE = st.tuples(A_DAY, A_DAY)


@given(st.lists(A_RANGE, max_size=8), st.randoms())
def test_merged_ranges_hold_the_same_dates(ranges: list[tuple[date, date]], random: Random) -> None:
    """Every date is in them if and only if it was in one of the ranges; gaps are real."""
    merged = merge(ranges)
    every = [date(2024, 1, 1) + timedelta(days=number) for number in range(61)]

    assert [is_within(day, merged) for day in every] == [is_within(day, ranges) for day in every]
    assert all(later[0] - earlier[1] > timedelta(days=1) for earlier, later in pairwise(merged))
    random.shuffle(ranges)
    assert merge(ranges) == merged
