"""Environments on disk: one pointer file each, and the lock that lets one process move them.

Belongs here: reading and moving a pointer. Does not belong here: the models that they point to
(`release.models`), the history (`release.deployments`), and when one may move (`stages.promotion`).

    environments/staging.json      which model is watched in the shadow
    environments/production.json   which model is used

A pointer takes its place whole (write, fsync, rename), so that a reader finds the old one or the
new one. The lock is one for all environments of a home; the kernel frees it when its holder dies.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from sensequant.errors import RecordError
from sensequant.release.deployment_records import EnvironmentName, Pointer
from sensequant.storage import locked, read_json, remove_unfinished, write_json

__all__ = ["alone", "pointer_path", "read_pointer", "write_pointer"]


def pointer_path(home: Path, environment: EnvironmentName) -> Path:
    """Return the file that says which model an environment uses."""
    return _folder(home) / f"{environment}.json"


def read_pointer(home: Path, environment: EnvironmentName) -> Pointer | None:
    """Return where an environment points; None where nothing was ever deployed.

    Raises
    ------
    RecordError
        The file is damaged.
    """
    path = pointer_path(home, environment)
    if not path.exists():
        return None
    try:
        found = Pointer.model_validate(read_json(path))
    except ValidationError as error:
        raise _damaged(path, str(error).splitlines()[0]) from error
    if found.environment is not environment:
        raise _damaged(path, f"the pointer of {found.environment}")
    return found


def write_pointer(home: Path, pointer: Pointer) -> None:
    """Move an environment to another model, whole or not at all.

    Raises
    ------
    StorageError
        It cannot be written; the environment stays where it was.
    """
    write_json(pointer_path(home, pointer.environment), pointer)


@contextmanager
def alone(home: Path) -> Generator[None]:
    """Let one process at a time move environments of a home, from its first look to its last."""
    with locked(_folder(home) / "pointers"):
        remove_unfinished(_folder(home))
        yield


def _folder(home: Path) -> Path:
    return home / "environments"


def _damaged(path: Path, found: str) -> RecordError:
    return RecordError(
        "pointer of an environment cannot be read",
        where=str(path),
        expected="a pointer that this version of sensequant wrote",
        found=found,
        remedy="restore it from a backup of the home",
    )
