"""Whether a candidate may move: every check with what was expected and what was found.

Belongs here: the checks, each of them, and which of them a kind of deployment asks for. Does not
belong here: limits (`release.limits`), moving (`stages.promotion`), and what the shadow found
(`stages.shadow`).

No check stops another one: a person sees all that is wrong at once. What cannot be found out has
not passed. Nothing is written.
"""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sensequant.errors import SenseQuantError
from sensequant.features.registry import model_columns
from sensequant.foreign_student import load_foreign_student
from sensequant.ingestion.ranges import last_closed_session
from sensequant.market.intervals import DAILY
from sensequant.market.sessions import nse_calendar
from sensequant.market.store import BarStore
from sensequant.release.deployment_records import (
    Check,
    Deployment,
    DeploymentKind,
    EnvironmentName,
    Pointer,
    Readiness,
    ShadowValidation,
)
from sensequant.release.gates import Decision
from sensequant.release.limits import CLOCKS_AGREE, PromotionLimits
from sensequant.release.manifest import read_manifest, verify_manifest
from sensequant.release.models import Model
from sensequant.release.registry_records import CandidateEvent, CandidateRun, EventKind
from sensequant.release.registry_triggers import DEPLOYABLE
from sensequant.release.signature import SignatureState, verify_signature
from sensequant.runs import RunFolder
from sensequant.storage import sha256_of
from sensequant.student_record import StudentFile, read_student_record, read_student_text

__all__ = [
    "CandidateFacts",
    "LoadStudent",
    "Stand",
    "StudentFiles",
    "candidate_checks",
    "load_safely",
    "place_checks",
    "readiness_of",
    "rollback_checks",
    "staging_checks",
    "student_checks",
]

StudentFiles = Mapping[str, tuple[Path, str]]
"""File and promised digest of each student, by its owner."""

LoadStudent = Callable[[Path, str], object]
"""Loads a student, or refuses by a SenseQuantError."""

Found = tuple[bool, str, str]
"""Whether a check passed, what was expected, what was found."""

Look = Callable[[], Found]

_CHANCE = 0.5
_N_NAMED = 3
_MIB = 1024**2


def load_safely(path: Path, sha256: str) -> object:
    """Load a student as one of unknown origin: first in a process that may die of it."""
    return load_foreign_student(path, sha256=sha256)


@dataclass(frozen=True, slots=True)
class CandidateFacts:
    """What the registry says of a candidate that shall move."""

    folder: RunFolder
    candidate: CandidateRun
    decision: CandidateEvent | None
    last_instant: datetime | None
    limits: PromotionLimits
    trusted_keys: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Stand:
    """What stands in staging when its model shall go on to production."""

    pointer: Pointer | None
    deployment: Deployment | None
    model: Callable[[], Model]
    shadow: Callable[[], ShadowValidation]
    found: list[ShadowValidation] = field(default_factory=list[ShadowValidation])
    """The validation, once its check has asked for it."""


def readiness_of(
    run_id: str,
    kind: DeploymentKind,
    environment: EnvironmentName,
    looks: Mapping[str, Look],
    *,
    at: datetime,
) -> Readiness:
    """Make every check and return what was found."""
    return Readiness(
        run_id=run_id,
        kind=kind,
        environment=environment,
        at=at,
        checks=tuple(_checked(name, look) for name, look in looks.items()),
    )


def candidate_checks(facts: CandidateFacts, kind: DeploymentKind, at: datetime) -> dict[str, Look]:
    """Return what must hold of candidate, approval and evidence, whatever its model is."""
    return {
        "clock": lambda: _clock(facts.last_instant, at),
        "state": lambda: _state(facts.candidate, kind),
        "gates": lambda: _gates(facts.candidate),
        "manifest": lambda: _manifest(facts),
        "approval": lambda: _approval(facts),
        "approval_age": lambda: _approval_age(facts, at),
        "artifacts": lambda: _artifacts(facts.folder),
        "signature": lambda: _signature(facts),
    }


def student_checks(
    files: Callable[[], StudentFiles], load: LoadStudent, *, at: datetime
) -> dict[str, Look]:
    """Return what must hold of the students that would be used."""
    return {
        "feature_schema": lambda: _feature_schema(files()),
        "model": lambda: _model(files(), load),
        "expiry": lambda: _expiry(files(), at),
    }


def place_checks(
    home: Path,
    store: Callable[[], BarStore],
    symbols: Callable[[], Collection[str]],
    limits: PromotionLimits,
    *,
    at: datetime,
) -> dict[str, Look]:
    """Return what must hold of data and disk."""
    return {
        "data": lambda: _data(store(), symbols(), limits, at),
        "disk": lambda: _disk(home, limits),
    }


