"""Deciding on a candidate: by a person, by the rule of the gates, or by the end of its time.

Belongs here: what binds a decision to the bytes that were judged, and who may settle what. Does not
belong here: states and history (`release.registry`), and how a person is asked (`tasks.decisions`,
`cli.deciding`).

The registry is the truth about a decision. A form of Prefect and a command are two ways to the same
record, and either works where the other is away. Every function here takes the registry's address;
None stands for the file below the home.
"""

from contextlib import closing
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import SecretStr

from sensequant.errors import DigestMismatchError, RegistryError
from sensequant.records import Record
from sensequant.release.manifest import CandidateStatus, verify_manifest
from sensequant.release.registry_records import CandidateEvent, CandidateRun
from sensequant.runs import RunFolder
from sensequant.stages.registry_place import registry_of
from sensequant.storage import sha256_of

__all__ = [
    "AUTO_APPROVER",
    "Answer",
    "Choice",
    "Review",
    "auto_approve",
    "candidates_below",
    "decide",
    "expire_overdue",
    "review_of",
]

AUTO_APPROVER = "the rule of the gates"
"""Who approves where a run was started with auto_approve."""

_CLOCK = "the clock"
_N_PROBLEMS = 3


class Choice(StrEnum):
    """What a person can say to a candidate."""

    APPROVE = "approve"
    REJECT = "reject"


class Answer(Record):
    """What a person decided, on which manifest, and why."""

    choice: Choice
    name: str
    reason: str
    manifest_sha256: str


class Review(Record):
    """A candidate as it stands: what is to be decided on, and what was decided."""

    candidate: CandidateRun
    decision: CandidateEvent | None

    @property
    def is_open(self) -> bool:
        """Whether it waits for a decision."""
        return self.candidate.status is CandidateStatus.READY_FOR_REVIEW


def review_of(folder: RunFolder, *, registry: SecretStr | None = None) -> Review | None:
    """Return how the candidate of a run stands; None where the registry does not know the run.

    Raises
    ------
    RegistryError
        The registry cannot be read.
    """
    with closing(registry_of(folder.home, registry)) as opened:
        known = {candidate.run_id: candidate for candidate in opened.get_candidate_runs()}
        candidate = known.get(folder.run_id)
        if candidate is None:
            return None
        return Review(candidate=candidate, decision=opened.decision_on(folder.run_id))


def decide(
    folder: RunFolder, answer: Answer, *, at: datetime, registry: SecretStr | None = None
) -> CandidateEvent:
    """Record what a person decided; the same decision again changes nothing.

    An approval is for the bytes that were judged: every file of the run is digested again first.

    Parameters
    ----------
    folder
        The run.
    answer
        Who decides what, on which manifest.
    at
        Aware instant.
    registry
        Address of the registry; None for the file below the home.

    Raises
    ------
    RegistryError
        The candidate is unknown, not up for decision, decided already, or the answer is about
        another manifest.
    DigestMismatchError
        A file is not the one that was judged, so nothing can be approved.
    """
    with closing(registry_of(folder.home, registry)) as opened:
        if answer.choice is Choice.APPROVE:
            _require_judged_bytes(folder, answer.manifest_sha256)
            settle = opened.approve_candidate_run
        else:
            settle = opened.reject_candidate_run
        return settle(
            folder.run_id,
            manifest_sha256=answer.manifest_sha256,
            actor=answer.name,
            reason=answer.reason,
            at=at,
        )


def auto_approve(
    folder: RunFolder, *, at: datetime, registry: SecretStr | None = None
) -> CandidateEvent:
    """Approve a candidate because every gate passes, as its run was asked to.

    Raises
    ------
    RegistryError, DigestMismatchError
        As `decide`.
    """
    review = review_of(folder, registry=registry)
    if review is None or review.candidate.manifest_sha256 is None:
        raise RegistryError("run has no candidate to approve", where=folder.run_id)
    answer = Answer(
        choice=Choice.APPROVE,
        name=AUTO_APPROVER,
        reason=f"{review.candidate.reason} Its run was started with decision: auto_approve.",
        manifest_sha256=review.candidate.manifest_sha256,
    )
    return decide(folder, answer, at=at, registry=registry)


def expire_overdue(
    home: Path, *, at: datetime, registry: SecretStr | None = None
) -> list[CandidateEvent]:
    """Reject every candidate below a home that nobody decided on in time."""
    with closing(registry_of(home, registry)) as opened:
        return opened.expire_candidate_runs(actor=_CLOCK, at=at)


def candidates_below(
    home: Path, *, at: datetime, registry: SecretStr | None = None
) -> list[Review]:
    """Return every candidate below a home as it stands at an instant, the latest first."""
    expire_overdue(home, at=at, registry=registry)
    with closing(registry_of(home, registry)) as opened:
        return [
            Review(candidate=candidate, decision=opened.decision_on(candidate.run_id))
            for candidate in opened.get_candidate_runs()
        ]


def _require_judged_bytes(folder: RunFolder, manifest_sha256: str) -> None:
    found = sha256_of(folder.manifest) if folder.manifest.exists() else None
    if found is not None and found != manifest_sha256:
        raise DigestMismatchError(
            "decision is about another manifest",
            where=str(folder.manifest),
            expected=f"{found}, the manifest of this run",
            found=manifest_sha256,
            remedy="read the briefing of this run again and decide on the manifest that it names",
        )
    problems = verify_manifest(folder)
    if problems:
        named = [f"{problem.path} is {problem.kind}" for problem in problems[:_N_PROBLEMS]]
        raise DigestMismatchError(
            "files are not those that were judged",
            where=str(folder.root),
            expected="every file as the manifest says",
            found=f"{len(problems)} that differ: {', '.join(named)}",
            remedy="`sensequant verify` lists them all; restore them, or train again",
        )
