"""Bars and corporate actions at rest: one Parquet file per symbol and year.

Belongs here: where bars lie, how they are merged with what is there, and their digests. Does not
belong here: writing bytes (`sensequant.storage`), the schema (`bars`), adjustment (`adjustments`).

```
<root>/bars/interval=1day/symbol=RELIANCE/year=2024.parquet
<root>/bars/revisions/interval=1day/symbol=RELIANCE.parquet   former values of bars that changed
<root>/adjustments/actions.parquet
```

A bar that is delivered again with the same values keeps the time of its first fetch, so writing the
same bars again changes no byte. A bar with other values replaces the old one, which moves to the
revisions first; a writer that dies in between leaves the old bar in place. Simulated and real bars
of one symbol never meet.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl

from sensequant.errors import ConfigError, MissingBarsError, RecordError, StorageError
from sensequant.market.adjustments import ACTION_SCHEMA, validate_actions
from sensequant.market.bars import BAR_COLUMNS, BAR_SCHEMA, Interval, bars_digest, validate_bars
from sensequant.market.symbols import validate_symbol
from sensequant.records import Record
from sensequant.storage import locked, read_table, write_table

__all__ = [
    "STORED_SCHEMA",
    "BarStore",
    "PartitionReport",
    "WriteReport",
]

STORED_SCHEMA = pl.Schema(
    {**BAR_SCHEMA, "fetched_at": pl.Datetime("us", "UTC"), "is_final": pl.Boolean()}
)
"""Bars as stored: when a value was fetched for the first time, and whether it may still change."""

_REVISION_SCHEMA = pl.Schema({**STORED_SCHEMA, "replaced_at": pl.Datetime("us", "UTC")})
_STORED_COLUMNS = tuple(STORED_SCHEMA)
_VALUES = tuple(name for name in BAR_COLUMNS if name not in ("symbol", "session"))
_COMPARED = (*_VALUES, "is_final")


class PartitionReport(Record):
    """What a write did to the file of one symbol and year, in rows."""

    symbol: str
    year: int
    n_added: int
    n_changed: int
    n_unchanged: int


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


class BarStore:
    """The bars and corporate actions below one root folder.

    Parameters
    ----------
    root
        Root of all stored data; it is made when the first bar is written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(
        self,
        frame: pl.DataFrame,
        *,
        interval: Interval,
        fetched_at: datetime,
        is_final: bool = True,
    ) -> WriteReport:
        """Merge bars into the store; each file changes as a whole or not at all.

        Parameters
        ----------
        frame
            Valid bars of any number of symbols (`market.bars.BAR_SCHEMA`).
        interval
            Length of the bars.
        fetched_at
            Aware time at which they were fetched.
        is_final
            Whether the source will not change them any more.

        Raises
        ------
        InvalidBarsError
            The bars are not valid.
        ConfigError
            `fetched_at` is naive.
        StorageError
            Simulated and real bars of a symbol would meet, or the disk refuses.
        """
        if fetched_at.utcoffset() is None:
            raise ConfigError(
                "time of fetching has no time zone",
                where="fetched_at",
                expected="an aware datetime",
                found=fetched_at.isoformat(),
                remedy="pass it in UTC",
            )
        stamped = validate_bars(frame).with_columns(
            pl.lit(fetched_at)
            .dt.convert_time_zone("UTC")
            .dt.cast_time_unit("us")
            .alias("fetched_at"),
            pl.lit(is_final).alias("is_final"),
        )
        parts: list[PartitionReport] = []
        for bars in stamped.partition_by("symbol", maintain_order=True):
            parts += self._write_symbol(bars, interval)
        return WriteReport(partitions=tuple(parts))

    def read(
        self,
        symbol: str,
        *,
        interval: Interval,
        start: date | None = None,
        end: date | None = None,
    ) -> pl.DataFrame:
        """Return the bars of a symbol from `start` to `end`, both included.

        Returns
        -------
        polars.DataFrame
            `STORED_SCHEMA`, sorted by session; empty if the symbol has no bar in the range.

        Raises
        ------
        MissingBarsError
            The store has no bar of the symbol at all.
        RecordError
            A file is damaged or has another schema.
        """
        folder = self._symbol_folder(symbol, interval)
        years = _years(folder)
        if not years:
            raise MissingBarsError(
                "store has no bars of the symbol",
                where=str(folder),
                expected="at least one file year=YYYY.parquet",
                found="none",
                remedy="ingest the symbol first",
            )
        first = start.year if start else min(years)
        last = end.year if end else max(years)
        parts = [
            _read_year(path, symbol=symbol, year=year)
            for year, path in years.items()
            if first <= year <= last
        ]
        bars = pl.concat([STORED_SCHEMA.to_frame(), *parts])
        return bars.filter(pl.col("session").is_between(start or date.min, end or date.max))

    def symbols(self, interval: Interval) -> tuple[str, ...]:
        """Return the symbols that have bars, sorted."""
        folders = self._interval_folder(interval).glob("symbol=*")
        return tuple(sorted(path.name.removeprefix("symbol=") for path in folders if _years(path)))

    def digest(self, symbol: str, interval: Interval) -> str:
        """Return the digest of all bars of a symbol (`market.bars.bars_digest`)."""
        return bars_digest(self.read(symbol, interval=interval))

    def revisions(self, symbol: str, interval: Interval) -> pl.DataFrame:
        """Return the former values of bars that changed, and when they were replaced."""
        path = self._revisions_path(symbol, interval)
        if not path.is_file():
            return _REVISION_SCHEMA.to_frame()
        return _with_schema(read_table(path), _REVISION_SCHEMA, path)

    def write_actions(self, actions: pl.DataFrame) -> None:
        """Store corporate actions; those of a source replace the former ones of that source.

        The file is left alone where nothing changes. Two sources may disagree here; the bars of
        that symbol then refuse to be adjusted (`market.adjustments.adjust_bars`).

        Raises
        ------
        InvalidBarsError
            The actions are not valid.
        """
        path = self._actions_path()
        new = validate_actions(actions)
        with locked(path):
            old = self.actions()
            kept = old.filter(~pl.col("source").is_in(new["source"].unique().implode()))
            merged = pl.concat([kept, new]).unique().sort(ACTION_SCHEMA.names())
            if not path.is_file() or not merged.equals(old):
                write_table(path, merged)

    def actions(self) -> pl.DataFrame:
        """Return the stored corporate actions, an empty frame if there are none."""
        path = self._actions_path()
        if not path.is_file():
            return ACTION_SCHEMA.to_frame()
        return _with_schema(read_table(path), ACTION_SCHEMA, path)

    def _write_symbol(self, bars: pl.DataFrame, interval: Interval) -> list[PartitionReport]:
        symbol: str = bars["symbol"][0]
        folder = self._symbol_folder(symbol, interval)
        # The lock lies beside the folder, so one lock serves all years and the revisions.
        with locked(folder):
            _require_one_kind(bars, folder)
            dated = bars.with_columns(year=pl.col("session").dt.year())
            return [
                self._write_year(part.drop("year"), folder=folder, interval=interval)
                for part in dated.partition_by("year", maintain_order=True)
            ]

    def _write_year(
        self, new: pl.DataFrame, *, folder: Path, interval: Interval
    ) -> PartitionReport:
        symbol: str = new["symbol"][0]
        year: int = new["session"][0].year
        path = folder / f"year={year}.parquet"
        if not path.is_file():
            write_table(path, new)
            return PartitionReport(
                symbol=symbol, year=year, n_added=new.height, n_changed=0, n_unchanged=0
            )
        old = _read_year(path, symbol=symbol, year=year)
        changed, same = _compared(old, new)
        n_added = new.height - changed.len() - same.len()
        if n_added or changed.len():
            is_replaced = pl.col("session").is_in(changed.implode())
            replaced_at = new["fetched_at"][0]
            self._append_revisions(old.filter(is_replaced), replaced_at, symbol, interval)
            fresh = new.filter(~pl.col("session").is_in(same.implode()))
            write_table(path, pl.concat([old.filter(~is_replaced), fresh]).sort("session"))
        return PartitionReport(
            symbol=symbol,
            year=year,
            n_added=n_added,
            n_changed=changed.len(),
            n_unchanged=same.len(),
        )

    def _append_revisions(
        self, replaced: pl.DataFrame, replaced_at: datetime, symbol: str, interval: Interval
    ) -> None:
        if replaced.is_empty():
            return
        stamped = replaced.with_columns(pl.lit(replaced_at).alias("replaced_at"))
        known = self.revisions(symbol, interval)
        # A writer that died after this step and ran again must not record the same loss twice.
        merged = pl.concat([known, stamped.cast(_REVISION_SCHEMA)]).unique(
            subset=list(_STORED_COLUMNS), keep="first", maintain_order=True
        )
        path = self._revisions_path(symbol, interval)
        write_table(path, merged.sort("session", "replaced_at", maintain_order=True))

    def _interval_folder(self, interval: Interval) -> Path:
        return self._root / "bars" / f"interval={interval}"

    def _symbol_folder(self, symbol: str, interval: Interval) -> Path:
        return self._interval_folder(interval) / f"symbol={validate_symbol(symbol)}"

    def _revisions_path(self, symbol: str, interval: Interval) -> Path:
        name = f"symbol={validate_symbol(symbol)}.parquet"
        return self._root / "bars" / "revisions" / f"interval={interval}" / name

    def _actions_path(self) -> Path:
        return self._root / "adjustments" / "actions.parquet"


