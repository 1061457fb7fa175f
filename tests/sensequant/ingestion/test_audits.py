"""Facts about audits and cross-checks of what is stored."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.errors import RecordError
from sensequant.ingestion.audits import (
    audit_shelf,
    cross_check,
    find_jumps,
    heading_of,
    symbols_on,
)
from sensequant.ingestion.imports import import_listings, import_renames
from sensequant.ingestion.places import store_key
from sensequant.ingestion.request import BackfillRequest
from sensequant.ingestion.shelf import Shelf, open_shelf
from sensequant.market.intervals import Interval
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.market.sources.simulated.source import HOLE_SESSIONS, LISTING_SESSION
from sensequant.market.store import BarStore
from sensequant.market.symbol_map import SYMBOL_MAP_SCHEMA, SymbolMap, write_snapshot

AT = datetime(2024, 6, 28, 14, 0, tzinfo=UTC)
MARKET = SimulatedSource(SimulatedConfig(n_symbols=4))
SIMULATED = SourceConfig(kind="simulated", simulated=MARKET.config)
VENDOR = SourceConfig(kind="breeze")
START, END = date(2024, 3, 1), date(2024, 3, 15)
SWAPPED = (date(2024, 3, 5), date(2024, 3, 14))


@pytest.fixture
def open_up(tmp_path: Path) -> Iterator[Callable[[SourceConfig], Shelf]]:
    """Return what opens shelves; their ledgers are closed with the test."""
    shelves: list[Shelf] = []

    def opened(source: SourceConfig) -> Shelf:
        shelves.append(open_shelf(tmp_path / "home", source))
        return shelves[-1]

    yield opened
    for shelf in shelves:
        shelf.ledger.close()


@pytest.fixture
def shelf(open_up: Callable[[SourceConfig], Shelf]) -> Shelf:
    """Return the empty shelf of the simulated market, whose bars are final as they come."""
    return open_up(SIMULATED)


def bars(
    symbol: str, interval: Interval = "1day", *, start: date | None = START, end: date | None = END
) -> pl.DataFrame:
    return MARKET.fetch(Chunk(symbol, interval, start, end)).bars


def put(store: BarStore, frame: pl.DataFrame, interval: Interval = "1day") -> None:
    store.write(frame, interval=interval, fetched_at=AT)


def swapped(frame: pl.DataFrame, *sessions: date) -> pl.DataFrame:
    is_hit = pl.col("session").is_in(sessions)
    return frame.with_columns(
        open=pl.when(is_hit).then("close").otherwise("open"),
        close=pl.when(is_hit).then("open").otherwise("close"),
    )


def named(frame: pl.DataFrame, symbol: str) -> pl.DataFrame:
    return frame.with_columns(symbol=pl.lit(symbol), source_symbol=pl.lit(symbol))


def disputed(store: BarStore, symbol: str) -> set[tuple[date, str, str]]:
    rows = store.disputes(symbol, "1day").select("session", "kind", "other")
    return set(rows.iter_rows())


def trained_on(store: BarStore, symbol: str) -> list[date]:
    return store.read(symbol, interval="1day", final_only=True)["session"].to_list()


def request(**fields: Any) -> BackfillRequest:
    given = {"start": START, "end": END, "source": SIMULATED, **fields}
    return BackfillRequest.model_validate(given)


def audited(shelf: Shelf, home: Path, **fields: Any) -> dict[str, dict[str, Any]]:
    asked = request(**fields)
    audit = audit_shelf(shelf, asked, home=home, universes=home, now=AT)
    return {row["symbol"]: row for row in audit.symbols.iter_rows(named=True)}


def test_swapped_prices_are_left_out_of_training(shelf: Shelf) -> None:
    """Two daily bars with open and close exchanged contradict their 5-minute bars.

    The sessions leave training, the bars stay as they are; mended, they come back.
    """
    truth = bars("SIM02")
    put(shelf.store, swapped(truth, *SWAPPED))
    put(shelf.store, bars("SIM02", "5minute"), "5minute")
    put(shelf.store, bars("SIM03"))

    check = cross_check(shelf, ["SIM02", "SIM03", "SIM04", "SIM02"])

    every = truth["session"].to_list()
    assert disputed(shelf.store, "SIM02") == {
        (day, "swapped_open_close", "5minute") for day in SWAPPED
    }
    assert trained_on(shelf.store, "SIM02") == [day for day in every if day not in SWAPPED]
    assert shelf.store.read("SIM02", interval="1day").height == len(every)
    # The drill of 2 March was in two parts; nobody knows how many bars it should have.
    assert check.symbols.select("symbol", "n_compared").rows() == [("SIM02", len(every) - 1)]
    assert set(check.disputes["session"]) == set(SWAPPED)

    put(shelf.store, truth)
    assert cross_check(shelf, ["SIM02"]).disputes.is_empty()
    assert trained_on(shelf.store, "SIM02") == every


def test_each_length_of_bars_is_a_comparison(shelf: Shelf) -> None:
    """One symbol with bars of 5 and 30 minutes is compared twice, in the order of the lengths."""
    put(shelf.store, swapped(bars("SIM02"), *SWAPPED))
    for interval in ("5minute", "30minute"):
        put(shelf.store, bars("SIM02", interval), interval)

    check = cross_check(shelf, shelf.store.symbols("1day"))

    assert check.symbols["symbol"].to_list() == ["SIM02", "SIM02"]
    assert set(check.disputes["other"]) == {"30minute", "5minute"}
    keys = check.disputes.select("symbol", "session", "field", "other")
    assert keys.equals(keys.sort(keys.columns))


def test_a_second_source_names_the_true_owner(shelf: Shelf, tmp_path: Path) -> None:
    """Under SIM02 stand the prices of SIM03; the second store has both, so it tells whose they are.

    SIM03 itself is not asked about here, and the owner is found all the same.
    """
    other = BarStore(tmp_path / "other")
    for symbol in ("SIM02", "SIM03", "SIM04"):
        put(other, bars(symbol))
    put(shelf.store, named(bars("SIM03"), "SIM02"))
    put(shelf.store, bars("SIM04"))

    check = cross_check(shelf, ["SIM02", "SIM04"], other=other, other_name="bhavcopy")

    n = bars("SIM02").height
    assert check.symbols.select("symbol", "n_compared", "kind", "resembles").rows() == [
        ("SIM02", n, "another_instrument", "SIM03"),
        ("SIM04", n, None, None),
    ]
    assert trained_on(shelf.store, "SIM02") == []
    assert len(trained_on(shelf.store, "SIM04")) == n
    assert {name for _, _, name in disputed(shelf.store, "SIM02")} == {"bhavcopy"}


def test_a_check_without_the_second_source_keeps_what_it_found(
    shelf: Shelf, tmp_path: Path
) -> None:
    """A dispute stands until the same two are compared again and agree."""
    other = BarStore(tmp_path / "other")
    put(other, swapped(bars("SIM02"), SWAPPED[0]))
    put(shelf.store, bars("SIM02"))
    put(shelf.store, bars("SIM02", "5minute"), "5minute")
    against: dict[str, Any] = {"other": other, "other_name": "bhavcopy"}
    cross_check(shelf, ["SIM02"], **against)
    expected = {(SWAPPED[0], "swapped_open_close", "bhavcopy")}
    assert disputed(shelf.store, "SIM02") == expected

    assert cross_check(shelf, ["SIM02"]).disputes.is_empty()
    assert disputed(shelf.store, "SIM02") == expected

    put(other, bars("SIM02"))
    cross_check(shelf, ["SIM02"], **against)
    assert disputed(shelf.store, "SIM02") == set()


def test_nothing_to_compare(shelf: Shelf, tmp_path: Path) -> None:
    """No bars, no intraday bars, an empty second store, or one of other years: no verdict."""
    empty = BarStore(tmp_path / "empty")
    assert cross_check(shelf, ["SIM02"], other=empty, other_name="it").symbols.is_empty()
    put(shelf.store, bars("SIM02"))
    assert cross_check(shelf, ["SIM02"]).symbols.is_empty()
    assert cross_check(shelf, ["SIM02"], other=empty, other_name="it").symbols.is_empty()
    put(empty, bars("SIM02", start=date(2023, 3, 1), end=date(2023, 3, 15)))
    assert cross_check(shelf, ["SIM02"], other=empty, other_name="it").symbols.is_empty()
    assert not list(tmp_path.rglob("*dispute*.parquet"))


def test_which_symbols_are_meant(shelf: Shelf, tmp_path: Path) -> None:
    """Those that are named; else those with bars of whatever length, indices left out."""
    put(shelf.store, bars("SIM03"))
    put(shelf.store, bars("SIM02", "5minute", end=START), "5minute")
    put(shelf.store, bars("NIFTY50"))

    assert symbols_on(shelf, request(), universes=tmp_path) == ("SIM02", "SIM03")
    named_only = request(symbols=("SIM04",))
    assert symbols_on(shelf, named_only, universes=tmp_path) == ("SIM04",)


def test_the_heading_of_an_audit(shelf: Shelf) -> None:
    """What, whence, when, and whether anything of it is real."""
    heading = heading_of(request(symbols=("SIM01", "SIM02")), shelf, now=AT)
    assert heading.title == "SIM01, SIM02"
    assert heading.source == f"simulated, store {store_key(SIMULATED)}"
    assert (heading.is_simulated, heading.audited_at) == (True, AT)
    assert not heading_of(request(source=VENDOR), shelf, now=AT).is_simulated


def test_a_stored_session_is_ok_and_one_that_is_not_is_missing(
    shelf: Shelf, tmp_path: Path
) -> None:
    """Of eleven sessions one was never fetched."""
    whole = bars("SIM02")
    put(shelf.store, whole.filter(pl.col("session") != SWAPPED[0]))

    (row,) = audited(shelf, tmp_path / "home").values()

    assert (row["n_sessions"], row["n_ok"], row["n_missing_local"]) == (whole.height, 10, 1)


def test_a_publishers_history_begins_with_the_listing(shelf: Shelf, tmp_path: Path) -> None:
    """SIM04 is listed late: no bar of it is missed before, whoever else is asked about.

    How far the history reaches, the other symbols tell, even where the audit is of SIM04 alone.
    """
    home = tmp_path / "home"
    whole: dict[str, Any] = {"start": None, "end": None}
    listed: date = MARKET.fetch(Chunk("SIM03")).bars["session"][LISTING_SESSION]
    first = date(2020, 1, 1)
    put(shelf.store, bars("SIM04", **whole))
    asked: dict[str, Any] = {"symbols": ("SIM04",), "start": first}
    unknown = audited(shelf, home, **asked)["SIM04"]
    assert unknown["n_not_expected"] == 0

    put(shelf.store, bars("SIM03", **whole))
    alone = audited(shelf, home, **asked)
    together = audited(shelf, home, symbols=("SIM03", "SIM04"), start=first)

    before = shelf.calendar.sessions(first, listed)[:-1]
    assert alone["SIM04"]["n_not_expected"] == len(before)
    assert alone["SIM04"]["n_missing_local"] == 0
    assert together["SIM04"] == alone["SIM04"]
    assert set(alone) == {"SIM04"}


def test_a_persons_list_wins_over_the_first_bar(
    open_up: Callable[[SourceConfig], Shelf], tmp_path: Path
) -> None:
    """Who knows that SIM04 was listed half a year earlier misses the bars since then."""
    home = tmp_path / "home"
    whole: dict[str, Any] = {"start": None, "end": None}
    shelf = open_up(SIMULATED)
    for symbol in ("SIM03", "SIM04"):
        put(shelf.store, bars(symbol, **whole))
    listed: date = bars("SIM04", **whole)["session"][0]
    known = shelf.calendar.offset(listed, -100)
    path = tmp_path / "mine.csv"
    path.write_text(f"symbol,kind,start\nSIM04,listed,{known}\n")
    import_listings(home / store_key(SIMULATED), path)

    row = audited(open_up(SIMULATED), home, symbols=("SIM04",), start=date(2020, 1, 1))["SIM04"]

    assert row["n_missing_local"] == 100
    assert row["n_not_expected"] == len(shelf.calendar.sessions(date(2020, 1, 1), known)) - 1


def test_a_change_of_name_is_no_listing(shelf: Shelf, tmp_path: Path) -> None:
    """With NSE's list of changes at hand, the bars before it are missed, under the new name."""
    home = tmp_path / "home"
    whole: dict[str, Any] = {"start": None, "end": None}
    for symbol in ("SIM03", "SIM04"):
        put(shelf.store, bars(symbol, **whole))
    listed: date = bars("SIM04", **whole)["session"][0]
    path = tmp_path / "changes.csv"
    path.write_text(f"old,new,date\nBEFORE,SIM04,{listed}\n")
    import_renames(home, path)

    row = audited(shelf, home, symbols=("SIM04",), start=date(2020, 1, 1))["SIM04"]

    assert row["n_not_expected"] == 0
    assert row["n_missing_local"] == len(shelf.calendar.sessions(date(2020, 1, 1), listed)) - 1


