"""What is stored, on a terminal: coverage, forecast of a run, export, import of lists.

Belongs here: opening what a home keeps, and the words about it. Does not belong here: the rules
(`sensequant.coverage`, `sensequant.market`). None of this asks a source anything.
"""

import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from blocks.environment import UNIVERSES_FOLDER, environment_now
from sensequant.cli.asking import build_model
from sensequant.cli.output import Fact, print_facts, print_table
from sensequant.coverage.files import write_coverage
from sensequant.coverage.preflight import Question, preflight
from sensequant.coverage.preflight_text import preflight_markdown
from sensequant.coverage.summary import CoverageSummary
from sensequant.errors import ConfigError, MissingBarsError
from sensequant.ingestion.audits import audit_shelf, find_jumps, heading_of, symbols_on
from sensequant.ingestion.imports import (
    import_actions,
    import_listings,
    import_renames,
    import_sectors,
)
from sensequant.ingestion.places import store_at, store_key
from sensequant.ingestion.request import BackfillRequest
from sensequant.ingestion.shelf import Shelf, open_shelf
from sensequant.market.export import ExportRequest, export_bars
from sensequant.market.sources.build import SourceConfig
from sensequant.settings import TrainingConfig

__all__ = ["print_coverage", "print_export", "print_imports", "print_jumps", "print_preflight"]

_MOST_ROWS = 60
_LONGEST_COMMAND = 300


def print_coverage(
    console: Console, request: BackfillRequest, home: Path, *, is_json: bool
) -> None:
    """Audit what is stored, write the page, and print what it says."""
    now = datetime.now(UTC)
    shelf = open_shelf(home, request.source, ledger=environment_now().ledger)
    with closing(shelf.ledger):
        audit = audit_shelf(shelf, request, home=home, universes=UNIVERSES_FOLDER, now=now)
        folder = home / "coverage" / store_key(request.source)
        files = write_coverage(folder, audit, heading_of(request, shelf, now=now))
    if is_json:
        sys.stdout.write(files.summary.model_dump_json(indent=2) + "\n")
        return
    header = ["symbol", "interval", "status", "coverage", "ok", "missing", "pending", "first bar"]
    rows = list(_rows(files.summary))
    print_table(console, header, rows[:_MOST_ROWS])
    if len(rows) > _MOST_ROWS:
        console.print(f"and {len(rows) - _MOST_ROWS} more")
    print_facts(console, [*_facts(files.summary), ("page", str(files.page))])


def print_preflight(console: Console, request: BackfillRequest, home: Path) -> bool:
    """Print what a run would leave out and why; return whether anything is left to train on."""
    now = datetime.now(UTC)
    shelf = open_shelf(home, request.source, ledger=environment_now().ledger)
    with closing(shelf.ledger):
        audit = audit_shelf(shelf, request, home=home, universes=UNIVERSES_FOLDER, now=now)
        forecast = preflight(
            _question(shelf, request, now),
            shelf.store,
            audit,
            calendar=shelf.calendar,
            source_options=request.source.options,
        )
    console.print(preflight_markdown(forecast), end="")
    return forecast.is_possible


def print_export(
    console: Console, request: BackfillRequest, home: Path, *, target: Path, **settings: Any
) -> None:
    """Write stored bars into files, one interval after the other, and print what was written.

    Raises
    ------
    ConfigError
        The request cannot be served.
    MissingBarsError
        Nothing that was asked for is stored.
    StorageError
        A file is there and must not be replaced, or the disk refuses.
    """
    shelf = open_shelf(home, request.source, ledger=environment_now().ledger)
    with closing(shelf.ledger):
        symbols = symbols_on(shelf, request, universes=UNIVERSES_FOLDER)
        if not symbols:
            raise MissingBarsError(
                "nothing is stored of this source",
                where=str(home / shelf.store_key),
                expected="symbols that were ingested",
                remedy="ingest them first, or name the source that they came from",
            )
        for interval in request.intervals:
            fields = {
                "symbols": symbols,
                "interval": interval,
                "start": request.start,
                "end": request.end,
                **settings,
            }
            place = target if len(request.intervals) == 1 else _place_of(target, interval, settings)
            report = export_bars(
                shelf.store, place, request=build_model(ExportRequest, fields, where="export")
            )
            missing = ", ".join(report.symbols_without_bars) or "none"
            facts = [
                ("exported", f"{report.n_rows} bars of {interval} in {len(report.files)} files"),
                ("to", str(place)),
                ("symbols without bars", missing),
            ]
            print_facts(console, facts)


