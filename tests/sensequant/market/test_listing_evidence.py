"""Facts about what official bars tell of listings, holes and suspensions."""

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.market.bars import BAR_SCHEMA
from sensequant.market.listing_evidence import ListingConfig, find_holes, find_listings
from sensequant.market.listings import LISTING_SCHEMA, expected_sessions
from sensequant.market.renames import RENAME_SCHEMA, RenameTable, read_renames
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.source import FilesSource

CALENDAR = nse_calendar()
DAYS = CALENDAR.sessions(date(2024, 1, 1), date(2024, 3, 31))
SHORT = ListingConfig(min_hole_sessions=3, min_sessions_before=10, min_sessions_silent=10)
NONE = RenameTable.empty()


def bars(
    symbol: str, places: range | list[int], *, source: str = "one", **cells: Any
) -> pl.DataFrame:
    """Return bars on some of `DAYS`, closing at 100 plus the place."""
    rows = [
        {"symbol": symbol, "session": DAYS[place], "close": 100.0 + place, "series": "EQ"}
        | {"previous_close": 99.0 + place, "source": source}
        | cells
        for place in places
    ]
    return pl.DataFrame(rows, schema=BAR_SCHEMA)


def renamed(*changes: tuple[str, str, date]) -> RenameTable:
    rows = [(*change, "rename") for change in changes]
    return RenameTable.from_changes(pl.DataFrame(rows, schema=RENAME_SCHEMA, orient="row"))


def holes(mine: pl.DataFrame, **more: Any) -> list[tuple[Any, ...]]:
    found = find_holes(mine, CALENDAR, config=SHORT, **more)
    assert found.schema == LISTING_SCHEMA
    return found.select("symbol", "kind", "start", "end").rows()


def evidence(mine: pl.DataFrame, **more: Any) -> str:
    return find_holes(mine, CALENDAR, config=SHORT, **more)["evidence"].item()


MARKET = bars("MKT", range(30))
HOLE = [*range(10), *range(15, 30)]
HELD = [("AA", "data_unavailable", DAYS[10], DAYS[14])]


def test_traded_in_between_and_nothing_else_known() -> None:
    """The next bar's previous close is another one than the last close before the hole."""
    mine = pl.concat([MARKET, bars("AA", HOLE)])

    assert holes(mine) == HELD
    assert evidence(mine) == (
        "no bar on 5 sessions of one; close 109 before and 115 after; a hole of this "
        "symbol alone; the next bar states the previous close 114, so it traded in between: in "
        "another series, or lost by the publisher"
    )


def test_not_traded_in_between() -> None:
    """The next bar's previous close is the last close before the hole."""
    own = bars("AA", HOLE).with_columns(
        previous_close=pl.when(pl.col("session") == DAYS[15]).then(109.0).otherwise(1.0)
    )
    mine = pl.concat([MARKET, own])

    assert holes(mine) == [("AA", "suspended", DAYS[10], DAYS[14])]
    assert "so it did not trade in between" in evidence(mine)
    # Another source that lacks it too knows no better.
    assert holes(mine, others=mine.with_columns(source=pl.lit("two"))) == [
        ("AA", "suspended", DAYS[10], DAYS[14])
    ]


def test_no_previous_close_proves_nothing() -> None:
    """Then it is only known that the source lacks the sessions."""
    mine = pl.concat([MARKET, bars("AA", HOLE, previous_close=None)])

    assert holes(mine) == HELD
    assert "no previous close" in evidence(mine)


def test_another_source_lacks_it_too() -> None:
    """Two official sources without bars of a share that traded: a series that both leave out."""
    mine = pl.concat([MARKET, bars("AA", HOLE)])
    others = mine.with_columns(source=pl.lit("two"))

    assert holes(mine, others=others) == [("AA", "trade_to_trade", DAYS[10], DAYS[14])]
    assert "two, with others on 5 sessions there, has no bar of it either" in evidence(
        mine, others=others
    )


