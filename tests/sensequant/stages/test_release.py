"""Facts about stages 6 and 7 and the end of a run: what is bound, what is said, what is kept."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr

from sensequant.errors import MissingBarsError
from sensequant.records import Outcome, digest_of
from sensequant.release.gates import Decision
from sensequant.release.manifest import (
    CandidateStatus,
    ProblemKind,
    read_manifest,
    verify_manifest,
)
from sensequant.release.registry_records import CandidateRun
from sensequant.release.signature import SignatureState, public_key_of, verify_signature
from sensequant.runs import Stage, StageOutcome, StageRecord
from sensequant.stages import release
from sensequant.stages.context import Run, RunRecord, RunSettings
from sensequant.stages.registry_place import registry_of
from sensequant.storage import read_json, read_table, sha256_of, write_json, write_table
from sensequant.units import UnitRecord, write_units

AT = datetime(2025, 2, 3, 4, 5, tzinfo=UTC)
KEY = SecretStr("11" * 32)


def findings_of(run: Run, stage: Stage) -> dict[str, Any]:
    return read_json(run.folder.stage_record(stage))["findings"]


def candidates_of(run: Run) -> list[CandidateRun]:
    registry = registry_of(run.folder.home)
    try:
        return registry.get_candidate_runs()
    finally:
        registry.close()


def record_stage(run: Run, stage: Stage, outcome: StageOutcome, **fields: Any) -> None:
    """Write a stage's record as the flows do."""
    run.folder.write_stage(
        StageRecord(
            run_id=run.folder.run_id,
            stage=stage,
            outcome=outcome,
            started_at=AT,
            seconds=1.0,
            **fields,
        )
    )


def briefing_of(run: Run) -> dict[str, Any]:
    return read_json(run.folder.briefing.with_suffix(".json"))


def page_of(run: Run) -> str:
    return run.folder.briefing.with_suffix(".md").read_text()


def test_a_finished_run_is_what_its_manifest_says(whole: Run) -> None:
    """Nothing is missing, altered or unlisted."""
    assert verify_manifest(whole.folder) == []


@pytest.mark.parametrize(
    "name",
    ["predictions.parquet", "report.html", "audit/gates.json", "teacher_runs.parquet"],
)
def test_one_altered_byte_is_named(copied: Run, name: str) -> None:
    """The file that was touched, and no other."""
    path = copied.folder.root / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))

    (problem,) = verify_manifest(copied.folder)

    assert (problem.path, problem.kind) == (name, ProblemKind.ALTERED)
    assert problem.found == sha256_of(path) != problem.expected


def test_the_sums_are_checked_by_a_foreign_program(copied: Run) -> None:
    """`sha256sum -c` needs nothing of this project, and sees an altered artifact."""

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sha256sum", "--strict", "-c", "SHA256SUMS"],
            cwd=copied.folder.root,
            capture_output=True,
            text=True,
            check=False,
        )

    whole = check()
    copied.folder.predictions.write_bytes(b"something else")

    assert whole.returncode == 0
    assert len(whole.stdout.splitlines()) == len(list(copied.folder.artifacts()))
    assert "predictions.parquet: FAILED" in check().stdout


def test_findings_are_counted_in_verdict_and_manifest(whole: Run) -> None:
    """Gates by outcome, artifacts by line, and the digest of all that the verdict rests on."""
    verdict = read_json(whole.folder.audit / "gates.json")
    outcomes = [gate["outcome"] for gate in verdict["gates"]]
    manifest = read_manifest(whole.folder)
    facts = manifest.facts
    lines = (whole.folder.root / "SHA256SUMS").read_text().splitlines()

    assert findings_of(whole, Stage.RELEASE_AUDIT) == {
        "verdict": verdict["decision"],
        "gates_passed": outcomes.count("pass"),
        "gates_failed": outcomes.count("fail"),
        "gates_undetermined": outcomes.count("undetermined"),
        "n_artifacts": len(lines),
        "evidence_digest": digest_of(
            {
                "artifacts": [list(reversed(line.split("  "))) for line in lines],
                "data": facts.data_digest,
                "config": facts.config_digest,
                "code": facts.code_version,
                "libraries": facts.library_versions,
                "seed": facts.seed,
            }
        ),
        "signed_by": "nobody",
        "champion": "none",
    }
    assert facts.seed == whole.config.seed
    assert facts.config_digest == digest_of(whole.config)


def test_the_manifest_repeats_what_the_stages_found(whole: Run) -> None:
    """Training, validation and tests, word for word from their records."""
    facts = read_manifest(whole.folder).facts
    training = [Stage.TEACHER_TRAINING, Stage.STUDENT_TRAINING]

    assert facts.training == {
        name: value for stage in training for name, value in findings_of(whole, stage).items()
    }
    assert facts.validation == findings_of(whole, Stage.MODEL_VALIDATION)
    assert facts.statistical_tests == findings_of(whole, Stage.STATISTICAL_TESTS)


