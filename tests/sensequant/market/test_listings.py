"""Facts about spells of listing and the sessions that follow from them."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from sensequant.errors import ConfigError
from sensequant.market.listings import (
    LISTING_SCHEMA,
    ListingKind,
    combine_listings,
    expected_sessions,
    listings_from_map,
    listings_from_renames,
    read_listings,
    spells_of,
)
from sensequant.market.renames import RENAME_SCHEMA, RenameTable
from sensequant.market.sessions import nse_calendar
from sensequant.market.symbol_map import SYMBOL_MAP_SCHEMA, SymbolMap

# 2024-01-01 is a Monday; the week has five sessions.
MON, TUE, WED, THU, FRI = (date(2024, 1, day) for day in range(1, 6))
WEEK = [MON, TUE, WED, THU, FRI]


def spells(*rows: tuple[str, str, date, date | None]) -> pl.DataFrame:
    return pl.DataFrame([(*row, "by hand") for row in rows], schema=LISTING_SCHEMA, orient="row")


def expected(*rows: tuple[str, str, date, date | None], **more: tuple[ListingKind, ...]) -> str:
    days = expected_sessions("AA", spells(*rows), nse_calendar(), start=MON, end=FRI, **more)
    return "".join("MTWHF"[WEEK.index(day)] for day in days)


@pytest.mark.parametrize(
    ("rows", "days"),
    [
        ([], "MTWHF"),
        ([("BB", "delisted", MON, None)], "MTWHF"),
        ([("AA", "listed", WED, None)], "WHF"),
        ([("AA", "listed", TUE, THU)], "TWH"),
        ([("AA", "listed", MON, MON), ("AA", "listed", THU, None)], "MHF"),
        ([("AA", "delisted", WED, None)], "MT"),
        ([("AA", "suspended", TUE, WED)], "MHF"),
        ([("AA", "suspended", THU, None)], "MTW"),
        ([("AA", "trade_to_trade", TUE, WED)], "MTWHF"),
        ([("AA", "data_unavailable", TUE, WED)], "MTWHF"),
        ([("AA", "listed", TUE, None), ("AA", "delisted", FRI, None)], "TWH"),
        ([("AA", "delisted", TUE, None), ("AA", "listed", THU, None)], "HF"),
    ],
)
def test_expected_sessions(rows: list[tuple[str, str, date, date | None]], days: str) -> None:
    """From the listing to the end, without suspensions; what is not known is expected."""
    assert expected(*rows) == days


def test_a_name_that_another_company_took_is_expected_again() -> None:
    """The listing of the second company ends the end of the first one."""
    rows = [
        ("AA", "listed", MON, TUE),
        ("AA", "delisted", WED, None),
        ("AA", "listed", FRI, None),
    ]

    assert expected(*rows) == "MTF"


def test_a_source_without_trade_to_trade() -> None:
    """What a source leaves out is not expected of it."""
    rows = [("AA", "trade_to_trade", TUE, WED), ("AA", "suspended", FRI, None)]

    assert expected(*rows, without=(ListingKind.TRADE_TO_TRADE,)) == "MHF"
    assert expected(*rows, without=(ListingKind.TRADE_TO_TRADE, ListingKind.SUSPENDED)) == "MH"
    assert expected(*rows, without=()) == "MTWHF"


def test_holidays_are_never_expected() -> None:
    """2024-01-22 was a holiday; the range may begin and end on any day."""
    days = expected_sessions(
        "AA", spells(), nse_calendar(), start=date(2024, 1, 20), end=date(2024, 1, 23)
    )

    # The Saturday was a session, because the Monday was none.
    assert days == [date(2024, 1, 20), date(2024, 1, 23)]


def test_spells_of_a_symbol() -> None:
    """Oldest first; an open one goes on for ever."""
    table = spells(
        ("AA", "suspended", THU, None), ("AA", "suspended", MON, TUE), ("BB", "listed", MON, None)
    )

    assert spells_of("AA", table, (ListingKind.SUSPENDED,)) == [(MON, TUE), (THU, date.max)]
    assert spells_of("AA", table, (ListingKind.LISTED,)) == []


def test_a_file_of_listings(tmp_path: Path) -> None:
    """Only symbol, kind and start are needed; the file itself is the evidence then."""
    path = tmp_path / "mine.csv"
    path.write_text(
        "Symbol,Kind,Start,End,Evidence\n"
        "LICI,listed,17-May-2022,,prospectus\n"
        "AA, Suspended ,2024-01-02,2024-01-03,\n"
        "AA, Suspended ,2024-01-02,2024-01-03,\n"
    )

    assert read_listings(path).rows() == [
        ("AA", "suspended", TUE, WED, "stated in mine.csv"),
        ("LICI", "listed", date(2022, 5, 17), None, "prospectus"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("aa,listed,2024-01-02,", "an NSE symbol"),
        (",listed,2024-01-02,", "an NSE symbol"),
        ("AA,unlisted,2024-01-02,", "a kind"),
        ("AA,,2024-01-02,", "a kind"),
        ("AA,listed,soon,", "a date of start"),
        ("AA,listed,2024-01-02,2024-01-01", "an end on or after"),
        ("AA,listed,2024-01-02,later", "an end on or after"),
    ],
)
def test_wrong_rows_are_refused(tmp_path: Path, line: str, message: str) -> None:
    """The row is named by its number."""
    path = tmp_path / "mine.csv"
    path.write_text(f"symbol,kind,start,end\nBB,listed,2024-01-02,\n{line}\n")

    with pytest.raises(ConfigError, match=f"row 2.*{message}"):
        read_listings(path)


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    """A missing column is a wrong request."""
    path = tmp_path / "mine.csv"
    path.write_text("symbol,start\nAA,2024-01-02\n")

    with pytest.raises(ConfigError, match="symbol, kind, start"):
        read_listings(path)


def test_dates_of_the_brokers_list() -> None:
    """Where it states them, which it mostly does not."""
    rows = [
        {"kind": "security", "symbol": "AA", "stock_code": "A", "listed_on": MON},
        {"kind": "security", "symbol": "BB", "stock_code": "B", "delisted_on": FRI},
        {"kind": "security", "symbol": "CC", "stock_code": "C"},
        {"kind": "dropped", "symbol": "DD", "stock_code": "D", "listed_on": MON},
    ]
    symbols = SymbolMap(pl.DataFrame(rows, schema=SYMBOL_MAP_SCHEMA), FRI)

    assert listings_from_map(symbols).rows() == [
        ("AA", "listed", MON, None, "date of listing in the broker's list of 2024-01-05"),
        ("BB", "delisted", FRI, None, "date of delisting in the broker's list of 2024-01-05"),
    ]


def test_changes_of_symbols_end_the_old_ones() -> None:
    """By a new name or a merger; a symbol that was taken again is not ended."""
    changes = [
        ("LTI", "LTIM", MON, "rename"),
        ("MT", "LTIM", TUE, "merger"),
        ("A", "B", MON, "rename"),
        ("C", "A", WED, "rename"),
    ]
    renames = RenameTable.from_changes(pl.DataFrame(changes, schema=RENAME_SCHEMA, orient="row"))

    assert listings_from_renames(renames, ["MT", "LTI", "LTI", "A", "Z"]).rows() == [
        ("LTI", "delisted", MON, None, "renamed to LTIM on 2024-01-01"),
        ("MT", "delisted", TUE, None, "merged into LTIM on 2024-01-02"),
    ]


def test_the_most_trusted_table_says_when_a_symbol_was_listed() -> None:
    """Later tables add symbols, and spells of other kinds."""
    own = spells(("AA", "listed", TUE, None), ("AA", "suspended", THU, THU))
    bars = spells(
        ("AA", "listed", MON, None), ("BB", "listed", WED, None), ("AA", "suspended", FRI, FRI)
    )

    assert combine_listings(own, bars).select("symbol", "kind", "start").rows() == [
        ("AA", "listed", TUE),
        ("AA", "suspended", THU),
        ("AA", "suspended", FRI),
        ("BB", "listed", WED),
    ]
    assert combine_listings().schema == LISTING_SCHEMA
