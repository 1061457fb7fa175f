"""The buffer is bounded, and knows who was silent for how long."""

from datetime import UTC, datetime, timedelta

from sensequant.capture.buffer import Silence, TickBuffer
from sensequant.capture.request import why_no_capture
from sensequant.market.sessions import IST, nse_calendar
from sensequant.market.sources.breeze.depth_socket import DepthTick

NOON = datetime(2024, 1, 1, 6, 30, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def tick(room: str = "a") -> DepthTick:
    return DepthTick(room, NOON, [])


def test_what_does_not_fit_is_counted() -> None:
    """The first ones stay; what is given back comes before what came meanwhile."""
    buffer = TickBuffer(3, timedelta(seconds=60))
    for number in range(2):
        buffer.add(after(number), tick())
    taken = buffer.take()
    for number in range(2, 4):
        buffer.add(after(number), tick())

    buffer.give_back(taken)

    assert [each.received for each in buffer.take()] == [after(0), after(1), after(2)]
    assert (buffer.n_heard, buffer.n_lost, buffer.n_most) == (4, 1, 3)
    assert buffer.full_since() == after(3)
    assert buffer.full_since() is None
    buffer.add(after(5), None)
    assert buffer.take()[0].tick is None


def test_silence_is_measured_from_tick_to_tick() -> None:
    """One that lasts is told as of now; a new connection begins anew; strangers are not heard."""
    buffer = TickBuffer(100, timedelta(seconds=10))
    buffer.start_listening(["a", "b"], after(0))
    for seconds, room in ((1, "a"), (11, "a"), (22, "a"), (23, "c")):
        buffer.add(after(seconds), tick(room))

    assert buffer.silences() == [Silence("a", after(11), after(22))]
    assert buffer.silences() == []
    assert buffer.silent_at(after(30)) == [Silence("b", after(0), after(30))]
    buffer.start_listening(["a", "b"], after(30))
    assert buffer.silent_at(after(40)) == []


def test_when_there_is_nothing_to_capture() -> None:
    """A Sunday, an evening, a session whose hours nobody knows; before the open there is."""
    known = nse_calendar()

    def why(*at: int) -> str | None:
        year, month, day, hour, minute = at
        return why_no_capture(datetime(year, month, day, hour, minute, tzinfo=IST), known)

    assert why(2024, 1, 1, 8, 0) is None
    assert why(2024, 1, 1, 15, 29) is None
    assert "has closed" in str(why(2024, 1, 1, 15, 30))
    assert "is no session" in str(why(2023, 12, 31, 12, 0))
    assert "nobody knows the hours" in str(why(2026, 11, 8, 18, 30))
