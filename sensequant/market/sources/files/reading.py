"""Bytes of one CSV file, plain, gzipped or zipped, to a table of texts.

Belongs here: opening, unpacking and parsing one file, and the errors of a file that is damaged.
Does not belong here: what the columns mean (`layouts`).

Every cell stays text: whether it is a number is decided, row by row, by `market.quality`. A zip
archive holds one CSV file, as NSE packs its bhavcopies.
"""

import csv
import gzip
import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import polars as pl

from sensequant.errors import InvalidBarsError, MissingBarsError

__all__ = ["CSV_SUFFIXES", "CsvFile", "csv_stem", "normalised", "read_csv_file", "read_csv_head"]

CSV_SUFFIXES = (".csv.gz", ".csv")

_N_HEAD_BYTES = 1 << 15
_GZIP_WINDOW = 31


class CsvFile(NamedTuple):
    """A table of texts with normalised column names, and the sha256 of the file's bytes."""

    table: pl.DataFrame
    sha256: str


def csv_stem(path: Path) -> str | None:
    """Return the file's name without `.csv` or `.csv.gz`, or None if it is no CSV file."""
    for suffix in CSV_SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return None


def normalised(name: str) -> str:
    """Return a column's name without outer blanks and byte-order mark, in lower case."""
    return name.strip("\ufeff \t\"'").lower()


def read_csv_file(path: Path) -> CsvFile:
    """Read one CSV file, plain, gzipped or zipped.

    Raises
    ------
    InvalidBarsError
        The file cannot be read, is a damaged archive, or is no CSV table.
    MissingBarsError
        It holds no row.
    """
    packed = _bytes_of(path)
    table = _parsed(_unpacked(packed, path), path)
    if table.is_empty():
        raise MissingBarsError(
            "file has a header and no rows" if table.width else "file is empty",
            where=str(path),
            expected="at least one row of bars",
            found=", ".join(table.columns) or "no bytes",
            remedy="fetch the file again or remove it",
        )
    names = [normalised(name) for name in table.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _unreadable(path, "two columns have one name", ", ".join(twice))
    return CsvFile(table.rename(dict(zip(table.columns, names, strict=True))), _sha256(packed))


def read_csv_head(path: Path) -> pl.DataFrame | None:
    """Return the first rows of a CSV file, plain or gzipped, or None where that is not possible.

    It serves to tell what a file holds before it is asked for; why a file cannot be read is told
    by `read_csv_file`, which reads all of it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_N_HEAD_BYTES)
        if path.name.endswith(".gz"):
            content = zlib.decompressobj(_GZIP_WINDOW).decompress(content, 2 * _N_HEAD_BYTES)
        whole_lines = content[: content.rfind(b"\n") + 1] or content
        table = pl.read_csv(io.BytesIO(whole_lines), infer_schema=False)
    except (OSError, zlib.error, pl.exceptions.PolarsError, UnicodeError):
        return None
    names = [normalised(name) for name in table.columns]
    if len(set(names)) < len(names):
        return None
    return table.rename(dict(zip(table.columns, names, strict=True)))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, "file cannot be opened", error.strerror or str(error)) from error


def _unpacked(packed: bytes, path: Path) -> bytes:
    try:
        if path.suffix == ".zip":
            return _only_member(packed, path)
        return gzip.decompress(packed) if path.suffix == ".gz" else packed
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        # RuntimeError is how zipfile refuses an encrypted member.
        raise _unreadable(path, "archive is damaged or cut off", str(error)) from error


def _only_member(packed: bytes, path: Path) -> bytes:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        names = archive.namelist()
        if len(names) != 1 or not names[0].lower().endswith(".csv"):
            raise _unreadable(path, "archive does not hold one CSV file", ", ".join(names) or "-")
        return archive.read(names[0])


def _parsed(content: bytes, path: Path) -> pl.DataFrame:
    try:
        table = pl.read_csv(io.BytesIO(content), infer_schema=False)
    except pl.exceptions.NoDataError:
        return pl.DataFrame()
    except (pl.exceptions.PolarsError, UnicodeError) as error:
        raise _unreadable(path, "file is no CSV table", str(error).splitlines()[0]) from error
    _require_whole_end(content, n_columns=table.width, path=path)
    return table


def _require_whole_end(content: bytes, *, n_columns: int, path: Path) -> None:
    # The parser fills missing cells with null, so a row cut inside a number would pass for whole.
    last = content.rstrip().rpartition(b"\n")[2].decode()
    n_cells = len(next(csv.reader([last]), ()))
    if n_cells < n_columns:
        raise _unreadable(
            path, "file is cut off in its last row", f"{n_cells} of {n_columns} cells: {last[:80]}"
        )


def _unreadable(path: Path, what: str, found: str) -> InvalidBarsError:
    return InvalidBarsError(
        what,
        where=str(path),
        expected="a CSV table in UTF-8, plain, gzipped or alone in a zip archive",
        found=found,
        remedy="fetch the file again or remove it",
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
