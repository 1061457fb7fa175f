"""Index bars that lie beside the stocks: NIFTY 50, its total return, India VIX.

Belongs here: which files hold which index, and how several files of one index become one series.
Does not belong here: the layouts themselves (`layouts`).

An index is looked for by file name, because no layout names it reliably. Where several files hold
one index, they are taken in the order of the patterns below: the first is kept whole, each later
one only adds the sessions after the last one so far (its `source` says where a bar came from).
Intraday bars of an index lie among those of the stocks; here stand the names of such files.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from sensequant.market.intervals import DAILY
from sensequant.market.quality import Split, merge_reports
from sensequant.market.sources.files.layouts import INDEX_LAYOUTS
from sensequant.market.sources.files.reading import CSV_SUFFIXES
from sensequant.market.sources.files.single_files import split_file
from sensequant.market.symbols import INDIA_VIX, NIFTY50, NIFTY50_TRI, NIFTY_BANK
from sensequant.records import digest_of

__all__ = [
    "INDEX_FILE_STEMS",
    "INTRADAY_INDEX_STEMS",
    "find_index_files",
    "read_index",
]

INDEX_FILE_STEMS: Mapping[str, tuple[str, ...]] = {
    NIFTY50: (NIFTY50, "nifty50_nse*", "nifty50_yahoo*"),
    NIFTY50_TRI: (NIFTY50_TRI, "nifty50_tri*"),
    INDIA_VIX: (INDIA_VIX, "indiavix_nse*"),
}
"""Symbol of an index to the names of its files without `.csv` or `.csv.gz`, best first."""

INTRADAY_INDEX_STEMS: Mapping[str, str] = {
    "NIFTY": NIFTY50,
    NIFTY50: NIFTY50,
    NIFTY_BANK: NIFTY_BANK,
    INDIA_VIX: INDIA_VIX,
}
"""Name of an intraday file without `.csv` or `.csv.gz` to the symbol of its index."""


def find_index_files(folder: Path | None) -> dict[str, tuple[Path, ...]]:
    """Return the files of each index that the folder has, best first."""
    if folder is None:
        return {}
    found = {
        symbol: tuple(
            path
            for stem in stems
            for suffix in reversed(CSV_SUFFIXES)
            for path in sorted(folder.glob(stem + suffix))
        )
        for symbol, stems in INDEX_FILE_STEMS.items()
    }
    return {symbol: paths for symbol, paths in found.items() if paths}


def read_index(symbol: str, paths: Sequence[Path], *, sessions: pl.Series) -> tuple[Split, str]:
    """Read one index from its files.

    Parameters
    ----------
    symbol
        Symbol of the index.
    paths
        Its files, best first.
    sessions
        Every session of the NSE calendar, sorted.

    Returns
    -------
    tuple
        Bars, quarantine and report of all files, and the digest of their bytes.

    Raises
    ------
    InvalidBarsError
        A file cannot be read or has no known layout.
    MissingBarsError
        A file holds no row.
    """
    splits: list[Split] = []
    digests: list[str] = []
    for path in paths:
        split, digest = split_file(
            path, symbol=symbol, interval=DAILY, layouts=INDEX_LAYOUTS, sessions=sessions
        )
        splits.append(split)
        digests.append(digest)
    good = _continued([split.good for split in splits])
    quarantine = pl.concat([split.quarantine for split in splits])
    report = merge_reports((split.report for split in splits), symbol=symbol)
    return Split(good, quarantine, report), digest_of(digests)


def _continued(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    series = parts[0]
    for part in parts[1:]:
        if series.is_empty():
            series = part
        else:
            later = part.filter(pl.col("session") > series["session"].max())
            series = pl.concat([series, later])
    return series
