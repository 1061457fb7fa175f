"""Where stored bars, and what is kept about them, lie below one root folder.

Belongs here: the names of folders and files, and which part of a store a session belongs to. Does
not belong here: what is in the files (`store_tables`), reading and writing them (`store`).

```
<root>/bars/interval=1day/symbol=RELIANCE/year=2024.parquet
<root>/bars/interval=5minute/symbol=RELIANCE/month=2024-03.parquet
<root>/bars/revisions/interval=1day/symbol=RELIANCE.parquet   former values of bars that changed
<root>/bars/revisions/interval=5minute/symbol=RELIANCE/month=2024-03.parquet
<root>/quarantine/interval=1day/symbol=RELIANCE.parquet       rows that were delivered and refused
<root>/disputes/interval=1day/symbol=RELIANCE.parquet         bars that another series contradicts
<root>/adjustments/actions.parquet
```

Daily bars lie by year and their revisions in one file, because they are few; intraday bars and
their revisions lie by month, so that a chunk rewrites little.
"""

import dataclasses
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from sensequant.market.intervals import Interval, is_intraday
from sensequant.market.symbols import validate_symbol

__all__ = ["StoreLayout", "next_part_start", "part_of", "parts_within"]


def part_of(session: date, interval: Interval) -> str:
    """Return the name of the part that holds a session, such as `year=2024`.

    The names of one interval sort as their sessions do.
    """
    if is_intraday(interval):
        return f"month={session.year:04}-{session.month:02}"
    return f"year={session.year:04}"


def next_part_start(session: date, interval: Interval) -> date:
    """Return the first date of the part that follows that of a session."""
    n_months = session.month if is_intraday(interval) else 12
    return date(session.year + n_months // 12, n_months % 12 + 1, 1)


def parts_within(
    parts: Iterable[str], start: date | None, end: date | None, interval: Interval
) -> list[str]:
    """Return the parts that can hold a session from `start` to `end`, both included."""
    first, last = part_of(start or date.min, interval), part_of(end or date.max, interval)
    return [part for part in parts if first <= part <= last]


@dataclasses.dataclass(frozen=True, slots=True)
class StoreLayout:
    """The paths below a root folder."""

    root: Path

    def symbols(self, interval: Interval) -> tuple[str, ...]:
        """Return the symbols that have bars, sorted."""
        folders = self._bars(interval).glob("symbol=*")
        names = (path.name.removeprefix("symbol=") for path in folders)
        return tuple(sorted(name for name in names if self.parts(name, interval)))

    def folder(self, symbol: str, interval: Interval) -> Path:
        """Return the folder of a symbol's bars.

        Raises
        ------
        ConfigError
            The symbol is none.
        """
        return self._bars(interval) / f"symbol={validate_symbol(symbol)}"

    def parts(self, symbol: str, interval: Interval) -> dict[str, Path]:
        """Return the files of a symbol's bars by the name of the part, oldest first."""
        kind = "month" if is_intraday(interval) else "year"
        paths = self.folder(symbol, interval).glob(f"{kind}=[0-9]*.parquet")
        return {path.stem: path for path in sorted(paths)}

    def part(self, symbol: str, interval: Interval, part: str) -> Path:
        """Return the file of one part of a symbol's bars."""
        return self.folder(symbol, interval) / f"{part}.parquet"

    def revisions(self, symbol: str, interval: Interval, part: str) -> Path:
        """Return the file that takes the former values of the bars of a part."""
        folder = self.root / "bars" / "revisions" / f"interval={interval}"
        name = f"symbol={validate_symbol(symbol)}"
        if is_intraday(interval):
            return folder / name / f"{part}.parquet"
        return folder / f"{name}.parquet"

    def all_revisions(self, symbol: str, interval: Interval) -> list[Path]:
        """Return every file of a symbol's revisions, oldest part first."""
        path = self.revisions(symbol, interval, "month=*")
        if is_intraday(interval):
            return sorted(path.parent.glob("month=[0-9]*.parquet"))
        return [path] if path.is_file() else []

    def quarantine(self, symbol: str, interval: Interval) -> Path:
        """Return the file of a symbol's refused rows."""
        return self._table("quarantine", symbol, interval)

    def disputes(self, symbol: str, interval: Interval) -> Path:
        """Return the file of a symbol's contradicted bars."""
        return self._table("disputes", symbol, interval)

    def actions(self) -> Path:
        """Return the file of corporate actions."""
        return self.root / "adjustments" / "actions.parquet"

    def _bars(self, interval: Interval) -> Path:
        return self.root / "bars" / f"interval={interval}"

    def _table(self, kind: str, symbol: str, interval: Interval) -> Path:
        name = f"symbol={validate_symbol(symbol)}.parquet"
        return self.root / kind / f"interval={interval}" / name
