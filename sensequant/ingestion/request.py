"""What a person asks of a backfill: which bars, and how they are to be fetched.

Belongs here: the request and the options, with the rules between their fields. Does not belong
here: which calls follow from them (`planning`), settings of a source (`market.sources`).

Both models are parameters of a flow, so that Prefect renders them as a form. A range on holidays
only is no wrong request: its outcome is that there was nothing to do.
"""

from datetime import date, datetime
from typing import Literal, Self

from pydantic import Field, model_validator

from sensequant.errors import ConfigError
from sensequant.ingestion.ranges import last_closed_session
from sensequant.market.intervals import DAILY, INTERVALS, Interval
from sensequant.market.selection import SymbolSelection
from sensequant.market.sessions import SessionCalendar
from sensequant.market.sources.build import SourceConfig
from sensequant.records import Config

__all__ = ["BackfillOptions", "BackfillRequest"]


class BackfillRequest(SymbolSelection):
    """Which bars of which symbols, from when to when, from which source."""

    intervals: tuple[Interval, ...] = Field(
        default=(DAILY,),
        min_length=1,
        max_length=len(INTERVALS),
        description="Lengths of the bars, fetched side by side: 1day, 30minute, 5minute, 1minute.",
    )
    start: date = Field(default=date(2022, 1, 1), description="First session to fetch.")
    end: date | None = Field(
        default=None,
        description="Last session to fetch; empty means the last one that has closed.",
    )
    source: SourceConfig = Field(
        default_factory=SourceConfig, description="Where the bars come from."
    )
    compare_with: Literal["files", "breeze"] | None = Field(
        default=None,
        description="Second source, whose stored daily bars are held against those of this one: "
        "files that were imported, or bars that the vendor delivered.",
    )

    @model_validator(mode="after")
    def _intervals_are_distinct(self) -> Self:
        if len(set(self.intervals)) < len(self.intervals):
            raise ConfigError(
                "interval is named twice",
                where="intervals",
                expected="each of " + ", ".join(INTERVALS) + " at most once",
                found=", ".join(self.intervals),
                remedy="remove the repetition",
            )
        return self

    @model_validator(mode="after")
    def _second_source_is_another(self) -> Self:
        if self.compare_with is not None and self.compare_with == self.source.kind:
            raise ConfigError(
                "source is compared with itself",
                where="compare_with",
                expected=f"another source than {self.source.kind}",
                found=self.compare_with,
                remedy="leave it out, or name another one",
            )
        return self

    @model_validator(mode="after")
    def _start_does_not_follow_end(self) -> Self:
        if self.end is not None and self.start > self.end:
            raise ConfigError(
                "range is upside down",
                where="start and end",
                expected="start on or before end",
                found=f"{self.start} to {self.end}",
                remedy="swap or correct the two dates",
            )
        return self

    def last_session(self, calendar: SessionCalendar, now: datetime) -> date:
        """Return the end of the range, which is the last closed session where none is named.

        Raises
        ------
        ConfigError
            `now` is naive, or its year is not in the calendar.
        """
        return last_closed_session(calendar, now) if self.end is None else self.end


class BackfillOptions(Config):
    """How to fetch; none of this changes which values a bar has."""

    force: bool = Field(
        default=False,
        description="Fetch every session of the range again, whatever the ledger knows.",
    )
    incremental: bool = Field(
        default=False,
        description="Begin after the last final session of each symbol and interval; earlier gaps "
        "stay as they are.",
    )
    workers: int = Field(
        default=4, ge=1, le=64, description="Chunks that are fetched side by side."
    )

    @model_validator(mode="after")
    def _one_mode(self) -> Self:
        if self.force and self.incremental:
            raise ConfigError(
                "options contradict each other",
                where="force and incremental",
                expected="at most one of them",
                found="both",
                remedy="force fetches the whole range again, incremental only its end",
            )
        return self
