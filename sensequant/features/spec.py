"""What one feature is: its description beside the expression that computes it.

Belongs here: the types that the family modules fill. Does not belong here: any feature
(`trend`, `momentum`, `volatility`, `volume`), nor the choice among them (`registry`).
"""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

__all__ = ["Family", "Feature", "FeatureSpec"]


class Family(StrEnum):
    """A group of features that one flag of `FeatureConfig` switches."""

    TREND = "trend"
    MOMENTUM = "momentum"
    VOLATILITY = "volatility"
    VOLUME = "volume"


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
        Bars of the symbol, since its first or its last unexplained gap, that must precede a row
        before the row can hold a value; the row with this index (from 0) is the first not null.
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
    """

    name: str
    family: Family
    warmup_bars: int
    unit: str
    formula: str
    source: str
    is_scale_free: bool = True
    is_classic: bool = False


@dataclass(frozen=True, slots=True)
class Feature:
    """A specification and the Polars expression that computes it.

    The expression runs over one symbol's rows in the order of their sessions, and may name the
    bars' columns, other features and the helper columns of the families.
    """

    spec: FeatureSpec
    expression: pl.Expr
