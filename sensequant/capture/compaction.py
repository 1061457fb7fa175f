"""From the files of a capture to the store.

Belongs here: judging what was captured and bringing it to the store, symbol by symbol; removing
files that are in it. Does not belong here: the judgement (`books`).

A compaction that is killed leaves files that are brought again; what is in the store already is
known there and adds nothing.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import polars as pl

from sensequant.capture.books import books_of, refused_ticks
from sensequant.capture.parts import captured_sessions, gap_files, tick_files
from sensequant.context.depth import DEPTH
from sensequant.context.depth_gaps import DEPTH_GAPS
from sensequant.context.store import ContextStore, WriteCounts
from sensequant.market.sessions import SessionCalendar
from sensequant.storage import locked, read_table, remove_unfinished

__all__ = ["Compacted", "compact_captured"]

_TICKS_AT_ONCE = 500_000
"""Ticks that are judged at once, so that memory depends on no length of a session."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What became of captured ticks.

    Attributes
    ----------
    counts
        Books that are new in the store, correct one, or were there.
    refused
        Refused ticks by reason.
    sessions
        Whose files were brought.
    """

    counts: WriteCounts = field(default_factory=WriteCounts)
    refused: Counter[str] = field(default_factory=Counter[str])
    sessions: tuple[date, ...] = ()


def compact_captured(
    store: ContextStore,
    *,
    calendar: SessionCalendar,
    source: str,
    compacted_at: datetime,
    keep: date | None = None,
) -> Compacted:
    """Bring everything that was captured to the store, and remove its files.

    Parameters
    ----------
    store
        Where to; the files lie below its folder.
    calendar
        The NSE calendar.
    source
        Who sent it.
    compacted_at
        Aware time of the delivery.
    keep
        A session that is left alone, because it is being captured.

    Raises
    ------
    StorageError
        The disk refuses.
    RecordError
        A file is damaged.
    """
    root, counts, refused = store.root, WriteCounts(), Counter[str]()
    sessions = [session for session in captured_sessions(root) if session != keep]
    for session in sessions:
        folder = tick_files(root, session) + gap_files(root, session)
        with locked(folder[0].parent):
            remove_unfinished(folder[0].parent)
            paths = tick_files(root, session)
            for ticks in _batches(paths):
                counts += _bring(ticks, store, calendar, source, compacted_at, refused)
            gaps = gap_files(root, session)
            if gaps:
                found = pl.concat([read_table(path) for path in gaps]).unique(
                    DEPTH_GAPS.key, keep="last", maintain_order=True
                )
                store.write(DEPTH_GAPS, found, written_at=compacted_at)
            for path in (*paths, *gaps):
                path.unlink()
    return Compacted(counts, refused, tuple(sessions))


def _batches(paths: list[Path]) -> Iterator[pl.DataFrame]:
    """Give whole symbols at a time; the ticks without a symbol last."""
    if not paths:
        return
    scanned = pl.scan_parquet(paths)
    sizes = scanned.group_by("symbol").len().sort("symbol", nulls_last=True).collect()
    group: list[str | None] = []
    n_ticks = 0
    for symbol, size in sizes.iter_rows():
        if group and n_ticks + size > _TICKS_AT_ONCE:
            yield scanned.filter(pl.col("symbol").is_in(group, nulls_equal=True)).collect()
            group, n_ticks = [], 0
        group.append(symbol)
        n_ticks += size
    yield scanned.filter(pl.col("symbol").is_in(group, nulls_equal=True)).collect()


def _bring(
    ticks: pl.DataFrame,
    store: ContextStore,
    calendar: SessionCalendar,
    source: str,
    at: datetime,
    refused: Counter[str],
) -> WriteCounts:
    counts = WriteCounts()
    # Files of two captures are read one after the other; their ticks came in the order of time.
    ordered = ticks.sort("received", maintain_order=True)
    kept: list[pl.DataFrame] = []
    for part in ordered.partition_by("symbol", maintain_order=True):
        judged = (
            refused_ticks(part, source=source, judged_at=at)
            if part["symbol"][0] is None
            else books_of(
                part,
                calendar=calendar,
                source=source,
                is_simulated=store.is_simulated,
                judged_at=at,
            )
        )
        counts += store.write(DEPTH, judged.rows, written_at=at)
        kept.append(judged.refused)
        refused.update(judged.n_refused)
    store.refuse(DEPTH, pl.concat(kept))
    return counts
