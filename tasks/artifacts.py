"""The only module that makes Prefect artifacts: what a person reads on the run's page.

Belongs here: turning records into tables and Markdown. Does not belong here: any figure that is
not in a record.
"""

from collections.abc import Iterable
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from sensequant.coverage.files import CoverageFiles
from sensequant.ingestion.backfill import BackfillReport
from sensequant.ingestion.chunks import ChunkResult
from sensequant.market.discovery import Discovery
from sensequant.records import Outcome
from sensequant.runs import RunFolder, StageRecord, UnitRecord
from sensequant.stages.context import RunRecord
from sensequant.stages.ingestion import chunk_name

__all__ = [
    "show_backfill",
    "show_coverage",
    "show_discovery",
    "show_markdown",
    "show_run",
    "show_stage",
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


def show_run(record: RunRecord, folder: RunFolder) -> None:
    """Show every stage of a run in one table, and its briefing below if one was written."""
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
    briefing = folder.briefing.with_suffix(".md")
    if briefing.exists():
        page = briefing.read_text(encoding="utf-8")
        show_markdown("briefing", page, description=f"briefing of {record.run_id}")


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


def show_markdown(key: str, text: str, *, description: str) -> None:
    """Show a page of Markdown under a key."""
    create_markdown_artifact(key=_key(key), markdown=text, description=description)


def _figures(values: dict[str, Any]) -> list[dict[str, str]]:
    return [{"figure": name, "value": _shown(value)} for name, value in values.items()]


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _key(name: str) -> str:
    return name.replace("_", "-")
