"""Facts about plans: what was asked less what is covered, cut to size, in turns."""

import time
from collections.abc import Iterable
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import ConfigError
from sensequant.ingestion.planning import (
    Asked,
    ChunkPlan,
    Known,
    PlanMode,
    plan_chunks,
    uncovered_runs,
)
from sensequant.market.intervals import INTERVALS, Interval
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import BarSource, Chunk
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource

NOW = datetime(2024, 6, 28, 12, 0, tzinfo=UTC)
SIZES: dict[str, int | None] = {"1day": 900, "30minute": 70, "5minute": 12, "1minute": 2}
Range = tuple[date, date]


class ChunkedSource(SimulatedSource):
    """The simulated market, delivered in chunks of as many sessions as a test says."""

    sizes: dict[str, int | None]

    def __init__(self, sizes: dict[str, int | None]) -> None:
        super().__init__(SimulatedConfig(n_symbols=3))
        object.__setattr__(self, "sizes", sizes)

    def sessions_per_chunk(self, interval: Interval) -> int | None:
        """Return the size of a chunk."""
        return self.sizes[interval]


def plan(
    asked: Asked,
    *,
    covered: Iterable[Range] = (),
    final: date | None = None,
    source: BarSource | None = None,
    **others: Any,
) -> ChunkPlan:
    known = Known(lambda _symbol, _interval: covered, lambda _symbol, _interval: final)
    given: dict[str, Any] = {"calendar": nse_calendar(), "now": NOW, "known": known} | others
    return plan_chunks(source or ChunkedSource(SIZES), asked, **given)


def asked(*intervals: Interval, start: date, end: date, symbols: str = "SIM01") -> Asked:
    return Asked(tuple(symbols.split(",")), intervals, start, end)


def test_a_range_is_cut_into_runs_of_at_most_the_size() -> None:
    """March 2024: 21 weekdays less 8, 25 and 29, and the Saturday 2 with a session: 12 and 7."""
    wanted = asked("5minute", start=date(2024, 3, 1), end=date(2024, 3, 31))

    assert plan(wanted) == ChunkPlan(
        (
            Chunk("SIM01", "5minute", date(2024, 3, 1), date(2024, 3, 18)),
            Chunk("SIM01", "5minute", date(2024, 3, 19), date(2024, 3, 28)),
        ),
        n_sessions=19,
        n_sessions_covered=0,
    )


def test_what_is_covered_is_left_out_and_divides_chunks() -> None:
    """No chunk spans a covered session, small as the gaps on its sides may be."""
    wanted = asked("1day", start=date(2024, 6, 3), end=date(2024, 6, 14))
    found = plan(
        wanted, covered=[(date(2024, 6, 6), date(2024, 6, 9)), (date(2024, 6, 5), date(2024, 6, 5))]
    )

    assert found.chunks == (
        Chunk("SIM01", "1day", date(2024, 6, 3), date(2024, 6, 4)),
        Chunk("SIM01", "1day", date(2024, 6, 10), date(2024, 6, 14)),
    )
    assert (found.n_sessions, found.n_sessions_covered) == (10, 3)


def test_a_covered_weekend_divides_nothing() -> None:
    """Covered dates without a session between two sessions are no reason for another call."""
    wanted = asked("1day", start=date(2024, 6, 3), end=date(2024, 6, 14))
    found = plan(wanted, covered=[(date(2024, 6, 8), date(2024, 6, 9))])

    assert found.chunks == (Chunk("SIM01", "1day", date(2024, 6, 3), date(2024, 6, 14)),)


def test_nothing_is_left_of_a_range_that_is_covered() -> None:
    """The second backfill of a range makes no call."""
    wanted = asked(*INTERVALS, start=date(2024, 1, 1), end=date(2024, 3, 31))
    found = plan(wanted, covered=[(date(2024, 1, 1), date(2024, 3, 31))])

    assert found.chunks == ()
    assert found.n_sessions == found.n_sessions_covered > 0


@pytest.mark.parametrize(
    ("start", "end"),
    [(date(2024, 6, 8), date(2024, 6, 9)), (date(2024, 12, 2), date(2024, 12, 6))],
    ids=["weekend", "future"],
)
def test_a_range_without_sessions_leaves_nothing_to_do(start: date, end: date) -> None:
    """Holidays only, or nothing but the future, is an answer and no error."""
    assert plan(asked("1day", start=start, end=end)) == ChunkPlan((), 0, 0)


def test_the_future_is_never_planned() -> None:
    """At noon in India a range to the end of the month ends today, at 09:14 yesterday."""
    wanted = asked("1day", start=date(2024, 6, 3), end=date(2024, 6, 30))
    noon = datetime(2024, 6, 12, 6, 30, tzinfo=UTC)
    before = datetime(2024, 6, 12, 3, 44, tzinfo=UTC)

    assert plan(wanted, now=noon).chunks[-1].end == date(2024, 6, 12)
    assert plan(wanted, now=before).chunks[-1].end == date(2024, 6, 11)


def test_force_plans_all_of_it() -> None:
    """Whatever is covered."""
    wanted = asked("1day", start=date(2024, 6, 3), end=date(2024, 6, 14))
    found = plan(wanted, covered=[(date.min, date.max)], mode=PlanMode.FORCE)

    assert found.chunks == (Chunk("SIM01", "1day", date(2024, 6, 3), date(2024, 6, 14)),)
    assert found.n_sessions_covered == 0


