"""A double of the Breeze API on loopback, to which the unmodified SDK speaks."""

import base64
import collections
import dataclasses
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from sensequant.market.sources.breeze.client import BreezeClient, LoginKeeper, Timing
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.endpoints import Endpoints
from sensequant.market.sources.breeze.pacing import Pacer, UnlimitedPacer

API_KEY = "k3y+with=signs!"
SECRET = "s3cr3t-of-the-app"  # noqa: S105 - belongs to the double
TOKEN = "98765432"  # noqa: S105
USER = "ABUSER01"
SESSION = "51234567"
MAX_BARS = 1000


@dataclasses.dataclass(frozen=True)
class Reply:
    """One reply: `breaks` names how it breaks off, if it does."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    delay_seconds: float = 0.0
    breaks: str = ""


@dataclasses.dataclass(frozen=True)
class Seen:
    """One request as it came."""

    kind: str
    headers: dict[str, str]
    fields: dict[str, str]


class Service:
    """What the double knows, was asked and will answer."""

    def __init__(self) -> None:
        self.scripted: dict[str, collections.deque[Reply]] = collections.defaultdict(
            collections.deque
        )
        self.seen: list[Seen] = []
        self.rows: list[dict[str, Any]] = []
        self.base = ""
        self.n_in_flight = 0
        self.most_in_flight = 0
        self.lock = threading.Lock()

    @property
    def endpoints(self) -> Endpoints:
        """Addresses of the double."""
        return Endpoints(
            v1=f"{self.base}/v1/",
            v2=f"{self.base}/v2/",
            master=f"{self.base}/master.zip",
            stream=self.base,
            ohlc_stream=self.base,
            orders=self.base,
        )

    def script(self, kind: str, body: Any, *, status: int = 200, **options: Any) -> None:
        """Let the next request of a kind (`*` for any) be answered so."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.scripted[kind].append(Reply(text, status, **options))

    def kinds(self) -> list[str]:
        """Return the kinds of the requests so far."""
        return [seen.kind for seen in self.seen]

    def answer(self, seen: Seen) -> Reply:
        """Return the scripted reply, or what the service says when all is well."""
        for kind in (seen.kind, "*"):
            if self.scripted[kind]:
                return self.scripted[kind].popleft()
        if seen.kind == "customerdetails":
            session = base64.b64encode(f"{USER}:{SESSION}".encode()).decode()
            return _success({"session_token": session, "idirect_userid": USER})
        if seen.kind != "v2" and not _is_signed(seen):
            return _failure(5, "Authentication Fail :: Invalid Checksum.")
        if seen.kind in ("v1", "v2"):
            return _success(self._history(seen))
        return _success([{"ltp": 100.5, "exchange_code": "NSE"}])

    def _history(self, seen: Seen) -> list[dict[str, Any]]:
        first, last = (
            seen.fields[name][:19].replace("T", " ") for name in ("from_date", "to_date")
        )
        within = [row for row in self.rows if first <= row["datetime"] <= last]
        return within[-MAX_BARS:]


def _success(value: Any) -> Reply:
    return Reply(json.dumps({"Success": value, "Status": 200, "Error": None}).encode())


def _failure(status: int, error: str) -> Reply:
    return Reply(json.dumps({"Status": status, "Error": error}).encode())


def _is_signed(seen: Seen) -> bool:
    signed = seen.headers["X-Timestamp"] + seen.fields["body"] + SECRET
    return seen.headers["X-Checksum"] == "token " + hashlib.sha256(signed.encode()).hexdigest()


def _kind_of(path: str) -> str:
    *_, version, name = path.split("/")
    return version if name == "historicalcharts" else name


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    service: Service


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        service = self.server.service
        seen = self._read()
        with service.lock:
            service.seen.append(seen)
            service.n_in_flight += 1
            service.most_in_flight = max(service.most_in_flight, service.n_in_flight)
            reply = service.answer(seen)
        time.sleep(reply.delay_seconds)
        with service.lock:
            service.n_in_flight -= 1
        self._write(reply)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def _read(self) -> Seen:
        parts = urlsplit(self.path)
        fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if body:
            fields |= {"body": body, **json.loads(body)}
        return Seen(_kind_of(parts.path), dict(self.headers), fields)

    def _write(self, reply: Reply) -> None:
        if reply.breaks == "reset":
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        n_missing = 10 if reply.breaks == "short" else 0
        self.send_header("Content-Length", str(len(reply.body) + n_missing))
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = bool(reply.breaks)

    def date_time_string(self, timestamp: float | None = None) -> str:
        scripted = getattr(self.server.service, "date", "")
        return scripted or super().date_time_string(timestamp)


def _started() -> _Server:
    server = _Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


def _fresh(server: _Server) -> Service:
    server.service = Service()
    server.service.base = f"http://127.0.0.1:{server.server_address[1]}"
    return server.service


def _stop(server: _Server) -> None:
    server.shutdown()
    server.server_close()


@pytest.fixture
def start_service() -> Iterator[Callable[[], Service]]:
    """Return what starts a double; each has its own address."""
    servers: list[_Server] = []

    def start() -> Service:
        servers.append(_started())
        return _fresh(servers[-1])

    yield start
    for server in servers:
        _stop(server)


@pytest.fixture(scope="session")
def server() -> Iterator[_Server]:
    """Return a server that runs; for one address the SDK is loaded once."""
    started = _started()
    yield started
    _stop(started)


@pytest.fixture
def service(server: _Server) -> Service:
    """Return a double that runs and was asked nothing yet."""
    return _fresh(server)


@pytest.fixture
def login() -> BreezeLogin:
    """Return the login that the double accepts."""
    return BreezeLogin(SecretStr(API_KEY), SecretStr(SECRET), SecretStr(TOKEN))


@pytest.fixture
def secrets() -> tuple[str, ...]:
    """Return every text that nobody may see."""
    wire = base64.b64encode(f"{USER}:{SESSION}".encode()).decode()
    return (API_KEY, SECRET, TOKEN, USER, SESSION, wire)


@pytest.fixture
def waits() -> list[float]:
    """Return the waits that clients asked for, in seconds."""
    return []


@pytest.fixture
def make_client(
    service: Service, login: BreezeLogin, waits: list[float]
) -> Iterator[Callable[..., BreezeClient]]:
    """Return what makes a client of the double that waits for nothing."""
    clients: list[BreezeClient] = []

    def make(
        config: BreezeConfig | None = None,
        *,
        pacer: Pacer | None = None,
        who: BreezeLogin | None = None,
        keeper: LoginKeeper | None = None,
    ) -> BreezeClient:
        client = BreezeClient(
            service.endpoints,
            who or login,
            pacer=pacer or UnlimitedPacer(),
            config=config or BreezeConfig(),
            timing=Timing(lambda: datetime.now(UTC), waits.append, lambda: 0.5),
            keeper=keeper,
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()