@pytest.mark.parametrize(
    "others",
    [
        bars("MKT", range(30), source="two"),
        pl.concat([bars("MKT", range(12), source="two"), bars("AA", range(5), source="two")]),
        pl.concat([bars("MKT", range(30), source="two"), bars("AA", [3], source="three")]),
    ],
    ids=["without the symbol", "ends within the hole", "another source has the symbol"],
)
def test_another_source_that_cannot_know(others: pl.DataFrame) -> None:
    """Its silence counts only where it has the symbol, and others on enough of the sessions."""
    assert holes(pl.concat([MARKET, bars("AA", HOLE)]), others=others) == HELD


@pytest.mark.parametrize(("series", "kind"), [("EQ", "data_unavailable"), ("BE", "trade_to_trade")])
def test_another_source_has_it(series: str, kind: str) -> None:
    """In the ordinary series the publisher lost it; in the other one it was trade-to-trade."""
    mine = pl.concat([MARKET, bars("AA", HOLE)])
    others = bars("AA", range(10, 15), source="two", series=series)

    assert holes(mine, others=others) == [("AA", kind, DAYS[10], DAYS[14])]
    assert "two has 5 bars there" in evidence(mine, others=others)


def test_another_source_has_it_under_a_former_name() -> None:
    """The same company is found by the changes of symbols."""
    mine = pl.concat([MARKET, bars("NEW", HOLE)])
    others = bars("OLD", range(20), source="two")
    renames = renamed(("OLD", "NEW", DAYS[20]))

    assert holes(mine, others=others, renames=renames)[0][:2] == ("NEW", "data_unavailable")
    assert "two has 5 bars there" in evidence(mine, others=others, renames=renames)


def test_bars_in_trade_to_trade_fill_a_hole() -> None:
    """Both series are trades in the same share; others are not."""
    filled = bars("AA", range(10, 15), series="BE")

    assert holes(pl.concat([MARKET, bars("AA", HOLE), filled])) == []
    assert (
        holes(pl.concat([MARKET, bars("AA", HOLE), filled.with_columns(series=pl.lit("N1"))]))
        == HELD
    )
    assert (
        holes(
            pl.concat(
                [MARKET, bars("AA", HOLE), filled.with_columns(series=pl.lit(None, pl.String))]
            )
        )
        == []
    )


def test_holes_of_the_source_are_nobodys() -> None:
    """A session without any bar of the source is not counted; short holes are not reported."""
    gone = [*range(10), *range(15, 30)]

    assert holes(pl.concat([bars("MKT", gone), bars("AA", gone)])) == []
    assert holes(pl.concat([MARKET, bars("AA", [*range(10), *range(12, 30)])])) == []
    assert holes(pl.concat([MARKET, bars("AA", range(5, 20))])) == []


def test_symbols_with_the_same_hole_are_counted() -> None:
    """It is told, though it decides nothing."""
    mine = pl.concat([MARKET, *(bars(name, HOLE) for name in ("AA", "BB", "CC"))])
    found = find_holes(mine, CALENDAR, config=SHORT)

    assert found["symbol"].to_list() == ["AA", "BB", "CC"]
    assert all("a hole of 3 symbols" in text for text in found["evidence"])


def listings(mine: pl.DataFrame, renames: RenameTable = NONE) -> list[tuple[Any, ...]]:
    found = find_listings(mine, CALENDAR, renames=renames, config=SHORT)
    assert found.schema == LISTING_SCHEMA
    return found.select("symbol", "kind", "start").rows()


def test_a_first_bar_long_after_the_source_began() -> None:
    """Near its beginning the source may have begun within a hole of the symbol."""
    mine = pl.concat([MARKET, bars("NEW", range(12, 30)), bars("LATE", range(9, 30))])

    assert listings(mine) == [("NEW", "listed", DAYS[12])]
    assert find_listings(mine, CALENDAR, renames=NONE, config=SHORT)["evidence"].item() == (
        "first bar in one, which begins on 2024-01-01"
    )


