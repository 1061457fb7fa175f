"""What one feature is: its description beside the expression that computes it.

Belongs here: the types that the family modules fill. Does not belong here: any feature (the
modules of the families), nor the choice among them (`registry`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from sensequant.features.context import MarketContext

__all__ = ["HISTORY", "Column", "Family", "Feature", "FeatureSpec", "Table"]

HISTORY = "_history"
"""Column that numbers the histories: the rows of one symbol since its first or last unexplained
gap, in the order of their sessions."""


class Family(StrEnum):
    """A group of features that one flag of `FeatureConfig` switches."""

    TREND = "trend"
    MOMENTUM = "momentum"
    VOLATILITY = "volatility"
    VOLUME = "volume"
    GAPS = "gaps"
    CALENDAR = "calendar"
    DELIVERY = "delivery"
    MARKET_CONTEXT = "market_context"
    DEPTH = "depth"
    SENTIMENT = "sentiment"
    MACRO = "macro"
    OPTIONS = "options"
    REGIMES = "regimes"
    RANKS = "ranks"
    LEVELS = "levels"
    LISTING = "listing"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """One column of the feature matrix, described.

    Parameters
    ----------
    name
        Column name.
    family
        Flag that switches it.
    warmup_bars
        Bars that must precede a row before the row can hold a value: of the symbol since its first
        or its last unexplained gap, and of the index where one is read. The row with this index
        (from 0) is the first not null.
    unit
        Unit of the values.
    formula
        Definition in words of `docs/methods/features.md`.
    source
        Book, paper or convention that defines it.
    is_scale_free
        Whether multiplying all prices, or all volumes, of a symbol by one number leaves it
        unchanged, so that it compares over time and between symbols.
    is_classic
        Whether it is one of the fifteen indicator names that users know.
    waits_for_event
        Whether the first value, past the warm-up, also waits for an event in the prices, such as a
        pivot.
    """

    name: str
    family: Family
    warmup_bars: int
    unit: str
    formula: str
    source: str
    is_scale_free: bool = True
    is_classic: bool = False
    waits_for_event: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """An expression and the columns whose equal values make the group of rows that it runs over.

    The rows of a group stand in the order of the bars. The expression may name the bars' columns,
    the columns of tables, features and the helper columns of the families.
    """

    expression: pl.Expr
    keys: tuple[str, ...] = (HISTORY,)


@dataclass(frozen=True, slots=True)
class Feature:
    """A specification and what computes it: a Polars expression over groups of rows.

    Without keys the expression looks at its own row only. Without an expression, a table of the
    family holds the feature under its name.
    """

    spec: FeatureSpec
    expression: pl.Expr | None
    keys: tuple[str, ...] = (HISTORY,)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns that are computed beside the expressions, before them.

    Parameters
    ----------
    columns
        Names of the columns.
    compute
        From the bars, with the column `HISTORY`, and the context to a frame with exactly these
        columns, one row per bar in the order of the bars.
    """

    columns: tuple[str, ...]
    compute: Callable[[pl.DataFrame, MarketContext], pl.DataFrame]
