"""NSE's lists of corporate actions and of changed symbols, and what a person confirmed, as files.

Belongs here: reading these files. Does not belong here: what a subject means
(`market.action_wording`), which row holds (`market.actions`), what it does to a price
(`market.action_ratios`), the walk along changed symbols (`market.renames`).

A list is Parquet with symbol, subject and exDate, as NSE's site delivers them to a program, or the
CSV that the site offers for download (SYMBOL, PURPOSE, FACE VALUE, EX-DATE among others). Beside it
may lie `confirmed_actions.csv`, written by hand: symbol, ex_date (2017-01-04), kind, price_ratio,
evidence, and if wanted amount_inr. It is where a person settles what `market.action_gaps` found, or
what a list has wrong; a row without evidence is refused.

NSE lists an action under the name that the company has now, while a file of bars may end under the
former name (the demerger of TATAMOTORS stands under TMPV). An action before the change of name is
therefore listed under the former name too. After the change it is not, because a freed name may
be given to another company.
"""

from pathlib import Path

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.market.actions import ACTION_SCHEMA, CONFIRMED, actions_frame, parse_actions
from sensequant.market.renames import read_renames
from sensequant.market.user_tables import parse_dates, read_user_table

__all__ = [
    "ACTIONS_FILE",
    "CONFIRMED_FILE",
    "RENAMES_FILE",
    "read_actions",
    "read_confirmed_actions",
    "read_listed_subjects",
]

ACTIONS_FILE = "corporate_actions.parquet"
CONFIRMED_FILE = "confirmed_actions.csv"
RENAMES_FILE = "symbolchange.parquet"

_SOURCE = "nse_corporate_actions"
_LIST_COLUMNS = {
    "symbol": ("symbol",),
    "ex_date": ("exdate", "ex-date"),
    "subject": ("subject", "purpose"),
    # Older downloads say in which money it is.
    "face_value_inr": ("face value", "face value(rs.)", "faceval"),
}
_CONFIRMED_COLUMNS = {
    name: (name,) for name in ("symbol", "ex_date", "kind", "price_ratio", "evidence", "amount_inr")
}


def read_actions(path: Path) -> pl.DataFrame:
    """Read corporate actions, and what lies beside them: changed symbols, confirmed actions.

    Parameters
    ----------
    path
        NSE's list, as Parquet or as CSV (`.csv` or `.csv.gz`).

    Returns
    -------
    polars.DataFrame
        Actions that move the price, in `market.actions.ACTION_SCHEMA`.

    Raises
    ------
    InvalidBarsError
        A file cannot be read, lacks a column, or holds a value that is none.
    """
    actions = parse_actions(read_listed_subjects(path), source=_SOURCE)
    confirmed = path.with_name(CONFIRMED_FILE)
    if confirmed.is_file():
        actions = pl.concat([actions, read_confirmed_actions(confirmed)])
    renames = path.with_name(RENAMES_FILE)
    if renames.is_file():
        actions = read_renames(renames).under_former_names(actions, date_column="ex_date")
    return actions.unique().sort(ACTION_SCHEMA.names())


def read_listed_subjects(path: Path) -> pl.DataFrame:
    """Read every line of NSE's list, whatever it says.

    Parameters
    ----------
    path
        NSE's list, as Parquet or as CSV (`.csv` or `.csv.gz`).

    Returns
    -------
    polars.DataFrame
        symbol, ex_date (Date, null where the list has none), subject, face_value_inr (Float64, null
        where the list has none), in the order of the list.

    Raises
    ------
    InvalidBarsError
        The file cannot be read or lacks a column.
    """
    table = read_user_table(path, _LIST_COLUMNS, optional=frozenset({"face_value_inr"}))
    return table.select(
        "symbol",
        parse_dates("ex_date").alias("ex_date"),
        "subject",
        pl.col("face_value_inr").cast(pl.Float64, strict=False),
    )


def read_confirmed_actions(path: Path) -> pl.DataFrame:
    """Read the actions that a person has confirmed.

    Parameters
    ----------
    path
        CSV with symbol, ex_date (2017-01-04 or 04-Jan-2017), kind (`market.actions.KINDS`),
        price_ratio, evidence, and if wanted amount_inr.

    Returns
    -------
    polars.DataFrame
        `market.actions.ACTION_SCHEMA` with the source "confirmed"; the evidence is the subject.

    Raises
    ------
    InvalidBarsError
        The file cannot be read; or a row lacks symbol, date, kind or evidence, gives neither ratio
        nor amount, or is not valid (`market.actions.validate_actions`).
    """
    table = read_user_table(path, _CONFIRMED_COLUMNS, optional=frozenset({"amount_inr"}))
    rows = table.with_columns(
        parse_dates("ex_date").alias("ex_date"),
        pl.col("price_ratio", "amount_inr").cast(pl.Float64, strict=False),
    )
    _require_complete(path, table, rows)
    shown = rows.select(
        "symbol",
        "ex_date",
        "kind",
        "price_ratio",
        "evidence",
        source=pl.lit(CONFIRMED),
        ratio_source=pl.lit(CONFIRMED),
        amount_inr="amount_inr",
    )
    return actions_frame(shown.rows())


def _require_complete(path: Path, table: pl.DataFrame, rows: pl.DataFrame) -> None:
    is_whole = pl.all_horizontal(pl.col("symbol", "ex_date", "kind", "evidence").is_not_null())
    is_said = pl.any_horizontal(pl.col("price_ratio", "amount_inr").is_not_null())
    # A text that is no number, or no date, is not taken for one that is not known.
    n_null = [
        frame.select(pl.sum_horizontal(pl.all().is_null())).to_series() for frame in (table, rows)
    ]
    wrong = rows.with_row_index("line", offset=2).filter(
        ~(is_whole & is_said) | (n_null[0] != n_null[1])
    )
    if wrong.height:
        raise InvalidBarsError(
            "confirmed action is not complete",
            where=f"{path}, line {wrong['line'][0]}",
            expected="symbol, ex_date, kind, evidence, and a number as price_ratio or amount_inr",
            found=str(table.row(int(wrong["line"][0]) - 2)),
            remedy="complete the line, or take it out",
        )
