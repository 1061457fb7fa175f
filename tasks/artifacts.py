"""The only module that makes Prefect artifacts: what a person reads on the run's page.

Belongs here: turning records into tables and Markdown. Does not belong here: any figure that is
not in a record.
"""

import base64
from collections.abc import Iterable, Mapping
from typing import Any, cast
from uuid import UUID

import polars as pl
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from blocks.environment import environment_now
from blocks.pages import REPORT, publish_pages
from sensequant.capture.options import OptionSnapshotReport
from sensequant.capture.report import DepthCaptureReport
from sensequant.coverage.files import CoverageFiles
from sensequant.evaluation.comparison import ComparisonRecord
from sensequant.ingestion.backfill import BackfillReport
from sensequant.ingestion.chunks import ChunkResult
from sensequant.market.discovery import Discovery
from sensequant.records import Outcome
from sensequant.runs import RunFolder, Stage, StageRecord
from sensequant.stages.context import RunRecord
from sensequant.stages.ingestion import chunk_name
from sensequant.units import UnitRecord

__all__ = [
    "show_backfill",
    "show_capture",
    "show_chart",
    "show_comparisons",
    "show_context_import",
    "show_coverage",
    "show_discovery",
    "show_known",
    "show_markdown",
    "show_options",
    "show_progress",
    "show_run",
    "show_shares",
    "show_stage",
    "show_table",
    "show_teachers",
    "show_units",
]


def show_stage(record: StageRecord) -> None:
    """Show what a stage found as a table of names and values."""
    values: dict[str, Any] = {
        "outcome": record.outcome,
        "success": record.n_success,
        "skipped": record.n_skipped,
        "failed": record.n_failed,
        "seconds": round(record.seconds, 2),
        **record.findings,
    }
    create_table_artifact(
        key=_key(record.stage),
        table=_figures(values),
        description=f"{record.stage} of {record.run_id}",
    )


def show_units(record: StageRecord, units: Iterable[UnitRecord]) -> None:
    """Show every unit that was skipped or failed, with its reason; nothing if all succeeded."""
    rows = [
        {
            "unit": unit.name,
            "outcome": unit.outcome.value,
            "reason": unit.reason or unit.error_type or "",
            "message": unit.error_message or "",
        }
        for unit in units
        if unit.outcome is not Outcome.SUCCESS
    ]
    if rows:
        create_table_artifact(
            key=f"{_key(record.stage)}-left-out",
            table=rows,
            description=f"what {record.stage} of {record.run_id} has no result for, and why",
        )


def show_known(run_id: str, stage: Stage, units: Iterable[UnitRecord]) -> None:
    """Show every unit that was not done because its result was known, and which run found it."""
    create_table_artifact(
        key=f"{_key(stage)}-cached",
        table=[
            {
                "unit": unit.name,
                "outcome": unit.outcome.value,
                "reason": unit.reason or "",
                "made by": unit.reused_from or run_id,
            }
            for unit in units
        ],
        description=f"what {stage} of {run_id} had not to do, because its result was known",
    )


def show_teachers(run_id: str, windows: pl.DataFrame) -> None:
    """Show what became of the teachers of each window, in time order."""
    create_table_artifact(
        key="teachers",
        table=_rows(windows),
        description=f"teachers of {run_id} by window; figures of rows that no model had learnt",
    )


def show_comparisons(run_id: str, comparisons: Mapping[str, ComparisonRecord]) -> None:
    """Show what each variant of the students is worth over another one, with intervals."""
    create_table_artifact(
        key="students-compared",
        table=[
            {
                "question": name,
                "candidate": found.candidate,
                "reference": found.reference,
                "figure": test.name,
                "difference": _shown(test.estimate),
                "lower": _shown(test.lower),
                "upper": _shown(test.upper),
                "rows": found.n_rows,
                "why none": test.reason or "",
            }
            for name, found in comparisons.items()
            for test in found.differences
        ],
        description=f"variants of the students of {run_id}, on the same later rows",
    )


