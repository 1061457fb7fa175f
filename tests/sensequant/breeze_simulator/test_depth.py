"""Facts about the depth socket, as the real SDK meets it."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from sensequant.breeze_simulator import BreezeSimulator, Fault, depth
from sensequant.breeze_simulator.depth import N_LEVELS, DepthStream
from sensequant.market.sources.breeze.sdk import load_sdk

IST = timezone(timedelta(hours=5, minutes=30))
PATIENCE_SECONDS = 10.0


class Listener:
    """The SDK at the socket; ticks are counted as they come."""

    def __init__(self, simulator: BreezeSimulator, *, session_key: str | None = None) -> None:
        self.ticks: list[dict[str, Any]] = []
        self._more = threading.Condition()
        self._breeze: Any = load_sdk(simulator.endpoints).BreezeConnect("key")
        self._breeze.user_id = simulator._access.user_id
        self._breeze.session_key = session_key or simulator._access.session_key
        self._breeze.on_ticks = self._hear
        self._connections: list[Any] = []
        try:
            self._breeze.ws_connect()
        finally:
            self._keep_connection()
            if not self.is_connected:
                self.close()

    @property
    def is_connected(self) -> bool:
        """Whether the socket is open."""
        return self._breeze.sio_rate_refresh_handler.sio.connected

    def subscribe(self, room: str) -> None:
        """Subscribe by token."""
        answer = self._breeze.subscribe_feeds(stock_token=room)
        assert "subscribed successfully" in str(answer)

    def unsubscribe(self, room: str) -> None:
        """Unsubscribe by token."""
        self._breeze.unsubscribe_feeds(stock_token=room)

    def wait_for(self, n_ticks: int) -> None:
        """Wait until there are so many ticks."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.ticks) >= n_ticks, PATIENCE_SECONDS)

    def wait_for_room(self, room: str) -> None:
        """Wait until the last tick is one of this room."""
        with self._more:
            assert self._more.wait_for(
                lambda: bool(self.ticks) and self.ticks[-1]["symbol"] == room, PATIENCE_SECONDS
            )

    def stay_away(self) -> None:
        """Do not come back by itself when the connection is lost."""
        self._breeze.sio_rate_refresh_handler.sio.reconnection = False

    def close(self) -> None:
        """Close the socket, which the SDK itself does not."""
        self._keep_connection()
        self._breeze.sio_rate_refresh_handler.sio.disconnect()
        for connection in filter(None, self._connections):
            connection.close()

    def _keep_connection(self) -> None:
        # The client forgets a socket that was cut or refused, without closing it.
        websocket = self._breeze.sio_rate_refresh_handler.sio.eio.ws
        self._connections.append(websocket and websocket.sock)

    def _hear(self, tick: dict[str, Any]) -> None:
        with self._more:
            self.ticks.append(tick)
            self._more.notify_all()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Return what listens to a simulator; sockets are closed with the test."""
    listeners: list[Listener] = []

    def listening(simulator: BreezeSimulator, **options: Any) -> Listener:
        listeners.append(Listener(simulator, **options))
        return listeners[-1]

    yield listening
    for listener in listeners:
        listener.close()


def room_of(simulator: BreezeSimulator, symbol: str = "SIM03") -> str:
    return f"4.2!{simulator.directory.of_symbol(symbol).token}"


def test_five_levels_stand_around_the_last_price(
    simulator: BreezeSimulator, listen: Callable[..., Listener], vendor: Any
) -> None:
    """Bids fall, offers rise by a tick each; the time is the simulator's."""
    last = vendor.sdk.quotes(vendor.code("SIM03")).value["Success"][0]["ltp"]
    listener = listen(simulator)
    listener.subscribe(room_of(simulator))
    listener.wait_for(2)
    tick = listener.ticks[0]

    assert tick["symbol"] == room_of(simulator)
    assert tick["quotes"] == "Market Depth"
    assert len(tick["depth"]) == N_LEVELS
    for number, level in enumerate(tick["depth"], start=1):
        assert level[f"BestBuyRate-{number}"] == pytest.approx(last - 0.05 * number)
        assert level[f"BestSellRate-{number}"] == pytest.approx(last + 0.05 * number)
        assert level[f"BestBuyQty-{number}"] > 0
        assert level[f"SellNoOfOrders-{number}"] > 0
    assert listener.ticks[1]["depth"] != tick["depth"]


