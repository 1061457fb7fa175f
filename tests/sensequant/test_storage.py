"""Atomic, durable, exclusive writing: all of a file or nothing of it."""

import errno
import hashlib
import os
import tempfile
import threading
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sensequant.errors import RecordError, SchemaVersionError, StorageError
from sensequant.records import Record
from sensequant.storage import (
    locked,
    read_json,
    read_table,
    remove_unfinished,
    sha256_of,
    write_atomically,
    write_folder,
    write_json,
    write_table,
    write_tables,
    write_together,
)


class Sample(Record):
    """A record of one number."""

    value: int


def test_a_written_file_holds_the_bytes_and_nothing_else_stays(tmp_path: Path) -> None:
    """After a write the folder holds exactly the file."""
    write_atomically(tmp_path / "deep" / "a.bin", b"123")

    assert (tmp_path / "deep" / "a.bin").read_bytes() == b"123"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.bin"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """When the disk is full the former content stays and no temporary file remains."""
    path = tmp_path / "a.bin"
    write_atomically(path, b"old")

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), full)
    with pytest.raises(StorageError, match="No space left on device"):
        write_atomically(path, b"new")

    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    """A path that cannot become a folder is named."""
    (tmp_path / "f").write_text("x")

    with pytest.raises(StorageError, match="file was not written"):
        write_atomically(tmp_path / "f" / "a", b"")


def test_json_survives_a_round_trip(tmp_path: Path) -> None:
    """Records and plain values are read back as they were written."""
    write_json(tmp_path / "a.json", Sample(value=3))
    write_json(tmp_path / "b.json", [1, 2])

    assert Sample.model_validate(read_json(tmp_path / "a.json")) == Sample(value=3)
    assert read_json(tmp_path / "b.json") == [1, 2]


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe"])
def test_unreadable_json_is_a_record_error(tmp_path: Path, content: bytes | None) -> None:
    """Missing, cut and non-text files are told apart from records."""
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(RecordError, match="record cannot be read"):
        read_json(path)


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    """Writing the same frame twice gives the same file."""
    frame = pl.DataFrame({"a": [1.5, None], "b": ["x", "y"]})
    write_table(tmp_path / "a.parquet", frame)
    write_table(tmp_path / "b.parquet", frame.clone())

    assert sha256_of(tmp_path / "a.parquet") == sha256_of(tmp_path / "b.parquet")
    assert read_table(tmp_path / "a.parquet").equals(frame)


def test_a_table_of_another_schema_version_is_refused(tmp_path: Path) -> None:
    """A reader never takes a table of another layout for its own."""
    write_table(tmp_path / "a.parquet", pl.DataFrame({"a": [1]}), schema_version=2)

    with pytest.raises(SchemaVersionError, match="expected: 1; found: 2"):
        read_table(tmp_path / "a.parquet")


@pytest.mark.parametrize("content", [None, b"PAR1"])
def test_a_damaged_table_is_a_record_error(tmp_path: Path, content: bytes | None) -> None:
    """A missing or truncated table is named."""
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(RecordError, match="table cannot be read"):
        read_table(path)


def test_a_digest_is_that_of_sha256(tmp_path: Path) -> None:
    """The digest is the one of the standard tool."""
    (tmp_path / "a").write_bytes(b"abc")

    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_only_one_writer_holds_a_lock(tmp_path: Path) -> None:
    """Two threads that add to one number under the lock lose nothing."""
    path = tmp_path / "n"
    path.write_text("0")

    def add() -> None:
        for _ in range(50):
            with locked(path):
                path.write_text(str(int(path.read_text()) + 1))

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert path.read_text() == "100"


def test_several_files_are_written_in_their_order(tmp_path: Path) -> None:
    """All are there, in any folders, and nothing else stays."""
    paths = [tmp_path / "b" / "1", tmp_path / "a" / "2", tmp_path / "b" / "3"]
    write_together({path: path.name.encode() for path in paths})

    assert [path.read_bytes() for path in paths] == [b"1", b"2", b"3"]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(paths)
    write_together({})


def test_of_several_files_each_is_whole_when_the_disk_refuses_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has taken its place, the second keeps its former content, no rest remains."""
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second):
        write_atomically(path, b"old")
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target == second:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(StorageError, match="second"):
        write_together({first: b"new", second: b"new"})

    assert (first.read_bytes(), second.read_bytes()) == (b"new", b"old")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_tables_written_together_are_those_written_alone(tmp_path: Path) -> None:
    """Byte for byte."""
    frame = pl.DataFrame({"a": [1, 2]})
    write_table(tmp_path / "alone", frame)
    write_tables({tmp_path / "one": frame, tmp_path / "other": frame})

    contents = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(contents) == 1