def test_an_empty_publishers_shelf(shelf: Shelf, tmp_path: Path) -> None:
    """Without a bar nobody knows when a symbol was listed, so every session is missed."""
    row = audited(shelf, tmp_path / "home", symbols=("SIM01",))["SIM01"]
    assert row["n_missing_local"] == row["n_sessions"] > 0


def test_a_damaged_file_is_named(shelf: Shelf, tmp_path: Path) -> None:
    """Nobody can say how far a history reaches out of half a file."""
    put(shelf.store, bars("SIM03"))
    root = tmp_path / "home" / store_key(SIMULATED)
    (damaged,) = root.rglob("year=2024.parquet")
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(RecordError, match="stored bars cannot be read") as caught:
        audited(shelf, tmp_path / "home", symbols=("SIM04",))
    assert caught.value.where == str(root)


def test_a_vendors_first_bar_is_no_listing(
    open_up: Callable[[SourceConfig], Shelf], tmp_path: Path
) -> None:
    """Its history begins where it was asked to begin; its list tells of a listing, if anything."""
    home = tmp_path / "home"
    whole: dict[str, Any] = {"start": None, "end": None}
    shelf = open_up(VENDOR)
    for symbol in ("SIM03", "SIM04"):
        put(shelf.store, bars(symbol, **whole))
    asked: dict[str, Any] = {"symbols": ("SIM04",), "start": date(2020, 1, 1), "source": VENDOR}
    assert audited(shelf, home, **asked)["SIM04"]["n_not_expected"] == 0

    listed: date = bars("SIM04", **whole)["session"][0]
    row = {"kind": "security", "symbol": "SIM04", "stock_code": "SIMXXX", "listed_on": listed}
    found = SymbolMap(pl.DataFrame([row], schema=SYMBOL_MAP_SCHEMA), date(2024, 6, 28))
    write_snapshot(home / "breeze", found)

    before = shelf.calendar.sessions(date(2020, 1, 1), listed)[:-1]
    row = audited(open_up(VENDOR), home, **asked)["SIM04"]
    assert row["n_not_expected"] == len(before)


