"""Facts about units that an earlier run made: brought when intact, done again when not."""

from pathlib import Path

import pytest

from sensequant.records import Outcome
from sensequant.reuse import bring, remember
from sensequant.runs import RunFolder
from sensequant.storage import sha256_of, write_atomically
from sensequant.units import UnitRecord

KEY = "ab" * 32
FILES = ("teachers/X/labels.parquet", "teachers/X/metadata.json", "teachers/X/model.txt")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[RunFolder, RunFolder]:
    """Return an earlier run that holds a unit's files and is noted for it, and a later run."""
    earlier = RunFolder(tmp_path, "live_candidate_20240101_000000_0000000a")
    later = RunFolder(tmp_path, "live_candidate_20240108_000000_0000000b")
    for name in FILES:
        write_atomically(earlier.root / name, name.encode())
    record = UnitRecord(kind="teacher", name="teacher X", outcome=Outcome.SUCCESS, seconds=1.0)
    files = {name: sha256_of(earlier.root / name) for name in FILES}
    remember(earlier, KEY, record, files)
    return earlier, later


def test_what_was_made_before_is_brought_byte_for_byte(
    folders: tuple[RunFolder, RunFolder],
) -> None:
    """All files stand in the later run as in the earlier one, and the record says from where."""
    earlier, later = folders

    made = bring(later, KEY)

    assert made is not None
    assert made.run_id == earlier.run_id
    assert made.record.name == "teacher X"
    for name in FILES:
        assert (later.root / name).read_bytes() == (earlier.root / name).read_bytes()


def test_another_key_brings_nothing(folders: tuple[RunFolder, RunFolder]) -> None:
    """What follows from other data, settings or code is not what is asked for."""
    _, later = folders

    assert bring(later, "cd" * 32) is None
    assert not later.root.exists()


@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_is_not_brought(folders: tuple[RunFolder, RunFolder], name: str) -> None:
    """One byte that differs from the note makes the unit be done again, whole."""
    earlier, later = folders
    (earlier.root / name).write_bytes(b"other")

    assert bring(later, KEY) is None
    assert not later.root.exists()


def test_a_lost_file_is_not_brought(folders: tuple[RunFolder, RunFolder]) -> None:
    """A run that was deleted since gives nothing."""
    earlier, later = folders
    (earlier.root / FILES[1]).unlink()

    assert bring(later, KEY) is None


def test_a_note_that_cannot_be_read_counts_as_none(folders: tuple[RunFolder, RunFolder]) -> None:
    """A note of another layout hides nothing: the unit is done again and noted anew."""
    _, later = folders
    note = later.home / "made" / KEY[:2] / f"{KEY}.json"
    note.write_text('{"schema_version": 1, "run": "x"}')

    assert bring(later, KEY) is None

    note.write_text("no JSON")

    assert bring(later, KEY) is None
