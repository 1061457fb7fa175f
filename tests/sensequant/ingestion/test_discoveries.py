"""Facts about looking up at the vendor which code each symbol has."""

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.breeze_simulator import (
    UNLIMITED,
    BreezeSimulator,
    Fault,
    SettableClock,
    SimulatedFeed,
)
from sensequant.errors import ConfigError
from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.discoveries import (
    DiscoveryRequest,
    discover_symbols,
    write_discovery,
)
from sensequant.ingestion.imports import import_renames
from sensequant.ingestion.opening import Intakes, Outside
from sensequant.ingestion.places import market_digest, store_key
from sensequant.ingestion.simulators import announce_simulator
from sensequant.market.discovery import Discovery, SymbolFinding
from sensequant.market.sessions import IST
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.pacing import Pacer, UnlimitedPacer
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.market.symbol_map import SymbolMap, latest_snapshot, write_snapshot

MARKET = SimulatedConfig(n_symbols=4)
SOURCE = SourceConfig(kind="breeze-simulator", simulated=MARKET)
NOON = datetime(2024, 6, 28, 12, 0, tzinfo=IST)
TODAY, YESTERDAY, LAST_WEEK = date(2024, 6, 28), date(2024, 6, 27), date(2024, 6, 21)


class World:
    """A home, a vendor that runs, and a process that looks symbols up."""

    def __init__(self, home: Path, vendor: BreezeSimulator, clock: SettableClock) -> None:
        self.home = home
        self.root = home / store_key(SOURCE)
        self.vendor = vendor
        self.clock = clock
        announce_simulator(home, vendor, market_digest=market_digest(SOURCE))

    @property
    def outside(self) -> Outside:
        """The world for the library."""
        timing = Timing(self.clock, lambda _: None, lambda: 0.5)
        return Outside(self.home, timing, lambda _: self.vendor.login, _unlimited)

    def looked_up(self, *symbols: str) -> Discovery:
        """Look symbols up as a process of its own; all of the vendor's list where none is named."""
        request = DiscoveryRequest.model_validate({"source": SOURCE, "symbols": symbols or None})
        with contextlib.closing(Intakes(self.outside)) as intakes:
            return self.found(request, intakes.of(SOURCE))

    def found(self, request: DiscoveryRequest, context: IngestContext) -> Discovery:
        """Look symbols up at what is open."""
        return discover_symbols(
            request, context, home=self.home, universes=self.home, now=self.clock()
        )

    def list_of(self, day: date, alter: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """Keep today's list as that of an earlier day, altered."""
        latest = latest_snapshot(self.root)
        assert latest is not None
        frame = alter(latest.frame)
        write_snapshot(self.root, SymbolMap(frame.sort(frame.columns), day))


def _unlimited(_key_digest: str, _config: BreezeConfig) -> Pacer:
    return UnlimitedPacer()


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[BreezeSimulator, SettableClock]]:
    """Return a simulator and its clock."""
    clock = SettableClock(NOON)
    with BreezeSimulator(SimulatedFeed(MARKET), clock=clock, limits=UNLIMITED) as simulator:
        yield simulator, clock


@pytest.fixture
def world(tmp_path: Path, running: tuple[BreezeSimulator, SettableClock]) -> World:
    """Return an empty home beside a vendor without faults."""
    running[0].faults.clear()
    return World(tmp_path / "home", *running)


def only(found: Discovery) -> SymbolFinding:
    (finding,) = found.findings
    return finding


