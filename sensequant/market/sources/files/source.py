"""A folder of files as a source of bars.

Belongs here: what is fetched from which files, and where indices and corporate actions lie beside
them. Does not belong here: what lies in the folder (`catalogue`), how a file is read
(`single_files`, `day_files`, `cache_files`, `index_files`, `action_files`).

A folder holds one of these:

- `SYMBOL.csv` or `SYMBOL.csv.gz`, daily or intraday, in any of the layouts of `layouts` and
  `intraday_layouts`; the name of the file is the symbol, whatever names stand in its rows;
- `SYMBOL/INTERVAL/YYYY-MM-DD.csv`, the cache of the replaced system;
- NSE's bhavcopies, one file for each session with all symbols (`day_files`).

Indices are looked for in `index`, corporate actions in
`corporate_actions/corporate_actions.parquet`: first inside the folder, then beside it. A place that
is given explicitly wins and must exist.
"""

from pathlib import Path

import polars as pl

from sensequant.errors import ConfigError, MissingBarsError
from sensequant.market.actions import ACTION_SCHEMA
from sensequant.market.intervals import DAILY, Interval
from sensequant.market.quality import Split, split_quarantine
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk, Fetched, require_range, require_symbol
from sensequant.market.sources.files.action_files import ACTIONS_FILE, read_actions
from sensequant.market.sources.files.cache_files import cache_format, cache_to_raw, read_cache
from sensequant.market.sources.files.catalogue import read_catalogue
from sensequant.market.sources.files.day_files import DayFiles
from sensequant.market.sources.files.index_files import find_index_files, read_index
from sensequant.market.sources.files.layouts import STOCK_LAYOUTS
from sensequant.market.sources.files.single_files import split_file

__all__ = ["FilesSource"]


class FilesSource:
    """Bars in a folder of CSV files.

    Parameters
    ----------
    folder
        Folder with files per symbol, or with files per session.
    index_folder
        Folder with index files; None looks beside the bars and does without if none is there.
    actions_path
        NSE's list of corporate actions as Parquet; None looks beside the bars likewise.

    Raises
    ------
    ConfigError
        A folder or file is missing, the folder holds no bars or two kinds of files, a name is no
        symbol, or one symbol has two files of one interval.
    """

    name = "files"
    is_simulated = False

    def __init__(
        self, folder: Path, *, index_folder: Path | None = None, actions_path: Path | None = None
    ) -> None:
        _require(folder, is_there=folder.is_dir(), expected="a folder of bars")
        self._folder = folder
        self._catalogue = read_catalogue(folder)
        self._days = DayFiles(self._catalogue.days) if self._catalogue.days else None
        _require(
            folder,
            is_there=not self._catalogue.is_empty,
            expected="files SYMBOL.csv or SYMBOL.csv.gz, or NSE's bhavcopies",
        )
        if index_folder is not None:
            _require(index_folder, is_there=index_folder.is_dir(), expected="a folder of indices")
        self._indices = find_index_files(index_folder or _companion(folder, "index"))
        if actions_path is not None:
            _require(actions_path, is_there=actions_path.is_file(), expected="a Parquet file")
        self._actions_path = actions_path or _companion(folder, f"corporate_actions/{ACTIONS_FILE}")

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """Lengths of bars of which the folder has a stock or an index."""
        return self._catalogue.intervals

    def symbols(self) -> tuple[str, ...]:
        """Return the stocks and funds in the folder, of whatever interval, sorted.

        Raises
        ------
        InvalidBarsError
            The folder holds bhavcopies, which must be read for this, and one is damaged.
        """
        return self._catalogue.symbols if self._days is None else self._days.symbols()

    def indices(self, interval: Interval = DAILY) -> tuple[str, ...]:
        """Return the indices that have bars of this length."""
        if interval == DAILY:
            return tuple(self._indices)
        return tuple(self._catalogue.indices[interval])

    def sessions_per_chunk(self, interval: Interval) -> int | None:  # noqa: ARG002 (one for all)
        """Return None: a file is read whole anyway, so one chunk holds all there is."""
        return None

    def fetch(self, chunk: Chunk) -> Fetched:
        """Read, check and cut the bars of one symbol or index.

        No bars come back where the file has none of them, or where all are refused; the quarantine
        and the report then tell why. Two bhavcopies of a session that differ are a finding,
        `bhavcopies_differ`, followed by the number of such bars of the symbol.

        Raises
        ------
        UnknownSymbolError
            The symbol is not in the folder.
        ConfigError
            The interval is not in the folder.
        InvalidBarsError
            Its file is damaged or has no known layout.
        MissingBarsError
            It has no file of this interval, or the file holds no row at all.
        """
        require_range(chunk.start, chunk.end)
        self._require_interval(chunk)
        findings: tuple[str, ...] = ()
        if chunk.symbol in self._indices and chunk.interval == DAILY:
            paths = self._indices[chunk.symbol]
            split, digest = read_index(chunk.symbol, paths, sessions=_sessions())
        elif self._days is not None:
            split, n_different = self._days.split(chunk.symbol, sessions=_sessions())
            digest = self._days.digest()
            findings = (f"bhavcopies_differ:{n_different}",) if n_different else ()
        else:
            split, digest = self._read(chunk.symbol, chunk.interval)
        bars = _cut(split.good, chunk)
        return Fetched(bars, split.quarantine, split.report, digest, findings=findings)

    def actions(self) -> pl.DataFrame:
        """Return the corporate actions beside the bars, of all companies, or an empty frame."""
        if self._actions_path is None:
            return ACTION_SCHEMA.to_frame()
        return read_actions(self._actions_path)

    def _read(self, symbol: str, interval: Interval) -> tuple[Split, str]:
        place = self._place(symbol, interval)
        if not place.is_dir():
            return split_file(
                place,
                symbol=symbol,
                interval=interval,
                layouts=STOCK_LAYOUTS,
                sessions=_sessions(),
            )
        table, digest = read_cache(place)
        split = split_quarantine(
            cache_to_raw(table, interval),
            as_read=table,
            symbol=symbol,
            row_format=cache_format(interval),
            sessions=_sessions(),
            interval=interval,
        )
        return split, digest

    def _place(self, symbol: str, interval: Interval) -> Path:
        places = self._catalogue.stocks[interval] | self._catalogue.indices[interval]
        if symbol not in places:
            raise MissingBarsError(
                "symbol has no bars of this interval",
                where=f"{symbol} {interval} in {self._folder}",
                expected="a file of the symbol",
                found="files of other intervals, or of other symbols",
                remedy="add the file, or leave the symbol out",
            )
        return places[symbol]

    def _require_interval(self, chunk: Chunk) -> None:
        known = (*self.symbols(), *self.indices(), *self.indices(chunk.interval))
        require_symbol(chunk.symbol, known, source=str(self._folder))
        # An index has its own folder, so it may be daily beside intraday stocks.
        if chunk.interval not in self.intervals and chunk.symbol not in self.indices():
            raise ConfigError(
                "folder has no bars of this interval",
                where=str(self._folder),
                expected=", ".join(self.intervals),
                found=chunk.interval,
                remedy="ask for another interval, or add files of it",
            )


def _sessions() -> pl.Series:
    return nse_calendar().numbers()["session"]


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
