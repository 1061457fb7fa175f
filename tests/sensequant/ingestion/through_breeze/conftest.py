"""A vendor on this machine, a home, and a person who backfills: the whole way of a bar.

Nothing on the way is replaced: the simulator answers over HTTP, the SDK asks, and what it brings
goes through client, source and backfill into store and ledger. `World.account` holds the result
against the market itself: for every bar that the market has and the store has not, or has with
other values, it says why, out of quarantine and ledger.
"""

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl
import pytest

from sensequant.breeze_simulator import UNLIMITED, BreezeSimulator, SettableClock, SimulatedFeed
from sensequant.errors import MissingBarsError
from sensequant.ingestion.backfill import BackfillReport, run_backfill
from sensequant.ingestion.ledger_records import ChunkEntry, ChunkOutcome
from sensequant.ingestion.opening import Intakes, Outside
from sensequant.ingestion.places import market_digest, store_key
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.ingestion.shelf import Shelf, open_shelf
from sensequant.ingestion.simulators import announce_simulator
from sensequant.market.bars import bar_key
from sensequant.market.intervals import DAILY, Interval, is_intraday
from sensequant.market.sessions import IST
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.config import BreezeConfig, RetryConfig
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.pacing import Pacer, UnlimitedPacer
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.market.sources.simulated.source import HOLE_SESSIONS, LISTING_SESSION, SPLIT_SESSION
from sensequant.market.store import stored_schema
from sensequant.market.symbols import INDIA_VIX, NIFTY50

MARKET = SimulatedConfig(n_symbols=3, history_start=date(2016, 6, 1))
"""All events fall into 2021: the split too, which must be before 2022 for one of the faults."""

WINDOWS = {
    "listing": LISTING_SESSION - 2,
    "hole": HOLE_SESSIONS.stop - 6,
    "split": SPLIT_SESSION - 4,
}
"""First session of a range, as a position in the history, by what happens soon after."""

LATER = datetime(2022, 3, 15, 10, 0, tzinfo=IST)
"""A Tuesday long after: every session of 2021 is settled."""

BREEZE = BreezeConfig(
    daily_chunk_sessions=4,
    five_minute_chunk_sessions=4,
    retry=RetryConfig(n_minute_limits=2),
)
# Who waits for a minute looks every second; a sleep that takes longer is one, too.
_LEAST_SLEEP_SECONDS = 10.0
_VALUES = ("open", "high", "low", "close", "volume")
_YEAR = (date(2021, 1, 1), date(2021, 12, 31))

Login = BreezeLogin | None
Where = tuple[str, Interval]
Keys = dict[Where, set[Any]]


class RememberedFeed(SimulatedFeed):
    """The simulated market; intraday bars of 2021 are made once."""

    def __init__(self) -> None:
        super().__init__(MARKET)
        self._intraday: dict[Where, pl.DataFrame] = {}

    def truth(
        self, symbol: str, interval: Interval, start: date | None = None, end: date | None = None
    ) -> pl.DataFrame:
        """Return the true bars."""
        within = (start or date.min, end or date.max)
        is_remembered = within[0] >= _YEAR[0] and within[1] <= _YEAR[1]
        if not is_intraday(interval) or not is_remembered:
            return super().truth(symbol, interval, start, end)
        if (symbol, interval) not in self._intraday:
            self._intraday[symbol, interval] = super().truth(symbol, interval, *_YEAR)
        return self._intraday[symbol, interval].filter(pl.col("session").is_between(*within))


@dataclasses.dataclass
class Account:
    """What store, quarantine and ledger say of the market's bars.

    Attributes
    ----------
    missing
        Why bars of the market are not in the store: the number of them by reason. `lost` is no
        reason: nothing tells of it.
    altered, invented, twice
        Keys of bars with other values than the market's, of none of the market, and of repeated.
    refused
        Rows in quarantine by reason.
    n_stored, n_calls_counted
        Bars in the store; calls of this key that the ledger has counted, of all days.
    """

    missing: Counter[str] = dataclasses.field(default_factory=Counter[str])
    altered: Keys = dataclasses.field(default_factory=dict[Where, set[Any]])
    invented: Keys = dataclasses.field(default_factory=dict[Where, set[Any]])
    twice: Keys = dataclasses.field(default_factory=dict[Where, set[Any]])
    refused: Counter[str] = dataclasses.field(default_factory=Counter[str])
    n_stored: int = 0
    n_calls_counted: int = 0

    @property
    def has_wrong_bars(self) -> bool:
        """Whether a stored bar is not as the market has it."""
        return bool(self.altered or self.invented or self.twice)

    @property
    def is_true(self) -> bool:
        """Whether the store is the market."""
        return not self.missing and not self.has_wrong_bars


class Vendor(NamedTuple):
    """A running simulator and its clock."""

    simulator: BreezeSimulator
    clock: SettableClock


