"""Facts about NSE's lists of actions and of changed names."""

from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from sensequant.errors import InvalidBarsError
from sensequant.market.actions import ACTION_SCHEMA, settle_actions
from sensequant.market.sources.files.action_files import (
    CONFIRMED_FILE,
    read_actions,
    read_confirmed_actions,
    read_listed_subjects,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    listed = {
        "symbol": ["TMPV", "LTM", "LTM", " TCS", "INFY"],
        "series": ["EQ"] * 5,
        "subject": ["Demerger", "Bonus 1:1", "Bonus 1:2", "Bonus 1:1", "Dividend - Rs 5"],
        "exDate": [
            datetime(2025, 10, 14),  # noqa: DTZ001
            datetime(2020, 1, 6),  # noqa: DTZ001
            datetime(2024, 1, 5),  # noqa: DTZ001
            datetime(2018, 5, 31),  # noqa: DTZ001
            datetime(2018, 5, 31),  # noqa: DTZ001
        ],
    }
    pl.DataFrame(listed).write_parquet(tmp_path / "corporate_actions.parquet")
    return tmp_path / "corporate_actions.parquet"


def test_actions_that_move_prices_are_read(path: Path) -> None:
    """An ex-date is a date, and a symbol has no blanks."""
    actions = read_actions(path)

    assert actions.select("symbol", "ex_date", "kind", "price_ratio").rows() == [
        ("INFY", date(2018, 5, 31), "dividend", None),
        ("LTM", date(2020, 1, 6), "bonus", 0.5),
        ("LTM", date(2024, 1, 5), "bonus", 2 / 3),
        ("TCS", date(2018, 5, 31), "bonus", 0.5),
        ("TMPV", date(2025, 10, 14), "demerger", None),
    ]
    assert actions["source"].unique().to_list() == ["nse_corporate_actions"]


def test_former_names_have_the_actions_before_the_change(path: Path) -> None:
    """LTI became LTIM and then LTM; TATAMOTORS became TMPV ten days after the demerger."""
    changes = {
        "company": ["a", "b", "c", "d"],
        "old": ["LTI ", "LTIM", "TATAMOTORS", "X"],
        "new": ["LTIM", " LTM", "TMPV", "TCS"],
        "date": ["05-DEC-2022", "27-FEB-2026", "24-OCT-2025", "never"],
    }
    pl.DataFrame(changes).write_parquet(path.with_name("symbolchange.parquet"))

    actions = read_actions(path)

    assert set(actions.select("symbol", "ex_date").rows()) == {
        ("LTM", date(2020, 1, 6)),
        ("LTM", date(2024, 1, 5)),
        ("LTIM", date(2020, 1, 6)),
        ("LTIM", date(2024, 1, 5)),
        ("LTI", date(2020, 1, 6)),
        ("TCS", date(2018, 5, 31)),
        ("INFY", date(2018, 5, 31)),
        ("TMPV", date(2025, 10, 14)),
        ("TATAMOTORS", date(2025, 10, 14)),
    }


def test_lists_that_cannot_be_used_are_named(path: Path) -> None:
    """A file without the columns, and a file that is no Parquet, are refused by name."""
    pl.DataFrame({"old": ["A"]}).write_parquet(path.with_name("symbolchange.parquet"))
    with pytest.raises(InvalidBarsError, match=r"symbolchange\.parquet"):
        read_actions(path)

    pl.DataFrame({"symbol": ["A"]}).write_parquet(path)
    with pytest.raises(InvalidBarsError, match=r"corporate_actions\.parquet.*found: symbol"):
        read_actions(path)

    path.write_bytes(b"nonsense")
    with pytest.raises(InvalidBarsError, match=r"corporate_actions\.parquet"):
        read_actions(path)


HEADER = '"SYMBOL","COMPANY NAME","SERIES","PURPOSE","FACE VALUE","EX-DATE","RECORD DATE"'


def downloaded(folder: Path, *lines: str, header: str = HEADER, name: str = "CF-CA.csv") -> Path:
    place = folder / name
    place.write_text("\ufeff" + "\n".join([header, *lines]) + "\n", encoding="utf-8")
    return place


def test_the_download_of_nse_is_read(tmp_path: Path) -> None:
    """The CSV gives the face value, with which rights have a price and percentages an amount."""
    place = downloaded(
        tmp_path,
        '"AAA","A Limited","EQ"," Rights 1:5 @ Premium Rs 90/-","10","22-Sep-2026","22-Sep-2026"',
        '"BBB ","B Limited","EQ","Dividend - 45%","2","01-Jan-2009","-"',
        '"CCC","C Limited","EQ","Bonus 1:1","-","03-Feb-2020","-"',
        '"DDD","D Limited","EQ","Bonus 1:1","10","-","-"',
        '"","E Limited","EQ","Bonus 1:1","10","03-Feb-2020","-"',
    )

    assert read_actions(place).select(
        "symbol", "ex_date", "kind", "price_ratio", "amount_inr"
    ).rows() == [
        ("AAA", date(2026, 9, 22), "rights", None, 100.0),
        ("BBB", date(2009, 1, 1), "dividend", None, 0.9),
        ("CCC", date(2020, 2, 3), "bonus", 0.5, None),
    ]


def test_headers_of_older_downloads_are_read(tmp_path: Path) -> None:
    """Blanks in the header, FACE VALUE(RS.), or no face value at all."""
    old = downloaded(
        tmp_path,
        'AAA,"Rights 1:5 @ Premium Rs 90",10,22-Sep-2016',
        header='"SYMBOL ","PURPOSE ","FACE VALUE(RS.)","EX-DATE "',
    )
    bare = downloaded(
        tmp_path, "AAA,Bonus 1:1,22-Sep-2016", header="SYMBOL,PURPOSE,EX-DATE", name="b.csv"
    )

    assert read_actions(old)["amount_inr"].to_list() == [100.0]
    assert read_actions(bare)["price_ratio"].to_list() == [0.5]


def test_every_line_is_kept_for_counting(path: Path) -> None:
    """The list as it stands, whatever a line says."""
    lines = read_listed_subjects(path)

    assert lines.height == 5
    assert lines.columns == ["symbol", "ex_date", "subject", "face_value_inr"]


CONFIRMED_HEADER = "symbol,ex_date,kind,price_ratio,evidence"


def confirm(folder: Path, *lines: str, header: str = CONFIRMED_HEADER) -> Path:
    place = folder / CONFIRMED_FILE
    place.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return place


def test_what_a_person_confirmed_is_merged(path: Path) -> None:
    """It replaces what the list says of that day, and the list keeps the rest."""
    confirm(
        path.parent,
        "TMPV,2025-10-14,demerger,0.6,the company's notice",
        "SBIN,2014-11-20,split,0.1,circular",
    )

    settled = settle_actions(read_actions(path))

    held = settled.filter(pl.col("symbol").is_in(["TMPV", "SBIN", "TCS"]))
    assert held.select("symbol", "kind", "price_ratio", "subject", "source").rows() == [
        ("SBIN", "split", 0.1, "circular", "confirmed"),
        ("TCS", "bonus", 0.5, "Bonus 1:1", "nse_corporate_actions"),
        ("TMPV", "demerger", 0.6, "the company's notice", "confirmed"),
    ]


def test_confirmed_actions_have_the_schema_of_all(tmp_path: Path) -> None:
    """An amount may stand instead of a ratio, in a column of its own."""
    place = confirm(
        tmp_path,
        "A,2020-01-06,dividend,,annual report,12.5",
        "B,2020-01-07,split,0.5,circular,",
        header=f"{CONFIRMED_HEADER},amount_inr",
    )

    actions = read_confirmed_actions(place)

    assert actions.schema == ACTION_SCHEMA
    assert actions.select("price_ratio", "ratio_source", "amount_inr").rows() == [
        (None, None, 12.5),
        (0.5, "confirmed", None),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "A,2020-01-06,split,0.5,",
        "A,6th of January,split,0.5,circular",
        "A,2020-01-06,split,,circular",
        "A,2020-01-06,split,half,circular",
        "A,2020-01-06,,0.5,circular",
        ",2020-01-06,split,0.5,circular",
    ],
)
def test_a_confirmation_is_complete(tmp_path: Path, line: str) -> None:
    """Without symbol, date, kind, a number or evidence it confirms nothing; the line is named."""
    place = confirm(tmp_path, "B,2020-01-06,split,0.5,circular", line)

    with pytest.raises(InvalidBarsError, match=r"not complete.*confirmed_actions\.csv, line 3"):
        read_confirmed_actions(place)


