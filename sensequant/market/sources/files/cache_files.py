"""The cache of the replaced system: one CSV file per session, `SYMBOL/1day/YYYY-MM-DD.csv`.

Belongs here: reading that cache, and what its time stamps can be trusted with. Does not belong
here: NSE's own layouts (`layouts`, `day_files`).

The header is `timestamp,open,high,low,close,volume`; the folder names the interval. Daily stamps
are a mix of naive, UTC and Indian time, so they cannot tell the session; the name of the file does,
and a stamp that is more than one calendar day away from it makes the row a bad one.

Intraday stamps have the same defect: wall-clock time in India was asked for under the label of UTC.
Each file is read both ways, its clock as India's and its stamps as written (UTC where no zone
stands there), and the way in which more of its bars fall into the session's hours holds. Where
neither way does better, nobody knows when the bars were, and the file's rows are bad ones.

Its dry run wrote the same invented bar for every symbol and calendar day into this very cache;
those rows are recognised and quarantined as fabricated.
"""

from datetime import timedelta
from pathlib import Path

import polars as pl

from sensequant.errors import InvalidBarsError, MissingBarsError
from sensequant.market.intervals import DAILY, Interval, is_intraday
from sensequant.market.quality import RAW_COLUMNS, QuarantineReason, RowFormat
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.files.reading import CsvFile, csv_stem, read_csv_file
from sensequant.market.sources.files.stamps import IST_FORMAT, IST_OFFSET, ist_text, read_stamps
from sensequant.records import digest_of

__all__ = ["cache_folders", "cache_format", "cache_to_raw", "read_cache"]

_DAILY_FORMAT = RowFormat("prior_cache", "%Y-%m-%d")
_INTRADAY_FORMAT = RowFormat("prior_cache", IST_FORMAT)

_HEADER = ("timestamp", "open", "high", "low", "close", "volume")
_DRY_RUN_BAR = {"open": 2450, "high": 2455, "low": 2448, "close": 2453, "volume": 100_000}


# The pre-open call comes before the hours, and some vendors keep a bar of the closing session.
_BEFORE_OPEN = timedelta(minutes=15)
_AFTER_CLOSE = timedelta(minutes=30)


def cache_folders(folder: Path, interval: Interval = DAILY) -> dict[str, Path]:
    """Return each symbol's folder of per-session files of one interval."""
    return {
        path.parent.name: path
        for path in sorted(folder.glob(f"*/{interval}"))
        if any(csv_stem(file) for file in path.iterdir())
    }


def cache_format(interval: Interval) -> RowFormat:
    """Return how the rows of `cache_to_raw` are to be read."""
    return _INTRADAY_FORMAT if is_intraday(interval) else _DAILY_FORMAT


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


def cache_to_raw(table: pl.DataFrame, interval: Interval = DAILY) -> pl.DataFrame:
    """Return the rows of a cache in `market.quality.RAW_COLUMNS`.

    Parameters
    ----------
    table
        What `read_cache` returned.
    interval
        Length of its bars.
    """
    stamped = _intraday_stamps(table) if is_intraday(interval) else _daily_stamps(table)
    is_dry_run = pl.all_horizontal(
        (pl.col(name).cast(pl.Float64, strict=False) == value).fill_null(value=False)
        for name, value in _DRY_RUN_BAR.items()
    )
    absent = set(RAW_COLUMNS) - set(_HEADER) - {"row_number", "session", "reader_reason"}
    return stamped.select(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("row_number"),
        "session",
        *_HEADER[1:],
        *(pl.lit(None, dtype=pl.String).alias(name) for name in sorted(absent)),
        reader_reason=pl.when(is_dry_run)
        .then(pl.lit(QuarantineReason.FABRICATED.value))
        .when("is_misdated")
        .then(pl.lit(QuarantineReason.BAD_DATE.value)),
    ).select(RAW_COLUMNS)


def _daily_stamps(table: pl.DataFrame) -> pl.DataFrame:
    written = pl.col("timestamp").str.strip_chars().str.head(10)
    away = (_named_session() - written.str.to_date("%Y-%m-%d", strict=False)).abs()
    is_near = (away <= timedelta(days=1)).fill_null(value=False)
    return table.with_columns(session=pl.col("file"), is_misdated=~is_near)


def _intraday_stamps(table: pl.DataFrame) -> pl.DataFrame:
    stamps = read_stamps("timestamp")
    both = table.with_columns(
        named=_named_session(),
        as_india=stamps.local,
        as_written=stamps.written.fill_null(stamps.local + IST_OFFSET),
    ).join(_hours(), left_on="named", right_on="session", how="left", maintain_order="left")
    n_as_india, n_as_written = (
        pl.col(name).is_between("earliest", "latest").sum().over("file")
        for name in ("as_india", "as_written")
    )
    # A day without known hours is no session or a drill; `market.quality` tells which.
    has_hours = pl.col("earliest").is_not_null()
    is_undecided = (
        has_hours & (n_as_india == n_as_written) & (pl.col("as_india") != pl.col("as_written"))
    )
    is_written = has_hours & (n_as_written > n_as_india)
    chosen = pl.when(is_written).then("as_written").otherwise("as_india")
    is_own_day = (ist_text(chosen).str.head(10) == pl.col("file")).fill_null(value=False)
    # A bar of another day must not stand against the bars that the file of that day holds.
    own = pl.when(is_own_day).then(ist_text(chosen))
    return both.with_columns(session=own, is_misdated=is_undecided | ~is_own_day)


def _named_session() -> pl.Expr:
    return pl.col("file").str.to_date(_DAILY_FORMAT.date_format, strict=False)


def _hours() -> pl.DataFrame:
    known = nse_calendar().table.filter(pl.col("opens_at").is_not_null())
    opened, closed = (
        (
            pl.col("session").dt.combine(pl.col(name), time_unit="us") - IST_OFFSET
        ).dt.replace_time_zone("UTC")
        for name in ("opens_at", "closes_at")
    )
    return known.select("session", earliest=opened - _BEFORE_OPEN, latest=closed + _AFTER_CLOSE)


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
