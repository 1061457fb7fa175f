"""Facts about the settle rule: never too early, never taken back."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.errors import ConfigError
from sensequant.market.finality import FinalityConfig, finality_at
from sensequant.market.sessions import IST, SessionCalendar, calendar_table, nse_calendar

CALENDAR = nse_calendar()
RULE = FinalityConfig()


def ist(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=IST)


@pytest.mark.parametrize(
    ("now", "settled", "confirmable"),
    [
        # Sessions: Fri 5, Mon 8, Tue 9, Wed 10, Thu 11, Fri 12, Mon 15 January 2024.
        ("2024-01-15 15:29", date(2024, 1, 5), date(2024, 1, 12)),
        ("2024-01-15 15:30", date(2024, 1, 8), date(2024, 1, 12)),
        ("2024-01-16 09:29", date(2024, 1, 8), date(2024, 1, 12)),
        ("2024-01-16 09:30", date(2024, 1, 8), date(2024, 1, 15)),
        ("2024-01-13 09:30", date(2024, 1, 5), date(2024, 1, 12)),
        ("2024-01-14 23:59", date(2024, 1, 5), date(2024, 1, 12)),
    ],
)
def test_a_week_by_hand(now: str, settled: date, confirmable: date) -> None:
    """Five closed sessions are looked at again; eighteen hours after the close one may settle."""
    found = finality_at(ist(now), CALENDAR, RULE)

    assert (found.settled_through, found.confirmable_through) == (settled, confirmable)
    assert found.confirm_after == timedelta(hours=6)


def test_the_evening_of_diwali_closes_late() -> None:
    """The session of Sunday 2023-11-12 closed at 19:15, so it settles at 13:15 of the Monday."""
    before = finality_at(ist("2023-11-13 13:14"), CALENDAR, RULE)
    after = finality_at(ist("2023-11-13 13:15"), CALENDAR, RULE)

    assert before.confirmable_through == date(2023, 11, 10)
    assert after.confirmable_through == date(2023, 11, 12)


def test_unknown_hours_count_to_the_end_of_the_day() -> None:
    """The Saturday 2003-11-15 has no known hours: it is closed when the day in India is over."""
    rule = FinalityConfig(settle_hours_after_close=0)

    before = finality_at(ist("2003-11-15 23:59"), CALENDAR, rule)
    after = finality_at(ist("2003-11-16 00:00"), CALENDAR, rule)

    assert before.confirmable_through == date(2003, 11, 14)
    assert after.confirmable_through == date(2003, 11, 15)


def test_every_setting_moves_the_rule() -> None:
    """Fewer rechecks settle later sessions; longer waits settle earlier ones."""
    now = ist("2024-01-16 09:30")

    one = finality_at(now, CALENDAR, FinalityConfig(recheck_sessions=1))
    slow = finality_at(now, CALENDAR, FinalityConfig(settle_hours_after_close=240))
    long = finality_at(now, CALENDAR, FinalityConfig(confirm_after_hours=48))

    assert one.settled_through == date(2024, 1, 12)
    # Ten days before is Saturday 6 January, 09:30: what cannot be confirmed is not settled either.
    assert slow.confirmable_through == slow.settled_through == date(2024, 1, 5)
    assert long.confirm_after == timedelta(hours=48)


def test_the_ends_of_the_calendar() -> None:
    """Before the first session nothing is final; after the last one its neighbours stay open."""
    early = finality_at(ist("2000-01-03 12:00"), CALENDAR, RULE)
    late = finality_at(ist("2040-01-01 12:00"), CALENDAR, RULE)

    assert (early.settled_through, early.confirmable_through) == (None, None)
    assert late.confirmable_through == CALENDAR.last
    assert late.settled_through == CALENDAR.offset(CALENDAR.last, -5)


def test_a_naive_time_is_refused() -> None:
    """Without a zone nobody knows whether the session has closed."""
    with pytest.raises(ConfigError, match="time zone"):
        finality_at(datetime(2024, 1, 1), CALENDAR, RULE)  # noqa: DTZ001


def test_the_rule_is_bounded() -> None:
    """No rule lets the bars of the running session be final."""
    with pytest.raises(ValidationError):
        FinalityConfig(recheck_sessions=0)
    with pytest.raises(ValidationError):
        FinalityConfig(settle_hours_after_close=-1)


@pytest.fixture(scope="module")
def gaps() -> SessionCalendar:
    """Return the calendar without any hours."""
    none = pl.lit(None, dtype=pl.Time)
    return SessionCalendar(calendar_table().with_columns(opens_at=none, closes_at=none))


FIRST = datetime(1999, 12, 1, tzinfo=UTC)
MINUTES = int((datetime(2027, 3, 1, tzinfo=UTC) - FIRST) / timedelta(minutes=1))
instants = st.integers(0, MINUTES).map(lambda n: FIRST + timedelta(minutes=n))
rules = st.builds(
    FinalityConfig,
    recheck_sessions=st.integers(1, 10),
    settle_hours_after_close=st.integers(0, 240),
    confirm_after_hours=st.integers(1, 240),
)


@given(now=instants, rule=rules, hours=st.floats(0, 400))
def test_time_only_adds_final_sessions(now: datetime, rule: FinalityConfig, hours: float) -> None:
    """What is final or confirmable stays so as time goes on."""
    first = finality_at(now, CALENDAR, rule)
    then = finality_at(now + timedelta(hours=hours), CALENDAR, rule)

    for name in ("settled_through", "confirmable_through"):
        assert (getattr(first, name) or date.min) <= (getattr(then, name) or date.min)


@given(now=instants, rule=rules, has_hours=st.booleans())
def test_no_session_is_final_before_it_has_closed(
    gaps: SessionCalendar, now: datetime, rule: FinalityConfig, *, has_hours: bool
) -> None:
    """Whatever the rule; and settled sessions could be confirmed, had they been seen twice."""
    calendar = CALENDAR if has_hours else gaps
    found = finality_at(now, calendar, rule)
    settled = found.settled_through or date.min
    last = found.confirmable_through

    assert settled <= (last or date.min)
    if last is not None:
        end_of_day = datetime.combine(last + timedelta(days=1), datetime.min.time(), IST)
        assert (calendar.closes(last) or end_of_day) <= now
    if found.settled_through is not None:
        assert len(calendar.sessions(settled, min(now.date(), calendar.last))) > (
            rule.recheck_sessions
        )
