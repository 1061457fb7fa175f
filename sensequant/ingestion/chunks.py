"""One chunk's way from the source into the store, and what the ledger keeps of it.

Belongs here: the order of the steps and what each kind of failure leaves behind. Does not belong
here: which chunks there are (`planning`), many chunks (`backfill`), what an answer means
(`verdicts`), when a failed one is tried again (tasks).

The steps are: claim, see what is still left to do, fetch, write bars, write quarantine, record.
Whether calls are stopped is asked where they are counted, before each of them (`pacing`). A writer
that dies between any two steps leaves nothing that doing the chunk again does not make right: bars
that are delivered again change no byte, and the ledger tells of a chunk only once its bars are in
the store.
"""

import dataclasses
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, NamedTuple, Self

import polars as pl

from sensequant.errors import (
    DataError,
    MalformedReplyError,
    MissingBarsError,
    StopSourceError,
    StorageError,
)
from sensequant.ingestion.claims import claimed
from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.ledger_records import ChunkEntry, ChunkOutcome
from sensequant.ingestion.planning import uncovered_runs
from sensequant.ingestion.verdicts import NO_VERDICT, Verdict, judge
from sensequant.market.bars import bar_schema
from sensequant.market.intervals import Interval
from sensequant.market.quality import QUARANTINE_SCHEMA
from sensequant.market.sources.base import Chunk
from sensequant.records import Finite, Record

__all__ = ["ChunkResult", "ingest_chunk"]

_MALFORMED_REPLY = "malformed_reply"
_LONGEST_MESSAGE = 4000


class ChunkResult(Record):
    """What became of one chunk, as its caller is told; `start` and `end` as they were planned."""

    symbol: str
    interval: Interval
    start: date | None
    end: date | None
    outcome: ChunkOutcome
    reason: str | None = None
    n_rows: int = 0
    n_bars: int = 0
    n_added: int = 0
    n_changed: int = 0
    n_unchanged: int = 0
    n_final_changed: int = 0
    n_quarantined: int = 0
    n_duplicates_dropped: int = 0
    n_missing_sessions: int = 0
    n_missing_bars: int = 0
    n_pending_sessions: int = 0
    n_calls: int | None = None
    source_digest: str | None = None
    findings: tuple[str, ...] = ()
    error_type: str | None = None
    error_message: str | None = None
    seconds: Finite = 0.0

    @property
    def chunk(self) -> Chunk:
        """What was asked for."""
        return Chunk(self.symbol, self.interval, self.start, self.end)

    @property
    def is_done(self) -> bool:
        """Whether nothing of the chunk is left to do."""
        return self.outcome not in {ChunkOutcome.FAILED, ChunkOutcome.STOPPED}

    @classmethod
    def from_error(cls, chunk: Chunk, error: Exception) -> Self:
        """Describe the error that `ingest_chunk` raised."""
        is_stop = isinstance(error, StopSourceError)
        outcome = ChunkOutcome.STOPPED if is_stop else ChunkOutcome.FAILED
        return cls.model_validate({**dataclasses.asdict(chunk), "outcome": outcome, **_told(error)})


_COUNTS_OF_A_WRITE = ("n_added", "n_changed", "n_unchanged", "n_final_changed")
_IN_BOTH = (ChunkEntry.model_fields.keys() & ChunkResult.model_fields.keys()) - {"schema_version"}


class _Delivery(NamedTuple):
    bars: pl.DataFrame
    quarantine: pl.DataFrame
    facts: dict[str, Any]


def ingest_chunk(chunk: Chunk, context: IngestContext, *, is_forced: bool = False) -> ChunkResult:
    """Fetch one chunk into the store and record it.

    Parameters
    ----------
    chunk
        What to fetch. Where a part of it has been fetched by others since it was planned, only the
        rest is asked for; where all of it has, the outcome is `present` and no call is made.
    context
        Source, store, ledger.
    is_forced
        Fetch it whatever the ledger knows.

    Returns
    -------
    ChunkResult
        `stored`, `empty` (with the reason; also where the source does not know the symbol or
        delivers what cannot be read), or `present`.

    Raises
    ------
    StopSourceError
        Nobody may call any more. The chunk is left to do.
    StorageError
        Store or ledger cannot be written. The chunk is left to do.
    Exception
        Anything else that the source or the store raises; the ledger holds type and message.
    """
    size = context.source.sessions_per_chunk(chunk.interval)
    with claimed(chunk, store_key=context.store_key, size=size, folder=context.claims):
        left = chunk if is_forced else _left_of(chunk, context)
        if left is None:
            return ChunkResult.model_validate(
                {**dataclasses.asdict(chunk), "outcome": ChunkOutcome.PRESENT}
            )
        result = _ingest(left, context)
    return result.model_copy(update={"start": chunk.start, "end": chunk.end})


