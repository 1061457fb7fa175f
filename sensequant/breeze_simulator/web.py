"""HTTP for the simulator, as the SDK needs it.

Belongs here: requests and replies on a connection. Does not belong here: what is answered
(`service`).

Version 1.1, GET with a body, Content-Length, and one write per reply; with more than one, a kept
connection stalls at each of them. The header `Date` is the simulator's time, because a client may
judge its own clock by it.
"""

import contextlib
import socket
import struct
import sys
import threading
from collections.abc import Generator
from datetime import UTC
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from sensequant.breeze_simulator.clock import Clock
from sensequant.breeze_simulator.service import Service
from sensequant.breeze_simulator.wire import Reply
from sensequant.errors import ConfigError

__all__ = ["port_taken", "serving_http"]

_BACKLOG = 128
_POLL_SECONDS = 0.02


@contextlib.contextmanager
def serving_http(service: Service, *, clock: Clock, host: str, port: int) -> Generator[int]:
    """Serve HTTP in threads of its own for the length of a block; yields the port.

    Raises
    ------
    ConfigError
        The port is taken.
    BaseException
        The simulator failed on a request; raised at the end of the block.
    """
    try:
        server = _Server((host, port), service, clock)
    except OSError as error:
        raise port_taken(host, port, error) from error
    thread = threading.Thread(
        target=server.serve_forever, args=(_POLL_SECONDS,), name="breeze-http", daemon=True
    )
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.end_connections()
        server.server_close()
        thread.join()
    if server.errors:
        # The client saw a connection without an answer; whoever ran the simulator sees why.
        raise server.errors[0]


def port_taken(host: str, port: int, error: OSError) -> ConfigError:
    """Return the error of a port that cannot be opened."""
    return ConfigError(
        "the Breeze simulator cannot listen there",
        where=f"{host}:{port}",
        expected="a free port of this machine",
        found=error.strerror or str(error),
        remedy="stop what listens there, or name another port; 0 takes a free one",
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = _BACKLOG

    def __init__(self, address: tuple[str, int], service: Service, clock: Clock) -> None:
        self.service = service
        self.clock = clock
        self.is_stopping = threading.Event()
        self.errors: list[BaseException] = []
        self._connections: set[socket.socket] = set()
        self._connecting = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connecting:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connecting:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep an error of the simulator; a client that goes away in the middle is none."""
        del request, client_address
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.errors.append(error)

    def end_connections(self) -> None:
        self.is_stopping.set()
        with self._connecting:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        server = cast("_Server", self.server)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = server.service.answer(self.path, headers, body)
        if reply.delay_seconds:
            server.is_stopping.wait(reply.delay_seconds)
        if reply.is_reset:
            self._reset()
            return
        content = reply.body if reply.n_bytes_sent is None else reply.body[: reply.n_bytes_sent]
        self.wfile.write(_head(reply, server.clock) + content)
        if reply.n_bytes_sent is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Write no log: `BreezeSimulator.calls` is it."""

    def _reset(self) -> None:
        # Closing with a linger of zero seconds sends RST in place of FIN.
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True


def _head(reply: Reply, clock: Clock) -> bytes:
    fields = {
        "Server": "BreezeSimulator",
        "Date": format_datetime(clock().astimezone(UTC), usegmt=True),
        "Content-Type": reply.content_type,
        "Content-Length": len(reply.body),
    }
    lines = [f"HTTP/1.1 {reply.http_status} {HTTPStatus(reply.http_status).phrase}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    if reply.location:
        lines.append(f"Location: {reply.location}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
