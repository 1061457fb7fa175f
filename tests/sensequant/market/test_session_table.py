"""Facts about the table of NSE sessions, and the ways in which its exceptions can be wrong."""

import csv
from datetime import date, time
from pathlib import Path
from typing import Any, cast

import exchange_calendars
import pandas_market_calendars
import polars as pl
import pytest

from sensequant.errors import ConfigError
from sensequant.market import session_table
from sensequant.market.session_table import (
    LAST_YEAR,
    OBSERVED_THROUGH,
    SessionKind,
    build_calendar_table,
    calendar_table,
)

mcal = cast("Any", pandas_market_calendars)
xcals = cast("Any", exchange_calendars)

# exchange_calendars reads an attribute that pandas 4 will change; its dates stay the same.
ignores_pandas4_warning = pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")

FIRST_COMPARED = date(2000, 1, 1)
LAST_COMPARED = date(2025, 12, 31)

WEEKEND_SESSIONS = """
    2003-03-22 2003-10-25 2003-11-15 2004-04-17 2004-10-09 2005-06-04 2005-11-26 2006-04-29
    2006-06-25 2006-10-21 2009-10-17 2010-02-06 2012-01-07 2012-03-03 2012-04-28 2012-09-08
    2013-05-11 2013-11-03 2014-03-22 2015-02-28 2016-10-30 2019-10-27 2020-02-01 2020-11-14
    2023-11-12 2024-01-20 2024-03-02 2024-05-18 2025-02-01
"""
MCAL_FALSE_CLOSURES = """
    2001-03-08 2001-03-21 2001-06-20 2001-08-23 2001-09-10 2001-11-29 2002-01-18 2002-01-28
    2002-08-16 2003-04-10 2003-10-16 2004-10-12 2004-10-15 2005-07-27
"""
XBOM_FALSE_CLOSURES = """
    2001-01-01 2004-01-01 2013-11-14 2014-10-23 2015-11-11 2017-10-19 2018-11-07 2021-11-04
    2022-10-24 2024-11-01 2025-10-21
"""
XBOM_FALSE_SESSIONS = "2013-11-15"


def dates(text: str) -> set[date]:
    return {date.fromisoformat(word) for word in text.split()}


def table_dates() -> set[date]:
    days = calendar_table()["session"].to_list()
    return {day for day in days if FIRST_COMPARED <= day <= LAST_COMPARED}


def row(day: str) -> dict[str, Any]:
    return calendar_table().row(
        by_predicate=pl.col("session") == date.fromisoformat(day), named=True
    )


def closures(*days: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"date": days, "name": ["a holiday"] * len(days), "source": ["a test"] * len(days)}
    )


def special(*rows: tuple[str, str, str | None, str | None]) -> pl.DataFrame:
    columns = ["date", "kind", "opens_at", "closes_at"]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    return frame.with_columns(source=pl.lit("a test"))


def built(closed: pl.DataFrame, extra: pl.DataFrame, *, last_year: int = 2001) -> pl.DataFrame:
    return build_calendar_table(
        closures=closed, special=extra, first_year=2001, last_year=last_year
    )


def test_schema_and_numbers() -> None:
    """The table is sorted, unique and numbered from 0 at 2000-01-03 in the promised types."""
    table = calendar_table()

    assert table.schema == {
        "session": pl.Date,
        "session_number": pl.Int32,
        "kind": pl.String,
        "opens_at": pl.Time,
        "closes_at": pl.Time,
        "source": pl.String,
    }
    assert table["session"][0] == date(2000, 1, 3)
    assert table["session_number"].to_list() == list(range(table.height))
    assert table["session"].is_unique().all()
    assert table["session"].is_sorted()
    assert table["source"].null_count() == 0


def test_counts_of_kinds() -> None:
    """There is one Muhurat session a year, 5 full weekend sessions and 17 drills."""
    counts = dict(calendar_table().group_by("kind").len().iter_rows())

    assert counts["muhurat"] == LAST_YEAR - 2000 + 1
    assert counts["weekend_special"] == 5
    assert counts["drill"] == 17
    assert set(counts) == {kind.value for kind in SessionKind}