def rollback_checks(
    model: Callable[[], Model], last_instant: datetime | None, *, at: datetime
) -> dict[str, Look]:
    """Return what must hold of the folder that a rollback would put back."""
    return {
        "clock": lambda: _clock(last_instant, at),
        "model_folder": lambda: _model_folder(model()),
    }


def staging_checks(facts: CandidateFacts, stand: Stand, *, at: datetime) -> dict[str, Look]:
    """Return what must hold of staging before its model goes on to production."""
    return {
        "staged": lambda: _staged(facts.candidate, stand),
        "staging_hours": lambda: _staging_hours(stand.deployment, facts.limits, at),
        "shadow": lambda: _shadow(stand, facts.limits),
    }


def _checked(name: str, look: Look) -> Check:
    try:
        is_passed, expected, found = look()
    except SenseQuantError as error:
        expected = error.expected or "an answer"
        return Check(name=name, is_passed=False, expected=expected, found=str(error))
    return Check(name=name, is_passed=is_passed, expected=expected, found=found)


def _clock(last: datetime | None, at: datetime) -> Found:
    expected = "no instant in the history that is still to come"
    if last is None or last <= at + CLOCKS_AGREE:
        return True, expected, f"now {_minute(at)}"
    return False, expected, f"now {_minute(at)}, but the history goes on to {_minute(last)}"


def _state(candidate: CandidateRun, kind: DeploymentKind) -> Found:
    states = DEPLOYABLE[kind]
    return candidate.status in states, " or ".join(states), candidate.status.value


def _gates(candidate: CandidateRun) -> Found:
    found = candidate.failed_stage or candidate.decision or "no verdict"
    is_passed = candidate.decision is Decision.APPROVE
    return is_passed, Decision.APPROVE.value, f"{found}: {candidate.reason}"


def _manifest(facts: CandidateFacts) -> Found:
    folder = facts.folder
    found = sha256_of(folder.manifest) if folder.manifest.exists() else "no manifest"
    owner = read_manifest(folder).release_id
    expected = f"{facts.candidate.manifest_sha256} of {folder.run_id}"
    is_passed = f"{found} of {owner}" == expected
    return is_passed, expected, f"{found} of {owner}"


def _approval(facts: CandidateFacts) -> Found:
    expected = f"an approval of manifest {_manifest_digest(facts.folder)}"
    decision = facts.decision
    if decision is None:
        return False, expected, "nobody has decided on this manifest"
    is_passed = (
        decision.kind is EventKind.APPROVED
        and decision.manifest_sha256 == _manifest_digest(facts.folder)
        and decision.manifest_sha256 == facts.candidate.manifest_sha256
    )
    return is_passed, expected, f"{decision.in_words}, manifest {decision.manifest_sha256}"


def _approval_age(facts: CandidateFacts, at: datetime) -> Found:
    made = read_manifest(facts.folder).created_at
    limit = facts.limits.approval_hours
    expected = f"after {_minute(made)}, at most {limit:g} hours ago"
    if facts.decision is None:
        return False, expected, "none"
    given = facts.decision.at
    hours = (at - given) / timedelta(hours=1)
    is_passed = made <= given <= at + CLOCKS_AGREE and hours <= limit
    return is_passed, expected, f"{_minute(given)}, {hours:.1f} hours ago"


def _artifacts(folder: RunFolder) -> Found:
    manifest = read_manifest(folder)
    n_files = len(manifest.artifacts) + len(manifest.records)
    expected = f"{n_files} files as the manifest lists them"
    problems = verify_manifest(folder)
    if not problems:
        return True, expected, f"{n_files} files, every digest computed again"
    named = ", ".join(f"{each.path} is {each.kind}" for each in problems[:_N_NAMED])
    return False, expected, f"{len(problems)} that differ: {named}"


def _signature(facts: CandidateFacts) -> Found:
    found = verify_signature(facts.folder, trusted=facts.trusted_keys)
    if facts.limits.require_signature:
        return found.state is SignatureState.VALID, "a valid signature", found.words
    return found.is_acceptable, "a valid signature, or none", found.words


