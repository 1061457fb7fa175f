"""An audit on disk: a page for people, a record and two tables for programs.

Belongs here: which files there are, and what stands in which. Does not belong here: their content.

```
coverage.html               the page
coverage.json               coverage.summary.CoverageSummary
coverage.parquet            one row per symbol, interval and month (coverage.rollup.months_of)
coverage_sessions.parquet   every session that is not ok (coverage.audit.SESSION_SCHEMA)
```
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sensequant.coverage.audit import CoverageAudit
from sensequant.coverage.page import build_page
from sensequant.coverage.states import State
from sensequant.coverage.summary import CoverageSummary, Heading, summary_of
from sensequant.storage import write_atomically, write_json, write_table

__all__ = ["CoverageFiles", "write_coverage"]


@dataclass(frozen=True, slots=True)
class CoverageFiles:
    """Where an audit stands, and its summary."""

    page: Path
    record: Path
    months: Path
    sessions: Path
    summary: CoverageSummary


def write_coverage(folder: Path, audit: CoverageAudit, heading: Heading) -> CoverageFiles:
    """Write the page, the record and the tables; each file whole or not at all.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    summary = summary_of(audit, heading)
    files = CoverageFiles(
        page=folder / "coverage.html",
        record=folder / "coverage.json",
        months=folder / "coverage.parquet",
        sessions=folder / "coverage_sessions.parquet",
        summary=summary,
    )
    write_table(files.months, audit.months)
    write_table(files.sessions, audit.sessions.filter(pl.col("state") != State.OK.value))
    write_json(files.record, summary)
    # The page comes last: who sees a new one finds the tables beside it.
    write_atomically(files.page, build_page(audit, summary).encode())
    return files
