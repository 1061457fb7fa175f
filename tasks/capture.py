"""Tasks that ask the vendor for what is known beside the bars, and what they show of it.

Belongs here: opening, progress, the table at the end. Does not belong here: the capture
(`sensequant.capture`). One attempt each: what was missed is a gap, which a retry would not fill.
"""

from typing import TYPE_CHECKING

from prefect import task

from blocks.environment import UNIVERSES_FOLDER, Environment
from sensequant.capture.opening import breeze_of, capture_parts
from sensequant.capture.options import (
    OptionSnapshotReport,
    OptionSnapshotRequest,
    take_snapshot,
)
from sensequant.capture.report import DepthCaptureReport
from sensequant.capture.request import DepthCaptureRequest
from sensequant.capture.session import DepthCapture, Progress
from sensequant.ingestion.places import context_store_at
from sensequant.market.selection import selected_symbols
from sensequant.market.sessions import session_date_of
from tasks.artifacts import show_capture, show_options, show_progress
from tasks.sources import intake_of, live_timing
from tasks.telling import say, utc_now

if TYPE_CHECKING:
    from uuid import UUID

__all__ = ["listen_to_depth", "look_at_options"]

_TOLD_EVERY_SECONDS = 60.0


@task(task_run_name="listen to order books")
def listen_to_depth(asked: DepthCaptureRequest) -> DepthCaptureReport:
    """Capture the order books of the session that runs or is to open."""
    context = intake_of(asked.source)
    symbols = selected_symbols(
        asked,
        universes=UNIVERSES_FOLDER,
        as_of=session_date_of(utc_now()),
        available=context.source.symbols,
    )
    store = context_store_at(Environment().home, asked.source)
    parts = capture_parts(context, store, symbols, live_timing())
    say("capture begins", symbols=len(symbols), source=parts.source)
    report = DepthCapture(parts, asked.config, minutes=asked.minutes, tell=_Teller()).run()
    show_capture(report)
    say(
        "capture ended",
        is_warning=report.stopped_by is not None or report.n_lost > 0,
        ticks=report.n_ticks,
        stored=report.n_stored,
        refused=sum(report.n_refused.values()),
        gaps=sum(report.n_gaps.values()),
        connections=report.n_connections,
    )
    return report


@task(task_run_name="look at options")
def look_at_options(asked: OptionSnapshotRequest) -> OptionSnapshotReport:
    """Store what the option chains say now."""
    context = intake_of(asked.source)
    store = context_store_at(Environment().home, asked.source)
    report = take_snapshot(asked, breeze_of(context), store, calendar=context.calendar)
    show_options(report)
    say(
        "options looked at",
        is_warning=bool(report.without_options),
        contracts=sum(report.n_contracts.values()),
        volatilities=report.n_volatilities,
        calls=report.n_calls,
    )
    return report


class _Teller:
    """Moves the bar of progress once a minute."""

    def __init__(self) -> None:
        self._artifact: UUID | None = None
        self._told_at: float | None = None

    def __call__(self, progress: Progress) -> None:
        now = progress.now.timestamp()
        if self._told_at is not None and now - self._told_at < _TOLD_EVERY_SECONDS:
            return
        self._told_at = now
        length = (progress.closes - progress.opens).total_seconds()
        done = max((progress.now - progress.opens).total_seconds(), 0.0)
        percent = min(100.0 * done / length, 100.0)
        state = "connected" if progress.is_connected else "not connected"
        text = f"{progress.n_ticks} ticks, {progress.n_connections} connections, {state}"
        self._artifact = show_progress("depth", percent, text, artifact=self._artifact)
