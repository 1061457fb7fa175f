"""Files of order books: one row per snapshot, every level in columns of its own.

Belongs here: the layout, and the import into a store. Does not belong here: what makes a snapshot
unusable (`depth_rules`), what a book says (`depth`).

The layout is that of recorded feeds of NSE: `timestamp`, then for each level k quantity and price
of the bid (`bbq1`, `bbp1`) and of the ask (`bsq1`, `bsp1`), of any number of levels. A level that
has no orders has quantity and price 0. A stamp without an offset is the clock of India.
"""

import io
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from sensequant.context.depth import DEPTH, SIDES
from sensequant.context.depth_rules import judge_books
from sensequant.context.files import (
    Delivered,
    ImportReport,
    files_at,
    import_files,
    refusals,
    symbol_in_name,
)
from sensequant.context.store import ContextStore, WriteCounts
from sensequant.errors import InvalidBarsError, InvalidContextError
from sensequant.market.sessions import SessionCalendar
from sensequant.market.sources.files.reading import read_csv_file
from sensequant.market.sources.files.stamps import read_stamps

__all__ = ["import_depth", "read_depth_file"]

_SUFFIXES = (".csv", ".csv.gz", ".parquet")
_SOURCE = "depth_file"
_PREFIXES: Mapping[str, str] = {
    "bid_price": "bbp",
    "bid_quantity": "bbq",
    "ask_price": "bsp",
    "ask_quantity": "bsq",
}


def import_depth(
    store: ContextStore,
    path: Path,
    *,
    calendar: SessionCalendar,
    imported_at: datetime,
    symbol: str | None = None,
    delay: timedelta = timedelta(0),
) -> ImportReport:
    """Bring depth files into a store, and keep what was refused with its reason.

    Parameters
    ----------
    store
        Where to.
    path
        A file, or a folder of files.
    calendar
        The NSE calendar, whose hours a snapshot must lie in.
    imported_at
        Aware time of the import.
    symbol
        Whose books they are; None: that with which a file's name begins.
    delay
        How long after its time a snapshot was known; 0 for a feed that was recorded as it came.

    Raises
    ------
    ConfigError
        There is no such file.
    InvalidContextError
        A file is no depth file, or nobody knows whose it is.
    """

    def bring(each: Path) -> tuple[Delivered, WriteCounts]:
        delivered = read_depth_file(
            each,
            symbol=symbol or symbol_in_name(each),
            calendar=calendar,
            imported_at=imported_at,
            delay=delay,
            is_simulated=store.is_simulated,
        )
        return delivered, store.write(DEPTH, delivered.rows, written_at=imported_at)

    return import_files(store, DEPTH, files_at(path, _SUFFIXES), bring)


def read_depth_file(
    path: Path,
    *,
    symbol: str,
    calendar: SessionCalendar,
    imported_at: datetime,
    delay: timedelta = timedelta(0),
    is_simulated: bool = False,
) -> Delivered:
    """Read one file of order books and judge every snapshot.

    Parameters
    ----------
    path
        CSV, plain or gzipped, or Parquet.
    symbol
        Whose books they are.
    calendar, imported_at, delay
        As `import_depth` takes them.
    is_simulated
        Whether the books were invented.

    Raises
    ------
    InvalidContextError
        The file cannot be read, or has not the layout.
    """
    table = _opened(path)
    n_levels = _levels_in(table, path)
    judged = judge_books(_parsed(table, n_levels), calendar)
    rows = judged.filter(pl.col("reason").is_null()).select(
        symbol=pl.lit(symbol),
        at="at",
        known_at=pl.col("at") + delay,
        source=pl.lit(_SOURCE),
        is_simulated=pl.lit(is_simulated),
        **{side: pl.col(side) for side in SIDES},
    )
    refused = judged.filter(pl.col("reason").is_not_null()).with_columns(symbol=pl.lit(symbol))
    return Delivered(
        rows.cast(DEPTH.schema),
        refusals(refused, source=_SOURCE, path=path, refused_at=imported_at),
    )


def _opened(path: Path) -> pl.DataFrame:
    try:
        if not path.name.endswith(".parquet"):
            return read_csv_file(path).table
        table = pl.read_parquet(io.BytesIO(path.read_bytes()))
    except InvalidBarsError as error:
        raise _no_layout(path, f"{error.what}: {error.found}") from error
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _no_layout(path, str(error).splitlines()[0]) from error
    return table.select(pl.all().cast(pl.String).name.to_lowercase())


def _levels_in(table: pl.DataFrame, path: Path) -> int:
    """Return the number of levels, if each has its four columns."""
    prefixes = tuple(_PREFIXES.values())
    found = [re.fullmatch(rf"({'|'.join(prefixes)})(\d+)", name) for name in table.columns]
    levels = {(match[1], int(match[2])) for match in found if match}
    n_levels = max((level for _, level in levels), default=0)
    needed = {(prefix, level) for prefix in prefixes for level in range(1, n_levels + 1)}
    if not needed or levels != needed or "timestamp" not in table.columns:
        missing = sorted(f"{prefix}{level}" for prefix, level in needed - levels)
        raise _no_layout(path, f"columns without {', '.join(missing[:4]) or 'timestamp, bbp1'}")
    return n_levels


def _parsed(table: pl.DataFrame, n_levels: int) -> pl.DataFrame:
    """Return the stamps as written, the instants, and every side as a list of all its levels."""
    levels = range(1, n_levels + 1)
    lists = {
        side: pl.concat_list(
            pl.col(f"{prefix}{level}").str.strip_chars().cast(pl.Float64, strict=False)
            for level in levels
        )
        for side, prefix in _PREFIXES.items()
    }
    return table.select(
        stamp=pl.col("timestamp"), at=read_stamps("timestamp").instant, **lists
    ).with_row_index("_row")


def _no_layout(path: Path, found: str) -> InvalidContextError:
    return InvalidContextError(
        "file is no table of order books",
        where=str(path),
        expected="timestamp and for each level k bbqk, bbpk, bsqk, bspk",
        found=found,
        remedy="name a file of this layout (docs/context.md)",
    )
