"""Facts about opening sources, once per process and for all its threads."""

import base64
import contextlib
import dataclasses
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import requests

from sensequant.breeze_simulator import (
    UNLIMITED,
    BreezeSimulator,
    Fault,
    SettableClock,
    SimulatedFeed,
)
from sensequant.breeze_simulator.access import simulated_login
from sensequant.breeze_simulator.fault_catalog import CUSTOMER, HISTORY_V2
from sensequant.errors import (
    AuthExpiredError,
    ConfigError,
    DigestMismatchError,
    MasterUnavailableError,
    MinuteLimitError,
)
from sensequant.ingestion.backfill import run_backfill
from sensequant.ingestion.chunks import ingest_chunk
from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.ledger_records import StopKind
from sensequant.ingestion.opening import Intakes, Outside
from sensequant.ingestion.places import ledger_path, logins_folder, market_digest, store_key
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.ingestion.shelf import open_shelf
from sensequant.ingestion.simulators import announce_simulator, simulator_file
from sensequant.market.sessions import IST
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.config import BreezeConfig, RetryConfig
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.pacing import Pacer, UnlimitedPacer
from sensequant.market.sources.breeze.source import BreezeSource
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.market.symbol_map import (
    SNAPSHOT_FOLDER,
    SYMBOL_MAP_SCHEMA,
    SymbolMap,
    latest_snapshot,
    write_snapshot,
)

MARKET = SimulatedConfig(n_symbols=3)
SIMULATOR = SourceConfig(kind="breeze-simulator", simulated=MARKET)
NOON = datetime(2024, 6, 28, 12, 0, tzinfo=IST)
TODAY = NOON.date()
WEEK = Chunk("SIM02", "1day", date(2024, 6, 17), date(2024, 6, 21))
BAR_HEADER = (
    "interval,symbol,session,open,high,low,close,volume,previous_close,average_price,turnover_inr,"
    "n_trades,delivered_volume,series,source_symbol,source,is_simulated,fetched_at_utc,is_final\n"
)


class World:
    """What surrounds the library: a home, a clock, chance, logins, and a limit per minute."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = SettableClock(NOON)
        self.n_drawn = 0
        self.logins: list[str | None] = []
        self.rates: list[tuple[str, BreezeConfig]] = []
        self.forgotten: list[str] = []

    @property
    def outside(self) -> Outside:
        """The same for the library."""
        timing = Timing(self.clock, self._sleep, self._draw)
        return Outside(self.home, timing, self._login, self._rate, self.forgotten.append)

    def write_file(self, symbol: str) -> Path:
        """Add two bars of a symbol to a folder of files, and return the folder."""
        folder = self.home.parent / "bars"
        folder.mkdir(exist_ok=True)
        rows = [
            f"1day,{symbol},{day},100,102,99,101,10,,,,,,EQ,{symbol},nsepy,false,"
            "2024-02-01T10:00:00Z,true\n"
            for day in ("2024-01-01", "2024-01-02")
        ]
        (folder / f"{symbol}.csv").write_text(BAR_HEADER + "".join(rows))
        return folder

    def _sleep(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def _draw(self) -> float:
        self.n_drawn += 1
        return self.n_drawn / 1000

    def _login(self, block: str | None) -> BreezeLogin:
        self.logins.append(block)
        return simulated_login(1000 + len(self.logins))

    def _rate(self, key_digest: str, config: BreezeConfig) -> Pacer:
        self.rates.append((key_digest, config))
        return UnlimitedPacer()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return an empty home on a Friday."""
    return World(tmp_path / "home")


@pytest.fixture
def start(world: World) -> Iterator[Callable[[], Intakes]]:
    """Return what begins a process of its own; each ends with the test."""
    with contextlib.ExitStack() as stack:

        def started() -> Intakes:
            return stack.enter_context(contextlib.closing(Intakes(world.outside)))

        yield started


@pytest.fixture
def intakes(start: Callable[[], Intakes]) -> Intakes:
    """Return what is open in a process: nothing yet."""
    return start()


