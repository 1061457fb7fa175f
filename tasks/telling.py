"""How a task speaks: one structured line in the run's log, one event in its telemetry.

Belongs here: rendering of log lines and the clock of events. Does not belong here: artifacts
(`tasks.artifacts`), and what a stage wants to say.
"""

from datetime import UTC, datetime
from typing import Any

import structlog
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from sensequant.runs import RunFolder
from sensequant.telemetry import Telemetry

__all__ = ["say", "telemetry_of", "utc_now"]

_render = structlog.processors.LogfmtRenderer(key_order=["event"])


def utc_now() -> datetime:
    """Return the current instant, aware and in UTC."""
    return datetime.now(UTC)


def say(event: str, *, is_warning: bool = False, **fields: Any) -> None:
    """Write one line of the run's log: the event, then its fields as key=value."""
    known = {name: value for name, value in fields.items() if value is not None}
    line = str(_render(None, "info", {"event": event, **known}))
    try:
        logger = get_run_logger()
    except MissingContextError:
        # A task's function called outside a run (a test, a notebook) has no page to log to.
        return
    (logger.warning if is_warning else logger.info)(line)


def telemetry_of(folder: RunFolder) -> Telemetry:
    """Return the writer of a run's telemetry."""
    return Telemetry(folder.telemetry, run_id=folder.run_id, now=utc_now)
