"""A whole backfill: plan, fetch side by side, report.

Belongs here: what a backfill consists of, how its results add up, and a driver that needs nothing
but threads. Does not belong here: one chunk (`chunks`), cutting the range (`planning`), tasks with
their retries (`tasks`), which share the plan and the report with this driver.
"""

import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import polars as pl
from pydantic import Field

from sensequant.errors import LeakageError, StopSourceError, StorageError
from sensequant.ingestion.chunks import ChunkResult, ingest_chunk
from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.ledger_records import ChunkOutcome
from sensequant.ingestion.planning import Asked, ChunkPlan, Known, PlanMode, plan_chunks
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.market.intervals import DAILY, Interval
from sensequant.market.selection import selected_symbols
from sensequant.market.sessions import session_date_of
from sensequant.market.sources.base import Chunk
from sensequant.market.store import BarStore
from sensequant.records import Finite, Record

__all__ = [
    "BackfillOutcome",
    "BackfillReport",
    "LeftToDo",
    "begin_backfill",
    "last_final_session",
    "plan_backfill",
    "run_backfill",
    "summarise",
]

_RECENT = timedelta(days=45)


class BackfillOutcome(StrEnum):
    """How a backfill ended."""

    COMPLETED = "completed"
    NOTHING_TO_DO = "nothing_to_do"
    DEGRADED = "degraded"
    """Some chunks failed; they are left to do."""

    STOPPED = "stopped"
    """The source answers no more: limit of the day, or the login."""

    FAILED = "failed"
    """No chunk came through."""


class LeftToDo(Record):
    """Chunks of one symbol and interval that are left to do."""

    symbol: str
    interval: Interval
    n_chunks: int = Field(ge=1)
    start: date | None
    end: date | None


class BackfillReport(Record):
    """What a backfill did, in numbers that a person reads first."""

    outcome: BackfillOutcome
    n_planned: int
    n_by_outcome: dict[str, int]
    n_by_reason: dict[str, int]
    n_by_finding: dict[str, int]
    n_bars: int
    n_added: int
    n_changed: int
    n_final_changed: int
    n_quarantined: int
    n_missing_sessions: int
    n_missing_bars: int
    """Bars that settled intraday sessions lack of which others came."""

    n_pending_sessions: int
    n_calls: int
    """Calls of the chunks that say what they cost; a failed one does not."""

    n_calls_today: int | None
    """Calls of the key on this day in India, of whomever; None of a source without calls."""

    n_calls_left_today: int | None
    n_sessions: int
    n_sessions_covered: int
    hit_rate_frac: Finite | None
    """Share of the sessions asked for that needed no call; None where that is not counted."""

    n_left: int
    left: tuple[LeftToDo, ...]
    seconds: Finite

    @property
    def counts(self) -> dict[str, int]:
        """The counts that the ledger keeps of a backfill."""
        names = (
            "n_planned",
            "n_bars",
            "n_added",
            "n_changed",
            "n_quarantined",
            "n_calls",
            "n_left",
        )
        return {
            **{name: getattr(self, name) for name in names},
            **{f"n_{outcome}": count for outcome, count in self.n_by_outcome.items()},
        }


def plan_backfill(
    request: BackfillRequest, options: BackfillOptions, context: IngestContext, *, universes: Path
) -> ChunkPlan:
    """Return the chunks that a request leaves to do; the source's indices come with daily bars.

    Parameters
    ----------
    request, options
        What is asked for, and how.
    context
        Source, store, ledger, calendar and clock.
    universes
        Folder of the dated lists of symbols.

    Raises
    ------
    ConfigError
        The universe, a date or an interval cannot be served.
    """
    now = context.clock()
    source = context.source
    symbols = selected_symbols(
        request, universes=universes, as_of=request.start, available=source.symbols
    )
    indices = source.indices() if DAILY in request.intervals else ()
    end = request.last_session(context.calendar, now)
    if end < request.start:
        # The range begins after the last session that has closed.
        return ChunkPlan((), 0, 0)
    mode = PlanMode.INCREMENTAL if options.incremental else PlanMode.MISSING
    return plan_chunks(
        source,
        Asked((*symbols, *indices), request.intervals, request.start, end),
        calendar=context.calendar,
        now=now,
        known=Known(
            context.covered,
            lambda symbol, interval: last_final_session(context.store, symbol, interval, now=now),
        ),
        mode=PlanMode.FORCE if options.force else mode,
    )


def last_final_session(
    store: BarStore, symbol: str, interval: Interval, *, now: datetime
) -> date | None:
    """Return the last session whose stored bars are all final, or None if there is none."""
    recent = session_date_of(now) - _RECENT
    # Mostly the last files tell; only a symbol that has not been fetched for long needs them all.
    for start in (recent, None):
        stored = store.sessions_stored(symbol, interval, start=start)
        final = stored.filter(pl.col("n_final") == pl.col("n_bars"))["session"].to_list()
        if final:
            return final[-1]
    return None


def begin_backfill(
    request: BackfillRequest,
    options: BackfillOptions,
    context: IngestContext,
    *,
    universes: Path,
    started_at: datetime,
) -> ChunkPlan:
    """Write down what is asked for, keep the source's corporate actions, and plan the chunks.

    Parameters
    ----------
    request, options
        What is asked for, and how.
    context
        Source, store, ledger; with `backfill_id`, the ledger keeps the backfill, too.
    universes
        Folder of the dated lists of symbols.
    started_at
        Aware instant.

    Raises
    ------
    ConfigError, StorageError
        As `run_backfill`.
    """
    if context.backfill_id is not None:
        context.ledger.begin_backfill(
            context.backfill_id,
            request=request.resolved().model_dump(mode="json"),
            started_at=started_at,
        )
    actions = context.source.actions()
    if not actions.is_empty():
        context.store.write_actions(actions)
    return plan_backfill(request, options, context, universes=universes)


