"""Bars, what is known against them, and corporate actions at rest.

Belongs here: reading and writing, one writer at a time, each file as a whole or not at all. Does
not belong here: which file lies where (`store_layout`), how a delivery is merged (`store_tables`),
writing bytes (`sensequant.storage`), the schema of bars (`bars`), when they are final (`finality`).

A bar that is delivered again with the same values keeps the time of its first fetch, so writing the
same bars again changes no byte. A bar with other values replaces the old one, which moves to the
revisions first; a writer that dies in between leaves the old bar in place. A bar that is not
delivered again stays. Simulated and real bars of one symbol never meet.

Who writes removes what a writer that was killed has left beside the tables of the same lock.

A final bar stays final however often it is delivered unchanged. Revisions and quarantine only grow;
disputes are the findings of the latest comparison and are replaced as a whole.
"""

import contextlib
from collections.abc import Generator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from sensequant.errors import (
    ConfigError,
    InvalidBarsError,
    MissingBarsError,
    RecordError,
)
from sensequant.market.actions import ACTION_SCHEMA, validate_actions
from sensequant.market.bars import Interval, bars_digest, validate_bars
from sensequant.market.crosscheck import DISPUTE_SCHEMA
from sensequant.market.finality import Finality
from sensequant.market.quality import QUARANTINE_SCHEMA
from sensequant.market.store_layout import StoreLayout, part_of, parts_within
from sensequant.market.store_tables import (
    INSTANT,
    QUARANTINED_SCHEMA,
    SESSIONS_SCHEMA,
    STORED_SCHEMA,
    PartitionReport,
    WriteReport,
    is_settled,
    merge_bars,
    merge_quarantine,
    merge_revisions,
    parts_of_bars,
    read_with_schema,
    require_one_kind,
    revision_schema,
    runs_of,
    stored_schema,
)
from sensequant.storage import locked, remove_unfinished, write_table, write_tables

