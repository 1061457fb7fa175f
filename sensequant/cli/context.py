"""Imports of context, and what there is of it, on the terminal.

Belongs here: printing. Does not belong here: reading and judging files (`sensequant.context`).
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from sensequant.cli.output import print_facts, print_table
from sensequant.context.depth import DEPTH
from sensequant.context.depth_files import import_depth
from sensequant.context.files import ImportReport
from sensequant.context.headline_files import import_headlines
from sensequant.context.headlines import HEADLINES
from sensequant.context.sessions import KINDS
from sensequant.ingestion.places import context_store_at
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.build import SourceConfig
from sensequant.market.symbols import validate_symbol

__all__ = ["print_context", "print_depth_import", "print_headline_import"]

_COLUMNS = ("kind", "symbol", "rows", "corrections", "dates", "first", "last", "from", "refused")


def print_depth_import(
    console: Console,
    home: Path,
    source: SourceConfig,
    *,
    path: Path,
    symbol: str | None,
    delay_seconds: float,
) -> None:
    """Bring files of order books and print what became of their rows.

    Raises
    ------
    ConfigError, InvalidContextError
        There is no such file, or it is none of order books.
    """
    report = import_depth(
        context_store_at(home, source),
        path,
        calendar=nse_calendar(),
        imported_at=datetime.now(UTC),
        symbol=symbol,
        delay=timedelta(seconds=delay_seconds),
    )
    _print_report(console, report, DEPTH.name)


def print_headline_import(
    console: Console, home: Path, source: SourceConfig, *, path: Path, symbol: str | None
) -> None:
    """Bring files of headlines and print what became of them.

    Raises
    ------
    ConfigError, InvalidContextError
        There is no such file, or it is none of headlines.
    """
    report = import_headlines(
        context_store_at(home, source),
        path,
        imported_at=datetime.now(UTC),
        symbol=None if symbol is None else validate_symbol(symbol),
    )
    _print_report(console, report, HEADLINES.name)


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