def show_run(record: RunRecord, folder: RunFolder) -> None:
    """Show every stage of a run in one table; its briefing and its report where they are."""
    create_table_artifact(
        key="stages",
        table=[
            {
                "stage": stage.stage.value,
                "outcome": stage.outcome.value,
                "success": stage.n_success,
                "skipped": stage.n_skipped,
                "failed": stage.n_failed,
                "seconds": round(stage.seconds, 2),
                "error": stage.error or "",
            }
            for stage in folder.stages()
        ],
        description=f"{record.run_id}: {record.outcome}, verdict {record.verdict or 'none'}; "
        f"report: {folder.report}",
    )
    pages = publish_pages(folder, environment_now())
    if REPORT in pages:
        description = f"report of {record.run_id}"
        create_link_artifact(pages[REPORT], REPORT, key="report", description=description)
    briefing = folder.briefing.with_suffix(".md")
    if briefing.exists():
        page = briefing.read_text(encoding="utf-8")
        if pages:
            links = " · ".join(f"[{title}]({address})" for title, address in pages.items())
            page = f"{links}\n\n{page}"
        show_markdown("briefing", page, description=f"briefing of {record.run_id}")


def show_shares(run_id: str, stage: Stage, shares: list[dict[str, Any]]) -> None:
    """Show which pool took which share of a stage's windows, and what became of it."""
    create_table_artifact(
        key=f"{_key(stage)}-devices",
        table=shares,
        description=f"how the windows of {stage} of {run_id} were shared between devices",
    )


def show_chart(key: str, svg: str, *, description: str) -> None:
    """Show a drawing, which is part of the artifact itself: no file, no address."""
    encoded = base64.b64encode(svg.encode()).decode()
    create_image_artifact(
        image_url=f"data:image/svg+xml;base64,{encoded}", key=key, description=description
    )


def show_progress(stage: str, percent: float, text: str, *, artifact: UUID | None) -> UUID:
    """Show how far a stage is, in place of what was shown before; return the artifact's id."""
    if artifact is None:
        made = create_progress_artifact(percent, key=f"{_key(stage)}-progress", description=text)
        return cast("UUID", made)
    update_progress_artifact(artifact, progress=percent, description=text)
    return artifact


def show_backfill(backfill_id: str, report: BackfillReport, results: list[ChunkResult]) -> None:
    """Show what a backfill did, what its calls cost, and what is left to do and why."""
    create_table_artifact(
        key="backfill",
        table=_figures(
            {
                "outcome": report.outcome,
                "chunks planned": report.n_planned,
                **{f"chunks {name}": n for name, n in report.n_by_outcome.items()},
                "chunks left to do": report.n_left,
                "bars": report.n_bars,
                "bars added": report.n_added,
                "bars changed": report.n_changed,
                "rows quarantined": report.n_quarantined,
                "sessions missing at the source": report.n_missing_sessions,
                "bars missing within settled sessions": report.n_missing_bars,
                "sessions pending": report.n_pending_sessions,
                "share of sessions that needed no call": report.hit_rate_frac,
                "calls used": report.n_calls,
                "calls used today, by all": report.n_calls_today,
                "calls left today": report.n_calls_left_today,
                **{f"finding {name}": n for name, n in report.n_by_finding.items()},
                "seconds": round(report.seconds, 2),
            }
        ),
        description=backfill_id,
    )
    rows = [
        {
            # The name of its task, so that it is found on the same page.
            "chunk": f"{chunk_name(result.chunk)} {result.interval}",
            "outcome": result.outcome.value,
            "reason": result.reason or "",
            "message": result.error_message or "",
        }
        for result in results
        if result.reason is not None
    ]
    if rows:
        create_table_artifact(
            key="backfill-left-out",
            table=rows,
            description=f"what {backfill_id} has no bars for, and why",
        )


