"""Which features exist and which of them a model is fed.

Belongs here: the list of all features, the choice among them, and the order in which columns are
computed. Does not belong here: formulas (the family modules) and computing (`build`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import polars as pl
from pydantic import Field, model_validator

from sensequant.errors import ConfigError
from sensequant.features.calendar import CALENDAR_FEATURES, CALENDAR_TABLE
from sensequant.features.delivery import DELIVERY_FEATURES, DELIVERY_HELPERS
from sensequant.features.depth import DEPTH_FEATURES, DEPTH_TABLE
from sensequant.features.gaps import GAP_FEATURES, GAP_HELPERS
from sensequant.features.levels import LEVEL_FEATURES, LEVEL_HELPERS
from sensequant.features.listing import LISTING_FEATURES, LISTING_TABLE
from sensequant.features.macro import MACRO_FEATURES, MACRO_HELPERS, MACRO_TABLE
from sensequant.features.market import MARKET_FEATURES, MARKET_HELPERS, MARKET_TABLE
from sensequant.features.momentum import MOMENTUM_FEATURES, MOMENTUM_HELPERS
from sensequant.features.options import OPTION_FEATURES, OPTION_MARKET_TABLE, OPTION_TABLE
from sensequant.features.ranks import RANK_FEATURES
from sensequant.features.regimes import REGIME_FEATURES
from sensequant.features.sentiment import SENTIMENT_FEATURES, SENTIMENT_TABLE
from sensequant.features.spec import Column, Family, Feature, FeatureSpec, Table
from sensequant.features.trend import TREND_FEATURES, TREND_HELPERS
from sensequant.features.volatility import VOLATILITY_FEATURES, VOLATILITY_HELPERS
from sensequant.features.volume import VOLUME_FEATURES, VOLUME_HELPERS
from sensequant.features.volume_profile import PROFILE_TABLE
from sensequant.records import Config

__all__ = [
    "FeatureConfig",
    "Plan",
    "describe_features",
    "fed_families",
    "missing_by_family",
    "model_columns",
    "plan_for",
    "registered_features",
]

_FEATURES: tuple[Feature, ...] = (
    *TREND_FEATURES,
    *MOMENTUM_FEATURES,
    *VOLATILITY_FEATURES,
    *VOLUME_FEATURES,
    *GAP_FEATURES,
    *CALENDAR_FEATURES,
    *DELIVERY_FEATURES,
    *MARKET_FEATURES,
    *RANK_FEATURES,
    *LEVEL_FEATURES,
    *LISTING_FEATURES,
    *DEPTH_FEATURES,
    *SENTIMENT_FEATURES,
    *MACRO_FEATURES,
    *OPTION_FEATURES,
    *REGIME_FEATURES,
)

_HELPERS: Mapping[str, Column] = {
    **{
        name: Column(expression)
        for helpers in (TREND_HELPERS, MOMENTUM_HELPERS, VOLATILITY_HELPERS, VOLUME_HELPERS)
        for name, expression in helpers.items()
    },
    **GAP_HELPERS,
    **DELIVERY_HELPERS,
    **MARKET_HELPERS,
    **MACRO_HELPERS,
    **LEVEL_HELPERS,
}

_COLUMNS: Mapping[str, Column] = {
    **{
        feature.spec.name: Column(feature.expression, feature.keys)
        for feature in _FEATURES
        if feature.expression is not None
    },
    **_HELPERS,
}

_TABLES: tuple[Table, ...] = (
    CALENDAR_TABLE,
    MARKET_TABLE,
    PROFILE_TABLE,
    LISTING_TABLE,
    DEPTH_TABLE,
    SENTIMENT_TABLE,
    MACRO_TABLE,
    OPTION_TABLE,
    OPTION_MARKET_TABLE,
)


class FeatureConfig(Config):
    """Which columns reach the model's matrix; at least one must."""

    scale_free: bool = Field(
        default=True,
        description="Feed the scale-free forms: ratios, z-scores, slopes, returns (yes or no).",
    )
    classic_levels: bool = Field(
        default=False,
        description="Feed the fifteen classic indicators as they are, in INR, shares or points, "
        "which do not compare between symbols (yes or no).",
    )
    trend: bool = Field(
        default=True,
        description="Feed moving averages and directional movement (yes or no).",
    )
    momentum: bool = Field(
        default=True,
        description="Feed returns, RSI and MACD (yes or no).",
    )
    volatility: bool = Field(
        default=True,
        description="Feed ATR, Bollinger bands, realised volatility, gaps and ranges (yes or no).",
    )
    volume: bool = Field(
        default=True,
        description="Feed volume-weighted price, on-balance volume and volume ratio (yes or no).",
    )

    gaps: bool = Field(
        default=False,
        description="Feed the size, filling and runs of overnight gaps; needs scale_free "
        "(yes or no, off by default).",
    )
    calendar: bool = Field(
        default=False,
        description="Feed weekday, turn of the month, closures, fixed holidays and expiry weeks; "
        "needs scale_free (yes or no, off by default).",
    )
    delivery: bool = Field(
        default=False,
        description="Feed the delivered share of the volume; needs scale_free and bars with "
        "delivered volume (yes or no, off by default).",
    )
    market_context: bool = Field(
        default=False,
        description="Feed NIFTY 50, India VIX, beta, correlation and relative strength; needs "
        "scale_free and bars of both indices (yes or no, off by default).",
    )
    ranks: bool = Field(
        default=False,
        description="Feed ranks among the symbols of the run, and breadth; needs scale_free and "
        "at least five symbols (yes or no, off by default).",
    )
    levels: bool = Field(
        default=False,
        description="Feed distances to 52-week extremes, pivots, anchored prices and the volume "
        "profile; needs scale_free (yes or no, off by default).",
    )
    listing: bool = Field(
        default=True,
        description="Feed, with scale_free, the sessions since the symbol's listing (yes or no).",
    )

    depth: bool = Field(
        default=False,
        description="Feed what order books said over the session: spread, imbalance, order flow, "
        "resilience; needs scale_free and imported depth (yes or no, off by default).",
    )
    sentiment: bool = Field(
        default=False,
        description="Feed how many headlines a session had, how good, how unlike each other and "
        "how new; needs scale_free and imported headlines (yes or no, off by default).",
    )
    macro: bool = Field(
        default=False,
        description="Feed the rupee, the ten-year yield, gold and two sector indices as they were "
        "known, and how a symbol moves with the rupee; needs scale_free and imported macro series "
        "(yes or no, off by default).",
    )
    options: bool = Field(
        default=False,
        description="Feed what the options on the symbol said at the close: implied volatility, "
        "its rank, skew and term structure, puts to calls, max pain; needs scale_free and "
        "snapshots of option chains (yes or no, off by default).",
    )
    regimes: bool = Field(
        default=False,
        description="Feed the state of the market by India VIX and by the trend of NIFTY 50; needs "
        "scale_free and bars of both indices (yes or no, off by default).",
    )

    @model_validator(mode="after")
    def _require_a_column(self) -> Self:
        fed = fed_families(self)
        if not fed:
            raise ConfigError(
                "no feature is left",
                where="FeatureConfig",
                expected="scale_free or classic_levels, and at least one family",
                found=repr(self),
                remedy="switch one of them on",
            )
        asked = [family for family in Family if not _is_default(family) and _is_on(family, self)]
        idle = [family.value for family in asked if family not in fed]
        if idle:
            raise ConfigError(
                "a family of features is on and has no column",
                where=", ".join(f"features.{name}" for name in idle),
                expected="scale_free on, because the family has no other form",
                found="scale_free off",
                remedy="switch scale_free on or the family off",
            )
        return self