__all__ = [
    "QUARANTINED_SCHEMA",
    "SESSIONS_SCHEMA",
    "STORED_SCHEMA",
    "BarStore",
    "PartitionReport",
    "WriteReport",
    "stored_schema",
]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BarStore:
    """The bars and corporate actions below one root folder.

    Parameters
    ----------
    root
        Root of all stored data; it is made when the first bar is written.
    """

    def __init__(self, root: Path) -> None:
        self._layout = StoreLayout(root)

    def write(
        self,
        frame: pl.DataFrame,
        *,
        interval: Interval,
        fetched_at: datetime,
        finality: Finality | None = None,
    ) -> WriteReport:
        """Merge bars into the store; each file changes as a whole or not at all.

        Parameters
        ----------
        frame
            Valid bars of any number of symbols (`market.bars.bar_schema`).
        interval
            Length of the bars.
        fetched_at
            Aware time at which they were fetched.
        finality
            Which bars are final at that time; None: all, because a publisher's history or a
            generated one is delivered, which does not change any more.

        Raises
        ------
        InvalidBarsError
            The bars are not valid.
        ConfigError
            `fetched_at` is naive.
        StorageError
            Simulated and real bars of a symbol would meet, or the disk refuses.
        RecordError
            A file of the store is damaged.
        """
        stamped = validate_bars(frame, interval).with_columns(
            fetched_at=_instant(fetched_at), is_final=is_settled(finality)
        )
        parts: list[PartitionReport] = []
        for bars in runs_of(stamped, stamped["symbol"]):
            parts += self._write_symbol(bars, interval, finality)
        return WriteReport(partitions=tuple(parts))

    def read(
        self,
        symbol: str,
        *,
        interval: Interval,
        start: date | None = None,
        end: date | None = None,
        final_only: bool = False,
    ) -> pl.DataFrame:
        """Return the bars of a symbol from session `start` to `end`, both included.

        Parameters
        ----------
        symbol
            The symbol.
        interval
            Length of the bars.
        start, end
            First and last session; None: all there are.
        final_only
            Whether to leave out bars that may still change and those of disputed sessions.

        Returns
        -------
        polars.DataFrame
            `stored_schema`, sorted; empty if the symbol has no such bar in the range.

        Raises
        ------
        MissingBarsError
            The store has no bar of the symbol at all.
        RecordError
            A file is damaged or has another schema.
        """
        parts = self._layout.parts(symbol, interval)
        if not parts:
            raise MissingBarsError(
                "store has no bars of the symbol",
                where=str(self._layout.folder(symbol, interval)),
                expected=f"at least one file {part_of(date.min, interval)}.parquet or later",
                found="none",
                remedy="ingest the symbol first",
            )
        chosen = parts_within(parts, start, end, interval)
        tables = [self._read_part(symbol, interval, part) for part in chosen]
        bars = pl.concat([stored_schema(interval).to_frame(), *tables])
        within = bars.filter(pl.col("session").is_between(start or date.min, end or date.max))
        if not final_only:
            return within
        disputed = self.disputes(symbol, interval)["session"].unique()
        return within.filter("is_final", ~pl.col("session").is_in(disputed.implode()))

    def sessions_stored(
        self,
        symbol: str,
        interval: Interval,
        *,
        start: date | None = None,
        end: date | None = None,
    ) -> pl.DataFrame:
        """Return how many bars of each session are stored, reading as little as that needs.

        Returns
        -------
        polars.DataFrame
            `SESSIONS_SCHEMA`, by session; empty if there are none.

        Raises
        ------
        RecordError
            A file is damaged.
        """
        parts = self._layout.parts(symbol, interval)
        paths = [parts[part] for part in parts_within(parts, start, end, interval)]
        if not paths:
            return SESSIONS_SCHEMA.to_frame()
        try:
            columns = pl.read_parquet(
                paths, columns=["session", "is_final"], hive_partitioning=False
            )
        except (OSError, pl.exceptions.PolarsError) as error:
            raise RecordError(
                "stored bars cannot be counted",
                where=str(self._layout.folder(symbol, interval)),
                expected="Parquet files of this project",
                found=str(error).splitlines()[0],
                remedy="remove the damaged file and ingest the symbol again",
            ) from error
        counted = columns.group_by("session").agg(n_bars=pl.len(), n_final=pl.col("is_final").sum())
        within = pl.col("session").is_between(start or date.min, end or date.max)
        return counted.filter(within).sort("session").cast(SESSIONS_SCHEMA)

    def symbols(self, interval: Interval) -> tuple[str, ...]:
        """Return the symbols that have bars, sorted."""
        return self._layout.symbols(interval)

    def digest(self, symbol: str, interval: Interval) -> str:
        """Return the digest of all bars of a symbol (`market.bars.bars_digest`)."""
        return bars_digest(self.read(symbol, interval=interval), interval)

    def revisions(self, symbol: str, interval: Interval) -> pl.DataFrame:
        """Return the former values of bars that changed, and when they were replaced."""
        paths = self._layout.all_revisions(symbol, interval)
        return read_with_schema(paths, revision_schema(interval))

    def write_quarantine(
        self,
        symbol: str,
        frame: pl.DataFrame,
        *,
        interval: Interval,
        fetched_at: datetime,
        source: str,
    ) -> int:
        """Keep rows that were delivered and refused; a row that is there is not added again.

        Parameters
        ----------
        symbol
            Symbol for which they were delivered.
        frame
            The rows (`market.quality.QUARANTINE_SCHEMA`).
        interval
            Length of the bars that were asked for.
        fetched_at
            Aware time of the delivery.
        source
            Name of the source.

        Returns
        -------
        int
            Number of rows added.

        Raises
        ------
        InvalidBarsError
            The frame has other columns, or rows of another symbol.
        ConfigError
            `fetched_at` is naive.
        """
        path = self._layout.quarantine(symbol, interval)
        stamped = _own(frame, symbol, QUARANTINE_SCHEMA).with_columns(
            source=pl.lit(source), fetched_at=_instant(fetched_at)
        )
        if stamped.is_empty():
            return 0
        with _alone_at(path):
            known = self.quarantine(symbol, interval)
            merged = merge_quarantine(known, stamped)
            if merged.height > known.height:
                write_table(path, merged)
        return merged.height - known.height

    def quarantine(self, symbol: str, interval: Interval) -> pl.DataFrame:
        """Return every refused row of a symbol (`QUARANTINED_SCHEMA`), undated ones first."""
        path = self._layout.quarantine(symbol, interval)
        return read_with_schema([path] if path.is_file() else [], QUARANTINED_SCHEMA)

    def write_disputes(self, symbol: str, frame: pl.DataFrame, *, interval: Interval) -> None:
        """Store what the latest comparison holds against a symbol's bars, in place of the former.

        An empty table says that the bars were compared and nothing was found. The file is left
        alone where nothing changes.

        Parameters
        ----------
        symbol
            The symbol.
        frame
            The disputes (`market.crosscheck.DISPUTE_SCHEMA`).
        interval
            Length of the bars in question.

        Raises
        ------
        InvalidBarsError
            The frame has other columns, or rows of another symbol.
        """
        path = self._layout.disputes(symbol, interval)
        found = _own(frame, symbol, DISPUTE_SCHEMA).unique().sort(DISPUTE_SCHEMA.names())
        with _alone_at(path):
            if not path.is_file() or not found.equals(self.disputes(symbol, interval)):
                write_table(path, found)

    def disputes(self, symbol: str, interval: Interval) -> pl.DataFrame:
        """Return what the latest comparison holds against a symbol's bars (`DISPUTE_SCHEMA`)."""
        path = self._layout.disputes(symbol, interval)
        return read_with_schema([path] if path.is_file() else [], DISPUTE_SCHEMA)

    def write_actions(self, actions: pl.DataFrame) -> None:
        """Store corporate actions; those of a source replace the former ones of that source.

        The file is left alone where nothing changes. Two sources may disagree here; the bars of
        that symbol then refuse to be adjusted (`market.adjustments.adjust_bars`).

        Raises
        ------
        InvalidBarsError
            The actions are not valid.
        """
        path = self._layout.actions()
        new = validate_actions(actions)
        with _alone_at(path):
            old = self.actions()
            kept = old.filter(~pl.col("source").is_in(new["source"].unique().implode()))
            merged = pl.concat([kept, new]).unique().sort(ACTION_SCHEMA.names())
            if not path.is_file() or not merged.equals(old):
                write_table(path, merged)

    def actions(self) -> pl.DataFrame:
        """Return the stored corporate actions, an empty frame if there are none."""
        path = self._layout.actions()
        return read_with_schema([path] if path.is_file() else [], ACTION_SCHEMA)

    def _write_symbol(
        self, bars: pl.DataFrame, interval: Interval, finality: Finality | None
    ) -> list[PartitionReport]:
        symbol: str = bars["symbol"][0]
        folder = self._layout.folder(symbol, interval)
        reports: list[PartitionReport] = []
        # The lock lies beside the folder, so one lock serves all parts and the revisions.
        with locked(folder):
            remove_unfinished(folder)
            news = parts_of_bars(bars, interval)
            olds = self._olds(symbol, interval, wanted=list(news))
            require_one_kind(bars, olds.values(), folder)
            none = stored_schema(interval).to_frame()
            tables: dict[Path, pl.DataFrame] = {}
            revisions: dict[Path, pl.DataFrame] = {}
            for part, new in news.items():
                old = olds.get(part, none)
                merged = merge_bars(old, new, part=part, interval=interval, finality=finality)
                if merged.table is not None:
                    tables[self._layout.part(symbol, interval, part)] = merged.table
                    at: datetime = new["fetched_at"][0]
                    revisions |= self._revised(merged.replaced, part, interval, at, revisions)
                reports.append(merged.report)
            for path in revisions:
                remove_unfinished(path.parent, path.name)
            # What is replaced is written down before it goes.
            write_tables(revisions)
            write_tables(tables)
        return reports

    def _olds(
        self, symbol: str, interval: Interval, *, wanted: Sequence[str]
    ) -> dict[str, pl.DataFrame]:
        stored = self._layout.parts(symbol, interval)
        # Where none of them is stored, any other part tells whether its bars are simulated.
        known = [part for part in wanted if part in stored] or list(stored)[:1]
        return {part: self._read_part(symbol, interval, part) for part in known}

    def _read_part(self, symbol: str, interval: Interval, part: str) -> pl.DataFrame:
        path = self._layout.part(symbol, interval, part)
        bars = read_with_schema([path], stored_schema(interval))
        found = {
            (bars["symbol"].min(), _part_at(bars["session"].min(), interval)),
            (bars["symbol"].max(), _part_at(bars["session"].max(), interval)),
        }
        if found != {(symbol, part)}:
            raise RecordError(
                "file holds bars of another symbol or time",
                where=str(path),
                expected=f"{symbol} {part}",
                found=f"{sorted(found, key=str)}, {bars.height} rows",
                remedy="ingest the symbol again into an empty folder",
            )
        return bars

    def _revised(
        self,
        replaced: pl.DataFrame,
        part: str,
        interval: Interval,
        replaced_at: datetime,
        pending: Mapping[Path, pl.DataFrame],
    ) -> dict[Path, pl.DataFrame]:
        if replaced.is_empty():
            return {}
        path = self._layout.revisions(replaced["symbol"][0], interval, part)
        schema = revision_schema(interval)
        # All years of daily bars share one file of revisions.
        known = pending.get(path)
        if known is None:
            known = read_with_schema([path] if path.is_file() else [], schema)
        stamped = replaced.with_columns(replaced_at=pl.lit(replaced_at)).cast(schema)
        return {path: merge_revisions(known, stamped, interval)}


