"""Facts about the manifest, its digests, and what it finds altered."""

import hashlib
import shutil
import subprocess
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from sensequant.errors import RecordError, SchemaVersionError
from sensequant.release.gates import Decision, Verdict
from sensequant.release.manifest import (
    SUMS_NAME,
    CandidateStatus,
    FileEntry,
    Manifest,
    ManifestFacts,
    ProblemKind,
    build_manifest,
    read_manifest,
    status_of,
    verify_manifest,
    write_manifest,
)
from sensequant.runs import RunFolder

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
DIGEST = "0" * 64
FACTS = ManifestFacts(
    is_simulated=False,
    first_session=date(2022, 1, 3),
    last_session=date(2024, 12, 31),
    symbols=("INFY", "M&M"),
    seed=42,
    data_digest=DIGEST,
    config_digest=DIGEST,
    code_version=DIGEST,
    library_versions={"polars": "2.1.0"},
    training={"n_teachers": 3},
    validation={"auc": 0.51, "reason": None},
    statistical_tests={"deflated_sharpe": 0.5},
)
VERDICT = Verdict(
    decision=Decision.NOT_ENOUGH_EVIDENCE,
    headline="These data do not settle auc.",
    reasons=(),
    n_passed=0,
    n_failed=0,
    n_undetermined=1,
    detectable_sharpe=None,
    gates=(),
    is_simulated=False,
)


def make_run(home: Path, suffix: str = "00000000") -> RunFolder:
    folder = RunFolder(home, f"live_candidate_20260102_030400_{suffix}")
    for name, content in {
        "config.json": "{}",
        "predictions.parquet": "scores",
        "teachers/M&M_2022-01-01_to_2022-06-29/model.txt": "tree",
        "stages/data_ingestion.json": "{}",
        "stages/release_audit.json": "{}",
        "teacher_runs.parquet": "units",
        "run.json": "{}",
        "telemetry.jsonl": "{}\n",
    }.items():
        path = folder.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def audited(home: Path, suffix: str = "00000000") -> tuple[RunFolder, Manifest]:
    folder = make_run(home, suffix)
    manifest = build_manifest(folder, verdict=VERDICT, facts=FACTS, created_at=AT)
    write_manifest(folder, manifest)
    return folder, manifest


def test_manifest_lists_every_finished_file_with_its_digest(tmp_path: Path) -> None:
    """Artifacts and finished records are listed; what still grows is not."""
    folder, manifest = audited(tmp_path)

    assert [entry.path for entry in manifest.artifacts] == [
        "config.json",
        "predictions.parquet",
        "teachers/M&M_2022-01-01_to_2022-06-29/model.txt",
    ]
    assert [entry.path for entry in manifest.records] == [
        SUMS_NAME,
        "stages/data_ingestion.json",
        "teacher_runs.parquet",
    ]
    assert manifest.artifacts[1].sha256 == hashlib.sha256(b"scores").hexdigest()
    assert manifest.artifacts[1].bytes == 6
    assert manifest.release_id == folder.run_id


def test_written_manifest_reads_back_and_verifies(tmp_path: Path) -> None:
    """YAML and back is identity, the digest returned is that of the file, nothing is wrong."""
    folder = make_run(tmp_path)
    manifest = build_manifest(folder, verdict=VERDICT, facts=FACTS, created_at=AT)
    digest = write_manifest(folder, manifest)

    assert manifest == read_manifest(folder)
    assert digest == hashlib.sha256(folder.manifest.read_bytes()).hexdigest()
    assert verify_manifest(folder) == []


def test_sums_can_be_checked_without_this_project(tmp_path: Path) -> None:
    """`sha256sum -c` in the run folder agrees, and disagrees after a change."""
    tool = shutil.which("sha256sum")
    if tool is None:
        pytest.skip("sha256sum is not installed")
    folder, _ = audited(tmp_path)

    def check() -> int:
        command = [tool, "--check", "--strict", "--quiet", SUMS_NAME]
        return subprocess.run(command, cwd=folder.root, capture_output=True, check=False).returncode

    assert check() == 0

    (folder.root / "predictions.parquet").write_text("better scores")

    assert check() == 1


