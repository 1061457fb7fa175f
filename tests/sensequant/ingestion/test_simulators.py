"""Facts about finding the simulator that somebody started."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from sensequant.breeze_simulator import BreezeSimulator, SettableClock, SimulatedFeed
from sensequant.errors import ConfigError
from sensequant.ingestion.simulators import (
    announce_simulator,
    feed_of,
    running_simulator,
    simulator_file,
)
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig

DIGEST = "a" * 64
SMALL = SimulatedConfig(n_symbols=3)


@pytest.fixture(scope="module")
def simulator() -> Iterator[BreezeSimulator]:
    """Return a simulator that runs."""
    clock = SettableClock(datetime(2024, 1, 16, 5, 0, tzinfo=UTC))
    with BreezeSimulator(SimulatedFeed(SMALL), clock=clock) as running:
        yield running


@pytest.fixture
def other_program() -> Iterator[str]:
    """Return the address of a program that answers, and is none of ours."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def alter(home: Path, **fields: Any) -> None:
    path = simulator_file(home)
    path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))


def alter_address(home: Path, **addresses: str | None) -> None:
    told = json.loads(simulator_file(home).read_bytes())["endpoints"]
    changed = {name: one for name, one in (told | addresses).items() if one is not None}
    alter(home, endpoints=changed)


def test_a_running_simulator_is_found(tmp_path: Path, simulator: BreezeSimulator) -> None:
    """With its addresses and its login; asking whether it is there is no call."""
    simulator.forget_calls()
    path = announce_simulator(tmp_path, simulator, market_digest=DIGEST)

    found = running_simulator(tmp_path, DIGEST)

    assert found is not None
    assert found.endpoints == simulator.endpoints
    assert found.login == simulator.login
    assert simulator.calls == ()
    assert path == simulator_file(tmp_path)
    # Nobody else on the machine can read the keys, made up as they are.
    assert path.stat().st_mode & 0o077 == 0


def test_one_of_another_market_is_none(tmp_path: Path, simulator: BreezeSimulator) -> None:
    """Its bars would be others."""
    announce_simulator(tmp_path, simulator, market_digest=DIGEST)
    assert running_simulator(tmp_path, "b" * 64) is None


def test_nobody_announced_anything(tmp_path: Path) -> None:
    """An empty home."""
    assert running_simulator(tmp_path, DIGEST) is None


def test_a_stale_announcement_is_none(tmp_path: Path) -> None:
    """A simulator that was killed could not take its announcement back."""
    clock = SettableClock(datetime(2024, 1, 16, 5, 0, tzinfo=UTC))
    with BreezeSimulator(SimulatedFeed(SMALL), clock=clock) as gone:
        announce_simulator(tmp_path, gone, market_digest=DIGEST)
        assert running_simulator(tmp_path, DIGEST) is not None
    assert running_simulator(tmp_path, DIGEST) is None


def test_another_program_that_has_the_port_now_is_none(
    tmp_path: Path, simulator: BreezeSimulator, other_program: str
) -> None:
    """It answers, but not as a simulator does, and gets no key to see."""
    announce_simulator(tmp_path, simulator, market_digest=DIGEST)
    alter_address(tmp_path, v1=other_program)
    assert running_simulator(tmp_path, DIGEST) is None


@pytest.mark.parametrize("name", ["v1", "v2", "master", "orders"])
@pytest.mark.parametrize("address", ["", None])
def test_an_address_that_is_missing_is_not_the_vendors(
    tmp_path: Path, simulator: BreezeSimulator, name: str, address: str | None
) -> None:
    """Elsewhere an empty address stands for the vendor's own; made-up keys must not go there."""
    announce_simulator(tmp_path, simulator, market_digest=DIGEST)
    alter_address(tmp_path, **{name: address})
    assert running_simulator(tmp_path, DIGEST) is None


@pytest.mark.parametrize("address", ["http://127.0.0.1:99999/", "nonsense", "http://[/"])
def test_an_address_that_is_none(tmp_path: Path, simulator: BreezeSimulator, address: str) -> None:
    """Somebody edited the file."""
    announce_simulator(tmp_path, simulator, market_digest=DIGEST)
    alter_address(tmp_path, v1=address)
    assert running_simulator(tmp_path, DIGEST) is None


@pytest.mark.parametrize(
    "fields",
    [{"api_key": ""}, {"secret_key": "two words"}, {"endpoints": "here"}, {"added": "later"}],
)
def test_an_announcement_that_is_none(
    tmp_path: Path, simulator: BreezeSimulator, fields: dict[str, Any]
) -> None:
    """What cannot be read is not used, and does not end a run."""
    announce_simulator(tmp_path, simulator, market_digest=DIGEST)
    alter(tmp_path, **fields)
    assert running_simulator(tmp_path, DIGEST) is None


def test_half_an_announcement(tmp_path: Path) -> None:
    """No JSON."""
    simulator_file(tmp_path).write_text('{"market_digest": "aaa')
    assert running_simulator(tmp_path, DIGEST) is None


def test_which_market_is_served(tmp_path: Path) -> None:
    """A folder of real bars, or else the simulated market, by default that of no settings."""
    small = feed_of(SourceConfig(kind="breeze-simulator", simulated=SMALL))
    assert small.is_simulated
    assert small.symbols() == ("SIM01", "SIM02", "SIM03")
    assert len(feed_of(SourceConfig(kind="breeze-simulator")).symbols()) == 8

    (tmp_path / "TCS.csv").write_text("Date,Open\n")
    real = feed_of(SourceConfig(kind="breeze-simulator", folder=tmp_path))
    assert not real.is_simulated
    assert real.symbols() == ("TCS",)
    with pytest.raises(ConfigError, match="bars cannot be read from there"):
        feed_of(SourceConfig(kind="breeze-simulator", folder=tmp_path / "nowhere"))
