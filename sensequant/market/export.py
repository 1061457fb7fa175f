"""Stored bars as files for other programs: CSV or Parquet, as they are or adjusted.

Belongs here: which slice is written, in which columns, into which files. Does not belong here:
reading such a file again (`market.sources.files`), the store, how prices are adjusted
(`market.adjustments`).

A CSV file of raw bars is a layout of its own, `sensequant_csv`, that `FilesSource` reads again with
equal bars: the columns of `market.store_tables`, led by `interval`. Dates are ISO 8601. An instant
is ISO 8601 too, and its zone stands in the name of its column: `starts_at_utc`, `starts_at_ist`,
`fetched_at_utc`. Adjusted files have the columns of `market.adjustments` instead, led by `interval`
and `prices`, so that nobody takes them for raw ones. Null is an empty cell. Parquet keeps the types
of the store.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Literal, Self

import polars as pl
from pydantic import Field, model_validator

from sensequant.errors import ConfigError, MissingBarsError, StorageError
from sensequant.market.adjustments import adjust_bars, total_return_bars
from sensequant.market.intervals import DAILY, Interval, is_intraday
from sensequant.market.selection import Symbol
from sensequant.market.sessions import nse_calendar
from sensequant.market.store import BarStore
from sensequant.market.symbols import is_index
from sensequant.records import Config, Record
from sensequant.storage import sha256_of, write_atomically, write_table

__all__ = ["ExportReport", "ExportRequest", "ExportedFile", "export_bars"]

_ADJUSTED = {"adjusted": adjust_bars, "total_return": total_return_bars}
_INSTANTS = {"utc": (0, "Z"), "ist": (330, "+05:30")}


class ExportRequest(Config):
    """Which bars are written, and how."""

    symbols: tuple[Symbol, ...] = Field(
        min_length=1, description="Symbols of the store; indices too."
    )
    interval: Interval = Field(default=DAILY, description="Length of the bars.")
    start: date | None = Field(default=None, description="First session; empty: the first stored.")
    end: date | None = Field(default=None, description="Last session; empty: the last stored.")
    prices: Literal["raw", "adjusted", "total_return"] = Field(
        default="raw",
        description="raw: as published, in rupees; adjusted: without the jumps of splits and "
        "bonuses, in rupees of the first share; total_return: adjusted, every dividend reinvested",
    )
    final_only: bool = Field(
        default=False, description="Leave out bars that may still change, or that are disputed."
    )
    file_format: Literal["csv", "parquet"] = Field(
        default="csv", description="Format of the files."
    )
    is_one_file: bool = Field(
        default=False, description="One file of all symbols instead of one for each."
    )
    instants: Literal["utc", "ist"] = Field(
        default="utc", description="Zone of the starts of intraday bars in CSV files."
    )
    overwrite: bool = Field(default=False, description="Replace files that are there.")

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        if self.start is not None and self.end is not None and self.start > self.end:
            raise _conflict("start, end", "start on or before end", f"{self.start} to {self.end}")
        if len(set(self.symbols)) < len(self.symbols):
            raise _conflict("symbols", "every symbol once", ", ".join(self.symbols))
        if is_intraday(self.interval) and self.prices != "raw":
            raise _conflict("prices", "raw, for intraday bars", self.prices)
        has_stamps = is_intraday(self.interval) and self.file_format == "csv"
        if self.instants != "utc" and not has_stamps:
            raise _conflict("instants", "utc, but for intraday bars in CSV files", self.instants)
        return self


class ExportedFile(Record):
    """One file that was written."""

    name: str
    """Path below the target, or the target's own name."""

    symbols: tuple[str, ...]
    n_rows: int = Field(ge=1)
    sha256: str


class ExportReport(Record):
    """What an export wrote."""

    files: tuple[ExportedFile, ...]
    symbols_without_bars: tuple[str, ...]
    """Symbols of the request that have no bar in its range; there is no file of them."""

    @property
    def n_rows(self) -> int:
        """Rows in all files."""
        return sum(file.n_rows for file in self.files)


