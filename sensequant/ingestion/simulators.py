"""The simulator of the vendor that a source is to talk to: one that runs already, or a new one.

Belongs here: which market a simulator serves, and how a running one is found. Does not belong here:
the simulator (`sensequant.breeze_simulator`).

A simulator that was started on a terminal tells where it is in a file below the home. A run with
the same market talks to it, so that its faults and limits act; otherwise the run starts one of its
own, inside its process, which ends with it.
"""

import dataclasses
import socket
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from sensequant.breeze_simulator.market import FolderFeed, MarketFeed, SimulatedFeed
from sensequant.breeze_simulator.server import BreezeSimulator
from sensequant.errors import RecordError
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.endpoints import Endpoints
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

_PATIENCE_SECONDS = 1.0


class _Announcement(Record):
    market_digest: str
    endpoints: dict[str, str]
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
            endpoints=dataclasses.asdict(simulator.endpoints),
            api_key=login.api_key.get_secret_value(),
            secret_key=login.secret_key.get_secret_value(),
            session_token=login.session_token.get_secret_value(),
        ),
    )
    return path


def running_simulator(home: Path, market_digest: str) -> RunningSimulator | None:
    """Return the simulator that was announced, if it serves this market and answers."""
    try:
        told = _Announcement.model_validate(read_json(simulator_file(home)))
    except (RecordError, ValueError):
        return None
    if told.market_digest != market_digest or not _answers(told.endpoints["v1"]):
        return None
    login = BreezeLogin(
        SecretStr(told.api_key), SecretStr(told.secret_key), SecretStr(told.session_token)
    )
    return RunningSimulator(Endpoints(**told.endpoints), login)


def _answers(address: str) -> bool:
    parts = urlsplit(address)
    try:
        with socket.create_connection(
            (parts.hostname or "", parts.port or 0), timeout=_PATIENCE_SECONDS
        ):
            return True
    except OSError:
        return False
