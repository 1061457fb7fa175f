"""The page of an audit: one HTML file that needs neither network nor script.

Belongs here: what stands on the page and in which words. Does not belong here: the findings
(`coverage.audit`), the heat map's cells (`coverage.heatmap`), layout and colours (the template).

A few lines of script add a field to find symbols; without script the page only lacks that field.
Text from data is escaped by the template.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from sensequant.coverage.audit import CoverageAudit
from sensequant.coverage.heatmap import LETTERS, NAMES, HeatMap, heat_map_of
from sensequant.coverage.states import (
    MEANINGS,
    REASON_WORDS,
    REMEDIES,
    SEVERITY,
    Reason,
    State,
    Status,
)
from sensequant.coverage.summary import CoverageSummary, IntervalCoverage, SymbolCoverage
from sensequant.reports.tables import count, missing, percent

__all__ = ["MAX_GAPS", "build_page"]

MAX_GAPS = 600
"""Rows of the list of what is missing; the rest stands in `coverage_sessions.parquet` only."""

_MAX_NAMES = 4
_MAX_OPEN_GAPS = 40


@dataclass(frozen=True, slots=True)
class _Tile:
    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class _Sign:
    kind: str
    letter: str
    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class _SymbolRow:
    symbol: str
    status: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _GapRow:
    kind: str
    state: str
    interval: str
    span: str
    n_sessions: str
    few: str
    others: str
    reason: str
    evidence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class _Part:
    interval: str
    lead: str
    heat_map: HeatMap


def build_page(audit: CoverageAudit, summary: CoverageSummary) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    audit
        What was found.
    summary
        The same as a record, with its heading.
    """
    gaps = _gap_rows(audit.gaps)
    return _template().render(
        summary=summary,
        tiles=_tiles(summary.total),
        parts=[_part(audit, interval) for interval in summary.intervals],
        signs=_signs(),
        statuses=_statuses(summary),
        symbol_columns=_SYMBOL_COLUMNS,
        symbols=[_symbol_row(one) for one in summary.symbols],
        gaps=gaps[:MAX_GAPS],
        n_gaps_open=_MAX_OPEN_GAPS,
        n_gaps_left_out=max(len(gaps) - MAX_GAPS, 0),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("sensequant", "coverage"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("coverage.html.j2")


def _tiles(total: IntervalCoverage) -> list[_Tile]:
    sessions = f"{count(total.n_ok)} of {count(total.n_sessions)} sessions"
    bars = f"{count(total.n_bars_present)} of {count(total.n_bars_expected)} bars"
    odd = total.n_quarantined + total.n_disputed
    return [
        _Tile("Coverage", _share(total.coverage_frac), sessions),
        _Tile("Bars", _share(total.bars_frac), bars),
        _Tile("Missing here", count(total.n_missing_local), "sessions: ingest them"),
        _Tile("Source has none", count(total.n_missing_at_source), "sessions"),
        _Tile("Partial", count(total.n_partial), "intraday sessions"),
        _Tile("Waiting", count(total.n_pending), "sessions not settled"),
        _Tile("Refused or disputed", count(odd), "sessions"),
    ]


def _part(audit: CoverageAudit, interval: IntervalCoverage) -> _Part:
    name = interval.interval or ""
    lead = (
        f"{_number(interval.n_symbols, 'symbol')}, {_share(interval.coverage_frac)} of"
        f" {_number(interval.n_sessions, 'expected session')} ok"
    )
    heat_map = heat_map_of(audit.months, audit.symbols, interval=name)
    return _Part(name, lead, heat_map)


def _signs() -> list[_Sign]:
    order = (State.OK, *(state for state in SEVERITY if state is not State.OK))
    return [
        _Sign(
            kind="none" if state is State.NOT_EXPECTED else state.value,
            letter=LETTERS[state],
            name=NAMES[state],
            meaning=MEANINGS[state],
        )
        for state in order
    ]


def _statuses(summary: CoverageSummary) -> list[tuple[str, str, int]]:
    total = summary.total.model_dump()
    found = [
        (one.value, NAMES[State(one.value)], total[f"n_symbols_{one.value}"]) for one in Status
    ]
    return [*found, ("none", NAMES[State.NOT_EXPECTED], summary.total.n_symbols_none)]


_SYMBOL_COLUMNS = (
    ("Symbol", False),
    ("Interval", False),
    ("Status", False),
    ("Coverage", True),
    ("Expected", True),
    ("ok", True),
    ("Partial", True),
    ("Missing here", True),
    ("Source has none", True),
    ("Waiting", True),
    ("Refused", True),
    ("Disputed", True),
    ("Unexpected bars", True),
    ("Duplicates dropped", True),
    ("First bar", False),
    ("Last bar", False),
    ("Reasons", False),
)


def _symbol_row(one: SymbolCoverage) -> _SymbolRow:
    status = "none" if one.status is None else one.status.value
    reasons = "; ".join(
        f"{REASON_WORDS[Reason(name)]}: {count(n)}" for name, n in one.reasons.items()
    )
    return _SymbolRow(
        symbol=one.symbol,
        status=status,
        cells=(
            one.symbol,
            one.interval,
            NAMES[State.NOT_EXPECTED if one.status is None else State(one.status.value)],
            _share(one.coverage_frac),
            count(one.n_sessions),
            count(one.n_ok),
            count(one.n_partial),
            count(one.n_missing_local),
            count(one.n_missing_at_source),
            count(one.n_pending),
            count(one.n_quarantined),
            count(one.n_disputed),
            count(one.n_unexpected_bars),
            count(one.n_duplicates_dropped),
            missing() if one.first_bar is None else str(one.first_bar),
            missing() if one.last_bar is None else str(one.last_bar),
            reasons or "none",
        ),
    )


def _gap_rows(gaps: pl.DataFrame) -> list[_GapRow]:
    """Return what is missing, the worst first; symbols that lack the same stand in one row."""
    order = {state.value: place for place, state in enumerate(SEVERITY)}
    place = pl.col("state").replace_strict(order, return_dtype=pl.Int32)
    alike = ("interval", "state", "reason", "first", "last", "n_sessions")
    grouped = (
        gaps.group_by(alike, maintain_order=True)
        .agg(
            pl.col("symbol"),
            pl.col("evidence").drop_nulls().unique(maintain_order=True).head(2).str.join("; "),
        )
        .sort(place, -pl.col("n_sessions"), "first", "interval", maintain_order=True)
    )
    return [_gap_row(row) for row in grouped.iter_rows(named=True)]


def _gap_row(row: dict[str, Any]) -> _GapRow:
    state, reason = State(str(row["state"])), Reason(str(row["reason"]))
    names = row["symbol"]
    first, last = str(row["first"]), str(row["last"])
    return _GapRow(
        kind="none" if state is State.NOT_EXPECTED else state.value,
        state="unexpected bars" if state is State.NOT_EXPECTED else NAMES[state],
        interval=str(row["interval"]),
        span=first if first == last else f"{first} to {last}",
        n_sessions=str(row["n_sessions"]),
        few=", ".join(names[:_MAX_NAMES]),
        others=", ".join(names[_MAX_NAMES:]),
        reason=REASON_WORDS[reason],
        evidence=str(row["evidence"] or "none"),
        remedy=REMEDIES[reason],
    )


def _number(n: int, noun: str) -> str:
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"


def _share(fraction: float | None) -> str:
    # 99.96 % must not read as complete.
    if fraction is not None and fraction < 1 and percent(fraction) == percent(1.0):
        return "> 99.9%"
    return percent(fraction)
