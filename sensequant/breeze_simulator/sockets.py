"""The thread in which the depth socket lives.

Belongs here: starting and ending an ASGI application on a port. Does not belong here: what it says
(`depth`).
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Generator

import uvicorn
from websockets.exceptions import InvalidState

from sensequant.breeze_simulator.depth import Application
from sensequant.breeze_simulator.web import port_taken
from sensequant.errors import SourceError

__all__ = ["serving_socket"]

_START_SECONDS = 10.0
_END_SECONDS = 1
_BACKLOG = 128


@contextlib.contextmanager
def serving_socket(application: Application, *, host: str, port: int) -> Generator[int]:
    """Serve an ASGI application in a thread for the length of a block; yields the port.

    Raises
    ------
    ConfigError
        The port is taken.
    SourceError
        The application did not start.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise port_taken(host, port, error) from error
    listener.listen(_BACKLOG)
    server = _Server(application)
    thread = threading.Thread(
        target=server.run, args=([listener],), name="breeze-socket", daemon=True
    )
    thread.start()
    try:
        if not server.is_started.wait(_START_SECONDS):
            raise SourceError("the depth socket did not start", where=f"{host}:{port}")
        yield int(listener.getsockname()[1])
    finally:
        server.end()
        thread.join()
        listener.close()


class _Server(uvicorn.Server):
    def __init__(self, application: Application) -> None:
        self.is_started = threading.Event()
        self._is_ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(
            uvicorn.Config(
                application,
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                ws="websockets-sansio",
                timeout_graceful_shutdown=_END_SECONDS,
            )
        )

    async def main_loop(self) -> None:
        # The inherited one looks every tenth of a second whether it should end.
        self._loop = asyncio.get_running_loop()
        self.is_started.set()
        await self._is_ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # The inherited one waits a tenth of a second for connections, also where there are none.
        if self.server_state.connections:
            # A connection that is closing at this very moment cannot be told to close.
            with contextlib.suppress(InvalidState):
                await super().shutdown(sockets)
                return
        for server in self.servers:
            server.close()

    def end(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._is_ending.set)
