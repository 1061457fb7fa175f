"""Facts about small tables that people hand over."""

import gzip
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from sensequant.errors import InvalidBarsError
from sensequant.market.user_tables import parse_dates, read_user_table

COLUMNS = {"old": ("old", "from"), "new": ("new",), "note": ("note",)}
NOTE = frozenset({"note"})


def test_columns_by_any_of_their_names(tmp_path: Path) -> None:
    """Case, blanks and a byte-order mark do not matter; other columns are left out."""
    path = tmp_path / "t.csv"
    path.write_text("\ufeff FROM , New,other\n A ,,1\nB,C,2\n", encoding="utf-8")

    table = read_user_table(path, COLUMNS, optional=NOTE)

    assert table.to_dict(as_series=False) == {
        "old": ["A", "B"],
        "new": [None, "C"],
        "note": [None, None],
    }


def test_packed_and_parquet_files(tmp_path: Path) -> None:
    """Numbers and dates of Parquet become text."""
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(b"old,new,note\nA,B,x\n"))
    parquet = tmp_path / "t.parquet"
    pl.DataFrame({"old": [1], "new": [date(2020, 1, 2)], "note": ["x"]}).write_parquet(parquet)

    assert read_user_table(packed, COLUMNS).rows() == [("A", "B", "x")]
    assert read_user_table(parquet, COLUMNS).rows() == [("1", "2020-01-02", "x")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.csv", None),
        ("empty.csv", b""),
        ("bytes.csv", b"old,new\n\xff\xfe,1\n"),
        ("no.parquet", b"no parquet"),
        ("less.csv", b"old,note\nA,B\n"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    """The message names the file and the columns."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InvalidBarsError, match="old, new, note") as caught:
        read_user_table(path, COLUMNS, optional=NOTE)
    assert caught.value.where == str(path)


def test_dates() -> None:
    """ISO or with the name of the month, a year of four digits, perhaps a time; else null."""
    texts = [
        "2022-12-05",
        "05-DEC-2022",
        "5-Dec-2022",
        "2022-12-05 00:00:00",
        str(datetime(2022, 12, 5)),  # noqa: DTZ001
        "05/12/2022",
        "05-Dec-22",
        "2022-13-05",
        None,
    ]
    frame = pl.DataFrame({"x": texts}, schema={"x": pl.String})

    assert frame.select(parse_dates("x"))["x"].to_list() == [date(2022, 12, 5)] * 5 + [None] * 4
