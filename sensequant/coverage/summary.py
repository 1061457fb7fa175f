"""The audit as a record: what a program reads, and what stands in `coverage.json`.

Belongs here: the layout of the record, and the findings that speak for themselves. Does not belong
here: the sums (`coverage.rollup`), the page (`coverage.page`), files (`coverage.files`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from sensequant.coverage.audit import CoverageAudit
from sensequant.coverage.states import Reason, State, Status
from sensequant.records import Finite, Record

__all__ = [
    "DATA_UNAVAILABLE",
    "CoverageSummary",
    "Heading",
    "IntervalCoverage",
    "Sums",
    "SymbolCoverage",
    "Unavailable",
    "ingest_commands",
    "summary_of",
]

DATA_UNAVAILABLE = "data_unavailable"
"""Code of the finding that the source has no bars where the exchange had a session."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What an audit is about, in words.

    Parameters
    ----------
    title
        What a person calls the selection of symbols.
    source
        Where the bars come from.
    is_simulated
        Whether the bars were invented.
    audited_at
        Aware instant of the audit.
    source_options
        How the source is named on a command line, such as ``--source breeze``.
    """

    title: str
    source: str
    is_simulated: bool
    audited_at: datetime
    source_options: str = ""


class Sums(Record):
    """Counts of expected sessions by state, and of bars and rows (`coverage.rollup`)."""

    n_sessions: int
    n_ok: int
    n_partial: int
    n_missing_local: int
    n_missing_at_source: int
    n_pending: int
    n_quarantined: int
    n_disputed: int
    n_not_expected: int
    n_bars_expected: int
    n_bars_present: int
    n_unexpected_bars: int
    n_quarantined_rows: int
    coverage_frac: Finite | None
    bars_frac: Finite | None


class IntervalCoverage(Sums):
    """All symbols of one interval; `interval` is null in the total of all intervals."""

    interval: str | None
    n_symbols: int
    n_symbols_ok: int
    n_symbols_partial: int
    n_symbols_missing_local: int
    n_symbols_missing_at_source: int
    n_symbols_pending: int
    n_symbols_none: int


class SymbolCoverage(Sums):
    """One symbol and interval; `reasons` counts its sessions that are not plainly ok by reason."""

    symbol: str
    interval: str
    status: Status | None
    worst: State | None
    first_bar: date | None
    last_bar: date | None
    n_duplicates_dropped: int | None
    reasons: dict[str, int]


class Unavailable(Record):
    """A run of sessions that the source was asked for and does not have, with the evidence."""

    code: str = DATA_UNAVAILABLE
    symbol: str
    interval: str
    first: date
    last: date
    n_sessions: int
    evidence: str | None


class CoverageSummary(Record):
    """What an audit found, without the sessions one by one."""

    title: str
    source: str
    is_simulated: bool
    audited_at: datetime
    start: date
    end: date
    closed_through: date | None
    settled_through: date | None
    total: IntervalCoverage
    intervals: tuple[IntervalCoverage, ...]
    symbols: tuple[SymbolCoverage, ...]
    findings: tuple[Unavailable, ...]
    commands: tuple[str, ...]


def summary_of(audit: CoverageAudit, heading: Heading) -> CoverageSummary:
    """Return the audit as a record."""
    reasons = _reasons_of(audit.sessions)
    unavailable = audit.gaps.filter(pl.col("state") == State.MISSING_AT_SOURCE.value)
    return CoverageSummary(
        title=heading.title,
        source=heading.source,
        is_simulated=heading.is_simulated,
        audited_at=heading.audited_at,
        start=audit.scope.start,
        end=audit.scope.end,
        closed_through=audit.as_of.closed_through,
        settled_through=audit.as_of.settled_through,
        total=_interval_coverage({**audit.total.row(0, named=True), "interval": None}),
        intervals=tuple(_interval_coverage(row) for row in audit.intervals.iter_rows(named=True)),
        symbols=tuple(
            SymbolCoverage.model_validate(
                {**row, "reasons": reasons.get((row["symbol"], row["interval"]), {})}
            )
            for row in audit.symbols.iter_rows(named=True)
        ),
        findings=tuple(
            Unavailable(
                symbol=row["symbol"],
                interval=row["interval"],
                first=row["first"],
                last=row["last"],
                n_sessions=row["n_sessions"],
                evidence=row["evidence"],
            )
            for row in unavailable.iter_rows(named=True)
        ),
        commands=ingest_commands(audit.gaps, source_options=heading.source_options),
    )


def ingest_commands(gaps: pl.DataFrame, *, source_options: str = "") -> tuple[str, ...]:
    """Return the commands that fetch what is missing here, one for each interval and need.

    The ledger keeps a command from asking twice, so that one range may serve all symbols.

    Parameters
    ----------
    gaps
        Runs of sessions (`coverage.rollup.GAP_SCHEMA`).
    source_options
        How the source is named on a command line.
    """
    source = f" {source_options}" if source_options else ""
    is_lost = pl.col("reason") == Reason.LOST.value
    wanted = (
        gaps.filter(pl.col("state") == State.MISSING_LOCAL.value)
        .group_by("interval", is_lost.alias("is_lost"), maintain_order=True)
        .agg(
            pl.col("symbol").unique().sort().str.join(","),
            pl.col("first").min(),
            pl.col("last").max(),
        )
    )
    return tuple(
        f"sensequant ingest{source} --symbols {row['symbol']} --interval {row['interval']}"
        f" --start {row['first']} --end {row['last']}{' --force' if row['is_lost'] else ''}"
        for row in wanted.iter_rows(named=True)
    )


def _interval_coverage(row: Mapping[str, Any]) -> IntervalCoverage:
    return IntervalCoverage.model_validate(dict(row))


def _reasons_of(sessions: pl.DataFrame) -> dict[tuple[str, str], dict[str, int]]:
    counted = (
        sessions.drop_nulls("reason")
        .group_by("symbol", "interval", "reason")
        .agg(pl.len().alias("n"))
        .sort("symbol", "interval", "n", "reason", descending=[False, False, True, False])
    )
    found: dict[tuple[str, str], dict[str, int]] = {}
    for symbol, interval, reason, n in counted.iter_rows():
        found.setdefault((symbol, interval), {})[reason] = n
    return found
