"""The path between two barriers: which of them a price touches first, and at what price.

Belongs here: the first touch on daily bars. Does not belong here: where the barriers stand and
what a touch means for a label (`labels`).

A position is opened at the open of calendar session t+1. From that bar on, the first bar that
reaches a barrier closes it: at the open, where the bar opens at or behind the barrier (a gap), else
at the barrier itself. A bar that reaches both inside counts as the stop, because daily bars do not
say which came first. A session without a bar touches nothing.

Source: M. Lopez de Prado (2018), "Advances in Financial Machine Learning", ch. 3.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["first_touches"]


def first_touches(
    bars: pl.DataFrame, *, horizon_sessions: int, profit_frac: pl.Series, stop_frac: pl.Series
) -> pl.DataFrame:
    """Find the first touch of a barrier after every bar.

    Parameters
    ----------
    bars
        Bars of any number of symbols, sorted by (symbol, session): symbol, session_number, open,
        high and low in INR.
    horizon_sessions
        Calendar sessions after the decision within which a touch counts.
    profit_frac, stop_frac
        Distance of the barriers above and below the entry, as positive fractions of it, one per
        bar; null where there is no barrier.

    Returns
    -------
    polars.DataFrame
        One row per bar: touch_offset (Int32, calendar sessions from the decision to the touch),
        touch_price in INR, touch_is_profit; all null where nothing was touched.
    """
    places, n_places = _places(bars, horizon_sessions)
    opens, highs, lows = (_grid(bars[name], places, n_places) for name in ("open", "high", "low"))
    entry = opens[places + 1]
    profit = entry * (1 + profit_frac.to_numpy())
    stop = entry * (1 - stop_frac.to_numpy())
    offset = np.zeros(bars.height, dtype=np.int32)
    price = np.full(bars.height, np.nan)
    is_profit = np.zeros(bars.height, dtype=np.bool_)
    for ahead in range(1, horizon_sessions + 1):
        start = opens[places + ahead]
        opens_above, opens_below = start >= profit, start <= stop
        is_stop = ~opens_above & (opens_below | (lows[places + ahead] <= stop))
        is_gain = opens_above | (~is_stop & (highs[places + ahead] >= profit))
        is_first = (offset == 0) & (is_stop | is_gain)
        inside = np.where(is_stop, stop, profit)
        offset[is_first] = ahead
        price[is_first] = np.where(opens_above | opens_below, start, inside)[is_first]
        is_profit[is_first] = is_gain[is_first]
    is_touched = pl.Series(offset > 0)
    return pl.DataFrame(
        {"touch_offset": offset, "touch_price": price, "touch_is_profit": is_profit}
    ).with_columns(pl.when(is_touched).then(pl.all()))


def _places(bars: pl.DataFrame, horizon_sessions: int) -> tuple[NDArray[np.int64], int]:
    # One line of places per symbol, long enough that nothing ahead reaches the next symbol.
    symbol = bars["symbol"].rle_id().cast(pl.Int64).to_numpy()
    number = bars["session_number"].cast(pl.Int64).to_numpy()
    if number.size == 0:
        return number, horizon_sessions + 1
    length = int(number.max() - number.min()) + 1 + horizon_sessions
    return symbol * length + number - number.min(), (int(symbol[-1]) + 1) * length


def _grid(values: pl.Series, places: NDArray[np.int64], n_places: int) -> NDArray[np.float64]:
    grid = np.full(n_places, np.nan)
    grid[places] = values.to_numpy()
    return grid
