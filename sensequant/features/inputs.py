"""What adjusted bars must be before anything is computed from them.

Belongs here: the refusal of frames that would give wrong numbers in silence. Does not belong
here: cleaning or adjusting of bars (`market.quality`, `market.adjustments`).
"""

from collections.abc import Mapping

import polars as pl

from sensequant.errors import InvalidBarsError

__all__ = ["PRICE_COLUMNS", "require_adjusted_bars"]

PRICE_COLUMNS = ("open", "high", "low", "close")

_TYPES: Mapping[str, pl.DataType] = {
    "symbol": pl.String(),
    "session": pl.Date(),
    **{name: pl.Float64() for name in (*PRICE_COLUMNS, "volume", "delivered_volume")},
    "session_number": pl.Int32(),
    "is_unexplained_gap": pl.Boolean(),
}


def require_adjusted_bars(bars: pl.DataFrame, columns: tuple[str, ...]) -> None:
    """Refuse bars that lack a column, are unsorted or hold an impossible number.

    Parameters
    ----------
    bars
        One row per (symbol, session).
    columns
        Columns that the caller reads, besides symbol and session.

    Raises
    ------
    InvalidBarsError
        A column is absent or of another type, (symbol, session) is not strictly ascending, a value
        is missing, a price is not finite and positive, or a volume not finite and at least 0. Only
        a delivered volume may be missing.
    """
    needed = ("symbol", "session", *columns)
    _require_types(bars, needed)
    _require_order(bars)
    _require_values(bars, needed)


def _require_types(bars: pl.DataFrame, needed: tuple[str, ...]) -> None:
    wrong = [f"{name} {bars.schema.get(name)}" for name in needed if not _is_typed(bars, name)]
    if wrong:
        raise InvalidBarsError(
            "bars lack columns",
            where=", ".join(wrong),
            expected=", ".join(f"{name} {_TYPES[name]}" for name in needed),
            remedy="pass the frame that market.adjustments.adjust_bars returns",
        )


def _is_typed(bars: pl.DataFrame, name: str) -> bool:
    return bars.schema.get(name) == _TYPES[name]


def _require_order(bars: pl.DataFrame) -> None:
    symbol, session = pl.col("symbol"), pl.col("session")
    follows = (symbol > symbol.shift()) | ((symbol == symbol.shift()) & (session > session.shift()))
    misplaced = bars.filter(~follows)
    if misplaced.height > 0:
        raise InvalidBarsError(
            "bars are not sorted and unique",
            where=_first_row(misplaced),
            expected="strictly ascending (symbol, session)",
            found=f"{misplaced.height} rows out of order",
            remedy="sort the bars and remove duplicates",
        )


def _require_values(bars: pl.DataFrame, needed: tuple[str, ...]) -> None:
    is_wrong = pl.any_horizontal(_is_impossible(name) for name in needed)
    wrong = bars.filter(is_wrong)
    if wrong.height > 0:
        raise InvalidBarsError(
            "bars hold impossible numbers",
            where=_first_row(wrong),
            expected="finite prices above 0, volumes of at least 0, nothing missing",
            found=f"{wrong.height} rows",
            remedy="check the bars with market.quality before using them",
        )


def _is_impossible(name: str) -> pl.Expr:
    value = pl.col(name)
    if name in PRICE_COLUMNS:
        return value.is_null() | ~value.is_finite() | (value <= 0)
    if name == "delivered_volume":
        return value.is_not_null() & (~value.is_finite() | (value < 0))
    if name == "volume":
        return value.is_null() | ~value.is_finite() | (value < 0)
    return value.is_null()


def _first_row(rows: pl.DataFrame) -> str:
    return f"{rows['symbol'][0]} {rows['session'][0]}"
