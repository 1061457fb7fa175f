"""The manifest: one file that binds a verdict to every byte it rests on.

Belongs here: listing and digesting the files of a run, `manifest.yaml`, `SHA256SUMS`, and checking
a folder against both. Does not belong here: the verdict (`release.gates`), who acts on the manifest
(`release.registry`).

The manifest lists two kinds of files (see `sensequant.runs`): *artifacts*, which data,
configuration and code determine, and *records*, which say when and where. Files that still grow
when the manifest is written (the log of the run, the briefing, the last two stages' own records)
are in neither list. `SHA256SUMS` lists the artifacts only, in the format of `sha256sum`, so that
`sha256sum -c SHA256SUMS` in the run folder checks them without this project.

`evidence_digest` is one sha256 over artifacts, data, configuration, code, library versions and
seed: two runs with the same digest stand on the same evidence, whenever they ran.

A digest shows that a file was altered; it does not show who wrote the manifest. The registry keeps
the manifest's own digest apart from the folder, and `release.signature` says who signed it.
"""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any, cast

import yaml
from pydantic import Field, ValidationError, field_validator

from sensequant.errors import RecordError, SchemaVersionError
from sensequant.records import Finite, Record, digest_of
from sensequant.release.gates import Decision, Verdict
from sensequant.runs import RunFolder, Stage
from sensequant.storage import sha256_of, write_atomically

__all__ = [
    "SUMS_NAME",
    "CandidateStatus",
    "FileEntry",
    "Manifest",
    "ManifestFacts",
    "ManifestProblem",
    "ProblemKind",
    "build_manifest",
    "parse_manifest",
    "read_manifest",
    "status_of",
    "verify_manifest",
    "write_manifest",
]

SUMS_NAME = "SHA256SUMS"
"""Name of the list of digests below the run folder."""

_SCHEMA_VERSION = 1
_N_THREADS = 8

# These are written, or written to, after the manifest.
_STILL_GROWING = frozenset(
    {
        "run.json",
        "telemetry.jsonl",
        "telemetry.parquet",
        "manifest.yaml",
        "manifest.sig",
        "promotion_briefing.md",
        "promotion_briefing.json",
        "promotion_briefing.html",
        f"stages/{Stage.RELEASE_AUDIT}.json",
        f"stages/{Stage.PROMOTION_BRIEFING}.json",
    }
)


class CandidateStatus(StrEnum):
    """What became of a run as a candidate."""

    READY_FOR_REVIEW = "ready-for-review"
    APPROVED = "approved"
    REJECTED = "rejected"
    FAILED = "failed"
    STAGING = "staging"
    PRODUCTION = "production"
    RETIRED = "retired"


class ProblemKind(StrEnum):
    """How a file differs from the manifest."""

    MISSING = "missing"
    ALTERED = "altered"
    UNLISTED = "unlisted"


