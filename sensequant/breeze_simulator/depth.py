"""The socket that streams market depth: Socket.IO version 5, over websockets only.

Belongs here: the handshake, subscriptions, ticks of five levels. Does not belong here: the thread
and the port it runs on (`server`).

A client logs in with user and session key, joins ``4.2!<token>`` and receives the event `stock`
with ``[symbol, seconds since 1970, levels]``, which the SDK takes apart. Outside the hours of a
session nothing is sent. Quantities are drawn from token, level and number of the tick; prices stand
one tick apart around the last price of the last whole minute.
"""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Protocol, cast

import socketio
from socketio.exceptions import ConnectionRefusedError as SocketRefusal

from sensequant.breeze_simulator.access import Access
from sensequant.breeze_simulator.clock import Clock, is_open
from sensequant.breeze_simulator.directory import Directory
from sensequant.breeze_simulator.faults import Faults
from sensequant.breeze_simulator.market import MarketFeed, snapshot
from sensequant.breeze_simulator.quotes import TICK_INR, on_tick

__all__ = ["N_LEVELS", "DepthStream"]

N_LEVELS = 5
_CHANNEL = "4.2!"
_WRONG_ROOM = "4.2!0"
"""Nobody can subscribe to this token, because rows with it are none of the market's."""

_MAX_QUANTITY = 5000
_MAX_ORDERS = 40

Application = Callable[..., Awaitable[None]]


class _Sockets(Protocol):
    # What is used of socketio.AsyncServer, which has no types.

    def on(self, event: str, handler: Callable[..., Awaitable[None]]) -> None: ...

    async def emit(self, event: str, data: object, *, to: str) -> None: ...

    async def disconnect(self, sid: str) -> None: ...

    def start_background_task(self, target: Callable[..., Awaitable[None]], sid: str) -> object: ...

    @property
    def manager(self) -> Any: ...

    @property
    def eio(self) -> Any: ...


class DepthStream:
    """The depth socket as an ASGI application.

    Parameters
    ----------
    feed
        The market.
    directory
        Its names.
    clock
        The vendor's time.
    access
        Who may listen.
    faults
        What goes wrong.
    period_seconds
        Seconds from tick to tick of a subscription.
    """

    def __init__(
        self,
        feed: MarketFeed,
        directory: Directory,
        *,
        clock: Clock,
        access: Access,
        faults: Faults,
        period_seconds: float,
    ) -> None:
        self._feed = feed
        self._directory = directory
        self._clock = clock
        self._access = access
        self._faults = faults
        self._period_seconds = period_seconds
        self._rooms: dict[str, set[str]] = {}
        self._last: dict[str, tuple[datetime, float | None]] = {}
        self.n_sent: Counter[str] = Counter()
        """Ticks that were sent, by room."""

        self.cut_at: list[datetime] = []
        """When a connection was cut."""

        server: Any = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])
        self._sockets = cast("_Sockets", server)
        self._sockets.on("connect", self._connect)
        self._sockets.on("join", self._join)
        self._sockets.on("leave", self._leave)
        self._sockets.on("disconnect", self._disconnect)
        application: Any = socketio.ASGIApp(server)
        self.application = cast("Application", application)

    async def _connect(self, sid: str, environ: object, auth: object = None) -> None:
        del environ
        given = cast("Mapping[str, object]", auth if isinstance(auth, dict) else {})
        is_known = self._access.is_session(str(given.get("user")), str(given.get("token")))
        if not is_known or self._faults.acts("stream_refused", "stream"):
            message = "authentication failed"
            raise SocketRefusal(message)
        self._rooms[sid] = set()
        self._sockets.start_background_task(self._stream, sid)

    async def _join(self, sid: str, rooms: object) -> None:
        self._rooms.get(sid, set()).update(_as_rooms(rooms))

    async def _leave(self, sid: str, rooms: object) -> None:
        self._rooms.get(sid, set()).difference_update(_as_rooms(rooms))

    async def _disconnect(self, sid: str, *_: object) -> None:
        self._rooms.pop(sid, None)

    async def _stream(self, sid: str) -> None:
        spoiler = _Spoiler(self._faults)
        number = 0
        due = time.monotonic()
        while sid in self._rooms:
            # Counted from the beginning, so that what a tick takes delays none of the later ones.
            due = max(due + self._period_seconds, time.monotonic() - self._period_seconds)
            await asyncio.sleep(due - time.monotonic())
            if not self._access.is_live:
                await self._sockets.disconnect(sid)
                return
            now = self._clock()
            for room in sorted(self._rooms.get(sid, ())):
                made = self._made(room, number=number, now=now)
                if made is None:
                    continue
                symbol, tick = made
                if self._faults.acts("stream_silent", "stream", symbol):
                    continue
                if self._faults.acts("stream_dropped", "stream"):
                    await self._cut(sid)
                    return
                for each in spoiler.spoilt(symbol, tick):
                    await self._sockets.emit("stock", each, to=sid)
                    self.n_sent[str(each[0])] += 1
                number += 1

    async def _cut(self, sid: str) -> None:
        self.cut_at.append(self._clock())
        # Without the farewell of the protocol, as a network does it: a client comes back by itself.
        transport = self._sockets.manager.eio_sid_from_sid(sid, "/")
        connection = self._sockets.eio.sockets[transport]
        await connection.close(wait=False, abort=True)
        # The end of the queue ends the writer, which closes the websocket.
        await connection.queue.put(None)

    def _tick(self, room: str, *, number: int, now: datetime) -> list[object] | None:
        made = self._made(room, number=number, now=now)
        return None if made is None else made[1]

    def _made(self, room: str, *, number: int, now: datetime) -> tuple[str, list[object]] | None:
        token = room.removeprefix(_CHANNEL)
        listing = self._directory.of_token(token)
        if not room.startswith(_CHANNEL) or listing is None or not is_open(now):
            return None
        last = self.last_price(listing.symbol, now)
        if last is None:
            return None
        levels = [_level(last, token, number, level) for level in range(N_LEVELS)]
        return listing.symbol, [room, int(now.timestamp()), levels]

    def last_price(self, symbol: str, now: datetime) -> float | None:
        """Return the price around which the book of a symbol stands; None before it traded."""
        # Looking at the market takes a millisecond, and a price holds for the minute.
        minute = now.replace(second=0, microsecond=0)
        known = self._last.get(symbol)
        if known is None or known[0] != minute:
            state = snapshot(self._feed, symbol, now=now)
            known = self._last[symbol] = (minute, None if state is None else state.last)
        return known[1]


