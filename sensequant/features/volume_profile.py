"""The volume profile: at which prices the shares of the last sixty bars changed hands.

Belongs here: point of control and value area as levels. Does not belong here: the features made
of them (`levels`).

The range from the lowest low to the highest high of the window is cut into 24 rows of equal height,
and the volume of each bar counts in the row of its typical price (high + low + close) / 3, because
a daily bar does not say more. The **point of control** is the middle of the row with the most
volume, the lowest of equal ones. The **value area** grows from it, each time by the neighbouring
row with more volume, the upper one of equal ones, until it holds 70 percent of the volume.

Source: Steidlmayer and Koy, *Markets and Market Logic* (1986).
"""

from itertools import pairwise

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view

from sensequant.features.context import MarketContext
from sensequant.features.spec import HISTORY, Table

__all__ = ["PROFILE_BARS", "PROFILE_TABLE"]

PROFILE_BARS = 60
_N_ROWS = 24
_VALUE_FRAC = 0.7
_COLUMNS = ("_point_of_control", "_value_area_high", "_value_area_low")


def _levels(rows: pl.DataFrame, _context: MarketContext) -> pl.DataFrame:
    levels = np.full((rows.height, len(_COLUMNS)), np.nan)
    for start, stop in _bounds(rows[HISTORY].to_numpy()):
        if stop - start >= PROFILE_BARS:
            levels[start + PROFILE_BARS - 1 : stop] = _history_levels(rows[start:stop])
    return pl.DataFrame(levels, schema=list(_COLUMNS), nan_to_null=True)


PROFILE_TABLE = Table(_COLUMNS, _levels)


def _bounds(histories: np.ndarray) -> list[tuple[int, int]]:
    cuts = np.flatnonzero(np.diff(histories)) + 1
    edges = [0, *cuts.tolist(), histories.size]
    return list(pairwise(edges))


def _history_levels(rows: pl.DataFrame) -> np.ndarray:
    """Return point of control, upper and lower edge (INR) of each full window, NaN for none."""
    high, low, close, volume = (
        rows[name].to_numpy() for name in ("high", "low", "close", "volume")
    )
    floor = sliding_window_view(low, PROFILE_BARS).min(axis=1)
    height = (sliding_window_view(high, PROFILE_BARS).max(axis=1) - floor) / _N_ROWS
    prices = sliding_window_view((high + low + close) / 3, PROFILE_BARS)
    is_flat = height <= 0
    safe_height = np.where(is_flat, 1.0, height)
    places = ((prices - floor[:, None]) / safe_height[:, None]).astype(np.int64)
    profile = _profile(np.clip(places, 0, _N_ROWS - 1), volume)
    control = profile.argmax(axis=1)
    bottom, top = _value_area(profile, control)
    places_of_levels = np.stack([control + 0.5, top + 1, bottom], axis=1)
    levels = floor[:, None] + places_of_levels * height[:, None]
    is_unknown = is_flat | (profile.max(axis=1) <= 0)
    return np.where(is_unknown[:, None], np.nan, levels)


def _profile(places: np.ndarray, volume: np.ndarray) -> np.ndarray:
    n_windows = len(places)
    cells = np.add(places, _N_ROWS * np.arange(n_windows)[:, None]).ravel()
    weights = sliding_window_view(volume, PROFILE_BARS).ravel()
    totals = np.bincount(cells, weights=weights, minlength=n_windows * _N_ROWS)
    return totals.reshape(n_windows, _N_ROWS)


def _value_area(profile: np.ndarray, control: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    window = np.arange(control.size)
    # A border without volume on either side spares the loop its edges.
    bordered = np.pad(profile, ((0, 0), (1, 1)), constant_values=-1.0)
    bottom, top = control.copy(), control.copy()
    held = profile[window, control]
    wanted = _VALUE_FRAC * profile.sum(axis=1)
    for _ in range(_N_ROWS - 1):
        is_short = held < wanted
        above, below = bordered[window, np.minimum(top + 2, _N_ROWS + 1)], bordered[window, bottom]
        goes_up = above >= below
        held = held + np.where(is_short, np.where(goes_up, above, below), 0.0)
        top = top + (is_short & goes_up)
        bottom = bottom - (is_short & ~goes_up)
    return bottom, top