def run_backfill(
    request: BackfillRequest, options: BackfillOptions, context: IngestContext, *, universes: Path
) -> BackfillReport:
    """Fetch what a request leaves to do with threads, each chunk once, and report.

    Parameters
    ----------
    request, options
        What is asked for, and how.
    context
        Source, store, ledger; with `backfill_id`, the ledger keeps the backfill, too.
    universes
        Folder of the dated lists of symbols.

    Raises
    ------
    ConfigError
        The request cannot be served.
    StorageError
        Store or ledger cannot be written; what is done is done, the rest is left to do.
    """
    started = context.clock()
    plan = begin_backfill(request, options, context, universes=universes, started_at=started)
    results = _ingest_all(plan.chunks, options, context)
    report = summarise(plan, results, context=context, started_at=started)
    if context.backfill_id is not None:
        context.ledger.end_backfill(
            context.backfill_id,
            outcome=report.outcome.value,
            counts=report.counts,
            ended_at=context.clock(),
        )
    return report


def summarise(
    plan: ChunkPlan, results: Iterable[ChunkResult], *, context: IngestContext, started_at: datetime
) -> BackfillReport:
    """Add up the results of a plan; a chunk without a result is left to do.

    Parameters
    ----------
    plan
        What was to be done.
    results
        At most one per chunk of the plan, in any order; failures as `ChunkResult.from_error`.
    context
        Ledger, key and clock.
    started_at
        Aware instant at which the backfill began.
    """
    told = list(results)
    n_by_outcome = _counted(result.outcome.value for result in told)
    done = {result.chunk for result in told if result.is_done}
    left = [chunk for chunk in plan.chunks if chunk not in done]
    n_today, n_left_today = _calls_of_today(context)
    n_sessions = plan.n_sessions
    return BackfillReport(
        outcome=_outcome_of(plan, n_by_outcome, n_left=len(left)),
        n_planned=len(plan.chunks),
        n_by_outcome=n_by_outcome,
        n_by_reason=_counted(result.reason for result in told if result.reason is not None),
        n_by_finding=_counted(finding for result in told for finding in result.findings),
        **{name: sum(getattr(result, name) for result in told) for name in _SUMMED},
        n_calls=sum(result.n_calls or 0 for result in told),
        n_calls_today=n_today,
        n_calls_left_today=n_left_today,
        n_sessions=n_sessions,
        n_sessions_covered=plan.n_sessions_covered,
        hit_rate_frac=plan.n_sessions_covered / n_sessions if n_sessions else None,
        n_left=len(left),
        left=_by_symbol(left),
        seconds=max(0.0, (context.clock() - started_at).total_seconds()),
    )


_SUMMED = (
    "n_bars",
    "n_added",
    "n_changed",
    "n_final_changed",
    "n_quarantined",
    "n_missing_sessions",
    "n_missing_bars",
    "n_pending_sessions",
)


def _ingest_all(
    chunks: Iterable[Chunk], options: BackfillOptions, context: IngestContext
) -> list[ChunkResult]:
    is_over = threading.Event()

    def ingest(chunk: Chunk) -> ChunkResult | None:
        # Whoever has not begun need not find out for himself.
        if is_over.is_set():
            return None
        try:
            return ingest_chunk(chunk, context, is_forced=options.force)
        except (StorageError, LeakageError):
            is_over.set()
            raise
        except StopSourceError as error:
            is_over.set()
            return ChunkResult.from_error(chunk, error)
        except Exception as error:  # noqa: BLE001 - it becomes a result; the chunk is left to do
            return ChunkResult.from_error(chunk, error)

    with ThreadPoolExecutor(options.workers, thread_name_prefix="ingest") as pool:
        return [result for result in pool.map(ingest, chunks) if result is not None]


def _outcome_of(plan: ChunkPlan, n_by_outcome: dict[str, int], *, n_left: int) -> BackfillOutcome:
    if not plan.chunks:
        return BackfillOutcome.NOTHING_TO_DO
    if ChunkOutcome.STOPPED in n_by_outcome:
        return BackfillOutcome.STOPPED
    if n_left == len(plan.chunks):
        return BackfillOutcome.FAILED
    return BackfillOutcome.DEGRADED if n_left else BackfillOutcome.COMPLETED


def _by_symbol(chunks: Iterable[Chunk]) -> tuple[LeftToDo, ...]:
    groups: dict[tuple[str, Interval], list[Chunk]] = {}
    for chunk in chunks:
        groups.setdefault((chunk.symbol, chunk.interval), []).append(chunk)
    return tuple(
        LeftToDo(
            symbol=symbol,
            interval=interval,
            n_chunks=len(group),
            start=group[0].start,
            end=group[-1].end,
        )
        for (symbol, interval), group in sorted(groups.items())
    )


def _calls_of_today(context: IngestContext) -> tuple[int | None, int | None]:
    key = context.key
    if key is None:
        return None, None
    n_today = context.ledger.calls_used(key.key_digest, session_date_of(context.clock()))
    return n_today, max(0, key.calls_per_day - n_today)


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))
