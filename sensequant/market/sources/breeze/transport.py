"""How the SDK's requests travel: pooled connections, timeouts, and the reply kept as it came.

Belongs here: what stands in for the library `requests` within the SDK. Does not belong here: what
a reply means (`classify`), or which requests are made (`sdk`).

The SDK makes a connection for each request, sets no timeout, follows redirects and drops status and
headers. Here connections are pooled, silence ends, a redirect is a reply like any other (following
one would hand the session to another address), and cookies are not kept, because the SDK alone
keeps none either. Only GET exists, so that nothing can place an order.
"""

import dataclasses
import threading
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter

__all__ = ["RawReply", "Transport", "TransportConfig"]

_ANY_IPV4 = ("0.0.0.0", 0)  # noqa: S104 - the local end of an outgoing connection, no server


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class RawReply:
    """A reply before anybody read it.

    Parameters
    ----------
    status
        Status of HTTP.
    headers
        Headers by name in lower case.
    body
        Bytes as they came. They may hold a session, so they are not shown.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"RawReply(status={self.status}, {len(self.body)} bytes)"


@dataclasses.dataclass(frozen=True, slots=True)
class TransportConfig:
    """How to reach the service.

    Parameters
    ----------
    connect_seconds, read_seconds
        Longest waits for a connection and for the next bytes.
    is_direct
        Whether proxies named by the environment are passed over.
    has_ipv4_only
        Whether connections leave by IPv4 only.
    """

    connect_seconds: float
    read_seconds: float
    is_direct: bool
    has_ipv4_only: bool


class Sent(NamedTuple):
    """What a thread sent since it was last asked: how many requests, and the last reply."""

    n_requests: int
    reply: RawReply | None


class Transport:
    """Requests of any number of threads; each thread sees its own last reply.

    Parameters
    ----------
    config
        How to reach the service.
    """

    def __init__(self, config: TransportConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._idle: list[requests.Session] = []
        self._is_closed = False
        self._sent = threading.local()

    def get(self, url: str, **options: Any) -> requests.Response:
        """Send a GET and keep its reply.

        Raises
        ------
        requests.RequestException
            No reply came, or it broke off.
        """
        self._sent.value = Sent(self._last().n_requests + 1, None)
        options.setdefault("timeout", (self._config.connect_seconds, self._config.read_seconds))
        session = self._taken()
        try:
            response = session.get(url, allow_redirects=False, **options)
        finally:
            self._given_back(session)
        headers = {name.lower(): value for name, value in response.headers.items()}
        reply = RawReply(response.status_code, headers, response.content)
        self._sent.value = Sent(self._last().n_requests, reply)
        return response

    def collect(self) -> Sent:
        """Return what this thread sent since the last time, and forget it."""
        sent = self._last()
        self._sent.value = Sent(0, None)
        return sent

    def close(self) -> None:
        """Close every connection; one that is in use is closed when it is given back."""
        with self._lock:
            self._is_closed = True
            sessions, self._idle = self._idle, []
        for session in sessions:
            session.close()

    def _last(self) -> Sent:
        return getattr(self._sent, "value", Sent(0, None))

    def _taken(self) -> requests.Session:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._new_session()

    def _given_back(self, session: requests.Session) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(session)
                return
        session.close()

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = not self._config.is_direct
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        if self._config.has_ipv4_only:
            adapter = _Ipv4Adapter()
            session.mount("http://", adapter)
            session.mount("https://", adapter)
        return session


class _Ipv4Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(  # pyright: ignore[reportUnknownMemberType]
            *arguments, **options, source_address=_ANY_IPV4
        )
