"""What lies in a folder of bars, before any of it is read whole.

Belongs here: which files are which symbol's or index's bars of which interval. Does not belong
here: reading bars (`source`), layouts.

The name of a file is its symbol. Charting sites write `_` for the signs that tickers have besides
letters and digits; since that may stand for `&` or `-`, only the tickers listed here are meant by
such a name. An intraday file of an index lies among the stocks under the index's own name.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from sensequant.errors import ConfigError
from sensequant.market.intervals import DAILY, INTERVALS, Interval
from sensequant.market.sources.files.cache_files import cache_folders
from sensequant.market.sources.files.day_files import DayFile, find_day_files
from sensequant.market.sources.files.index_files import INDEX_FILE_STEMS, INTRADAY_INDEX_STEMS
from sensequant.market.sources.files.intraday_layouts import interval_of
from sensequant.market.sources.files.reading import csv_stem, read_csv_head
from sensequant.market.symbols import validate_symbol

__all__ = ["Catalogue", "read_catalogue"]

_SIGNED_TICKERS = (
    "ARE&M",
    "BAJAJ-AUTO",
    "COX&KINGS",
    "GMRP&UI",
    "GVT&D",
    "IL&FSENGG",
    "IL&FSTRANS",
    "J&KBANK",
    "L&TFH",
    "M&M",
    "M&MFIN",
    "MCDOWELL-N",
    "MRO-TEK",
    "NAM-INDIA",
    "NXT-INFRA",
    "S&SPOWER",
    "SURANAT&P",
    "UMIYA-MRO",
)
"""Tickers with a sign in them, of NSE's lists of actions and changes of symbols of 2016 to 2026."""

_UNSIGNED: Mapping[str, str] = {re.sub("[&-]", "_", ticker): ticker for ticker in _SIGNED_TICKERS}


@dataclasses.dataclass(frozen=True, slots=True)
class Catalogue:
    """Where the bars of a folder lie.

    Parameters
    ----------
    stocks
        Interval to symbol to its file, or to its folder of per-session files.
    indices
        Intraday interval to index to its file.
    days
        Files that hold all symbols of one session each; there is no other file then.
    """

    stocks: dict[Interval, dict[str, Path]]
    indices: dict[Interval, dict[str, Path]]
    days: tuple[DayFile, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is no file with bars."""
        return not (self.days or any(self.stocks.values()) or any(self.indices.values()))

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """Intervals of which there is a file, the longest first."""
        if self.days:
            return (DAILY,)
        return tuple(name for name in INTERVALS if self.stocks[name] or self.indices[name])

    @property
    def symbols(self) -> tuple[str, ...]:
        """Stocks that have a file of their own, of whatever interval, sorted."""
        return tuple(sorted({symbol for places in self.stocks.values() for symbol in places}))


def read_catalogue(folder: Path) -> Catalogue:
    """List what lies in a folder of bars.

    Raises
    ------
    ConfigError
        A name is no symbol, a symbol has two files of one interval, an index stands among daily
        stocks, or files per session stand beside files per symbol.
    """
    days = find_day_files(folder)
    stocks: dict[Interval, dict[str, Path]] = {
        interval: cache_folders(folder, interval) for interval in INTERVALS
    }
    indices: dict[Interval, dict[str, Path]] = {interval: {} for interval in INTERVALS}
    in_days = {file.path for file in days}
    for path in sorted(folder.iterdir()):
        stem = csv_stem(path)
        if stem is None or path in in_days:
            continue
        interval = _interval(path)
        index = INTRADAY_INDEX_STEMS.get(stem) if interval != DAILY else None
        places = stocks[interval] if index is None else indices[interval]
        _add(places, index or _UNSIGNED.get(stem, stem), path)
    for symbol in {symbol for places in stocks.values() for symbol in places}:
        _require_stock(symbol, folder)
    if days and (any(stocks.values()) or any(indices.values())):
        _refuse_mixture(folder, days, [*stocks.values(), *indices.values()])
    return Catalogue(stocks, indices, days)


def _interval(path: Path) -> Interval:
    head = read_csv_head(path)
    # A file that cannot be read counts as daily, and says why when it is read.
    return DAILY if head is None else interval_of(head) or DAILY


def _add(places: dict[str, Path], symbol: str, path: Path) -> None:
    if symbol in places:
        raise ConfigError(
            "symbol has two files",
            where=str(path.parent),
            expected="one file per symbol and interval",
            found=f"{places[symbol].relative_to(path.parent)} and {path.name}",
            remedy="remove one of them",
        )
    places[symbol] = path


def _require_stock(symbol: str, folder: Path) -> None:
    validate_symbol(symbol)
    if symbol in INDEX_FILE_STEMS:
        raise ConfigError(
            "an index stands among the stocks",
            where=f"{folder}: {symbol}",
            expected="stocks and funds only",
            remedy="move the file into the folder `index` inside or beside this one",
        )


def _refuse_mixture(
    folder: Path, days: tuple[DayFile, ...], others: Iterable[Mapping[str, Path]]
) -> None:
    other = next(path for places in others for path in places.values())
    raise ConfigError(
        "files per session stand beside files per symbol",
        where=str(folder),
        expected="one kind of files in a folder",
        found=f"{days[0].path.name} and {other.relative_to(folder)}",
        remedy="move one kind into a folder of its own",
    )
