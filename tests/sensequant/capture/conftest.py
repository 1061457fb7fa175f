"""A vendor whose clock runs ten times as fast, in a session, and a capture that listens to it."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sensequant.breeze_simulator import (
    UNLIMITED,
    BreezeSimulator,
    Ports,
    SettableClock,
    SimulatedFeed,
)
from sensequant.capture.report import DepthCaptureReport
from sensequant.capture.request import CaptureConfig
from sensequant.capture.session import CaptureParts, DepthCapture
from sensequant.context.store import ContextStore
from sensequant.market.sessions import IST, nse_calendar
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.credentials import SharedLogin
from sensequant.market.sources.breeze.depth_socket import DepthSocket, depth_room
from sensequant.market.sources.simulated import SimulatedConfig

NOON = datetime(2024, 1, 16, 12, tzinfo=IST)
SPEED = 10.0
TICK_SECONDS = 0.2
SYMBOLS = ("SIM02", "SIM03")


class World:
    """The vendor, its clock, and a store."""

    def __init__(self, folder: Path) -> None:
        self.clock = SettableClock(NOON, elapsed=lambda: SPEED * time.monotonic())
        self.store = ContextStore(folder, is_simulated=True)
        self.simulator = BreezeSimulator(
            SimulatedFeed(SimulatedConfig(n_symbols=4)),
            clock=self.clock,
            limits=UNLIMITED,
            ports=Ports(tick_seconds=TICK_SECONDS / SPEED),
        )
        self.proofs: list[datetime] = []
        self.refusal: Exception | None = None

    def prove(self) -> None:
        """Say that the session holds, or raise what a test has put here."""
        self.proofs.append(self.clock())
        if self.refusal is not None:
            raise self.refusal

    def parts(self, symbols: tuple[str, ...] = SYMBOLS) -> CaptureParts:
        """Return what a capture works with."""
        access = self.simulator._access
        login = SharedLogin(SecretStr(access.user_id), SecretStr(access.session_key))
        tokens = {each: self.simulator.directory.of_symbol(each).token for each in symbols}
        return CaptureParts(
            socket=DepthSocket(self.simulator.endpoints, login),
            prove=self.prove,
            symbols={depth_room(token): symbol for symbol, token in tokens.items()},
            unknown=(),
            source="breeze_simulator",
            store=self.store,
            calendar=nse_calendar(),
            timing=Timing(self.clock, lambda s: time.sleep(s / SPEED), lambda: 0.5),
        )

    def capture(self, *, seconds: float = 6.0, **config: Any) -> DepthCapture:
        """Return a capture of two symbols that listens so long."""
        chosen = CaptureConfig.model_validate(
            {"flush_seconds": 1.0, "dead_seconds": 600.0} | config
        )
        return DepthCapture(self.parts(), chosen, minutes=seconds / 60)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Return a vendor without faults, at noon."""
    made = World(tmp_path / "home")
    with made.simulator:
        # The first look at a market takes long, and the clock would run on meanwhile.
        for symbol in SYMBOLS:
            made.simulator.stream.last_price(symbol, made.clock())
        made.clock.set(NOON)
        yield made


@pytest.fixture
def captured(world: World) -> Callable[..., DepthCaptureReport]:
    """Return a capture of some seconds: it runs, and returns its report."""

    def run(**options: Any) -> DepthCaptureReport:
        return world.capture(**options).run()

    return run
