"""Facts about the map of symbols to the broker's codes. All companies are made up or renamed."""

import os
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.errors import (
    ConfigError,
    DigestMismatchError,
    RecordError,
    UnknownSymbolError,
)
from sensequant.market.security_master import (
    COLLISION_SCHEMA,
    DROPPED_SCHEMA,
    MASTER_SCHEMA,
    SecurityMaster,
)
from sensequant.market.symbol_map import (
    SNAPSHOT_FOLDER,
    SYMBOL_CHANGE_SCHEMA,
    RowKind,
    SymbolMap,
    diff_maps,
    latest_snapshot,
    read_snapshot,
    write_snapshot,
)
from sensequant.storage import write_table

MONDAY = date(2026, 3, 2)
TUESDAY = date(2026, 3, 3)


def security(
    symbol: str, code: str, isin: str | None = None, *, number: str = "7", **more: Any
) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "stock_code": code,
        "isin": isin,
        "token": number,
        "series": "EQ",
        "company_name": f"{symbol} LIMITED",
        "is_deleted": False,
    } | more


def master_of(
    *securities: dict[str, Any],
    indices: list[dict[str, Any]] | None = None,
    collisions: list[dict[str, Any]] | None = None,
    dropped: list[dict[str, Any]] | None = None,
) -> SecurityMaster:
    return SecurityMaster(
        securities=pl.DataFrame(list(securities), schema=MASTER_SCHEMA),
        indices=pl.DataFrame(indices or [], schema=MASTER_SCHEMA),
        collisions=pl.DataFrame(collisions or [], schema=COLLISION_SCHEMA),
        dropped=pl.DataFrame(dropped or [], schema=DROPPED_SCHEMA),
        sha256="0" * 64,
        n_rows=len(securities),
        n_unreadable_dates=0,
    )


def map_of(*securities: dict[str, Any], as_of: date = MONDAY, **more: Any) -> SymbolMap:
    return SymbolMap.from_master(master_of(*securities, **more), as_of=as_of)


def index(token: str, code: str | None, symbol: str = "X") -> dict[str, Any]:
    return security(symbol, "", number=token, series="0") | {"stock_code": code}


def changes(old: SymbolMap, new: SymbolMap) -> list[tuple[Any, ...]]:
    return diff_maps(old, new).select("change", "symbol_before", "symbol").rows()


def test_look_up_in_both_directions() -> None:
    """A symbol has one code, ISIN and token, and a code one symbol."""
    symbols = map_of(
        security("INFY", "INFTEC", "INE009A01021", number="1594"), security("TCS", "TCS", None)
    )

    assert symbols.stock_code("INFY") == "INFTEC"
    assert symbols.symbol_of("INFTEC") == "INFY"
    assert symbols.isin("INFY") == "INE009A01021"
    assert symbols.isin("TCS") is None
    assert symbols.token("INFY") == "1594"
    assert symbols.symbols() == ("INFY", "TCS")
    assert symbols.has("INFY")
    assert not symbols.has("INFTEC")


def test_a_code_that_is_another_symbol() -> None:
    """ACE the symbol and ACE the code are two companies; neither is mistaken for the other."""
    symbols = map_of(security("ACE", "ACTCON"), security("ACESOFT", "ACE"))

    assert symbols.stock_code("ACE") == "ACTCON"
    assert symbols.symbol_of("ACE") == "ACESOFT"


def test_indices_stand_under_our_names() -> None:
    """The list calls them NIFTY 50 and INDIA VIX; others are left out."""
    rows = [
        index("NIFTY 50", "NIFTY", "NIFTY 50"),
        index("INDIA VIX", "INDVIX", "INDVIX"),
        index("NIFTY BANK", "CNXBAN", "NIFTY BANK"),
    ]
    symbols = map_of(security("TCS", "TCS"), indices=rows)

    assert symbols.indices() == ("INDIAVIX", "NIFTY50")
    assert symbols.symbols() == ("TCS",)
    assert symbols.stock_code("NIFTY50") == "NIFTY"
    assert symbols.stock_code("INDIAVIX") == "INDVIX"
    assert symbols.token("NIFTY50") == "NIFTY 50"
    assert symbols.symbol_of("NIFTY") == "NIFTY50"


@pytest.mark.parametrize(
    ("rows", "stock"),
    [
        ([index("NIFTY 50", "NIFTY"), index("Nifty50", "NIFTY5")], security("TCS", "TCS")),
        ([index("NIFTY 50", "NIFTY")], security("TCS", "NIFTY")),
        ([index("NIFTY 50", "NIFTY")], security("NIFTY50", "TCS")),
        ([index("NIFTY 50", None)], security("TCS", "TCS")),
    ],
    ids=["two codes", "a share's code", "a share's symbol", "no code"],
)
def test_an_index_in_doubt_is_left_out(rows: list[dict[str, Any]], stock: dict[str, Any]) -> None:
    """It collides as a share would; the share itself stays."""
    symbols = map_of(stock, indices=rows)

    assert symbols.indices() == ()
    assert symbols.symbols() == (stock["symbol"],)
    assert symbols.rows_of("NIFTY50", RowKind.COLLISION).height == len(rows)