class FileEntry(Record):
    """One file: its path below the run folder, digest and size."""

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)

    @field_validator("path")
    @classmethod
    def _stays_below_the_run(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\n" in value:
            message = f"{value!r} is no path below the run folder"
            raise ValueError(message)
        return value


class ManifestFacts(Record):
    """What the manifest states beside its lists of files."""

    is_simulated: bool
    first_session: date
    last_session: date
    symbols: tuple[str, ...]
    seed: int
    data_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    config_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    code_version: str = Field(pattern=r"^[0-9a-f]{64}$")
    library_versions: dict[str, str]
    training: dict[str, Finite | int | str | bool | None]
    validation: dict[str, Finite | int | str | bool | None]
    statistical_tests: dict[str, Finite | int | str | bool | None]


class Manifest(Record):
    """Everything that a verdict rests on."""

    release_id: str
    status: CandidateStatus
    created_at: datetime
    verdict: Decision
    headline: str
    facts: ManifestFacts
    evidence_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    artifacts: tuple[FileEntry, ...]
    records: tuple[FileEntry, ...]


class ManifestProblem(Record):
    """One file that is not as the manifest says."""

    path: str
    kind: ProblemKind
    expected: str | None
    found: str | None


def status_of(decision: Decision) -> CandidateStatus:
    """Return the state of a candidate with this verdict; only an approval may be reviewed."""
    if decision is Decision.APPROVE:
        return CandidateStatus.READY_FOR_REVIEW
    return CandidateStatus.REJECTED


def build_manifest(
    folder: RunFolder, *, verdict: Verdict, facts: ManifestFacts, created_at: datetime
) -> Manifest:
    """Digest every finished file of a run and bind them to the verdict; write nothing.

    Parameters
    ----------
    folder
        Folder of the run, with all artifacts of the earlier stages and of the audit.
    verdict
        What the gates said.
    facts
        Range, symbols, digests, summaries.
    created_at
        Aware instant at which the manifest is made.
    """
    artifacts = _digested(folder.root, _artifact_paths(folder))
    sums = FileEntry(path=SUMS_NAME, **_fingerprint_of(_sums(artifacts)))
    records = _digested(folder.root, _record_paths(folder))
    return Manifest(
        release_id=folder.run_id,
        status=status_of(verdict.decision),
        created_at=created_at,
        verdict=verdict.decision,
        headline=verdict.headline,
        facts=facts,
        evidence_digest=_evidence_digest(artifacts, facts),
        artifacts=artifacts,
        records=tuple(sorted((*records, sums), key=lambda entry: entry.path)),
    )


def write_manifest(folder: RunFolder, manifest: Manifest) -> str:
    """Write `SHA256SUMS` and `manifest.yaml`; return the sha256 of the latter."""
    write_atomically(folder.root / SUMS_NAME, _sums(manifest.artifacts))
    text = yaml.dump(
        manifest.model_dump(mode="json"),
        Dumper=_dumper(),
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    write_atomically(folder.manifest, text.encode())
    return sha256_of(folder.manifest)


def read_manifest(folder: RunFolder) -> Manifest:
    """Return the manifest of a run.

    Raises
    ------
    RecordError
        It is missing or is no manifest.
    SchemaVersionError
        It was written with another layout.
    """
    try:
        content = folder.manifest.read_bytes()
    except OSError as error:
        raise _no_manifest(str(folder.manifest), str(error)) from error
    return parse_manifest(content, where=str(folder.manifest))


def parse_manifest(content: bytes, *, where: str) -> Manifest:
    """Return the manifest that these bytes are.

    Parameters
    ----------
    content
        What `write_manifest` wrote.
    where
        Where they stand, for a message.

    Raises
    ------
    RecordError
        They are no manifest.
    SchemaVersionError
        They were written with another layout.
    """
    try:
        fields: Any = yaml.load(content, Loader=_loader())  # noqa: S506
        found = fields["schema_version"]
        if found == _SCHEMA_VERSION:
            return Manifest.model_validate(fields)
    except (yaml.YAMLError, ValidationError, TypeError, KeyError) as error:
        raise _no_manifest(where, str(error)) from error
    raise SchemaVersionError(
        "manifest has another schema version",
        where=where,
        expected=str(_SCHEMA_VERSION),
        found=str(found),
        remedy="audit the run again with this version of sensequant",
    )


def _no_manifest(where: str, found: str) -> RecordError:
    return RecordError(
        "manifest cannot be read",
        where=where,
        expected="a manifest of this project",
        found=found.splitlines()[0],
        remedy="run stage release_audit again",
    )


def verify_manifest(folder: RunFolder) -> list[ManifestProblem]:
    """Check a run's folder file by file against its manifest.

    Artifacts must be there, unaltered and all listed. Listed records must be there and unaltered;
    other records may have been added since. The evidence digest must be that of the lists.

    Returns
    -------
    list of ManifestProblem
        By path; empty when the folder is what was judged.

    Raises
    ------
    RecordError
        The manifest is missing or malformed.
    """
    manifest = read_manifest(folder)
    problems = [
        problem
        for entries in (manifest.artifacts, manifest.records)
        for problem in _differences(folder.root, entries)
    ]
    listed = {entry.path for entry in manifest.artifacts}
    problems += [
        ManifestProblem(path=name, kind=ProblemKind.UNLISTED, expected=None, found=None)
        for name in (path.relative_to(folder.root).as_posix() for path in _artifact_paths(folder))
        if name not in listed
    ]
    expected = _evidence_digest(manifest.artifacts, manifest.facts)
    if manifest.evidence_digest != expected:
        problems.append(
            ManifestProblem(
                path=folder.manifest.name,
                kind=ProblemKind.ALTERED,
                expected=expected,
                found=manifest.evidence_digest,
            )
        )
    return sorted(problems, key=lambda problem: (problem.path, problem.kind))


def _artifact_paths(folder: RunFolder) -> list[Path]:
    return [path for path in folder.artifacts() if path != folder.root / SUMS_NAME]


def _record_paths(folder: RunFolder) -> list[Path]:
    left_out = {folder.root / name for name in (*_STILL_GROWING, SUMS_NAME)}
    return [path for path in folder.records() if path not in left_out]


def _digested(root: Path, paths: Iterable[Path]) -> tuple[FileEntry, ...]:
    def entry(path: Path) -> FileEntry:
        name = path.relative_to(root).as_posix()
        return FileEntry(path=name, sha256=sha256_of(path), bytes=path.stat().st_size)

    with ThreadPoolExecutor(_N_THREADS) as pool:
        entries = list(pool.map(entry, paths))
    return tuple(sorted(entries, key=lambda entry: entry.path))


def _differences(root: Path, entries: Iterable[FileEntry]) -> Iterable[ManifestProblem]:
    def difference(entry: FileEntry) -> ManifestProblem | None:
        path = root / entry.path
        found = sha256_of(path) if path.is_file() else None
        if found == entry.sha256:
            return None
        kind = ProblemKind.MISSING if found is None else ProblemKind.ALTERED
        return ManifestProblem(path=entry.path, kind=kind, expected=entry.sha256, found=found)

    with ThreadPoolExecutor(_N_THREADS) as pool:
        return [problem for problem in pool.map(difference, entries) if problem is not None]


def _sums(artifacts: Iterable[FileEntry]) -> bytes:
    return "".join(f"{entry.sha256}  {entry.path}\n" for entry in artifacts).encode()


def _fingerprint_of(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _evidence_digest(artifacts: Iterable[FileEntry], facts: ManifestFacts) -> str:
    return digest_of(
        {
            "artifacts": [[entry.path, entry.sha256] for entry in artifacts],
            "data": facts.data_digest,
            "config": facts.config_digest,
            "code": facts.code_version,
            "libraries": facts.library_versions,
            "seed": facts.seed,
        }
    )


# libyaml writes and reads five thousand entries in a fraction of the time of pure Python; without
# it the manifest says the same, later.
def _dumper() -> type[yaml.SafeDumper]:
    return cast("type[yaml.SafeDumper]", getattr(yaml, "CSafeDumper", yaml.SafeDumper))


def _loader() -> type[yaml.SafeLoader]:
    return cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