@pytest.mark.parametrize(
    ("day", "kind", "opens_at", "closes_at"),
    [
        ("2000-01-03", "regular", time(9, 55), time(15, 30)),
        ("2009-12-31", "regular", time(9, 55), time(15, 30)),
        ("2010-01-04", "regular", time(9, 0), time(15, 30)),
        ("2010-10-15", "regular", time(9, 0), time(15, 30)),
        ("2010-10-18", "regular", time(9, 15), time(15, 30)),
        ("2021-02-24", "regular", time(9, 15), time(17, 0)),
        ("2025-10-21", "muhurat", time(13, 45), time(14, 45)),
        ("2023-11-12", "muhurat", time(18, 15), time(19, 15)),
        ("2009-10-17", "muhurat", None, None),
        ("2024-01-20", "weekend_special", time(9, 15), time(15, 30)),
        ("2026-02-01", "weekend_special", time(9, 15), time(15, 30)),
        ("2024-03-02", "drill", time(9, 15), time(12, 30)),
        ("2024-05-18", "drill", time(9, 15), time(12, 30)),
        ("2003-03-22", "drill", time(11, 0), time(13, 0)),
    ],
)
def test_hours(day: str, kind: str, opens_at: time | None, closes_at: time | None) -> None:
    """Hours follow their era; special sessions have their own, or none where none is known."""
    found = row(day)

    assert (found["kind"], found["opens_at"], found["closes_at"]) == (kind, opens_at, closes_at)


def test_what_is_not_verified_says_so() -> None:
    """Every row after the last observed session says that it is not yet observed."""
    later = calendar_table().filter(pl.col("session") > OBSERVED_THROUGH)

    assert later.height > 80
    assert later["source"].str.contains("not yet observed").all()
    assert row("2026-11-08")["source"].startswith("unverified")
    assert row("2026-11-08")["opens_at"] is None


def test_every_closure_has_a_name_and_a_source() -> None:
    """No row of the closures is without a name or a source; those of 1 May and 15 August agree."""
    path = Path(session_table.__file__).parent / session_table.CLOSURES_FILE
    rows = list(csv.DictReader(path.read_text().splitlines()))

    assert all(item["name"] and item["source"] for item in rows)
    fixed = {"05-01": "Maharashtra Day", "08-15": "Independence Day", "12-25": "Christmas"}
    named = [(item["date"][5:], item["name"]) for item in rows if item["date"][5:] in fixed]
    assert len(named) == 60
    assert all(name == fixed[day] for day, name in named)


@pytest.mark.real_data
def test_agrees_with_every_observed_session(real_data: Path) -> None:
    """Each of the 6,624 observed sessions is in the table, and no other up to the last of them."""
    observed = pl.read_csv(
        real_data / "index" / "nse_sessions_observed_2000_2026.csv", try_parse_dates=True
    )["date"]
    days = calendar_table()["session"]

    assert observed.len() == 6624
    assert observed.max() == OBSERVED_THROUGH
    assert days.filter(days <= OBSERVED_THROUGH).to_list() == observed.to_list()


def test_differences_from_pandas_market_calendars() -> None:
    """Its NSE calendar lacks the weekend sessions and has 14 closures too many; nothing more."""
    calendar = mcal.get_calendar("NSE")
    theirs = {day.date() for day in calendar.valid_days(FIRST_COMPARED, LAST_COMPARED)}

    assert table_dates() - theirs == dates(WEEKEND_SESSIONS) | dates(MCAL_FALSE_CLOSURES)
    assert theirs - table_dates() == set()


@ignores_pandas4_warning
def test_the_rest_of_2026_follows_both_libraries() -> None:
    """After the last observed session only the Muhurat Sunday is not in either library."""
    start, end = OBSERVED_THROUGH.isoformat(), "2026-12-31"
    xbom = xcals.get_calendar("XBOM", start=start, end=end).sessions
    days = calendar_table()["session"]
    ours = set(days.filter(days >= OBSERVED_THROUGH).to_list()) - {date(2026, 11, 8)}

    assert ours == {day.date() for day in xbom}
    assert ours == {day.date() for day in mcal.get_calendar("NSE").valid_days(start, end)}


