"""Imports of context, and what there is of it, on the terminal.

Belongs here: printing. Does not belong here: reading and judging files (`sensequant.context`), and
which importer takes them (`ingestion.context_imports`).
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from sensequant.cli.output import print_facts, print_table
from sensequant.context.files import ImportReport
from sensequant.context.sessions import KINDS
from sensequant.ingestion.context_imports import ContextImport, import_context
from sensequant.ingestion.places import context_store_at
from sensequant.market.sources.build import SourceConfig

__all__ = ["print_context", "print_import"]

_COLUMNS = ("kind", "symbol", "rows", "corrections", "dates", "first", "last", "from", "refused")


def print_import(console: Console, home: Path, asked: ContextImport) -> None:
    """Bring files, or bars of indices, and print what became of their rows.

    Raises
    ------
    ConfigError, InvalidContextError, MissingBarsError
        There is no such file, it is none of its kind, or no index is stored.
    """
    _print_report(console, import_context(home, asked, at=datetime.now(UTC)), asked.stored_kind)


def print_context(console: Console, home: Path, source: SourceConfig, *, is_json: bool) -> None:
    """Print what exists for which symbols and dates."""
    table = context_store_at(home, source).coverage(KINDS)
    if is_json:
        console.file.write(json.dumps(table.to_dicts(), indent=2, default=str) + "\n")
        return
    if table.is_empty():
        print_facts(console, [("context", "none stored")])
        return
    rows = table.drop("is_simulated").iter_rows()
    print_table(console, _COLUMNS, [["" if it is None else str(it) for it in row] for row in rows])
    if table["is_simulated"].any():
        print_facts(console, [("mark", "simulated: all of it is invented")])


def _print_report(console: Console, report: ImportReport, kind: str) -> None:
    counts = report.counts
    added = (
        f"{counts.n_added} added, {counts.n_corrected} corrected, {counts.n_known} known already"
    )
    shown = 5
    whose = ", ".join(report.symbols[:shown])
    more = len(report.symbols) - shown
    print_facts(
        console,
        [
            ("files", str(report.n_files)),
            ("symbols", whose if more <= 0 else f"{whose} and {more} more"),
            (kind, added),
            ("refused", str(report.refused.height)),
        ],
    )
    reasons = report.refused["reason"].value_counts(sort=True)
    print_facts(console, [(f"  {reason}", str(n)) for reason, n in reasons.iter_rows()])
