"""Facts about the life of a simulator and its HTTP."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from sensequant.breeze_simulator import (
    BreezeSimulator,
    Fault,
    Ports,
    SettableClock,
    SimulatedFeed,
    sockets,
)
from sensequant.errors import ConfigError, SourceError

IST = timezone(timedelta(hours=5, minutes=30))
WEEK = (date(2024, 1, 8), date(2024, 1, 12))


def test_it_listens_on_the_loopback_alone(simulator: BreezeSimulator) -> None:
    """Nothing leads away from this machine."""
    endpoints = simulator.endpoints

    assert endpoints.is_loopback
    for address in (endpoints.v1, endpoints.v2, endpoints.master, endpoints.stream):
        assert address.startswith("http://127.0.0.1:")
    assert simulator.is_simulated_market


def test_it_starts_and_ends(feed: SimulatedFeed, clock: SettableClock) -> None:
    """It can be started again, not twice at once; ending twice is no error."""
    # Other simulators of this process may go on.
    before = threading.enumerate()
    simulator = BreezeSimulator(feed, clock=clock)
    with pytest.raises(ConfigError, match="not running"):
        _ = simulator.endpoints

    with simulator:
        with pytest.raises(ConfigError, match="running already"):
            simulator.start()
        assert requests.get(simulator.endpoints.master, timeout=5).status_code == 200
    simulator.stop()
    with pytest.raises(ConfigError, match="not running"):
        _ = simulator.endpoints
    with simulator:
        assert requests.get(simulator.endpoints.master, timeout=5).status_code == 200
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert [name for name in left if "breeze-" in name] == []


@pytest.mark.parametrize("which", ["http", "stream"])
def test_a_port_that_is_taken_is_told(
    feed: SimulatedFeed, clock: SettableClock, which: str
) -> None:
    """With the port, and nothing keeps listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        simulator = BreezeSimulator(feed, clock=clock, ports=replace(Ports(), **{which: port}))
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}"):
            simulator.start()
    simulator.start()
    simulator.stop()


def test_a_socket_that_does_not_start_is_told(
    feed: SimulatedFeed, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP is closed again."""

    async def give_up(_: object) -> None:
        pass

    monkeypatch.setattr(sockets, "_START_SECONDS", 0.1)
    monkeypatch.setattr(sockets._Server, "main_loop", give_up)
    simulator = BreezeSimulator(feed, clock=clock)

    with pytest.raises(SourceError, match="did not start"):
        simulator.start()
    with pytest.raises(ConfigError, match="not running"):
        _ = simulator.endpoints


def test_headers_are_those_of_a_plain_server(
    simulator: BreezeSimulator, clock: SettableClock
) -> None:
    """The date is the simulator's, the length is announced, the connection is kept."""
    with requests.Session() as session:
        first = session.get(simulator.endpoints.v2 + "historicalcharts", timeout=5)
        clock.advance(timedelta(days=1))
        second = session.get(simulator.endpoints.v2 + "historicalcharts", timeout=5)

    assert parsedate_to_datetime(first.headers["date"]) == datetime(
        2024, 1, 16, 11, 3, 20, tzinfo=IST
    )
    assert parsedate_to_datetime(second.headers["date"]).day == 17
    assert int(first.headers["content-length"]) == len(first.content)


def test_a_path_that_is_none_is_a_page(simulator: BreezeSimulator) -> None:
    """404, and not in the log of calls."""
    reply = requests.get(simulator.endpoints.v1 + "funds", timeout=5)

    assert reply.status_code == 404
    assert "404 Not Found" in reply.text
    assert simulator.calls == ()


@pytest.mark.parametrize("body", [b"{", b"[1]", b"\xff"])
def test_a_body_that_is_no_object_is_refused_in_words(
    simulator: BreezeSimulator, body: bytes
) -> None:
    """The login finds no key in it."""
    reply = requests.get(simulator.endpoints.v1 + "customerdetails", data=body, timeout=5)

    assert reply.json()["Error"] == "Public Key does not exist."


def test_many_threads_are_served(vendor: Any) -> None:
    """Eight threads, 160 calls: every answer is whole and stands in the log."""
    expected = vendor.rows("SIM03", days=WEEK)

    def ask(_: int) -> list[dict[str, Any]]:
        return vendor.rows("SIM03", days=WEEK)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(160)))

    assert all(rows == expected for rows in found)
    numbers = [call.number for call in vendor.simulator.calls]
    assert numbers == list(range(1, 163))


def test_kept_connections_do_not_stall(vendor: Any) -> None:
    """With two writes per reply each call would wait 40 ms for an acknowledgement."""
    vendor.rows("SIM03", days=WEEK)
    began = time.perf_counter()

    for _ in range(25):
        vendor.rows("SIM03", days=WEEK)

    assert time.perf_counter() - began < 25 * 0.04


def test_ending_does_not_wait_for_a_slow_answer(
    start: Callable[..., BreezeSimulator], connect: Callable[..., Any]
) -> None:
    """A client in the middle of a long silence is cut off."""
    simulator = start()
    vendor = connect(simulator)
    simulator.faults.add(Fault(name="slow", seconds=60.0))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(vendor.ask, "SIM03", days=WEEK)
        while len(simulator.calls) < 2:
            time.sleep(0.01)
        began = time.perf_counter()
        simulator.stop()
        waiting.result(timeout=10)

    assert time.perf_counter() - began < 10


def test_an_error_of_the_simulator_itself_is_not_swallowed(
    feed: SimulatedFeed, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ran it sees the error at its end; the client got no answer."""
    simulator = BreezeSimulator(feed, clock=clock)

    def fail(*_: object) -> None:
        message = "broken"
        raise ZeroDivisionError(message)

    simulator.start()
    monkeypatch.setattr(simulator._service, "answer", fail)
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(simulator.endpoints.master, timeout=5)
    with pytest.raises(ZeroDivisionError, match="broken"):
        simulator.stop()


def test_a_client_that_goes_away_is_no_error(simulator: BreezeSimulator) -> None:
    """It asks, and hangs up before the answer."""
    simulator.faults.add(Fault(name="slow", seconds=0.3, path="master"))
    host, port = simulator.endpoints.master.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /MotherAppMaster/SecurityMaster.zip HTTP/1.1\r\nHost: x\r\n\r\n")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    deadline = time.monotonic() + 5
    while not simulator.calls and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.4)
    assert simulator.calls[-1].path == "master"