class World:
    """One home and one vendor.

    Parameters
    ----------
    home
        Root of all data.
    market
        What trades.
    vendor
        The vendor and its clock, which is the clock here too; others may have used them before.
    """

    def __init__(self, home: Path, market: SimulatedFeed, vendor: "Vendor") -> None:
        self.home = home
        self.market = market
        self.simulator, self.clock = vendor
        self.simulator.faults.clear()
        self.clock.set(LATER)
        self.simulator.renew_session()
        self.simulator.forget_calls()
        self.breeze = BREEZE
        self.symbols: tuple[str, ...] = ("SIM02", "SIM03")
        self.intervals: tuple[Interval, ...] = ("1day", "5minute")
        self.sessions: list[date] = []
        self.kind: Literal["breeze-simulator", "breeze"] = "breeze-simulator"
        # Of the vendor; None takes the one that the simulator accepts.
        self.login: Login = None
        self.pacer: Pacer = UnlimitedPacer()
        # How far the clock of this machine is ahead of the vendor's.
        self.ahead = timedelta(0)
        self.look_at("listing")

    def look_at(self, window: str, *, n_sessions: int = 8) -> None:
        """Choose the range."""
        every = self.market.truth("SIM02", DAILY)["session"]
        first = WINDOWS[window]
        self.sessions = every[first : first + n_sessions].to_list()

    def stand_at(self, day: date, hour: int) -> None:
        """Set the clock to an hour of a day in India, and log in by browser on that day."""
        self.clock.set(datetime.combine(day, time(hour), IST))
        self.simulator.renew_session()

    def log_in_next_day(self) -> None:
        """Let a person come back the next morning and log in by browser."""
        self.stand_at(self.clock().astimezone(IST).date() + timedelta(days=1), 10)

    @property
    def source(self) -> SourceConfig:
        """Settings of the source."""
        if self.kind == "breeze":
            return SourceConfig(kind="breeze", breeze=self.breeze)
        return SourceConfig(kind="breeze-simulator", simulated=MARKET, breeze=self.breeze)

    @property
    def root(self) -> Path:
        """Root of the store."""
        return self.home / store_key(self.source)

    @property
    def request(self) -> BackfillRequest:
        """What is asked for."""
        return BackfillRequest(
            symbols=self.symbols,
            intervals=self.intervals,
            start=self.sessions[0],
            end=self.sessions[-1],
            source=self.source,
        )

    @property
    def timing(self) -> Timing:
        """Return a world in which waiting takes no time, though the clock goes on."""

        def oversleep(seconds: float) -> None:
            self.clock.advance(timedelta(seconds=max(seconds, _LEAST_SLEEP_SECONDS)))

        return Timing(lambda: self.clock() + self.ahead, oversleep, lambda: 0.5)

    def announce(self) -> None:
        """Tell whoever works in this home where the vendor is."""
        announce_simulator(self.home, self.simulator, market_digest=market_digest(self.source))

    def backfill(self, *, is_forced: bool = False, workers: int = 2) -> BackfillReport:
        """Backfill as a process of its own would: everything is opened, and closed after."""
        if self.kind == "breeze-simulator":
            self.announce()
        outside = Outside(
            home=self.home,
            timing=self.timing,
            login=lambda _: self.login or self.simulator.login,
            rate=self._rate,
        )
        with contextlib.closing(Intakes(outside)) as intakes:
            return run_backfill(
                self.request,
                BackfillOptions(force=is_forced, workers=workers),
                intakes.of(self.source),
                universes=self.home,
            )

    def _rate(self, _key_digest: str, _config: BreezeConfig) -> Pacer:
        return self.pacer

    @cached_property
    def shelf(self) -> Shelf:
        """What is kept."""
        return open_shelf(self.home, self.source)

    def close(self) -> None:
        """Close what was opened to look at it."""
        if "shelf" in vars(self):
            self.shelf.ledger.close()

    @property
    def series(self) -> list[Where]:
        """Symbols and intervals of which the market has bars."""
        stocks: list[Where] = [(one, each) for one in self.symbols for each in self.intervals]
        indices: list[Where] = [(NIFTY50, DAILY), (INDIA_VIX, DAILY)]
        return [*stocks, *indices] if DAILY in self.intervals else stocks

    def truth(self, symbol: str, interval: Interval) -> pl.DataFrame:
        """Return the market's bars of the range."""
        return self.market.truth(symbol, interval, self.sessions[0], self.sessions[-1])

    def entries(self) -> list[ChunkEntry]:
        """Return the ledger's entries."""
        return self.shelf.ledger.entries(self.shelf.store_key)

    def n_calls(self) -> int:
        """Return the calls that reached the vendor; its list of securities is no call."""
        return sum(call.path != "master" for call in self.simulator.calls)

    def account(self) -> Account:
        """Hold the store against the market."""
        account = Account()
        for where in self.series:
            _Book(self, self.shelf, where).enter(account)
        key = self.simulator.login.key_digest
        long_ago = datetime(2000, 1, 1, tzinfo=IST)
        account.n_calls_counted = self.shelf.ledger.calls_since(key, long_ago)
        return account


