"""What a stored table holds, and how a delivery is merged into it.

Belongs here: the columns of stored tables, the merge of delivered bars with stored ones, and the
count of what it did; all of it without a disk. Does not belong here: files (`store`), when a bar is
final (`finality`).

The merge knows four cases. A bar that is not there is added. One with the values of the stored bar
leaves it as it is, with the time of its first fetch, or confirms it: then it becomes final. One
with other values takes the place of the stored bar, which becomes a revision. A stored bar that is
not delivered again stays.
"""

import dataclasses
import itertools
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import polars as pl

from sensequant.errors import RecordError, StorageError
from sensequant.market.bars import BAR_KEY, BAR_SCHEMA, Interval, bar_key, bar_schema
from sensequant.market.finality import Finality
from sensequant.market.intervals import bars_in_range, is_intraday
from sensequant.market.quality import QUARANTINE_SCHEMA
from sensequant.market.store_layout import next_part_start, part_of
from sensequant.records import Record
from sensequant.storage import read_table

__all__ = [
    "INSTANT",
    "QUARANTINED_SCHEMA",
    "SESSIONS_SCHEMA",
    "STORED_SCHEMA",
    "Merged",
    "PartitionReport",
    "WriteReport",
    "is_settled",
    "merge_bars",
    "merge_quarantine",
    "merge_revisions",
    "parts_of_bars",
    "read_with_schema",
    "require_one_kind",
    "revision_schema",
    "runs_of",
    "stored_schema",
]

INSTANT = pl.Datetime("us", "UTC")
"""When bars were fetched or replaced."""


def stored_schema(interval: Interval) -> pl.Schema:
    """Return the columns of stored bars.

    `fetched_at` is when the value was fetched for the first time, `is_final` whether it is settled
    (`market.finality`).
    """
    return pl.Schema({**bar_schema(interval), "fetched_at": INSTANT, "is_final": pl.Boolean()})


def revision_schema(interval: Interval) -> pl.Schema:
    """Return the columns of the former values of bars, `replaced_at` when they were replaced."""
    return pl.Schema({**stored_schema(interval), "replaced_at": INSTANT})


STORED_SCHEMA = stored_schema("1day")
"""Daily bars as stored."""

QUARANTINED_SCHEMA = pl.Schema({**QUARANTINE_SCHEMA, "source": pl.String(), "fetched_at": INSTANT})
"""Refused rows as stored: from which source, and when they were delivered for the first time."""

SESSIONS_SCHEMA = pl.Schema({"session": pl.Date(), "n_bars": pl.Int32(), "n_final": pl.Int32()})
"""How many bars of a session are stored, and how many of them are final."""

_VALUES = tuple(name for name in BAR_SCHEMA if name not in BAR_KEY)
_QUARANTINE_KEY = ("session", "starts_at", "raw_values", "reason", "source")


class PartitionReport(Record):
    """What a write did to one file, in bars.

    The delivered bars are those added, changed and unchanged; they are also those that are final
    now and those that are provisional.
    """

    symbol: str
    part: str
    """Name of the part, such as `year=2024` or `month=2024-03`."""

    n_added: int
    n_changed: int
    n_unchanged: int
    n_final: int
    n_provisional: int

    n_confirmed: int
    """Unchanged ones that became final."""

    n_final_changed: int
    """Changed ones that had been final."""


class WriteReport(Record):
    """What a write did, file by file."""

    partitions: tuple[PartitionReport, ...]

    @property
    def n_added(self) -> int:
        """Bars that were not there."""
        return sum(part.n_added for part in self.partitions)

    @property
    def n_changed(self) -> int:
        """Bars that were there with other values."""
        return sum(part.n_changed for part in self.partitions)

    @property
    def n_unchanged(self) -> int:
        """Bars that were there with the same values."""
        return sum(part.n_unchanged for part in self.partitions)

    @property
    def n_final(self) -> int:
        """Delivered bars that are final now."""
        return sum(part.n_final for part in self.partitions)

    @property
    def n_provisional(self) -> int:
        """Delivered bars that may still change."""
        return sum(part.n_provisional for part in self.partitions)

    @property
    def n_confirmed(self) -> int:
        """Bars that became final because they were delivered again unchanged."""
        return sum(part.n_confirmed for part in self.partitions)

    @property
    def n_final_changed(self) -> int:
        """Bars that had been final and were delivered with other values."""
        return sum(part.n_final_changed for part in self.partitions)


@dataclasses.dataclass(frozen=True, slots=True)
class Merged:
    """What becomes of a part of the store.

    Parameters
    ----------
    table
        All bars of the part, sorted; None where nothing changes.
    replaced
        Stored bars whose values are replaced.
    report
        What was done.
    """

    table: pl.DataFrame | None
    replaced: pl.DataFrame
    report: PartitionReport