def test_coverage_is_gated_as_it_was_found(whole: Run) -> None:
    """The gate's figure is that of stage 1, with the count of sessions behind it."""
    gates = {gate["name"]: gate for gate in read_json(whole.folder.audit / "gates.json")["gates"]}
    data = read_table(whole.folder.data)

    found = findings_of(whole, Stage.DATA_INGESTION)["coverage_frac"]
    assert gates["coverage"]["observed"] == found
    assert gates["coverage"]["n"] == data["n_expected"].sum()
    assert gates["coverage"]["evidence"]["sha256"] == sha256_of(whole.folder.data)


def test_a_simulated_run_says_so_everywhere(whole: Run) -> None:
    """Table, verdict, manifest, both briefings, page and registry."""
    report = whole.folder.report.read_text()

    assert read_table(whole.folder.data)["is_simulated"].to_list() == [True] * 3
    assert read_json(whole.folder.audit / "gates.json")["is_simulated"] is True
    assert read_manifest(whole.folder).facts.is_simulated
    assert "SIMULATED" in page_of(whole)
    assert briefing_of(whole)["is_simulated"] is True
    assert "simulated" in report.lower()
    assert [candidate.is_simulated for candidate in candidates_of(whole)] == [True]
    assert whole.record.is_simulated


def test_a_run_on_files_is_not_called_simulated(
    execute: Callable[..., Run],
    files_settings: Callable[..., RunSettings],
    write_stock: Callable[..., None],
    tmp_path: Path,
) -> None:
    """The word appears nowhere in what a person reads of real bars."""
    request = files_settings(tmp_path / "bars").request
    write_stock(tmp_path / "bars", "AAA", request.start, request.end)

    run = execute(tmp_path / "home", files_settings(tmp_path / "bars"))

    assert "SIMULATED" not in page_of(run)
    assert briefing_of(run)["is_simulated"] is False
    assert not read_manifest(run.folder).facts.is_simulated
    assert [candidate.is_simulated for candidate in candidates_of(run)] == [False]
    assert verify_manifest(run.folder) == []


def test_the_briefing_of_a_whole_run_is_complete(whole: Run) -> None:
    """All stages ended; the only one it cannot list is the briefing itself."""
    briefing = briefing_of(whole)

    assert briefing["is_complete"]
    assert [stage["stage"] for stage in briefing["stages"]] == list(Stage)[:-1]
    assert findings_of(whole, Stage.PROMOTION_BRIEFING)["is_complete"] is True
    assert "PARTIAL" not in page_of(whole)
    assert briefing["manifest_sha256"] == sha256_of(whole.folder.manifest)


def test_the_registry_knows_the_candidate_and_its_manifest(whole: Run) -> None:
    """Rejected or not, with the digests that bind it to the folder."""
    (candidate,) = candidates_of(whole)
    audited = findings_of(whole, Stage.RELEASE_AUDIT)

    assert candidate.run_id == whole.folder.run_id
    assert candidate.status == findings_of(whole, Stage.PROMOTION_BRIEFING)["candidate_status"]
    assert candidate.manifest_sha256 == sha256_of(whole.folder.manifest)
    assert candidate.evidence_digest == audited["evidence_digest"]
    told = (Stage.MODEL_VALIDATION, Stage.STATISTICAL_TESTS, Stage.STRESS_TESTS)
    assert candidate.summary == {
        name: value for stage in told for name, value in findings_of(whole, stage).items()
    }


def test_a_run_ends_with_its_verdict_and_its_manifest(whole: Run) -> None:
    """`run.json` tells outcome, verdict, and the digest of the manifest."""
    record = whole.record

    assert (record.outcome, record.failed_stage) == ("completed", None)
    assert record.verdict == findings_of(whole, Stage.RELEASE_AUDIT)["verdict"]
    assert record.manifest_sha256 == sha256_of(whole.folder.manifest)
    assert record.ended_at is not None


def test_audit_and_briefing_done_again_change_no_artifact(copied: Run) -> None:
    """Later, and after a first attempt that failed: what they said then does not count now."""
    before = {path: sha256_of(path) for path in copied.folder.artifacts()}
    digest = findings_of(copied, Stage.RELEASE_AUDIT)["evidence_digest"]
    for stage in (Stage.RELEASE_AUDIT, Stage.PROMOTION_BRIEFING):
        record_stage(copied, stage, StageOutcome.FAILED, error="RecordError: interrupted")

    audited = release.audit(copied, created_at=AT)
    record_stage(copied, Stage.RELEASE_AUDIT, StageOutcome.SUCCESS, findings=audited.values)
    page, briefed = release.brief(copied, at=AT)

    assert audited.values["evidence_digest"] == digest
    assert {path: sha256_of(path) for path in copied.folder.artifacts()} == before
    assert verify_manifest(copied.folder) == []
    assert "PARTIAL" not in page
    assert briefed.values["is_complete"] is True


