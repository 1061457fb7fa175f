"""The vendor's socket of market depth, through its SDK: one connection, subscriptions, ticks.

Belongs here: what of the SDK a connection needs, and a tick as it came. Does not belong here: when
to connect again, what is done with ticks (`sensequant.capture`).

The SDK knows a symbol by tokens of the list of securities that it downloads; here the rooms are
named by the caller, from our own reading of that list. Its instants are whole seconds; they come in
UTC, whatever zone the process has. Connecting again by itself, which its client would do, is
switched off: the caller wants to know when it was away.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

from sensequant.errors import TransientSourceError
from sensequant.market.sources.breeze.credentials import SharedLogin
from sensequant.market.sources.breeze.endpoints import Endpoints
from sensequant.market.sources.breeze.sdk import load_sdk

__all__ = ["DepthSocket", "DepthTick", "depth_room"]

_CHANNEL = "4.2!"


class DepthTick(NamedTuple):
    """A book as it came.

    Attributes
    ----------
    room
        Which subscription it answers (`depth_room`).
    stamp
        The vendor's time, a whole second in UTC.
    levels
        For each level price and quantity of the bid, then of the ask; nothing is known of what
        they are.
    """

    room: str
    stamp: datetime
    levels: Sequence[tuple[Any, Any, Any, Any]]


def depth_room(token: str) -> str:
    """Return the name of the subscription to the depth of a share of NSE."""
    return f"{_CHANNEL}{token}"


class DepthSocket:
    """A socket that is open or not; it can be opened again after it was lost.

    Parameters
    ----------
    endpoints
        Where the service is.
    login
        Who listens.
    """

    def __init__(self, endpoints: Endpoints, login: SharedLogin) -> None:
        self._module = load_sdk(endpoints)
        self._login = login
        self._breeze: Any = None

    @property
    def is_open(self) -> bool:
        """Whether the connection stands, as far as this side knows."""
        return self._breeze is not None and bool(self._socket.connected)

    def open(
        self,
        rooms: Iterable[str],
        *,
        on_tick: Callable[[DepthTick | None], None],
        on_lost: Callable[[], None],
    ) -> None:
        """Connect and subscribe; ticks come in a thread of the socket, in the order of the wire.

        Parameters
        ----------
        rooms
            Subscriptions (`depth_room`).
        on_tick
            Gets every tick, and None for one that could not be read.
        on_lost
            Is told when the connection is lost.

        Raises
        ------
        TransientSourceError
            The service was not reached, or it refused; the SDK does not tell which.
        """
        self.close()
        self._breeze = breeze = self._module.BreezeConnect("")
        breeze.user_id = self._login.user_id.get_secret_value()
        breeze.session_key = self._login.session_key.get_secret_value()

        def hear(tick: dict[str, Any]) -> None:
            on_tick(_read(tick))

        def lose(*_: object) -> None:
            on_lost()

        breeze.on_ticks = hear
        try:
            breeze.ws_connect()
        except Exception as error:  # noqa: BLE001 - the SDK raises nothing but bare exceptions
            self.close()
            raise _refused(str(error)) from None
        self._guard(on_tick)
        self._socket.reconnection = False
        self._socket.on("disconnect", lose)
        answer = str(breeze.subscribe_feeds(stock_token=list(rooms)))
        if "subscribed successfully" not in answer or not self.is_open:
            self.close()
            raise _refused(answer)

    def close(self) -> None:
        """End the connection, which the SDK itself does not; nobody is told that it was lost."""
        if self._breeze is None or self._breeze.sio_rate_refresh_handler is None:
            self._breeze = None
            return
        socket = self._socket
        socket.reconnection = False
        socket.on("disconnect", _nobody)
        websocket = socket.eio.ws
        with contextlib.suppress(Exception):
            socket.disconnect()
        # The client forgets a socket that was cut or refused, without closing it.
        if websocket is not None and websocket.sock is not None:
            websocket.sock.close()
        self._breeze = None

    @property
    def _socket(self) -> Any:
        return self._breeze.sio_rate_refresh_handler.sio

    def _guard(self, on_tick: Callable[[DepthTick | None], None]) -> None:
        # The SDK takes a tick apart before anybody else sees it, and fails at one of another form.
        handler = self._breeze.sio_rate_refresh_handler
        take_apart = handler.on_message

        def guarded(data: object) -> None:
            try:
                take_apart(data)
            except Exception:  # noqa: BLE001 - whatever it stumbles over, the tick cannot be read
                on_tick(None)

        handler.on_message = guarded


def _read(tick: dict[str, Any]) -> DepthTick:
    levels = cast("list[dict[str, Any]]", tick["depth"])
    return DepthTick(
        tick["symbol"],
        datetime.fromisoformat(tick["time"]),
        [
            (
                level[f"BestBuyRate-{number}"],
                level[f"BestBuyQty-{number}"],
                level[f"BestSellRate-{number}"],
                level[f"BestSellQty-{number}"],
            )
            for number, level in enumerate(levels, start=1)
        ],
    )


def _nobody(*_: object) -> None: ...


def _refused(found: str) -> TransientSourceError:
    return TransientSourceError(
        "socket of market depth is not open",
        where="depth socket",
        expected="a connection and subscriptions",
        found=found,
        remedy="wait and connect again; if it stays so, look whether the session has expired",
    )
