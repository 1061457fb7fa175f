"""Which spans of time teachers learn from, and what becomes of the rows in them.

Belongs here: planning windows, slicing rows, counting rows at every step. Does not belong here:
the split inside a window (`splits`) and training.

Windows are consecutive, do not overlap and are measured in calendar days, both ends included.
Features and labels are computed over a symbol's whole history before slicing, so that neither
warm-up nor a label that reaches past the end costs a window its rows.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl
from pydantic import Field, NonNegativeInt

from sensequant.errors import ConfigError
from sensequant.records import Config, Record, SkipReason
from sensequant.splits import Split

__all__ = [
    "POOLED",
    "PlannedWindow",
    "Window",
    "WindowConfig",
    "WindowFunnel",
    "count_funnel",
    "feature_rows",
    "funnel_skip",
    "plan_windows",
    "pooled_windows",
    "slice_window",
]


POOLED = "universe"
"""Stands where a symbol stands in what is made from all symbols; no ticker is in small letters."""


class WindowConfig(Config):
    """How long windows are and how much they must hold."""

    window_days: int = Field(
        default=180,
        ge=30,
        le=365,
        description="Length of a window in calendar days.",
    )
    min_samples: int = Field(
        default=20,
        ge=10,
        le=1000,
        description="Training rows (after purging) below which a window is skipped.",
    )
    early_life_days: int = Field(
        default=180,
        ge=0,
        le=3650,
        description="Calendar days after its listing in which a symbol's windows count as early "
        "life; 0 for never. They are marked, not skipped.",
    )


class Window(Record):
    """First and last day from which one teacher learns.

    `index` counts the windows of the range from 0, skipped ones included. `listed_on` is the
    symbol's first session where that lies inside the range; `is_early_life` says that the window
    starts within the first days after it, when prices still settle and features warm up.
    """

    symbol: str
    start: date
    end: date
    index: NonNegativeInt
    listed_on: date | None = None
    is_cut_by_listing: bool = False
    is_early_life: bool = False

    @property
    def label(self) -> str:
        """Name of the window in paths and tables."""
        return f"{self.symbol}_{self.start.isoformat()}_to_{self.end.isoformat()}"

    @property
    def short(self) -> str:
        """First and last day, for charts and task names."""
        return f"{self.start.isoformat()}..{self.end.isoformat()}"


@dataclass(frozen=True, slots=True)
class PlannedWindow:
    """A window, and why it cannot be trained where that is known from the plan alone."""

    window: Window
    skip: SkipReason | None


class WindowFunnel(Record):
    """How many rows of a window were left at every step.

    n_bars of the window hold n_feature_rows with at least one feature; those are labelled or
    unlabelled by reason; the labelled train, validate or are purged. The last three are null
    where no split was made.
    """

    n_bars: NonNegativeInt
    n_feature_rows: NonNegativeInt
    n_labelled: NonNegativeInt
    n_positive: NonNegativeInt
    n_unlabelled_beyond_last_bar: NonNegativeInt
    n_unlabelled_missing_bar: NonNegativeInt
    n_unlabelled_unexplained_gap: NonNegativeInt
    n_unlabelled_missing_volatility: NonNegativeInt
    n_unlabelled_missing_benchmark: NonNegativeInt
    n_train: NonNegativeInt | None = None
    n_validation: NonNegativeInt | None = None
    n_purged: NonNegativeInt | None = None


def plan_windows(
    symbol: str,
    *,
    start: date,
    end: date,
    first_session: date | None,
    last_session: date | None,
    config: WindowConfig,
    market: tuple[date, date] | None = None,
) -> list[PlannedWindow]:
    """Plan a symbol's windows over a range of days.

    Parameters
    ----------
    symbol
        NSE symbol.
    start, end
        First and last day of the range; the last window is cut at `end`.
    first_session, last_session
        Sessions of the symbol's first and last stored bar; both None without any bar.
    config
        Length of a window and of a symbol's early life.
    market
        First and last session of which the store holds a bar of any symbol. With it, a first bar
        on the market's first session of the range is no listing, and silence while others traded
        is told from the end of the store. None: unknown.

    Returns
    -------
    list of PlannedWindow
        In the order of time. Skipped as `no_data`: the symbol has no bars, or the window lies
        outside the store (or behind the symbol's last bar, `market` unknown). As
        `pre_listing`: the window ends before the first bar. As `suspended`: it starts after the
        symbol's last bar while the market still traded (suspended, delisted or merged). A window
        in which the first bar falls starts at that bar and says so, and the windows of a symbol's
        early life are marked.

    Raises
    ------
    ConfigError
        `start` is after `end`, or the sessions contradict each other.
    """
    _require_order("range of the windows", start, end)
    if market is not None:
        _require_order("sessions of the market", *market)
    if first_session is None or last_session is None:
        if first_session is not last_session:
            raise ConfigError(
                "sessions of the symbol are incomplete",
                where=symbol,
                expected="first_session and last_session, or neither",
                found=f"{first_session} and {last_session}",
            )
        spans = _spans(symbol, start=start, end=end, window_days=config.window_days)
        return [PlannedWindow(window, SkipReason.NO_DATA) for window in spans]
    _require_order(f"sessions of {symbol}", first_session, last_session)
    return [
        _planned(
            window,
            traded=(first_session, last_session),
            is_listing=_is_listing(first_session, start=start, market=market),
            market=market,
            early_life_days=config.early_life_days,
        )
        for window in _spans(symbol, start=start, end=end, window_days=config.window_days)
    ]


def pooled_windows(start: date, end: date, config: WindowConfig) -> list[Window]:
    """Return the windows of a range for all symbols at once, in time order, under `POOLED`.

    Raises
    ------
    ConfigError
        `start` is after `end`.
    """
    _require_order("range of the windows", start, end)
    return _spans(POOLED, start=start, end=end, window_days=config.window_days)


def slice_window(rows: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Return the rows whose session lies in the window, in their order.

    Of a symbol's window the rows of that symbol, of a pooled window those of all symbols.
    """
    is_inside = pl.col("session").is_between(window.start, window.end)
    if window.symbol == POOLED:
        return rows.filter(is_inside)
    return rows.filter(pl.col("symbol") == window.symbol, is_inside)


def feature_rows(rows: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """Return the rows with at least one of the feature `columns`, labelled or not."""
    # Counts of nulls are at hand; an expression over all columns takes forty times as long.
    if any(rows.get_column(name).null_count() == 0 for name in columns):
        return rows
    return rows.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in columns))


