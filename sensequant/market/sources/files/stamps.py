"""What the time stamps of intraday files say, as instants.

Belongs here: the spellings of a time stamp, its zone, and the interval that a run of stamps has.
Does not belong here: the columns of a file (`intraday_layouts`, `cache_files`), or whether a bar
belongs to its session (`market.quality`).

A stamp is `YYYY-MM-DD HH:MM[:SS]`, with a blank or a `T`, and may end in `Z` or an offset such as
`+05:30`. One without either is the wall clock of the exchange, Indian Standard Time.
"""

from datetime import timedelta
from typing import NamedTuple

import polars as pl

from sensequant.market.intervals import INTERVALS, Interval, is_intraday, minutes_of
from sensequant.market.sessions import IST

__all__ = ["IST_FORMAT", "IST_OFFSET", "Stamps", "ist_text", "read_stamps", "smallest_interval"]

IST_FORMAT = "%Y-%m-%d %H:%M:%S"
"""The wall clock of the exchange, as `market.quality` is given it."""

_INSTANT = pl.Datetime("us", "UTC")
IST_OFFSET: timedelta = IST.utcoffset(None)
"""How far the clock of India is ahead of UTC."""

_STAMP = (
    r"^(?<day>\d{4}-\d{2}-\d{2})[ T](?<minute>\d{2}:\d{2})(?::(?<second>\d{2}))?"
    r"(?<zone>Z|[+-]\d{2}:?\d{2})?$"
)


class Stamps(NamedTuple):
    """Expressions of one column of stamps; all are null where the text is no stamp."""

    local: pl.Expr
    """The instant if the clock as written is that of India, whatever offset stands beside it."""

    written: pl.Expr
    """The instant by the offset in the text; null where none stands there."""

    instant: pl.Expr
    """The instant by the offset in the text, by the clock of India where none stands there."""


def read_stamps(column: str) -> Stamps:
    """Return what the texts of a column say, as expressions.

    Parameters
    ----------
    column
        Name of a column of texts.
    """
    parts = pl.col(column).str.strip_chars().str.extract_groups(_STAMP).struct
    second = parts.field("second").fill_null("00")
    wall = pl.concat_str(
        parts.field("day"), parts.field("minute"), second, separator=":"
    ).str.to_datetime("%Y-%m-%d:%H:%M:%S", strict=False, time_unit="us")
    zone = parts.field("zone").str.replace("Z", "+00:00", literal=True).str.replace(":", "")
    hours = zone.str.slice(1, 2).cast(pl.Int64, strict=False)
    minutes = zone.str.slice(3, 2).cast(pl.Int64, strict=False)
    offset = pl.duration(hours=hours, minutes=minutes)
    signed = pl.when(zone.str.starts_with("-")).then(-offset).otherwise(offset)
    written = (wall - signed).dt.replace_time_zone("UTC")
    local = (wall - IST_OFFSET).dt.replace_time_zone("UTC")
    instant = pl.when(zone.is_null()).then(local).otherwise(written)
    return Stamps(local.cast(_INSTANT), written.cast(_INSTANT), instant.cast(_INSTANT))


def ist_text(instant: pl.Expr) -> pl.Expr:
    """Return an instant as the wall clock of the exchange, in `IST_FORMAT`."""
    return (instant.dt.replace_time_zone(None) + IST_OFFSET).dt.strftime(IST_FORMAT)


def smallest_interval(instants: pl.Series) -> Interval | None:
    """Return the interval of bars with these starts: the smallest step between two of them.

    None where there are fewer than two, or the step is none of the intraday intervals.
    """
    steps = instants.drop_nulls().unique().sort().diff().drop_nulls()
    smallest = steps.min()
    for interval in INTERVALS:
        if is_intraday(interval) and smallest == timedelta(minutes=minutes_of(interval)):
            return interval
    return None
