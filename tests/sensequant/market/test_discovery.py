"""Facts about what the broker's list says of a universe. The lists are made up."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.market.discovery import FINDING_SCHEMA, Discovery, SymbolFinding, discover
from sensequant.market.renames import RENAME_SCHEMA, RenameTable, read_renames
from sensequant.market.symbol_map import SYMBOL_MAP_SCHEMA, SymbolMap

TODAY = date(2026, 3, 3)
BEFORE = date(2026, 3, 2)
NONE = RenameTable.empty()


def row(symbol: str, code: str, isin: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "kind": "security",
        "symbol": symbol,
        "stock_code": code,
        "isin": isin,
        "token": "7",
        "series": "EQ",
        "company_name": f"{symbol} LIMITED",
        "is_deleted": False,
        "is_priced_in_year": True,
    } | more


def map_of(*rows: dict[str, Any], as_of: date = TODAY) -> SymbolMap:
    frame = pl.DataFrame(list(rows), schema=SYMBOL_MAP_SCHEMA)
    return SymbolMap(frame.sort(frame.columns), as_of)


def table(*changes: tuple[str, str, date, str]) -> RenameTable:
    return RenameTable.from_changes(pl.DataFrame(changes, schema=RENAME_SCHEMA, orient="row"))


def found(
    *symbols: str,
    master: SymbolMap,
    renames: RenameTable = NONE,
    previous: SymbolMap | None = None,
) -> Discovery:
    return discover(symbols, master, renames=renames, previous=previous, today=TODAY)


def only(discovery: Discovery) -> SymbolFinding:
    (finding,) = discovery.findings
    return finding


def test_a_symbol_that_has_a_code() -> None:
    """Code, token, ISIN and series are in the finding, and nothing odd."""
    finding = only(found("IDEA", master=map_of(row("IDEA", "IDECEL", "INE669E01016"))))

    assert finding.is_mapped
    assert finding.reason is None
    assert (finding.stock_code, finding.token, finding.isin) == ("IDECEL", "7", "INE669E01016")
    assert finding.company_name == "IDEA LIMITED"
    assert finding.notes == ()
    assert finding.evidence == "code IDECEL in series EQ"


def test_symbols_once_and_sorted() -> None:
    """With counts by what was found."""
    both = [row("AA", code, kind="collision", reason="symbol") for code in ("A1", "A2")]
    discovery = found("TCS", "AA", "ZZ", "TCS", master=map_of(row("TCS", "TCS"), *both))

    assert [finding.symbol for finding in discovery.findings] == ["AA", "TCS", "ZZ"]
    assert (discovery.n_symbols, discovery.n_mapped) == (3, 1)
    assert discovery.n_by_reason == {"collision": 1, "not_in_master": 1}
    assert discovery.n_by_note == {}
    assert discovery.mapped() == ("TCS",)
    assert (discovery.previous_as_of, discovery.previous_sha256) == (None, None)
    assert discovery.n_changes == {}


def test_an_index_has_a_code_too() -> None:
    """It has no ISIN and no price of the year, which is nothing odd."""
    index = row("NIFTY50", "NIFTY", kind="index", series="0", is_priced_in_year=False)
    finding = only(found("NIFTY50", master=map_of(index)))

    assert finding.stock_code == "NIFTY"
    assert finding.notes == ()


@pytest.mark.parametrize(
    ("cells", "note"),
    [({"series": "BE"}, "trade_to_trade"), ({"is_priced_in_year": False}, "no_price_in_year")],
)
def test_what_is_odd_about_a_row(cells: dict[str, Any], note: str) -> None:
    """The symbol can be asked for, and yet a person should know."""
    discovery = found("AA", master=map_of(row("AA", "AAA", **cells)))

    assert only(discovery).is_mapped
    assert only(discovery).notes == (note,)
    assert discovery.n_by_note == {note: 1}


def test_a_collision_shows_all_candidates() -> None:
    """Neither of their codes is handed out."""
    both = [row("AA", code, kind="collision", reason="symbol") for code in ("A1", "A2")]
    finding = only(found("AA", master=map_of(*both)))

    assert finding.reason == "collision"
    assert finding.stock_code is None
    assert finding.token is None
    assert "A1 in series EQ" in finding.evidence
    assert "A2 in series EQ" in finding.evidence


@pytest.mark.parametrize(
    ("dropped", "reason"),
    [("dead_token", "deleted"), ("deleted", "deleted"), ("other_series", "other_series")],
)
def test_a_row_that_cannot_be_asked_for(dropped: str, reason: str) -> None:
    """The finding says what the row is; its code is only told in words."""
    gone = row("AA", "AAA", "INE001A01010", kind="dropped", reason=dropped, series="BZ")
    finding = only(found("AA", master=map_of(gone)))

    assert finding.reason == reason
    assert (finding.stock_code, finding.isin, finding.series) == (None, "INE001A01010", "BZ")
    assert f"AAA in series BZ, token 7, INE001A01010 (dropped: {dropped})" in finding.evidence


def test_a_name_that_never_was() -> None:
    """The replaced system kept Oberoi Realty under OBEROI, which NSE never had."""
    master = map_of(row("OBEROIRLTY", "OBEREA"), row("TCS", "TCS"))

    assert only(found("OBEROI", master=master)).evidence == (
        "no row has this symbol; similar: OBEROIRLTY"
    )
    assert only(found("QQQQ", master=master)).evidence == "no row has this symbol; similar: none"


def test_a_renamed_symbol_leads_to_the_newest_one() -> None:
    """LTI became LTIM and then LTM; the code is that of the company."""
    renames = table(
        ("LTI", "LTIM", date(2022, 12, 5), "rename"), ("LTIM", "LTM", date(2026, 2, 27), "rename")
    )
    finding = only(found("LTI", master=map_of(row("LTM", "LTINFO")), renames=renames))

    assert finding.reason == "renamed"
    assert (finding.renamed_to, finding.renamed_on) == ("LTM", date(2022, 12, 5))
    assert finding.evidence == "renamed to LTIM on 2022-12-05; now LTM, code LTINFO"


def test_a_merged_symbol() -> None:
    """Mindtree went into LTIM, which has another history."""
    renames = table(("MINDTREE", "LTIM", date(2022, 11, 24), "merger"))
    finding = only(found("MINDTREE", master=map_of(row("TCS", "TCS")), renames=renames))

    assert finding.reason == "merged"
    assert finding.renamed_to == "LTIM"
    assert finding.evidence == "merged into LTIM on 2022-11-24; now LTIM"


def test_a_merged_symbol_that_the_list_still_has() -> None:
    """The list of 2025 has MINDTREE with its old token: mapped, but with a note."""
    renames = table(("MINDTREE", "LTIM", date(2022, 11, 24), "merger"))
    finding = only(found("MINDTREE", master=map_of(row("MINDTREE", "MINLIM")), renames=renames))

    assert finding.is_mapped
    assert finding.notes == ("name_given_up",)
    assert finding.renamed_to == "LTIM"


def test_a_change_of_name_that_lies_ahead() -> None:
    """Only changes up to the day of the look-up count."""
    renames = table(("AA", "BB", date(2026, 3, 4), "rename"))
    finding = only(found("AA", master=map_of(row("AA", "AAA")), renames=renames))

    assert finding.notes == ()
    assert finding.renamed_to is None


def test_a_change_of_name_that_only_the_isin_tells() -> None:
    """The table of changes is older than the list."""
    previous = map_of(row("AA", "AAA", "INE001A01010"), as_of=BEFORE)
    discovery = found("AA", master=map_of(row("BB", "AAA", "INE001A01010")), previous=previous)

    finding = only(discovery)
    assert finding.reason == "renamed"
    assert (finding.renamed_to, finding.renamed_on) == ("BB", TODAY)
    assert discovery.n_changes == {"renamed": 1}
    assert discovery.previous_as_of == BEFORE
    assert discovery.previous_sha256 == previous.sha256


@pytest.mark.parametrize(
    ("before", "now", "notes"),
    [
        (None, row("AA", "AAA", "INE001A01010"), ("added",)),
        (row("AA", "AAA", "INE001A01010"), row("AA", "AAB", "INE001A01010"), ("code_changed",)),
        (row("AA", "AAA", "INE001A01010"), row("AA", "AAA", "INE001A01028"), ("isin_changed",)),
        (row("AA", "AAA", "INE001A01010"), row("AA", "AAA", "INE002B01010"), ("reused",)),
        (row("AA", "AAA", "INE001A01010"), row("AA", "AAA", "INE001A01010"), ()),
    ],
)
def test_what_changed_since_the_last_time(
    before: dict[str, Any] | None, now: dict[str, Any], notes: tuple[str, ...]
) -> None:
    """A symbol that now has another company's ISIN is never passed over in silence."""
    stay = row("TCS", "TCS", "INE467B01029")
    previous = map_of(stay, *([] if before is None else [before]), as_of=BEFORE)
    finding = only(found("AA", master=map_of(stay, now), previous=previous))

    assert finding.is_mapped
    assert finding.notes == notes


