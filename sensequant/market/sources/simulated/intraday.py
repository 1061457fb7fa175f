"""Intraday bars of the simulated market, cut out of its daily bars.

Belongs here: the path within a session, its volume profile, and the sums of minutes. Does not
belong here: the path from session to session (`paths`), the source that delivers both (`source`).

A session is a Brownian bridge from the daily open to the daily close, with `POINTS_PER_MINUTE`
points in each minute. What lies above both ends is stretched so that its top is the daily high,
what lies below both so that its bottom is the daily low; both are attained exactly. Prices stand on
the tick of 0.05 rupees. Volume is heavier near open and close and sums to the daily volume. Longer
bars are sums of minutes, so every interval agrees with the daily bar: first open, highest high,
lowest low, last close, total volume.

Random numbers depend on seed, symbol and session alone, never on the range that is asked for.
Sessions without known hours, or with hours in two parts, have no intraday bars. What only a
session has (previous close, average, turnover, trades, delivery) is null.
"""

from datetime import date
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.market.bars import INTRADAY_SCHEMA
from sensequant.market.intervals import Interval, bars_in_range, grid, minutes_of
from sensequant.market.sessions import SessionCalendar

__all__ = ["POINTS_PER_MINUTE", "aggregate_minutes", "minute_bars"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

POINTS_PER_MINUTE = 4
"""Prices in a minute: its first, two between, its last."""

_TICK_INR = 0.05
_MINUTE_US = 60_000_000

# A Brownian motion spans 1.6 standard deviations on average (Feller, 1951), so this fits the range.
_DEVIATION_PER_RANGE = 0.6

# At open and close a minute trades three times the volume of one at noon, before noise.
_VOLUME_SMILE = 2.0
_VOLUME_NOISE = 0.4


def minute_bars(daily: pl.DataFrame, *, seed: int, calendar: SessionCalendar) -> pl.DataFrame:
    """Return the one-minute bars of the sessions of one symbol.

    Parameters
    ----------
    daily
        Daily bars of one symbol in one series, sorted, with prices on the tick
        (`market.bars.BAR_SCHEMA`).
    seed
        Seed of the symbol.
    calendar
        Gives the hours of the sessions.

    Returns
    -------
    polars.DataFrame
        Valid bars (`market.bars.INTRADAY_SCHEMA`); empty where no session has known hours.
    """
    hours = _hours(calendar)
    rows_of_length: dict[int, list[int]] = {}
    for row, session in enumerate(daily["session"]):
        if session in hours:
            rows_of_length.setdefault(hours[session].n_minutes, []).append(row)
    if not rows_of_length:
        return INTRADAY_SCHEMA.to_frame()
    parts = [
        _bars_of_length(daily if len(rows) == daily.height else daily[rows], hours, seed)
        for rows in rows_of_length.values()
    ]
    return parts[0] if len(parts) == 1 else pl.concat(parts).sort("starts_at")


def aggregate_minutes(minutes: pl.DataFrame, interval: Interval) -> pl.DataFrame:
    """Return longer bars made of one-minute bars without holes, counted from each session's first.

    Parameters
    ----------
    minutes
        One-minute bars of one symbol, sorted; the last session may end early.
    interval
        An intraday interval.

    Raises
    ------
    ConfigError
        The interval is a session.
    """
    length = minutes_of(interval)
    if minutes.is_empty():
        return minutes
    days = minutes["session"].to_physical().to_numpy()
    place = np.arange(days.size)
    is_new_day = np.diff(days, prepend=days[0] - 1) != 0
    in_session = place - np.maximum.accumulate(np.where(is_new_day, place, 0))
    firsts = np.flatnonzero(in_session % length == 0)
    lasts = np.append(firsts[1:], days.size) - 1
    sums = {
        "high": np.maximum.reduceat(minutes["high"].to_numpy(), firsts),
        "low": np.minimum.reduceat(minutes["low"].to_numpy(), firsts),
        "close": minutes["close"].to_numpy()[lasts],
        "volume": np.add.reduceat(minutes["volume"].to_numpy(), firsts),
    }
    return minutes[firsts].with_columns(pl.Series(name, one) for name, one in sums.items())


class _Hours(NamedTuple):
    opens_at_us: int
    n_minutes: int


@lru_cache(maxsize=2)
def _hours(calendar: SessionCalendar) -> dict[date, _Hours]:
    counts = bars_in_range(calendar, calendar.first, calendar.last, "1minute")
    opened = grid(calendar, "30minute").group_by("session").agg(pl.col("starts_at").min())
    known = counts.drop_nulls().join(opened, on="session")
    return {
        session: _Hours(opens_at_us, n_minutes)
        for session, n_minutes, opens_at_us in known.with_columns(
            pl.col("starts_at").to_physical()
        ).iter_rows()
    }


def _bars_of_length(daily: pl.DataFrame, hours: dict[date, _Hours], seed: int) -> pl.DataFrame:
    sessions: list[date] = daily["session"].to_list()
    n_minutes = hours[sessions[0]].n_minutes
    n_steps = POINTS_PER_MINUTE * n_minutes - 1
    draws = _draws(sessions, seed, n_steps + n_minutes)
    ticks = _ticks(daily, draws[:, :n_steps]).reshape(-1, n_minutes, POINTS_PER_MINUTE)
    opened = np.array([hours[session].opens_at_us for session in sessions])
    columns = {
        "session": np.repeat(daily["session"].to_physical().to_numpy(), n_minutes),
        "starts_at": (opened[:, np.newaxis] + _MINUTE_US * np.arange(n_minutes)).ravel(),
        "open": _inr(ticks[:, :, 0]),
        "high": _inr(ticks.max(axis=2)),
        "low": _inr(ticks.min(axis=2)),
        "close": _inr(ticks[:, :, -1]),
        "volume": _volumes(daily["volume"].to_numpy(), draws[:, n_steps:]).ravel(),
    }
    same = daily.select("symbol", "series", "source_symbol", "source", "is_simulated").row(
        0, named=True
    )
    return pl.select(
        pl.Series(name, columns[name]).cast(kind)
        if name in columns
        else pl.lit(same.get(name), dtype=kind).alias(name)
        for name, kind in INTRADAY_SCHEMA.items()
    )


def _draws(sessions: list[date], seed: int, n_draws: int) -> Floats:
    return np.stack(
        [
            np.random.default_rng([seed, session.toordinal()]).standard_normal(n_draws)
            for session in sessions
        ]
    )


def _ticks(daily: pl.DataFrame, steps: Floats) -> Ints:
    opens, highs, lows, closes = (
        np.rint(daily[name].to_numpy() / _TICK_INR)[:, np.newaxis]
        for name in ("open", "high", "low", "close")
    )
    time = np.linspace(0.0, 1.0, steps.shape[1] + 1)
    motion = np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0))) / np.sqrt(steps.shape[1])
    bridge = motion - time * motion[:, -1:]
    deviation = _DEVIATION_PER_RANGE * (highs - lows)
    path = opens + time * (closes - opens) + deviation * bridge
    upper, lower = np.maximum(opens, closes), np.minimum(opens, closes)
    above, below = np.maximum(path - upper, 0.0), np.maximum(lower - path, 0.0)
    fitted = path + above * _stretch(above, highs - upper) - below * _stretch(below, lower - lows)
    ticks = np.rint(fitted).astype(np.int64)
    # A path that never left the span of its ends has nothing to stretch: its extreme is moved.
    _attain(ticks, path[:, 1:-1].argmax(axis=1) + 1, highs, is_needed=highs > upper)
    _attain(ticks, path[:, 1:-1].argmin(axis=1) + 1, lows, is_needed=lows < lower)
    return ticks


