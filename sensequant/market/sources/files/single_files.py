"""One file that holds the whole history of one symbol or index.

Belongs here: from a file to its bars and quarantine, whatever its layout. Does not belong here: the
layouts (`layouts`, `intraday_layouts`), folders of per-session files (`day_files`, `cache_files`).
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from sensequant.market.intervals import Interval, is_intraday
from sensequant.market.quality import Split, split_quarantine
from sensequant.market.sources.files.intraday_layouts import OWN_INTRADAY_FORMAT, intraday_to_raw
from sensequant.market.sources.files.layouts import OWN, Layout, recognise, to_raw
from sensequant.market.sources.files.own_files import require_own_rows, with_own_sources
from sensequant.market.sources.files.reading import read_csv_file

__all__ = ["split_file"]


def split_file(
    path: Path,
    *,
    symbol: str,
    interval: Interval,
    layouts: Sequence[Layout],
    sessions: pl.Series,
) -> tuple[Split, str]:
    """Divide the rows of a file into bars and quarantine.

    Parameters
    ----------
    path
        The file.
    symbol
        Name under which its bars are kept.
    interval
        Length of its bars.
    layouts
        Layouts that a daily file may have; an intraday one has those of `intraday_layouts`.
    sessions
        Every session of the NSE calendar, sorted.

    Returns
    -------
    tuple
        Bars, quarantine and report, and the sha256 of the file.

    Raises
    ------
    InvalidBarsError
        The file cannot be read, has no known layout, or is an export of other bars.
    MissingBarsError
        It holds no row.
    """
    table, digest = read_csv_file(path)
    if is_intraday(interval):
        raw, row_format = intraday_to_raw(table, where=path)
        is_own = row_format is OWN_INTRADAY_FORMAT
    else:
        layout = recognise(table.columns, layouts, where=path)
        raw, row_format = to_raw(table, layout), layout.row_format
        is_own = layout is OWN
    if is_own:
        require_own_rows(table, interval, where=path)
    split = split_quarantine(
        raw,
        as_read=table,
        symbol=symbol,
        row_format=row_format,
        sessions=sessions,
        interval=interval,
    )
    if is_own:
        split = split._replace(good=with_own_sources(split.good, table, interval))
    return split, digest