def _compared(old: pl.DataFrame, new: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    columns = ["session", *_COMPARED]
    both = new.select(columns).join(old.select(columns), on="session", suffix="_old")
    differs = pl.any_horizontal(
        pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in _COMPARED
    )
    return both.filter(differs)["session"], both.filter(~differs)["session"]


def _years(folder: Path) -> dict[int, Path]:
    found = {
        int(path.stem.removeprefix("year=")): path for path in folder.glob("year=[0-9]*.parquet")
    }
    return dict(sorted(found.items()))


def _read_year(path: Path, *, symbol: str, year: int) -> pl.DataFrame:
    bars = _with_schema(read_table(path), STORED_SCHEMA, path)
    is_own = (pl.col("symbol") == symbol) & (pl.col("session").dt.year() == year)
    if bars.is_empty() or not bars.select(is_own.all()).item():
        raise RecordError(
            "file holds bars of another symbol or year",
            where=str(path),
            expected=f"{symbol} {year}",
            found=f"{bars['symbol'].unique().sort().to_list()}, {bars.height} rows",
            remedy="ingest the symbol again into an empty folder",
        )
    return bars


def _with_schema(frame: pl.DataFrame, schema: pl.Schema, path: Path) -> pl.DataFrame:
    if frame.schema != schema:
        raise RecordError(
            "table has other columns than its kind",
            where=str(path),
            expected=", ".join(f"{name} {dtype}" for name, dtype in schema.items()),
            found=", ".join(f"{name} {dtype}" for name, dtype in frame.schema.items()),
            remedy="ingest it again with this version of sensequant",
        )
    return frame


def _require_one_kind(bars: pl.DataFrame, folder: Path) -> None:
    kinds: Sequence[bool] = bars["is_simulated"].unique().to_list()
    stored = set(_stored_kinds(folder))
    if len(stored | set(kinds)) > 1:
        raise StorageError(
            "simulated and real bars of one symbol would meet",
            where=str(folder),
            expected="only real or only simulated bars",
            found=f"simulated {sorted(kinds)} on top of simulated {sorted(stored)}",
            remedy="choose another SENSEQUANT_HOME for simulated bars",
        )


def _stored_kinds(folder: Path) -> Iterator[bool]:
    # One file speaks for all: every write has passed this check.
    for path in list(_years(folder).values())[:1]:
        yield from read_table(path)["is_simulated"].unique()
