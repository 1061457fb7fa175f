"""Rewards of out-of-sample decisions, and what they make of the weights of later training rows.

Belongs here: the return that a decision is judged by, its reward, the mean reward of a window, and
sample weights from rewards known in time. Does not belong here: training with the weights
(`student`), and whether they are worth anything (`evaluation.comparison`).

Conventions
-----------
- A decision falls after the close of session t. Returns run from the open of t+1 to the close of
  t+h, gross, simple, as fractions; what is unknown is null.
- A signal is 1 (up), 0 (no opinion) or -1 (down); a reward is a fraction like the return.
- A reward counts from the session at whose close it is known, `reward_known_number`.
- `captured_frac` is the sum of rewards over the sum that a signal without error would have got on
  the same decisions. It has no unit, and a few per mille of mean reward become tenths.

Definitions, and what they cannot show, stand in `docs/methods/reward.md`.
"""

from collections.abc import Sequence
from typing import Literal, Self

import polars as pl
from pydantic import Field, model_validator

from sensequant.errors import LeakageError
from sensequant.labels import LabelConfig, build_labels
from sensequant.records import Config
from sensequant.student_file import require_columns

__all__ = [
    "REWARDS_SCHEMA",
    "REWARD_RETURNS_SCHEMA",
    "RewardConfig",
    "paired_rewards",
    "reward_decisions",
    "reward_returns",
    "reward_trend",
    "sample_weights",
    "window_rewards",
]

REWARD_RETURNS_SCHEMA = pl.Schema(
    {
        "symbol": pl.String,
        "session": pl.Date,
        "reward_return": pl.Float64,
        "reward_known_at": pl.Date,
        "reward_known_number": pl.Int32,
    }
)
"""One row per bar: what a decision after its close is judged by, and when that is known."""

REWARDS_SCHEMA = pl.Schema(
    {
        "symbol": pl.String,
        "session": pl.Date,
        "session_number": pl.Int32,
        "trained_window": pl.String,
        "scored_window": pl.String,
        "score": pl.Float64,
        "signal": pl.Int8,
        "reward_return": pl.Float64,
        "reward": pl.Float64,
        "best_reward": pl.Float64,
        "reward_known_at": pl.Date,
        "reward_known_number": pl.Int32,
    }
)
"""One row per out-of-sample decision; `best_reward` is what a signal without error would get."""

Mode = Literal["linear", "exponential", "none"]

_WINDOW_DATE = len("2024-12-31")
_WITHOUT_EFFECT: dict[Mode, tuple[str, ...]] = {
    "linear": (),
    "exponential": ("floor",),
    "none": ("scale", "decay", "depth_windows", "floor", "is_deployed"),
}


class RewardConfig(Config):
    """How decisions are rewarded, and how rewards weight the rows of the next training."""

    mode: Mode = Field(
        default="linear",
        description="How a reward becomes a weight (name); none weights all rows alike.",
    )
    is_deployed: bool = Field(
        default=False,
        description="Whether the scores of the weighted student are the evidence (yes or no); "
        "else it is only compared.",
    )
    scale: float = Field(
        default=1.0,
        gt=0,
        le=10,
        description="Weight that a window gains when all of its reward was captured (ratio).",
    )
    decay: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Share of a reward that is left when it is one window older (fraction).",
    )
    depth_windows: int = Field(
        default=10, ge=1, le=100, description="Newest windows whose rewards count (windows)."
    )
    floor: float = Field(
        default=0.1, gt=0, le=1, description="Least weight before scaling to mean 1; linear only."
    )
    horizon_sessions: int = Field(
        default=5,
        ge=1,
        le=30,
        description="Sessions from the decision to the close at which it is rewarded.",
    )
    neutral_score: float = Field(
        default=0.5, ge=0.2, le=0.8, description="Score that is no opinion (a fraction)."
    )
    signal_band: float = Field(
        default=0.02,
        ge=0,
        le=0.15,
        description="Distance from the neutral score up to which a score is no signal (fraction).",
    )
    dead_band_frac: float = Field(
        default=0.001,
        ge=0,
        le=0.01,
        description="Size of a return, as a fraction, below which it rewards nothing.",
    )
    clip_min: float = Field(
        default=-0.1, ge=-1, le=-0.01, description="Least reward of one decision, as a fraction."
    )
    clip_max: float = Field(
        default=0.1, ge=0.01, le=1, description="Most reward of one decision, as a fraction."
    )

    @model_validator(mode="after")
    def _refuse_settings_without_effect(self) -> Self:
        fields = type(self).model_fields
        for name in _WITHOUT_EFFECT[self.mode]:
            if getattr(self, name) != fields[name].default:
                message = f"{name} has no effect with mode {self.mode}"
                raise ValueError(message)
        if self.depth_windows == 1 and self.decay != fields["decay"].default:
            message = "decay has no effect while depth_windows is 1"
            raise ValueError(message)
        return self