def test_an_amount_that_is_no_number_is_refused(tmp_path: Path) -> None:
    """It is not taken for an amount that is not known."""
    place = confirm(
        tmp_path,
        "B,2020-01-06,dividend,,report,twelve",
        header=f"{CONFIRMED_HEADER},amount_inr",
    )

    with pytest.raises(InvalidBarsError, match="not complete"):
        read_confirmed_actions(place)


def test_a_confirmation_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    """A slip in the kind would do something else to the price."""
    with pytest.raises(InvalidBarsError, match="unknown kind"):
        read_confirmed_actions(confirm(tmp_path, "A,2020-01-06,splitt,0.5,circular"))


def test_csv_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """Another header, an empty file and a folder are refused by name."""
    with pytest.raises(
        InvalidBarsError, match=r"CF-CA\.csv.*symbol, ex_date, subject.*found: .*a, b"
    ):
        read_actions(downloaded(tmp_path, header="a,b"))

    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(InvalidBarsError, match=r"empty\.csv"):
        read_actions(empty)


@pytest.mark.real_data
def test_the_real_list_is_read(real_data: Path) -> None:
    """Of 24,906 lines, these many say what moved a price, by kind."""
    path = real_data / "corporate_actions" / "corporate_actions.parquet"
    now = read_actions(path).filter(
        pl.col("symbol").is_in(read_listed_subjects(path)["symbol"].implode())
    )

    n_of = dict(now.group_by("kind").len().rows())
    assert n_of["dividend"] > 14_000
    assert n_of["split"] > 400
    assert n_of["demerger"] > 90
    known = now.filter(pl.col("kind").is_in(["split", "bonus", "split_and_bonus", "consolidation"]))
    assert known["price_ratio"].null_count() == 0
