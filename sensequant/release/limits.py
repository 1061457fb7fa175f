"""The limits that evidence must reach for an approval, and a candidate for an environment.

Belongs here: the limits, with their units. Does not belong here: what is held against them and
what follows (`release.gates`, `stages.readiness`).
"""

from datetime import timedelta

from pydantic import Field

from sensequant.records import Config

__all__ = ["CLOCKS_AGREE", "GateConfig", "PromotionLimits"]

CLOCKS_AGREE = timedelta(minutes=1)
"""By how much the clocks of two machines may differ; more is a clock that goes backwards."""


class GateConfig(Config):
    """The limits of the gates."""

    min_scored_sessions: int = Field(
        default=250, ge=1, le=10_000, description="Fewest sessions with out-of-sample scores."
    )
    min_trades: int = Field(
        default=30, ge=1, le=1_000_000, description="Fewest buys and sales of the backtest."
    )
    min_auc: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description=(
            "Pooled out-of-sample AUC (0 to 1) that the interval must lie above; the highest AUC "
            "on shuffled labels where that is higher."
        ),
    )
    min_mean_excess_return: float = Field(
        default=0.0,
        ge=-1,
        le=1,
        description=(
            "Yearly mean net return over NIFTY 50, as a fraction, that the interval must lie above."
        ),
    )
    min_deflated_sharpe: float = Field(
        default=0.95,
        ge=0.5,
        lt=1,
        description="Least probability (0 to 1) that the Sharpe ratio over NIFTY 50 beats that of "
        "lucky trials.",
    )
    max_alpha_p_value: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="Largest one-sided p-value (0 to 1) of alpha against NIFTY 50 being <= 0.",
    )
    max_drawdown_frac: float = Field(
        default=0.35,
        gt=0,
        le=1,
        description="Deepest drawdown of the backtest allowed, as a positive fraction of equity.",
    )
    min_resilience: float = Field(
        default=50.0, ge=0, le=100, description="Least mean resilience over crises, in points."
    )
    min_coverage_frac: float = Field(
        default=0.95,
        ge=0,
        le=1,
        description="Least share of expected sessions that have a bar, as a fraction.",
    )
    max_failure_rate: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Largest share of tried units (skips left out) that failed, in any stage.",
    )


class PromotionLimits(Config):
    """What must hold before a model moves into an environment."""

    staging_hours: float = Field(
        default=48,
        ge=0,
        le=2000,
        description="Time that a model must have been in staging before production, in hours "
        "during which NSE was open: 48 are eight sessions.",
    )
    approval_hours: float = Field(
        default=720,
        gt=0,
        le=8760,
        description="Time for which an approval holds (hours of the clock).",
    )
    max_sessions_behind: int = Field(
        default=3,
        ge=0,
        le=250,
        description="Closed sessions that the newest stored bar of the model's symbols may lack.",
    )
    min_free_mib: int = Field(
        default=512,
        ge=1,
        le=1_048_576,
        description="Least free space on the disk of the home (MiB), beside the model itself.",
    )
    require_signature: bool = Field(
        default=False, description="Refuse a manifest that nobody has signed."
    )