def test_only_what_is_subscribed_is_sent(
    simulator: BreezeSimulator, listen: Callable[..., Listener]
) -> None:
    """Unknown tokens, other channels and the SDK's `4.2!False` are silent; so is what one left."""
    listener = listen(simulator)
    for room in ("4.2!False", "4.1!1001", "4.2!99"):
        listener.subscribe(room)
    listener.subscribe(room_of(simulator, "SIM03"))
    listener.wait_for(2)
    listener.unsubscribe(room_of(simulator, "SIM03"))
    listener.subscribe(room_of(simulator, "SIM02"))
    # What was on its way comes first.
    listener.wait_for_room(room_of(simulator, "SIM02"))
    listener.wait_for(len(listener.ticks) + 3)

    assert {tick["symbol"] for tick in listener.ticks} == {
        room_of(simulator, "SIM02"),
        room_of(simulator, "SIM03"),
    }
    assert listener.ticks[-1]["symbol"] == room_of(simulator, "SIM02")


def test_what_is_no_room_is_not_joined() -> None:
    """Rooms come as a text or as a list of texts."""
    assert depth._as_rooms("4.2!1") == {"4.2!1"}
    assert depth._as_rooms(["4.2!1", False, "4.2!2"]) == {"4.2!1", "4.2!2"}
    assert depth._as_rooms(rooms=False) == set()


def test_a_wrong_session_is_refused(
    simulator: BreezeSimulator, listen: Callable[..., Listener]
) -> None:
    """The SDK says that it could not connect to the live stream."""
    with pytest.raises(Exception, match="Failed to connect to live stream"):
        Listener(simulator, session_key="wrong")
    simulator.faults.add(Fault(name="stream_refused", times=1))
    with pytest.raises(Exception, match="Failed to connect to live stream"):
        Listener(simulator)
    assert listen(simulator).is_connected


def test_a_stream_can_be_dropped(
    simulator: BreezeSimulator, listen: Callable[..., Listener]
) -> None:
    """After three ticks the connection ends; the SDK's client comes back by itself."""
    simulator.faults.add(Fault(name="stream_dropped", after=3, times=1))
    listener = listen(simulator)
    listener.subscribe(room_of(simulator))

    listener.wait_for(5)

    assert simulator.faults.n_acted("stream_dropped") == 1


def test_a_stream_can_be_silent(
    simulator: BreezeSimulator, listen: Callable[..., Listener]
) -> None:
    """Twenty ticks are swallowed, the connection stays."""
    simulator.faults.add(Fault(name="stream_silent", times=20))
    listener = listen(simulator)
    listener.subscribe(room_of(simulator))

    listener.wait_for(1)

    assert simulator.faults.n_acted("stream_silent") == 20
    assert listener.is_connected


def test_a_session_that_ends_ends_the_stream(
    simulator: BreezeSimulator, listen: Callable[..., Listener]
) -> None:
    """The server hangs up."""
    listener = listen(simulator)
    listener.stay_away()
    gone = threading.Event()

    def hang_up(*_: object) -> None:
        gone.set()

    listener._breeze.sio_rate_refresh_handler.sio.on("disconnect", hang_up)

    simulator.renew_session()
    simulator._access.lose()

    assert gone.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("now", "is_sent"),
    [
        ((2024, 1, 16, 9, 15, 59), True),
        ((2024, 1, 16, 15, 29), True),
        ((2024, 1, 16, 9, 14), False),
        ((2024, 1, 16, 15, 30), False),
        ((2024, 1, 14, 12, 0), False),
        ((2026, 11, 8, 18, 30), False),
    ],
)
def test_nothing_is_sent_outside_the_hours(
    simulator: BreezeSimulator, now: tuple[int, ...], is_sent: bool
) -> None:
    """Before the open, after the close, on a Sunday, in a session whose hours nobody knows."""
    at = datetime(*now, tzinfo=IST)  # pyright: ignore[reportArgumentType, reportCallIssue]

    tick = simulator._depth._tick(room_of(simulator), number=0, now=at)

    assert (tick is not None) == is_sent
    if tick is not None:
        assert tick[1] == int(at.timestamp())


def test_a_stock_that_never_traded_has_no_depth(simulator: BreezeSimulator) -> None:
    """Its token is known before its listing."""
    early = datetime(2020, 1, 15, 12, tzinfo=IST)
    stream: DepthStream = simulator._depth

    assert stream._tick(room_of(simulator, "SIM04"), number=0, now=early) is None