@pytest.fixture
def vendor(world: World) -> Iterator[BreezeSimulator]:
    """Return a simulator that somebody started and announced."""
    with BreezeSimulator(SimulatedFeed(MARKET), clock=world.clock, limits=UNLIMITED) as running:
        announce_simulator(world.home, running, market_digest=market_digest(SIMULATOR))
        yield running


def breeze(context: IngestContext) -> BreezeSource:
    assert isinstance(context.source, BreezeSource)
    return context.source


def paths_asked(simulator: BreezeSimulator) -> list[str]:
    return [call.path for call in simulator.calls]


def delivered(context: IngestContext) -> list[float]:
    return context.source.fetch(WEEK).bars["close"].to_list()


def truth() -> list[float]:
    market = SimulatedFeed(MARKET)
    return market.truth(WEEK.symbol, "1day", WEEK.start, WEEK.end)["close"].to_list()


def known_at_vendor(world: World) -> None:
    """Keep the vendor's list of today, so that opening the real vendor needs no network."""
    row = {"kind": "security", "symbol": "TCS", "stock_code": "TCS", "listed_on": date(2004, 8, 25)}
    found = SymbolMap(pl.DataFrame([row], schema=SYMBOL_MAP_SCHEMA), TODAY)
    write_snapshot(world.home / "breeze", found)


def at_once(intakes: Intakes, source: SourceConfig, *, n_threads: int = 8) -> list[IngestContext]:
    barrier = threading.Barrier(n_threads)

    def ask(_: int) -> IngestContext:
        barrier.wait()
        return intakes.of(source.model_copy(deep=True))

    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(ask, range(n_threads)))


def test_eight_threads_share_one_login(intakes: Intakes, vendor: BreezeSimulator) -> None:
    """All get the same open source: one list is downloaded, one login made and proven."""
    contexts = at_once(intakes, SIMULATOR)
    with ThreadPoolExecutor(8) as pool:
        bars = list(pool.map(delivered, contexts))

    assert len({id(context) for context in contexts}) == 1
    assert bars == [truth()] * 8
    asked = paths_asked(vendor)
    assert asked[:3] == ["master", "customerdetails", "quotes"]
    assert asked[3:] == ["v2/historicalcharts"] * 8


def test_eight_threads_share_one_simulator(world: World, intakes: Intakes) -> None:
    """Where none runs, one is started for all of them, with one draw for its login."""
    before = threading.active_count()
    (context,) = {id(one): one for one in at_once(intakes, SIMULATOR)}.values()
    n_threads = threading.active_count() - before

    assert world.n_drawn == 1
    assert delivered(context) == truth()
    intakes.of(SIMULATOR)
    assert world.n_drawn == 1
    # Another market has a simulator of its own.
    other = SourceConfig(kind="breeze-simulator", simulated=SimulatedConfig(n_symbols=3, seed=7))
    assert intakes.of(other).source.fetch(WEEK).bars["close"].to_list() != truth()
    assert threading.active_count() - before >= 2 * n_threads


def test_eight_threads_share_one_login_at_the_vendor(world: World, intakes: Intakes) -> None:
    """The block is read once, and the limit of its key is made once."""
    known_at_vendor(world)
    source = SourceConfig(kind="breeze", credentials_block="mine")

    contexts = at_once(intakes, source)

    assert len({id(context) for context in contexts}) == 1
    assert world.logins == ["mine"]
    assert len(world.rates) == 1


def test_another_kind_is_another_source(intakes: Intakes, world: World) -> None:
    """Simulated, through the simulator, and files: three stores, one ledger."""
    folder = world.write_file("TCS")
    contexts = [
        intakes.of(SourceConfig(kind="simulated", simulated=MARKET)),
        intakes.of(SIMULATOR),
        intakes.of(SourceConfig(kind="files", folder=folder)),
    ]

    assert [context.source.name for context in contexts] == [
        "simulated",
        "breeze_simulator",
        "files",
    ]
    assert len({context.store_key for context in contexts}) == 3
    assert len({context.claims for context in contexts}) == 1
    assert [context.finality is None for context in contexts] == [True, False, True]
    assert [context.key is None for context in contexts] == [True, False, True]
    contexts[0].ledger.begin_backfill("one", request={}, started_at=NOON)
    assert [each.backfill_id for each in contexts[2].ledger.backfills()] == ["one"]


