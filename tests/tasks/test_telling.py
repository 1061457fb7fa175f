"""Facts about how a task speaks: lines of fields in the run's log, and the clock of events."""

import logging
from datetime import UTC, datetime

import pytest

from sensequant.runs import RunFolder
from sensequant.telemetry import read_events
from tasks import telling
from tasks.telling import say, telemetry_of, utc_now


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep level and text."""
        self.lines.append((record.levelname, record.getMessage()))


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """Return what a run's log would hold; there is no run in these tests."""
    lines = Lines()
    # Not one of the tree of loggers: nothing else hears it.
    logger = logging.Logger("run")  # noqa: LOG001
    logger.addHandler(lines)
    monkeypatch.setattr(telling, "get_run_logger", lambda: logger)
    return lines


def test_a_line_is_an_event_and_its_fields(logged: Lines) -> None:
    """The event comes first, values with spaces are quoted, and what is unknown is left out."""
    say("teacher success", symbol="M&M", window="a..b", reason=None, seconds=0.5)

    assert logged.lines == [("INFO", 'event="teacher success" symbol=M&M window=a..b seconds=0.5')]


def test_a_failure_is_a_warning(logged: Lines) -> None:
    """So that it can be filtered for on the run's page; a line stays a line."""
    say("teacher failed", is_warning=True, error="two\nlines")

    ((level, line),) = logged.lines
    assert level == "WARNING"
    assert "\n" not in line


def test_outside_a_run_nothing_is_said() -> None:
    """A task's function called from a notebook has no page to log to, and does not fail."""
    say("teacher success", seconds=1)


def test_events_carry_the_run_and_an_aware_instant(folder: RunFolder) -> None:
    """Every line names its run and says when in UTC."""
    before = utc_now()

    telemetry_of(folder).emit("run_started", stage=None)

    (event,) = read_events(folder.telemetry)
    at = datetime.fromisoformat(event["at"])
    assert event["run_id"] == folder.run_id
    assert at.tzinfo == UTC
    assert before <= at <= utc_now()


def test_of_a_task_that_went_well_only_its_own_line_is_kept() -> None:
    """What Prefect says of each of thousands; failures, skips and what came from the cache stay."""
    logger = logging.getLogger("prefect.task_runs")

    def is_kept(text: str) -> bool:
        return bool(logger.filter(logging.makeLogRecord({"msg": text})))

    assert not is_kept("Finished in state Completed()")
    assert is_kept("Finished in state Failed('a tree fell')")
    assert is_kept("Finished in state Skipped('no_data', type=COMPLETED)")
    assert is_kept("Finished in state Cached(type=COMPLETED)")
    assert is_kept('event="teacher success" symbol=SIM01')