def reward_returns(
    bars: pl.DataFrame, calendar_numbers: pl.DataFrame, *, horizon_sessions: int
) -> pl.DataFrame:
    """Return what a decision after each bar is judged by, and when that is known.

    Parameters
    ----------
    bars
        Adjusted bars of any number of symbols, as `sensequant.labels.build_labels` takes them.
    calendar_numbers
        Every session of the calendar with its number: session Date, session_number Int32.
    horizon_sessions
        Calendar sessions from the decision to the exit, at least 1.

    Returns
    -------
    polars.DataFrame
        `REWARD_RETURNS_SCHEMA`, one row per bar in their order. The return is null where a bar at
        entry or exit is missing, lies ahead, or an unexplained gap lies between.

    Raises
    ------
    InvalidBarsError
        The bars are not what `build_labels` requires.
    """
    config = LabelConfig(horizon_sessions=horizon_sessions)
    labels = build_labels(bars, calendar_numbers, config, round_trip_cost_frac=0.0)
    named = labels.with_columns(
        reward_return="forward_return",
        reward_known_at="label_end",
        reward_known_number="label_end_number",
    )
    return named.select(pl.col(name).cast(dtype) for name, dtype in REWARD_RETURNS_SCHEMA.items())


def reward_decisions(
    predictions: pl.DataFrame, returns: pl.DataFrame, config: RewardConfig
) -> pl.DataFrame:
    """Reward every out-of-sample decision.

    Parameters
    ----------
    predictions
        symbol, session, session_number, trained_window, scored_window, score (in [0, 1] or null).
    returns
        `REWARD_RETURNS_SCHEMA`, at most one row per symbol and session.
    config
        Signal, dead band and clipping.

    Returns
    -------
    polars.DataFrame
        `REWARDS_SCHEMA`, one row per prediction in their order. Reward and best reward are null
        where score or return is.

    Raises
    ------
    RecordError
        A column is missing.
    """
    require_columns(predictions, REWARDS_SCHEMA.names()[:6])
    rows = _with_returns(predictions, returns)
    rows = rows.with_columns(signal=_signal("score", config))
    rows = rows.with_columns(reward=_reward(pl.col("signal"), config))
    return rows.with_columns(
        best_reward=pl.when(pl.col("reward").is_not_null()).then(
            _reward(pl.col("reward_return").sign(), config)
        )
    ).select(pl.col(name).cast(dtype) for name, dtype in REWARDS_SCHEMA.items())


def paired_rewards(
    predictions: pl.DataFrame,
    returns: pl.DataFrame,
    *,
    columns: Sequence[str],
    config: RewardConfig,
) -> pl.DataFrame:
    """Return the predictions with the reward of each of several score columns beside them.

    Parameters
    ----------
    predictions
        symbol, session and the score columns.
    returns
        `REWARD_RETURNS_SCHEMA`, at most one row per symbol and session.
    columns
        Names of score columns.
    config
        Signal, dead band and clipping.

    Returns
    -------
    polars.DataFrame
        The predictions with `reward_NAME` for each column NAME, as
        `sensequant.evaluation.comparison.compare_scores` reads them.

    Raises
    ------
    RecordError
        A column is missing.
    """
    require_columns(predictions, ["symbol", "session", *columns])
    rewards = _with_returns(predictions, returns).select(
        _reward(_signal(name, config), config).alias(f"reward_{name}") for name in columns
    )
    return predictions.with_columns(rewards)


def window_rewards(decisions: pl.DataFrame) -> pl.DataFrame:
    """Sum up the rewards of each symbol and scored window.

    Parameters
    ----------
    decisions
        `REWARDS_SCHEMA`.

    Returns
    -------
    polars.DataFrame
        symbol, scored_window, sorted by both; n_decisions, n (with a known reward), n_signals (of
        these with a signal), mean_reward, captured_frac, volatility (sample deviation of the
        rewards), win_rate (share of the rewards other than 0 that are above it), last_known_at.
        A figure that its rewards do not define is null.
    """
    return _summed(decisions, ["symbol", "scored_window"])


def reward_trend(decisions: pl.DataFrame) -> pl.DataFrame:
    """Sum up the rewards of all symbols by the last day of the scored windows, in time order.

    Returns
    -------
    polars.DataFrame
        window_end (Date) and the figures of `window_rewards`.
    """
    end = pl.col("scored_window").str.tail(_WINDOW_DATE).str.to_date()
    return _summed(decisions.with_columns(window_end=end), ["window_end"])


