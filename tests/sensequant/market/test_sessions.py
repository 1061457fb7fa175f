"""Facts about counting along the sessions of NSE and about their hours."""

import copy
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import ConfigError
from sensequant.market.sessions import (
    IST,
    CalendarCheck,
    nse_calendar,
    session_date_of,
)

ONE_DAY = timedelta(days=1)
known_days = st.dates(min_value=date(2000, 1, 10), max_value=date(2026, 12, 25))


def brute_next(day: date, step: timedelta) -> date:
    days = set(nse_calendar().table["session"].to_list())
    while day not in days:
        day += step
    return day


def test_ends_of_the_calendar() -> None:
    """It runs from 2000-01-03 to 2026-12-31 and is built once."""
    assert nse_calendar().first == date(2000, 1, 3)
    assert nse_calendar().last == date(2026, 12, 31)
    assert nse_calendar() is nse_calendar()


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2024, 1, 20), True),
        (date(2024, 1, 21), False),
        (date(2024, 1, 22), False),
        (date(2000, 1, 1), False),
        (date(2024, 11, 1), True),
        (date(2013, 11, 15), False),
    ],
)
def test_is_session(day: date, expected: bool) -> None:
    """Special Saturdays and Muhurat days are sessions; holidays are not."""
    assert nse_calendar().is_session(day) is expected


def test_sessions_of_one_week() -> None:
    """The week of the Ram temple had a Saturday session, and its Monday none."""
    found = nse_calendar().sessions(date(2024, 1, 19), date(2024, 1, 24))

    assert found == [date(2024, 1, n) for n in (19, 20, 23, 24)]
    assert nse_calendar().sessions(date(2024, 1, 21), date(2024, 1, 22)) == []
    assert nse_calendar().sessions(date(2024, 1, 19), date(2024, 1, 19)) == [date(2024, 1, 19)]


def test_offset_counts_sessions() -> None:
    """Two sessions after Friday 2024-01-19 is Tuesday: Saturday traded and Monday did not."""
    calendar = nse_calendar()

    assert calendar.offset(date(2024, 1, 19), 2) == date(2024, 1, 23)
    assert calendar.offset(date(2024, 1, 23), -2) == date(2024, 1, 19)
    assert calendar.offset(date(2024, 1, 23), 0) == date(2024, 1, 23)
    assert calendar.number_of(date(2000, 1, 3)) == 0
    assert calendar.session_at(1) == date(2000, 1, 4)


@given(known_days, st.integers(min_value=-5, max_value=5))
def test_neighbours_agree_with_brute_force(day: date, n: int) -> None:
    """Walking day by day finds the same neighbours, and an offset is undone by its opposite."""
    calendar = nse_calendar()
    after = calendar.next_on_or_after(day)

    assert after == brute_next(day, ONE_DAY)
    assert calendar.previous_on_or_before(day) == brute_next(day, -ONE_DAY)
    assert calendar.is_session(day) == (after == day)
    number = calendar.number_of(after)
    assert calendar.session_at(number) == after
    if 0 <= number + n < calendar.table.height:
        assert calendar.offset(calendar.offset(after, n), -n) == after


@given(known_days, known_days)
def test_a_range_is_what_lies_between(one: date, other: date) -> None:
    """A range holds exactly the sessions from its first to its last day."""
    start, end = sorted((one, other))
    expected = nse_calendar().table.filter(pl.col("session").is_between(start, end))["session"]

    assert nse_calendar().sessions(start, end) == expected.to_list()


def test_numbers_flags_short_sessions() -> None:
    """Muhurat sessions and drills are short, budget days and the outage of 2021 are not."""
    numbers = nse_calendar().numbers()
    short = numbers.filter("is_short")["session"].to_list()

    assert numbers.schema == {
        "session": pl.Date,
        "session_number": pl.Int32,
        "is_short": pl.Boolean,
    }
    assert len(short) == 27 + 17
    assert {date(2025, 10, 21), date(2024, 3, 2), date(2009, 10, 17)} <= set(short)
    assert not {date(2024, 1, 20), date(2026, 2, 1), date(2021, 2, 24)} & set(short)


def test_hours_are_instants_in_utc() -> None:
    """09:15 and 15:30 in India are 03:45 and 10:00 in UTC; an unknown hour is None."""
    calendar = nse_calendar()
    session = date(2024, 1, 19)

    assert calendar.opens(session) == datetime(2024, 1, 19, 3, 45, tzinfo=UTC)
    assert calendar.closes(session) == datetime(2024, 1, 19, 10, 0, tzinfo=UTC)
    assert calendar.opens(date(2006, 10, 21)) is None
    assert calendar.closes(date(2006, 10, 21)) is None


def test_session_date_of_an_instant() -> None:
    """At 18:30 UTC the next day begins in India; a naive datetime is refused."""
    assert session_date_of(datetime(2024, 1, 18, 18, 29, tzinfo=UTC)) == date(2024, 1, 18)
    assert session_date_of(datetime(2024, 1, 18, 18, 30, tzinfo=UTC)) == date(2024, 1, 19)
    assert session_date_of(datetime(2024, 1, 19, 0, 0, tzinfo=IST)) == date(2024, 1, 19)
    far_west = timezone(timedelta(hours=-12))
    assert session_date_of(datetime(2024, 1, 18, 7, 0, tzinfo=far_west)) == date(2024, 1, 19)
    with pytest.raises(ConfigError, match="no time zone"):
        session_date_of(datetime(2024, 1, 19, 9, 15))  # noqa: DTZ001 - what is refused


