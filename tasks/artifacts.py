"""The only module that makes Prefect artifacts: what a person reads on the run's page.

Belongs here: turning records into tables and Markdown. Does not belong here: any figure that is
not in a record.
"""

from collections.abc import Iterable
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from sensequant.records import Outcome
from sensequant.runs import RunFolder, StageRecord, UnitRecord
from sensequant.stages.context import RunRecord

__all__ = ["show_markdown", "show_run", "show_stage", "show_units"]


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
        table=[
            {"figure": name, "value": "none" if value is None else str(value)}
            for name, value in values.items()
        ],
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


def show_markdown(key: str, text: str, *, description: str) -> None:
    """Show a page of Markdown under a key."""
    create_markdown_artifact(key=_key(key), markdown=text, description=description)


def _key(name: str) -> str:
    return name.replace("_", "-")