def sample_weights(
    rows: pl.DataFrame,
    decisions: pl.DataFrame,
    *,
    trained_at_number: int,
    config: RewardConfig,
) -> pl.Series:
    """Weight training rows by the rewards of their windows, as far as known when training.

    Parameters
    ----------
    rows
        One row per training row: symbol, window (the label under which it may have been scored),
        age_windows (windows of the plan from it to the newest window learnt from, 0 for that one).
    decisions
        `REWARDS_SCHEMA`: decisions of earlier students; later ones may be among them.
    trained_at_number
        Number of the last session whose close the training may know.
    config
        Mode, scale, decay, depth and floor.

    Returns
    -------
    polars.Series
        Float64 `weight` in the order of the rows, above 0, with mean 1. A window without known
        reward, or older than the depth, weighs 1 before scaling to that mean.

    Raises
    ------
    RecordError
        A column is missing.
    LeakageError
        A row belongs to a window after the newest one.
    """
    require_columns(rows, ["symbol", "window", "age_windows"])
    _require_learnt(rows)
    known = decisions.filter(pl.col("reward_known_number") <= trained_at_number)
    captured = _summed(known, ["symbol", "scored_window"]).select(
        "symbol", "captured_frac", window="scored_window"
    )
    weight = (
        rows.select("symbol", "window", "age_windows")
        .join(captured, on=["symbol", "window"], how="left", maintain_order="left", validate="m:1")
        .with_columns(weight=_weight(config))["weight"]
    )
    return weight if weight.is_empty() else weight / weight.mean()


def _with_returns(predictions: pl.DataFrame, returns: pl.DataFrame) -> pl.DataFrame:
    require_columns(returns, REWARD_RETURNS_SCHEMA.names())
    return predictions.join(
        returns.select(REWARD_RETURNS_SCHEMA.names()),
        on=["symbol", "session"],
        how="left",
        maintain_order="left",
        validate="m:1",
    )


def _signal(score: str, config: RewardConfig) -> pl.Expr:
    opinion = pl.col(score) - config.neutral_score
    return (
        pl.when(opinion > config.signal_band)
        .then(1)
        .when(opinion < -config.signal_band)
        .then(-1)
        .when(opinion.is_not_null())
        .then(0)
    )


def _reward(signal: pl.Expr, config: RewardConfig) -> pl.Expr:
    size = pl.col("reward_return")
    is_told = signal.is_not_null() & size.is_not_null()
    earned = signal * size
    # The plain zero also replaces the -0.0 of no signal on a falling price.
    is_nothing = (size.abs() < config.dead_band_frac) | (earned == 0)
    clipped = pl.when(is_nothing).then(0.0).otherwise(earned.clip(config.clip_min, config.clip_max))
    return pl.when(is_told).then(clipped)


def _summed(decisions: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    reward, best = pl.col("reward"), pl.col("best_reward").sum()
    n_paid, n_won = (reward != 0).sum(), (reward > 0).sum()
    known = pl.col("reward_known_at").filter(reward.is_not_null())
    # With a kept order each group is added up in one go, on any number of threads.
    return (
        decisions.sort(*keys, "session_number", "symbol")
        .group_by(keys, maintain_order=True)
        .agg(
            n_decisions=pl.len().cast(pl.Int64),
            n=reward.count().cast(pl.Int64),
            n_signals=(reward.is_not_null() & (pl.col("signal") != 0)).sum().cast(pl.Int64),
            mean_reward=reward.mean(),
            captured_frac=pl.when(best > 0).then(reward.sum() / best),
            volatility=reward.std(),
            win_rate=pl.when(n_paid > 0).then(n_won / n_paid),
            last_known_at=known.max(),
        )
    )


def _require_learnt(rows: pl.DataFrame) -> None:
    later = rows.filter(pl.col("age_windows").is_null() | (pl.col("age_windows") < 0))
    if later.height:
        raise LeakageError(
            "a training row lies in a window after the newest one learnt from",
            where=str(later["window"][0]),
            expected="age_windows of at least 0",
            found=f"{later['age_windows'][0]}, and {later.height} such rows",
        )


def _weight(config: RewardConfig) -> pl.Expr:
    if config.mode == "none":
        return pl.lit(1.0)
    age, captured = pl.col("age_windows"), pl.col("captured_frac")
    left = config.scale * pl.lit(config.decay).pow(age) * captured
    grown = left.exp() if config.mode == "exponential" else (1 + left).clip(config.floor)
    is_counted = captured.is_not_null() & (age < config.depth_windows)
    return pl.when(is_counted).then(grown).otherwise(1.0)
