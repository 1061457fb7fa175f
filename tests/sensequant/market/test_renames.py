"""Facts about changes of symbols: chains, reused names, mergers, and NSE's own list."""

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import InvalidBarsError
from sensequant.market.renames import (
    MERGER,
    RENAME,
    RENAME_SCHEMA,
    NameSpell,
    Rename,
    RenameTable,
    read_renames,
)

D1, D2, D3, D4 = (date(2000 + 5 * n, 6, 15) for n in range(1, 5))
DAY = timedelta(days=1)


def table(*changes: tuple[str | None, str | None, date | None], kind: str = RENAME) -> RenameTable:
    rows = [(*change, kind) for change in changes]
    return RenameTable.from_changes(pl.DataFrame(rows, schema=RENAME_SCHEMA, orient="row"))


CHAIN = table(("B", "C", D2), ("A", "B", D1))
"""A became B and then C; the rows stand in the wrong order."""


@pytest.mark.parametrize("symbol", ["A", "B", "C"])
def test_a_chain_by_any_of_its_names(symbol: str) -> None:
    """Oldest first; a symbol without changes is its own chain."""
    assert CHAIN.chain(symbol) == ("A", "B", "C")
    assert CHAIN.chain("Z") == ("Z",)


@pytest.mark.parametrize(
    ("day", "expected"),
    [(D1 - DAY, "A"), (D1, "B"), (D2 - DAY, "B"), (D2, "C"), (date.max, "C"), (date.min, "A")],
)
def test_the_name_on_a_day(day: date, expected: str) -> None:
    """On the date of a change the new symbol is in force."""
    assert CHAIN.name_on("C", day) == expected
    assert CHAIN.name_on("A", day, as_of=D1 - DAY) == expected


def test_the_current_name() -> None:
    """By the symbol and a date on which the company had it."""
    assert CHAIN.current_name("A", D1 - DAY) == "C"
    assert CHAIN.current_name("B", D1) == "C"
    assert CHAIN.current_name("C", D2) == "C"


def test_nobody_is_known_to_have_had_a_symbol() -> None:
    """Before it was taken, and after it was given up, a symbol stands for itself."""
    assert CHAIN.current_name("A", D1) == "A"
    assert CHAIN.current_name("B", D1 - DAY) == "B"
    assert CHAIN.spells("B", as_of=D2) == (NameSpell("B", None, None),)


def test_spells_have_dates() -> None:
    """First and last date of each symbol, open where the table knows none."""
    assert CHAIN.spells("A") == (
        NameSpell("A", None, D1 - DAY),
        NameSpell("B", D1, D2 - DAY),
        NameSpell("C", D2, None),
    )


REUSED = table(("A", "B", D1), ("B", "C", D2), ("X", "B", D3), ("B", "Y", D4))
"""B was first of the company that is C now, later of another one that is Y now."""


def test_a_name_that_was_given_to_another_company() -> None:
    """The history of one company is not that of the other."""
    assert REUSED.chain("C") == ("A", "B", "C")
    assert REUSED.chain("Y") == ("X", "B", "Y")
    assert REUSED.chain("B") == ("X", "B", "Y")
    assert REUSED.current_name("B", D2 - DAY) == "C"
    assert REUSED.current_name("B", D3) == "Y"
    assert REUSED.name_on("B", D1, as_of=D2 - DAY) == "B"
    assert REUSED.name_on("B", D1, as_of=D3) == "X"


def test_a_name_that_a_new_company_may_have_taken() -> None:
    """B was given up by the company that is C; whoever has it since has no known history."""
    assert CHAIN.former_names("B", before=date.min) == ()
    assert CHAIN.spells("B", as_of=D3) == (NameSpell("B", None, None),)


def test_a_company_takes_its_former_name_back() -> None:
    """That is a circle over years, and no contradiction."""
    back = table(("A", "B", D1), ("B", "A", D2))

    assert back.chain("A") == ("A", "B", "A")
    assert [back.name_on("A", day) for day in (D1 - DAY, D1, D2)] == ["A", "B", "A"]
    assert back.given_up("A", D1) == Rename("A", "B", D1)
    assert back.given_up("A", D2) is None
    assert back.given_up("B", D2) == Rename("B", "A", D2)


def test_two_changes_on_one_day() -> None:
    """They are put in their order; the name in between was in force on no day."""
    both = table(("B", "C", D1), ("A", "B", D1))

    assert both.frame.select("old", "new").rows() == [("A", "B"), ("B", "C")]
    assert both.spells("C") == (NameSpell("A", None, D1 - DAY), NameSpell("C", D1, None))
    assert both.former_names("C", before=D1 - DAY) == ("B", "A")


@pytest.mark.parametrize(
    "changes",
    [
        [("A", "B", D1), ("B", "A", D1)],
        [("A", "B", D1), ("B", "C", D1), ("C", "A", D1)],
        [("A", "B", D1), ("A", "C", D1)],
        [("A", "C", D1), ("B", "C", D1)],
    ],
    ids=["circle of two", "circle of three", "one becomes two", "two become one"],
)
def test_contradictions_are_refused(changes: list[tuple[str, str, date]]) -> None:
    """On one day a symbol changes at most once, and not in a circle."""
    with pytest.raises(InvalidBarsError, match="contradict"):
        table(*changes)