def test_a_record_and_a_table() -> None:
    """The record survives JSON; the table has a row per symbol."""
    discovery = found(
        *("TCS", "ZZ", "LTI"),
        master=map_of(row("TCS", "TCS", series="BE")),
        renames=table(("LTI", "LTIM", date(2022, 12, 5), "rename")),
    )

    assert Discovery.model_validate(json.loads(discovery.model_dump_json())) == discovery
    rows = discovery.table()
    assert rows.schema == FINDING_SCHEMA
    assert rows.select("symbol", "is_mapped", "reason", "renamed_on", "notes").rows() == [
        ("LTI", False, "renamed", date(2022, 12, 5), []),
        ("TCS", True, None, None, ["trade_to_trade"]),
        ("ZZ", False, "not_in_master", None, []),
    ]
    assert found(master=map_of(row("TCS", "TCS"))).table().schema == FINDING_SCHEMA


@pytest.mark.real_data
def test_names_that_the_replaced_system_excluded(real_data: Path) -> None:
    """NSE's own list of changes: none of the four was renamed, and neither was Mindtree.

    So nothing in it excuses their absence; with a row in the broker's list each is mapped.
    """
    renames = read_renames(real_data / "corporate_actions" / "symbolchange.parquet")
    names = ("ADANIGREEN", "APLAPOLLO", "DIXON", "IDEA", "MINDTREE")
    master = map_of(*(row(name, f"C{n}") for n, name in enumerate(names)))
    discovery = found(*names, "OBEROI", "TATAMOTORS", master=master, renames=renames)

    assert discovery.mapped() == names
    assert discovery.n_by_note == {}
    assert discovery.n_by_reason == {"not_in_master": 1, "renamed": 1}
