"""A session of order books in one row: weights by hand, and nothing that came late."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensequant.context.depth import DEPTH
from sensequant.context.depth_gaps import DEPTH_GAPS
from sensequant.context.depth_sessions import (
    DEPTH_SESSION_SCHEMA,
    depth_by_session,
    snapshots_at,
)
from sensequant.context.hours import DECISION_SCHEMA, decisions_of
from sensequant.market.sessions import nse_calendar

SnapshotMaker = Callable[..., pl.DataFrame]

DECISIONS = decisions_of(nse_calendar())
OPEN, CLOSE = datetime(2024, 1, 1, 3, 45, tzinfo=UTC), datetime(2024, 1, 1, 10, tzinfo=UTC)
SESSION_SECONDS = (CLOSE - OPEN).total_seconds()
EVERY_FIVE_MINUTES = [300.0 * number for number in range(75)]

NARROW = ([(99.0, 10.0)], [(101.0, 10.0)])
WIDE = ([(98.0, 30.0)], [(102.0, 10.0)])


def only(snapshots: pl.DataFrame) -> dict[str, object]:
    (row,) = depth_by_session(snapshots, DECISIONS).to_dicts()
    return row


def test_the_close_of_a_session_is_its_decision() -> None:
    """Hours are those of the calendar, in UTC; a drill without known hours has none."""
    monday = DECISIONS.filter(pl.col("session") == date(2024, 1, 1))

    assert monday.schema == DECISION_SCHEMA
    assert monday.row(0) == (date(2024, 1, 1), OPEN, CLOSE)
    assert DECISIONS.height < nse_calendar().table.height


def test_values_are_weighted_by_time(make_snapshots: SnapshotMaker) -> None:
    """A book that stood for four minutes of five weighs four times one that stood for one."""
    seconds = [each + shift for each in EVERY_FIVE_MINUTES for shift in (0, 240)]

    row = only(make_snapshots(seconds, [NARROW, WIDE] * 75))

    assert row["n_snapshots"] == 150
    assert row["covered_seconds"] == SESSION_SECONDS
    assert row["known_at"] == CLOSE
    assert row["spread_frac"] == pytest.approx(0.8 * 0.02 + 0.2 * 0.04)
    assert row["imbalance"] == pytest.approx(0.2 * 0.5)
    assert row["imbalance_at_close"] == 0.5
    # (102 * 30 + 98 * 10) / 40 = 101 against a mid of 100, for a fifth of the time.
    assert row["microprice_to_mid"] == pytest.approx(0.2 * 0.01)
    assert row["bid_depth_to_mid"] == pytest.approx(-0.8 * 0.01 - 0.2 * 0.02)
    assert row["ask_depth_to_mid"] == pytest.approx(0.8 * 0.01 + 0.2 * 0.02)


def test_a_silence_weighs_nothing(make_snapshots: SnapshotMaker) -> None:
    """A snapshot counts for five minutes at most, and not at all at the close after them."""
    row = only(make_snapshots([*EVERY_FIVE_MINUTES[:12], 7_200], [NARROW] * 12 + [WIDE]))

    assert row["covered_seconds"] == 13 * 300
    assert row["spread_frac"] == pytest.approx((12 * 0.02 + 0.04) / 13)
    assert row["imbalance_at_close"] is None


def test_a_few_minutes_are_no_session(make_snapshots: SnapshotMaker) -> None:
    """Six books in five minutes each cover half an hour; five do not."""
    books = [NARROW] * 6
    enough = make_snapshots(EVERY_FIVE_MINUTES[:6], books)

    assert depth_by_session(enough, DECISIONS).height == 1
    assert depth_by_session(enough[:5], DECISIONS).height == 0
    assert depth_by_session(enough[:0], DECISIONS).schema == DEPTH_SESSION_SCHEMA


def test_resilience_is_the_share_of_spreads_that_came_back(make_snapshots: SnapshotMaker) -> None:
    """Three widenings: back after 30 s, back after 90 s, and too near the close to be judged."""
    filler = [(each, NARROW) for each in EVERY_FIVE_MINUTES[:70]]
    moves = [(10, WIDE), (40, NARROW), (400, WIDE), (490, NARROW), (SESSION_SECONDS - 30, WIDE)]
    near = [(SESSION_SECONDS - 300 + each, NARROW) for each in (0.0, 200.0)]
    ordered = sorted([*filler, *moves, *near], key=lambda pair: pair[0])

    row = only(make_snapshots([at for at, _ in ordered], [book for _, book in ordered]))

    assert row["resilience"] == 0.5


def test_a_spread_that_never_widened_has_no_resilience(make_snapshots: SnapshotMaker) -> None:
    """Nothing to recover from is missing, not perfect."""
    assert only(make_snapshots(EVERY_FIVE_MINUTES, [NARROW] * 75))["resilience"] is None


def test_order_flow_is_in_units_of_the_best_quantities(make_snapshots: SnapshotMaker) -> None:
    """Ten shares added at the bid against best quantities of 10, 15 on average over two books."""
    grown = ([(99.0, 20.0)], [(101.0, 10.0)])
    books = [NARROW] * 37 + [grown] * 38

    row = only(make_snapshots(EVERY_FIVE_MINUTES, books))

    assert row["order_flow_imbalance"] == pytest.approx(10 / ((37 * 10 + 38 * 15) / 75))


def test_books_outside_the_hours_do_not_count(make_snapshots: SnapshotMaker) -> None:
    """Neither before the open, nor from the close on, nor on a holiday."""
    seconds = [*EVERY_FIVE_MINUTES, -600, SESSION_SECONDS, SESSION_SECONDS + 60]
    strange = [WIDE] * 3

    with_strangers = make_snapshots(seconds, [NARROW] * 75 + strange)

    assert only(with_strangers) == only(with_strangers[:75])
    sunday = with_strangers.with_columns(pl.col("at", "known_at") - timedelta(days=1))
    assert depth_by_session(sunday, DECISIONS).height == 0


def test_what_arrives_after_the_close_changes_nothing(make_snapshots: SnapshotMaker) -> None:
    """Neither late snapshots nor late corrections; both count when they come in time."""
    early = make_snapshots(EVERY_FIVE_MINUTES, [NARROW] * 75)
    correction = make_snapshots(EVERY_FIVE_MINUTES[:1], [WIDE])
    addition = make_snapshots([150.0], [WIDE])
    late, in_time = pl.lit(CLOSE + timedelta(microseconds=1)), pl.lit(CLOSE)
    for news in (correction, addition):
        after = pl.concat([early, news.with_columns(known_at=late.cast(DEPTH.schema["at"]))])
        before = pl.concat([early, news.with_columns(known_at=in_time.cast(DEPTH.schema["at"]))])

        assert only(after) == only(early)
        assert only(before)["spread_frac"] != only(early)["spread_frac"]


Change = tuple[int, int, float]


@settings(max_examples=25)
@given(
    st.integers(0, 2),
    st.lists(
        st.tuples(st.integers(0, 3 * 86_400), st.integers(1, 200_000), st.sampled_from([1.0, 5.0])),
        min_size=1,
        max_size=6,
    ),
)
def test_nothing_known_later_changes_a_session(
    make_snapshots: SnapshotMaker, n_days: int, changes: list[Change]
) -> None:
    """Rows that become known after a close, whenever they happened, leave sessions up to it."""
    seconds = [
        86_400 * day + each for day in range(3) for each in EVERY_FIVE_MINUTES[: 10 + 10 * day]
    ]
    known = make_snapshots(seconds, [NARROW] * len(seconds))
    decided = CLOSE + timedelta(days=n_days)
    unique = {at: (delay, size) for at, delay, size in changes}
    books = [([(99.5, size)], [(100.5, 9.0)]) for _, size in unique.values()]
    delays = [decided + timedelta(seconds=delay) for delay, _ in unique.values()]
    later = make_snapshots(list(unique), books).with_columns(
        known_at=pl.max_horizontal("known_at", pl.Series(delays, dtype=DEPTH.schema["at"]))
    )
    is_earlier = pl.col("known_at") <= decided

    before = depth_by_session(known, DECISIONS).filter(is_earlier)
    after = depth_by_session(pl.concat([known, later]), DECISIONS).filter(is_earlier)

    assert before.equals(after)


def gaps_of(*rows: tuple[float, float, str]) -> pl.DataFrame:
    at = [OPEN + timedelta(seconds=begins) for begins, _, _ in rows]
    until = [OPEN + timedelta(seconds=ends) for _, ends, _ in rows]
    return pl.DataFrame(
        {
            "symbol": "AAA",
            "at": at,
            "known_at": until,
            "source": "test",
            "is_simulated": False,
            "until": until,
            "reason": [reason for _, _, reason in rows],
        },
        schema=DEPTH_GAPS.schema,
    )


def test_a_book_counts_no_further_than_to_a_gap(make_snapshots: SnapshotMaker) -> None:
    """A lost connection cuts it short; silence of the symbol does not, nor a gap known later."""
    seconds = [120.0 * number for number in range(20)]
    snapshots = make_snapshots(seconds, [NARROW] * 20)
    lost = gaps_of((130, 200, "not_connected"))
    others = gaps_of(
        (130, 200, "silent"),
        (130, SESSION_SECONDS + 1, "not_running"),
        (90_000, 90_001, "no_ticks"),
    )

    def covered(gaps: pl.DataFrame | None) -> float:
        return depth_by_session(snapshots, DECISIONS, gaps)["covered_seconds"][0]

    assert covered(None) == 19 * 120 + 300
    assert covered(lost) == 19 * 120 + 300 - 110
    assert covered(others) == covered(None)
    assert covered(lost.with_columns(symbol=pl.lit("BBB"))) == covered(None)


def test_books_at_given_moments_are_those_known_then(make_snapshots: SnapshotMaker) -> None:
    """The book of a minute ago counts, one of six minutes ago is stale, a late one is not known."""
    rows = pl.concat([make_snapshots([0], [NARROW]), make_snapshots([60], [WIDE], delay_s=30)])
    moments = [OPEN + timedelta(seconds=each) for each in (59, 89, 90, 361)]

    found = snapshots_at(rows, moments, ["AAA", "BBB"])

    mine = found.filter(pl.col("symbol") == "AAA")["bid_price"].to_list()
    assert mine == [[99.0], [99.0], [98.0], None]
    assert found.filter(pl.col("symbol") == "BBB")["bid_price"].null_count() == 4