def print_jumps(console: Console, request: BackfillRequest, home: Path) -> bool:
    """Print the moves over a night that no known action explains; return whether there are none."""
    shelf = open_shelf(home, request.source, ledger=environment_now().ledger)
    with closing(shelf.ledger):
        jumps = find_jumps(shelf, symbols_on(shelf, request, universes=UNIVERSES_FOLDER))
    header = [
        "symbol",
        "session",
        "open over close",
        "nearest",
        "volume fits",
        "only open",
        "listed",
    ]
    rows = [
        [
            row["symbol"],
            str(row["session"]),
            f"{row['open_over_previous_close']:.4f}",
            row["nearest_terms"] or "none",
            "n/a" if row["is_volume_consistent"] is None else str(row["is_volume_consistent"]),
            str(row["is_only_open"]),
            row["listed_nearby"] or "nothing",
        ]
        for row in jumps.iter_rows(named=True)
    ]
    print_table(console, header, rows[:_MOST_ROWS])
    more = max(0, len(rows) - _MOST_ROWS)
    print_facts(console, [("unexplained", f"{len(rows)} moves, {more} of them not shown")])
    return jumps.is_empty()


def print_imports(
    console: Console,
    home: Path,
    source: SourceConfig,
    *,
    actions: Path | None = None,
    changes: Path | None = None,
    listings: Path | None = None,
    sectors: Path | None = None,
) -> None:
    """Keep the lists that were given, and print what they hold.

    Raises
    ------
    ConfigError
        No list was given.
    """
    if actions is None and changes is None and listings is None and sectors is None:
        raise ConfigError(
            "nothing to import",
            expected="--changes, --listings or --sectors",
            found="none of them",
            remedy="name a file",
        )
    if actions is not None:
        found = import_actions(store_at(home, source), actions)
        kinds = found["kind"].value_counts(sort=True).iter_rows()
        print_facts(console, [("actions", f"{found.height} for store {store_key(source)}")])
        print_facts(console, [(f"kind {kind}", str(n)) for kind, n in kinds])
    if changes is not None:
        renames = import_renames(home, changes)
        print_facts(console, [("changes of symbols", str(renames.frame.height))])
    if listings is not None:
        spells = import_listings(home / store_key(source), listings)
        print_facts(console, [("spells", f"{spells.height} for store {store_key(source)}")])
    if sectors is not None:
        kept = import_sectors(home, sectors)
        told = f"{kept['sector'].n_unique()} of {kept.height} symbols"
        print_facts(console, [("sectors", told)])


def _place_of(target: Path, interval: str, settings: dict[str, Any]) -> Path:
    # Bars of two lengths have different keys, so each length has a file or folder of its own.
    if settings["is_one_file"]:
        return target.with_name(f"{target.stem}_{interval}{target.suffix}")
    return target / interval


def _question(shelf: Shelf, request: BackfillRequest, now: datetime) -> Question:
    return Question(
        symbols_on(shelf, request, universes=UNIVERSES_FOLDER),
        request.start,
        request.last_session(shelf.calendar, now),
        TrainingConfig(),
    )


def _rows(summary: CoverageSummary) -> Iterator[list[str]]:
    for each in sorted(summary.symbols, key=lambda one: (one.coverage_frac or 0.0, one.symbol)):
        share = "n/a" if each.coverage_frac is None else f"{each.coverage_frac:.2%}"
        yield [
            each.symbol,
            each.interval,
            "none" if each.status is None else each.status.value,
            share,
            str(each.n_ok),
            str(each.n_missing_local + each.n_missing_at_source),
            str(each.n_pending),
            str(each.first_bar or "none"),
        ]


def _facts(summary: CoverageSummary) -> Iterator[Fact]:
    total = summary.total
    share = "n/a" if total.coverage_frac is None else f"{total.coverage_frac:.2%}"
    yield "range", f"{summary.start} to {summary.end}, closed through {summary.closed_through}"
    yield "coverage", f"{share} of {total.n_sessions - total.n_not_expected} expected sessions"
    for name in ("missing_local", "missing_at_source", "pending", "quarantined", "disputed"):
        yield name.replace("_", " "), str(getattr(total, f"n_{name}"))
    for command in summary.commands:
        # A command that no terminal shows in one piece stands on the page and in the record.
        is_long = len(command) > _LONGEST_COMMAND
        yield "to fetch what is missing", "see the page" if is_long else command
