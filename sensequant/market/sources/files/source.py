"""A folder of files as a source of bars.

Belongs here: which files of a folder are symbols, where indices and corporate actions lie beside
them. Does not belong here: layouts (`layouts`, `cache_files`, `index_files`, `action_files`).

A folder holds `SYMBOL.csv` or `SYMBOL.csv.gz`, in any of the layouts of `layouts`, or
`SYMBOL/1day/YYYY-MM-DD.csv`, the cache of the replaced system. The name of the file is the symbol,
whatever names stand in its rows. Indices are looked for in `index`, corporate actions in
`corporate_actions/corporate_actions.parquet`: first inside the folder, then beside it. A place that
is given explicitly wins and must exist.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl

from sensequant.errors import ConfigError, MissingBarsError
from sensequant.market.adjustments import ACTION_SCHEMA
from sensequant.market.quality import Split, split_quarantine
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk, Fetched, require_known, require_range
from sensequant.market.sources.files.action_files import ACTIONS_FILE, read_actions
from sensequant.market.sources.files.cache_files import (
    CACHE_FORMAT,
    cache_folders,
    cache_to_raw,
    read_cache,
)
from sensequant.market.sources.files.index_files import (
    INDEX_FILE_STEMS,
    find_index_files,
    read_index,
)
from sensequant.market.sources.files.layouts import STOCK_LAYOUTS, recognise, to_raw
from sensequant.market.sources.files.reading import csv_stem, read_csv_file
from sensequant.market.symbols import validate_symbol

__all__ = ["FilesSource"]


class FilesSource:
    """Bars in a folder of CSV files.

    Parameters
    ----------
    folder
        Folder with one file, or one folder of daily files, per symbol.
    index_folder
        Folder with index files; None looks beside the bars and does without if none is there.
    actions_path
        NSE's list of corporate actions as Parquet; None looks beside the bars likewise.

    Raises
    ------
    ConfigError
        A folder or file is missing, the folder holds no bars, a name is no symbol, or one symbol
        has two files.
    """

    name = "files"
    is_simulated = False

    def __init__(
        self, folder: Path, *, index_folder: Path | None = None, actions_path: Path | None = None
    ) -> None:
        _require(folder, is_there=folder.is_dir(), expected="a folder of bars")
        self._folder = folder
        self._places = _stock_places(folder)
        if index_folder is not None:
            _require(index_folder, is_there=index_folder.is_dir(), expected="a folder of indices")
        self._indices = find_index_files(index_folder or _companion(folder, "index"))
        if actions_path is not None:
            _require(actions_path, is_there=actions_path.is_file(), expected="a Parquet file")
        self._actions_path = actions_path or _companion(folder, f"corporate_actions/{ACTIONS_FILE}")

    def symbols(self) -> tuple[str, ...]:
        """Return the stocks and funds in the folder, sorted."""
        return tuple(self._places)

    def plan(self, symbols: Sequence[str], start: date | None, end: date | None) -> list[Chunk]:
        """Return one chunk per symbol and index, over the whole history that the files hold.

        A file is read whole anyway, and what lies before `start` warms up the features.

        Raises
        ------
        ConfigError
            A symbol is not in the folder, or the range is upside down.
        """
        require_range(start, end)
        for symbol in symbols:
            require_known(symbol, self._places, source=str(self._folder))
        return [Chunk(symbol) for symbol in (*dict.fromkeys(symbols), *self._indices)]

    def fetch(self, chunk: Chunk) -> Fetched:
        """Read, check and cut the bars of one symbol or index.

        Raises
        ------
        ConfigError
            The symbol is not in the folder.
        InvalidBarsError
            Its file is damaged or has no known layout.
        MissingBarsError
            No valid bar is left within the chunk.
        """
        require_range(chunk.start, chunk.end)
        known = (*self._places, *self._indices)
        require_known(chunk.symbol, known, source=str(self._folder))
        split, digest = self._read(chunk.symbol)
        bars = _cut(split.good, chunk)
        if bars.is_empty():
            raise MissingBarsError(
                "no valid bars",
                where=f"{chunk.symbol} in {self._folder}",
                expected=f"bars from {chunk.start or 'the first'} to {chunk.end or 'the last'}",
                found=f"{split.good.height} outside that range, "
                f"{split.quarantine.height} rows refused {split.report.n_by_reason}, "
                f"{sum(split.report.n_by_dropped_series.values())} of other series",
                remedy="widen the range, or fetch the file again",
            )
        return Fetched(bars, split.quarantine, split.report, digest)

    def actions(self) -> pl.DataFrame:
        """Return the corporate actions beside the bars, of all companies, or an empty frame."""
        if self._actions_path is None:
            return ACTION_SCHEMA.to_frame()
        return read_actions(self._actions_path)

    def _read(self, symbol: str) -> tuple[Split, str]:
        sessions = nse_calendar().numbers()["session"]
        if symbol in self._indices:
            return read_index(symbol, self._indices[symbol], sessions=sessions)
        place = self._places[symbol]
        if place.is_dir():
            table, digest = read_cache(place)
            raw, row_format = cache_to_raw(table), CACHE_FORMAT
        else:
            table, digest = read_csv_file(place)
            layout = recognise(table.columns, STOCK_LAYOUTS, where=place)
            raw, row_format = to_raw(table, layout), layout.row_format
        split = split_quarantine(
            raw, as_read=table, symbol=symbol, row_format=row_format, sessions=sessions
        )
        return split, digest


def _stock_places(folder: Path) -> dict[str, Path]:
    places = cache_folders(folder)
    for path in sorted(folder.iterdir()):
        symbol = csv_stem(path)
        if symbol is None:
            continue
        if symbol in places:
            raise ConfigError(
                "symbol has two files",
                where=str(folder),
                expected="one file per symbol",
                found=f"{places[symbol].relative_to(folder)} and {path.name}",
                remedy="remove one of them",
            )
        places[symbol] = path
    _require(folder, is_there=bool(places), expected="files SYMBOL.csv or SYMBOL.csv.gz")
    for symbol in places:
        _require_stock(symbol, folder)
    return dict(sorted(places.items()))


def _require_stock(symbol: str, folder: Path) -> None:
    validate_symbol(symbol)
    if symbol in INDEX_FILE_STEMS:
        raise ConfigError(
            "an index stands among the stocks",
            where=f"{folder}: {symbol}",
            expected="stocks and funds only",
            remedy="move the file into the folder `index` inside or beside this one",
        )


def _companion(folder: Path, name: str) -> Path | None:
    for place in (folder / name, folder.absolute().parent / name):
        if place.exists():
            return place
    return None


def _cut(bars: pl.DataFrame, chunk: Chunk) -> pl.DataFrame:
    if chunk.start is not None:
        bars = bars.filter(pl.col("session") >= chunk.start)
    if chunk.end is not None:
        bars = bars.filter(pl.col("session") <= chunk.end)
    return bars


def _require(place: Path, *, is_there: bool, expected: str) -> None:
    if not is_there:
        raise ConfigError(
            "bars cannot be read from there",
            where=str(place),
            expected=expected,
            found="a folder without any" if place.is_dir() else "nothing of that kind",
            remedy="name another folder (see docs/data.md for the layouts)",
        )
