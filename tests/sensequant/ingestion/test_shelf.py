"""Facts about what is kept of a source and can be looked at without asking it."""

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sensequant.errors import ConfigError
from sensequant.ingestion.places import ledger_path
from sensequant.ingestion.shelf import LISTINGS_FILE, open_shelf, stored_listings
from sensequant.market.listings import LISTING_SCHEMA
from sensequant.market.sources.build import SourceConfig
from sensequant.market.symbol_map import SYMBOL_MAP_SCHEMA, SymbolMap, write_snapshot

FILES = SourceConfig(kind="files", folder=Path("anywhere"))
VENDOR = SourceConfig(kind="breeze")
FRIDAY = date(2024, 6, 28)


def map_of(*listed: tuple[str, date | None], as_of: date = FRIDAY) -> SymbolMap:
    rows = [
        {"kind": "security", "symbol": symbol, "stock_code": f"{symbol}X", "listed_on": day}
        for symbol, day in listed
    ]
    return SymbolMap(pl.DataFrame(rows, schema=SYMBOL_MAP_SCHEMA), as_of)


def state(root: Path, *rows: str) -> None:
    path = root / LISTINGS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["symbol,kind,start,end,evidence", *rows]) + "\n")


def starts(listings: pl.DataFrame) -> dict[str, date]:
    return dict(listings.filter(pl.col("kind") == "listed").select("symbol", "start").iter_rows())


def test_an_empty_home_knows_nothing(tmp_path: Path) -> None:
    """No bar, no entry, no spell; a ledger is there to be written."""
    with closing(open_shelf(tmp_path, VENDOR).ledger):
        shelf = open_shelf(tmp_path, VENDOR)
        with closing(shelf.ledger):
            assert shelf.store.symbols("1day") == ()
            assert shelf.ledger.entries(shelf.store_key) == []
            assert shelf.listings.schema == LISTING_SCHEMA
            assert shelf.listings.is_empty()
            assert shelf.store_key == "breeze"


def test_a_vendors_bars_settle_and_a_publishers_are_final(tmp_path: Path) -> None:
    """On Friday evening a vendor's settled sessions end before the five that are looked at again.

    A publisher's end with the last one that has closed: Friday's, as the exchange closes at 15:30.
    """
    evening = datetime(2024, 6, 28, 14, 0, tzinfo=UTC)
    noon = datetime(2024, 6, 28, 6, 30, tzinfo=UTC)
    vendor, files = open_shelf(tmp_path, VENDOR), open_shelf(tmp_path, FILES)
    with closing(vendor.ledger), closing(files.ledger):
        assert vendor.finality is not None
        assert vendor.confirm_after == timedelta(hours=6)
        assert vendor.settled_at(evening) == date(2024, 6, 21)
        assert files.finality is None
        assert files.confirm_after == timedelta(0)
        assert files.settled_at(evening) == FRIDAY
        assert files.settled_at(noon) == date(2024, 6, 27)


def test_a_persons_list_wins_over_the_vendors(tmp_path: Path) -> None:
    """Of one symbol the person's date holds; of the others that of the vendor's latest list."""
    write_snapshot(tmp_path, map_of(("AAA", date(2001, 1, 1)), as_of=date(2024, 6, 27)))
    write_snapshot(
        tmp_path, map_of(("AAA", date(2010, 1, 4)), ("BBB", date(2011, 1, 3)), ("CCC", None))
    )
    assert starts(stored_listings(tmp_path)) == {
        "AAA": date(2010, 1, 4),
        "BBB": date(2011, 1, 3),
    }

    state(tmp_path, "AAA,listed,2015-01-01,,a person knows", "BBB,suspended,2020-01-01,2020-02-01,")

    listings = stored_listings(tmp_path)
    assert starts(listings) == {"AAA": date(2015, 1, 1), "BBB": date(2011, 1, 3)}
    told = dict(listings.select("symbol", "evidence").filter(pl.col("symbol") == "AAA").iter_rows())
    assert told == {"AAA": "a person knows"}
    assert listings.filter(pl.col("kind") == "suspended")["symbol"].to_list() == ["BBB"]


def test_only_a_persons_list(tmp_path: Path) -> None:
    """Files come without a vendor's list."""
    state(tmp_path, "AAA,listed,2015-01-01,,")
    assert starts(stored_listings(tmp_path)) == {"AAA": date(2015, 1, 1)}


def test_a_damaged_list_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    """No ledger is left open, because none was opened."""
    state(tmp_path / "breeze", "AAA,listed,someday,,")
    with pytest.raises(ConfigError, match="row of a file of listings is wrong"):
        open_shelf(tmp_path, VENDOR)
    assert not ledger_path(tmp_path).exists()