def test_a_first_bar_after_a_change_of_name_is_no_listing() -> None:
    """The company traded before, under its former name."""
    mine = pl.concat([MARKET, bars("NEW", range(12, 30))])

    assert listings(mine, renamed(("OLD", "NEW", DAYS[12]))) == []
    assert listings(mine, renamed(("OLD", "NEW", DAYS[11]))) == []
    assert listings(mine, renamed(("NEW", "NEWER", DAYS[29]))) == [
        ("NEW", "listed", DAYS[12]),
    ]


def test_the_first_bar_of_all_sources_counts() -> None:
    """An earlier bar elsewhere shows that a later first bar is no listing."""
    mine = pl.concat([MARKET, bars("NEW", range(12, 30)), bars("NEW", range(5), source="two")])

    assert listings(mine) == []


def test_a_last_bar_long_before_the_source_ends() -> None:
    """Why it ended is not known from bars."""
    mine = pl.concat([MARKET, bars("OLD", range(15)), bars("QUIET", range(25))])

    assert listings(mine) == [("OLD", "delisted", DAYS[15])]
    assert "15 sessions without a bar; why is not known" in (
        find_listings(mine, CALENDAR, renames=NONE, config=SHORT)["evidence"].item()
    )


def test_a_change_of_name_ends_a_symbol() -> None:
    """However short ago; a change before the last bar was of another company."""
    mine = pl.concat([MARKET, bars("OLD", range(28))])

    assert listings(mine, renamed(("OLD", "NEW", DAYS[28]))) == [("OLD", "delisted", DAYS[28])]
    assert listings(mine, renamed(("OLD", "NEW", DAYS[20]))) == []


def test_usual_thresholds() -> None:
    """Without settings a hole counts from five sessions on."""
    mine = pl.concat([MARKET, bars("AA", HOLE)])

    assert find_holes(mine, CALENDAR).height == 1
    assert find_listings(mine, CALENDAR, renames=NONE).is_empty()
    assert find_holes(MARKET.clear(), CALENDAR).is_empty()


@pytest.fixture(scope="module")
def nse(real_data: Path) -> RenameTable:
    return read_renames(real_data / "corporate_actions" / "symbolchange.parquet")


def read(folder: Path, *symbols: str) -> pl.DataFrame:
    source = FilesSource(folder)
    known = set(source.symbols())
    return pl.concat(source.fetch(Chunk(one)).bars for one in symbols if one in known)


TRADE_TO_TRADE = ("ADANIPOWER", "CGPOWER", "DMART", "ADANIGREEN", "ADANIENSOL", "ADANITRANS")
WITH_OTHERS = (*TRADE_TO_TRADE, "RELIANCE", "TCS", "ABB")


@pytest.mark.real_data
def test_known_spells_of_trade_to_trade(real_data: Path, nse: RenameTable) -> None:
    """ADANIPOWER misses 206 sessions and CGPOWER 148 of the archive by security.

    Each time the exchange went on stating a close, and a second official file lacks them as well.
    CGPOWER went from 89.00 to 204.60 over one of them, which is no split.
    """
    mine = read(real_data / "daily_secwise_2020_2026", *WITH_OTHERS)
    others = read(real_data / "daily_bhavcopy_2019_2026", *WITH_OTHERS)
    found = find_holes(mine, CALENDAR, others=others, renames=nse)

    assert set(found["kind"]) == {"trade_to_trade"}
    sizes = {
        symbol: sum(
            len(CALENDAR.sessions(start, end))
            for start, end in found.filter(pl.col("symbol") == symbol).select("start", "end").rows()
        )
        for symbol in ("ADANIPOWER", "CGPOWER", "DMART", "ADANIGREEN", "ADANIENSOL")
    }
    assert sizes == {
        "ADANIPOWER": 206,
        "CGPOWER": 148,
        "DMART": 53,
        "ADANIGREEN": 65,
        # The second file has this one under its former name.
        "ADANIENSOL": 168,
    }
    last = found.filter(pl.col("symbol") == "CGPOWER").sort("start").row(-1, named=True)
    assert (last["start"], last["end"]) == (date(2021, 9, 16), date(2022, 1, 3))
    assert "close 89 before and 204.6 after" in last["evidence"]
    assert "previous close 196.1" in last["evidence"]
    shared = found.filter(pl.col("start") == date(2021, 6, 9))
    assert shared["symbol"].to_list() == ["ADANIENSOL", "ADANIGREEN", "CGPOWER"]