def test_a_list_without_indices() -> None:
    """What the list does not have is simply not there."""
    assert map_of(security("TCS", "TCS")).indices() == ()


def test_an_unknown_symbol_is_refused_with_similar_ones() -> None:
    """It is never sent to the broker as it stands."""
    symbols = map_of(security("OBEROIRLTY", "OBEREA"), security("TCS", "TCS"))

    with pytest.raises(UnknownSymbolError, match="did you mean OBEROIRLTY") as caught:
        symbols.stock_code("OBEROI")
    assert caught.value.reason == "unknown_symbol"
    assert str(MONDAY) in caught.value.where

    with pytest.raises(UnknownSymbolError, match="may have been renamed"):
        symbols.token("QQQQQQ")
    with pytest.raises(UnknownSymbolError, match="did you mean OBEREA"):
        symbols.symbol_of("OBERRA")
    with pytest.raises(UnknownSymbolError, match="ask for the symbols"):
        symbols.symbol_of("QQQQQQ")


def test_a_dropped_symbol_is_refused_with_the_reason() -> None:
    """The list has it, but nothing can be asked for."""
    gone = security("RPL", "RELPET", number="0") | {"reason": "dead_token"}
    symbols = map_of(security("TCS", "TCS"), dropped=[gone])

    with pytest.raises(UnknownSymbolError, match=r"RPL \(dead_token\)"):
        symbols.stock_code("RPL")


def test_a_collision_is_refused_with_all_candidates() -> None:
    """Both rows are shown, so that a person can ask the broker."""
    both = [
        {"kind": "symbol", "key": "AA"} | security("AA", code, number=token)
        for code, token in (("AAA", "1"), ("BBB", "2"))
    ]
    symbols = map_of(security("TCS", "TCS"), collisions=both)

    with pytest.raises(UnknownSymbolError, match=r"AA AAA EQ 1.*AA BBB EQ 2"):
        symbols.isin("AA")


def test_the_digest_tells_contents_and_not_dates() -> None:
    """Equal rows give an equal digest on any day; any other value another one."""
    one = map_of(security("TCS", "TCS"), security("INFY", "INFTEC"))
    same = map_of(security("INFY", "INFTEC"), security("TCS", "TCS"), as_of=TUESDAY)
    other = map_of(security("TCS", "TCS"), security("INFY", "INFTEC", number="8"))

    assert one.sha256 == same.sha256
    assert one.sha256 != other.sha256


def test_a_copy_is_read_back(tmp_path: Path) -> None:
    """Date and digest stand in its name; equal maps of one date give one file with equal bytes."""
    listed = security("TCS", "TCS", "INE467B01029", listed_on=date(2004, 8, 25))
    symbols = map_of(listed, indices=[index("NIFTY 50", "NIFTY")])
    path = write_snapshot(tmp_path, symbols)
    content = path.read_bytes()

    assert path == tmp_path / SNAPSHOT_FOLDER / f"2026-03-02_{symbols.sha256[:12]}.parquet"
    assert write_snapshot(tmp_path, symbols) == path
    assert path.read_bytes() == content
    copy = read_snapshot(path)
    assert copy.frame.equals(symbols.frame)
    assert (copy.as_of, copy.sha256) == (MONDAY, symbols.sha256)
    assert copy.stock_code("NIFTY50") == "NIFTY"


def test_the_newest_copy_counts(tmp_path: Path) -> None:
    """By its date; a date that is not wanted yet is passed over, as are other files."""
    assert latest_snapshot(tmp_path) is None
    early = map_of(security("TCS", "TCS"), as_of=MONDAY)
    late = map_of(security("TCS", "TCS2"), as_of=TUESDAY)
    write_snapshot(tmp_path, late)
    write_snapshot(tmp_path, early)
    (tmp_path / SNAPSHOT_FOLDER / "notes.parquet").touch()

    newest = latest_snapshot(tmp_path)
    assert newest is not None
    assert newest.as_of == TUESDAY
    former = latest_snapshot(tmp_path, until=MONDAY)
    assert former is not None
    assert former.stock_code("TCS") == "TCS"
    assert latest_snapshot(tmp_path, until=date(2026, 3, 1)) is None


def test_of_one_date_the_last_copy_counts(tmp_path: Path) -> None:
    """A list that was fetched twice on one day was corrected."""
    first = write_snapshot(tmp_path, map_of(security("TCS", "TCS")))
    corrected = map_of(security("TCS", "TCS2"))
    second = write_snapshot(tmp_path, corrected)
    os.utime(first, (1_000, 1_000))
    os.utime(second, (2_000, 2_000))

    newest = latest_snapshot(tmp_path)
    assert newest is not None
    assert newest.sha256 == corrected.sha256