def test_rows_that_say_nothing_are_kept_apart() -> None:
    """Without a date, without a symbol, or from a symbol to itself; equal rows count once."""
    found = table(
        ("A", "B", D1),
        ("A", "B", D1),
        ("C", "D", None),
        (None, "D", D1),
        ("E", "E", D1),
        ("F", "no symbol", D1),
    )

    assert found.frame.rows() == [("A", "B", D1, RENAME)]
    assert found.unusable.height == 4
    assert RenameTable.empty().chain("A") == ("A",)


def test_a_merger_ends_a_symbol_and_passes_no_history_on() -> None:
    """The survivor's bars are not those of the merged company."""
    merged = table(("MINDTREE", "LTIM", D2), kind=MERGER)

    assert merged.given_up("MINDTREE", D2) == Rename("MINDTREE", "LTIM", D2, MERGER)
    assert merged.given_up("MINDTREE", D2 - DAY) is None
    assert merged.chain("LTIM") == ("LTIM",)
    assert merged.current_name("MINDTREE", D1) == "MINDTREE"
    assert merged.former_names("LTIM", before=date.min) == ()
    two = table(("A", "C", D1), ("B", "C", D1), kind=MERGER)
    assert two.given_up("B", D1) == Rename("B", "C", D1, MERGER)


def test_changes_in_words() -> None:
    """For messages and evidence."""
    assert Rename("A", "B", D1).in_words == "renamed to B on 2005-06-15"
    assert Rename("A", "B", D1, MERGER).in_words == "merged into B on 2005-06-15"


def test_former_names_are_those_given_up_after_a_date() -> None:
    """What is dated on the day of a change stands under the new symbol."""
    assert CHAIN.former_names("C", before=D1 - DAY) == ("B", "A")
    assert CHAIN.former_names("C", before=D1) == ("B",)
    assert CHAIN.former_names("C", before=D2) == ()


def test_rows_under_former_names() -> None:
    """The rows in their order, then copies under the symbols given up after their dates."""
    frame = pl.DataFrame(
        {
            "symbol": ["C", "Z", "C", None],
            "ex_date": [D2 - DAY, D1, D1 - DAY, D1],
            "subject": ["split", "bonus", "bonus", "odd"],
        }
    )
    found = CHAIN.under_former_names(frame, date_column="ex_date")

    assert found[:4].equals(frame)
    assert sorted(found[4:].select("symbol", "subject").rows()) == [
        ("A", "bonus"),
        ("B", "bonus"),
        ("B", "split"),
    ]


changes_of_few = st.lists(
    st.tuples(
        st.sampled_from("ABCDE"), st.sampled_from("ABCDE"), st.dates(date(2000, 1, 1), D4)
    ).filter(lambda change: change[0] != change[1]),
    max_size=8,
    unique_by=(lambda change: change[2],),
)


@given(changes_of_few, st.sampled_from("ABCDE"), st.dates(date(2000, 1, 1), D4))
def test_back_and_forth_is_the_same_company(
    changes: list[tuple[str, str, date]], symbol: str, day: date
) -> None:
    """Whoever had a symbol on a day has one newest name, which on that day was that symbol."""
    names = table(*changes)
    newest = names.spells(symbol, as_of=day)[-1]
    latest = names.spells(symbol, as_of=day)
    asked = max(newest.since or date.min, day)

    assert names.name_on(newest.symbol, day, as_of=asked) == symbol
    assert names.spells(newest.symbol, as_of=asked) == latest
    assert all(
        left.until == right.since - DAY
        for left, right in pairwise(latest)
        if left.until and right.since
    )


@given(changes_of_few, st.sampled_from("ABCDE"), st.dates(date(2000, 1, 1), D4))
def test_former_names_by_frame_and_by_symbol_agree(
    changes: list[tuple[str, str, date]], symbol: str, day: date
) -> None:
    """The join gives what the walk gives."""
    names = table(*changes)
    frame = pl.DataFrame({"symbol": [symbol], "on": [day]})
    found = names.under_former_names(frame, date_column="on")["symbol"].to_list()

    assert found == [symbol, *names.former_names(symbol, before=day)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "company,old,new,date\nx,A , B,15-JUN-2005\n"),
        (
            "b.csv",
            "SYMB_COMPANY_NAME,SM_KEY_SYMBOL,SM_NEW_SYMBOL,SM_APPLICABLE_FROM\nx,A,B,15-Jun-2005\n",
        ),
        ("c.csv", "OLD,New,changed_on,kind\nA,B,2005-06-15,Rename\n"),
    ],
    ids=["as collected", "as NSE names them", "as we name them"],
)
def test_a_file_of_changes(tmp_path: Path, name: str, text: str) -> None:
    """In the layouts in which such lists are found."""
    path = tmp_path / name
    path.write_text(text)

    assert read_renames(path).frame.rows() == [("A", "B", D1, RENAME)]


