"""Which chunks are left to fetch: what was asked, less what needs no call, cut to size.

Belongs here: one rule for every source. Does not belong here: what an earlier fetch covers
(`ranges`, `ledger`), how many sessions a source delivers at once (the source), fetching
(`backfill`).

A source that holds a whole history in one place is asked for all of it, each time: that costs no
call, and its files may have changed. Of any other, a chunk spans at most as many sessions as the
source allows, none of which is covered or still to come; chunks of one symbol and interval do not
overlap and follow each other in time. Symbols and intervals take turns in the list, so that all of
them advance together. Indices have daily bars only.
"""

import dataclasses
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from enum import StrEnum
from itertools import zip_longest

from sensequant.errors import ConfigError
from sensequant.ingestion.ranges import Range, last_opened_session, merge
from sensequant.market.intervals import Interval, is_intraday
from sensequant.market.sessions import SessionCalendar
from sensequant.market.sources.base import BarSource, Chunk, require_range
from sensequant.market.symbols import is_index

__all__ = ["Asked", "ChunkPlan", "Known", "PlanMode", "plan_chunks", "uncovered_runs"]


class PlanMode(StrEnum):
    """Which sessions of the range are fetched."""

    MISSING = "missing"
    """Those that need a call."""

    INCREMENTAL = "incremental"
    """Those that need a call after the last final one of each symbol and interval."""

    FORCE = "force"
    """All."""


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What a backfill is asked for.

    Parameters
    ----------
    symbols
        Stocks, funds and indices.
    intervals
        Lengths of bars.
    start, end
        First and last date, both included; sessions that have not opened by then are left out.
    """

    symbols: tuple[str, ...]
    intervals: tuple[Interval, ...]
    start: date
    end: date


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """What is known of a symbol and an interval; both are asked once for each of them.

    Parameters
    ----------
    covered
        Tells the dates that need no call, in any order.
    last_final
        Tells the last session whose bars are final, or None; used in incremental mode only.
    """

    covered: Callable[[str, Interval], Iterable[Range]]
    last_final: Callable[[str, Interval], date | None]


@dataclasses.dataclass(frozen=True, slots=True)
class ChunkPlan:
    """The chunks to fetch, in the order in which to fetch them.

    Parameters
    ----------
    chunks
        What is left to do.
    n_sessions
        Sessions asked for that have opened, summed over symbols and intervals; 0 of a source that
        delivers whole histories.
    n_sessions_covered
        How many of them need no call.
    """

    chunks: tuple[Chunk, ...]
    n_sessions: int
    n_sessions_covered: int


def plan_chunks(
    source: BarSource,
    asked: Asked,
    *,
    calendar: SessionCalendar,
    now: datetime,
    known: Known,
    mode: PlanMode = PlanMode.MISSING,
) -> ChunkPlan:
    """Return the chunks that must be fetched.

    Parameters
    ----------
    source
        Says which intervals it has and how many sessions a chunk of each may span.
    asked
        Symbols, intervals and range.
    calendar
        Sessions of the exchange.
    now
        Aware instant; nothing that opens later is planned.
    known
        What needs no call.
    mode
        Which sessions of the range are fetched.

    Raises
    ------
    ConfigError
        The source has not the interval, the range is upside down or outside the calendar, `now` is
        naive.
    """
    require_range(asked.start, asked.end)
    _require_intervals(source, asked.intervals)
    last = min(asked.end, last_opened_session(calendar, now))
    sessions = calendar.sessions(asked.start, last) if asked.start <= last else []
    queues: list[list[Chunk]] = []
    n_sessions = n_left = 0
    for symbol, interval in _pairs(asked):
        size = source.sessions_per_chunk(interval)
        if size is None:
            queues.append([Chunk(symbol, interval)])
            continue
        runs = _runs(sessions, symbol, interval, known=known, mode=mode)
        queues.append(list(_cut(runs, symbol, interval, size=size)))
        n_sessions += len(sessions)
        n_left += sum(map(len, runs))
    chunks = [chunk for turn in zip_longest(*queues) for chunk in turn if chunk is not None]
    return ChunkPlan(tuple(chunks), n_sessions, n_sessions - n_left)


def uncovered_runs(sessions: Sequence[date], covered: Iterable[Range]) -> list[list[date]]:
    """Return the sessions outside the covered ranges, as runs without a covered one in between.

    Parameters
    ----------
    sessions
        Sorted.
    covered
        In any order; they may overlap.
    """
    runs: list[list[date]] = []
    position = 0
    for start, end in merge(covered):
        first, after = bisect_left(sessions, start), bisect_right(sessions, end)
        # A range between two sessions covers none, and divides nothing.
        if first < after:
            runs.append(list(sessions[position:first]))
            position = after
    runs.append(list(sessions[position:]))
    return [run for run in runs if run]


def _require_intervals(source: BarSource, intervals: Sequence[Interval]) -> None:
    absent = [interval for interval in intervals if interval not in source.intervals]
    if absent:
        raise ConfigError(
            "source has no bars of this length",
            where=source.name,
            expected=", ".join(source.intervals),
            found=", ".join(absent),
            remedy="leave the interval out, or choose another source",
        )


def _pairs(asked: Asked) -> Iterator[tuple[str, Interval]]:
    for symbol in dict.fromkeys(asked.symbols):
        for interval in dict.fromkeys(asked.intervals):
            if not (is_intraday(interval) and is_index(symbol)):
                yield symbol, interval


def _runs(
    sessions: list[date], symbol: str, interval: Interval, *, known: Known, mode: PlanMode
) -> list[list[date]]:
    if mode is PlanMode.FORCE:
        return uncovered_runs(sessions, ())
    covered = list(known.covered(symbol, interval))
    if mode is PlanMode.INCREMENTAL:
        final = known.last_final(symbol, interval)
        covered += [] if final is None else [(date.min, final)]
    return uncovered_runs(sessions, covered)


def _cut(
    runs: Iterable[Sequence[date]], symbol: str, interval: Interval, *, size: int
) -> Iterator[Chunk]:
    for run in runs:
        for first in range(0, len(run), size):
            part = run[first : first + size]
            yield Chunk(symbol, interval, part[0], part[-1])
