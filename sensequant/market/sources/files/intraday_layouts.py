"""The layouts of intraday files, and which interval a file holds.

Belongs here: which columns an intraday file has and how its time stamps become the session and the
start of a bar. Does not belong here: spellings of a time stamp (`stamps`), daily layouts
(`layouts`), judging rows (`market.quality`).

Layouts
-------
- `sensequant_csv`: what `market.export` writes, with `starts_at_utc` or `starts_at_ist`.
- `intraday_csv`: a time stamp (`datetime`, `timestamp`, `date` or `time`), open, high, low, close
  and volume, and perhaps a symbol; the form in which charting sites and brokers hand bars out. A
  further column, such as a counter of rows, is left alone.

The interval stands in no file but our own, so it is the smallest step between two stamps at the
head of the file. A stamp names the start of its bar.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.market.intervals import INTERVALS, Interval, is_intraday
from sensequant.market.quality import RAW_COLUMNS, RowFormat
from sensequant.market.sources.files.layouts import OWN
from sensequant.market.sources.files.stamps import (
    IST_FORMAT,
    ist_text,
    read_stamps,
    smallest_interval,
)

__all__ = [
    "INTRADAY_FORMAT",
    "OWN_INTRADAY_FORMAT",
    "OWN_STAMPS",
    "interval_of",
    "intraday_to_raw",
]

INTRADAY_FORMAT = RowFormat("intraday_csv", IST_FORMAT)
OWN_INTRADAY_FORMAT = RowFormat(OWN.name, IST_FORMAT)

OWN_STAMPS = ("starts_at_utc", "starts_at_ist")
"""Columns of our own layout that hold the start of a bar."""

_BY_NAME: dict[str, Interval] = {name: name for name in INTERVALS if is_intraday(name)}
_STAMPS = ("datetime", "timestamp", "date", "time")
_BAR = ("open", "high", "low", "close", "volume")


def interval_of(head: pl.DataFrame) -> Interval | None:
    """Return the interval of the bars of a file, or None where it is not intraday.

    Parameters
    ----------
    head
        First rows of the file (`reading.read_csv_head`).
    """
    stamp = _stamp_of(head.columns)
    if stamp is None or head.is_empty():
        return None
    if _is_own(head.columns):
        return _BY_NAME.get(head["interval"][0])
    return smallest_interval(head.select(read_stamps(stamp).instant.alias("at")).to_series())


def intraday_to_raw(table: pl.DataFrame, *, where: Path) -> tuple[pl.DataFrame, RowFormat]:
    """Return the rows of an intraday file in `market.quality.RAW_COLUMNS`, and their format.

    Raises
    ------
    InvalidBarsError
        The header is that of no intraday layout.
    """
    stamp = _stamp_of(table.columns)
    if stamp is None:
        raise InvalidBarsError(
            "file has not the layout of intraday bars",
            where=str(where),
            expected=f"{', '.join(_BAR)} and one of {', '.join(_STAMPS)}",
            found=", ".join(table.columns),
            remedy="bring the file into this layout (docs/data.md) or remove it",
        )
    is_own = _is_own(table.columns)
    columns = {ours: theirs for ours, theirs in OWN.columns.items() if ours != "session"}
    if not is_own:
        columns = {name: name for name in _BAR}
        columns |= {"source_symbol": "symbol"} if "symbol" in table.columns else {}
    absent = set(RAW_COLUMNS) - set(columns) - {"row_number", "session"}
    raw = table.select(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("row_number"),
        *(pl.col(theirs).cast(pl.String).alias(ours) for ours, theirs in columns.items()),
        *(pl.lit(None, dtype=pl.String).alias(ours) for ours in sorted(absent)),
        session=ist_text(read_stamps(stamp).instant),
    ).select(RAW_COLUMNS)
    return raw, OWN_INTRADAY_FORMAT if is_own else INTRADAY_FORMAT


def _stamp_of(header: Sequence[str]) -> str | None:
    if not set(_BAR) <= set(header):
        return None
    names = (*OWN_STAMPS, *_STAMPS)
    return next((name for name in names if name in header), None)


def _is_own(header: Sequence[str]) -> bool:
    return OWN.needed <= set(header) and any(stamp in header for stamp in OWN_STAMPS)