def test_a_folder_that_changed_is_listed_anew(intakes: Intakes, world: World) -> None:
    """A file that came is found, and one that went is no longer there; nothing else opens anew."""
    folder = world.write_file("TCS")
    source = SourceConfig(kind="files", folder=folder)
    first = intakes.of(source)
    assert intakes.of(source) is first

    world.write_file("INFY")
    os.utime(folder, ns=(1, 1))
    second = intakes.of(source)
    (folder / "TCS.csv").unlink()
    os.utime(folder, ns=(2, 2))

    assert first.source.symbols() == ("TCS",)
    assert second.source.symbols() == ("INFY", "TCS")
    assert intakes.of(source).source.symbols() == ("INFY",)


@pytest.mark.parametrize("place", ["bars/index", "index", "elsewhere"])
def test_indices_that_came_are_found(
    intakes: Intakes, world: World, tmp_path: Path, place: str
) -> None:
    """Inside the folder, beside it, or where the settings say."""
    folder = world.write_file("TCS")
    index = tmp_path / place
    named = place == "elsewhere"
    if named:
        index.mkdir()
    source = SourceConfig(kind="files", folder=folder, index_folder=index if named else None)
    assert intakes.of(source).source.indices() == ()

    index.mkdir(exist_ok=True)
    (index / "NIFTY50.csv").write_text("Date,Open\n")
    os.utime(index, ns=(1, 1))

    assert intakes.of(source).source.indices() == ("NIFTY50",)


def test_a_folder_that_is_not_there_leaves_nothing_open(intakes: Intakes, tmp_path: Path) -> None:
    """The error says which; once it is there, the same settings work."""
    source = SourceConfig(kind="files", folder=tmp_path / "bars")
    with pytest.raises(ConfigError, match="bars cannot be read from there"):
        intakes.of(source)
    assert World(tmp_path / "home").write_file("TCS") == source.folder
    assert intakes.of(source).source.symbols() == ("TCS",)


def test_what_fails_to_open_leaves_no_simulator(intakes: Intakes, world: World) -> None:
    """A damaged copy of today's list is an error, and no thread goes on serving after it."""
    root = world.home / store_key(SIMULATOR)
    path = write_snapshot(root, SymbolMap(SYMBOL_MAP_SCHEMA.to_frame(), TODAY))
    path.rename(path.with_name(f"{TODAY}_0123456789ab.parquet"))
    before = threading.active_count()

    with pytest.raises(DigestMismatchError):
        intakes.of(SIMULATOR)

    assert threading.active_count() == before


def test_the_faults_of_a_running_simulator_act(intakes: Intakes, vendor: BreezeSimulator) -> None:
    """Whoever started it wanted them to."""
    vendor.faults.add(Fault(name="master_404"))
    with pytest.raises(MasterUnavailableError, match="status 404"):
        intakes.of(SIMULATOR)
    vendor.faults.clear()
    context = intakes.of(SIMULATOR)
    vendor.faults.add(Fault(name="missing_day", sessions=(date(2024, 6, 19),)))

    assert len(delivered(context)) == len(truth()) - 1
    assert context.key is not None
    assert context.key.key_digest == vendor.login.key_digest


def test_a_simulator_of_another_market_is_left_alone(
    intakes: Intakes, vendor: BreezeSimulator
) -> None:
    """The bars would be others."""
    other = SourceConfig(kind="breeze-simulator", simulated=SimulatedConfig(n_symbols=4))
    assert intakes.of(other).source.symbols() == ("SIM01", "SIM02", "SIM03", "SIM04")
    assert vendor.calls == ()


def test_a_stale_announcement_is_passed_over(
    intakes: Intakes, world: World, vendor: BreezeSimulator
) -> None:
    """The simulator ended without taking it back: the process starts its own."""
    vendor.stop()
    assert simulator_file(world.home).is_file()
    assert delivered(intakes.of(SIMULATOR)) == truth()