def test_a_parquet_file_with_dates(tmp_path: Path) -> None:
    """Dates may be dates; a merger is marked as one."""
    path = tmp_path / "changes.parquet"
    pl.DataFrame({"old": ["A"], "new": ["B"], "date": [D1], "kind": ["merger"]}).write_parquet(path)

    assert read_renames(path).frame.rows() == [("A", "B", D1, MERGER)]


@pytest.fixture(scope="module")
def nse(real_data: Path) -> RenameTable:
    return read_renames(real_data / "corporate_actions" / "symbolchange.parquet")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("symbol", "chain"),
    [
        ("INFY", ("INFOSYSTCH", "INFY")),
        ("AXISBANK", ("UTIBANK", "AXISBANK")),
        ("LTIM", ("LTI", "LTIM", "LTM")),
        ("ETERNAL", ("ZOMATO", "ETERNAL")),
        ("TATAMOTORS", ("TELCO", "TATAMOTORS", "TMPV")),
        ("TATASTEEL", ("TISCO", "TATASTEEL")),
        ("HINDALCO", ("HINDALC0", "HINDALCO")),
        ("VEDL", ("SESAGOA", "SSLT", "VEDL")),
        ("OBEROIRLTY", ("OBEROIREAL", "OBEROIRLTY")),
        ("IDEA", ("IDEA",)),
        ("MINDTREE", ("MINDTREE",)),
    ],
)
def test_known_chains(nse: RenameTable, symbol: str, chain: tuple[str, ...]) -> None:
    """Names that companies are known to have had; a merger is no change of a name."""
    assert nse.chain(symbol) == chain


@pytest.mark.real_data
def test_known_dates(nse: RenameTable) -> None:
    """Tata Motors gave its name up in 2025, so that the symbol stands for nobody since."""
    assert nse.name_on("TMPV", date(2025, 10, 23)) == "TATAMOTORS"
    assert nse.name_on("TMPV", date(2025, 10, 24)) == "TMPV"
    assert nse.name_on("TMPV", date(2003, 12, 25)) == "TELCO"
    assert nse.current_name("TATAMOTORS", date(2020, 1, 1)) == "TMPV"
    assert nse.current_name("TATAMOTORS", date(2025, 10, 24)) == "TATAMOTORS"
    assert nse.given_up("TATAMOTORS", date(2026, 1, 1)) == Rename(
        "TATAMOTORS", "TMPV", date(2025, 10, 24)
    )


@pytest.mark.real_data
def test_the_list_of_nse_is_usable(nse: RenameTable) -> None:
    """Every row has a date and two symbols, and none contradicts another one."""
    assert nse.frame.height == 1041
    assert nse.unusable.is_empty()


@pytest.mark.real_data
def test_bars_change_their_names_on_the_dates_of_the_list(
    nse: RenameTable, real_data: Path
) -> None:
    """In files of 2000 to 2020 the name in each row is that of the list, but for known gaps.

    HDFC, HDFCBANK and others have one name all the time; fifteen files change theirs.
    """
    checked = 0
    for path in sorted((real_data / "daily_nsepy_2000_2020").glob("*.csv.gz")):
        symbol = path.name.removesuffix(".csv.gz")
        rows = pl.read_csv(path, columns=["Date", "Symbol"], try_parse_dates=True)
        last = date(2020, 4, 30)
        spells = nse.spells(symbol, as_of=last)
        stated = rows.group_by("Symbol").agg(pl.col("Date").min(), pl.col("Date").max().alias("to"))
        if stated.height == 1:
            continue
        for name, first, to in stated.rows():
            spell = next(one for one in spells if one.symbol == name)
            assert (spell.since or date.min) <= first, (symbol, name)
            assert to <= (spell.until or date.max), (symbol, name)
            checked += 1
    assert checked >= 30


@pytest.mark.real_data
def test_actions_stand_under_former_names_as_a_plain_join_has_them(
    nse: RenameTable, real_data: Path
) -> None:
    """On NSE's actions, a join repeated once per name gives the same rows.

    The plain join knows nothing of names that change hands; the real lists have no case of it.
    """
    listed = pl.read_parquet(real_data / "corporate_actions" / "corporate_actions.parquet").select(
        pl.col("symbol").str.strip_chars(), "subject", pl.col("exDate").cast(pl.Date)
    )
    changes = nse.frame.select("old", pl.col("new").alias("symbol"), "changed_on")
    parts = [listed]
    while parts[-1].height:
        step = parts[-1].join(changes, on="symbol").filter(pl.col("exDate") < pl.col("changed_on"))
        parts.append(step.with_columns(pl.col("old").alias("symbol")).select(listed.columns))
    expected = pl.concat(parts).unique().sort(listed.columns)

    found = nse.under_former_names(listed, date_column="exDate")
    assert found.unique().sort(listed.columns).equals(expected)
