"""What only a file that `market.export` wrote says: the source of each row.

Belongs here: carrying the source over from such a file, and refusing bars that are not real. Does
not belong here: the columns of the layout (`layouts.OWN`, `intraday_layouts`), writing it
(`market.export`).
"""

from pathlib import Path

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.market.bars import Interval, bar_key, bar_schema
from sensequant.market.intervals import is_intraday
from sensequant.market.sources.files.intraday_layouts import OWN_STAMPS
from sensequant.market.sources.files.stamps import read_stamps

__all__ = ["require_own_rows", "with_own_sources"]


def with_own_sources(bars: pl.DataFrame, table: pl.DataFrame, interval: Interval) -> pl.DataFrame:
    """Return the bars with the sources that stand in the file.

    Parameters
    ----------
    bars
        Valid bars out of the file (`market.bars.bar_schema`).
    table
        The file.
    interval
        Length of the bars.
    """
    key = bar_key(interval)[1]
    at = pl.col("session").str.strip_chars().str.to_date(strict=False)
    if is_intraday(interval):
        stamp = next(name for name in OWN_STAMPS if name in table.columns)
        at = read_stamps(stamp).instant
    source = pl.col("source").str.strip_chars()
    named = table.select(at.alias(key), named_source=source).unique(
        subset=key, keep="first", maintain_order=True
    )
    joined = bars.join(named, on=key, how="left", maintain_order="left")
    return joined.with_columns(
        source=pl.coalesce("named_source", "source"),
    ).select(bar_schema(interval).names())


def require_own_rows(table: pl.DataFrame, interval: Interval, *, where: Path) -> None:
    """Raise unless all rows are real bars of one interval that will not change any more.

    Bars out of files count as final, so provisional ones must not come back as such.

    Raises
    ------
    InvalidBarsError
        A row is simulated, provisional, or of another interval.
    """
    expected = {"interval": interval, "is_simulated": "false", "is_final": "true"}
    for column, value in expected.items():
        found = table[column].str.strip_chars().unique().sort().to_list()
        if found != [value]:
            raise InvalidBarsError(
                "exported file cannot be read as final, real bars of one interval",
                where=f"{where}, column {column}",
                expected=value,
                found=", ".join(map(str, found)),
                remedy="export such bars into a file of their own",
            )