def test_a_hole_stands_in_the_audit_with_its_evidence(shelf: Shelf, tmp_path: Path) -> None:
    """SIM01 lacks forty sessions while the others trade; the next bar tells that it traded too."""
    hole = nse_calendar().sessions(MARKET.config.history_start, AT.date())
    first, last = hole[HOLE_SESSIONS.start], hole[HOLE_SESSIONS.stop - 1]
    for symbol in ("SIM01", "SIM02"):
        put(shelf.store, bars(symbol, start=None, end=None))

    asked = request(start=first, end=last, symbols=("SIM01", "SIM02"))
    audit = audit_shelf(shelf, asked, home=tmp_path / "home", universes=tmp_path, now=AT)

    lacking = audit.sessions.filter(pl.col("state") != "ok")
    assert lacking["symbol"].unique().to_list() == ["SIM01"]
    assert lacking.height == len(HOLE_SESSIONS)
    (evidence,) = lacking["evidence"].unique().to_list()
    assert "no bar on 40 sessions of simulated" in evidence


def test_a_split_that_nobody_listed_is_a_jump(shelf: Shelf) -> None:
    """Price falls to a tenth, volume grows; once the action is known, all is explained."""
    assert find_jumps(shelf, ["SIM02"]).is_empty()
    put(shelf.store, bars("SIM02", start=None, end=None))
    put(shelf.store, bars("NIFTY50", start=None, end=None))

    found = find_jumps(shelf, ["SIM02"])
    assert found["nearest_terms"].to_list() == ["split 10:1"]
    assert found["is_volume_consistent"].to_list() == [True]

    shelf.store.write_actions(MARKET.actions())
    assert find_jumps(shelf, ["SIM02"]).is_empty()


def test_without_an_index_a_jump_is_judged_by_itself(shelf: Shelf) -> None:
    """What the market did is then not known, and the split stands out all the same."""
    put(shelf.store, bars("SIM02", start=None, end=None))

    assert find_jumps(shelf, ["SIM02"])["nearest_terms"].to_list() == ["split 10:1"]