def test_a_stop_of_one_simulated_login_does_not_stop_the_next(
    start: Callable[[], Intakes],
) -> None:
    """A process begins with a login of its own, whatever became of the former ones today."""
    first = start().of(SIMULATOR)
    assert first.key is not None
    for kind in StopKind:
        first.ledger.stop(
            first.key.key_digest,
            kind=kind,
            at=NOON,
            message="as the vendor put it",
            session_digest=first.key.session_digest,
        )
    assert first.ledger.stopped(
        first.key.key_digest, at=NOON, session_digest=first.key.session_digest
    )

    second = start().of(SIMULATOR)

    assert second.key is not None
    assert second.key.key_digest != first.key.key_digest
    assert delivered(second) == truth()


def test_a_session_that_ended_at_midnight_is_followed_by_a_new_one(
    world: World, intakes: Intakes
) -> None:
    """A process that goes on past midnight of India opens the vendor anew, list and all."""
    evening = intakes.of(SIMULATOR)
    assert delivered(evening) == truth()
    world.clock.set(datetime(2024, 6, 28, 23, 59, tzinfo=IST))
    assert intakes.of(SIMULATOR) is evening

    world.clock.set(datetime(2024, 6, 29, 0, 1, tzinfo=IST))
    with pytest.raises(AuthExpiredError):
        delivered(evening)
    morning = intakes.of(SIMULATOR)

    assert delivered(morning) == truth()
    symbol_map = breeze(morning).symbol_map
    assert isinstance(symbol_map, SymbolMap)
    assert symbol_map.as_of == date(2024, 6, 29)


def test_the_list_of_securities_is_downloaded_once_a_day(
    world: World, vendor: BreezeSimulator, start: Callable[[], Intakes]
) -> None:
    """Whichever process needs it next finds the copy of today; those of former days are kept."""
    root = world.home / store_key(SIMULATOR)
    for day in (27, 28):
        world.clock.set(datetime(2024, 6, day, 12, 0, tzinfo=IST))
        vendor.renew_session()
        announce_simulator(world.home, vendor, market_digest=market_digest(SIMULATOR))
        for _ in range(2):
            start().of(SIMULATOR)
        assert paths_asked(vendor) == ["master"] * (day - 26)

    kept = sorted(path.name[:10] for path in (root / SNAPSHOT_FOLDER).iterdir())
    assert kept == ["2024-06-27", "2024-06-28"]
    newest = latest_snapshot(root)
    assert newest is not None
    assert newest.symbols() == ("SIM01", "SIM02", "SIM03")
    # A clock that was set back finds the copy of that day, although there is a later one.
    world.clock.set(datetime(2024, 6, 27, 13, 0, tzinfo=IST))
    back = breeze(start().of(SIMULATOR)).symbol_map
    assert isinstance(back, SymbolMap)
    assert back.as_of == date(2024, 6, 27)
    assert paths_asked(vendor) == ["master"] * 2


def test_the_vendors_list_tells_when_a_stock_was_listed(intakes: Intakes) -> None:
    """From the very first opening on, although the list came only with it."""
    listings = intakes.of(SIMULATOR).listings
    assert listings is not None
    market = SimulatedFeed(MARKET)
    assert dict(listings.select("symbol", "start").iter_rows()) == {
        symbol: market.truth(symbol, "1day")["session"][0] for symbol in market.symbols()
    }


def test_without_settings_of_a_pace_nobody_waits(world: World, intakes: Intakes) -> None:
    """More calls than the vendor admits in a minute pass at once, and no limit is made."""
    context = intakes.of(SIMULATOR)
    for _ in range(110):
        context.source.fetch(WEEK)

    assert world.rates == []
    assert world.clock() == NOON
    assert context.key is not None
    assert context.key.calls_per_day > 1_000_000


def test_with_settings_the_vendors_limits_hold(world: World, intakes: Intakes) -> None:
    """The pace is asked for, and a simulator refuses the call after the hundredth of a minute."""
    config = BreezeConfig(
        calls_per_minute=80, calls_per_day=300, retry=RetryConfig(n_minute_limits=0)
    )
    context = intakes.of(SIMULATOR.model_copy(update={"breeze": config}))
    assert context.key is not None
    assert world.rates == [(context.key.key_digest, config)]
    assert context.key.calls_per_day == 300

    # The login costs two calls; the pace of this world lets all of them through.
    for _ in range(98):
        context.source.fetch(WEEK)
    with pytest.raises(MinuteLimitError):
        context.source.fetch(WEEK)
    assert context.ledger.calls_used(context.key.key_digest, TODAY) == 101


