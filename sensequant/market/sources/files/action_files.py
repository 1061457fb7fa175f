"""NSE's lists of corporate actions and of changed symbols, as files beside the bars.

Belongs here: finding and reading these two files. Does not belong here: what a subject means for
the price (`market.adjustments`).

NSE lists an action under the name that the company has now, while a file of bars may end under the
former name (the demerger of TATAMOTORS stands under TMPV). An action before the change of name is
therefore listed under the former name too. After the change it is not, because a freed name may
be given to another company.
"""

from pathlib import Path

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.market.adjustments import ACTION_SCHEMA, parse_actions

__all__ = ["ACTIONS_FILE", "RENAMES_FILE", "read_actions"]

ACTIONS_FILE = "corporate_actions.parquet"
RENAMES_FILE = "symbolchange.parquet"

_SOURCE = "nse_corporate_actions"
_N_CHAINED_RENAMES = 4


def read_actions(path: Path) -> pl.DataFrame:
    """Read corporate actions, and the changes of symbols from the same folder if they are there.

    Parameters
    ----------
    path
        Parquet with symbol, subject and exDate, as NSE's list has them.

    Returns
    -------
    polars.DataFrame
        Actions that move the price, in `market.adjustments.ACTION_SCHEMA`.

    Raises
    ------
    InvalidBarsError
        A file cannot be read or lacks a column.
    """
    listed = _read(path, ("symbol", "subject", "exDate"))
    actions = parse_actions(
        listed.select(
            pl.col("symbol").cast(pl.String).str.strip_chars(),
            pl.col("subject").cast(pl.String),
            pl.col("exDate").cast(pl.Date).alias("ex_date"),
        ),
        source=_SOURCE,
    )
    renames = path.with_name(RENAMES_FILE)
    if not renames.is_file():
        return actions
    return _under_former_names(actions, _read(renames, ("old", "new", "date")))


def _read(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unusable(path, columns, str(error).splitlines()[0]) from error
    if not set(columns) <= set(frame.columns):
        raise _unusable(path, columns, ", ".join(frame.columns))
    return frame


def _unusable(path: Path, columns: tuple[str, ...], found: str) -> InvalidBarsError:
    return InvalidBarsError(
        "list of corporate actions cannot be used",
        where=str(path),
        expected=f"Parquet with the columns {', '.join(columns)}",
        found=found,
        remedy="fetch the list again or remove it",
    )


def _under_former_names(actions: pl.DataFrame, renames: pl.DataFrame) -> pl.DataFrame:
    changes = renames.select(
        pl.col("old").str.strip_chars(),
        pl.col("new").str.strip_chars().alias("symbol"),
        pl.col("date").str.strip_chars().str.to_date("%d-%b-%Y", strict=False).alias("changed_on"),
    ).drop_nulls()
    newest = actions
    parts = [actions]
    # LTI became LTIM and then LTM: each round steps back by one name.
    for _ in range(_N_CHAINED_RENAMES):
        newest = (
            newest.join(changes, on="symbol")
            .filter(pl.col("ex_date") < pl.col("changed_on"))
            .with_columns(pl.col("old").alias("symbol"))
            .select(ACTION_SCHEMA.names())
        )
        parts.append(newest)
    return pl.concat(parts).unique().sort("symbol", "ex_date", "kind", "subject")
