"""How the windows of a run are shared out between devices: by what they cost, not by their number.

Belongs here: the cost of a window, and the division of costs into shards. Does not belong here:
which devices there are, and how a shard is started (`tasks.shards`).

A division changes no artifact: it says where a window is computed, not what.

Source: Graham (1969), "Bounds on multiprocessing timing anomalies": longest processing time first
ends within 4/3 - 1/(3 n_shards) of the best division.
"""

import heapq
from collections.abc import Iterable, Sequence
from math import log2

from sensequant.booster_config import BoosterConfig
from sensequant.errors import ConfigError

__all__ = ["divide", "fit_seconds", "shard_loads"]

# Measured with LightGBM 4.7 on one core of an EPYC, 60 to 12,000 rows, 40 and 120 columns: the
# formula is within a factor of 1.9 of every fit, where rows x columns is off by a factor of 4.
_SECONDS_PER_ROW = 1.5e-9
_SECONDS_PER_BIN = 2.2e-9
_N_BINS = 255

WINDOW_SECONDS = 0.03
"""What a window costs besides its fits: its task, its rows and its files."""


def fit_seconds(n_rows: int, *, n_columns: int, booster: BoosterConfig, n_fits: int = 1) -> float:
    """Return about how long the fits of one window take on one core of a CPU.

    A tree visits each row once per level, and tries each bin of each column once per leaf.

    Parameters
    ----------
    n_rows
        Rows of the window, of all its symbols together.
    n_columns
        Features.
    booster
        Settings of the fits.
    n_fits
        Fits of the window: folds, and those for rounds and for all rows.

    Returns
    -------
    float
        Seconds; good for comparing windows of one run, not for a promise.
    """
    n_leaves = min(booster.num_leaves, max(2, n_rows // booster.min_child_samples))
    visits = _SECONDS_PER_ROW * n_rows * log2(n_leaves)
    splits = _SECONDS_PER_BIN * n_leaves * min(n_rows, _N_BINS)
    return n_fits * booster.n_estimators * n_columns * (visits + splits)


def divide(costs: Sequence[float], n_shards: int) -> list[list[int]]:
    """Give each cost to the shard with the least load so far, the highest cost first.

    Parameters
    ----------
    costs
        Of each window (seconds or any other unit), not negative.
    n_shards
        Shards to make, at least 1.

    Returns
    -------
    list of list of int
        Positions in `costs`, in ascending order, for each shard; every position is in exactly one
        shard, and a shard may be empty. Equal costs are told apart by position, so that equal
        arguments give equal shards.

    Raises
    ------
    ConfigError
        There is no shard to fill.
    """
    if n_shards < 1:
        raise ConfigError("no shard to fill", expected="at least 1", found=str(n_shards))
    shards: list[list[int]] = [[] for _ in range(n_shards)]
    loads = [(0.0, shard) for shard in range(n_shards)]
    for position in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        load, shard = heapq.heappop(loads)
        shards[shard].append(position)
        heapq.heappush(loads, (load + costs[position], shard))
    return [sorted(shard) for shard in shards]


def shard_loads(costs: Sequence[float], shards: Iterable[Iterable[int]]) -> list[float]:
    """Return the sum of the costs of each shard."""
    return [sum(costs[position] for position in shard) for shard in shards]