def test_a_failed_run_is_briefed_recorded_and_closed_as_failed(
    execute: Callable[..., Run],
    start: Callable[..., Run],
    files_settings: Callable[..., RunSettings],
    write_stock: Callable[..., None],
    tmp_path: Path,
) -> None:
    """No bar in the range: the page names the stage and the error, and nobody may approve."""
    asked = files_settings(tmp_path / "bars")
    later = asked.request.end + timedelta(days=30)
    write_stock(tmp_path / "bars", "AAA", later, later + timedelta(days=30))
    with pytest.raises(MissingBarsError) as caught:
        execute(tmp_path / "home", asked)
    run = start(tmp_path / "home", asked)
    record_stage(run, Stage.DATA_INGESTION, StageOutcome.FAILED, error=str(caught.value))

    page, findings = release.brief(run, at=AT)
    closed = release.close(run, at=AT)

    assert findings.values == {"candidate_status": CandidateStatus.FAILED, "is_complete": False}
    assert "PARTIAL: stage data_ingestion failed" in page
    assert "no bars in the requested range" in page
    assert "Do not promote: stage data_ingestion failed." in page
    assert (closed.outcome, closed.failed_stage) == ("failed", Stage.DATA_INGESTION)
    assert (closed.verdict, closed.manifest_sha256) == (None, None)
    assert closed == RunRecord.model_validate(read_json(run.folder.run))
    (candidate,) = candidates_of(run)
    assert candidate.status == CandidateStatus.FAILED
    assert candidate.failed_stage == Stage.DATA_INGESTION
    assert candidate.reason == str(caught.value)
    assert not candidate.is_simulated


def test_a_failed_simulated_run_without_data_is_marked_too(
    start: Callable[..., Run], settings: RunSettings, tmp_path: Path
) -> None:
    """Before there is a table of data, the request tells whether bars would be invented."""
    run = start(tmp_path, settings)
    record_stage(run, Stage.DATA_INGESTION, StageOutcome.FAILED, error="StorageError: full")

    page, _ = release.brief(run, at=AT)

    assert "SIMULATED" in page
    assert briefing_of(run)["symbols"] == []


def test_what_an_earlier_attempt_found_is_not_told_by_a_later_one(copied: Run) -> None:
    """Without the record of a stage, its old report, verdict and manifest do not count."""
    for stage in (Stage.MODEL_VALIDATION, Stage.STATISTICAL_TESTS, Stage.RELEASE_AUDIT):
        copied.folder.stage_record(stage).unlink()

    page, _ = release.brief(copied, at=AT)
    closed = release.close(copied, at=AT)

    assert "Not reached: model_validation, statistical_tests, release_audit." in page
    assert "| auc |" not in page
    assert (closed.verdict, closed.manifest_sha256) == (None, None)


def test_a_stage_whose_units_failed_has_no_verdict(copied: Run) -> None:
    """Four of five units failed in a run that was judged before: the judgement is void."""
    units = [
        UnitRecord(kind="student", name=f"student {n}", outcome=outcome, seconds=0.0)
        for n, outcome in enumerate([Outcome.SUCCESS] + 4 * [Outcome.FAILED])
    ]
    write_units(copied.folder.units("student"), units)
    record_stage(copied, Stage.STUDENT_TRAINING, StageOutcome.FAILED, n_success=1, n_failed=4)

    page, findings = release.brief(copied, at=AT)
    closed = release.close(copied, at=AT)

    assert findings.values["candidate_status"] == CandidateStatus.FAILED
    assert "stage student_training failed" in page
    assert (closed.outcome, closed.verdict) == ("failed", None)
    (candidate,) = candidates_of(copied)
    assert candidate.reason == "4 of 5 units failed"


def test_a_degraded_stage_makes_a_degraded_run(copied: Run) -> None:
    """Units failed within the limit: there is a verdict, and the outcome says how it came about."""
    record_stage(copied, Stage.TEACHER_TRAINING, StageOutcome.DEGRADED, n_success=9, n_failed=1)

    closed = release.close(copied, at=AT)

    assert closed.outcome == "degraded"
    assert closed.verdict == findings_of(copied, Stage.RELEASE_AUDIT)["verdict"]


