"""Bars of many symbols as arrays: one row per bar, one column per symbol.

Belongs here: checking bars that are to be traded on, and where each of them stands. Does not belong
here: what is bought (`evaluation.backtest`, `evaluation.strategies`), the money
(`evaluation.portfolio`).

- Daily bars have one row per session of the calendar, whether or not anything traded; intraday bars
  one row per instant at which any symbol has a bar.
- A bar without volume is no bar: nobody traded, so nobody could have (a halt).
- A cell without a bar holds NaN. `marks` holds the last close instead, once there is one.
- `share_factor` is how many shares one adjusted share is, since splits and bonuses: a real price is
  the adjusted one divided by it. Where bars have no such column it is 1.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.errors import DataError
from sensequant.market.sessions import nse_calendar

__all__ = [
    "BarGrid",
    "carried",
    "lay_out",
    "refuse_repeated",
    "refuse_rows",
    "with_session_numbers",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BarGrid:
    """Bars as arrays, shape (n_bars, n_symbols) where not said otherwise.

    Parameters
    ----------
    symbols
        Names of the columns, sorted.
    sessions
        Consecutive sessions of the calendar, shape (n_sessions,).
    session_of_bar
        Place of each bar's session in `sessions`, ascending, shape (n_bars,).
    starts_at
        Instant (UTC) at which each bar begins, shape (n_bars,); None for daily bars.
    is_last_ever
        The last bar that the symbol has in all of the data.
    frame
        The rows behind the arrays, with `bar` and `column`.
    """

    symbols: tuple[str, ...]
    sessions: NDArray[np.datetime64]
    session_of_bar: Ints
    starts_at: NDArray[np.datetime64] | None
    opens: Floats
    closes: Floats
    marks: Floats
    volumes: Floats
    share_factors: Floats
    has_bar: Bools
    is_gap: Bools
    is_last_ever: Bools
    frame: pl.DataFrame

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bars and of symbols."""
        return self.opens.shape[0], self.opens.shape[1]

    @property
    def last_bar_of_session(self) -> Ints:
        """Place of the last bar up to the end of each session; -1 before the first bar."""
        places = np.arange(len(self.sessions))
        return np.searchsorted(self.session_of_bar, places, side="right") - 1

    def array_of(self, column: str) -> Floats:
        """Return another column of the bars, NaN where there is no bar."""
        return _array(self.frame, column, self.shape)


def lay_out(bars: pl.DataFrame, *, first: int, last: int, symbols: tuple[str, ...]) -> BarGrid:
    """Return the bars of some symbols from one session to another as arrays.

    Parameters
    ----------
    bars
        symbol, session, open, close, volume, is_unexplained_gap; share_factor where prices are
        adjusted; starts_at where bars are parts of a session.
    first, last
        Numbers of the first and last session; none when `last` is before `first`.
    symbols
        The columns, sorted; bars of others are left out.

    Raises
    ------
    DataError
        A price, volume or factor is not usable, a bar stands twice, a session is unknown.
    """
    known = _checked(bars.filter(pl.col("symbol").is_in(symbols)))
    rows = known.filter(pl.col("number").is_between(first, last))
    n_sessions = max(0, last - first + 1)
    is_intraday = "starts_at" in rows.columns
    starts = rows["starts_at"].unique().sort() if is_intraday else None
    n_bars = n_sessions if starts is None else starts.len()
    place = pl.col("number") - first if starts is None else _place_in(starts)
    codes = pl.col("symbol").cast(pl.Enum(symbols)).to_physical()
    frame = rows.with_columns(bar=place.cast(pl.Int64), column=codes.cast(pl.Int64))
    shape = (n_bars, len(symbols))
    opens, closes = _array(frame, "open", shape), _array(frame, "close", shape)
    has_bar = ~np.isnan(opens)
    calendar = nse_calendar()
    days = [calendar.session_at(first + number) for number in range(n_sessions)]
    return BarGrid(
        symbols=symbols,
        sessions=np.array(days, dtype="datetime64[D]"),
        session_of_bar=_sessions_of_bars(frame, n_bars, first),
        starts_at=None if starts is None else starts.dt.replace_time_zone(None).to_numpy(),
        opens=opens,
        closes=closes,
        marks=carried(closes),
        volumes=_array(frame, "volume", shape),
        share_factors=carried(_array(frame, "share_factor", shape)),
        has_bar=has_bar,
        is_gap=_array(frame, "is_unexplained_gap", shape) == 1,
        is_last_ever=_array(frame, "is_last_ever", shape) == 1,
        frame=frame,
    )