def test_a_changed_copy_is_refused(tmp_path: Path) -> None:
    """Its rows must have the digest of its name."""
    path = write_snapshot(tmp_path, map_of(security("TCS", "TCS")))
    write_table(path, map_of(security("TCS", "OTHER")).frame)

    with pytest.raises(DigestMismatchError, match="was changed"):
        read_snapshot(path)


def test_files_that_are_no_copy_are_refused(tmp_path: Path) -> None:
    """By name, by contents or by columns."""
    with pytest.raises(ConfigError, match="no copy"):
        read_snapshot(tmp_path / "master.parquet")
    damaged = tmp_path / f"2026-03-02_{'0' * 12}.parquet"
    damaged.write_bytes(b"no parquet")
    with pytest.raises(RecordError, match="cannot be read"):
        read_snapshot(damaged)
    write_table(damaged, pl.DataFrame({"symbol": ["TCS"]}))
    with pytest.raises(RecordError, match="other columns"):
        read_snapshot(damaged)


BASE = security("TCS", "TCS", "INE467B01029")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [], []),
        ([], [security("INFY", "INFTEC", "INE009A01021")], [("added", None, "INFY")]),
        ([security("INFY", "INFTEC", "INE009A01021")], [], [("removed", "INFY", None)]),
        (
            [security("LTI", "LTINFO", "INE214T01019")],
            [security("LTIM", "LTINFO", "INE214T01019")],
            [("renamed", "LTI", "LTIM")],
        ),
        (
            [security("COFORGE", "NIITEC", "INE591G01017")],
            [security("COFORGE", "COFORG", "INE591G01017")],
            [("code_changed", "COFORGE", "COFORGE")],
        ),
        (
            [security("LTI", "LTINFO", "INE214T01019")],
            [security("LTIM", "LTIMIN", "INE214T01019")],
            [("code_changed", "LTI", "LTIM"), ("renamed", "LTI", "LTIM")],
        ),
        (
            [security("HDFCBANK", "HDFBAN", "INE040A01026")],
            [security("HDFCBANK", "HDFBAN", "INE040A01034")],
            [("isin_changed", "HDFCBANK", "HDFCBANK")],
        ),
        (
            [security("TATAMOTORS", "TATMOT", "INE155A01022")],
            [
                security("TMPV", "TATMOT", "INE155A01022"),
                security("TATAMOTORS", "TATCOM", "INE1TAE01010"),
            ],
            [("renamed", "TATAMOTORS", "TMPV"), ("reused", "TATAMOTORS", "TATAMOTORS")],
        ),
        (
            [security("AA", "AAA", "INE001A01010")],
            [security("AA", "AAB", "INE002B01010")],
            [("reused", "AA", "AA")],
        ),
        (
            [security("AA", "AAA", None)],
            [security("AA", "AAA", "INE002B01010")],
            [("isin_changed", "AA", "AA")],
        ),
        ([security("AA", "AAA", None)], [security("AA", "AAA", None)], []),
        (
            [security("AA", "AAA", None)],
            [security("BB", "AAA", None)],
            [("added", None, "BB"), ("removed", "AA", None)],
        ),
        (
            [security("LTI", "LTINFO", "INE214T01019")],
            [
                security("LTI", "LTINFO", "INE214T01019"),
                security("LTIM", "LTIMIN", "INE214T01019"),
            ],
            [("added", None, "LTIM")],
        ),
    ],
    ids=[
        *("nothing", "added", "removed", "renamed", "code", "renamed and code", "face value"),
        *("reused", "replaced", "isin learnt", "no isin", "no isin and renamed", "shared isin"),
    ],
)
def test_what_changed(
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    expected: list[tuple[str | None, ...]],
) -> None:
    """The ISIN tells who is who; its first seven characters are the issuer."""
    difference = diff_maps(map_of(BASE, *before), map_of(BASE, *after, as_of=TUESDAY))

    assert difference.schema == SYMBOL_CHANGE_SCHEMA
    assert difference.select("change", "symbol_before", "symbol").rows() == expected


def test_a_symbol_that_collides_now_is_no_removal() -> None:
    """It was usable, and now several rows claim it."""
    both = [{"kind": "symbol", "key": "AA"} | security("AA", code) for code in ("AAA", "BBB")]
    old = map_of(BASE, security("AA", "AAA", "INE001A01010"))

    assert changes(old, map_of(BASE, collisions=both)) == [("collided", "AA", None)]
    assert changes(old, map_of()) == [("removed", "AA", None), ("removed", "TCS", None)]


def test_a_change_carries_codes_and_isins() -> None:
    """Both sides stand in the row."""
    old = map_of(security("LTI", "LTINFO", "INE214T01019"))
    new = map_of(security("LTIM", "LTINFO", "INE214T01019"))

    assert diff_maps(old, new).row(0, named=True) == {
        "change": "renamed",
        "symbol_before": "LTI",
        "symbol": "LTIM",
        "stock_code_before": "LTINFO",
        "stock_code": "LTINFO",
        "isin_before": "INE214T01019",
        "isin": "INE214T01019",
    }
