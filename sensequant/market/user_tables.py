"""Small tables that a person or an exchange hands over as CSV or Parquet.

Belongs here: opening such a file and finding its columns by any of their names. Does not belong
here: what the columns mean (`market.renames`, `market.listings`), files of bars
(`market.sources.files`).

Every column is read as text without outer blanks; empty text is null. Dates may stand as
2022-12-05, as 05-Dec-2022 or, in Parquet, as dates.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.market.symbols import SYMBOL_PATTERN

__all__ = ["is_symbol", "parse_dates", "read_user_table"]


def read_user_table(
    path: Path, columns: Mapping[str, tuple[str, ...]], *, optional: frozenset[str] = frozenset()
) -> pl.DataFrame:
    """Read the named columns of a CSV or Parquet file as text.

    Parameters
    ----------
    path
        File; one that ends in `.csv` or `.csv.gz` is CSV with a header, all else is Parquet.
    columns
        Our name of a column to its names in files, in lower case and without outer blanks.
    optional
        Those of our names that a file may lack; they are null then.

    Raises
    ------
    InvalidBarsError
        The file cannot be read, or lacks a column.
    """
    try:
        table = _opened(path)
    except (OSError, UnicodeError, pl.exceptions.PolarsError) as error:
        raise _unusable(path, columns, str(error).splitlines()[0]) from error
    given = {name.strip("\ufeff \t\"'").lower(): name for name in table.columns}
    found = {
        ours: next((given[name] for name in names if name in given), None)
        for ours, names in columns.items()
    }
    if any(name is None and ours not in optional for ours, name in found.items()):
        raise _unusable(path, columns, ", ".join(table.columns))
    return table.select(_text(name).alias(ours) for ours, name in found.items())


def is_symbol(column: str) -> pl.Expr:
    """Return whether each text of a column is a symbol of NSE; null is none."""
    return pl.col(column).str.contains(f"^(?:{SYMBOL_PATTERN})$").fill_null(value=False)


def parse_dates(column: str) -> pl.Expr:
    """Return the dates of a column of text, null where it has no known format."""
    text = pl.col(column)
    iso = text.str.extract(r"^(\d{4}-\d{1,2}-\d{1,2})(?:\D|$)")
    # A year of two digits would be read as one of the first century.
    named = text.str.extract(r"^(\d{1,2}-[A-Za-z]{3}-\d{4})(?:\D|$)")
    return pl.coalesce(
        iso.str.to_date("%Y-%m-%d", strict=False), named.str.to_date("%d-%b-%Y", strict=False)
    )


def _opened(path: Path) -> pl.DataFrame:
    if path.name.endswith((".csv", ".csv.gz")):
        return pl.read_csv(io.BytesIO(path.read_bytes()), infer_schema=False)
    return pl.read_parquet(path)


def _text(name: str | None) -> pl.Expr:
    if name is None:
        return pl.lit(None, pl.String)
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def _unusable(path: Path, columns: Mapping[str, tuple[str, ...]], found: str) -> InvalidBarsError:
    return InvalidBarsError(
        "table cannot be used",
        where=str(path),
        expected=f"CSV or Parquet with the columns {', '.join(columns)}",
        found=found,
        remedy="fetch or write the file again, or remove it",
    )