def test_a_failure_rate_is_gated_where_it_was_worst(copied: Run) -> None:
    """One of four units of a stage: above the limit, so that the audit rejects."""
    record_stage(
        copied,
        Stage.TEACHER_TRAINING,
        StageOutcome.DEGRADED,
        n_success=3,
        n_failed=1,
        failure_rate=0.25,
    )

    release.audit(copied, created_at=AT)

    verdict = read_json(copied.folder.audit / "gates.json")
    gate = next(gate for gate in verdict["gates"] if gate["name"] == "failure_rate")
    assert (gate["observed"], gate["n"], gate["outcome"]) == (0.25, 4, "fail")
    assert verdict["decision"] == Decision.REJECT


def test_stages_that_were_left_out_are_named_and_nothing_is_recorded(
    execute: Callable[..., Run], settings: RunSettings, tmp_path: Path
) -> None:
    """Without an audit there is nothing to decide on, which is no failure either."""
    run = execute(tmp_path, settings, stages=(Stage.DATA_INGESTION, Stage.PROMOTION_BRIEFING))

    assert findings_of(run, Stage.PROMOTION_BRIEFING) == {
        "candidate_status": "not recorded",
        "is_complete": True,
    }
    assert briefing_of(run)["recommendation"] == "Do not promote: the run was not judged."
    assert candidates_of(run) == []
    assert (run.record.outcome, run.record.verdict) == ("completed", None)


def test_an_audit_of_bars_alone_is_no_approval(
    execute: Callable[..., Run], settings: RunSettings, tmp_path: Path
) -> None:
    """Every figure that was not measured is undetermined with its reason; the page still stands."""
    run = execute(tmp_path, settings, stages=(Stage.DATA_INGESTION, Stage.RELEASE_AUDIT))

    verdict = read_json(run.folder.audit / "gates.json")
    outcomes = {gate["name"]: gate["outcome"] for gate in verdict["gates"]}
    passing = {name for name, outcome in outcomes.items() if outcome == "pass"}
    assert verdict["decision"] == Decision.NOT_ENOUGH_EVIDENCE
    assert passing <= {"coverage", "failure_rate"}
    assert verify_manifest(run.folder) == []
    assert run.folder.report.stat().st_size > 0


def test_coverage_of_nothing_is_not_known(copied: Run) -> None:
    """Where no session was expected there is no share, neither none nor all."""
    data = read_table(copied.folder.data)
    zero = pl.lit(0, dtype=pl.Int64)
    write_table(copied.folder.data, data.with_columns(n_expected=zero, n_present=zero))

    release.audit(copied, created_at=AT)

    verdict = read_json(copied.folder.audit / "gates.json")
    gate = next(gate for gate in verdict["gates"] if gate["name"] == "coverage")
    assert (gate["observed"], gate["outcome"]) == (None, "undetermined")
    assert "no session was expected" in gate["reason"]


def test_the_report_names_the_benchmark_by_its_kind(copied: Run) -> None:
    """Total return and price index are not the same yardstick, and a run may have neither."""
    bars = read_table(copied.folder.benchmark)
    pages = [copied.folder.report.read_text()]
    write_table(copied.folder.benchmark, bars.with_columns(symbol=pl.lit("NIFTY50")))
    release.audit(copied, created_at=AT)
    pages.append(copied.folder.report.read_text())
    copied.folder.benchmark.unlink()
    release.audit(copied, created_at=AT)

    assert ["NIFTY 50 total return" in page for page in pages] == [True, False]
    assert verify_manifest(copied.folder) == []


def test_a_file_that_was_added_later_is_named(copied: Run) -> None:
    """Nobody slips a file into the evidence."""
    write_json(copied.folder.validation / "better_summary.json", {"auc": 1.0})

    (problem,) = verify_manifest(copied.folder)

    assert (problem.path, problem.kind) == (
        "validation/better_summary.json",
        ProblemKind.UNLISTED,
    )


def test_a_briefing_is_json_and_says_what_the_page_says(whole: Run) -> None:
    """Recommendation and verdict stand in both."""
    briefing = json.loads(whole.folder.briefing.with_suffix(".json").read_text())

    assert briefing["recommendation"] in page_of(whole)
    assert briefing["recommendation"] in whole.folder.briefing.with_suffix(".html").read_text()
    assert briefing["verdict"]["decision"] in page_of(whole)


def test_audit_signs_the_manifest_where_there_is_a_key(copied: Run) -> None:
    """The signature alters nothing that was judged; without a key, the one of before is gone."""
    before = read_manifest(copied.folder).evidence_digest
    findings = release.audit(copied, created_at=AT, signing_key=KEY)

    assert findings.values["signed_by"] == public_key_of(KEY)
    assert verify_signature(copied.folder).state is SignatureState.VALID
    assert verify_manifest(copied.folder) == []
    assert read_manifest(copied.folder).evidence_digest == before

    assert release.audit(copied, created_at=AT).values["signed_by"] == "nobody"
    assert verify_signature(copied.folder).state is SignatureState.UNSIGNED
