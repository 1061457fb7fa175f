"""The simulator as a running program: two ports on this machine.

Belongs here: how the parts are put together, life and end of the whole. Does not belong here: what
is answered (`service`, `depth`), how it gets onto the wire (`web`, `sockets`).
"""

import contextlib
import dataclasses
from collections.abc import Iterable
from typing import Self

from sensequant.breeze_simulator.access import Access, simulated_login
from sensequant.breeze_simulator.clock import Clock
from sensequant.breeze_simulator.depth import DepthStream
from sensequant.breeze_simulator.directory import Directory
from sensequant.breeze_simulator.faults import Fault, Faults
from sensequant.breeze_simulator.limits import Call, Limits
from sensequant.breeze_simulator.market import MarketFeed
from sensequant.breeze_simulator.service import MASTER_PATH, V1_BASE, V2_BASE, Service
from sensequant.breeze_simulator.sockets import serving_socket
from sensequant.breeze_simulator.web import serving_http
from sensequant.errors import ConfigError
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.endpoints import Endpoints

__all__ = ["BreezeSimulator", "Ports"]


@dataclasses.dataclass(frozen=True, slots=True)
class Ports:
    """Where the simulator listens, and how often it speaks by itself.

    Parameters
    ----------
    http, stream
        Ports; 0 takes a free one.
    host
        Address of the interface. Whoever names another than the loopback serves the network.
    tick_seconds
        Seconds from tick to tick of a subscription to depth.
    """

    http: int = 0
    stream: int = 0
    host: str = "127.0.0.1"
    tick_seconds: float = 0.25


class BreezeSimulator:
    """A vendor of one's own.

    Parameters
    ----------
    market
        What trades.
    clock
        The vendor's time; nothing after it is delivered.
    login
        Keys and first API session; None makes some up.
    faults
        Switches that are on from the start.
    limits
        How often one may ask; None takes the vendor's limits.
    ports
        Where to listen; None takes two free ports of the loopback.

    Raises
    ------
    ConfigError
        A port is taken.
    """

    def __init__(
        self,
        market: MarketFeed,
        *,
        clock: Clock,
        login: BreezeLogin | None = None,
        faults: Iterable[Fault] = (),
        limits: Limits | None = None,
        ports: Ports | None = None,
    ) -> None:
        self.market = market
        self.faults = Faults(faults)
        self._limits = limits or Limits()
        self._ports = ports or Ports()
        self._access = Access(
            login or simulated_login(0), clock=clock, clock_skew=self._limits.clock_skew
        )
        self.directory = Directory(market)
        self._service = Service(
            market,
            self.directory,
            clock=clock,
            access=self._access,
            faults=self.faults,
            limits=self._limits,
        )
        self._depth = DepthStream(
            market,
            self.directory,
            clock=clock,
            access=self._access,
            faults=self.faults,
            period_seconds=self._ports.tick_seconds,
        )
        self._clock = clock
        self._running: contextlib.ExitStack | None = None
        self._endpoints: Endpoints | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_simulated_market(self) -> bool:
        """Whether the bars are generated. No row says so, because no vendor's row would."""
        return self.market.is_simulated

    @property
    def login(self) -> BreezeLogin:
        """Keys and the present API session."""
        return self._access.login

    @property
    def endpoints(self) -> Endpoints:
        """Where it listens.

        Raises
        ------
        ConfigError
            It is not running.
        """
        if self._endpoints is None:
            raise ConfigError("the Breeze simulator is not running", remedy="start it first")
        return self._endpoints

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls since the start, or since `forget_calls`."""
        return self._service.log.all()

    @property
    def stream(self) -> DepthStream:
        """The depth socket, which counts what it sends."""
        return self._depth

    def forget_calls(self) -> None:
        """Empty the log of calls."""
        self._service.log.clear()

    def renew_session(self) -> BreezeLogin:
        """Log in by browser again: the old session ends, the new one lasts to midnight in India."""
        return self._access.renew()

    def start(self) -> None:
        """Open both ports.

        Raises
        ------
        ConfigError
            A port is taken, or the simulator is running.
        SourceError
            The socket did not start.
        """
        if self._running is not None:
            raise ConfigError("the Breeze simulator is running already", remedy="stop it first")
        with contextlib.ExitStack() as stack:
            host = self._ports.host
            web = stack.enter_context(
                serving_http(self._service, clock=self._clock, host=host, port=self._ports.http)
            )
            stream = stack.enter_context(
                serving_socket(self._depth.application, host=host, port=self._ports.stream)
            )
            base, sockets = f"http://{host}:{web}", f"http://{host}:{stream}"
            self._endpoints = Endpoints(
                v1=base + V1_BASE,
                v2=base + V2_BASE,
                master=base + MASTER_PATH,
                stream=sockets,
                # Not served; the SDK words its errors by which of the three an address equals.
                ohlc_stream=f"{sockets}/ohlc",
                orders=f"{sockets}/orders",
            )
            self._running = stack.pop_all()

    def stop(self) -> None:
        """Close both ports and every connection; a second time nothing happens."""
        if self._running is not None:
            self._running.close()
        self._running = None
        self._endpoints = None