def _feature_schema(files: StudentFiles) -> Found:
    expected = "the columns of features that this code builds, in their order"
    wrong: list[str] = []
    n_columns = 0
    for owner, student in _records(files):
        columns = model_columns(student.features)
        n_columns = len(student.columns)
        if columns != student.columns:
            missing = [name for name in student.columns if name not in columns]
            new = [name for name in columns if name not in student.columns]
            wrong.append(f"{owner}: missing {missing or 'none'}, new {new or 'none'}")
    if wrong:
        return False, expected, "; ".join(wrong[:_N_NAMED])
    return True, expected, f"{n_columns} columns"


def _model(files: StudentFiles, load: LoadStudent) -> Found:
    for path, sha256 in files.values():
        load(path, sha256)
    expected = "students that load and score their recorded samples as they did"
    return bool(files), expected, f"{len(files)} of {len(files)}"


def _expiry(files: StudentFiles, at: datetime) -> Found:
    today = last_closed_session(nse_calendar(), at)
    days = {owner: student.expires_on for owner, student in _records(files)}
    first = min(days.values())
    return first >= today, f"students that may score {today}", f"they may until {first}"


def _data(
    store: BarStore, symbols: Collection[str], limits: PromotionLimits, at: datetime
) -> Found:
    calendar = nse_calendar()
    closed = last_closed_session(calendar, at)
    lasts = [
        max(
            store.read(symbol, interval=DAILY, end=closed, final_only=True)["session"].to_list(),
            default=None,
        )
        for symbol in symbols
    ]
    known = [last for last in lasts if last is not None]
    expected = f"bars up to {closed}, or {limits.max_sessions_behind} sessions before it"
    if not known:
        return False, expected, "no final bar of any symbol"
    newest = max(known)
    behind = calendar.number_of(closed) - calendar.number_of(newest)
    others = sum(last != newest for last in lasts)
    found = f"{newest}, {behind} sessions before; {others} of {len(lasts)} symbols end earlier"
    return behind <= limits.max_sessions_behind, expected, found


def _disk(home: Path, limits: PromotionLimits) -> Found:
    free = shutil.disk_usage(home).free / _MIB
    return free >= limits.min_free_mib, f"{limits.min_free_mib} MiB free", f"{free:.0f} MiB"


def _staged(candidate: CandidateRun, stand: Stand) -> Found:
    expected = f"staging points to {candidate.run_id}, manifest {candidate.manifest_sha256}"
    pointer = stand.pointer
    if pointer is None:
        return False, expected, "nothing is in staging"
    found = f"{pointer.run_id}, manifest {pointer.manifest_sha256}"
    is_it = (pointer.run_id, pointer.manifest_sha256) == (
        candidate.run_id,
        candidate.manifest_sha256,
    )
    if is_it:
        model = stand.model()
        found += f", {len(model.record.files)} files of its model verified"
    return is_it, expected, found


def _model_folder(model: Model) -> Found:
    expected = "every file as the name of the folder says"
    return True, expected, f"{len(model.record.files)} files, every digest computed again"


def _staging_hours(deployment: Deployment | None, limits: PromotionLimits, at: datetime) -> Found:
    expected = f"{limits.staging_hours:g} session hours in staging"
    since = None if deployment is None else deployment.ended_at
    if since is None:
        return False, expected, "nothing is in staging"
    if since > at + CLOCKS_AGREE:
        return False, expected, f"staged at {_minute(since)}, which is still to come"
    hours = nse_calendar().hours_between(since, at)
    return hours >= limits.staging_hours, expected, f"{hours:.2f} since {_minute(since)}"


def _shadow(stand: Stand, limits: PromotionLimits) -> Found:
    expected = "scores of the bars since staging, whose AUC is not below chance"
    shadow = stand.shadow()
    stand.found.append(shadow)
    found = (
        f"{shadow.n_scored} of {shadow.n_rows} rows of {shadow.n_sessions} sessions scored, "
        f"{shadow.n_realised} with an outcome"
    )
    auc = shadow.auc
    if auc.upper is not None and auc.lower is not None and auc.value is not None:
        found += f", AUC {auc.value:.3f} [{auc.lower:.3f}, {auc.upper:.3f}]"
        return auc.upper >= _CHANCE, expected, found
    found += f", no interval of the AUC: {auc.reason}"
    return shadow.n_scored > 0 or limits.staging_hours == 0, expected, found


def _records(files: StudentFiles) -> Iterator[tuple[str, StudentFile]]:
    # As data: whether the model inside loads is a check of its own.
    for owner, (path, _) in files.items():
        yield owner, read_student_record(read_student_text(path))


def _manifest_digest(folder: RunFolder) -> str:
    return sha256_of(folder.manifest) if folder.manifest.exists() else "that is not there"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
