"""What a run tells while it happens: one JSON line per event, complete after a kill.

Belongs here: the format of a line, how it is appended, and the table of all events. Does not belong
here: who watches (the terminal tails the file) and what an event means to a stage.
"""

import json
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

__all__ = ["Telemetry", "read_events", "telemetry_table"]

_COLUMNS = pl.Schema(
    {
        "at": pl.Datetime("us", "UTC"),
        "event": pl.String,
        "run_id": pl.String,
        "stage": pl.String,
        "kind": pl.String,
        "name": pl.String,
        "outcome": pl.String,
        "reason": pl.String,
        "seconds": pl.Float64,
        "is_cached": pl.Boolean,
    }
)


class Telemetry:
    """Appends events to one file; safe from many threads and processes at once.

    Parameters
    ----------
    path
        The JSON-lines file; its folder must exist.
    run_id
        Stands in every line.
    now
        Clock that returns an aware UTC datetime.
    """

    def __init__(self, path: Path, *, run_id: str, now: Callable[[], datetime]) -> None:
        self._path = path
        self._run_id = run_id
        self._now = now

    def emit(self, event: str, **fields: Any) -> None:
        """Append one event; a line is a single write, so that lines never mix."""
        line = {"at": self._now().isoformat(), "event": event, "run_id": self._run_id, **fields}
        content = (json.dumps(line, allow_nan=False) + "\n").encode()
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, content)
        finally:
            os.close(handle)


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a file in order; a last line that was cut by a kill is left out."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def telemetry_table(path: Path) -> pl.DataFrame:
    """Return the events of a file, one row each, in the order in which they happened.

    Returns
    -------
    DataFrame
        at (UTC), event, run_id; stage, kind, name, outcome, reason, seconds and is_cached where an
        event has them, else null; and `fields`, all that it has besides, as one JSON text.
    """
    rows = [_row(event) for event in read_events(path)]
    return pl.DataFrame(rows, schema={**_COLUMNS, "fields": pl.String}, orient="row")


def _row(event: dict[str, Any]) -> dict[str, Any]:
    known = {name: event.get(name) for name in _COLUMNS}
    others = {name: value for name, value in event.items() if name not in _COLUMNS}
    return known | {"at": datetime.fromisoformat(event["at"]), "fields": json.dumps(others)}