def test_incremental_begins_after_the_last_final_session() -> None:
    """An earlier gap stays; what is covered after it is not fetched again."""
    wanted = asked("1day", start=date(2024, 6, 3), end=date(2024, 6, 14))
    found = plan(
        wanted,
        covered=[(date(2024, 6, 13), date(2024, 6, 13))],
        final=date(2024, 6, 11),
        mode=PlanMode.INCREMENTAL,
    )

    assert found.chunks == (
        Chunk("SIM01", "1day", date(2024, 6, 12), date(2024, 6, 12)),
        Chunk("SIM01", "1day", date(2024, 6, 14), date(2024, 6, 14)),
    )
    assert plan(wanted, mode=PlanMode.INCREMENTAL) == plan(wanted)


def test_a_whole_history_is_one_chunk_every_time() -> None:
    """Files may have changed, and asking them costs no call."""
    wanted = asked("1day", "5minute", start=date(2024, 6, 3), end=date(2024, 6, 4))
    source = ChunkedSource({**SIZES, "1day": None})
    found = plan(wanted, covered=[(date.min, date.max)], source=source)

    assert found.chunks == (Chunk("SIM01", "1day"),)
    assert found.n_sessions == 2


def test_symbols_and_intervals_take_turns() -> None:
    """Round after round, so that all advance together; each in the order of time."""
    wanted = asked(
        "5minute", "1minute", start=date(2024, 3, 1), end=date(2024, 3, 31), symbols="SIM01,SIM02"
    )
    chunks = plan(wanted).chunks
    turns = [(chunk.symbol, chunk.interval) for chunk in chunks]
    everyone = [(symbol, kind) for symbol in ("SIM01", "SIM02") for kind in ("5minute", "1minute")]

    assert turns[:8] == everyone * 2
    assert set(turns[8:]) == {("SIM01", "1minute"), ("SIM02", "1minute")}
    for one in everyone:
        own = [chunk.start for chunk in chunks if (chunk.symbol, chunk.interval) == one]
        assert own == sorted(own, key=lambda day: day or date.min)


def test_indices_have_daily_bars_only() -> None:
    """Nobody sells minutes of an index here."""
    wanted = asked(
        "1day", "1minute", start=date(2024, 6, 3), end=date(2024, 6, 4), symbols="NIFTY50,SIM01"
    )

    assert [(chunk.symbol, chunk.interval) for chunk in plan(wanted).chunks] == [
        ("NIFTY50", "1day"),
        ("SIM01", "1day"),
        ("SIM01", "1minute"),
    ]


def test_a_symbol_named_twice_is_fetched_once() -> None:
    """Of symbols and of intervals."""
    wanted = Asked(("SIM01",) * 2, ("1day",) * 2, date(2024, 6, 3), date(2024, 6, 4))

    assert len(plan(wanted).chunks) == 1


def test_an_interval_that_the_source_lacks_is_refused() -> None:
    """Before anything is asked of it."""

    class DailySource(ChunkedSource):
        @property
        def intervals(self) -> tuple[Interval, ...]:
            """Daily bars only."""
            return ("1day",)

    with pytest.raises(ConfigError, match=r"no bars of this length.*1minute"):
        plan(
            asked("1day", "1minute", start=date(2024, 6, 3), end=date(2024, 6, 4)),
            source=DailySource(SIZES),
        )


def test_a_range_upside_down_or_before_the_calendar_is_refused() -> None:
    """Nobody knows which sessions are meant."""
    with pytest.raises(ConfigError, match="upside down"):
        plan(asked("1day", start=date(2024, 6, 4), end=date(2024, 6, 3)))
    with pytest.raises(ConfigError, match="not in the calendar"):
        plan(asked("1day", start=date(1999, 6, 4), end=date(2024, 6, 3)))


A_DAY = st.dates(date(2024, 1, 1), date(2024, 6, 28))
RANGES = st.lists(st.tuples(A_DAY, A_DAY), max_size=6)


@given(covered=RANGES, bounds=st.tuples(A_DAY, A_DAY), size=st.integers(1, 30), data=st.data())
def test_planned_and_covered_are_what_was_asked(
    covered: list[Range], bounds: tuple[date, date], size: int, data: st.DataObject
) -> None:
    """Each session is planned once or covered, never both; no chunk is too long or out of turn."""
    wanted = asked("1day", start=min(bounds), end=max(bounds))
    source = ChunkedSource({**SIZES, "1day": size})
    found = plan(wanted, covered=covered, source=source)
    calendar = nse_calendar()
    parts = [
        calendar.sessions(chunk.start or date.min, chunk.end or date.max) for chunk in found.chunks
    ]
    planned = [session for part in parts for session in part]
    every = calendar.sessions(wanted.start, wanted.end)
    known = [day for day in every if any(first <= day <= last for first, last in covered)]

    assert planned == [day for day in every if day not in set(known)]
    assert all(1 <= len(part) <= size for part in parts)
    assert all(earlier[-1] < later[0] for earlier, later in pairwise(parts))
    assert (found.n_sessions, found.n_sessions_covered) == (len(every), len(known))
    # As few calls as possible: within a gap, only the last chunk is short.
    n_fewest = sum(-(-len(run) // size) for run in uncovered_runs(every, covered))
    assert len(parts) == n_fewest
    shuffled = data.draw(st.permutations(covered))
    assert plan(wanted, covered=shuffled, source=source) == found


@pytest.mark.slow
def test_plans_of_many_symbols_are_made_at_once() -> None:
    """96 symbols, three years, four intervals, half of it covered: under two seconds."""
    wanted = Asked(
        tuple(f"S{number:02d}" for number in range(96)),
        INTERVALS,
        date(2021, 6, 28),
        date(2024, 6, 28),
    )
    covered = [(date(2021, 7, 1), date(2022, 12, 31))]
    started = time.perf_counter()
    found = plan(wanted, covered=covered)
    seconds = time.perf_counter() - started

    assert len(found.chunks) > 15_000
    assert seconds < 2
