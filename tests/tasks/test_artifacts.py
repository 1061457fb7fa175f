"""Facts about what a person reads on the pages of a run: every figure comes from a record."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from sensequant.coverage.audit import audit_coverage
from sensequant.coverage.collect import collect_evidence
from sensequant.coverage.evidence import AsOf
from sensequant.coverage.expected import Scope
from sensequant.coverage.files import write_coverage
from sensequant.coverage.summary import Heading
from sensequant.ingestion.backfill import BackfillOutcome, BackfillReport
from sensequant.ingestion.chunks import ChunkResult
from sensequant.ingestion.ledger_records import ChunkOutcome
from sensequant.market.discovery import Discovery, SymbolFinding, Unmapped
from sensequant.market.sessions import nse_calendar
from sensequant.market.store import BarStore
from sensequant.records import Outcome
from sensequant.runs import RunFolder, Stage, StageOutcome, StageRecord
from sensequant.settings import RunOptions
from sensequant.stages.context import RunRecord
from sensequant.units import UnitRecord
from tasks import artifacts
from tasks.artifacts import (
    show_backfill,
    show_coverage,
    show_discovery,
    show_markdown,
    show_run,
    show_stage,
    show_units,
)

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


def backfill_report(**changes: Any) -> BackfillReport:
    fields: dict[str, Any] = {
        "outcome": BackfillOutcome.STOPPED,
        "n_planned": 3,
        "n_by_outcome": {"stored": 1, "stopped": 2},
        "n_by_reason": {"auth_expired": 2},
        "n_by_finding": {"truncated_and_paged": 1},
        "n_bars": 9,
        "n_added": 8,
        "n_changed": 1,
        "n_final_changed": 0,
        "n_quarantined": 4,
        "n_missing_sessions": 5,
        "n_missing_bars": 11,
        "n_pending_sessions": 6,
        "n_calls": 7,
        "n_calls_today": 70,
        "n_calls_left_today": 30,
        "n_sessions": 10,
        "n_sessions_covered": 5,
        "hit_rate_frac": 0.5,
        "n_left": 2,
        "left": (),
        "seconds": 1.23456,
    }
    return BackfillReport.model_validate(fields | changes)


def chunk_result(outcome: ChunkOutcome, reason: str | None, message: str | None) -> ChunkResult:
    return ChunkResult(
        symbol="TCS",
        interval="1day",
        start=date(2024, 1, 1),
        end=date(2024, 1, 31),
        outcome=outcome,
        reason=reason,
        error_message=message,
    )


def test_a_backfill_shows_calls_and_what_is_left(made: list[dict[str, Any]]) -> None:
    """Every count of the report by name; chunks without bars with reason and message."""
    results = [
        chunk_result(ChunkOutcome.STORED, None, None),
        chunk_result(ChunkOutcome.EMPTY, "no_data_at_source", None),
        chunk_result(ChunkOutcome.STOPPED, "auth_expired", "log in again"),
    ]

    show_backfill("backfill_1", backfill_report(), results)

    figures, left_out = made
    assert (figures["key"], figures["description"]) == ("backfill", "backfill_1")
    assert {row["figure"]: row["value"] for row in figures["table"]} == {
        "outcome": "stopped",
        "chunks planned": "3",
        "chunks stored": "1",
        "chunks stopped": "2",
        "chunks left to do": "2",
        "bars": "9",
        "bars added": "8",
        "bars changed": "1",
        "rows quarantined": "4",
        "sessions missing at the source": "5",
        "bars missing within settled sessions": "11",
        "sessions pending": "6",
        "share of sessions that needed no call": "0.5",
        "calls used": "7",
        "calls used today, by all": "70",
        "calls left today": "30",
        "finding truncated_and_paged": "1",
        "seconds": "1.23",
    }
    assert left_out["key"] == "backfill-left-out"
    chunk = "chunk TCS 2024-01-01..2024-01-31 1day"
    assert left_out["table"] == [
        {"chunk": chunk, "outcome": "empty", "reason": "no_data_at_source", "message": ""},
        {"chunk": chunk, "outcome": "stopped", "reason": "auth_expired", "message": "log in again"},
    ]


def test_a_backfill_that_lacks_nothing_has_one_table(made: list[dict[str, Any]]) -> None:
    """Calls of a source that counts none are told as none, not as 0."""
    report = backfill_report(n_calls_today=None, n_calls_left_today=None, hit_rate_frac=None)

    show_backfill("backfill_1", report, [chunk_result(ChunkOutcome.STORED, None, None)])

    (figures,) = made
    values = {row["figure"]: row["value"] for row in figures["table"]}
    assert values["calls left today"] == "none"
    assert values["share of sessions that needed no call"] == "none"


def test_whole_histories_have_no_range_in_words(made: list[dict[str, Any]]) -> None:
    """A chunk of a file spans whatever the file holds."""
    result = chunk_result(ChunkOutcome.EMPTY, "unknown_symbol", None)
    whole = result.model_copy(update={"start": None, "end": None})

    show_backfill("backfill_1", backfill_report(), [whole])

    assert made[1]["table"][0]["chunk"] == "chunk TCS 1day"


def test_an_audit_shows_each_symbol_and_the_way_to_its_page(
    made: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Cells are text, none where nothing is known."""
    day = date(2024, 3, 4)
    scope = Scope(("TCS",), ("1day",), day, day)
    evidence = collect_evidence(
        BarStore(tmp_path / "store"), [], scope, settled_at=lambda _: day, listings=None
    )
    audit = audit_coverage(scope, evidence, as_of=AsOf(day, day), calendar=nse_calendar())
    heading = Heading(title="TCS", source="files", is_simulated=False, audited_at=AT)
    files = write_coverage(tmp_path / "audit", audit, heading)

    show_coverage(files)

    (table,) = made
    assert table["key"] == "coverage"
    assert str(files.page) in table["description"]
    (row,) = table["table"]
    assert (row["symbol"], row["status"], row["n_missing_local"]) == ("TCS", "missing_local", "1")
    assert row["first_bar"] == "none"
    assert all(isinstance(cell, str) for cell in row.values())


def test_a_discovery_shows_first_what_has_no_code(made: list[dict[str, Any]]) -> None:
    """With the evidence, and the date and digest of the list."""
    mapped = SymbolFinding(
        symbol="ABB",
        is_mapped=True,
        reason=None,
        stock_code="ABB",
        isin="INE117A01022",
        token=None,
        series="EQ",
        company_name="ABB India",
        renamed_to=None,
        renamed_on=None,
        notes=(),
        evidence="code ABB in series EQ",
    )
    lost = mapped.model_copy(
        update={
            "symbol": "LOST",
            "is_mapped": False,
            "reason": Unmapped.NOT_IN_MASTER,
            "stock_code": None,
            "evidence": "no row",
        }
    )
    found = Discovery(
        as_of=date(2024, 3, 4),
        master_as_of=date(2024, 3, 1),
        master_sha256="ab" * 32,
        previous_as_of=None,
        previous_sha256=None,
        n_symbols=2,
        n_mapped=1,
        n_by_reason={"not_in_master": 1},
        n_by_note={},
        n_changes={},
        findings=(mapped, lost),
    )

    show_discovery(found)

    (table,) = made
    assert [(row["symbol"], row["stock_code"], row["evidence"]) for row in table["table"]] == [
        ("LOST", "none", "no row"),
        ("ABB", "ABB", "code ABB in series EQ"),
    ]
    assert table["description"] == (
        "1 of 2 symbols have a code; list of 2024-03-01, sha256 abababababab"
    )