def runs_of(frame: pl.DataFrame, sorted_by: pl.Series) -> list[pl.DataFrame]:
    """Cut a frame where a sorted series of its rows changes; nothing is copied."""
    if frame.height and sorted_by[0] == sorted_by[-1]:
        return [frame]
    lengths: list[int] = sorted_by.rle().struct.field("len").to_list()
    starts = itertools.accumulate(lengths, initial=0)
    return [frame.slice(start, length) for start, length in zip(starts, lengths, strict=False)]


def parts_of_bars(bars: pl.DataFrame, interval: Interval) -> dict[str, pl.DataFrame]:
    """Cut the bars of one symbol, sorted, into the parts of a store, by name; nothing is copied."""
    sessions: list[date] = bars["session"].to_list()
    parts: dict[str, pl.DataFrame] = {}
    first = 0
    while first < len(sessions):
        after = bisect_left(sessions, next_part_start(sessions[first], interval))
        parts[part_of(sessions[first], interval)] = bars.slice(first, after - first)
        first = after
    return parts


def is_settled(finality: Finality | None) -> pl.Expr:
    """Return whether a delivered bar is final at first sight."""
    # A publisher's history does not change any more.
    return pl.lit(value=True) if finality is None else _through(finality.settled_through)


def merge_bars(
    old: pl.DataFrame,
    new: pl.DataFrame,
    *,
    part: str,
    interval: Interval,
    finality: Finality | None,
) -> Merged:
    """Merge delivered bars into the stored ones of the same part.

    Parameters
    ----------
    old
        Stored bars (`stored_schema`), perhaps none.
    new
        Delivered bars of the same symbol (`stored_schema`), at least one; final are those that
        are so at first sight.
    part
        Name of the part, for the report.
    interval
        Length of the bars.
    finality
        Which bars are final; None: all, because a publisher's history is delivered.
    """
    key = bar_key(interval)[1]
    if _is_later(old, new, key) or not new[key].is_in(old[key].implode()).any():
        return _added(old, new, part=part, interval=interval)
    told = _told(old, new, key=key)
    is_final = _is_final(told, old, interval, finality)
    told = told.with_columns(is_final.alias("is_final"))
    report = _report(told, part=part)
    if report.n_added + report.n_changed + report.n_confirmed == 0:
        return Merged(None, old.clear(), report)
    is_same = pl.col("is_same")
    delivered = told.with_columns(
        fetched_at=pl.when(is_same).then("former_fetched_at").otherwise("fetched_at")
    ).select(old.columns)
    kept = old.join(new.select(key), on=key, how="anti")
    changed = told.filter(pl.col("is_known") & ~is_same).select(key)
    return Merged(
        pl.concat([kept, delivered]).sort(key), old.join(changed, on=key, how="semi"), report
    )


def merge_revisions(
    known: pl.DataFrame, replaced: pl.DataFrame, interval: Interval
) -> pl.DataFrame:
    """Append former values of bars to those on record.

    Parameters
    ----------
    known, replaced
        Tables in `revision_schema`.
    interval
        Length of the bars.
    """
    # A writer that died after this step and ran again must not record the same loss twice.
    columns = stored_schema(interval).names()
    merged = pl.concat([known, replaced]).unique(subset=columns, keep="first", maintain_order=True)
    return merged.sort(bar_key(interval)[1], "replaced_at", maintain_order=True)


def merge_quarantine(known: pl.DataFrame, refused: pl.DataFrame) -> pl.DataFrame:
    """Append refused rows to those on record; a row that is delivered again is there already.

    Parameters
    ----------
    known, refused
        Tables in `QUARANTINED_SCHEMA`.
    """
    merged = pl.concat([known, refused]).unique(
        subset=_QUARANTINE_KEY, keep="first", maintain_order=True
    )
    return merged.sort(_QUARANTINE_KEY)


def read_with_schema(paths: Sequence[Path], schema: pl.Schema) -> pl.DataFrame:
    """Read tables of one kind as one; without any, an empty table.

    Raises
    ------
    RecordError
        A file is damaged or has other columns.
    """
    tables = [_with_schema(path, schema) for path in paths]
    return pl.concat(tables) if tables else schema.to_frame()


def require_one_kind(bars: pl.DataFrame, olds: Iterable[pl.DataFrame], folder: Path) -> None:
    """Raise if simulated and real bars of a symbol would meet in a folder.

    Raises
    ------
    StorageError
        They would.
    """
    # One file speaks for all: every write has passed this check.
    tables = [bars, *itertools.islice(olds, 1)]
    kinds = {
        kind for each in tables for kind in (each["is_simulated"].any(), each["is_simulated"].all())
    }
    if len(kinds) > 1:
        raise StorageError(
            "simulated and real bars of one symbol would meet",
            where=str(folder),
            expected="only real or only simulated bars",
            found="both, or one kind on top of the other",
            remedy="choose another SENSEQUANT_HOME for simulated bars",
        )


