"""How a task speaks: one structured line in the run's log, one event in its telemetry.

Belongs here: rendering of log lines and the clock of events. Does not belong here: artifacts
(`tasks.artifacts`), and what a stage wants to say.
"""

import logging
from datetime import UTC, datetime
from typing import Any

import structlog
from prefect.context import TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from blocks.environment import environment_now
from sensequant.runs import RunFolder
from sensequant.telemetry import Telemetry

__all__ = ["say", "telemetry_of", "utc_now"]

_NAMES_OF_RUNS = {"run_id": "run", "backfill_id": "backfill"}


class _OneLinePerFact(logging.Filter):
    """Drops what Prefect says of each task that went well: the task's own line tells more.

    A line costs a millisecond here and two at the server, and a run has thousands of tasks.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Finished in state Completed(")


# Prefect has no setting for it; its own configuration of this logger leaves filters as they are.
logging.getLogger("prefect.task_runs").addFilter(_OneLinePerFact())

_render = structlog.processors.LogfmtRenderer(key_order=["event"])


def utc_now() -> datetime:
    """Return the current instant, aware and in UTC."""
    return datetime.now(UTC)


def say(event: str, *, is_warning: bool = False, **fields: Any) -> None:
    """Write one line of the run's log: the event, then its fields as key=value.

    A task's line also says which run, device and attempt it belongs to.
    """
    given = _of_task() | fields
    known = {name: value for name, value in given.items() if value is not None}
    line = str(_render(None, "info", {"event": event, **known}))
    try:
        logger = get_run_logger()
    except MissingContextError:
        # A task's function called outside a run (a test, a notebook) has no page to log to.
        return
    (logger.warning if is_warning else logger.info)(line)


def _of_task() -> dict[str, Any]:
    context = TaskRunContext.get()
    if context is None:
        return {}
    named = {name: context.parameters.get(parameter) for parameter, name in _NAMES_OF_RUNS.items()}
    return named | {
        "device": environment_now().visible_devices,
        "attempt": context.task_run.run_count,
    }


def telemetry_of(folder: RunFolder) -> Telemetry:
    """Return the writer of a run's telemetry."""
    return Telemetry(folder.telemetry, run_id=folder.run_id, now=utc_now)
