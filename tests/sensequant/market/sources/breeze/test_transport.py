"""Tests of how requests travel."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sensequant.market.sources.breeze.transport import RawReply, Transport, TransportConfig


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport(_config())
    yield made
    made.close()


def _config(**changes: Any) -> TransportConfig:
    fields: dict[str, Any] = {
        "connect_seconds": 1.0,
        "read_seconds": 5.0,
        "is_direct": True,
        "has_ipv4_only": False,
    }
    return TransportConfig(**(fields | changes))


def test_last_reply_is_kept_once(service: Any, transport: Transport) -> None:
    """Status, headers and bytes of the last reply, then nothing."""
    service.script("a", b"\xffbytes", status=418, headers=(("X-Test", "yes"),))
    transport.get(f"{service.base}/x/a")

    sent = transport.collect()
    assert sent.reply is not None
    assert (
        sent.reply.status,
        sent.reply.headers["x-test"],
        sent.reply.body,
    ) == (418, "yes", b"\xffbytes")
    assert transport.collect() == (0, None)


def test_reply_does_not_show_its_body() -> None:
    """A body may hold a session."""
    assert repr(RawReply(200, {"a": "b"}, b"secret")) == "RawReply(status=200, 6 bytes)"


def test_each_thread_sees_its_own_reply(service: Any, transport: Transport) -> None:
    """What another thread received is not seen."""
    service.script("a", b"mine")
    transport.get(f"{service.base}/x/a")
    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.append(transport.collect()))
    thread.start()
    thread.join()

    assert seen == [(0, None)]


def test_silence_ends(service: Any) -> None:
    """A service that does not answer is left after the time set."""
    service.script("a", b"late", delay_seconds=0.6)
    transport = Transport(_config(read_seconds=0.1))

    with pytest.raises(requests.ReadTimeout):
        transport.get(f"{service.base}/x/a")
    assert transport.collect() == (1, None)
    transport.close()


def test_redirect_is_not_followed(service: Any, transport: Transport) -> None:
    """The session stays with the address that it was meant for."""
    service.script("a", b"", status=302, headers=(("Location", f"{service.base}/x/b"),))
    response = transport.get(f"{service.base}/x/a")

    assert response.status_code == 302
    assert service.kinds() == ["a"]


def test_connections_are_used_again(
    service: Any, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread needs one connection, whatever it asks."""
    made: list[object] = []
    real = requests.Session

    def counted() -> requests.Session:
        made.append(None)
        return real()

    monkeypatch.setattr(requests, "Session", counted)
    for _ in range(5):
        transport.get(
            f"{service.base}/x/quiet",
            headers={"X-Timestamp": "", "X-Checksum": ""},
            data='{"a": 1}',
        )

    assert len(made) == 1


def test_no_cookie_is_sent_back(service: Any, transport: Transport) -> None:
    """The SDK keeps none either."""
    service.script("a", b"", headers=(("Set-Cookie", "who=me; Path=/"),))
    service.script("a", b"")
    transport.get(f"{service.base}/x/a")
    transport.get(f"{service.base}/x/a")

    assert "Cookie" not in service.seen[1].headers


def test_proxies_of_the_environment_are_passed_over(
    service: Any, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would take what is meant for this machine; others may need one."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    service.script("a", b"")
    transport.get(f"{service.base}/x/a")
    by_proxy = Transport(_config(is_direct=False))

    with pytest.raises(requests.exceptions.ProxyError):
        by_proxy.get(f"{service.base}/x/a")
    by_proxy.close()


def test_ipv4_can_be_asked_for(service: Any) -> None:
    """The connection leaves by IPv4 and reaches the double, which has no other."""
    service.script("a", b"here")
    transport = Transport(_config(has_ipv4_only=True))

    assert transport.get(f"{service.base}/x/a").content == b"here"
    port = service.base.rsplit(":", 1)[1]
    with pytest.raises(requests.ConnectionError):
        transport.get(f"http://[::1]:{port}/x/a")
    transport.close()


def test_connection_in_use_is_closed_when_given_back(service: Any) -> None:
    """Closing during a request lets it end and keeps nothing open."""
    service.script("a", b"last", delay_seconds=0.2)
    transport = Transport(_config())
    thread = threading.Thread(target=lambda: transport.get(f"{service.base}/x/a"))
    thread.start()
    while not service.seen:
        thread.join(0.01)
    transport.close()
    thread.join()

    assert transport._idle == []
