"""What a capture has written and nobody has judged yet: small files, each whole or not at all.

Belongs here: the files of a session's capture. Does not belong here: what of them can be used
(`books`), the store (`sensequant.context.store`).

```
<root>/context/captured/kind=depth/session=2024-03-04/ticks-<begin>-000001.parquet
<root>/context/captured/kind=depth/session=2024-03-04/gaps-<begin>-000001.parquet
```

Each capture has a name of its own in its files, so that two may write side by side.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from sensequant.capture.buffer import Heard
from sensequant.context.depth import SIDES
from sensequant.context.depth_gaps import DEPTH_GAPS
from sensequant.context.rows import INSTANT
from sensequant.storage import write_table

__all__ = ["TICK_SCHEMA", "PartWriter", "captured_sessions", "gap_files", "tick_files"]

TICK_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "room": pl.String(),
        "stamp": INSTANT,
        "received": INSTANT,
        **dict.fromkeys(SIDES, pl.List(pl.Float64())),
    }
)
"""A tick as it came: whose it is, null for a room to which nobody subscribed; the vendor's whole
second; when it came here; the levels, null where a number could not be read. All but `received` are
null for a tick that could not be read."""

_FOLDER = "captured/kind=depth"


class PartWriter:
    """The files of one capture.

    Parameters
    ----------
    root
        Folder of the store of context (`store.ContextStore.root`).
    session
        What is captured.
    begun_at
        When the capture began; part of the names.
    symbols
        Symbol of each room.
    """

    def __init__(
        self, root: Path, session: date, *, begun_at: datetime, symbols: Mapping[str, str]
    ) -> None:
        self._folder = _folder_of(root) / f"session={session}"
        self._begun = f"{begun_at:%H%M%S%f}"
        self._symbols = symbols
        self._number = 0

    def write_ticks(self, heard: Sequence[Heard]) -> None:
        """Write what came.

        Raises
        ------
        OSError
            The disk refuses.
        """
        if heard:
            columns = zip(*(self._row(each) for each in heard), strict=True)
            named = dict(zip(TICK_SCHEMA, columns, strict=True))
            self._write("ticks", pl.DataFrame(named, schema=TICK_SCHEMA))

    def write_gaps(self, gaps: pl.DataFrame) -> None:
        """Write gaps that have ended (`depth_gaps.DEPTH_GAPS`).

        Raises
        ------
        OSError
            The disk refuses.
        """
        if gaps.height:
            self._write("gaps", gaps.cast(DEPTH_GAPS.schema))

    def _write(self, name: str, table: pl.DataFrame) -> None:
        self._number += 1
        write_table(self._folder / f"{name}-{self._begun}-{self._number:06}.parquet", table)

    def _row(self, heard: Heard) -> tuple[Any, ...]:
        tick = heard.tick
        if tick is None:
            return (None, None, None, heard.received, None, None, None, None)
        levels = tick.levels
        sides = ([_number(level[side]) for level in levels] for side in range(len(SIDES)))
        return (self._symbols.get(tick.room), tick.room, tick.stamp, heard.received, *sides)


def captured_sessions(root: Path) -> list[date]:
    """Return the sessions of which files wait, in order."""
    folders = _folder_of(root).glob("session=*")
    names = (path.name.removeprefix("session=") for path in folders if any(path.glob("*.parquet")))
    return sorted(date.fromisoformat(name) for name in names)


def tick_files(root: Path, session: date) -> list[Path]:
    """Return the files of ticks of a session, in the order in which they were written."""
    return sorted((_folder_of(root) / f"session={session}").glob("ticks-*.parquet"))


def gap_files(root: Path, session: date) -> list[Path]:
    """Return the files of gaps of a session."""
    return sorted((_folder_of(root) / f"session={session}").glob("gaps-*.parquet"))


def _folder_of(root: Path) -> Path:
    return root / _FOLDER


def _number(value: Any) -> float | None:
    # The vendor writes numbers as texts elsewhere.
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