@ignores_pandas4_warning
def test_differences_from_exchange_calendars() -> None:
    """XBOM lacks weekend and Muhurat sessions and two new years, and moves Moharram of 2013."""
    calendar = xcals.get_calendar(
        "XBOM", start=FIRST_COMPARED.isoformat(), end=LAST_COMPARED.isoformat()
    )
    theirs = {day.date() for day in calendar.sessions}

    assert table_dates() - theirs == dates(WEEKEND_SESSIONS) | dates(XBOM_FALSE_CLOSURES)
    assert theirs - table_dates() == dates(XBOM_FALSE_SESSIONS)


def test_muhurat_hours_agree_with_pandas_market_calendars() -> None:
    """On all 18 weekdays of Muhurat trading both know the same hours."""
    calendar = mcal.get_calendar("NSE")
    theirs = {
        date.fromisoformat(day): (at, until)
        for at, days in calendar.special_opens_adhoc
        for until, others in calendar.special_closes_adhoc
        for day in days
        if day in others and day >= "2000"
    }

    ours = calendar_table().filter(
        (pl.col("kind") == "muhurat") & (pl.col("session").dt.weekday() < 6)
    )
    hours = {day: (at, until) for day, at, until in ours["session", "opens_at", "closes_at"].rows()}
    assert len(hours) == 18
    assert hours == theirs


def test_a_table_by_hand() -> None:
    """Weekdays less a closure, plus a Saturday, with a Wednesday of other hours."""
    table = built(
        closures("2001-01-01"),
        special(
            ("2001-01-03", "muhurat", "18:00", "19:00"),
            ("2001-01-06", "drill", None, None),
        ),
    )

    assert table.head(5)["session"].to_list() == [date(2001, 1, n) for n in (2, 3, 4, 5, 6)]
    assert table.head(5)["kind"].to_list() == ["regular", "muhurat", "regular", "regular", "drill"]
    assert table["opens_at"].head(2).to_list() == [time(9, 55), time(18, 0)]
    assert table.height == 261 - 1 + 1


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        ([("2001-01-06", "drill", None, None)] * 2, "listed twice"),
        ([("2003-01-04", "drill", None, None)], "outside the known years"),
        ([("2001-01-01", "muhurat", None, None)], "closure too"),
        ([("2001-01-06", "party", None, None)], "kind of session is unknown"),
        ([("2001-01-06", "regular", "09:15", "15:30")], "regular session is on a weekend"),
        ([("2001-01-05", "weekend_special", "09:15", "15:30")], "weekend session is on a weekday"),
        ([("2001-01-06", "drill", "09:15", None)], "one of open and close"),
        ([("2001-01-06", "drill", "12:15", "11:00")], "closes before it opens"),
        ([("2001-01-06", "weekend_special", None, None)], "lacks three hours"),
        ([("2001-01-06", "weekend_special", "09:15", "12:00")], "lacks three hours"),
    ],
)
def test_contradictions_among_special_sessions_are_refused(
    extra: list[tuple[str, str, str | None, str | None]], what: str
) -> None:
    """A special session that contradicts itself or another row is refused, not repaired."""
    with pytest.raises(ConfigError, match=what):
        built(closures("2001-01-01"), special(*extra))


@pytest.mark.parametrize(
    ("days", "what"),
    [
        (["2001-01-01", "2001-01-01"], "listed twice"),
        (["2001-01-06"], "no weekday"),
        (["2001-01-01", "2002-01-01"], "no weekday of the known years"),
        (["1 January 2001"], "cannot be read"),
    ],
)
def test_contradictions_among_closures_are_refused(days: list[str], what: str) -> None:
    """A closure that is repeated, on a weekend, in another year or no date is refused."""
    with pytest.raises(ConfigError, match=what):
        built(closures(*days), special())


def test_a_year_without_its_holidays_is_refused() -> None:
    """Raising the last year without listing its closures is refused by name of the year."""
    with pytest.raises(ConfigError, match=r"no closure listed.*2002"):
        built(closures("2001-01-01"), special(), last_year=2002)
