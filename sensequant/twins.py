"""Random-walk twins of a market: its own bars, with the direction of every session drawn anew.

Belongs here: how many twins a run has, and how one is made from adjusted bars. Does not belong
here: running the pipeline on one (`stages.certificate`).

Construction
------------
Each session of the calendar draws one sign, +1 or -1, for the whole market. Where it is -1, the
session is mirrored in the logarithm of prices, in every symbol and index: the move over the night
and the move within the session turn around, and high and low change places. Volumes, listing dates,
missing sessions, marks of gaps and India VIX (a level, not a price) stay as they are.

What stays is exact: the absolute log return of every symbol over every night, session and range,
hence its law, the path of volatility and all its clusters; and every product of two symbols' moves
in one session, hence their correlations. What goes is direction: given all that was known before,
each move is as likely up as down, so that nothing can foresee it, and the drift is gone with it.

This is the wild bootstrap with the signs of Rademacher, one for each cluster of simultaneous moves
(C. F. J. Wu, 1986; R. Y. Liu, 1988; A. C. Cameron, J. B. Gelbach and D. L. Miller, 2008). It
assumes that, without skill to be had, log returns are symmetric about zero given their sizes. Not
kept: the premium of equity, skewness, and the leverage effect (falls that raise volatility).
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from sensequant.market.symbols import INDIA_VIX
from sensequant.records import Config, derive_seed

__all__ = ["TwinConfig", "signs_of", "twin_of"]

_LAST_SESSION_NUMBER = 20_000
"""Sessions for which signs are drawn; the calendar of eighty years."""


class TwinConfig(Config):
    """How many random-walk twins a run is held against."""

    n_twins: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Random-walk twins of the run's own symbols on which the same pipeline runs (a "
        "count); the briefing shows them beside the candidate. Each costs as much as the run.",
    )


def signs_of(seed: int, number: int) -> NDArray[np.int8]:
    """Return the direction of every session of the calendar in one twin, by session number.

    Parameters
    ----------
    seed
        Seed of the run.
    number
        Which twin, from 1 on.
    """
    generator = np.random.default_rng(derive_seed(seed, "twin", str(number)))
    return (2 * generator.integers(0, 2, _LAST_SESSION_NUMBER) - 1).astype(np.int8)


def twin_of(bars: pl.DataFrame, signs: NDArray[np.int8]) -> pl.DataFrame:
    """Return the bars of one symbol as they are in a twin.

    Parameters
    ----------
    bars
        Adjusted bars of one symbol (`market.adjustments.ADJUSTED_SCHEMA`), sorted by session.
    signs
        Of each session, by its number.

    Returns
    -------
    polars.DataFrame
        The same rows and columns; only prices differ. The first open is that of `bars`.
    """
    if bars.is_empty() or bars["symbol"][0] == INDIA_VIX:
        return bars
    logs = {name: np.log(bars[name].to_numpy()) for name in ("open", "high", "low", "close")}
    # Before the first session nothing is known: its own open stands for the close before.
    before = np.concatenate([logs["open"][:1], logs["close"][:-1]])
    sign = signs[bars["session_number"].to_numpy()]
    closes = logs["open"][0] + np.cumsum(sign * (logs["close"] - before))
    anchor = np.concatenate([logs["open"][:1], closes[:-1]])
    moved = {name: anchor + sign * (log - before) for name, log in logs.items()}
    moved["close"] = closes
    is_up = sign > 0
    prices = {name: np.exp(log) for name, log in moved.items()}
    high, low = (
        np.where(is_up, prices[one], prices[other])
        for one, other in (("high", "low"), ("low", "high"))
    )
    # Sums of logarithms are rounded: a close at the high must not stand above it.
    ends = prices["open"], prices["close"]
    return bars.with_columns(
        open=pl.Series(prices["open"]),
        high=pl.Series(np.maximum.reduce([high, *ends])),
        low=pl.Series(np.minimum.reduce([low, *ends])),
        close=pl.Series(prices["close"]),
    )
