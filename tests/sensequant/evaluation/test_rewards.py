"""Facts about the share of the reward that decisions got: by hand, at its ends, and on chance."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from sensequant.evaluation.figures import Figure
from sensequant.evaluation.rewards import captured_figure

RIGHT = [0.03, 0.01, 0.02, 0.04]


def decisions(rewards: list[float | None], best: list[float | None]) -> pl.DataFrame:
    """Return decisions on one symbol, session after session."""
    number = list(range(len(rewards)))
    return pl.DataFrame(
        {
            "symbol": "AAA",
            "session": [date(2024, 1, 1) + timedelta(days=n) for n in number],
            "session_number": number,
            "reward": pl.Series(rewards, dtype=pl.Float64),
            "best_reward": pl.Series(best, dtype=pl.Float64),
        }
    )


def measured(table: pl.DataFrame, *, seed: int = 1) -> Figure:
    return captured_figure(table, block_sessions=5, n_draws=200, confidence=0.95, seed=seed)


@pytest.mark.parametrize(
    ("rewards", "share"),
    [
        (RIGHT, 1.0),
        ([-each for each in RIGHT], -1.0),
        ([0.0, 0.0, 0.0, 0.0], 0.0),
        # Three and four of ten right, one wrong, one without an opinion.
        ([0.03, -0.01, 0.0, 0.04], 0.6),
    ],
)
def test_share_by_hand(rewards: list[float | None], share: float) -> None:
    """Everything, nothing, and in between."""
    found = measured(decisions(rewards, [*RIGHT]))

    assert found.value == pytest.approx(share)
    assert (found.n, found.unit) == (4, "fraction")
    assert found.lower is not None
    assert found.upper is not None
    assert found.lower <= share + 1e-12
    assert found.upper >= share - 1e-12


def test_what_is_not_known_yet_does_not_count() -> None:
    """A decision without a reward changes neither the share nor its interval."""
    known = measured(decisions([*RIGHT], [*RIGHT]))
    both = measured(decisions([*RIGHT, None], [*RIGHT, None]))

    assert both == known


@pytest.mark.parametrize(
    ("rewards", "reason"),
    [
        ([], "no reward is known yet"),
        ([None, None], "no reward is known yet"),
        ([0.0, 0.0], "no reward was to be had"),
    ],
)
def test_no_share_without_a_reward_to_be_had(rewards: list[float | None], reason: str) -> None:
    """Missing is missing, with the reason; never 0."""
    found = measured(decisions(rewards, rewards))

    assert (found.value, found.lower, found.upper, found.reason) == (None, None, None, reason)


def test_interval_of_chance_holds_zero_and_that_of_skill_does_not() -> None:
    """Signs by a coin on forty worlds; then the same returns with seven of ten signs right."""
    n_covered = n_above = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        size = np.abs(rng.normal(0, 0.02, 250))
        coin, skill = (np.where(rng.random(250) < right, size, -size) for right in (0.5, 0.7))
        chance = measured(decisions(coin.tolist(), size.tolist()), seed=seed)
        found = measured(decisions(skill.tolist(), size.tolist()), seed=seed)
        assert chance.lower is not None
        assert chance.upper is not None
        assert found.lower is not None
        n_covered += chance.lower <= 0 <= chance.upper
        n_above += found.lower > 0
    # 38 of 40 are expected of each; fewer than 33 happen once in several hundred.
    assert n_covered >= 33
    assert n_above >= 33
