"""From option chains to one row per underlying and session.

Belongs here: which snapshot counts for a session, and what it says. Does not belong here: single
prices (`options`), what is fed (`features.options`).

The last snapshot of a session counts that was known at its close, if it is no older than `MAX_AGE`.
Of each expiry the options out of the money make the smile: volatility over ln(strike / forward),
straight between neighbours, and nothing beyond the outermost ones.

The near expiry is the first with `MIN_DAYS` days left: the prices of the last days say more of
single orders than of volatility. A rank over fewer than `MIN_HISTORY` sessions is none.
"""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.context.asof import latest_versions
from sensequant.context.hours import session_of
from sensequant.context.options import OPTIONS, expires_at
from sensequant.context.rows import INSTANT

__all__ = [
    "HISTORY_SESSIONS",
    "MAX_AGE",
    "MIN_DAYS",
    "MIN_HISTORY",
    "OPTIONS_SESSION_SCHEMA",
    "options_by_session",
]

MAX_AGE = timedelta(hours=1)
"""A snapshot that was older at the close says nothing of it."""

MIN_DAYS = 7
"""Days that the near expiry has left at least."""

HISTORY_SESSIONS = 252
"""Sessions, this one included, over which a volatility is ranked."""

MIN_HISTORY = 126
"""Least number of them that must have a volatility."""

WING = 0.05
"""Distance ln(strike / forward) of the two ends of the skew."""

OPTIONS_SESSION_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.Date(),
        "known_at": INSTANT,
        "atm_volatility": pl.Float64(),
        "skew": pl.Float64(),
        "term_structure": pl.Float64(),
        "put_call_volume": pl.Float64(),
        "put_call_open_interest": pl.Float64(),
        "max_pain_to_spot": pl.Float64(),
        "volatility_rank": pl.Float64(),
        "volatility_percentile": pl.Float64(),
    }
)
"""One row per underlying and session with a snapshot; `known_at` is its close. Volatilities are
fractions in a year. `skew`: at ln(strike / forward) = -`WING` less at +`WING`. `term_structure`: at
the money of the next expiry less the near one. Ratios: puts / calls over all contracts.
`max_pain_to_spot`: strike of the near expiry at which holders would receive least / spot - 1.
`volatility_rank`: (at the money - lowest) / (highest - lowest) of the history;
`volatility_percentile`: share of the history before this session that was lower."""


