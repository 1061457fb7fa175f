"""Units of work: a chunk, a window's teacher, a student, a crisis; what became of each.

Belongs here: the record of a unit, tables of them, and whether a stage holds with the outcomes of
its units. Does not belong here: the work itself (`stages`), and how a unit becomes a task.
"""

import traceback
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import polars as pl
from pydantic import Field

from sensequant.devices import SeenDevice
from sensequant.errors import DataError
from sensequant.records import Outcome, Record
from sensequant.runs import StageOutcome
from sensequant.storage import write_table

__all__ = ["UnitRecord", "summarise_units", "unit_table", "units_of", "write_units"]

_NESTED = frozenset({"counts", "device", "schema_version"})
_DEVICE_COLUMNS = pl.Schema(
    {
        "pool": pl.String,
        "visible_devices": pl.String,
        "device_index": pl.Int64,
        "device_uuid": pl.String,
        "n_threads": pl.Int64,
    }
)


class UnitRecord(Record):
    """What became of one unit of work: a chunk, a window's teacher, a student, a scenario.

    `reused_from` is the run that made it, where that was not this one.
    """

    kind: str
    name: str
    symbol: str | None = None
    window: str | None = None
    outcome: Outcome
    reason: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    error_traceback: str | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    path: str | None = None
    sha256: str | None = None
    reused_from: str | None = None
    device: SeenDevice | None = None
    seconds: float = Field(ge=0)

    @classmethod
    def from_error(
        cls, error: Exception, *, kind: str, name: str, seconds: float, **fields: Any
    ) -> Self:
        """Describe an error: a `DataError` is a skip with its reason, anything else a failure."""
        if isinstance(error, DataError):
            return cls(
                kind=kind,
                name=name,
                outcome=Outcome.SKIPPED,
                reason=error.reason,
                error_message=str(error),
                seconds=seconds,
                **fields,
            )
        return cls(
            kind=kind,
            name=name,
            outcome=Outcome.FAILED,
            error_type=type(error).__name__,
            error_message=str(error),
            error_traceback="".join(traceback.format_exception(error)),
            seconds=seconds,
            **fields,
        )


def unit_table(units: Iterable[UnitRecord]) -> pl.DataFrame:
    """Return one row per unit, sorted by name.

    Counts become columns, and so do the fields of the device that a unit saw; missing ones are
    null, and a kind of unit that sees no device has no such columns.
    """
    rows = sorted(units, key=lambda unit: unit.name)
    names = sorted({name for unit in rows for name in unit.counts})
    fields = [name for name in UnitRecord.model_fields if name not in _NESTED]
    schema = {name: pl.Float64 if name == "seconds" else pl.String for name in fields}
    frame = pl.DataFrame(
        {name: [getattr(unit, name) for unit in rows] for name in fields}, schema=schema
    )
    frame = frame.with_columns(
        pl.Series(name, [unit.counts.get(name) for unit in rows], dtype=pl.Int64) for name in names
    )
    devices = [unit.device for unit in rows]
    if not any(devices):
        return frame
    return frame.with_columns(
        pl.Series(name, [getattr(device, name, None) for device in devices], dtype=dtype)
        for name, dtype in _DEVICE_COLUMNS.items()
    )


def units_of(table: pl.DataFrame) -> list[UnitRecord]:
    """Return the units of a table that `unit_table` made of units that see no device."""
    fields = [name for name in table.columns if name in UnitRecord.model_fields]
    counted = [name for name in table.columns if name not in fields]
    return [
        UnitRecord(
            **{name: row[name] for name in fields},
            counts={name: row[name] for name in counted if row[name] is not None},
        )
        for row in table.iter_rows(named=True)
    ]


def write_units(path: Path, units: Iterable[UnitRecord]) -> None:
    """Store the table of units."""
    write_table(path, unit_table(units))


def summarise_units(
    units: Iterable[UnitRecord], *, max_failure_rate: float
) -> tuple[StageOutcome, dict[str, Any]]:
    """Count outcomes and decide whether the stage holds.

    Skips are answers: they do not enter the rate, which is failed / (success + failed).

    Returns
    -------
    outcome
        `failed` when the rate exceeds `max_failure_rate` or everything failed, `skipped` when
        no unit succeeded and none failed, `degraded` when some failed, else `success`.
    fields
        Counts by name, ready for a `StageRecord`.
    """
    rows = list(units)
    counts = Counter(unit.outcome for unit in rows)
    reasons = Counter(unit.reason or "unknown" for unit in rows if unit.outcome is Outcome.SKIPPED)
    n_success, n_failed = counts[Outcome.SUCCESS], counts[Outcome.FAILED]
    tried = n_success + n_failed
    rate = n_failed / tried if tried else None
    fields: dict[str, Any] = {
        "n_success": n_success,
        "n_skipped": counts[Outcome.SKIPPED],
        "n_failed": n_failed,
        "skip_reasons": dict(sorted(reasons.items())),
        "failure_rate": rate,
        "max_failure_rate": max_failure_rate,
    }
    if rate is None:
        return StageOutcome.SKIPPED, fields
    if rate > max_failure_rate:
        return StageOutcome.FAILED, fields
    return (StageOutcome.DEGRADED if n_failed else StageOutcome.SUCCESS), fields
