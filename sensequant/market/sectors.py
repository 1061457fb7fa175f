"""To which sector a company belongs, by a list that a person brings.

Belongs here: reading such a list. Does not belong here: where it is kept (`ingestion.imports`),
figures by sector (`evaluation.sectors`).

NSE publishes the list of each index with a column `Industry`. It holds today's members and today's
sectors, so that it may group results, and no model may learn from it.
"""

from pathlib import Path

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.market.user_tables import is_symbol, read_user_table

__all__ = ["SECTOR_SCHEMA", "read_sectors"]

SECTOR_SCHEMA = pl.Schema({"symbol": pl.String(), "sector": pl.String()})
"""Each symbol once."""

_COLUMNS = {"symbol": ("symbol",), "sector": ("sector", "industry")}


def read_sectors(path: Path) -> pl.DataFrame:
    """Read the sectors of companies from a CSV or Parquet file.

    Parameters
    ----------
    path
        Columns symbol and sector, or `Industry` as NSE names it; others are ignored.

    Returns
    -------
    polars.DataFrame
        Rows of `SECTOR_SCHEMA`, sorted.

    Raises
    ------
    InvalidBarsError
        The file cannot be read, names no symbol, or a row is wrong; the first one is named.
    """
    table = read_user_table(path, _COLUMNS)
    sectors = table.unique().sort(SECTOR_SCHEMA.names())
    if sectors.is_empty():
        raise _wrong(path, "at least one symbol", "none")
    _require_none(table.filter(~is_symbol("symbol")), "an NSE symbol", path)
    _require_none(table.filter(pl.col("sector").is_null()), "a sector for each symbol", path)
    _require_none(sectors.filter(pl.col("symbol").is_duplicated()), "one sector for a symbol", path)
    return sectors.cast(SECTOR_SCHEMA)


def _require_none(wrong: pl.DataFrame, expected: str, path: Path) -> None:
    if not wrong.is_empty():
        symbol, sector = wrong.row(0)
        raise _wrong(path, expected, f"symbol {symbol or '(empty)'}, sector {sector or '(empty)'}")


def _wrong(path: Path, expected: str, found: str) -> InvalidBarsError:
    return InvalidBarsError(
        "list of sectors is wrong",
        where=str(path),
        expected=expected,
        found=found,
        remedy="correct the list; the former one stays",
    )