def carried(values: Floats) -> Floats:
    """Return values with NaN replaced by the last number above it."""
    if not values.size:
        return values
    rows = np.where(np.isnan(values), -1, np.arange(len(values))[:, np.newaxis])
    latest = np.maximum.accumulate(rows, axis=0)
    carried = np.take_along_axis(values, np.maximum(latest, 0), axis=0)
    return np.where(latest < 0, np.nan, carried)


def with_session_numbers(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the place of their session in the calendar as `number`.

    Raises
    ------
    DataError
        A session is not in the calendar.
    """
    calendar = nse_calendar().numbers().select("session", number="session_number")
    numbered = rows.join(calendar, on="session", how="left", maintain_order="left")
    refuse_rows(numbered.filter(pl.col("number").is_null()), "a session was not in the calendar")
    return numbered


def refuse_rows(rows: pl.DataFrame, what: str) -> None:
    """Raise a DataError that names the first of these rows, if there is one."""
    if not rows.is_empty():
        raise DataError(
            what,
            where=f"{rows['symbol'][0]} {rows['session'][0]}",
            found=f"{rows.height} such rows",
        )


def refuse_repeated(rows: pl.DataFrame, key: list[str], what: str) -> None:
    """Raise a DataError if two of these rows, sorted by a key, have the same one."""
    is_same = pl.all_horizontal(pl.col(key) == pl.col(key).shift(1))
    refuse_rows(rows.filter(is_same.fill_null(value=False)), what)


def _checked(bars: pl.DataFrame) -> pl.DataFrame:
    key = ["symbol", "starts_at" if "starts_at" in bars.columns else "session"]
    if "share_factor" not in bars.columns:
        bars = bars.with_columns(share_factor=pl.lit(1.0))
    positive = pl.col("open", "close", "share_factor")
    is_usable = pl.all_horizontal(positive.is_finite() & (positive > 0))
    has_volume = pl.col("volume").is_finite() & (pl.col("volume") >= 0)
    refuse_rows(
        bars.filter(~is_usable.fill_null(value=False)), "a bar had no usable price or factor"
    )
    refuse_rows(bars.filter(~has_volume.fill_null(value=False)), "a bar had no usable volume")
    bars = bars.sort(key)
    refuse_repeated(bars, key, "a bar stood twice")
    traded = with_session_numbers(bars.filter(pl.col("volume") > 0))
    at = pl.col(key[1])
    return traded.with_columns(is_last_ever=at == at.max().over("symbol"))


def _place_in(starts: pl.Series) -> pl.Expr:
    places = pl.DataFrame({"starts_at": starts, "place": pl.arange(0, starts.len(), eager=True)})
    return pl.col("starts_at").replace_strict(
        places["starts_at"], places["place"], return_dtype=pl.Int64
    )


def _sessions_of_bars(frame: pl.DataFrame, n_bars: int, first: int) -> Ints:
    if "starts_at" not in frame.columns:
        return np.arange(n_bars, dtype=np.int64)
    found = np.zeros(n_bars, dtype=np.int64)
    found[frame["bar"].to_numpy()] = frame["number"].to_numpy() - first
    return found


def _array(frame: pl.DataFrame, column: str, shape: tuple[int, int]) -> Floats:
    values = np.full(shape, np.nan)
    cells = frame["bar"].to_numpy(), frame["column"].to_numpy()
    values[cells] = frame[column].cast(pl.Float64).to_numpy()
    return values
