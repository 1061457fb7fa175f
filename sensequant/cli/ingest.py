"""Flows about bars from the terminal: backfill, discovery; and what a person reads last.

Belongs here: the order of the steps, the words at the end, the exit code. Does not belong here: the
steps.
"""

import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from blocks.environment import Environment
from sensequant.cli.flow_runs import execute_flow, serve
from sensequant.cli.output import Fact, console_for, print_facts, print_table
from sensequant.ingestion.backfill import BackfillOutcome, BackfillReport
from sensequant.ingestion.discoveries import DiscoveryRequest
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.market.discovery import Discovery

__all__ = ["backfill_facts", "discovery_rows", "start_backfill", "start_discovery"]

_MOST_ROWS = 40


def start_backfill(
    request: BackfillRequest, options: BackfillOptions, env: Environment, *, is_verbose: bool
) -> int:
    """Execute a backfill and print what came of it.

    Returns
    -------
    int
        0 when nothing was left to do but what the source does not have, else 1.

    Raises
    ------
    SenseQuantError
        The backfill could not be planned.
    """
    started = datetime.now(UTC)
    backfill_id = f"backfill_{started:%Y%m%d_%H%M%S}_{uuid.uuid4().hex[:8]}"
    served = serve(env, is_verbose=is_verbose)
    folder = env.home / "fetches" / "backfills" / backfill_id
    run = execute_flow(
        "flows.backfill_bars:backfill_bars",
        served,
        telemetry=folder / "telemetry.jsonl",
        is_verbose=is_verbose,
        request=request,
        options=options,
        backfill_id=backfill_id,
    )
    report = run.returned(BackfillReport, where=backfill_id, nothing="backfill returned nothing")
    facts = [("backfill", backfill_id), *backfill_facts(report)]
    facts += [("coverage", str(folder / "coverage.html")), ("page", run.page or "none")]
    print_facts(console_for(sys.stdout), facts)
    done = {BackfillOutcome.COMPLETED, BackfillOutcome.NOTHING_TO_DO}
    return 0 if report.outcome in done else 1


def start_discovery(request: DiscoveryRequest, env: Environment, *, is_verbose: bool) -> int:
    """Look symbols up at the vendor and print the finding for each; 1 if one has no code.

    Raises
    ------
    SenseQuantError
        The vendor's list cannot be had, or the universe is unknown.
    """
    served = serve(env, is_verbose=is_verbose)
    run = execute_flow(
        "flows.discover_symbols:discover_symbols",
        served,
        telemetry=None,
        is_verbose=is_verbose,
        request=request,
    )
    found = run.returned(Discovery, where="symbols discover", nothing="discovery found nothing")
    console = console_for(sys.stdout)
    header, rows = discovery_rows(found)
    print_table(console, header, rows)
    if len(rows) < len(found.findings):
        console.print(f"and {len(found.findings) - len(rows)} more")
    print_facts(console, [*_discovery_facts(found), ("page", run.page or "none")])
    return 0 if found.n_mapped == found.n_symbols else 1


def backfill_facts(report: BackfillReport) -> Iterator[Fact]:
    """Yield what stands at the end of a backfill, one fact each."""
    yield "outcome", report.outcome.value
    chunks = ", ".join(f"{n} {name}" for name, n in report.n_by_outcome.items()) or "none"
    yield "chunks", f"{report.n_planned} planned; {chunks}"
    yield from ((f"reason {name}", f"{n} chunks") for name, n in report.n_by_reason.items())
    yield from ((f"finding {name}", f"{n} chunks") for name, n in report.n_by_finding.items())
    yield "bars", f"{report.n_added} added, {report.n_changed} changed, {report.n_bars} delivered"
    yield "quarantined", f"{report.n_quarantined} rows"
    yield "missing at the source", f"{report.n_missing_sessions} sessions"
    yield "pending", f"{report.n_pending_sessions} sessions"
    if report.hit_rate_frac is not None:
        covered = f"{report.n_sessions_covered} of {report.n_sessions}"
        yield "no call needed", f"{covered} sessions, {report.hit_rate_frac:.1%}"
    yield "calls", _calls_in_words(report)
    yield "left to do", f"{report.n_left} chunks"
    yield from (
        (f"left {each.symbol} {each.interval}", f"{each.n_chunks} chunks from {each.start}")
        for each in report.left[:_MOST_ROWS]
    )
    if len(report.left) > _MOST_ROWS:
        yield "left besides", f"{len(report.left) - _MOST_ROWS} symbols and intervals"


def discovery_rows(found: Discovery) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of what was found, those first that have no code."""
    header = ["symbol", "code", "isin", "reason", "notes", "evidence"]
    ordered = sorted(found.findings, key=lambda each: (each.is_mapped, each.symbol))
    rows = [
        [
            each.symbol,
            each.stock_code or "none",
            each.isin or "none",
            each.reason or "",
            ", ".join(each.notes),
            each.evidence,
        ]
        for each in ordered[:_MOST_ROWS]
    ]
    return header, rows


def _discovery_facts(found: Discovery) -> Iterator[Fact]:
    yield "mapped", f"{found.n_mapped} of {found.n_symbols} symbols"
    yield from ((f"reason {name}", f"{n} symbols") for name, n in found.n_by_reason.items())
    yield from ((f"note {name}", f"{n} symbols") for name, n in found.n_by_note.items())
    yield "list", f"{found.master_as_of}, sha256 {found.master_sha256[:12]}"
    yield "list before", "none" if found.previous_as_of is None else str(found.previous_as_of)
    yield from ((f"since then {name}", str(n)) for name, n in found.n_changes.items())


def _calls_in_words(report: BackfillReport) -> str:
    if report.n_calls_today is None:
        return f"{report.n_calls}; this source needs none that are counted"
    return (
        f"{report.n_calls}; {report.n_calls_today} today by all, {report.n_calls_left_today} left"
    )
