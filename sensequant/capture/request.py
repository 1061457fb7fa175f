"""What a person asks of a capture of order books.

Belongs here: symbols, length, patience and sizes, as a form shows them. Does not belong here: what
is done with them (`session`).
"""

from datetime import datetime

from pydantic import Field

from sensequant.market.selection import SymbolSelection
from sensequant.market.sessions import SessionCalendar, session_date_of
from sensequant.market.sources.build import SourceConfig
from sensequant.records import Config

__all__ = ["CaptureConfig", "DepthCaptureRequest", "why_no_capture"]


class CaptureConfig(Config):
    """Sizes and patience of a capture."""

    flush_seconds: float = Field(
        default=5.0,
        gt=0.0,
        le=300.0,
        description="Seconds after which what came is written; a kill loses no more than that.",
    )
    buffer_ticks: int = Field(
        default=200_000,
        ge=1_000,
        le=5_000_000,
        description="Ticks that wait in memory for the disk at most; later ones are lost, and a "
        "gap says so.",
    )
    silence_seconds: float = Field(
        default=60.0,
        gt=0.0,
        le=3_600.0,
        description="Seconds without a tick of a symbol after which its silence is recorded as a "
        "gap.",
    )
    dead_seconds: float = Field(
        default=30.0,
        gt=0.0,
        le=3_600.0,
        description="Seconds without a tick of any symbol after which the connection is made anew.",
    )
    first_wait_seconds: float = Field(
        default=1.0,
        gt=0.0,
        le=60.0,
        description="Longest wait before the first try to connect again; it doubles from try to "
        "try.",
    )
    longest_wait_seconds: float = Field(
        default=30.0, gt=0.0, le=600.0, description="Longest wait between two tries to connect."
    )


class DepthCaptureRequest(SymbolSelection):
    """Whose order books are captured, from which vendor, for how long."""

    minutes: float | None = Field(
        default=None,
        gt=0.0,
        le=1_440.0,
        description="Minutes from the beginning of the capture; empty means to the close.",
    )
    source: SourceConfig = Field(
        default_factory=lambda: SourceConfig(kind="breeze"),
        description="Vendor: breeze or breeze-simulator.",
    )
    config: CaptureConfig = Field(
        default_factory=CaptureConfig, title="Capture", description="Sizes and patience."
    )


def why_no_capture(now: datetime, calendar: SessionCalendar) -> str | None:
    """Return why there is nothing to capture on the day of an instant, or None.

    Raises
    ------
    ConfigError
        The instant is naive, or the calendar does not know its year.
    """
    day = session_date_of(now)
    if not calendar.is_session(day):
        return f"{day:%A %Y-%m-%d} is no session of NSE"
    closes = calendar.closes(day)
    if closes is None:
        return f"nobody knows the hours of the session of {day}"
    if now >= closes:
        return f"the session of {day} has closed"
    return None
