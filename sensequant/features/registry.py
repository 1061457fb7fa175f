"""Which features exist and which of them a model is fed.

Belongs here: the list of all features and the choice among them. Does not belong here: formulas
(the family modules) and computing (`build`).
"""

from collections.abc import Mapping
from typing import Self

import polars as pl
from pydantic import Field, model_validator

from sensequant.errors import ConfigError
from sensequant.features.momentum import MOMENTUM_FEATURES, MOMENTUM_HELPERS
from sensequant.features.spec import Feature, FeatureSpec
from sensequant.features.trend import TREND_FEATURES, TREND_HELPERS
from sensequant.features.volatility import VOLATILITY_FEATURES, VOLATILITY_HELPERS
from sensequant.features.volume import VOLUME_FEATURES, VOLUME_HELPERS
from sensequant.records import Config

__all__ = [
    "FeatureConfig",
    "computing_stages",
    "model_columns",
    "registered_features",
]

_FEATURES: tuple[Feature, ...] = (
    *TREND_FEATURES,
    *MOMENTUM_FEATURES,
    *VOLATILITY_FEATURES,
    *VOLUME_FEATURES,
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

    @model_validator(mode="after")
    def _require_a_column(self) -> Self:
        if not model_columns(self):
            raise ConfigError(
                "no feature is left",
                where="FeatureConfig",
                expected="scale_free or classic_levels, and at least one family",
                found=repr(self),
                remedy="switch one of them on",
            )
        return self


def registered_features() -> tuple[FeatureSpec, ...]:
    """Return the specification of every feature of every family, in the order of the matrix."""
    return tuple(feature.spec for feature in _FEATURES)


def model_columns(config: FeatureConfig) -> tuple[str, ...]:
    """Return the names of the columns that a model is fed, in the order of the matrix."""
    return tuple(spec.name for spec in registered_features() if _is_chosen(spec, config))


def computing_stages() -> tuple[tuple[pl.Expr, ...], ...]:
    """Return all columns, features and helpers, in stages that need only earlier stages' columns.

    Returns
    -------
    tuple of tuples of polars.Expr
        The first stage needs the bars alone. What a query does not ask for, Polars leaves out.
    """
    columns = {feature.spec.name: feature.expression for feature in _FEATURES}
    for helpers in (TREND_HELPERS, MOMENTUM_HELPERS, VOLATILITY_HELPERS, VOLUME_HELPERS):
        columns |= helpers
    stages: list[tuple[pl.Expr, ...]] = []
    while columns:
        ready = [name for name, value in columns.items() if _needs_none_of(value, columns)]
        stages.append(tuple(columns.pop(name).alias(name) for name in ready))
    return tuple(stages)


def _needs_none_of(expression: pl.Expr, columns: Mapping[str, pl.Expr]) -> bool:
    return columns.keys().isdisjoint(expression.meta.root_names())


def _is_chosen(spec: FeatureSpec, config: FeatureConfig) -> bool:
    families = {
        "trend": config.trend,
        "momentum": config.momentum,
        "volatility": config.volatility,
        "volume": config.volume,
    }
    has_form = (config.scale_free and spec.is_scale_free) or (
        config.classic_levels and spec.is_classic
    )
    return families[spec.family] and has_form