def count_funnel(
    rows: pl.DataFrame, with_features: pl.DataFrame, *, split: Split | None = None
) -> WindowFunnel:
    """Count the rows of one window at every step.

    Parameters
    ----------
    rows
        Features joined with labels (`sensequant.labels`), one window of one symbol.
    with_features
        `feature_rows` of these rows, which whoever counts needs, too.
    split
        Split of the labelled rows among those with features; None where none was made.
    """
    reasons = with_features["unlabelled_reason"]
    label = with_features["label"]
    return WindowFunnel(
        n_bars=rows.height,
        n_feature_rows=with_features.height,
        n_labelled=label.count(),
        n_positive=int((label == 1).sum()),
        n_unlabelled_beyond_last_bar=int((reasons == "beyond_last_bar").sum()),
        n_unlabelled_missing_bar=int((reasons == "missing_bar").sum()),
        n_unlabelled_unexplained_gap=int((reasons == "unexplained_gap").sum()),
        n_unlabelled_missing_volatility=int((reasons == "missing_volatility").sum()),
        n_unlabelled_missing_benchmark=int((reasons == "missing_benchmark").sum()),
        n_train=None if split is None else split.train.size,
        n_validation=None if split is None else split.validation.size,
        n_purged=None if split is None else split.purged.size,
    )


def funnel_skip(funnel: WindowFunnel, config: WindowConfig) -> SkipReason | None:
    """Return why a window with these counts cannot be trained, or None if it can.

    Returns
    -------
    SkipReason or None
        `no_data` without bars, `insufficient_history` without features, `insufficient_future`
        where every row's label lies behind the last bar, `insufficient_samples` below
        `min_samples` training rows (labelled rows, where no split was made).
    """
    if funnel.n_bars == 0:
        return SkipReason.NO_DATA
    if funnel.n_feature_rows == 0:
        return SkipReason.INSUFFICIENT_HISTORY
    if funnel.n_unlabelled_beyond_last_bar == funnel.n_feature_rows:
        return SkipReason.INSUFFICIENT_FUTURE
    n_samples = funnel.n_labelled if funnel.n_train is None else funnel.n_train
    return SkipReason.INSUFFICIENT_SAMPLES if n_samples < config.min_samples else None


def _spans(symbol: str, *, start: date, end: date, window_days: int) -> list[Window]:
    n_days = (end - start).days + 1
    starts = [start + timedelta(days=offset) for offset in range(0, n_days, window_days)]
    length = timedelta(days=window_days - 1)
    return [
        Window(symbol=symbol, start=first, end=min(first + length, end), index=index)
        for index, first in enumerate(starts)
    ]


def _is_listing(first_session: date, *, start: date, market: tuple[date, date] | None) -> bool:
    # Where the store begins inside the range, its first session is not a symbol's listing.
    opening = start if market is None else max(start, market[0])
    return first_session > opening


def _planned(
    window: Window,
    *,
    traded: tuple[date, date],
    is_listing: bool,
    market: tuple[date, date] | None,
    early_life_days: int,
) -> PlannedWindow:
    first_session, last_session = traded
    if window.end < first_session:
        return PlannedWindow(window, SkipReason.PRE_LISTING if is_listing else SkipReason.NO_DATA)
    if window.start > last_session:
        is_silent = market is not None and window.start <= market[1]
        return PlannedWindow(window, SkipReason.SUSPENDED if is_silent else SkipReason.NO_DATA)
    if not is_listing:
        return PlannedWindow(window, None)
    start = max(window.start, first_session)
    known = {
        "listed_on": first_session,
        "start": start,
        "is_cut_by_listing": start > window.start,
        "is_early_life": (start - first_session).days < early_life_days,
    }
    return PlannedWindow(window.model_copy(update=known), None)


def _require_order(where: str, first: date, last: date) -> None:
    if first > last:
        raise ConfigError(
            "first day is after the last",
            where=where,
            expected="first day on or before the last",
            found=f"{first} and {last}",
        )