def show_capture(report: DepthCaptureReport) -> None:
    """Show what a capture of order books heard, stored, refused and missed."""
    create_table_artifact(
        key="depth",
        table=_figures(
            {
                "from": report.begun_at,
                "to": report.ended_at,
                "symbols": len(report.symbols),
                "symbols without a tick": ", ".join(report.silent_symbols) or None,
                "symbols without a token": ", ".join(report.unknown_symbols) or None,
                "ticks": report.n_ticks,
                "ticks lost for want of room": report.n_lost,
                "most ticks waiting at once": report.n_most_waiting,
                "books stored": report.n_stored,
                "books corrected": report.n_corrected,
                "books known already": report.n_known,
                **{f"refused: {name}": n for name, n in report.n_refused.items()},
                "connections": report.n_connections,
                **{
                    f"gaps: {name}": f"{n}, {report.gap_seconds[name]} seconds"
                    for name, n in report.n_gaps.items()
                },
                "stopped by": report.stopped_by,
                "marked as simulated": "yes" if report.is_simulated else "no",
            }
        ),
        description=f"order books of {report.session}, from {report.source}",
    )


def show_options(report: OptionSnapshotReport) -> None:
    """Show what a snapshot of option chains brought, and why prices imply no volatility."""
    create_table_artifact(
        key="options",
        table=_figures(
            {
                "from": report.begun_at,
                "to": report.ended_at,
                "rate of interest in a year": report.rate_frac,
                "rate of dividends in a year": report.dividend_frac,
                "expiries by": report.expiries_by,
                **{f"contracts on {name}": n for name, n in report.n_contracts.items()},
                "contracts with a volatility": report.n_volatilities,
                **{f"without: {name}": n for name, n in report.n_without.items()},
                **{f"refused: {name}": n for name, n in report.n_refused.items()},
                "without options": ", ".join(report.without_options) or None,
                "calls used": report.n_calls,
                "marked as simulated": "yes" if report.is_simulated else "no",
            }
        ),
        description=f"options in the session of {report.session}, from {report.source}",
    )


def show_coverage(files: CoverageFiles) -> None:
    """Show how complete the stored bars are, by symbol and interval, and where the page is."""
    summary = files.summary
    create_table_artifact(
        key="coverage",
        table=[
            {name: _shown(value) for name, value in symbol.model_dump(mode="json").items()}
            for symbol in summary.symbols
        ],
        description=f"{summary.title}, {summary.start} to {summary.end}; page: {files.page}",
    )


def show_discovery(found: Discovery) -> None:
    """Show which symbols have no code and which are odd, with the evidence."""
    create_table_artifact(
        key="symbols",
        table=[
            {name: _shown(value) for name, value in row.items()}
            for row in found.table().sort("is_mapped", "symbol").iter_rows(named=True)
        ],
        description=f"{found.n_mapped} of {found.n_symbols} symbols have a code; list of "
        f"{found.master_as_of}, sha256 {found.master_sha256[:12]}",
    )


def show_context_import(counts: Mapping[str, Any], refused: pl.DataFrame) -> None:
    """Show what an import of context brought, and what it refused, by reason, with examples."""
    title = f"import of {counts['kind']}"
    create_table_artifact(key="context-import", table=_figures(dict(counts)), description=title)
    if refused.height:
        by_reason = refused.group_by("reason", maintain_order=True).agg(
            rows=pl.len(),
            **{
                "for example": pl.concat_str(
                    "file", "symbol", "stamp", "detail", separator=" · ", ignore_nulls=True
                )
                .head(3)
                .str.join("; ")
            },
        )
        create_table_artifact(
            key="context-refused",
            table=_rows(by_reason.sort("rows", descending=True)),
            description=f"what the {title} refused, and why",
        )


def show_table(key: str, table: Iterable[Mapping[str, Any]], *, description: str) -> None:
    """Show rows under a key, their values as text; an absent one is `none`."""
    rows = [{name: _shown(value) for name, value in row.items()} for row in table]
    create_table_artifact(key=_key(key), table=rows, description=description)


def show_markdown(key: str, text: str, *, description: str) -> None:
    """Show a page of Markdown under a key."""
    create_markdown_artifact(key=_key(key), markdown=text, description=description)


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: _shown(value) for name, value in row.items()} for row in frame.iter_rows(named=True)
    ]


def _figures(values: dict[str, Any]) -> list[dict[str, str]]:
    return [{"figure": name, "value": _shown(value)} for name, value in values.items()]


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _key(name: str) -> str:
    return name.replace("_", "-")
