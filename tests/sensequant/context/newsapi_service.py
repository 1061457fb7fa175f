"""A server on this machine that speaks NewsAPI's protocol, for tests."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "0123456789abcdef-secret"
Reply = tuple[int, Any, dict[str, str]]


def article(number: int, **fields: Any) -> dict[str, Any]:
    """Return a headline as the service has it, of one of 28 days of January 2024."""
    return {
        "source": {"id": None, "name": "Paper"},
        "title": f"Profit rises {number}",
        "publishedAt": f"2024-01-{number % 28 + 1:02}T10:00:00Z",
    } | fields


class Service:
    """What the service would say, and what it was asked."""

    def __init__(self) -> None:
        self.articles: list[dict[str, Any]] = []
        self.first: list[Reply] = []
        self.asked: list[dict[str, str]] = []
        self.keys: list[str | None] = []
        self.most = 10_000
        self.port = 0
        self.silence = threading.Event()
        self.silence.set()

    def answer(self, path: str, key: str | None) -> Reply:
        """Return status, body and headers, as the service describes them."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        self.asked.append(asked)
        self.keys.append(key)
        assert self.silence.wait(timeout=10)
        if self.first:
            return self.first.pop(0)
        if key != KEY:
            return 401, {"status": "error", "code": "apiKeyInvalid", "message": f"{key}"}, {}
        size, number = int(asked["pageSize"]), int(asked["page"])
        part = self.articles[size * (number - 1) : size * number]
        if size * (number - 1) >= self.most:
            return 426, {"status": "error", "code": "maximumResultsReached"}, {}
        total = len(self.articles)
        return 200, {"status": "ok", "totalResults": total, "articles": part}, {}


@contextmanager
def serving(service: Service) -> Generator[None]:
    """Let a service answer at its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body, headers = service.answer(self.path, self.headers.get("X-Api-Key"))
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            # Who asked may be gone.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
