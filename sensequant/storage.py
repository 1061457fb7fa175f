"""How bytes reach the disk: atomically, durably, one writer at a time, with digests.

Belongs here: writing, reading back and locking of files and folders. Does not belong here: what is
in them (`market.store`, `runs`).
"""

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from sensequant.errors import RecordError, SchemaVersionError, StorageError

__all__ = [
    "json_bytes",
    "locked",
    "read_json",
    "read_table",
    "remove_unfinished",
    "sha256_of",
    "sha256_of_bytes",
    "table_bytes",
    "write_atomically",
    "write_folder",
    "write_json",
    "write_table",
    "write_tables",
    "write_together",
]

# Arrow has no stubs.
_arrow: Any = pa
_parquet: Any = pq

_N_SYNCED_AT_ONCE = 8
_READ_ONLY = 0o400
_N_RANDOM = 8
"""Characters at the end of a temporary name (`tempfile.mkstemp`)."""

_SCHEMA_VERSION_KEY = "sensequant.schema_version"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: temporary file in the same folder, fsync, rename.

    Raises
    ------
    StorageError
        The disk is full or the folder cannot be written; nothing half-written stays.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes], *, is_durable: bool = True) -> None:
    """Write several files, each of them whole or not at all, and wait for the disk once for all.

    The files take their places in the given order; whoever dies in between has written the first
    of them.

    Parameters
    ----------
    contents
        What to write, by path.
    is_durable
        Whether to wait for the disk. Without it a file may be empty or gone after the machine has
        lost its power (never after a kill): for what its reader can do without.

    Raises
    ------
    StorageError
        The disk is full or a folder cannot be written; nothing half-written stays.
    """
    _write_in_turn(contents.items(), is_durable=is_durable)


def _write_in_turn(contents: Iterable[tuple[Path, bytes]], *, is_durable: bool) -> None:
    staged: dict[Path, Path] = {}
    paths: list[Path] = []
    syncing: list[Future[None]] = []
    try:
        for path, content in contents:
            paths.append(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            staged[path] = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            if is_durable:
                # The disk is busy with this file while the next one is made.
                syncing.append(_syncing().submit(_sync_one, staged[path]))
        for synced in syncing:
            synced.result()
        for path, temporary in staged.items():
            temporary.replace(path)
        if is_durable:
            _sync(dict.fromkeys(path.parent for path in staged))
    except OSError as error:
        raise StorageError(
            "file was not written",
            where=", ".join(map(str, paths)),
            expected="a writable folder with free space",
            found=error.strerror or str(error),
            remedy="free space or choose another SENSEQUANT_HOME, then run again",
        ) from error
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write a whole folder that nobody shall alter, or nothing: another name, fsync, rename.

    Parameters
    ----------
    folder
        Its place, where nothing is yet.
    contents
        What to write, by path below it.

    Raises
    ------
    StorageError
        Something is there already, the disk is full, or the place cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        paths = {staged / name: content for name, content in contents.items()}
        write_together(paths)
        for path in paths:
            path.chmod(_READ_ONLY)
        staged.rename(folder)
        _sync([folder.parent])
    except OSError as error:
        raise StorageError(
            "folder was not written",
            where=str(folder),
            expected="a writable place with free space, where nothing is yet",
            found=error.strerror or str(error),
            remedy="free space, or move away what is there, then run again",
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def remove_unfinished(folder: Path, name: str = "") -> None:
    """Remove what killed writers have left in a folder; its caller holds the lock that they held.

    Parameters
    ----------
    folder
        Where to look; it need not be there.
    name
        Name of the file that was written; empty for all files of the folder.
    """
    written = glob.escape(name) if name else "*"
    for path in folder.glob(f".{written}.{'?' * _N_RANDOM}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_json(path: Path, value: BaseModel | Any) -> None:
    """Write a record or plain value as `json_bytes` says."""
    write_atomically(path, json_bytes(value))


def json_bytes(value: BaseModel | Any) -> bytes:
    """Return a record or plain value as indented JSON, keys in the order of the model."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    RecordError
        The file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RecordError(
            "record cannot be read",
            where=str(path),
            expected="a JSON file of this project",
            found=str(error),
            remedy="run the stage that writes it again",
        ) from error


def write_table(path: Path, frame: pl.DataFrame, *, schema_version: int = 1) -> None:
    """Write a frame as `table_bytes` says."""
    write_atomically(path, table_bytes(frame, schema_version=schema_version))


def write_tables(tables: Mapping[Path, pl.DataFrame], *, schema_version: int = 1) -> None:
    """Write several frames as `write_table` does, and wait for the disk once for all."""
    contents = (
        (path, table_bytes(frame, schema_version=schema_version)) for path, frame in tables.items()
    )
    _write_in_turn(contents, is_durable=True)


def table_bytes(frame: pl.DataFrame, *, schema_version: int = 1) -> bytes:
    """Return a frame as Parquet (Snappy) with its schema version; equal frames give equal bytes."""
    # Arrow writes a table of some hundred rows in two thirds of the time that polars takes; a
    # chunk of bars becomes several of them.
    table = _arrow_table(frame).replace_schema_metadata({_SCHEMA_VERSION_KEY: str(schema_version)})
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    sink = _arrow.BufferOutputStream()
    _parquet.write_table(table, sink, compression="snappy", use_dictionary=texts)
    return sink.getvalue().to_pybytes()


def _arrow_table(frame: pl.DataFrame) -> Any:
    if any(dtype.is_nested() for dtype in frame.dtypes):
        # Arrow cannot write a part of a list of texts as polars keeps them.
        oldest = pl.CompatLevel.oldest()
        return frame.to_arrow(compat_level=oldest)  # pyright: ignore[reportUnknownVariableType]
    return _arrow.table(frame)


def read_table(path: Path, *, schema_version: int = 1) -> pl.DataFrame:
    """Read a Parquet table that `write_table` wrote.

    Raises
    ------
    RecordError
        The file is missing or damaged.
    SchemaVersionError
        It was written with another schema version.
    """
    try:
        found = pl.read_parquet_metadata(path).get(_SCHEMA_VERSION_KEY)
        frame = pl.read_parquet(path, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RecordError(
            "table cannot be read",
            where=str(path),
            expected="a Parquet file of this project",
            found=str(error).splitlines()[0],
            remedy="run the stage that writes it again",
        ) from error
    if found != str(schema_version):
        raise SchemaVersionError(
            "table has another schema version",
            where=str(path),
            expected=str(schema_version),
            found=str(found),
            remedy="write it again with this version of sensequant",
        )
    return frame


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_bytes(content: bytes) -> str:
    """Return the sha256 of bytes, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold an exclusive lock on `path`.lock; the kernel frees it when its holder dies."""
    with _lock_file(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _lock_file(path: Path) -> IO[str]:
    name = path.with_name(f".{path.name}.lock")
    try:
        return name.open("w")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return name.open("w")


def _sync(paths: Iterable[Path]) -> None:
    places = list(paths)
    if len(places) == 1:
        _sync_one(places[0])
    elif places:
        # The disk serves several requests in the time of one; a few at once are enough.
        list(_syncing().map(_sync_one, places))


@cache
def _syncing() -> ThreadPoolExecutor:
    # Making threads for each few files would take longer than they save.
    return ThreadPoolExecutor(_N_SYNCED_AT_ONCE, thread_name_prefix="sync")


# A child that was forked has none of the threads.
os.register_at_fork(after_in_child=_syncing.cache_clear)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