@contextlib.contextmanager
def _alone_at(path: Path) -> Generator[None]:
    with locked(path):
        remove_unfinished(path.parent, path.name)
        yield


def _instant(fetched_at: datetime) -> pl.Expr:
    if fetched_at.utcoffset() is None:
        raise ConfigError(
            "time of fetching has no time zone",
            where="fetched_at",
            expected="an aware datetime",
            found=fetched_at.isoformat(),
            remedy="pass it in UTC",
        )
    # As a number, which polars takes as it is.
    since = fetched_at.astimezone(UTC) - _EPOCH
    return pl.lit(since // timedelta(microseconds=1)).cast(INSTANT)


def _part_at(session: object, interval: Interval) -> str | None:
    return part_of(session, interval) if isinstance(session, date) else None


def _own(frame: pl.DataFrame, symbol: str, schema: pl.Schema) -> pl.DataFrame:
    names = frame["symbol"].unique().to_list() if frame.schema == schema else None
    if names is None or not set(names) <= {symbol}:
        raise InvalidBarsError(
            "table is not one of this kind and symbol",
            where=symbol,
            expected=", ".join(f"{name} {dtype}" for name, dtype in schema.items()),
            found=f"rows of {names}" if names else str(frame.schema),
            remedy="build the table with the schema, for one symbol",
        )
    return frame