@dataclass(frozen=True)
class Plan:
    """What must be computed for some columns, and in which order.

    Parameters
    ----------
    tables
        Tables that hold one of the columns needed; they need the bars alone.
    stages
        Columns and helpers under their names, in stages that need only the bars, the tables and
        earlier stages' columns.
    """

    tables: tuple[Table, ...]
    stages: tuple[tuple[pl.Expr, ...], ...]


def registered_features() -> tuple[FeatureSpec, ...]:
    """Return the specification of every feature of every family, in the order of the matrix."""
    return tuple(feature.spec for feature in _FEATURES)


def model_columns(config: FeatureConfig) -> tuple[str, ...]:
    """Return the names of the columns that a model is fed, in the order of the matrix."""
    return tuple(spec.name for spec in registered_features() if _is_chosen(spec, config))


def fed_families(config: FeatureConfig) -> frozenset[Family]:
    """Return the families of which a model is fed at least one column."""
    return frozenset(spec.family for spec in registered_features() if _is_chosen(spec, config))


def describe_features(config: FeatureConfig) -> pl.DataFrame:
    """Describe every registered feature, and say which of them a model is fed.

    Parameters
    ----------
    config
        Which features.

    Returns
    -------
    polars.DataFrame
        One row per feature, in the order of the matrix: family, column, warmup_bars, unit,
        formula, source, is_fed.
    """
    fed = set(model_columns(config))
    return pl.DataFrame(
        {
            "family": spec.family.value,
            "column": spec.name,
            "warmup_bars": spec.warmup_bars,
            "unit": spec.unit,
            "formula": spec.formula,
            "source": spec.source,
            "is_fed": spec.name in fed,
        }
        for spec in registered_features()
    )


def missing_by_family(missing: Mapping[str, float]) -> dict[str, float | None]:
    """Return the missing share of the values of every family, None of one that was not fed.

    Parameters
    ----------
    missing
        Missing share of each column that a model was fed.
    """
    shares: dict[Family, list[float]] = {family: [] for family in Family}
    for spec in registered_features():
        if spec.name in missing:
            shares[spec.family].append(missing[spec.name])
    return {
        family.value: sum(found) / len(found) if found else None for family, found in shares.items()
    }


def plan_for(names: Collection[str]) -> Plan:
    """Return how to compute the columns with these names, and whatever they need."""
    needed = _with_ancestors(names)
    waiting = {name: column for name, column in _COLUMNS.items() if name in needed}
    stages: list[tuple[pl.Expr, ...]] = []
    while waiting:
        ready = [
            name for name, column in waiting.items() if waiting.keys().isdisjoint(_inputs(column))
        ]
        stages.append(tuple(_grouped(waiting.pop(name)).alias(name) for name in ready))
    tables = tuple(table for table in _TABLES if not needed.isdisjoint(table.columns))
    return Plan(tables, tuple(stages))


def _with_ancestors(names: Collection[str]) -> set[str]:
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting.extend(_inputs(_COLUMNS[name]) if name in _COLUMNS else ())
    return needed


def _inputs(column: Column) -> set[str]:
    return {*column.expression.meta.root_names(), *column.keys}


def _grouped(column: Column) -> pl.Expr:
    return column.expression.over(column.keys) if column.keys else column.expression


def _is_chosen(spec: FeatureSpec, config: FeatureConfig) -> bool:
    has_form = (config.scale_free and spec.is_scale_free) or (
        config.classic_levels and spec.is_classic
    )
    return has_form and _is_on(spec.family, config)


def _is_on(family: Family, config: FeatureConfig) -> bool:
    return bool(getattr(config, family.value))


def _is_default(family: Family) -> bool:
    return bool(FeatureConfig.model_fields[family.value].default)
