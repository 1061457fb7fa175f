"""Rewards by hand, weights that act, and nothing learnt before it is known."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.errors import LeakageError, RecordError
from sensequant.market.sessions import nse_calendar
from sensequant.reward import (
    REWARD_RETURNS_SCHEMA,
    REWARDS_SCHEMA,
    RewardConfig,
    paired_rewards,
    reward_decisions,
    reward_returns,
    reward_trend,
    sample_weights,
    window_rewards,
)

DAY = date(2023, 1, 2)
W1, W2 = "A_2023-01-01_to_2023-01-10", "A_2023-01-11_to_2023-01-20"
NONE = RewardConfig(mode="none")

DOZEN: list[tuple[float | None, float | None, int | None, float | None, float | None]] = [
    # score, return, signal, reward, best reward
    (0.60, 0.03, 1, 0.03, 0.03),
    (0.60, -0.03, 1, -0.03, 0.03),
    (0.40, -0.02, -1, 0.02, 0.02),
    (0.40, 0.02, -1, -0.02, 0.02),
    (0.51, 0.05, 0, 0.0, 0.05),
    (0.50, -0.05, 0, 0.0, 0.05),
    (0.90, 0.0005, 1, 0.0, 0.0),
    (0.90, 0.25, 1, 0.1, 0.1),
    (0.10, 0.25, -1, -0.1, 0.1),
    (0.90, None, 1, None, None),
    (None, 0.04, None, None, None),
    (0.53, -0.001, 1, -0.001, 0.001),
]


def predictions(scores: list[float | None], window: str = W1, symbol: str = "A") -> pl.DataFrame:
    n = len(scores)
    return pl.DataFrame(
        {
            "symbol": [symbol] * n,
            "session": [DAY + timedelta(days=place) for place in range(n)],
            "session_number": np.arange(n, dtype=np.int32),
            "trained_window": ["before"] * n,
            "scored_window": [window] * n,
            "score": pl.Series(scores, dtype=pl.Float64),
        }
    )


def returns(values: list[float | None], symbol: str = "A", horizon: int = 5) -> pl.DataFrame:
    n = len(values)
    return pl.DataFrame(
        {
            "symbol": [symbol] * n,
            "session": [DAY + timedelta(days=place) for place in range(n)],
            "reward_return": values,
            "reward_known_at": [DAY + timedelta(days=place + horizon) for place in range(n)],
            "reward_known_number": [place + horizon for place in range(n)],
        },
        schema=REWARD_RETURNS_SCHEMA,
    )


def dozen() -> pl.DataFrame:
    scores, moves, *_ = zip(*DOZEN, strict=True)
    return reward_decisions(predictions(list(scores)), returns(list(moves)), RewardConfig())


def history(captured: dict[str, tuple[float, int]]) -> pl.DataFrame:
    """Return one decision per window with this reward of 0.01 at best, known at this session."""
    n = len(captured)
    return pl.DataFrame(
        {
            "symbol": [name[0] for name in captured],
            "session": [DAY] * n,
            "session_number": [0] * n,
            "trained_window": ["before"] * n,
            "scored_window": list(captured),
            "score": [0.6] * n,
            "signal": [1] * n,
            "reward_return": [0.01] * n,
            "reward": [0.01 * share for share, _ in captured.values()],
            "best_reward": [0.01] * n,
            "reward_known_at": [DAY + timedelta(days=known) for _, known in captured.values()],
            "reward_known_number": [known for _, known in captured.values()],
        },
        schema=REWARDS_SCHEMA,
    )


def training(ages: dict[str, int], n_each: int = 1) -> pl.DataFrame:
    names = [name for name in ages for _ in range(n_each)]
    return pl.DataFrame(
        {
            "symbol": [name[0] for name in names],
            "window": names,
            "age_windows": [ages[name] for name in names],
        }
    )


def test_a_dozen_decisions_by_hand() -> None:
    """Agreement earns |r|, contradiction costs it; no signal, small moves and clips as defined."""
    found = dozen()

    assert found.schema == REWARDS_SCHEMA
    _, _, signals, rewards, best = zip(*DOZEN, strict=True)
    assert list(signals) == found["signal"].to_list()
    assert found["reward"].to_list() == pytest.approx(list(rewards))
    assert found["best_reward"].to_list() == pytest.approx(list(best))


def test_no_signal_on_a_falling_price_is_plain_zero() -> None:
    """Minus zero would be other bytes than zero."""
    found = dozen()

    assert not np.signbit(found["reward"].to_numpy()[5])


def test_figures_of_a_window_by_hand() -> None:
    """The dozen holds ten known rewards, eight signals, seven paid ones of which three won."""
    rewards = [value for *_, value, _ in DOZEN if value is not None]
    found = window_rewards(dozen()).row(0, named=True)

    assert (found["n_decisions"], found["n"], found["n_signals"]) == (12, 10, 8)
    assert found["mean_reward"] == pytest.approx(sum(rewards) / 10)
    assert found["captured_frac"] == pytest.approx(-0.001 / 0.401)
    assert found["volatility"] == pytest.approx(np.std(rewards, ddof=1))
    assert found["win_rate"] == pytest.approx(3 / 7)
    assert found["last_known_at"] == DAY + timedelta(days=11 + 5)


def test_window_without_known_rewards_has_no_figures() -> None:
    """What nobody knows yet is missing, not zero."""
    rows = reward_decisions(predictions([0.9, 0.1]), returns([None, None]), RewardConfig())
    found = window_rewards(rows).row(0, named=True)

    assert (found["n_decisions"], found["n"]) == (2, 0)
    names = ("mean_reward", "captured_frac", "volatility", "win_rate", "last_known_at")
    assert all(found[name] is None for name in names)


def test_decision_without_a_row_of_returns_is_unknown() -> None:
    """A prediction on a session without bar keeps its row, and no other row is doubled."""
    found = reward_decisions(predictions([0.9, 0.9]), returns([0.01]), RewardConfig())

    assert found["reward"].to_list() == [0.01, None]


def test_trend_pools_symbols_of_equal_window_ends() -> None:
    """Windows that end on one day stand together, in time order."""
    first = reward_decisions(predictions([0.9], W1), returns([0.02]), RewardConfig())
    later = reward_decisions(predictions([0.9], W2), returns([0.03]), RewardConfig())
    other = reward_decisions(
        predictions([0.9], "B" + W1[1:], "B"), returns([-0.01], "B"), RewardConfig()
    )
    found = reward_trend(pl.concat([later, other, first]))

    assert found["window_end"].to_list() == [date(2023, 1, 10), date(2023, 1, 20)]
    assert found["n"].to_list() == [2, 1]
    assert found["mean_reward"].to_list() == pytest.approx([0.005, 0.03])
    assert found["win_rate"].to_list() == [0.5, 1.0]


def test_paired_rewards_equal_those_of_each_column_alone() -> None:
    """Several score columns are rewarded like one, null scores without reward."""
    both = predictions([0.9, 0.1, 0.5]).with_columns(other=pl.Series([0.1, None, 0.9]))
    moves = returns([0.02, 0.03, -0.04])
    found = paired_rewards(both, moves, columns=("score", "other"), config=RewardConfig())

    alone = reward_decisions(both, moves, RewardConfig())
    assert found["reward_score"].to_list() == alone["reward"].to_list()
    assert found["reward_other"].to_list() == [-0.02, None, -0.04]


def bars() -> pl.DataFrame:
    sessions = nse_calendar().numbers().filter(pl.col("session") >= date(2023, 1, 2)).head(9)
    return sessions.with_columns(
        symbol=pl.lit("A"),
        open=pl.Series([100.0, 101, 102, 103, 104, 105, 106, 107, 108]),
        close=pl.Series([100.5, 101.5, 102.5, 103.5, 104.5, 105.5, 106.5, 107.5, 108.5]),
        is_unexplained_gap=pl.Series([False] * 7 + [True, False]),
    )


def test_returns_run_from_the_next_open_to_the_close_of_the_horizon() -> None:
    """Bought at 101 and judged at 105.5 five sessions later; gaps and the future are null."""
    rows = bars()
    found = reward_returns(rows, nse_calendar().numbers(), horizon_sessions=5)

    assert found.schema == REWARD_RETURNS_SCHEMA
    assert found["reward_return"].to_list()[:2] == pytest.approx([105.5 / 101 - 1, 106.5 / 102 - 1])
    assert found["reward_return"].to_list()[2:] == [None] * 7
    assert found["reward_known_at"].to_list()[:4] == rows["session"].to_list()[5:]
    assert found["reward_known_number"][0] == rows["session_number"][5]


def test_linear_weights_by_hand() -> None:
    """Newest window +0.5, one older -0.4 at 0.95, one without reward, scaled to mean 1."""
    rows = training({"A new": 0, "A old": 1, "A none": 2}, n_each=2)
    known = history({"A new": (0.5, 3), "A old": (-0.4, 3)})
    found = sample_weights(rows, known, trained_at_number=9, config=RewardConfig())

    raw = np.array([1.5, 1.5, 0.62, 0.62, 1, 1])
    assert found.to_list() == pytest.approx(list(raw / raw.mean()))


def test_exponential_weights_by_hand() -> None:
    """exp(2 x 0.5) beside exp(2 x 0.5 x -0.4), scaled to mean 1."""
    config = RewardConfig(mode="exponential", scale=2, decay=0.5)
    rows = training({"A new": 0, "A old": 1})
    known = history({"A new": (0.5, 3), "A old": (-0.4, 3)})
    found = sample_weights(rows, known, trained_at_number=9, config=config)

    raw = np.exp([1.0, -0.4])
    assert found.to_list() == pytest.approx(list(raw / raw.mean()))


def test_mode_none_weighs_all_rows_alike() -> None:
    """Whatever the rewards were."""
    rows = training({"A new": 0, "A old": 1})
    found = sample_weights(rows, history({"A new": (1, 0)}), trained_at_number=9, config=NONE)

    assert found.to_list() == [1.0, 1.0]


def test_floor_keeps_a_failed_window_in_the_training() -> None:
    """A window that lost all it could lose, ten times over, keeps the floor."""
    rows = training({"A new": 0, "A old": 1})
    config = RewardConfig(scale=10, floor=0.25)
    found = sample_weights(rows, history({"A new": (-1, 0)}), trained_at_number=9, config=config)

    assert found.to_list() == pytest.approx([0.4, 1.6])


def test_windows_older_than_the_depth_weigh_like_those_without_reward() -> None:
    """With a depth of two windows, the third is no longer told by its reward."""
    rows = training({"A new": 0, "A mid": 1, "A old": 2})
    known = history({"A new": (0, 0), "A mid": (0, 0), "A old": (1, 0)})
    deep = sample_weights(rows, known, trained_at_number=9, config=RewardConfig())
    found = sample_weights(rows, known, trained_at_number=9, config=RewardConfig(depth_windows=2))

    assert found.to_list() == [1.0, 1.0, 1.0]
    assert deep[2] > 1.4


def test_symbols_do_not_share_rewards() -> None:
    """A window is that of one symbol, even where two carry one label."""
    rows = pl.DataFrame({"symbol": ["A", "B"], "window": ["w", "w"], "age_windows": [0, 0]})
    known = history({"A new": (0.5, 0)}).with_columns(scored_window=pl.lit("w"))
    found = sample_weights(rows, known, trained_at_number=9, config=RewardConfig())

    assert found.to_list() == pytest.approx([1.2, 0.8])


def test_weights_of_no_rows_are_no_weights() -> None:
    """An empty training has no mean to scale to."""
    found = sample_weights(
        training({}).cast({"age_windows": pl.Int64, "symbol": pl.String, "window": pl.String}),
        history({"A new": (1, 0)}),
        trained_at_number=9,
        config=RewardConfig(),
    )

    assert found.is_empty()
    assert found.dtype == pl.Float64


@pytest.mark.parametrize("age", [-1, None])
def test_rows_of_later_windows_are_refused(age: int | None) -> None:
    """A training that reads a later window has seen the future."""
    rows = training({"A new": 0}).with_columns(age_windows=pl.lit(age, dtype=pl.Int64))

    with pytest.raises(LeakageError):
        sample_weights(rows, history({}), trained_at_number=9, config=RewardConfig())


def test_missing_columns_are_named() -> None:
    """The message names what is not there."""
    with pytest.raises(RecordError, match="age_windows"):
        sample_weights(
            pl.DataFrame({"symbol": [], "window": []}),
            history({}),
            trained_at_number=0,
            config=NONE,
        )
    with pytest.raises(RecordError, match="score"):
        reward_decisions(predictions([0.5]).drop("score"), returns([0.1]), RewardConfig())
    with pytest.raises(RecordError, match="reward_return"):
        reward_decisions(predictions([0.5]), returns([0.1]).drop("reward_return"), RewardConfig())


def random_history(seed: int, *, n_windows: int = 8, skill: float = 0.0) -> pl.DataFrame:
    """Return decisions on overlapping five-session returns of random walks, 120 per window."""
    rng = np.random.default_rng(seed)
    frames: list[pl.DataFrame] = []
    for window in range(n_windows):
        moves = np.convolve(rng.normal(0, 0.018, 124), np.ones(5), mode="valid")
        scores = 0.5 + 0.05 * rng.normal(size=120) + skill * moves
        first = 120 * window
        frames.append(
            pl.DataFrame(
                {
                    "symbol": ["A"] * 120,
                    "session": [DAY + timedelta(days=first + place) for place in range(120)],
                    "session_number": np.arange(first, first + 120, dtype=np.int32),
                    "trained_window": ["before"] * 120,
                    "scored_window": [f"A {window}"] * 120,
                    "score": scores.clip(0, 1),
                    "reward_return": moves,
                    "reward_known_at": [
                        DAY + timedelta(days=first + place + 5) for place in range(120)
                    ],
                    "reward_known_number": np.arange(first + 5, first + 125, dtype=np.int32),
                }
            )
        )
    rows = pl.concat(frames)
    known = rows.select(REWARD_RETURNS_SCHEMA.names())
    return reward_decisions(rows.drop(REWARD_RETURNS_SCHEMA.names()[2:]), known, RewardConfig())


def test_weights_act_at_the_defaults() -> None:
    """On noise as volatile as shares the weights of eight windows spread by a few per cent."""
    rows = training({f"A {window}": 7 - window for window in range(8)}, n_each=120)
    spreads = [
        np.std(
            sample_weights(
                rows, random_history(seed), trained_at_number=960, config=RewardConfig()
            ).to_numpy()
        )
        for seed in range(20)
    ]

    assert np.median(spreads) > 0.03
    assert max(spreads) < 0.5


def test_mean_rewards_alone_would_not_act() -> None:
    """The mean reward is a few per mille where the captured share is some per cent."""
    found = window_rewards(random_history(0))

    assert (found["mean_reward"].abs() < 0.01).all()
    assert (found["captured_frac"].abs() > 0.05).any()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    known_through=st.integers(0, 965),
    mode=st.sampled_from(["linear", "exponential"]),
)
def test_no_later_reward_changes_a_weight(seed: int, known_through: int, mode: Any) -> None:
    """Whatever happens after the training date, the weights are the same."""
    past = random_history(seed % 7)
    is_later = pl.col("reward_known_number") > known_through
    noise = pl.Series(np.random.default_rng(seed).normal(0, 0.05, past.height))
    changed = past.with_columns(
        reward=pl.when(is_later).then(noise).otherwise(pl.col("reward")),
        best_reward=pl.when(is_later).then(noise.abs()).otherwise(pl.col("best_reward")),
    )
    rows = training({f"A {window}": 7 - window for window in range(8)}, n_each=3)
    settings: dict[str, Any] = {
        "trained_at_number": known_through,
        "config": RewardConfig(mode=mode),
    }

    weights = sample_weights(rows, past, **settings)
    assert weights.to_list() == sample_weights(rows, changed, **settings).to_list()
    assert weights.to_list() == sample_weights(rows, past.filter(~is_later), **settings).to_list()
    assert weights.to_numpy().mean() == pytest.approx(1)
    assert (weights > 0).all()


def test_skill_is_rewarded() -> None:
    """A student that knows a little captures more than nothing in nearly every window."""
    found = window_rewards(random_history(1, skill=1.0))

    assert (found["captured_frac"] > 0.1).sum() >= 7


@given(st.permutations(range(12)))
def test_weights_do_not_depend_on_the_order_of_the_history(order: list[int]) -> None:
    """Decisions may be stored in any order."""
    past = dozen()
    rows = pl.DataFrame({"symbol": ["A", "A"], "window": [W1, "x"], "age_windows": [0, 1]})
    straight = sample_weights(rows, past, trained_at_number=99, config=RewardConfig())
    shuffled = sample_weights(rows, past[order], trained_at_number=99, config=RewardConfig())

    assert straight.to_list() == shuffled.to_list()


@pytest.mark.parametrize(
    "changed",
    [
        {"mode": "none", "scale": 2.0},
        {"mode": "none", "decay": 0.5},
        {"mode": "none", "depth_windows": 3},
        {"mode": "none", "floor": 0.2},
        {"mode": "none", "is_deployed": True},
        {"mode": "exponential", "floor": 0.2},
        {"depth_windows": 1, "decay": 0.5},
        {"scale": 0.0},
        {"clip_min": 0.0},
    ],
)
def test_settings_without_effect_are_refused(changed: dict[str, Any]) -> None:
    """Nobody can believe that a setting acted where it cannot."""
    with pytest.raises(ValidationError):
        RewardConfig.model_validate(changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"neutral_score": 0.6},
        {"signal_band": 0.0},
        {"signal_band": 0.15},
        {"dead_band_frac": 0.0},
        {"clip_min": -0.2},
        {"clip_max": 0.2},
    ],
)
def test_settings_of_decisions_act(changed: dict[str, Any]) -> None:
    """Each of them changes a reward of the dozen."""
    scores, moves, *_ = zip(*DOZEN, strict=True)
    config = RewardConfig.model_validate(changed)
    found = reward_decisions(predictions(list(scores)), returns(list(moves)), config)

    assert not found.equals(dozen())