def test_what_a_killed_writer_has_left_can_be_removed(tmp_path: Path) -> None:
    """Its temporary files go, of one file or of all; tables, locks and other hidden files stay."""
    for name in ("a.parquet", ".hidden", ".gitignore.d"):
        (tmp_path / name).write_text("stays")
    with locked(tmp_path / "a.parquet"):
        stays = sorted(path.name for path in tmp_path.iterdir())
    for path in ("a.parquet", "b.parquet"):
        handle, _ = tempfile.mkstemp(dir=tmp_path, prefix=f".{path}.")
        os.close(handle)

    remove_unfinished(tmp_path, "a.parquet")
    of_b = [path.name for path in tmp_path.iterdir() if path.name not in stays]
    remove_unfinished(tmp_path)
    remove_unfinished(tmp_path / "nowhere")

    assert [name.startswith(".b.parquet.") for name in of_b] == [True]
    assert sorted(path.name for path in tmp_path.iterdir()) == stays


def test_folder_is_written_whole_and_read_only(tmp_path: Path) -> None:
    """With all that is below it; nothing else lies beside it."""
    folder = tmp_path / "new" / "folder"

    write_folder(folder, {"one": b"1", "below/two": b"2"})

    assert {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    } == {"one": b"1", "below/two": b"2"}
    assert all(path.stat().st_mode & 0o222 == 0 for path in folder.rglob("*") if path.is_file())
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


def test_folder_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    """The error says where; what was there stays, and nothing half-written does."""
    write_folder(tmp_path / "folder", {"one": b"1"})

    with pytest.raises(StorageError, match="folder was not written"):
        write_folder(tmp_path / "folder", {"two": b"2"})
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "one"]


def test_unfinished_folders_are_removed(tmp_path: Path) -> None:
    """As unfinished files are."""
    (tmp_path / ".folder.abcd1234" / "below").mkdir(parents=True)
    (tmp_path / ".folder.abcd1234" / "below" / "one").write_bytes(b"1")
    (tmp_path / "folder").mkdir()

    remove_unfinished(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_table_keeps_every_type_and_nothing(tmp_path: Path) -> None:
    """Also nulls, slices, lists, and columns without a row."""
    at = datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "text": ["a", None, "b"],
            "small": pl.Series([1, None, 3], dtype=pl.Int8),
            "real": [0.1, None, float("nan")],
            "single": pl.Series([0.1, None, 2.0], dtype=pl.Float32),
            "flag": [True, None, False],
            "day": [date(2024, 1, 2), None, date(2024, 1, 3)],
            "hour": [wall(9, 15), None, wall(15, 30)],
            "instant": pl.Series([at, None, at], dtype=pl.Datetime("us", "UTC")),
            "wait": pl.Series([timedelta(seconds=1), None, None], dtype=pl.Duration("us")),
            "names": [["a", "b"], None, []],
            "pair": [{"x": 1, "y": "p"}, None, {"x": None, "y": None}],
        }
    )
    for part in (frame, frame[1:], frame.clear(), pl.concat([frame, frame])):
        write_table(tmp_path / "table", part)
        assert_frame_equal(read_table(tmp_path / "table"), part)