@pytest.mark.real_data
def test_known_spells_that_a_publisher_lacks(real_data: Path, nse: RenameTable) -> None:
    """MARUTI and ADANIPORTS traded from 2013-12-27 to 2014-05-06; the file does not have it.

    They were members of the index, so they were in the ordinary series; bars alone cannot tell
    that, so that what is said is only that the data are missing.
    """
    names = ("MARUTI", "ADANIPORTS", "RELIANCE", "TCS", "GAIL")
    found = find_holes(read(real_data / "daily_nsepy_2000_2020", *names), CALENDAR, renames=nse)

    assert found.select("symbol", "kind", "start", "end").rows() == [
        ("ADANIPORTS", "data_unavailable", date(2013, 12, 27), date(2014, 5, 6)),
        ("GAIL", "data_unavailable", date(2000, 3, 22), date(2001, 6, 29)),
        ("MARUTI", "data_unavailable", date(2013, 12, 27), date(2014, 5, 6)),
    ]
    assert "a hole of 2 symbols" in found["evidence"][0]


@pytest.mark.real_data
def test_known_sessions_without_trade(real_data: Path, nse: RenameTable) -> None:
    """BAJFINANCE was hardly traded in 2001: each next bar states the last close before."""
    names = ("BAJFINANCE", "RELIANCE")
    found = find_holes(read(real_data / "daily_nsepy_2000_2020", *names), CALENDAR, renames=nse)

    assert set(found["kind"]) == {"suspended"}
    assert found["start"].dt.year().unique().to_list() == [2001]


@pytest.mark.real_data
def test_known_listings_and_ends(real_data: Path, nse: RenameTable) -> None:
    """First bars are listings, but for new names; last bars are changes of name or mergers."""
    old = ("TCS", "MARUTI", "NTPC", "COALINDIA", "RELIANCE")
    new = ("LICI", "HYUNDAI", "LTIM", "LTI", "MINDTREE", "HDFC", "TATAMOTORS", "TMPV", "TCS")
    mine = pl.concat(
        [
            read(real_data / "daily_nsepy_2000_2020", *old),
            read(real_data / "daily_bhavcopy_2019_2026", *new, "INFY"),
        ]
    )
    found = find_listings(mine, CALENDAR, renames=nse)

    assert found.select("symbol", "kind", "start").rows() == [
        ("COALINDIA", "listed", date(2010, 11, 4)),
        ("HDFC", "delisted", date(2023, 7, 13)),
        ("HYUNDAI", "listed", date(2024, 10, 22)),
        ("LICI", "listed", date(2022, 5, 17)),
        ("LTI", "delisted", date(2022, 12, 5)),
        ("LTIM", "delisted", date(2026, 2, 27)),
        ("MARUTI", "listed", date(2003, 7, 9)),
        ("MINDTREE", "delisted", date(2022, 11, 23)),
        ("NTPC", "listed", date(2004, 11, 5)),
        ("TATAMOTORS", "delisted", date(2025, 10, 24)),
        ("TCS", "listed", date(2004, 8, 25)),
    ]
    days = expected_sessions("LICI", found, CALENDAR, start=date(2022, 5, 1), end=date(2022, 5, 20))
    assert days == [date(2022, 5, day) for day in (17, 18, 19, 20)]
