"""Units of work that were done before: by which run, and with which files.

Belongs here: remembering what a unit made, and bringing it into another run. Does not belong here:
what a unit's result follows from; whoever does the unit says so by a key.

A key is the digest of everything that determines a unit's files. Under it lies a note with the run
that made them and their digests, no copy. What that run has lost or altered since is not taken:
the bytes are compared with the note before they are written anywhere.
"""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from sensequant.errors import RecordError
from sensequant.records import Outcome, Record
from sensequant.runs import RunFolder
from sensequant.storage import json_bytes, read_json, sha256_of_bytes, write_together
from sensequant.units import UnitRecord

__all__ = ["MadeBefore", "bring", "remember"]


class MadeBefore(Record):
    """What one unit made, by path below the folder of the run that made it; a skip made nothing."""

    run_id: str
    record: UnitRecord
    files: dict[str, str]

    @model_validator(mode="after")
    def _success_has_files(self) -> Self:
        if self.record.outcome is not Outcome.SKIPPED and not self.files:
            message = "a unit that was not skipped has files"
            raise ValueError(message)
        return self


def remember(folder: RunFolder, key: str, record: UnitRecord, files: dict[str, str]) -> None:
    """Note that this run holds the files of a unit.

    Parameters
    ----------
    folder
        The run.
    key
        Digest of all that determines the files, 64 hexadecimal digits.
    record
        The unit's record.
    files
        sha256 by path below the run folder.
    """
    made = MadeBefore(run_id=folder.run_id, record=record, files=files)
    # A note that a power cut has emptied is like none: the unit is done again.
    write_together({_note(folder.home, key): json_bytes(made)}, is_durable=False)


def bring(folder: RunFolder, key: str) -> MadeBefore | None:
    """Copy the files of a unit that an earlier run made into this one, unless they are here.

    Returns
    -------
    MadeBefore or None
        What was brought; None where no run has made it, or where its files are gone or altered.

    Raises
    ------
    StorageError
        The files cannot be written here.
    """
    note = _note(folder.home, key)
    if not note.exists():
        return None
    try:
        made = MadeBefore.model_validate(read_json(note))
    except (RecordError, ValueError):
        # Another version of sensequant wrote the note; the unit is done again and noted anew.
        return None
    if _intact(folder, made.files) is not None:
        return made
    contents = _intact(RunFolder(folder.home, made.run_id), made.files)
    if contents is None:
        return None
    # Records come last: a folder that holds its record is whole.
    ordered = sorted(contents, key=lambda path: (path.endswith(".json"), path))
    write_together({folder.root / path: contents[path] for path in ordered})
    return made


def _intact(source: RunFolder, files: dict[str, str]) -> dict[str, bytes] | None:
    contents: dict[str, bytes] = {}
    for path, sha256 in files.items():
        try:
            content = (source.root / path).read_bytes()
        except FileNotFoundError:
            return None
        if sha256_of_bytes(content) != sha256:
            return None
        contents[path] = content
    return contents


def _note(home: Path, key: str) -> Path:
    return home / "made" / key[:2] / f"{key}.json"
