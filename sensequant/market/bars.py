"""Bars: one row per (symbol, session), as the exchange published it, not adjusted.

Belongs here: the schema, the check that every frame from outside passes, and the digest of bars.
Does not belong here: reading rows out of files (`sources`), what happens to a row that is wrong
(`quality`), adjustment (`adjustments`), storage (`store`).

Prices are rupees per share, `turnover_inr` is rupees, volumes are shares. Missing is null; NaN and
infinity are refused. `symbol` is the name under which the bar is kept, `source_symbol` the name
that stood in the delivered row.
"""

import hashlib
from typing import Literal

import numpy as np
import polars as pl

from sensequant.errors import InvalidBarsError

__all__ = [
    "BAR_COLUMNS",
    "BAR_KEY",
    "BAR_SCHEMA",
    "DAILY",
    "OPTIONAL_NUMBERS",
    "PRICES",
    "Interval",
    "bars_digest",
    "validate_bars",
]

Interval = Literal["1day"]
"""Length of a bar."""

DAILY: Interval = "1day"

PRICES = ("open", "high", "low", "close")
"""The four prices that every bar has."""

OPTIONAL_NUMBERS = (
    "previous_close",
    "average_price",
    "turnover_inr",
    "n_trades",
    "delivered_volume",
)
"""Numbers that a source may leave out."""

BAR_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.Date(),
        "open": pl.Float64(),
        "high": pl.Float64(),
        "low": pl.Float64(),
        "close": pl.Float64(),
        "volume": pl.Int64(),
        "previous_close": pl.Float64(),
        "average_price": pl.Float64(),
        "turnover_inr": pl.Float64(),
        "n_trades": pl.Int64(),
        "delivered_volume": pl.Int64(),
        "series": pl.String(),
        "source_symbol": pl.String(),
        "source": pl.String(),
        "is_simulated": pl.Boolean(),
    }
)
BAR_COLUMNS = tuple(BAR_SCHEMA)
BAR_KEY = ("symbol", "session")

_NULLABLE = (*OPTIONAL_NUMBERS, "series")


def validate_bars(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame if it is a valid frame of bars, else raise.

    Parameters
    ----------
    frame
        Exactly the columns of `BAR_SCHEMA`, in that order, sorted by symbol and session, one row
        each. An empty frame with that schema is valid.

    Returns
    -------
    polars.DataFrame
        The same object.

    Raises
    ------
    InvalidBarsError
        Columns, order, values or sorting are wrong; the first offending row is named.
    """
    _require_schema(frame)
    _require_order(frame)
    for column in BAR_COLUMNS:
        if column not in _NULLABLE:
            _require(frame, column, ~pl.col(column).is_null(), expected="a value")
    for column in PRICES:
        is_price = pl.col(column).is_finite() & (pl.col(column) > 0)
        _require(frame, column, is_price, expected="a finite price above 0")
    for column in ("previous_close", "average_price", "turnover_inr"):
        is_fine = pl.col(column).is_finite() & (pl.col(column) >= 0)
        _require(frame, column, is_fine, expected="a finite number of at least 0, or null")
    for column in ("volume", "n_trades", "delivered_volume"):
        _require(frame, column, pl.col(column) >= 0, expected="at least 0")
    is_top = pl.col("high") >= pl.max_horizontal("open", "close", "low")
    _require(frame, "high", is_top, expected="at least open, close and low")
    is_bottom = pl.col("low") <= pl.min_horizontal("open", "close")
    _require(frame, "low", is_bottom, expected="at most open and close")
    return frame


def bars_digest(frame: pl.DataFrame) -> str:
    """Return the sha256 of the values of bars, whatever the order of rows.

    Only the columns of `BAR_SCHEMA` count: when a bar was fetched and whether it is final do not.
    The bytes are defined here (a mask of nulls, then little-endian numbers or the lengths and
    UTF-8 bytes of texts), so that the digest depends on no library's file format.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    ordered = frame.select(BAR_COLUMNS).sort(BAR_COLUMNS)
    total = hashlib.sha256(str(ordered.height).encode())
    for series in ordered.iter_columns():
        total.update(f"\0{series.name}:{series.dtype}\0".encode())
        total.update(np.packbits(series.is_null().to_numpy()).tobytes())
        total.update(_value_bytes(series))
    return total.hexdigest()


def _value_bytes(series: pl.Series) -> bytes:
    if series.dtype == pl.String:
        texts = series.fill_null("")
        lengths = texts.str.len_bytes().cast(pl.Int64).to_numpy().astype("<i8")
        return lengths.tobytes() + "".join(texts.to_list()).encode()
    if series.dtype == pl.Float64:
        # Adding 0.0 makes one zero of the two that IEEE 754 knows.
        return (series.fill_null(0.0).to_numpy() + 0.0).astype("<f8").tobytes()
    return series.cast(pl.Int64).fill_null(0).to_numpy().astype("<i8").tobytes()


def _require_schema(frame: pl.DataFrame) -> None:
    if frame.schema == BAR_SCHEMA and tuple(frame.columns) == BAR_COLUMNS:
        return
    missing = [name for name in BAR_COLUMNS if name not in frame.columns]
    extra = [name for name in frame.columns if name not in BAR_SCHEMA]
    wrong = [
        f"{name} is {frame.schema[name]}, not {dtype}"
        for name, dtype in BAR_SCHEMA.items()
        if name in frame.columns and frame.schema[name] != dtype
    ]
    found = [f"missing {missing}"] if missing else []
    found += [f"extra {extra}"] if extra else []
    found += wrong or []
    raise InvalidBarsError(
        "frame has not the columns of bars",
        expected=", ".join(f"{name} {dtype}" for name, dtype in BAR_SCHEMA.items()),
        found="; ".join(found) or "the columns in another order",
        remedy="build the frame with BAR_SCHEMA",
    )


def _require_order(frame: pl.DataFrame) -> None:
    keys = frame.select(BAR_KEY)
    former = keys.select(pl.all().shift(1).name.prefix("former_"))
    is_before = (pl.col("former_symbol") < pl.col("symbol")) | (
        (pl.col("former_symbol") == pl.col("symbol"))
        & (pl.col("former_session") < pl.col("session"))
    )
    wrong = pl.concat([keys, former], how="horizontal").slice(1).filter(~is_before)
    if wrong.height:
        row = wrong.row(0, named=True)
        raise InvalidBarsError(
            "bars are not sorted or not unique",
            where=f"{row['symbol']} {row['session']}",
            expected="one row per symbol and session, ascending",
            found=f"after {row['former_symbol']} {row['former_session']}",
            remedy="sort by symbol and session and decide which duplicate holds",
        )


def _require(frame: pl.DataFrame, column: str, is_fine: pl.Expr, *, expected: str) -> None:
    wrong = frame.filter(~is_fine)
    if wrong.height:
        row = wrong.row(0, named=True)
        raise InvalidBarsError(
            f"bar has a wrong {column}",
            where=f"{row['symbol']} {row['session']} {column}",
            expected=expected,
            found=str(row[column]),
            remedy="quarantine the row (market.quality) before it becomes a bar",
        )
