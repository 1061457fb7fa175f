"""Which part of the reward that was to be had decisions got, with its interval.

Belongs here: the figure of rewards that are known. Does not belong here: rewards themselves
(`sensequant.reward`), differences between two scores (`evaluation.comparison`).
"""

import numpy as np
import polars as pl

from sensequant.evaluation.bootstrap import panel_sum_draws, panel_weights
from sensequant.evaluation.figures import Figure, absent_figure, figure_of_draws

__all__ = ["captured_figure"]

_UNIT = "fraction"


def captured_figure(
    decisions: pl.DataFrame, *, block_sessions: int, n_draws: int, confidence: float, seed: int
) -> Figure:
    """Return the sum of rewards over the sum that decisions without error would have got.

    Parameters
    ----------
    decisions
        symbol, session_number, reward, best_reward of `sensequant.reward.reward_decisions`; rows
        without a reward do not count.
    block_sessions, n_draws, confidence, seed
        Of the two-way block bootstrap over symbols and sessions (`evaluation.bootstrap`).

    Returns
    -------
    Figure
        From -1 (all wrong) to 1 (all right), in fractions; without a value where there was no
        reward to be had.
    """
    known = decisions.drop_nulls(["reward", "best_reward"])
    reward, best = (known[name].to_numpy() for name in ("reward", "best_reward"))
    if best.sum() <= 0:
        reason = "no reward was to be had" if known.height else "no reward is known yet"
        return absent_figure(_UNIT, reason, n=known.height)
    symbols, sessions = known["symbol"], known["session_number"]
    weights = panel_weights(
        n_symbols=symbols.n_unique(),
        n_sessions=sessions.n_unique(),
        block_sessions=block_sessions,
        n_draws=n_draws,
        seed=seed,
    )
    summed = [
        panel_sum_draws(symbols.to_numpy(), sessions.to_numpy(), values, weights=weights)
        for values in (reward, best)
    ]
    draws = np.full(n_draws, np.nan)
    np.divide(summed[0], summed[1], out=draws, where=summed[1] > 0)
    return figure_of_draws(
        float(reward.sum() / best.sum()),
        draws,
        n=known.height,
        unit=_UNIT,
        confidence=confidence,
    )