class _Spoiler:
    # What goes wrong with the ticks of one connection.

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._held: dict[str, list[object]] = {}
        self._repeated: dict[str, object] = {}

    def spoilt(self, symbol: str, tick: list[object]) -> list[list[object]]:
        """Return what is sent in place of a tick."""
        room, stamp = str(tick[0]), cast("int", tick[1])
        if self._acts("stream_frozen", symbol):
            tick = [room, stamp, self._repeated.setdefault(symbol, tick[2])]
        else:
            self._repeated.pop(symbol, None)
        for name, spoil in _SPOILT_LEVELS.items():
            if self._acts(name, symbol):
                tick = [room, stamp, spoil(cast("list[list[object]]", tick[2]))]
        if self._acts("stream_wrong_token", symbol):
            tick = [_WRONG_ROOM, *tick[1:]]
        held = self._held.get(room)
        if held is not None and cast("int", held[1]) < stamp:
            del self._held[room]
            return [tick, held]
        if held is None and self._acts("stream_out_of_order", symbol):
            self._held[room] = tick
            return []
        return [tick]

    def _acts(self, name: str, symbol: str) -> bool:
        return self._faults.acts(name, "stream", symbol)


def _crossed(levels: list[list[object]]) -> list[list[object]]:
    # The bids climb over the offers.
    raised = 2 * (N_LEVELS + 1) * TICK_INR
    return [[on_tick(cast("float", level[0]) + raised), *level[1:]] for level in levels]


def _empty(levels: list[list[object]]) -> list[list[object]]:
    return [[0.0, 0, 0, "", 0.0, 0, 0, ""] for _ in levels]


def _without_quantity(levels: list[list[object]]) -> list[list[object]]:
    first = levels[0]
    return [[first[0], 0, *first[2:]], *levels[1:]]


_SPOILT_LEVELS: Mapping[str, Callable[[list[list[object]]], list[list[object]]]] = {
    "stream_crossed": _crossed,
    "stream_empty": _empty,
    "stream_zero_quantity": _without_quantity,
}


def _as_rooms(rooms: object) -> set[str]:
    if isinstance(rooms, str):
        return {rooms}
    if isinstance(rooms, list):
        return {one for one in cast("list[object]", rooms) if isinstance(one, str)}
    # The SDK joins False where it found no token.
    return set()


def _level(last: float, token: str, number: int, level: int) -> list[object]:
    drawn = hashlib.sha256(f"{token} {number} {level}".encode()).digest()
    bought, sold, n_bids, n_offers = (
        int.from_bytes(drawn[place : place + 2], "big") for place in (0, 2, 4, 6)
    )
    distance = (level + 1) * TICK_INR
    return [
        on_tick(last - distance),
        1 + bought % _MAX_QUANTITY,
        1 + n_bids % _MAX_ORDERS,
        "",
        on_tick(last + distance),
        1 + sold % _MAX_QUANTITY,
        1 + n_offers % _MAX_ORDERS,
        "",
    ]