def options_by_session(rows: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """Return what the options of each session said, as far as it was known at the close.

    Parameters
    ----------
    rows
        Rows of `options.OPTIONS`, all versions, in any order.
    decisions
        Hours of the sessions (`hours.DECISION_SCHEMA`).

    Returns
    -------
    polars.DataFrame
        `OPTIONS_SESSION_SCHEMA`, by symbol and session.
    """
    hours = rows.with_columns(session=session_of("at")).join(decisions, on="session")
    known = hours.filter(
        pl.col("known_at") <= pl.col("decided_at"),
        pl.col("at").is_between("opens_at", "decided_at"),
        pl.col("decided_at") - pl.col("at") <= MAX_AGE,
    )
    latest = latest_versions(known, OPTIONS.key).filter(
        pl.col("at") == pl.col("at").max().over("symbol", "session")
    )
    table = pl.DataFrame(
        list(_session_rows(_prepared(latest))),
        schema=pl.Schema({k: v for k, v in OPTIONS_SESSION_SCHEMA.items() if k not in _RANKS}),
        orient="row",
    )
    return _ranked(table, decisions["session"].to_list())


_RANKS = ("volatility_rank", "volatility_percentile")


def _prepared(latest: pl.DataFrame) -> pl.DataFrame:
    """Return the contracts that have not ended, sorted, with days left and moneyness."""
    left = expires_at("expiry") - pl.col("at")
    years = left.dt.total_microseconds() / (365 * 86_400e6)
    carried = ((pl.col("rate_frac") - pl.col("dividend_frac")) * years).exp()
    return (
        latest.filter(left > timedelta(0))
        .with_columns(
            days=(pl.col("expiry") - pl.col("session")).dt.total_days(),
            moneyness=(pl.col("strike_inr") / (pl.col("spot_inr") * carried)).log(),
        )
        .sort("symbol", "session", "expiry", "strike_inr", "is_call")
    )


def _session_rows(contracts: pl.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Give the columns without ranks; in NumPy, because a session has few contracts."""
    keys = contracts.select("symbol", "session", "decided_at").unique(maintain_order=True)
    sizes = contracts.group_by("symbol", "session", maintain_order=True).len()["len"]
    arrays = {name: contracts[name].to_numpy() for name in _READ}
    start = 0
    for key, size in zip(keys.iter_rows(), sizes, strict=True):
        chain = {name: values[start : start + size] for name, values in arrays.items()}
        start += size
        yield (*key, *_measures(chain))


_READ = (
    "days",
    "is_call",
    "strike_inr",
    "spot_inr",
    "moneyness",
    "implied_volatility",
    "volume",
    "open_interest",
)

_Chain = dict[str, NDArray[Any]]


def _measures(chain: _Chain) -> tuple[float | None, ...]:
    days: list[int] = np.unique(chain["days"][chain["days"] >= MIN_DAYS]).tolist()
    near, following = (_of_expiry(chain, each) for each in (*days, _NONE, _NONE)[:2])
    level = _at(near, 0.0)
    return (
        level,
        _less(_at(near, -WING), _at(near, WING)),
        _less(_at(following, 0.0), level),
        _put_call(chain, "volume"),
        _put_call(chain, "open_interest"),
        _max_pain(near),
    )


_NONE = -1
"""No contract has so many days left."""


def _of_expiry(chain: _Chain, days: int) -> _Chain:
    is_of = chain["days"] == days
    return {name: values[is_of] for name, values in chain.items()}


def _at(chain: _Chain, moneyness: float) -> float | None:
    places, volatilities = chain["moneyness"], chain["implied_volatility"]
    is_outer = (chain["is_call"] == (places >= 0)) & ~np.isnan(volatilities)
    places, volatilities = places[is_outer], volatilities[is_outer]
    if places.size == 0 or not places[0] <= moneyness <= places[-1]:
        return None
    return float(np.interp(moneyness, places, volatilities))


def _less(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _put_call(chain: _Chain, column: str) -> float | None:
    values, is_call = np.nan_to_num(chain[column]), chain["is_call"]
    calls, puts = float(values[is_call].sum()), float(values[~is_call].sum())
    return puts / calls if calls else None


def _max_pain(chain: _Chain) -> float | None:
    held = chain["open_interest"] > 0
    strikes, interest = chain["strike_inr"][held], chain["open_interest"][held]
    if not held.any() or not chain["spot_inr"][0] > 0:
        return None
    ends = np.unique(strikes)
    sign = np.where(chain["is_call"][held], 1.0, -1.0)
    received = np.maximum(sign * (ends[:, None] - strikes), 0.0) @ interest
    # Of several the lowest, so that the order of rows decides nothing.
    return float(ends[int(np.argmin(received))] / chain["spot_inr"][0] - 1)


def _ranked(table: pl.DataFrame, sessions: list[date]) -> pl.DataFrame:
    parts = [_ranked_alone(part, sessions) for part in table.partition_by("symbol")]
    return pl.concat([OPTIONS_SESSION_SCHEMA.to_frame(), *parts])


def _ranked_alone(part: pl.DataFrame, sessions: list[date]) -> pl.DataFrame:
    numbers = np.array([bisect_left(sessions, each) for each in part["session"]])
    levels = part["atm_volatility"].to_numpy()
    ranks: list[float | None] = []
    percentiles: list[float | None] = []
    for row, level in enumerate(levels):
        window = levels[: row + 1][numbers[: row + 1] > numbers[row] - HISTORY_SESSIONS]
        known = window[~np.isnan(window)]
        if np.isnan(level) or known.size < MIN_HISTORY:
            ranks.append(None)
            percentiles.append(None)
            continue
        lowest, highest = known.min(), known.max()
        ranks.append(float((level - lowest) / (highest - lowest)) if highest > lowest else None)
        percentiles.append(float((known[:-1] < level).mean()))
    added = (
        pl.Series(name, values, pl.Float64)
        for name, values in zip(_RANKS, (ranks, percentiles), strict=True)
    )
    return part.with_columns(*added).select(OPTIONS_SESSION_SCHEMA.names())
