"""The cache of the replaced system: one CSV file per session, `SYMBOL/1day/YYYY-MM-DD.csv`.

Belongs here: reading that cache. Does not belong here: NSE's own layouts (`layouts`).

The header is `timestamp,open,high,low,close,volume`. Its daily timestamps are a mix of naive, UTC
and Indian time, so they cannot tell the session; the name of the file does, and a timestamp that
is more than one calendar day away from it makes the row a bad one.

Its dry run wrote the same invented bar for every symbol and calendar day into this very cache;
those rows are recognised and quarantined as fabricated.
"""

from datetime import timedelta
from pathlib import Path

import polars as pl

from sensequant.errors import InvalidBarsError, MissingBarsError
from sensequant.market.bars import DAILY
from sensequant.market.quality import RAW_COLUMNS, QuarantineReason, RowFormat
from sensequant.market.sources.files.reading import CsvFile, csv_stem, read_csv_file
from sensequant.records import digest_of

__all__ = ["CACHE_FORMAT", "cache_folders", "cache_to_raw", "read_cache"]

CACHE_FORMAT = RowFormat("prior_cache", "%Y-%m-%d")

_HEADER = ("timestamp", "open", "high", "low", "close", "volume")
_DRY_RUN_BAR = {"open": 2450, "high": 2455, "low": 2448, "close": 2453, "volume": 100_000}


def cache_folders(folder: Path) -> dict[str, Path]:
    """Return the folder of daily files of every symbol that the cache has."""
    return {
        path.parent.name: path
        for path in sorted(folder.glob(f"*/{DAILY}"))
        if any(csv_stem(file) for file in path.iterdir())
    }


def read_cache(folder: Path) -> CsvFile:
    """Read all files of one symbol as one table; the column `file` names each row's file.

    Raises
    ------
    InvalidBarsError
        A file cannot be read or has another header.
    MissingBarsError
        None of the files holds a row.
    """
    tables: list[pl.DataFrame] = []
    digests: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        stem = csv_stem(path)
        if stem is None:
            continue
        try:
            table, digests[path.name] = read_csv_file(path)
        except MissingBarsError:
            # A session without a bar was kept as a file without a row.
            continue
        tables.append(_checked(table, path).with_columns(file=pl.lit(stem)))
    if not tables:
        raise MissingBarsError(
            "cache holds no rows",
            where=str(folder),
            expected=f"files YYYY-MM-DD.csv with {','.join(_HEADER)}",
            found="only empty files",
            remedy="fetch the symbol again or leave it out",
        )
    return CsvFile(pl.concat(tables), digest_of(digests))


def cache_to_raw(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a cache in `market.quality.RAW_COLUMNS`."""
    named = pl.col("file").str.to_date(CACHE_FORMAT.date_format, strict=False)
    stamped = pl.col("timestamp").str.strip_chars().str.head(10)
    written = stamped.str.to_date(CACHE_FORMAT.date_format, strict=False)
    is_near = ((named - written).abs() <= timedelta(days=1)).fill_null(value=False)
    is_dry_run = pl.all_horizontal(
        (pl.col(name).cast(pl.Float64, strict=False) == value).fill_null(value=False)
        for name, value in _DRY_RUN_BAR.items()
    )
    absent = set(RAW_COLUMNS) - set(_HEADER) - {"row_number", "session", "reader_reason"}
    return table.select(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("row_number"),
        pl.col("file").alias("session"),
        *_HEADER[1:],
        *(pl.lit(None, dtype=pl.String).alias(name) for name in sorted(absent)),
        reader_reason=pl.when(is_dry_run)
        .then(pl.lit(QuarantineReason.FABRICATED.value))
        .when(~is_near)
        .then(pl.lit(QuarantineReason.BAD_DATE.value)),
    ).select(RAW_COLUMNS)


def _checked(table: pl.DataFrame, path: Path) -> pl.DataFrame:
    if set(_HEADER) <= set(table.columns):
        return table.select(_HEADER)
    raise InvalidBarsError(
        "file has not the layout of the cache",
        where=str(path),
        expected=",".join(_HEADER),
        found=",".join(table.columns),
        remedy="bring the file into that layout or remove it",
    )
