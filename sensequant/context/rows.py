"""The contract of every row of context: when it happened, when it was known, who says so.

Belongs here: the columns that all kinds share, what a kind adds, and the check that a frame keeps
the contract. Does not belong here: what a kind means (`depth`, `headlines`), rows at rest
(`store`), and what was known at a decision (`asof`).

A row says what happened at `at` and that nobody could know it before `known_at`. A correction is
another row with the same key and a later `known_at`; the row before it stays, because that is what
was known until then. Nothing is filled: what is missing has no row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from sensequant.errors import InvalidContextError

__all__ = ["INSTANT", "ROW_SCHEMA", "ContextKind", "require_rows"]

INSTANT = pl.Datetime("us", "UTC")
"""A moment."""

ROW_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "at": INSTANT,
        "known_at": INSTANT,
        "source": pl.String(),
        "is_simulated": pl.Boolean(),
    }
)
"""What every row of context says: whose it is, when it happened, from when on it could be known,
where it came from, and whether it was invented."""


@dataclass(frozen=True, slots=True)
class ContextKind:
    """One kind of context and what its rows hold beside `ROW_SCHEMA`.

    Parameters
    ----------
    name
        Name of its folder in the store.
    values
        Its own columns and their types.
    own_key
        Those of its columns that tell two rows of one symbol and moment apart.
    parts
        What a file of the store holds: a decade, a month, or a session where rows are many.
    """

    name: str
    values: Mapping[str, pl.DataType]
    own_key: tuple[str, ...] = ()
    parts: Literal["decade", "month", "session"] = "decade"

    @property
    def schema(self) -> pl.Schema:
        """All columns, in the order of a stored table."""
        return pl.Schema({**ROW_SCHEMA, **self.values})

    @property
    def part(self) -> pl.Expr:
        """Name of the part to which a row belongs."""
        if self.parts == "session":
            return pl.col("at").dt.convert_time_zone("Asia/Kolkata").dt.strftime("%Y-%m-%d")
        if self.parts == "month":
            return pl.col("at").dt.strftime("%Y-%m")
        return (pl.col("at").dt.year() // 10 * 10).cast(pl.String)

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that say what a row is about; rows with one key are versions of one another."""
        return ("symbol", "at", *self.own_key)

    @property
    def order(self) -> tuple[str, ...]:
        """Columns by which rows are sorted: the key, then when a version was known."""
        return (*self.key, "known_at")


def require_rows(frame: pl.DataFrame, kind: ContextKind) -> pl.DataFrame:
    """Return the rows sorted, if they keep the contract.

    Raises
    ------
    InvalidContextError
        A column is absent or of another type, a row misses one of `ROW_SCHEMA` or of its key, or
        was known before it happened.
    """
    if frame.schema != kind.schema:
        raise InvalidContextError(
            "rows of context have other columns than their kind",
            where=kind.name,
            expected=", ".join(f"{name} {dtype}" for name, dtype in kind.schema.items()),
            found=", ".join(f"{name} {dtype}" for name, dtype in frame.schema.items()),
            remedy="build the rows with the schema of the kind",
        )
    needed = dict.fromkeys((*ROW_SCHEMA.names(), *kind.key))
    is_wrong = pl.any_horizontal(pl.col(name).is_null() for name in needed) | (
        pl.col("known_at") < pl.col("at")
    )
    wrong = frame.filter(is_wrong)
    if wrong.height:
        first = wrong.row(0, named=True)
        raise InvalidContextError(
            "rows of context do not say when they were known",
            where=f"{kind.name} {first['symbol']} {first['at']}",
            expected="symbol, at, source and mark in every row, known no earlier than it happened",
            found=f"{wrong.height} rows that are not so, known_at {first['known_at']}",
            remedy="take rows without a time apart, with their reason",
        )
    return frame.sort(kind.order)
