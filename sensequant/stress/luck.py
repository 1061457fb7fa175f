"""How far chance within a crisis moves its resilience.

Belongs here: the error of one crisis. Does not belong here: the formula of resilience and its mean
(`stress.resilience`), the replay that gives the sessions (`stress.replay`).

The sessions of a crisis are drawn anew in circular blocks as long as positions overlap (D. N.
Politis and J. P. Romano, 1992), each with its return and its decisions. The error tells how little
a handful of sessions says about this crisis, not how much crises differ from each other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensequant.stress.baselines import performance
from sensequant.stress.resilience import resilience_points
from sensequant.stress.scenarios import StressConfig

__all__ = ["CrisisSessions", "resilience_error"]

_N_DRAWS = 300
_LEAST_DEFINED_FRAC = 0.5


@dataclass(frozen=True, slots=True)
class CrisisSessions:
    """What happened in each session of a crisis, in order.

    Parameters
    ----------
    returns
        Net return of the portfolio, shape (n_sessions,).
    n_decisions
        Labelled decisions to buy, same shape.
    n_right
        Those of them whose label is 1, same shape.
    """

    returns: NDArray[np.float64]
    n_decisions: NDArray[np.int64]
    n_right: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> "CrisisSessions":
        """Return these sessions, in this order, as often as they are named."""
        return CrisisSessions(self.returns[rows], self.n_decisions[rows], self.n_right[rows])

    def points(self, config: StressConfig) -> float | None:
        """Return resilience over these sessions; None where an ingredient is missing."""
        figures = performance("", self.returns, config=config)
        n_decisions = int(self.n_decisions.sum())
        precision = int(self.n_right.sum()) / n_decisions if n_decisions else None
        found, _ = resilience_points(
            max_drawdown=figures.max_drawdown, precision=precision, sharpe=figures.sharpe
        )
        return found


def resilience_error(
    sessions: CrisisSessions, *, block_sessions: int, seed: int, config: StressConfig
) -> float | None:
    """Return the standard deviation of resilience over sessions drawn anew.

    Parameters
    ----------
    sessions
        Of one crisis, at least one.
    block_sessions
        Sessions that are drawn together, at least 1.
    seed
        Seed of the draws.
    config
        The return of cash.

    Returns
    -------
    float or None
        In points; None where resilience is defined in fewer than half of the draws.
    """
    n_sessions = len(sessions.returns)
    length = min(block_sessions, n_sessions)
    rng = np.random.default_rng(seed)
    starts = rng.integers(n_sessions, size=(_N_DRAWS, -(-n_sessions // length)))
    drawn = (starts[:, :, None] + np.arange(length)) % n_sessions
    rows = drawn.reshape(_N_DRAWS, -1)[:, :n_sessions]
    points = [sessions.take(row).points(config) for row in rows]
    defined = [each for each in points if each is not None]
    if len(defined) < _LEAST_DEFINED_FRAC * _N_DRAWS:
        return None
    return float(np.std(defined, ddof=1))
