"""Context at rest: every row ever known, by kind, symbol and time.

Belongs here: reading and writing, one writer at a time, each file as a whole or not at all, and
what exists for which symbols and dates. Does not belong here: what a kind means (`depth`,
`headlines`), what was known at a decision (`asof`).

```
<root>/context/kind=depth/symbol=RELIANCE/session=2024-03-04.parquet
<root>/context/kind=headlines/symbol=RELIANCE/decade=2020.parquet
<root>/context/refused/kind=depth.parquet                 rows that were delivered and refused
```

Rows are only added. A row that is delivered again with the same values adds nothing; with other
values it is a correction, which was known when it was delivered and not before, so that what a
decision saw stays what it saw. Simulated and real rows never meet below one root.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from sensequant.context.hours import session_of
from sensequant.context.rows import INSTANT, ContextKind, require_rows
from sensequant.errors import ConfigError, InvalidContextError, StorageError
from sensequant.market.store_tables import read_with_schema
from sensequant.market.symbols import validate_symbol
from sensequant.storage import locked, remove_unfinished, write_table, write_tables

__all__ = ["COVERAGE_SCHEMA", "REFUSED_SCHEMA", "ContextStore", "WriteCounts"]

REFUSED_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "stamp": pl.String(),
        "reason": pl.String(),
        "detail": pl.String(),
        "source": pl.String(),
        "file": pl.String(),
        "refused_at": INSTANT,
    }
)
"""A row that was delivered and refused: whose and from when as far as that is known, as it was
written; why; what was wrong; from which source and file; when it was delivered."""

COVERAGE_SCHEMA = pl.Schema(
    {
        "kind": pl.String(),
        "symbol": pl.String(),
        "n_rows": pl.Int64(),
        "n_corrections": pl.Int64(),
        "n_dates": pl.Int64(),
        "first": pl.Date(),
        "last": pl.Date(),
        "sources": pl.String(),
        "is_simulated": pl.Boolean(),
        "n_refused": pl.Int64(),
    }
)
"""What exists of one kind and symbol: rows, how many of them correct another one, dates in India
on which something happened, the first and last of them, sources, the mark, rows refused."""

_REFUSED_KEY = ["symbol", "stamp", "reason", "detail", "source", "file"]


@dataclass(frozen=True, slots=True)
class WriteCounts:
    """What a delivery changed.

    Attributes
    ----------
    n_added, n_corrected, n_known
        Rows that are new, that correct a stored one, and that were stored already.
    """

    n_added: int = 0
    n_corrected: int = 0
    n_known: int = 0

    def __add__(self, other: "WriteCounts") -> "WriteCounts":
        return WriteCounts(
            self.n_added + other.n_added,
            self.n_corrected + other.n_corrected,
            self.n_known + other.n_known,
        )


class ContextStore:
    """The context below one root folder.

    Parameters
    ----------
    root
        Root of one kind of market's data; folders are made when the first row is written.
    is_simulated
        Whether what lies there is invented.
    """

    def __init__(self, root: Path, *, is_simulated: bool) -> None:
        self._root = root / "context"
        self.is_simulated = is_simulated

    @property
    def root(self) -> Path:
        """Folder of everything that it holds."""
        return self._root

    def write(self, kind: ContextKind, rows: pl.DataFrame, *, written_at: datetime) -> WriteCounts:
        """Add rows of any number of symbols.

        Parameters
        ----------
        kind
            What they are.
        rows
            Rows that keep the contract (`rows.require_rows`), one for each key.
        written_at
            Aware time of the delivery; a correction was not known before it.

        Raises
        ------
        InvalidContextError
            The rows do not keep the contract, or several of them have one key.
        ConfigError
            A symbol is none, or `written_at` is naive.
        StorageError
            Simulated and real rows would meet, or the disk refuses.
        RecordError
            A file of the store is damaged.
        """
        ordered = require_rows(rows, kind)
        _require_one_each(ordered, kind)
        self._require_mark(ordered, kind)
        counts = WriteCounts()
        for part in ordered.partition_by("symbol", maintain_order=True):
            counts += self._write_symbol(kind, part, _instant(written_at))
        return counts

    def read(
        self,
        kind: ContextKind,
        symbol: str,
        *,
        start: date | None = None,
        end: date | None = None,
    ) -> pl.DataFrame:
        """Return every version of the rows of a symbol, by the order of the kind.

        Parameters
        ----------
        kind, symbol
            What, and whose.
        start, end
            First and last date, in India, on which it happened; None: all there are.

        Returns
        -------
        polars.DataFrame
            Rows of the kind's schema; empty if there are none.

        Raises
        ------
        ConfigError
            The symbol is none.
        RecordError
            A file is damaged or has another schema.
        """
        paths = self._parts(kind, symbol)
        if kind.parts == "session":
            paths = [path for path in paths if _is_within(path, start, end)]
        rows = read_with_schema(paths, kind.schema)
        if start is not None or end is not None:
            day = session_of("at")
            rows = rows.filter(day.is_between(start or date.min, end or date.max))
        return rows.sort(kind.order)

    def parts(self, kind: ContextKind, symbol: str) -> Iterator[pl.DataFrame]:
        """Give what `read` returns file by file, in the order of time.

        Raises
        ------
        ConfigError, RecordError
            As for `read`.
        """
        for path in self._parts(kind, symbol):
            yield read_with_schema([path], kind.schema).sort(kind.order)

    def symbols(self, kind: ContextKind) -> tuple[str, ...]:
        """Return the symbols that have rows of a kind, sorted."""
        folders = self._folder(kind).glob("symbol=*")
        names = (path.name.removeprefix("symbol=") for path in folders)
        return tuple(sorted(name for name in names if self._parts(kind, name)))

    def refuse(self, kind: ContextKind, refused: pl.DataFrame) -> int:
        """Keep rows that were delivered and refused; one that is there is not added again.

        Parameters
        ----------
        kind
            What was delivered.
        refused
            The rows (`REFUSED_SCHEMA`).

        Returns
        -------
        int
            Number of rows added.
        """
        if refused.is_empty():
            return 0
        path = self._refused(kind)
        with locked(path):
            remove_unfinished(path.parent, path.name)
            known = self.refused(kind)
            merged = pl.concat([known, refused.cast(REFUSED_SCHEMA)]).unique(
                subset=_REFUSED_KEY, keep="first", maintain_order=True
            )
            if merged.height > known.height:
                write_table(path, merged)
        return merged.height - known.height

    def refused(self, kind: ContextKind) -> pl.DataFrame:
        """Return every refused row of a kind (`REFUSED_SCHEMA`), in the order of delivery."""
        path = self._refused(kind)
        return read_with_schema([path] if path.is_file() else [], REFUSED_SCHEMA)

    def coverage(self, kinds: Sequence[ContextKind]) -> pl.DataFrame:
        """Return what exists for which symbols and dates (`COVERAGE_SCHEMA`)."""
        rows = [row for kind in kinds for row in self._covered(kind)]
        return pl.DataFrame(rows, schema=COVERAGE_SCHEMA)

    def _covered(self, kind: ContextKind) -> Iterator[dict[str, object]]:
        refused = dict(self.refused(kind)["symbol"].value_counts().iter_rows())
        stored = self.symbols(kind)
        for symbol in stored:
            rows = self.read(kind, symbol)
            days = rows.select(session_of("at")).to_series()
            yield {
                "kind": kind.name,
                "symbol": symbol,
                "n_rows": rows.height,
                "n_corrections": rows.height - rows.select(kind.key).n_unique(),
                "n_dates": days.n_unique(),
                "first": days.min(),
                "last": days.max(),
                "sources": ", ".join(rows["source"].unique().sort()),
                "is_simulated": self.is_simulated,
                "n_refused": refused.pop(symbol, 0),
            }
        # Symbols of which nothing was usable.
        for symbol, n_refused in sorted(refused.items(), key=str):
            yield {
                "kind": kind.name,
                "symbol": symbol,
                "n_rows": 0,
                "n_corrections": 0,
                "n_dates": 0,
                "is_simulated": self.is_simulated,
                "n_refused": n_refused,
            }

    def _write_symbol(self, kind: ContextKind, new: pl.DataFrame, at: datetime) -> WriteCounts:
        symbol: str = new["symbol"][0]
        folder = self._symbol_folder(kind, symbol)
        counts, tables = WriteCounts(), dict[Path, pl.DataFrame]()
        with locked(folder):
            remove_unfinished(folder)
            for part in new.with_columns(_part=kind.part).partition_by(
                "_part", maintain_order=True
            ):
                path = folder / f"{kind.parts}={part['_part'][0]}.parquet"
                old = read_with_schema([path] if path.is_file() else [], kind.schema)
                merged, counted = _merged(kind, old, part.drop("_part"), at)
                counts += counted
                if counted.n_added or counted.n_corrected:
                    tables[path] = merged
            write_tables(tables)
        return counts

    def _require_mark(self, rows: pl.DataFrame, kind: ContextKind) -> None:
        if rows.filter(pl.col("is_simulated") != self.is_simulated).height:
            kinds = ("real", "simulated")
            raise StorageError(
                "simulated and real rows of context would meet",
                where=f"{self._root}: {kind.name}",
                expected=f"{kinds[self.is_simulated]} rows only",
                found=f"{kinds[not self.is_simulated]} rows",
                remedy="bring them to the store of the source whose bars they belong to",
            )

    def _folder(self, kind: ContextKind) -> Path:
        return self._root / f"kind={kind.name}"

    def _symbol_folder(self, kind: ContextKind, symbol: str) -> Path:
        return self._folder(kind) / f"symbol={validate_symbol(symbol)}"

    def _parts(self, kind: ContextKind, symbol: str) -> list[Path]:
        return sorted(self._symbol_folder(kind, symbol).glob(f"{kind.parts}=[0-9]*.parquet"))

    def _refused(self, kind: ContextKind) -> Path:
        return self._root / "refused" / f"kind={kind.name}.parquet"


def _is_within(path: Path, start: date | None, end: date | None) -> bool:
    session = date.fromisoformat(path.stem.partition("=")[2])
    return (start or date.min) <= session <= (end or date.max)


def _merged(
    kind: ContextKind, old: pl.DataFrame, new: pl.DataFrame, written_at: datetime
) -> tuple[pl.DataFrame, WriteCounts]:
    """Return the old rows with those of the new ones that say something else."""
    key, values = list(kind.key), list(kind.values)
    last = old.unique(subset=key, keep="last", maintain_order=True)
    stored = last.select(*key, pl.struct(values).alias("_stored"), _is_stored=pl.lit(value=True))
    compared = new.join(stored, on=key, how="left", maintain_order="left").with_columns(
        pl.col("_is_stored").fill_null(value=False),
        _is_other=pl.struct(values).ne_missing(pl.col("_stored")),
    )
    fresh = compared.filter(~pl.col("_is_stored"))
    corrections = compared.filter("_is_stored", "_is_other").with_columns(
        known_at=pl.max_horizontal("known_at", pl.lit(written_at, INSTANT))
    )
    names = kind.schema.names()
    merged = pl.concat([old, fresh.select(names), corrections.select(names)]).sort(kind.order)
    n_known = new.height - fresh.height - corrections.height
    return merged, WriteCounts(fresh.height, corrections.height, n_known)


def _require_one_each(rows: pl.DataFrame, kind: ContextKind) -> None:
    repeated = rows.filter(pl.struct(kind.key).is_duplicated())
    if repeated.height:
        raise InvalidContextError(
            "delivery says several things about one moment",
            where=f"{kind.name} {repeated['symbol'][0]} {repeated['at'][0]}",
            expected=f"one row for each {', '.join(kind.key)}",
            found=f"{repeated.height} rows that share theirs",
            remedy="refuse what contradicts itself before it is stored",
        )


def _instant(at: datetime) -> datetime:
    if at.utcoffset() is None:
        raise ConfigError(
            "time of delivery has no time zone",
            where="written_at",
            expected="an aware datetime",
            found=at.isoformat(),
            remedy="pass it in UTC",
        )
    return at.astimezone(UTC)
