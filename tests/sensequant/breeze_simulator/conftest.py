"""A small market, a clock that stands in a session, and the real SDK pointed at a simulator."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from sensequant.breeze_simulator import (
    UNLIMITED,
    BreezeSimulator,
    Ports,
    SettableClock,
    SimulatedFeed,
)
from sensequant.market.sources.breeze.sdk import Outcome, SdkSession, open_sdk
from sensequant.market.sources.simulated import SimulatedConfig

IST = timezone(timedelta(hours=5, minutes=30))


@pytest.fixture(scope="session")
def feed() -> SimulatedFeed:
    """Return four stocks from 2018: a hole, a split in 2023, a plain one, one listed in 2022."""
    return SimulatedFeed(SimulatedConfig(n_symbols=4))


@pytest.fixture
def clock() -> SettableClock:
    """Return a clock that stands in a session: Tuesday 16 January 2024, 11:03:20 in India."""
    return SettableClock(datetime(2024, 1, 16, 11, 3, 20, tzinfo=IST))


@pytest.fixture
def start(feed: SimulatedFeed, clock: SettableClock) -> Iterator[Callable[..., BreezeSimulator]]:
    """Return what starts simulators, without limits unless told; they end with the test."""
    running: list[BreezeSimulator] = []

    def started(**options: Any) -> BreezeSimulator:
        ports = Ports(tick_seconds=0.02)
        given: dict[str, Any] = {"clock": clock, "limits": UNLIMITED, "ports": ports} | options
        simulator = BreezeSimulator(given.pop("market", feed), **given)
        simulator.start()
        running.append(simulator)
        return simulator

    yield started
    for simulator in running:
        simulator.stop()


@pytest.fixture
def simulator(start: Callable[..., BreezeSimulator]) -> BreezeSimulator:
    """Return a simulator without limits and faults."""
    return start()


class Vendor:
    """The real SDK, logged in at a simulator."""

    def __init__(self, simulator: BreezeSimulator, *, is_logged_in: bool = True) -> None:
        self.simulator = simulator
        self.sdk: SdkSession = open_sdk(simulator.endpoints, simulator.login)
        if is_logged_in:
            assert self.sdk.log_in().failures == ()

    def code(self, symbol: str) -> str:
        """Return the stock code of a symbol."""
        return self.simulator.directory.of_symbol(symbol).code

    def ask(
        self, symbol: str, interval: Any = "1day", *, days: tuple[date, date], version: Any = "v2"
    ) -> Outcome:
        """Ask for the bars of whole days."""
        return self.ask_code(self.code(symbol), interval, days=days, version=version)

    def ask_code(
        self, code: str, interval: Any = "1day", *, days: tuple[date, date], version: Any = "v2"
    ) -> Outcome:
        """Ask for the bars of a code."""
        first, last = (day.isoformat() for day in days)
        return self.sdk.history(
            code,
            interval=interval,
            from_date=f"{first}T00:00:00.000Z",
            to_date=f"{last}T23:59:59.000Z",
            version=version,
        )

    def rows(
        self, symbol: str, interval: Any = "1day", *, days: tuple[date, date], version: Any = "v2"
    ) -> list[dict[str, Any]]:
        """Return the rows of whole days."""
        outcome = self.ask(symbol, interval, days=days, version=version)
        assert outcome.value["Error"] is None, outcome.value
        return outcome.value["Success"]


@pytest.fixture
def connect() -> Iterator[Callable[..., Vendor]]:
    """Return what connects the SDK to a simulator; connections end with the test."""
    vendors: list[Vendor] = []

    def connected(simulator: BreezeSimulator, **options: Any) -> Vendor:
        vendors.append(Vendor(simulator, **options))
        return vendors[-1]

    yield connected
    for vendor in vendors:
        vendor.sdk.close()


@pytest.fixture
def vendor(simulator: BreezeSimulator, connect: Callable[..., Vendor]) -> Vendor:
    """Return the SDK, logged in at a simulator without limits and faults."""
    return connect(simulator)
