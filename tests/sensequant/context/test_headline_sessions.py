"""Which headlines count for a session: those known at its close, and never a later one."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensequant.context.headline_sessions import SENTIMENT_SESSION_SCHEMA, sentiment_by_session
from sensequant.context.headlines import HEADLINES
from sensequant.context.hours import decisions_of
from sensequant.context.scoring import score_headlines
from sensequant.market.sessions import nse_calendar

DECISIONS = decisions_of(nse_calendar())
MONDAY = datetime(2024, 1, 1, 10, tzinfo=UTC)
"""A close of NSE."""

GOOD, BAD = "Profit surges", "Fraud probe widens"


def headlines(*given: tuple[datetime, str], symbol: str = "AAA") -> pl.DataFrame:
    return pl.DataFrame(
        [(symbol, at, at, "test", False, text, True) for at, text in given],
        schema=HEADLINES.schema,
        orient="row",
    )


def test_a_session_counts_what_became_known_since_the_last_close() -> None:
    """Until its close, the close included; a weekend's headlines count on Monday."""
    given = headlines(
        (MONDAY - timedelta(days=3), "known at the close of Friday"),
        (MONDAY - timedelta(days=2), GOOD),
        (MONDAY, BAD),
        (MONDAY + timedelta(microseconds=1), "Dividend"),
    )
    good, bad = score_headlines([GOOD, BAD])

    friday, monday, tuesday = sentiment_by_session(given, DECISIONS).to_dicts()

    assert [row["session"] for row in (friday, monday, tuesday)] == [
        date(2023, 12, 29),
        date(2024, 1, 1),
        date(2024, 1, 2),
    ]
    assert monday["known_at"] == MONDAY
    assert monday["n_headlines"] == 2
    assert monday["mean"] == pytest.approx((good + bad) / 2)
    assert monday["dispersion"] == pytest.approx(abs(good - bad) / 2**0.5)
    assert monday["novelty"] == 1
    assert (friday["dispersion"], friday["novelty"]) == (None, None)


def test_a_headline_waits_a_week_at_most() -> None:
    """Before the first session of the calendar nothing counts that is older."""
    first = DECISIONS["decided_at"][0]
    given = headlines(
        (first - timedelta(days=7, seconds=1), GOOD), (first - timedelta(days=7), BAD)
    )

    (row,) = sentiment_by_session(given, DECISIONS).to_dicts()

    assert row["n_headlines"] == 1
    assert row["mean"] < 0


def test_companies_do_not_touch_each_other() -> None:
    """Scores and novelty are those of each company alone."""
    mine = headlines((MONDAY, GOOD), (MONDAY + timedelta(days=1), GOOD))
    theirs = headlines((MONDAY, GOOD), symbol="BBB")

    both = sentiment_by_session(pl.concat([theirs, mine]), DECISIONS)

    assert both.equals(pl.concat(sentiment_by_session(each, DECISIONS) for each in (mine, theirs)))
    assert both["novelty"].to_list() == [None, 0.0, None]


def test_nothing_gives_nothing() -> None:
    """No headline, no row."""
    found = sentiment_by_session(HEADLINES.schema.to_frame(), DECISIONS)

    assert found.schema == SENTIMENT_SESSION_SCHEMA
    assert found.is_empty()


TEXTS = st.sampled_from([GOOD, BAD, "Dividend", "Shares fall", "Profit falls"])
MOMENTS = st.integers(0, 6 * 24).map(lambda hours: MONDAY + timedelta(hours=hours))


@settings(max_examples=40)
@given(
    st.lists(st.tuples(MOMENTS, TEXTS), max_size=10, unique=True),
    st.lists(st.tuples(MOMENTS, TEXTS, st.integers(0, 48)), min_size=1, max_size=5),
    st.integers(0, 5),
)
def test_nothing_known_later_changes_a_session(
    early: list[tuple[datetime, str]], late: list[tuple[datetime, str, int]], n_days: int
) -> None:
    """Headlines that become known after a close, whenever they were published, leave it alone."""
    decided = MONDAY + timedelta(days=n_days)
    known = headlines(*(each for each in early if each[0] <= decided))
    arrivals = [
        max(at, decided + timedelta(microseconds=1)) + timedelta(hours=delay)
        for at, _, delay in late
    ]
    later = headlines(*((at, text) for at, text, _ in late)).with_columns(
        known_at=pl.Series(arrivals, dtype=HEADLINES.schema["known_at"])
    )
    is_earlier = pl.col("known_at") <= decided

    before = sentiment_by_session(known, DECISIONS).filter(is_earlier)
    after = sentiment_by_session(pl.concat([later, known]), DECISIONS).filter(is_earlier)

    assert before.equals(after)