def test_the_vendor_itself(world: World, intakes: Intakes) -> None:
    """With the login of the block, its limits and the day's list; nothing is sent by opening."""
    known_at_vendor(world)
    actions = world.home / "actions.csv"
    actions.write_text(
        'SYMBOL,PURPOSE,FACE VALUE,EX-DATE\nTCS,"Bonus 1:1",1,31-May-2018\n', encoding="utf-8"
    )
    login = simulated_login(1001)

    plain = intakes.of(SourceConfig(kind="breeze"))
    slower = intakes.of(
        SourceConfig(kind="breeze", breeze=BreezeConfig(calls_per_minute=50), actions_path=actions)
    )

    assert world.logins == [None, None]
    assert world.rates[0] == (login.key_digest, BreezeConfig())
    assert world.rates[1][1].calls_per_minute == 50
    assert plain.key is not None
    assert (plain.key.key_digest, plain.key.calls_per_day) == (login.key_digest, 4800)
    assert (plain.source.name, plain.source.is_simulated) == ("breeze", False)
    assert plain.store_key == slower.store_key == "breeze"
    assert plain.source.actions().is_empty()
    assert slower.source.actions().select("symbol", "price_ratio").rows() == [("TCS", 0.5)]
    assert plain.listings is not None
    assert plain.listings["symbol"].to_list() == ["TCS"]
    assert breeze(plain).client.n_calls == 0


def test_the_sessions_of_one_key_are_told_apart(world: World, intakes: Intakes) -> None:
    """A new token of today has a digest of its own, and neither digest holds the token."""
    known_at_vendor(world)
    one = intakes.of(SourceConfig(kind="breeze", credentials_block="one"))
    two = intakes.of(SourceConfig(kind="breeze", credentials_block="two"))
    assert one.key is not None
    assert two.key is not None
    assert one.key.session_digest != two.key.session_digest
    token = simulated_login(1001).session_token.get_secret_value()
    assert token not in repr(one.key)


def test_the_actions_of_a_simulated_market(intakes: Intakes, tmp_path: Path) -> None:
    """The market's own, unless a person names a list."""
    own = intakes.of(SIMULATOR).source.actions()
    assert own.select("symbol", "kind").rows() == [("SIM02", "split")]
    path = tmp_path / "actions.csv"
    path.write_text('SYMBOL,PURPOSE,FACE VALUE,EX-DATE\nSIM03,"Bonus 1:1",1,31-May-2024\n')

    named = intakes.of(SIMULATOR.model_copy(update={"actions_path": path})).source.actions()

    assert named.select("symbol", "price_ratio").rows() == [("SIM03", 0.5)]


def test_a_folder_behind_the_simulator(intakes: Intakes, world: World) -> None:
    """Real bars come through the vendor's SDK, marked as simulated."""
    source = SourceConfig(kind="breeze-simulator", folder=world.write_file("TCS"))
    context = intakes.of(source)
    bars = context.source.fetch(Chunk("TCS", "1day", date(2024, 1, 1), date(2024, 1, 2))).bars
    assert bars["close"].to_list() == [101.0, 101.0]
    assert bars["is_simulated"].all()
    assert context.source.actions().is_empty()


def test_closing_ends_the_simulator(world: World) -> None:
    """Nobody listens any more, no thread is left; what is asked for again is opened again."""
    before = threading.active_count()
    intakes = Intakes(world.outside)
    context = intakes.of(SIMULATOR)
    address = breeze(context).client._session._module.config.API_URL
    assert requests.get(address, timeout=5).status_code == 404

    intakes.close()
    intakes.close()

    assert threading.active_count() == before
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=5)
    again = intakes.of(SIMULATOR)
    assert again is not context
    assert delivered(again) == truth()
    intakes.close()