@pytest.mark.parametrize("day", [date(1999, 12, 31), date(2027, 1, 1)])
def test_unknown_years_are_loud(day: date) -> None:
    """A year that the table does not know is refused, naming the last one and how to add more."""
    calendar = nse_calendar()
    with pytest.raises(ConfigError, match=r"last known year 2026.*to add a year: .*closures"):
        calendar.is_session(day)
    for ask in (calendar.next_on_or_after, calendar.previous_on_or_before, calendar.number_of):
        with pytest.raises(ConfigError, match="year is not in the calendar"):
            ask(day)
    start, end = sorted((day, date(2010, 1, 4)))
    with pytest.raises(ConfigError, match="year is not in the calendar"):
        calendar.sessions(start, end)


def test_counting_past_an_end_is_loud() -> None:
    """Neither end wraps round: position -1 is not the last session."""
    calendar = nse_calendar()
    with pytest.raises(ConfigError, match="outside the calendar"):
        calendar.offset(calendar.last, 1)
    with pytest.raises(ConfigError, match="outside the calendar"):
        calendar.offset(calendar.first, -1)
    with pytest.raises(ConfigError, match="outside the calendar"):
        calendar.session_at(-1)
    with pytest.raises(ConfigError, match="outside the calendar"):
        calendar.previous_on_or_before(date(2000, 1, 2))


def test_wrong_questions_are_refused() -> None:
    """A holiday has no number, a range does not run backwards, an instant is no session."""
    calendar = nse_calendar()
    with pytest.raises(ConfigError, match=r"no session.*2024-01-22 \(Monday\)"):
        calendar.number_of(date(2024, 1, 22))
    with pytest.raises(ConfigError, match="upside down"):
        calendar.sessions(date(2024, 1, 22), date(2024, 1, 19))
    with pytest.raises(ConfigError, match="not an instant"):
        calendar.is_session(datetime(2024, 1, 19, tzinfo=UTC))


def test_check_names_each_difference() -> None:
    """Friday and Sunday observed, Saturday not: Saturday is extra and Sunday is missing."""
    observed = [date(2024, 1, 21), date(2024, 1, 19), date(2024, 1, 19)]

    check = nse_calendar().check_against(observed)

    assert check == CalendarCheck(
        first=date(2024, 1, 19),
        last=date(2024, 1, 21),
        n_compared=2,
        missing=(date(2024, 1, 21),),
        extra=(date(2024, 1, 20),),
    )
    assert not check.is_agreed
    assert CalendarCheck.model_validate_json(check.model_dump_json()) == check
    with pytest.raises(ConfigError, match="no observed sessions"):
        nse_calendar().check_against([])


@pytest.mark.real_data
def test_check_agrees_with_observed_sessions(real_data: Path) -> None:
    """The calendar misses none of the observed sessions and has none too many."""
    path = real_data / "index" / "nse_sessions_observed_2000_2026.csv"
    observed = pl.read_csv(path, try_parse_dates=True)["date"].to_list()

    check = nse_calendar().check_against(observed)

    assert check.is_agreed
    assert check.n_compared == 6624


def test_the_calendar_cannot_be_changed_and_can_be_copied() -> None:
    """It is frozen, and a deep copy, as made on the way to another process, answers alike."""
    calendar = nse_calendar()
    copied = copy.deepcopy(calendar)

    assert copied is not calendar
    assert copied.offset(copied.first, 100) == calendar.offset(calendar.first, 100)
    with pytest.raises(AttributeError):
        calendar.table = calendar.table.head(1)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ((2023, 7, 3, 3, 45), (2023, 7, 3, 10, 0), 6.25),
        ((2023, 7, 3, 0, 0), (2023, 7, 3, 4, 0), 0.25),
        ((2023, 7, 3, 9, 0), (2023, 7, 4, 4, 0), 1.25),
        ((2023, 6, 30, 10, 0), (2023, 7, 3, 3, 45), 0.0),
        ((2023, 6, 28, 3, 45), (2023, 6, 30, 10, 0), 12.5),
        ((2023, 7, 3, 10, 0), (2023, 7, 3, 3, 45), 0.0),
        ((2023, 11, 12, 12, 0), (2023, 11, 12, 14, 0), 1.0),
    ],
    ids=["session", "its beginning", "over night", "weekend", "holiday", "backwards", "Muhurat"],
)
def test_session_hours_are_those_in_which_it_was_open(
    start: tuple[int, ...], end: tuple[int, ...], hours: float
) -> None:
    """09:15 to 15:30 in India; the evening of Diwali 2023 was open from 18:15 to 19:15."""
    asked = (datetime(*instant, tzinfo=UTC) for instant in (start, end))  # pyright: ignore[reportArgumentType]

    assert nse_calendar().hours_between(*asked) == hours


@given(
    start=st.datetimes(datetime(2020, 1, 1), datetime(2024, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    parts=st.tuples(*[st.timedeltas(timedelta(0), timedelta(days=20))] * 2),
)
def test_session_hours_add_up(start: datetime, parts: tuple[timedelta, timedelta]) -> None:
    """Over two spans that touch, as over one."""
    middle, end = start + parts[0], start + parts[0] + parts[1]
    hours = nse_calendar().hours_between

    assert hours(start, middle) + hours(middle, end) == pytest.approx(hours(start, end))
