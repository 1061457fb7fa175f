"""Models as they are deployed: immutable folders that their content names.

Belongs here: which files of a run a model consists of, and whether a folder is still what its name
says. Does not belong here: which model is used where (`release.environments`), and scoring
(`stages.scoring`).

    models/<sha256 of model.json>/
      model.json       whose it is, and the digest of every other file
      config.json      how features are built, and from which bars
      manifest.yaml    what the run was judged by
      manifest.sig     who signed that, if somebody did
      candidate/       the students

A model needs no file of its run, so that the run's folder may be tidied away. Equal runs give equal
models; a folder is never altered, only made, and its files are read-only.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from sensequant.errors import ConfigError, DigestMismatchError, RecordError
from sensequant.records import Record
from sensequant.release.manifest import FileEntry, parse_manifest
from sensequant.runs import RunFolder
from sensequant.storage import (
    json_bytes,
    read_json,
    remove_unfinished,
    sha256_of,
    sha256_of_bytes,
    write_folder,
)

__all__ = [
    "Model",
    "ModelRecord",
    "PackedModel",
    "models_folder",
    "open_model",
    "pack_model",
    "remove_unfinished_models",
    "store_model",
]

_RECORD = "model.json"
_CONFIG = "config.json"
_STUDENTS = "candidate"
_N_NAMED = 3


class ModelRecord(Record):
    """What stands in `model.json`: it follows from the run alone, so that it can name the model."""

    run_id: str
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    evidence_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    is_simulated: bool
    symbols: tuple[str, ...]
    files: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True)
class PackedModel:
    """A model in memory, on its way into its folder."""

    record: ModelRecord
    contents: dict[str, bytes]

    @property
    def sha256(self) -> str:
        """The digest that names it."""
        return sha256_of_bytes(json_bytes(self.record))


@dataclass(frozen=True, slots=True)
class Model:
    """A model in its folder, every byte of which was just found to be as its name says."""

    root: Path
    record: ModelRecord

    @property
    def sha256(self) -> str:
        """The digest that names it."""
        return self.root.name

    @property
    def config(self) -> Path:
        """Request and configuration of its run."""
        return self.root / _CONFIG

    @property
    def students(self) -> dict[str, tuple[Path, str]]:
        """File and digest of each student, by symbol or under `universe` for all."""
        return {
            Path(entry.path).stem: (self.root / entry.path, entry.sha256)
            for entry in self.record.files
            if Path(entry.path).parent.name == _STUDENTS
        }


def models_folder(home: Path) -> Path:
    """Return the folder of all models of a home."""
    return home / "models"


def pack_model(folder: RunFolder, *, manifest_sha256: str) -> PackedModel:
    """Read what a run would deploy; every byte is that which its manifest names.

    Parameters
    ----------
    folder
        The run.
    manifest_sha256
        Digest of the manifest that was approved.

    Raises
    ------
    DigestMismatchError
        The manifest is another one, or a file is not the one that it names.
    ConfigError
        The run has no student to deploy.
    RecordError
        The manifest cannot be read.
    """
    content = _read(folder.manifest)
    _require_digest(folder.manifest, sha256_of_bytes(content), manifest_sha256)
    manifest = parse_manifest(content, where=str(folder.manifest))
    names = sorted(
        entry.path
        for entry in manifest.artifacts
        if entry.path == _CONFIG or entry.path.startswith(f"{_STUDENTS}/")
    )
    if not any(name.startswith(f"{_STUDENTS}/") for name in names):
        raise ConfigError(
            "run has no student to deploy",
            where=folder.run_id,
            expected=f"files below {_STUDENTS}/ in its manifest",
            found="none",
            remedy="a run whose students are trained has them",
        )
    listed = {entry.path: entry.sha256 for entry in manifest.artifacts}
    contents = {name: _read(folder.root / name) for name in names}
    for name, found in contents.items():
        _require_digest(folder.root / name, sha256_of_bytes(found), listed[name])
    contents[folder.manifest.name] = content
    if folder.signature.exists():
        contents[folder.signature.name] = _read(folder.signature)
    record = ModelRecord(
        run_id=manifest.release_id,
        manifest_sha256=manifest_sha256,
        evidence_digest=manifest.evidence_digest,
        is_simulated=manifest.facts.is_simulated,
        symbols=manifest.facts.symbols,
        files=tuple(
            FileEntry(path=name, sha256=sha256_of_bytes(found), bytes=len(found))
            for name, found in sorted(contents.items())
        ),
    )
    return PackedModel(record, contents)


def store_model(home: Path, packed: PackedModel) -> Model:
    """Make the folder of a model, whole or not at all; one that is there already stays.

    Raises
    ------
    DigestMismatchError
        The folder is there and is not what its name says.
    StorageError
        It cannot be written.
    """
    folder = models_folder(home) / packed.sha256
    if not folder.exists():
        write_folder(folder, {_RECORD: json_bytes(packed.record), **packed.contents})
    return open_model(home, packed.sha256)


def open_model(home: Path, sha256: str) -> Model:
    """Return a model, once every byte of its folder is found to be as its name says.

    Raises
    ------
    DigestMismatchError
        A file is missing, altered or should not be there.
    RecordError
        There is no such model, or its record cannot be read.
    """
    root = models_folder(home) / sha256
    if not root.is_dir():
        raise RecordError(
            "model is missing",
            where=str(root),
            expected="the folder of a model",
            found="nothing",
            remedy="restore it from a backup of the home, or stage its run again",
        )
    _require_digest(root / _RECORD, _digest(root / _RECORD), sha256)
    try:
        record = ModelRecord.model_validate(read_json(root / _RECORD))
    except ValidationError as error:
        raise RecordError(
            "record of a model is not of this version",
            where=str(root / _RECORD),
            expected="a model of this version of sensequant",
            found=str(error).splitlines()[0],
        ) from error
    _require_files(root, record)
    return Model(root, record)


def remove_unfinished_models(home: Path) -> None:
    """Remove what killed processes left of models; the caller holds the lock of deployments."""
    remove_unfinished(models_folder(home))


def _require_files(root: Path, record: ModelRecord) -> None:
    expected = {_RECORD, *(entry.path for entry in record.files)}
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    wrong = [f"{name} is unlisted" for name in sorted(found - expected)]
    wrong += [f"{name} is missing" for name in sorted(expected - found)]
    wrong += [
        f"{entry.path} is altered"
        for entry in record.files
        if entry.path in found and sha256_of(root / entry.path) != entry.sha256
    ]
    if wrong:
        raise DigestMismatchError(
            "model is not what its name says",
            where=str(root),
            expected=f"{len(expected)} files as {_RECORD} lists them",
            found=", ".join(wrong[:_N_NAMED]),
            remedy="move the folder away and restore it from a backup, or stage its run again",
        )


def _require_digest(path: Path, found: str | None, expected: str) -> None:
    if found != expected:
        raise DigestMismatchError(
            "file is not the one that was judged",
            where=str(path),
            expected=expected,
            found=found or "no such file",
            remedy="restore it, or train again",
        )


def _digest(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DigestMismatchError(
            "file is not the one that was judged",
            where=str(path),
            expected="a file that can be read",
            found=error.strerror or str(error),
            remedy="restore it, or train again",
        ) from error
