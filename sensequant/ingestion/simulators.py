"""The simulator of the vendor that a source is to talk to: one that runs already, or a new one.

Belongs here: which market a simulator serves, and how a running one is found. Does not belong here:
the simulator (`sensequant.breeze_simulator`).

A simulator that was started on a terminal tells where it is in a file below the home. A run with
the same market talks to it, so that its faults and limits act; otherwise the run starts one of its
own, inside its process, which ends with it.
"""

import contextlib
import dataclasses
from pathlib import Path

from pydantic import SecretStr

from sensequant.breeze_simulator.market import FolderFeed, MarketFeed, SimulatedFeed
from sensequant.breeze_simulator.server import BreezeSimulator
from sensequant.errors import ConfigError, RecordError
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.endpoints import Endpoints
from sensequant.market.sources.breeze.transport import Transport, TransportConfig
from sensequant.market.sources.build import SourceConfig
from sensequant.records import Record
from sensequant.storage import read_json, write_json

__all__ = [
    "RunningSimulator",
    "announce_simulator",
    "feed_of",
    "running_simulator",
    "simulator_file",
]

# Where nobody listens, this machine refuses at once; a busy simulator may take a while.
_PATIENCE = TransportConfig(
    connect_seconds=5.0, read_seconds=5.0, is_direct=True, has_ipv4_only=False
)
_SERVER = "BreezeSimulator"
"""How a simulator names itself in its replies (`breeze_simulator.web`)."""


class _Announcement(Record):
    market_digest: str
    endpoints: Endpoints
    # Made up by the simulator and worth nothing anywhere else.
    api_key: str
    secret_key: str
    session_token: str


@dataclasses.dataclass(frozen=True, slots=True)
class RunningSimulator:
    """Where a simulator listens, and the login that it accepts."""

    endpoints: Endpoints
    login: BreezeLogin


def feed_of(source: SourceConfig) -> MarketFeed:
    """Return the market that a simulator serves for these settings.

    Raises
    ------
    ConfigError
        The folder is missing or holds no bars.
    """
    if source.folder is not None:
        return FolderFeed(source.folder, index_folder=source.index_folder)
    return SimulatedFeed(source.simulated)


def simulator_file(home: Path) -> Path:
    """Return the file in which a simulator on a terminal tells where it is."""
    return home / "breeze_simulator.json"


def announce_simulator(home: Path, simulator: BreezeSimulator, *, market_digest: str) -> Path:
    """Tell runs below this home that a simulator is running; return the file that says so."""
    path = simulator_file(home)
    login = simulator.login
    write_json(
        path,
        _Announcement(
            market_digest=market_digest,
            endpoints=simulator.endpoints,
            api_key=login.api_key.get_secret_value(),
            secret_key=login.secret_key.get_secret_value(),
            session_token=login.session_token.get_secret_value(),
        ),
    )
    return path


def running_simulator(home: Path, market_digest: str) -> RunningSimulator | None:
    """Return the simulator that was announced, if it serves this market and answers.

    An announcement that cannot be read is none: a run then starts a simulator of its own.
    """
    try:
        told = _Announcement.model_validate(read_json(simulator_file(home)))
        login = BreezeLogin(
            SecretStr(told.api_key), SecretStr(told.secret_key), SecretStr(told.session_token)
        )
    except (RecordError, ConfigError, ValueError):
        return None
    # An empty address would be the vendor's own.
    is_whole = all(dataclasses.astuple(told.endpoints))
    if told.market_digest != market_digest or not is_whole or not _answers(told.endpoints):
        return None
    return RunningSimulator(told.endpoints, login)


def _answers(endpoints: Endpoints) -> bool:
    # Another program may have the port by now. No service has this address, so nothing is counted.
    with contextlib.closing(Transport(_PATIENCE)) as transport:
        try:
            reply = transport.get(endpoints.v1)
        # Every error of the library that sends it is one of these.
        except OSError:
            return False
        return reply.headers.get("Server") == _SERVER
