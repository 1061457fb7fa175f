"""Which sessions are expected: the calendar and listings, against the rule for one symbol."""

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.coverage.expected import EXPECTED_SCHEMA, Scope, expected_sessions
from sensequant.errors import ConfigError
from sensequant.market import listings as one_by_one
from sensequant.market.intervals import INTERVALS, n_bars_expected
from sensequant.market.listings import LISTING_SCHEMA, ListingKind
from sensequant.market.sessions import SessionCalendar, nse_calendar

START, END = date(2024, 2, 26), date(2024, 3, 15)
DAYS = st.dates(START - timedelta(days=2), END + timedelta(days=2))
SPELLS = st.tuples(
    st.sampled_from(("AAA", "BBB", "ZZZ")),
    st.sampled_from([kind.value for kind in ListingKind]),
    DAYS,
    st.integers(0, 12) | st.none(),
)


def test_every_session_of_the_range_has_a_row(calendar: SessionCalendar) -> None:
    """Symbols come in order, intervals as they were named, holidays not at all."""
    scope = Scope(("BBB", "AAA"), ("5minute", "1day"), START, END)
    rows = expected_sessions(scope, calendar)
    sessions = calendar.sessions(START, END)

    assert rows.schema == EXPECTED_SCHEMA
    assert rows.select("symbol", "interval", "session").rows() == [
        (symbol, interval, session)
        for symbol in ("AAA", "BBB")
        for interval in ("5minute", "1day")
        for session in sessions
    ]
    assert rows["not_expected"].null_count() == rows["note"].null_count() == rows.height


@pytest.mark.parametrize(
    "session",
    [date(2024, 4, 1), date(2021, 11, 4), date(2024, 3, 2), date(2021, 2, 24)],
    ids=["full", "muhurat", "drill", "longer"],
)
def test_each_session_knows_its_bars(calendar: SessionCalendar, session: date) -> None:
    """What a session should hold is what `market.intervals` says of it, null where unknown."""
    rows = expected_sessions(Scope(("AAA",), INTERVALS, session, session), calendar)

    assert rows["n_expected"].to_list() == [
        n_bars_expected(calendar, session, interval) for interval in INTERVALS
    ]


@given(st.lists(SPELLS, max_size=7))
def test_listings_agree_with_the_rule_for_one_symbol(
    spells: list[tuple[str, str, date, int | None]],
) -> None:
    """What is expected is what `market.listings` expects, symbol by symbol."""
    table = pl.DataFrame(
        [
            (symbol, kind, start, None if n is None else start + timedelta(days=n), "because")
            for symbol, kind, start, n in spells
        ],
        schema=LISTING_SCHEMA,
        orient="row",
    )
    scope = Scope(("AAA", "BBB"), ("1day",), START, END)
    rows = expected_sessions(scope, nse_calendar(), listings=table)

    for symbol in scope.symbols:
        own = rows.filter(pl.col("symbol") == symbol)
        expected = own.filter(pl.col("not_expected").is_null())["session"].to_list()
        assert expected == one_by_one.expected_sessions(
            symbol, table, nse_calendar(), start=START, end=END
        )
        assert own.filter(pl.col("not_expected").is_not_null())["note"].null_count() == 0


def test_after_the_last_spell_of_listing_nothing_is_expected(calendar: SessionCalendar) -> None:
    """A listing with an end says both that the share began and that it ended."""
    spell = ("AAA", "listed", date(2024, 3, 1), date(2024, 3, 6), "NSE")
    table = pl.DataFrame([spell], schema=LISTING_SCHEMA, orient="row")
    scope = Scope(("AAA",), ("1day",), date(2024, 2, 29), date(2024, 3, 7))
    rows = expected_sessions(scope, calendar, listings=table)

    assert rows["not_expected"].to_list() == [
        "pre_listing",
        *[None] * 5,  # Friday, the drill of Saturday, Monday to Wednesday
        "delisted",
    ]


def test_between_two_listings_nothing_is_expected(calendar: SessionCalendar) -> None:
    """The former company's end is the evidence; a spell inside another one changes nothing."""
    spells = [
        ("AAA", "listed", date(2024, 3, 4), date(2024, 3, 6), "first"),
        ("AAA", "listed", date(2024, 3, 5), date(2024, 3, 5), "inside"),
        ("AAA", "listed", date(2024, 3, 12), None, "second"),
    ]
    table = pl.DataFrame(spells, schema=LISTING_SCHEMA, orient="row")
    scope = Scope(("AAA",), ("1day",), date(2024, 3, 1), date(2024, 3, 13))
    rows = expected_sessions(scope, calendar, listings=table)

    assert rows.filter(pl.col("not_expected").is_not_null()).select(
        "session", "not_expected", "note"
    ).rows() == [
        (date(2024, 3, 1), "pre_listing", "first"),
        (date(2024, 3, 2), "pre_listing", "first"),
        (date(2024, 3, 7), "delisted", "first"),
        (date(2024, 3, 11), "delisted", "first"),
    ]


@pytest.mark.parametrize(
    ("scope", "what"),
    [
        (lambda: Scope(("AAA", "AAA"), ("1day",), START, END), "symbols of an audit"),
        (lambda: Scope(("AAA",), ("1day", "1day"), START, END), "intervals of an audit"),
        (lambda: Scope(("AAA",), ("1day",), END, START), "upside down"),
    ],
    ids=["symbol twice", "interval twice", "upside down"],
)
def test_a_wrong_scope_is_refused(scope: object, what: str) -> None:
    """Whatever would count a session twice, or never, is no scope."""
    with pytest.raises(ConfigError, match=what):
        scope()  # pyright: ignore[reportCallIssue]


def test_an_unknown_kind_of_spell_is_refused(calendar: SessionCalendar) -> None:
    """A table of listings that nobody understands must not pass for an empty one."""
    table = pl.DataFrame(
        [("AAA", "merged", START, None, "NSE")], schema=LISTING_SCHEMA, orient="row"
    )
    with pytest.raises(ConfigError, match="unknown kind"):
        expected_sessions(Scope(("AAA",), ("1day",), START, END), calendar, listings=table)
