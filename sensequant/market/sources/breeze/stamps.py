"""When the bars of a plain reply begin: its stamps, looked up in the calendar.

Belongs here: stamps that all name a bar which the exchange's calendar expects. Does not belong
here: saying of a single stamp what is wrong with it (`market.quality`).

Looking a text up takes less than parsing it, and tells at once that the bar may be there.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import polars as pl

from sensequant.market.intervals import Interval, grid, is_intraday, minutes_of
from sensequant.market.sessions import IST, nse_calendar

__all__ = ["times_of"]

_DAILY_LABELS = frozenset({" 00:00:00", " 12:00:00"})


def times_of(stamps: Sequence[str], interval: Interval) -> dict[str, pl.Series] | None:
    """Return session, and of intraday bars `starts_at`, of stamps that all name a bar of NSE.

    Parameters
    ----------
    stamps
        Texts `2024-03-04 09:15:00`, India's wall clock, ascending, each once; at least one.
    interval
        Length of the bars.

    Returns
    -------
    dict or None
        Columns by name; None where a stamp has another form, or where the calendar knows of no such
        session or bar.
    """
    if is_intraday(interval):
        return _times_within_sessions(stamps, interval)
    if not _DAILY_LABELS.issuperset(stamp[10:] for stamp in stamps):
        return None
    known = _session_numbers()
    numbers = [known.get(stamp[:10], -1) for stamp in stamps]
    if min(numbers) < 0:
        return None
    # Stamps ascend, so as many as there are numbers between the ends are all of these.
    first, after = numbers[0], numbers[-1] + 1
    every = nse_calendar().table["session"]
    is_gapless = after - first == len(numbers)
    return {"session": every[first:after] if is_gapless else every[numbers]}


@cache
def _session_numbers() -> dict[str, int]:
    sessions = nse_calendar().table["session"].to_list()
    return {session.isoformat(): number for number, session in enumerate(sessions)}


def _times_within_sessions(
    stamps: Sequence[str], interval: Interval
) -> dict[str, pl.Series] | None:
    days, minute_of = _days_of_grid(interval), _minutes_of_day()
    places: list[int] = []
    for stamp in stamps:
        day, minute = days.get(stamp[:10]), minute_of.get(stamp[10:])
        if day is None or minute is None:
            return None
        number, off_grid = divmod(minute - day.opens_at, minutes_of(interval))
        if off_grid or not 0 <= number < day.n_bars:
            return None
        places.append(day.first + number)
    rows = grid(nse_calendar(), interval)
    is_gapless = places[-1] - places[0] + 1 == len(places)
    found = rows[places[0] : places[-1] + 1] if is_gapless else rows[places]
    return {name: found[name] for name in ("session", "starts_at")}


class _DayOfGrid(NamedTuple):
    first: int
    n_bars: int
    opens_at: int


@cache
def _days_of_grid(interval: Interval) -> dict[str, _DayOfGrid]:
    # Where the bars of a session stand in the grid, and the minute of its day at which they begin.
    days: dict[str, _DayOfGrid] = {}
    first = 0
    counted = grid(nse_calendar(), interval).group_by("session", maintain_order=True)
    for session, opens_at, n_bars in counted.agg(pl.col("starts_at").first(), pl.len()).iter_rows():
        opened = opens_at.astimezone(IST)
        days[session.isoformat()] = _DayOfGrid(first, n_bars, 60 * opened.hour + opened.minute)
        first += n_bars
    return days


@cache
def _minutes_of_day() -> dict[str, int]:
    return {f" {n // 60:02d}:{n % 60:02d}:00": n for n in range(24 * 60)}
