"""Every window is in one shard, shards cost about the same, and what a fit costs is about true."""

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sensequant.booster_config import BoosterConfig
from sensequant.boosting import TrainingData, fit_predictor
from sensequant.errors import ConfigError
from sensequant.sharding import divide, fit_seconds, shard_loads

_COSTS = st.lists(st.floats(min_value=0, max_value=1e3, allow_subnormal=False), max_size=60)
_SHARDS = st.integers(min_value=1, max_value=5)


@given(costs=_COSTS, n_shards=_SHARDS)
def test_every_window_is_in_exactly_one_shard(costs: list[float], n_shards: int) -> None:
    """No window is lost or done twice, and the same costs give the same shards."""
    shards = divide(costs, n_shards)

    assert len(shards) == n_shards
    assert sorted(position for shard in shards for position in shard) == list(range(len(costs)))
    assert shards == divide(list(costs), n_shards)
    assert all(shard == sorted(shard) for shard in shards)


@given(
    costs=st.lists(st.integers(min_value=0, max_value=50), min_size=1, max_size=7),
    n_shards=st.integers(min_value=1, max_value=3),
)
def test_the_largest_shard_is_near_the_best_division(costs: list[int], n_shards: int) -> None:
    """Brute force over all divisions: within 4/3 - 1/(3m) of the least possible maximum."""
    best = min(
        max(sum(c for c, s in zip(costs, taken, strict=True) if s == k) for k in range(n_shards))
        for taken in product(range(n_shards), repeat=len(costs))
    )

    largest = max(shard_loads(costs, divide(costs, n_shards)))

    assert largest <= best * (4 / 3 - 1 / (3 * n_shards)) + 1e-9


@given(
    costs=st.lists(st.floats(min_value=0.01, max_value=10), min_size=20, max_size=200),
    n_shards=st.integers(min_value=2, max_value=4),
)
def test_uneven_windows_end_together(costs: list[float], n_shards: int) -> None:
    """Shards differ by 15 % at most when no window alone is more than that of a fair share."""
    share = sum(costs) / n_shards
    assume(max(costs) <= 0.15 * share)

    loads = shard_loads(costs, divide(costs, n_shards))

    assert max(loads) - min(loads) <= 0.15 * share


def test_windows_of_a_universe_weigh_what_they_hold() -> None:
    """By count two shards of eight windows would do; the one of all symbols outweighs six others.

    Seven windows of 120 rows and one of 6,000 rows: it stands alone, because it costs more than
    all others together.
    """
    config = BoosterConfig()
    rows = [120, 120, 6000, 120, 120, 120, 120, 120]
    costs = [fit_seconds(n, n_columns=40, booster=config) for n in rows]

    assert divide(costs, 2) == [[2], [0, 1, 3, 4, 5, 6, 7]]


def test_the_cost_of_a_fit_is_about_its_time() -> None:
    """From 250 to 4,000 rows, times grow as costs do: within a factor of three of each other."""
    config = BoosterConfig(n_estimators=60, early_stopping_rounds=0)
    measured = np.array([_fit_time(n, config) for n in (250, 1000, 4000)])
    foreseen = np.array([fit_seconds(n, n_columns=20, booster=config) for n in (250, 1000, 4000)])

    ratio = measured / foreseen

    assert ratio.max() / ratio.min() < 3, ratio


def _fit_time(n_rows: int, config: BoosterConfig) -> float:
    rng = np.random.default_rng(n_rows)
    features = rng.normal(size=(n_rows, 20))
    targets = (features[:, 0] + rng.normal(size=n_rows) > 0).astype(np.float64)
    data = TrainingData(features, targets, tuple(f"column_{i}" for i in range(20)))
    times: list[float] = []
    for _ in range(3):
        # Time of this thread alone: other processes of the machine do not count.
        started = time.thread_time()
        fit_predictor(data, objective="binary", config=config, seed=1, n_threads=1)
        times.append(time.thread_time() - started)
    return min(times)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"n_rows": 200, "n_columns": 40}, {"n_rows": 100, "n_columns": 40}),
        ({"n_rows": 100, "n_columns": 80}, {"n_rows": 100, "n_columns": 40}),
        ({"n_rows": 100, "n_columns": 40, "n_fits": 5}, {"n_rows": 100, "n_columns": 40}),
    ],
)
def test_more_work_costs_more(first: dict[str, int], second: dict[str, int]) -> None:
    """Rows, columns and fits each raise the cost."""
    booster = BoosterConfig()

    assert fit_seconds(**first, booster=booster) > fit_seconds(**second, booster=booster)


def test_a_window_without_rows_costs_nothing_to_fit() -> None:
    """A window that will be skipped has no fits."""
    assert fit_seconds(0, n_columns=40, booster=BoosterConfig()) == 0


def test_no_shards_are_refused() -> None:
    """Windows must go somewhere."""
    with pytest.raises(ConfigError, match="at least 1"):
        divide([1.0], 0)
