"""Facts about lists of sectors."""

from pathlib import Path

import pytest

from sensequant.errors import InvalidBarsError
from sensequant.market.sectors import SECTOR_SCHEMA, read_sectors


def file(folder: Path, text: str) -> Path:
    path = folder / "list.csv"
    path.write_text(text)
    return path


def test_the_list_of_an_index_is_read_as_nse_publishes_it(tmp_path: Path) -> None:
    """By `Industry`, in any order, blanks cut; a company that stands twice counts once."""
    text = (
        "Company Name,Industry,Symbol,Series,ISIN Code\n"
        "Tata Steel Ltd.,Metals & Mining,TATASTEEL,EQ,INE081A01020\n"
        "Mahindra & Mahindra Ltd., Automobile and Auto Components ,M&M,EQ,INE101A01026\n"
        "Tata Steel Ltd.,Metals & Mining,TATASTEEL,EQ,INE081A01020\n"
    )
    sectors = read_sectors(file(tmp_path, text))

    assert sectors.schema == SECTOR_SCHEMA
    assert sectors.rows() == [
        ("M&M", "Automobile and Auto Components"),
        ("TATASTEEL", "Metals & Mining"),
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("", "at least one symbol"),
        ("../up,Power\n", "an NSE symbol"),
        (",Power\n", "an NSE symbol"),
        ("AAA,\n", "a sector for each symbol"),
        ("AAA,Power\nAAA,Metals\n", "one sector for a symbol"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, rows: str, expected: str) -> None:
    """What was expected and what was found; nothing is guessed."""
    with pytest.raises(InvalidBarsError, match="list of sectors is wrong") as caught:
        read_sectors(file(tmp_path, "symbol,sector\n" + rows))

    assert caught.value.expected == expected


def test_a_list_without_sectors_is_no_list(tmp_path: Path) -> None:
    """A column must name them."""
    with pytest.raises(InvalidBarsError, match="table cannot be used"):
        read_sectors(file(tmp_path, "symbol,isin\nAAA,INE081A01020\n"))
