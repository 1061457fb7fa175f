"""Facts about opening one CSV file."""

import gzip
import hashlib
import io
import re
import zipfile
from pathlib import Path

import pytest

from sensequant.errors import InvalidBarsError, MissingBarsError
from sensequant.market.sources.files.reading import (
    csv_stem,
    normalised,
    read_csv_file,
    read_csv_head,
)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("M&M.csv.gz", "M&M"), ("TCS.csv", "TCS"), ("README.md", None), ("TCS.csv.zip", None)],
)
def test_stems(name: str, stem: str | None) -> None:
    """The name without its suffix is the symbol; other files are none."""
    assert csv_stem(Path(name)) == stem


def test_normalised_names() -> None:
    """Blanks, case and a byte-order mark are no part of a column's name."""
    assert normalised("\ufeff Date ") == "date"


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_table_of_texts(tmp_path: Path, *, is_packed: bool) -> None:
    """Cells stay as they are delivered; the digest is that of the file's bytes."""
    content = '\ufeffDate ,Open\r\n2024-01-01," 1,990.05"\r\nx,\r\n'.encode()
    path = tmp_path / ("a.csv.gz" if is_packed else "a.csv")
    path.write_bytes(gzip.compress(content, mtime=0) if is_packed else content)

    table, sha256 = read_csv_file(path)

    assert table.to_dict(as_series=False) == {
        "date": ["2024-01-01", "x"],
        "open": [" 1,990.05", None],
    }
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def test_the_one_file_in_a_zip_archive_is_read(tmp_path: Path) -> None:
    """NSE packs a bhavcopy so; the digest is that of the archive."""
    path = tmp_path / "a.csv.zip"
    path.write_bytes(zipped(b_csv=b"a,b\n1,2\n"))

    table, sha256 = read_csv_file(path)

    assert table.to_dict(as_series=False) == {"a": ["1"], "b": ["2"]}
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def encrypted() -> bytes:
    content = bytearray(zipped(b_csv=b"a,b\n1,2\n"))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    return bytes(content)


PACKED = gzip.compress(b"a,b\n" + b"1,2\n" * 5000, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("a.csv", b"", MissingBarsError, "file is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), MissingBarsError, "file is empty"),
        ("a.csv", b"date,open\n", MissingBarsError, "header and no rows"),
        ("a.csv.gz", PACKED[: len(PACKED) // 2], InvalidBarsError, "damaged or cut off"),
        ("a.csv.gz", PACKED[:-9] + b"123456789", InvalidBarsError, "damaged or cut off"),
        ("a.csv.gz", PACKED[:12] + bytes(20) + PACKED[32:], InvalidBarsError, "damaged or cut off"),
        ("a.csv.gz", b"date,open\n1,2\n", InvalidBarsError, "damaged or cut off"),
        ("a.zip", b"PK\x03\x04 and no more", InvalidBarsError, "damaged or cut off"),
        ("a.zip", encrypted(), InvalidBarsError, "damaged or cut off.*encrypted"),
        ("a.zip", zipped(), InvalidBarsError, "does not hold one CSV"),
        ("a.zip", zipped(a_csv=b"a\n1", b_csv=b"a\n1"), InvalidBarsError, "a.csv, b.csv"),
        ("a.zip", zipped(a_txt=b"a\n1"), InvalidBarsError, "a.txt"),
        ("a.csv", b"a,b\n1,2,3,4\n", InvalidBarsError, "no CSV table"),
        ("a.csv", b"a,b\n\xff\xfe,2\n", InvalidBarsError, "no CSV table"),
        ("a.csv", b"a, A\n1,2\n", InvalidBarsError, "one name"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_bad_files_say_what_is_wrong(
    tmp_path: Path, name: str, content: bytes, error: type[Exception], words: str
) -> None:
    """The error names the file, what it was and what to do."""
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(error, match=words) as raised:
        read_csv_file(path)

    assert re.search(re.escape(str(path)) + ".*what to do", str(raised.value))


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """A folder with a file's name is no file."""
    (tmp_path / "a.csv").mkdir()

    with pytest.raises(InvalidBarsError, match="cannot be opened"):
        read_csv_file(tmp_path / "a.csv")


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_file_cut_inside_its_last_row_is_refused(tmp_path: Path, cut: int) -> None:
    """A parser that fills missing cells must not make a bar of half a row."""
    whole = "date,open,volume,value\n2024-01-01,1.0,1000,7\n2024-01-02,1.0,1000,7\n"
    path = tmp_path / "A.csv"
    path.write_text(whole[: len(whole) - 3 - cut])

    with pytest.raises(InvalidBarsError, match="cut off in its last row"):
        read_csv_file(path)


@pytest.mark.parametrize("is_packed", [True, False])
def test_the_head_of_a_long_file(tmp_path: Path, *, is_packed: bool) -> None:
    """Whole rows of the beginning, without the rest being read."""
    rows = [f"{n},{n * n}" for n in range(100_000)]
    content = "\n".join(["\ufeffA, B", *rows]).encode()
    path = tmp_path / ("a.csv.gz" if is_packed else "a.csv")
    path.write_bytes(gzip.compress(content) if is_packed else content)

    head = read_csv_head(path)

    assert head is not None
    assert 100 < head.height < 20_000
    assert head.rows() == [tuple(row.split(",")) for row in rows[: head.height]]
    assert head.columns == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b""),
        ("a.csv.gz", b"a,b\n1,2\n"),
        ("a.csv", b"a,b\n1,2,3,4\n"),
        ("a.csv", b"a,b\n\xff\xfe,2\n"),
        ("a.csv", b"a, A\n1,2\n"),
    ],
)
def test_a_file_without_a_readable_head(tmp_path: Path, name: str, content: bytes) -> None:
    """The head of a damaged file is None; the reader of the whole file says what is wrong."""
    path = tmp_path / name
    path.write_bytes(content)

    assert read_csv_head(path) is None
    assert read_csv_head(tmp_path / "absent.csv") is None


def test_the_head_of_a_single_line_without_an_end(tmp_path: Path) -> None:
    """A file that ends inside its first line still has its header."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b")

    head = read_csv_head(path)

    assert head is not None
    assert (head.columns, head.height) == (["a", "b"], 0)