def _stretch(excess: Floats, wanted: Floats) -> Floats:
    # By how much to lengthen an excess, so that its top is `wanted`; -1 takes it away.
    top = excess.max(axis=1, keepdims=True)
    return np.divide(wanted, top, out=np.ones_like(top), where=top > 0.0) - 1.0


def _attain(
    ticks: Ints, at: NDArray[np.intp], level: Floats, *, is_needed: NDArray[np.bool_]
) -> None:
    rows = np.arange(len(ticks))
    ticks[rows, at] = np.where(is_needed[:, 0], level[:, 0].astype(np.int64), ticks[rows, at])


def _inr(ticks: Ints) -> Floats:
    return np.round(ticks.ravel().astype(np.float64) * _TICK_INR, 2)


def _volumes(daily: Ints, noise: Floats) -> Ints:
    time = np.linspace(-1.0, 1.0, noise.shape[1])
    weights = (1.0 + _VOLUME_SMILE * time**2) * np.exp(_VOLUME_NOISE * noise)
    share = np.cumsum(weights, axis=1)
    share /= share[:, -1:]
    # Rounding the running total, not the parts, keeps the sum.
    total = np.floor(daily[:, np.newaxis] * share).astype(np.int64)
    total[:, -1] = daily
    return np.diff(total, axis=1, prepend=0)
