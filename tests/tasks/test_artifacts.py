"""Facts about what a person reads on the pages of a run: every figure comes from a record."""

from datetime import UTC, datetime
from typing import Any

import pytest

from sensequant.records import Outcome
from sensequant.runs import RunFolder, Stage, StageOutcome, StageRecord, UnitRecord
from sensequant.settings import RunOptions
from sensequant.stages.context import RunRecord
from tasks import artifacts
from tasks.artifacts import show_markdown, show_run, show_stage, show_units

AT = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the artifacts that are made; there is no server in these tests."""
    kept: list[dict[str, Any]] = []

    def keep(**artifact: Any) -> None:
        kept.append(artifact)

    monkeypatch.setattr(artifacts, "create_table_artifact", keep)
    monkeypatch.setattr(artifacts, "create_markdown_artifact", keep)
    return kept


def record_of(folder: RunFolder, stage: Stage = Stage.TEACHER_TRAINING) -> StageRecord:
    return StageRecord(
        run_id=folder.run_id,
        stage=stage,
        outcome=StageOutcome.DEGRADED,
        n_success=8,
        n_skipped=2,
        n_failed=1,
        started_at=AT,
        seconds=1.23456,
        findings={"n_teachers": 8, "auc": None},
    )


def test_a_stage_is_a_table_of_its_figures(folder: RunFolder, made: list[dict[str, Any]]) -> None:
    """Counts, seconds and findings by name; what is missing is told as none, not as 0."""
    show_stage(record_of(folder))

    (artifact,) = made
    assert artifact["key"] == "teacher-training"
    assert folder.run_id in artifact["description"]
    assert {row["figure"]: row["value"] for row in artifact["table"]} == {
        "outcome": "degraded",
        "success": "8",
        "skipped": "2",
        "failed": "1",
        "seconds": "1.23",
        "n_teachers": "8",
        "auc": "none",
    }


def test_units_without_a_result_are_listed_with_their_reasons(
    folder: RunFolder, made: list[dict[str, Any]]
) -> None:
    """Skips by reason code, failures by the type of their error; successes are left out."""
    units = [
        UnitRecord(kind="teacher", name="a", outcome=Outcome.SUCCESS, seconds=0),
        UnitRecord(
            kind="teacher", name="b", outcome=Outcome.SKIPPED, reason="one_class", seconds=0
        ),
        UnitRecord(
            kind="teacher",
            name="c",
            outcome=Outcome.FAILED,
            error_type="RuntimeError",
            error_message="broke",
            seconds=0,
        ),
    ]

    show_units(record_of(folder), units)
    show_units(record_of(folder), units[:1])

    (artifact,) = made
    assert artifact["key"] == "teacher-training-left-out"
    assert artifact["table"] == [
        {"unit": "b", "outcome": "skipped", "reason": "one_class", "message": ""},
        {"unit": "c", "outcome": "failed", "reason": "RuntimeError", "message": "broke"},
    ]


def test_a_page_keeps_its_text(made: list[dict[str, Any]]) -> None:
    """Keys become what Prefect allows; the text stays as it is."""
    show_markdown("stress_report", "# Stress", description="of a run")

    assert made == [{"key": "stress-report", "markdown": "# Stress", "description": "of a run"}]


@pytest.mark.parametrize("has_briefing", [True, False])
def test_a_run_shows_its_stages_and_its_briefing(
    folder: RunFolder,
    made: list[dict[str, Any]],
    has_briefing: bool,
) -> None:
    """One row per stage that ended; the briefing only where one was written."""
    folder.write_stage(record_of(folder, Stage.DATA_INGESTION))
    folder.write_stage(record_of(folder).model_copy(update={"error": "broke"}))
    if has_briefing:
        folder.briefing.with_suffix(".md").write_text("# Briefing", encoding="utf-8")
    record = RunRecord(
        run_id=folder.run_id,
        started_at=AT,
        options=RunOptions(),
        workers=1,
        host="test",
        code_version="0" * 64,
        versions={},
        is_simulated=True,
        outcome="degraded",
    )

    show_run(record, folder)

    table, *pages = made
    assert [(row["stage"], row["outcome"], row["error"]) for row in table["table"]] == [
        ("data_ingestion", "degraded", ""),
        ("teacher_training", "degraded", "broke"),
    ]
    assert "degraded, verdict none" in table["description"]
    assert [page["markdown"] for page in pages] == (["# Briefing"] if has_briefing else [])
