"""What a schedule asks: ranges that end at the instant for which a run was scheduled.

Belongs here: requests relative to an instant, and whether there is anything to do at it. Does not
belong here: when runs are scheduled (`prefect.yaml`), and requests with dates of their own
(`settings`, `ingestion.request`).

The instant is the scheduled one, not the one at which a worker had time: a run that starts late,
or is retried days later, asks for the same bars. Days are dates in India.

Ranges begin on a grid of whole windows, the same for all runs, so that what an earlier run has
learnt from a window is found again by a later one (docs/adr/0030).
"""

from datetime import date, datetime, timedelta
from typing import Literal

from pydantic import Field

from sensequant.ingestion.ranges import last_closed_session
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.market.intervals import DAILY, INTERVALS, Interval
from sensequant.market.selection import SymbolSelection
from sensequant.market.sessions import SessionCalendar, session_date_of
from sensequant.market.sources.build import SourceConfig
from sensequant.settings import RunRequest

__all__ = ["DailyIngestion", "Due", "RecentRange", "due_after", "why_not_today"]

Due = Literal["weekly", "monthly", "quarterly"]
"""How often a training comes round."""


class RecentRange(SymbolSelection):
    """Which symbols, over how many of the last days, from which source."""

    last_days: int = Field(
        default=365,
        ge=60,
        le=3650,
        description="Calendar days before the scheduled time, the last closed session included; "
        "the range begins with the window that holds the first of them.",
    )
    source: SourceConfig = Field(
        default_factory=SourceConfig, description="Where the bars come from."
    )

    def request_at(
        self, scheduled: datetime, calendar: SessionCalendar, *, window_days: int
    ) -> RunRequest:
        """Return the request of a run that was scheduled for an instant.

        Parameters
        ----------
        scheduled
            Aware instant.
        calendar
            Tells which session was the last one that had closed.
        window_days
            Length of the run's windows (calendar days).

        Returns
        -------
        RunRequest
            Ends with the last closed session; begins with a window of the grid, less than one
            window before the first of the last days.

        Raises
        ------
        ConfigError
            The instant is naive, or the calendar does not know its year.
        """
        end = last_closed_session(calendar, scheduled)
        first = end - timedelta(days=self.last_days - 1)
        # No session: the next run's first session of the same window might be another one.
        start = first - timedelta(days=first.toordinal() % window_days)
        named = self.model_dump(include=set(SymbolSelection.model_fields))
        return RunRequest(**named, start=start, end=end, source=self.source)


class DailyIngestion(SymbolSelection):
    """Which bars of which symbols are brought up to date, from which source."""

    intervals: tuple[Interval, ...] = Field(
        default=(DAILY,),
        min_length=1,
        max_length=len(INTERVALS),
        description="Lengths of the bars, fetched side by side: 1day, 30minute, 5minute, 1minute.",
    )
    since: date = Field(
        default=date(2022, 1, 1),
        description="First session to fetch of what has no bars yet; all else goes on where it "
        "ends.",
    )
    source: SourceConfig = Field(
        default_factory=SourceConfig, description="Where the bars come from."
    )
    workers: int = Field(
        default=4, ge=1, le=64, description="Chunks that are fetched side by side."
    )

    def request_at(self, scheduled: datetime) -> BackfillRequest:
        """Return the request of the session on which a run was scheduled; see `why_not_today`."""
        named = self.model_dump(include=set(SymbolSelection.model_fields))
        return BackfillRequest(
            **named,
            intervals=self.intervals,
            start=self.since,
            end=session_date_of(scheduled),
            source=self.source,
        )

    @property
    def options(self) -> BackfillOptions:
        """How it is fetched: from the last final session on, not the whole range again."""
        return BackfillOptions(incremental=True, workers=self.workers)


def why_not_today(scheduled: datetime, calendar: SessionCalendar) -> str | None:
    """Return why there are no new bars at an instant, or None where a session has closed.

    Raises
    ------
    ConfigError
        The instant is naive, or the calendar does not know its year.
    """
    day = session_date_of(scheduled)
    if not calendar.is_session(day):
        return f"{day:%A %Y-%m-%d} is no session of NSE"
    if last_closed_session(calendar, scheduled) != day:
        return f"the session of {day} had not closed yet"
    return None


def due_after(session: date, calendar: SessionCalendar) -> Due | None:
    """Return which training is due after a session; the rarest of those that are, or None.

    The last session of a week, a month or a quarter is the one whose next session lies in another.

    Raises
    ------
    ConfigError
        The calendar does not know the year of the next session.
    """
    following = calendar.next_on_or_after(session + timedelta(days=1))
    if _quarter(session) != _quarter(following):
        return "quarterly"
    if (session.year, session.month) != (following.year, following.month):
        return "monthly"
    if session.isocalendar()[:2] != following.isocalendar()[:2]:
        return "weekly"
    return None


def _quarter(day: date) -> tuple[int, int]:
    return day.year, (day.month - 1) // 3