def _left_of(chunk: Chunk, context: IngestContext) -> Chunk | None:
    if chunk.start is None or chunk.end is None:
        return chunk
    sessions = context.calendar.sessions(chunk.start, chunk.end)
    runs = uncovered_runs(sessions, context.covered(chunk.symbol, chunk.interval))
    if not runs:
        return None
    return dataclasses.replace(chunk, start=runs[0][0], end=runs[-1][-1])


def _ingest(chunk: Chunk, context: IngestContext) -> ChunkResult:
    fetched_at = context.clock()
    try:
        return _fetch_and_store(chunk, context, fetched_at)
    except StorageError:
        # Nothing can be written, the ledger's entry hardly either.
        raise
    except DataError as error:
        facts = {"outcome": ChunkOutcome.EMPTY, **_told(error)}
        return _record(chunk, context, fetched_at, facts)
    except Exception as error:
        _record_failure(chunk, context, fetched_at, error)
        raise


def _fetch_and_store(chunk: Chunk, context: IngestContext, fetched_at: datetime) -> ChunkResult:
    fetched = _fetched(chunk, context)
    outcome = ChunkOutcome.EMPTY
    counts: dict[str, int] = {}
    if not fetched.bars.is_empty():
        outcome = ChunkOutcome.STORED
        written = context.store.write(
            fetched.bars,
            interval=chunk.interval,
            fetched_at=fetched_at,
            finality=context.finality_at(fetched_at),
        )
        counts = {name: getattr(written, name) for name in _COUNTS_OF_A_WRITE}
    _keep_refused(fetched.quarantine, chunk, context, fetched_at)
    verdict = judge(chunk, fetched.bars, fetched.quarantine, context=context, fetched_at=fetched_at)
    facts = {
        "outcome": outcome,
        "n_bars": fetched.bars.height,
        "n_quarantined": fetched.quarantine.height,
        **counts,
        **fetched.facts,
    }
    return _record(chunk, context, fetched_at, facts, verdict)


def _fetched(chunk: Chunk, context: IngestContext) -> _Delivery:
    try:
        fetched = context.source.fetch(chunk)
    except MissingBarsError as error:
        # Some sources say so where others deliver no rows.
        nothing = bar_schema(chunk.interval).to_frame()
        return _Delivery(nothing, QUARANTINE_SCHEMA.to_frame(), {"error_message": str(error)})
    facts = {
        "n_rows": fetched.report.n_rows_read,
        "n_duplicates_dropped": fetched.report.n_duplicates_dropped,
        "source_digest": fetched.source_digest,
        "n_calls": fetched.n_calls,
        "findings": fetched.findings,
    }
    return _Delivery(fetched.bars, fetched.quarantine, facts)


def _keep_refused(
    rows: pl.DataFrame, chunk: Chunk, context: IngestContext, fetched_at: datetime
) -> None:
    if not rows.is_empty():
        context.store.write_quarantine(
            chunk.symbol,
            rows,
            interval=chunk.interval,
            fetched_at=fetched_at,
            source=context.source.name,
        )


def _record_failure(
    chunk: Chunk, context: IngestContext, fetched_at: datetime, error: Exception
) -> None:
    facts: dict[str, Any] = {"outcome": ChunkOutcome.FAILED, **_told(error)}
    if isinstance(error, StopSourceError):
        facts["outcome"] = ChunkOutcome.STOPPED
    elif isinstance(error, MalformedReplyError) and error.raw:
        row = {"symbol": chunk.symbol, "reason": _MALFORMED_REPLY, "raw_values": error.raw}
        _keep_refused(pl.DataFrame([row], schema=QUARANTINE_SCHEMA), chunk, context, fetched_at)
        facts["n_quarantined"] = 1
    _record(chunk, context, fetched_at, facts)


def _record(
    chunk: Chunk,
    context: IngestContext,
    fetched_at: datetime,
    facts: Mapping[str, Any],
    verdict: Verdict = NO_VERDICT,
) -> ChunkResult:
    result = ChunkResult.model_validate(
        {
            **dataclasses.asdict(chunk),
            "reason": verdict.reason,
            "n_missing_sessions": len(verdict.missing),
            "n_missing_bars": verdict.n_missing_bars,
            "n_pending_sessions": verdict.n_pending,
            "seconds": max(0.0, (context.clock() - fetched_at).total_seconds()),
            **facts,
        }
    )
    context.ledger.record(
        ChunkEntry.model_validate(
            {
                **{name: getattr(result, name) for name in _IN_BOTH},
                "store_key": context.store_key,
                "source": context.source.name,
                "missing_sessions": verdict.missing,
                "settled_through": verdict.settled_through,
                "fetched_at": fetched_at,
                "backfill_id": context.backfill_id,
            }
        )
    )
    return result


def _told(error: Exception) -> dict[str, Any]:
    return {
        "reason": _code_of(error),
        "error_type": type(error).__name__,
        "error_message": str(error)[:_LONGEST_MESSAGE],
    }


def _code_of(error: Exception) -> str:
    if isinstance(error, DataError):
        return error.reason
    words = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", words).lower()