class _Book:
    """One symbol and interval of an account."""

    def __init__(self, world: World, shelf: Shelf, where: Where) -> None:
        self.where = where
        # Bars of a generated market say so wherever they are.
        is_simulated = world.kind == "breeze-simulator"
        name = "breeze_simulator" if is_simulated else "breeze"
        self.facts = (where[0], name, is_simulated)
        self.key = bar_key(where[1])[1]
        self.truth = world.truth(*where)
        self._shelf = shelf
        self._stored = self._read()
        self.quarantine = shelf.store.quarantine(*where)

    def enter(self, account: Account) -> None:
        """Add up this symbol and interval."""
        account.n_stored += self._stored.height
        account.refused.update(self.quarantine["reason"].to_list())
        if self._stored[self.key].is_duplicated().any():
            account.twice[self.where] = set(self._stored[self.key])
        columns = [self.key, *_VALUES]
        differing = pl.concat(
            [
                self.truth.select(*columns, is_true=pl.lit(value=True)),
                self._stored.select(*columns, is_true=pl.lit(value=False)),
            ]
        ).filter(~pl.struct(columns).is_duplicated())
        if differing.height:
            self._enter_differing(differing, account)
        facts = self._stored.select("symbol", "source", "is_simulated").unique().rows()
        assert facts in ([], [self.facts])

    def _enter_differing(self, differing: pl.DataFrame, account: Account) -> None:
        true = set(differing.filter("is_true")[self.key])
        stored = set(differing.filter(~pl.col("is_true"))[self.key])
        parts = {"altered": true & stored, "invented": stored - true}
        for name, keys in parts.items():
            if keys:
                getattr(account, name)[self.where] = keys
        for key in true - stored:
            session = key if self.where[1] == DAILY else key.astimezone(IST).date()
            account.missing[self._reason(session, key)] += 1

    def _read(self) -> pl.DataFrame:
        symbol, interval = self.where
        try:
            return self._shelf.store.read(symbol, interval=interval)
        except MissingBarsError:
            return stored_schema(interval).to_frame()

    @cached_property
    def _entries(self) -> list[ChunkEntry]:
        symbol, interval = self.where
        shelf = self._shelf
        return shelf.ledger.entries(shelf.store_key, symbol=symbol, interval=interval)

    @cached_property
    def _refused(self) -> dict[date | datetime, str]:
        # A row that was not asked for says nothing of the bar that was.
        own = self.quarantine.filter(pl.col("reason") != "outside_request")
        return dict(own.select(self.key, "reason").iter_rows())

    def _reason(self, session: date, key: date | datetime) -> str:
        refused = self._refused.get(key)
        return self._reason_of(session) if refused is None else refused

    @cache  # noqa: B019 - a book lives for one account
    def _reason_of(self, session: date) -> str:
        asked = [one for one in self._entries if _covers(one, session)]
        if not asked:
            return "never_asked"
        last = asked[-1]
        if last.error_type is not None:
            return str(last.reason)
        if session in last.missing_sessions:
            return "missing_at_source"
        if last.settled_through is None or session > last.settled_through:
            return "pending"
        # That bars of a session are missing can be seen by counting those that are there.
        is_there = self.where[1] != DAILY and session in set(self._stored["session"])
        return "delivered_fewer" if is_there else "lost"


def _covers(entry: ChunkEntry, session: date) -> bool:
    assert entry.start is not None
    assert entry.end is not None
    assert entry.outcome is not ChunkOutcome.PRESENT
    return entry.start <= session <= entry.end


@pytest.fixture(scope="session")
def market() -> RememberedFeed:
    """Return three stocks, in 2021: one with a hole, one that is split, one that is listed."""
    return RememberedFeed()


@pytest.fixture(scope="session")
def vendor(market: RememberedFeed) -> Iterator[Vendor]:
    """Return a running vendor; starting one, and a copy of the SDK for it, takes its time."""
    clock = SettableClock(LATER)
    # The clock stands, so one minute would have all calls.
    with BreezeSimulator(market, clock=clock, limits=UNLIMITED) as simulator:
        yield Vendor(simulator, clock)


@pytest.fixture
def make_world(market: RememberedFeed, vendor: Vendor) -> Iterator[Callable[..., World]]:
    """Return what makes worlds, one after the other, each with a home of its own."""
    with contextlib.ExitStack() as stack:

        def made(home: Path, *, other: tuple[BreezeSimulator, SettableClock] = vendor) -> World:
            world = World(home, market, Vendor(*other))
            return stack.enter_context(contextlib.closing(world))

        yield made


@pytest.fixture
def world(tmp_path: Path, make_world: Callable[..., World]) -> World:
    """Return an empty home at a time when every session of the range is settled."""
    return make_world(tmp_path / "home")
