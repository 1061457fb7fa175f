"""Progress of a run on a terminal, told by its telemetry.

Belongs here: following the file of events and drawing bars. Does not belong here: the events
themselves (`sensequant.telemetry`) and what is left at the end of a run (`cli.show`).

Off a terminal nothing is drawn: a log must not fill with bars.
"""

import json
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["EventFile", "StageProgress", "show_progress", "update_stages"]

_POLL_SECONDS = 0.2


@dataclass
class StageProgress:
    """How far a stage is: units expected (None while unknown) and units ended, by outcome."""

    n_units: int | None = None
    counts: dict[str, int] = field(
        default_factory=lambda: {"success": 0, "skipped": 0, "failed": 0}
    )
    outcome: str | None = None

    @property
    def n_ended(self) -> int:
        """Units that ended, however they did."""
        return sum(self.counts.values())

    @property
    def note(self) -> str:
        """What is not plain success, in words."""
        parts = [f"{n} {name}" for name, n in self.counts.items() if n and name != "success"]
        return ", ".join(([self.outcome] if self.outcome else []) + parts)


class EventFile:
    """A file of events that another thread writes; each event is read once.

    Parameters
    ----------
    path
        The file; it may not exist yet.
    offset
        Bytes to pass over, when an earlier execution of the same run left events there.
    """

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        self._path = path
        self._offset = offset

    def new_events(self) -> Iterator[dict[str, Any]]:
        """Yield the events that were completed since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield json.loads(line)


def update_stages(stages: dict[str, StageProgress], event: dict[str, Any]) -> None:
    """Enter one event into the progress of the stages, in the order in which they started."""
    name = event.get("stage")
    if name is None:
        return
    stage = stages.setdefault(name, StageProgress())
    if event["event"] == "stage_started":
        stage.n_units = event.get("n_units")
    elif event["event"] == "unit_ended":
        outcome = event["outcome"]
        stage.counts[outcome] = stage.counts.get(outcome, 0) + 1
    elif event["event"] == "stage_ended":
        stage.outcome = event["outcome"]


@contextmanager
def show_progress(path: Path, console: Console) -> Generator[None]:
    """Draw one bar per stage while the body runs, from the events that are added to `path`."""
    if not console.is_terminal:
        yield
        return
    events = EventFile(path, offset=path.stat().st_size if path.exists() else 0)
    is_over = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(events, console, is_over), name="progress", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def _watch(events: EventFile, console: Console, is_over: threading.Event) -> None:
    stages: dict[str, StageProgress] = {}
    bars: dict[str, TaskID] = {}
    with _bars(console) as progress:
        while True:
            is_last_look = is_over.wait(_POLL_SECONDS)
            for event in events.new_events():
                update_stages(stages, event)
            for name, stage in stages.items():
                _draw(progress, bars, name, stage)
            if is_last_look:
                return


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def _draw(progress: Progress, bars: dict[str, TaskID], name: str, stage: StageProgress) -> None:
    if name not in bars:
        bars[name] = progress.add_task(name.replace("_", " "), total=None, note="")
    # A stage whose work is no list of units is one unit, which ends with the stage.
    total = stage.n_units if stage.n_units is None else max(stage.n_units, stage.n_ended)
    completed = total if stage.outcome is not None and stage.n_ended == 0 else stage.n_ended
    progress.update(bars[name], total=total, completed=completed or 0, note=stage.note)
    if stage.outcome is not None:
        progress.stop_task(bars[name])