def test_two_equal_runs_have_equal_evidence(tmp_path: Path) -> None:
    """Another run id and another time change neither the evidence digest nor the sums."""
    first, manifest = audited(tmp_path, "00000000")
    second = make_run(tmp_path, "11111111")
    (second.root / "telemetry.jsonl").write_text("another time\n")
    (second.root / "teacher_runs.parquet").write_text("other seconds")
    later = build_manifest(
        second, verdict=VERDICT, facts=FACTS, created_at=datetime(2027, 1, 1, tzinfo=UTC)
    )
    write_manifest(second, later)

    assert manifest.evidence_digest == later.evidence_digest
    assert (first.root / SUMS_NAME).read_bytes() == (second.root / SUMS_NAME).read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 43},
        {"data_digest": "1" * 64},
        {"config_digest": "1" * 64},
        {"code_version": "1" * 64},
        {"library_versions": {"polars": "2.1.1"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_evidence_digest_covers_what_a_result_depends_on(
    tmp_path: Path, change: dict[str, object]
) -> None:
    """Any other seed, data, settings, code or library gives another digest."""
    folder, manifest = audited(tmp_path)
    facts = FACTS.model_copy(update=change)
    other = build_manifest(folder, verdict=VERDICT, facts=facts, created_at=AT)

    assert manifest.evidence_digest != other.evidence_digest


def test_altered_missing_and_unlisted_files_are_found(tmp_path: Path) -> None:
    """Each kind of difference is named with its file."""
    folder, _ = audited(tmp_path)
    (folder.root / "predictions.parquet").write_text("better scores")
    (folder.root / "config.json").unlink()
    (folder.root / "extra.parquet").write_text("slipped in")
    (folder.root / "stages/data_ingestion.json").write_text("{ }")
    found = {problem.path: problem.kind for problem in verify_manifest(folder)}

    assert found == {
        "config.json": ProblemKind.MISSING,
        "extra.parquet": ProblemKind.UNLISTED,
        "predictions.parquet": ProblemKind.ALTERED,
        "stages/data_ingestion.json": ProblemKind.ALTERED,
    }


def test_what_grows_after_the_audit_is_no_problem(tmp_path: Path) -> None:
    """Log, run record, briefing and the last stages' records may change; so may new records."""
    folder, _ = audited(tmp_path)
    for name in (
        "run.json",
        "telemetry.jsonl",
        "promotion_briefing.md",
        "stages/release_audit.json",
        "stages/promotion_briefing.json",
        "student_runs.parquet",
    ):
        (folder.root / name).write_text("later")

    assert verify_manifest(folder) == []


def test_altered_sums_are_found(tmp_path: Path) -> None:
    """The list for `sha256sum` is itself bound by the manifest."""
    folder, _ = audited(tmp_path)
    (folder.root / SUMS_NAME).write_text("")

    assert [problem.path for problem in verify_manifest(folder)] == [SUMS_NAME]


def test_a_manifest_whose_list_was_edited_contradicts_its_digest(tmp_path: Path) -> None:
    """Changing file and list alike still leaves the evidence digest behind."""
    folder, _ = audited(tmp_path)
    old, new = (hashlib.sha256(text).hexdigest() for text in (b"scores", b"better scores"))
    (folder.root / "predictions.parquet").write_text("better scores")
    folder.manifest.write_text(
        folder.manifest.read_text().replace(old, new).replace("bytes: 6", "bytes: 13")
    )
    found = {problem.path for problem in verify_manifest(folder)}

    assert "manifest.yaml" in found


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "", "a\nb"])
def test_paths_out_of_the_run_are_refused(path: str) -> None:
    """A manifest from outside cannot make this project read other files."""
    with pytest.raises(ValidationError):
        FileEntry(path=path, sha256=DIGEST, bytes=0)


@pytest.mark.parametrize("content", ["", "[]", "{", "schema_version: 1", "- a"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    """A damaged manifest is an error that says what to do."""
    folder = make_run(tmp_path)
    folder.manifest.write_text(content)

    with pytest.raises(RecordError, match="manifest cannot be read"):
        read_manifest(folder)


def test_missing_manifest_is_refused(tmp_path: Path) -> None:
    """A run that was not audited has nothing to verify."""
    with pytest.raises(RecordError, match="manifest cannot be read"):
        verify_manifest(make_run(tmp_path))


def test_manifest_of_another_layout_is_refused(tmp_path: Path) -> None:
    """Another schema version is named, not guessed at."""
    folder, _ = audited(tmp_path)
    text = folder.manifest.read_text().replace("schema_version: 1", "schema_version: 2", 1)
    folder.manifest.write_text(text)

    with pytest.raises(SchemaVersionError, match="expected: 1; found: 2"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("decision", "status"),
    [
        (Decision.APPROVE, CandidateStatus.READY_FOR_REVIEW),
        (Decision.REJECT, CandidateStatus.REJECTED),
        (Decision.NOT_ENOUGH_EVIDENCE, CandidateStatus.REJECTED),
    ],
)
def test_only_an_approval_may_be_reviewed(decision: Decision, status: CandidateStatus) -> None:
    """Rejected and unproven runs have the same state; the reason tells them apart."""
    assert status_of(decision) is status


def test_five_thousand_files_take_seconds(tmp_path: Path) -> None:
    """The cost of a manifest stays far below that of making the files."""
    folder = make_run(tmp_path)
    for window in range(1000):
        place = folder.teacher(f"W{window:04}")
        place.mkdir(parents=True)
        for name in range(5):
            (place / f"{name}.txt").write_text(f"{window} {name}")
    started = time.perf_counter()
    manifest = build_manifest(folder, verdict=VERDICT, facts=FACTS, created_at=AT)
    write_manifest(folder, manifest)
    seconds = time.perf_counter() - started

    assert len(manifest.artifacts) == 5003
    assert seconds < 20  # About one on an idle machine; other work may share this one.
    assert verify_manifest(folder) == []