def test_no_secret_is_written_below_the_home(
    world: World, vendor: BreezeSimulator, intakes: Intakes
) -> None:
    """A backfill that goes well in part leaves no key, secret, token or session in any file.

    The announcement of the simulator alone holds its keys, which are made up.
    """
    vendor.faults.add(
        Fault(name="html_200", path=HISTORY_V2, symbol="SIM01"),
        Fault(name="service_error", path=HISTORY_V2, times=2),
    )
    request = BackfillRequest(start=date(2024, 6, 3), source=SIMULATOR, intervals=("1day",))
    context = dataclasses.replace(intakes.of(SIMULATOR), backfill_id="one")
    context.ledger.begin_backfill(
        "one", request=request.model_dump(mode="json"), started_at=world.clock()
    )
    report = run_backfill(request, BackfillOptions(workers=2), context, universes=world.home)
    assert report.n_by_outcome == {"failed": 1, "stored": 4}
    vendor._access.lose()
    with pytest.raises(AuthExpiredError):
        delivered(context)
    intakes.close()

    files = [path for path in world.home.rglob("*") if path.is_file()]
    assert {"ledger.db", "breeze_simulator.json"} <= {path.name for path in files}
    holders = {path.name for path in files if _holds_secret(path, vendor)}
    assert holders == {"breeze_simulator.json"}


def _holds_secret(path: Path, vendor: BreezeSimulator) -> bool:
    access = vendor._access
    session = f"{access.user_id}:{access.session_key}"
    secrets = [
        *(secret.get_secret_value() for secret in (vendor.login.api_key, vendor.login.secret_key)),
        vendor.login.session_token.get_secret_value(),
        session,
        access.session_key,
        base64.b64encode(session.encode()).decode(),
    ]
    content = path.read_bytes().decode("latin-1")
    if path.suffix == ".parquet":
        content += "".join(map(str, pl.read_parquet(path, hive_partitioning=False).rows()))
    if path.suffix == ".db":
        with contextlib.closing(sqlite3.connect(path)) as database:
            content += "".join(database.iterdump())
    return any(secret in content for secret in secrets)


def test_the_limit_of_a_simulator_ends_with_it(
    start: Callable[[], Intakes], world: World, request: pytest.FixtureRequest
) -> None:
    """A simulator of one's own has a key that nobody uses again; a running one has users."""
    paced = SIMULATOR.model_copy(update={"breeze": BreezeConfig()})
    for source in (SIMULATOR, paced):
        start().of(source)
    alone = start()
    alone.of(paced)
    alone.close()
    (*_, (own, _)) = world.rates
    request.getfixturevalue("vendor")
    shared = start()
    shared.of(paced)
    shared.close()

    assert world.forgotten == [own]
    assert len(world.rates) == 3


def logins_of(vendor: BreezeSimulator) -> int:
    """Return how often somebody logged in."""
    return sum(call.path == CUSTOMER for call in vendor.calls)


def test_processes_share_one_login(
    start: Callable[[], Intakes], world: World, vendor: BreezeSimulator
) -> None:
    """Three of them log in once a day; another token is another login."""
    for _ in range(3):
        delivered(start().of(SIMULATOR))
    n_today = logins_of(vendor)
    kept = logins_folder(world.home)
    files = {path: path.read_bytes() for path in kept.iterdir()}
    vendor.renew_session()
    announce_simulator(world.home, vendor, market_digest=market_digest(SIMULATOR))
    for _ in range(2):
        delivered(start().of(SIMULATOR))

    assert n_today == 1
    assert logins_of(vendor) == 2
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files if path.suffix != ".lock"} == {
        0o600
    }


def test_a_ledger_elsewhere_is_used(world: World, url: str) -> None:
    """On SQLite and PostgreSQL: what is fetched and counted stands there, and no file is made."""
    outside = dataclasses.replace(world.outside, ledger=url)
    with contextlib.closing(Intakes(outside)) as intakes:
        context = intakes.of(SIMULATOR)
        ingest_chunk(WEEK, context)
    with contextlib.closing(open_shelf(world.home, SIMULATOR, ledger=url).ledger) as ledger:
        (entry,) = ledger.entries(store_key(SIMULATOR))
        assert context.key is not None
        n_calls = ledger.calls_used(context.key.key_digest, TODAY)

    assert (entry.symbol, entry.n_bars) == ("SIM02", 4)
    # The login, its proof, and the call for the bars.
    assert n_calls == 3
    assert not ledger_path(world.home).exists()