def export_bars(store: BarStore, target: Path, *, request: ExportRequest) -> ExportReport:
    """Write a slice of the store into files.

    Each file is written as a whole or not at all, and none before it is certain that no file is in
    the way and that the store has every symbol.

    Parameters
    ----------
    store
        The store.
    target
        The file, where all symbols go into one; else the folder of `SYMBOL.csv` or
        `SYMBOL.parquet`. Daily bars of an index go into its folder `index`, where `FilesSource`
        looks for them.
    request
        Which bars, and how.

    Raises
    ------
    ConfigError
        The name of the file does not end as its format does.
    MissingBarsError
        The store has no bars of a symbol, or none of any in the range.
    StorageError
        A file is there and must not be replaced, or the disk refuses.
    """
    absent = sorted(set(request.symbols) - set(store.symbols(request.interval)))
    if absent:
        raise MissingBarsError(
            "store has no bars of the symbol",
            where=f"{', '.join(absent)} {request.interval}",
            expected="symbols that were ingested",
            remedy="ingest them first, or leave them out",
        )
    places = {symbol: _place(target, symbol, request) for symbol in request.symbols}
    _require_free(places.values(), request)
    slices = ((symbol, _slice(store, symbol, request)) for symbol in request.symbols)
    with_bars = ((symbol, bars) for symbol, bars in slices if bars.height)
    if request.is_one_file:
        frames = dict(with_bars)
        groups = iter([(target, frames)] if frames else [])
    else:
        groups = ((places[symbol], {symbol: bars}) for symbol, bars in with_bars)
    root = target.parent if request.is_one_file else target
    files = [_written(path, frames, root=root, request=request) for path, frames in groups]
    if not files:
        raise MissingBarsError(
            "no bars to export",
            where=f"{', '.join(request.symbols)} {request.interval}",
            expected=f"bars from {request.start or 'the first'} to {request.end or 'the last'}",
            found="none that the request admits",
            remedy="widen the range, or export provisional bars too",
        )
    done = {symbol for file in files for symbol in file.symbols}
    return ExportReport(
        files=tuple(files),
        symbols_without_bars=tuple(symbol for symbol in request.symbols if symbol not in done),
    )


def _place(target: Path, symbol: str, request: ExportRequest) -> Path:
    suffix = f".{request.file_format}"
    if not request.is_one_file:
        is_beside = is_index(symbol) and not is_intraday(request.interval)
        return (target / "index" if is_beside else target) / f"{symbol}{suffix}"
    if target.suffix != suffix:
        raise ConfigError(
            "name of the file does not end as its format does",
            where=str(target),
            expected=f"a name ending in {suffix}",
            found=target.name,
            remedy="rename it, or choose the other format",
        )
    return target


def _require_free(places: Iterable[Path], request: ExportRequest) -> None:
    taken = sorted({str(path) for path in places if path.exists()})
    if taken and not request.overwrite:
        raise StorageError(
            "file is there and would be replaced",
            where=taken[0],
            expected="no file of that name",
            found=f"{len(taken)} such files",
            remedy="choose another place, or allow it to be overwritten",
        )


def _slice(store: BarStore, symbol: str, request: ExportRequest) -> pl.DataFrame:
    # What came before the range decides how an adjusted price in it stands.
    first = request.start if request.prices == "raw" else None
    bars = store.read(
        symbol,
        interval=request.interval,
        start=first,
        end=request.end,
        final_only=request.final_only,
    )
    if request.prices == "raw":
        return bars
    adjusted = _ADJUSTED[request.prices](bars, store.actions(), nse_calendar())
    return adjusted.filter(pl.col("session") >= (request.start or date.min))


def _written(
    path: Path, frames: dict[str, pl.DataFrame], *, root: Path, request: ExportRequest
) -> ExportedFile:
    leading = {"interval": pl.lit(request.interval)}
    if request.prices != "raw":
        leading["prices"] = pl.lit(request.prices)
    table = (
        pl.concat(frames.values()).with_columns(**leading).select(*leading, pl.exclude(*leading))
    )
    if request.file_format == "csv":
        write_atomically(path, _as_texts(table, request).write_csv().encode())
    else:
        write_table(path, table)
    return ExportedFile(
        name=path.relative_to(root).as_posix(),
        symbols=tuple(frames),
        n_rows=table.height,
        sha256=sha256_of(path),
    )


def _as_texts(table: pl.DataFrame, request: ExportRequest) -> pl.DataFrame:
    texts: dict[str, pl.Expr] = {}
    for name, kind in table.schema.items():
        if isinstance(kind, pl.Datetime):
            zone = request.instants if name == "starts_at" else "utc"
            texts[f"{name}_{zone}"] = _iso(pl.col(name), zone)
        else:
            texts[name] = pl.col(name)
    return table.select(**texts)


def _iso(instant: pl.Expr, zone: str) -> pl.Expr:
    minutes, suffix = _INSTANTS[zone]
    local = instant.dt.replace_time_zone(None) + timedelta(minutes=minutes)
    # Fractions only where there are some: bars begin on a second, fetches do not.
    return local.dt.strftime("%Y-%m-%dT%H:%M:%S%.f") + suffix


def _conflict(where: str, expected: str, found: str) -> ConfigError:
    return ConfigError(
        "settings of an export do not fit together",
        where=where,
        expected=expected,
        found=found,
        remedy="change one of them",
    )
