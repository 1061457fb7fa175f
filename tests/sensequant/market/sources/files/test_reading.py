"""Facts about opening one CSV file."""

import gzip
import hashlib
import re
from pathlib import Path

import pytest

from sensequant.errors import InvalidBarsError, MissingBarsError
from sensequant.market.sources.files.reading import csv_stem, normalised, read_csv_file


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