def change(symbol: str, **cells: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    is_it = (pl.col("symbol") == symbol) & (pl.col("kind") == "security")
    return lambda frame: frame.with_columns(
        pl.when(is_it).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
        for name, value in cells.items()
    )


def test_without_a_choice_the_whole_list(world: World) -> None:
    """Every stock of the vendor has the code that the vendor knows it by; nothing was before."""
    found = world.looked_up()

    stocks = {stock.symbol: stock.code for stock in world.vendor.directory.stocks}
    assert {one.symbol: one.stock_code for one in found.findings} == stocks
    assert (found.n_symbols, found.n_mapped) == (4, 4)
    assert (found.as_of, found.master_as_of) == (TODAY, TODAY)
    assert found.previous_as_of is None
    assert found.n_changes == {}


def test_changes_since_an_earlier_day(world: World) -> None:
    """Today's list is held against the newest one of a day before.

    SIM01 has its code since then, SIM02 another ISIN of its issuer, SIM03 is new, SIM04's name
    belonged to another company.
    """
    world.looked_up()
    isin = {stock.symbol: stock.isin for stock in world.vendor.directory.stocks}
    world.list_of(LAST_WEEK, lambda frame: frame.clear())
    world.list_of(
        YESTERDAY,
        lambda frame: change("SIM04", isin="INE000X01018")(
            change("SIM02", isin=isin["SIM02"][:-3] + "999")(
                change("SIM01", stock_code="OLDCOD")(
                    frame.filter(~((pl.col("symbol") == "SIM03") & (pl.col("kind") == "security")))
                )
            )
        ),
    )

    found = world.looked_up()

    assert found.previous_as_of == YESTERDAY
    assert {one.symbol: one.notes for one in found.findings} == {
        "SIM01": ("code_changed",),
        "SIM02": ("isin_changed",),
        "SIM03": ("added",),
        "SIM04": ("reused",),
    }
    assert found.n_by_note == dict.fromkeys(("added", "code_changed", "isin_changed", "reused"), 1)


def test_a_rename_is_found_by_its_isin(world: World) -> None:
    """The old name has no code; the finding says under which name and code the company is now."""
    world.looked_up()
    world.list_of(YESTERDAY, lambda frame: frame)
    for path in (world.root / "symbols" / "master").glob(f"{TODAY}*"):
        path.unlink()
    world.vendor.faults.add(Fault(name="rename", symbol="SIM02"))

    finding = only(world.looked_up("SIM02"))

    new = world.vendor.directory.of_symbol("SIM02", frozenset({"SIM02"}))
    assert not finding.is_mapped
    assert (finding.reason, finding.renamed_to) == ("renamed", new.exchange_code)
    assert finding.renamed_on == TODAY
    assert f"code {new.code}" in finding.evidence


def test_why_a_symbol_has_no_code(world: World) -> None:
    """Each reason with its evidence: two rows, a merger that a person's list states, no row."""
    changes = world.home.parent / "changes.csv"
    changes.write_text("old,new,date,kind\nGONE,SIM03,2022-02-01,merger\n")
    import_renames(world.home, changes)
    world.vendor.faults.add(Fault(name="master_collision", symbol="SIM01"))

    found = world.looked_up("SIM01", "GONE", "SIM30")

    told = {one.symbol: (str(one.reason), one.evidence) for one in found.findings}
    assert {symbol: reason for symbol, (reason, _) in told.items()} == {
        "SIM01": "collision",
        "GONE": "merged",
        "SIM30": "not_in_master",
    }
    assert found.n_by_reason == {"collision": 1, "merged": 1, "not_in_master": 1}
    assert "90003" in told["SIM01"][1]
    assert "merged into SIM03 on 2022-02-01" in told["GONE"][1]
    assert "similar: SIM04, SIM03, SIM02" in told["SIM30"][1]
    assert found.mapped() == ()


def test_what_was_found_is_kept(world: World) -> None:
    """As a record that reads back, and as a table, both named by the date."""
    found = world.looked_up("SIM01", "NOBODY")

    path = write_discovery(world.root, found)

    assert path == world.root / "symbols" / "discoveries" / "2024-06-28.json"
    assert Discovery.model_validate(json.loads(path.read_bytes())) == found
    table = pl.read_parquet(path.with_suffix(".parquet"))
    assert table.select("symbol", "is_mapped", "reason").rows() == [
        ("NOBODY", False, "not_in_master"),
        ("SIM01", True, None),
    ]


@pytest.mark.parametrize("kind", ["simulated", "files"])
def test_only_a_vendor_has_codes(world: World, kind: str) -> None:
    """Other sources name symbols as NSE does."""
    folder = world.home.parent / "bars"
    folder.mkdir()
    (folder / "TCS.csv").write_text("Date,Open\n")
    source = SourceConfig.model_validate(
        {"kind": kind, "folder": folder if kind == "files" else None}
    )
    with contextlib.closing(Intakes(world.outside)) as intakes:
        context = intakes.of(source)
        with pytest.raises(ConfigError, match="source has no list of securities") as caught:
            world.found(DiscoveryRequest(source=source), context)
    assert caught.value.found == kind


def test_the_simulator_is_asked_by_default() -> None:
    """Nobody needs credentials to see what a discovery is."""
    assert DiscoveryRequest().source.kind == "breeze-simulator"