def _with_schema(path: Path, schema: pl.Schema) -> pl.DataFrame:
    frame = read_table(path)
    if frame.schema != schema:
        raise RecordError(
            "table has other columns than its kind",
            where=str(path),
            expected=", ".join(f"{name} {dtype}" for name, dtype in schema.items()),
            found=", ".join(f"{name} {dtype}" for name, dtype in frame.schema.items()),
            remedy="ingest it again with this version of sensequant",
        )
    return frame


def _added(old: pl.DataFrame, new: pl.DataFrame, *, part: str, interval: Interval) -> Merged:
    key = bar_key(interval)[1]
    table = pl.concat([old, new]) if len(old) else new
    table = table if _is_later(old, new, key) else table.sort(key)
    n_final = int(new["is_final"].sum())
    report = PartitionReport(
        symbol=new["symbol"][0],
        part=part,
        n_added=new.height,
        n_changed=0,
        n_unchanged=0,
        n_final=n_final,
        n_provisional=new.height - n_final,
        n_confirmed=0,
        n_final_changed=0,
    )
    return Merged(table, old.clear(), report)


def _is_later(old: pl.DataFrame, new: pl.DataFrame, key: str) -> bool:
    # Both are sorted.
    return old.is_empty() or bool(old[key][-1] < new[key][0])


def _told(old: pl.DataFrame, new: pl.DataFrame, *, key: str) -> pl.DataFrame:
    former = old.select(
        key,
        pl.col("is_final").alias("was_final"),
        pl.col("fetched_at", *_VALUES).name.prefix("former_"),
    )
    is_known = pl.col("former_fetched_at").is_not_null()
    is_equal = [pl.col(name).eq_missing(pl.col(f"former_{name}")) for name in _VALUES]
    both = new.join(former, on=key, how="left", maintain_order="left")
    return both.with_columns(is_known=is_known, is_same=pl.all_horizontal(is_known, *is_equal))


def _is_final(
    told: pl.DataFrame, old: pl.DataFrame, interval: Interval, finality: Finality | None
) -> pl.Series:
    if finality is None:
        return pl.repeat(value=True, n=told.height, eager=True)
    age = pl.col("fetched_at") - pl.col("former_fetched_at")
    is_confirmed = _through(finality.confirmable_through) & (age >= finality.confirm_after)
    if is_intraday(interval):
        is_doubtful = pl.col("is_same") & ~pl.col("was_final") & is_confirmed
        doubtful = told.filter(is_doubtful)["session"].unique()
        whole = _whole_sessions(doubtful, told=told, old=old, interval=interval, finality=finality)
        is_confirmed &= pl.col("session").is_in(whole.implode())
    is_kept = pl.col("is_same") & (pl.col("was_final") | is_confirmed)
    return told.select((pl.col("is_final") | is_kept).fill_null(value=False)).to_series()


def _through(last: date | None) -> pl.Expr:
    return pl.lit(value=False) if last is None else pl.col("session") <= last


def _whole_sessions(
    sessions: pl.Series,
    *,
    told: pl.DataFrame,
    old: pl.DataFrame,
    interval: Interval,
    finality: Finality,
) -> pl.Series:
    if sessions.is_empty():
        return sessions
    keys = ["session", "starts_at"]
    there = pl.concat([old.select(keys), told.select(keys)]).unique()
    counts = there.group_by("session").agg(pl.len().alias("n_bars"))
    first, last = sessions.sort()[0], sessions.sort()[-1]
    expected = bars_in_range(finality.calendar, first, last, interval)
    compared = counts.join(expected, on="session")
    # Where nobody knows how many bars there should be, none can be missed.
    is_whole = (pl.col("n_bars") >= pl.col("n_expected")).fill_null(value=True)
    return compared.filter(is_whole)["session"]


def _report(told: pl.DataFrame, *, part: str) -> PartitionReport:
    is_known, is_same = told["is_known"], told["is_same"]
    is_final, was_final = told["is_final"], told["was_final"].fill_null(value=False)
    n_known, n_same, n_final = int(is_known.sum()), int(is_same.sum()), int(is_final.sum())
    return PartitionReport(
        symbol=told["symbol"][0],
        part=part,
        n_added=told.height - n_known,
        n_changed=n_known - n_same,
        n_unchanged=n_same,
        n_final=n_final,
        n_provisional=told.height - n_final,
        n_confirmed=int((is_same & is_final & ~was_final).sum()),
        n_final_changed=int((is_known & ~is_same & was_final).sum()),
    )
