"""Facts about deciding on a candidate: bound to bytes, first one stands, an end to its time."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from sensequant.errors import DigestMismatchError, RegistryError
from sensequant.release.gates import Decision, Verdict
from sensequant.release.manifest import (
    CandidateStatus,
    ManifestFacts,
    build_manifest,
    write_manifest,
)
from sensequant.release.registry_records import EventKind, RunResult
from sensequant.runs import RunFolder
from sensequant.stages.decision import (
    AUTO_APPROVER,
    Answer,
    Choice,
    auto_approve,
    candidates_below,
    decide,
    expire_overdue,
    review_of,
)
from sensequant.stages.registry_place import registry_of
from sensequant.storage import sha256_of

RUN_ID = "live_candidate_20250101_000000_0000abcd"
AT = datetime(2025, 1, 1, tzinfo=UTC)
LIMIT = AT + timedelta(days=7)
DIGEST = "d" * 64


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Return a run of one artifact whose gates all pass, with a week to decide on it."""
    folder = RunFolder(tmp_path, RUN_ID)
    folder.predictions.parent.mkdir(parents=True)
    folder.predictions.write_bytes(b"scores")
    verdict = Verdict(
        decision=Decision.APPROVE,
        headline="All 10 gates pass; a person may approve.",
        reasons=(),
        n_passed=10,
        n_failed=0,
        n_undetermined=0,
        detectable_sharpe=None,
        gates=(),
        is_simulated=True,
    )
    facts = ManifestFacts(
        is_simulated=True,
        first_session=date(2022, 1, 3),
        last_session=date(2022, 12, 30),
        symbols=("SIM01",),
        seed=1,
        data_digest=DIGEST,
        config_digest=DIGEST,
        code_version=DIGEST,
        library_versions={},
        training={},
        validation={},
        statistical_tests={},
    )
    manifest = build_manifest(folder, verdict=verdict, facts=facts, created_at=AT)
    result = RunResult(
        run_id=RUN_ID,
        decision=verdict.decision,
        reason=verdict.headline,
        manifest_sha256=write_manifest(folder, manifest),
        evidence_digest=manifest.evidence_digest,
        is_simulated=True,
    )
    registry = registry_of(tmp_path)
    registry.record_candidate_run(result, actor="flow", at=AT, decide_by=LIMIT)
    registry.close()
    return folder


def answer(
    folder: RunFolder, choice: Choice = Choice.APPROVE, manifest: str | None = None
) -> Answer:
    return Answer(
        choice=choice,
        name="ann",
        reason="read it",
        manifest_sha256=manifest or sha256_of(folder.manifest),
    )


def status_of(folder: RunFolder) -> CandidateStatus:
    review = review_of(folder)
    assert review is not None
    return review.candidate.status


def test_person_approves_the_bytes_that_were_judged(folder: RunFolder) -> None:
    """The history names the person, the reason and the manifest."""
    decided = decide(folder, answer(folder), at=AT)

    assert status_of(folder) is CandidateStatus.APPROVED
    assert (decided.actor, decided.manifest_sha256) == ("ann", sha256_of(folder.manifest))


@pytest.mark.parametrize("altered", ["predictions", "manifest", "report"])
def test_one_altered_byte_cannot_be_approved(folder: RunFolder, altered: str) -> None:
    """An artifact, the manifest, or a file that was not there; rejecting remains possible."""
    read = answer(folder)
    path: Path = getattr(folder, altered)
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b" ")

    with pytest.raises(DigestMismatchError, match=path.name):
        decide(folder, read, at=AT)
    assert status_of(folder) is CandidateStatus.READY_FOR_REVIEW
    decide(folder, read.model_copy(update={"choice": Choice.REJECT}), at=AT)
    assert status_of(folder) is CandidateStatus.REJECTED


@pytest.mark.parametrize("choice", Choice)
def test_decision_on_another_manifest_is_refused(folder: RunFolder, choice: Choice) -> None:
    """It names what it should be about."""
    with pytest.raises(
        (DigestMismatchError, RegistryError), match="about another manifest"
    ) as told:
        decide(folder, answer(folder, choice, "b" * 64), at=AT)
    assert sha256_of(folder.manifest) in str(told.value)
    assert status_of(folder) is CandidateStatus.READY_FOR_REVIEW


def test_rule_of_the_gates_approves_in_its_own_name(folder: RunFolder) -> None:
    """So that nobody takes it for a person."""
    decided = auto_approve(folder, at=AT)

    assert (decided.kind, decided.actor) == (EventKind.APPROVED, AUTO_APPROVER)
    assert "All 10 gates pass" in decided.reason


def test_rule_of_the_gates_approves_nothing_that_they_do_not_pass(folder: RunFolder) -> None:
    """Not even where the run was asked to."""
    registry = registry_of(folder.home)
    result = RunResult(
        run_id=RUN_ID,
        decision=Decision.NOT_ENOUGH_EVIDENCE,
        reason="too few sessions",
        manifest_sha256=sha256_of(folder.manifest),
        evidence_digest=DIGEST,
        is_simulated=True,
    )
    registry.record_candidate_run(result, actor="flow", at=AT)
    registry.close()

    with pytest.raises(RegistryError, match="not up for decision"):
        auto_approve(folder, at=AT)


def test_time_to_decide_ends(folder: RunFolder) -> None:
    """The list of candidates says so, whether or not anything woke at that instant."""
    assert expire_overdue(folder.home, at=LIMIT - timedelta(seconds=1)) == []
    (review,) = candidates_below(folder.home, at=LIMIT)

    assert review.candidate.status is CandidateStatus.REJECTED
    assert review.decision is not None
    assert review.decision.in_words.startswith("rejected: expired")


def test_run_that_nobody_recorded_has_no_review(tmp_path: Path) -> None:
    """A run that is under way, or of which stages were left out."""
    assert review_of(RunFolder(tmp_path, RUN_ID)) is None
    with pytest.raises(RegistryError, match="no candidate to approve"):
        auto_approve(RunFolder(tmp_path, RUN_ID), at=AT)
