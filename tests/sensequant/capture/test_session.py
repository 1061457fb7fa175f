"""A session is captured whole, and what was missed is a gap; through the vendor's own SDK."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol

import polars as pl
import pytest

from sensequant.breeze_simulator import BreezeSimulator, Fault, SettableClock
from sensequant.capture.parts import PartWriter, captured_sessions, tick_files
from sensequant.capture.report import DepthCaptureReport
from sensequant.capture.session import CaptureParts, DepthCapture
from sensequant.context.depth import DEPTH, N_LEVELS
from sensequant.context.depth_gaps import DEPTH_GAPS
from sensequant.context.store import ContextStore
from sensequant.errors import AuthExpiredError
from sensequant.market.sessions import IST

OPEN = datetime(2024, 1, 16, 9, 15, tzinfo=IST)
CLOSE = datetime(2024, 1, 16, 15, 30, tzinfo=IST)


class World(Protocol):
    """As `conftest` makes it."""

    clock: SettableClock
    store: ContextStore
    simulator: BreezeSimulator
    proofs: list[datetime]
    refusal: Exception | None

    def parts(self) -> CaptureParts:
        """Return what a capture works with."""
        ...

    def capture(self, **options: Any) -> DepthCapture:
        """Return a capture of two symbols."""
        ...


Captured = Callable[..., DepthCaptureReport]


def books(world: World, symbol: str = "SIM03") -> pl.DataFrame:
    return world.store.read(DEPTH, symbol)


def gaps(world: World, symbol: str = "SIM03") -> list[tuple[str, datetime, float]]:
    table = world.store.read(DEPTH_GAPS, symbol).sort("at")
    return [
        (reason, at, (until - at).total_seconds())
        for reason, at, until in table.select("reason", "at", "until").iter_rows()
    ]


def room(world: World, symbol: str) -> str:
    return next(room for room, name in world.parts().symbols.items() if name == symbol)


def test_every_tick_of_a_session_is_stored(world: World, captured: Captured) -> None:
    """Five levels, in the order of the wire, each within the vendor's second and known as it came.

    The capture begins before the close and ends with it, so that the vendor falls silent first.
    """
    world.clock.set(CLOSE - timedelta(seconds=6))
    report = captured(seconds=600)
    sent = world.simulator.stream.n_sent

    assert report.n_ticks == report.n_stored == sum(sent.values()) > 20
    for symbol in ("SIM02", "SIM03"):
        rows = books(world, symbol)
        assert rows.height == sent[room(world, symbol)]
        assert rows["at"].is_sorted()
        assert (rows["known_at"] >= rows["at"]).all()
        assert (rows["known_at"] - rows["at"] < timedelta(seconds=3)).all()
        assert (rows["bid_price"].list.len() == N_LEVELS).all()
        assert rows["is_simulated"].all()
        # Quantities are drawn from the number of the tick, so that no two are alike.
        assert rows["bid_quantity"].n_unique() == rows.height
    assert report.n_refused == {}
    assert (report.n_connections, report.n_lost, report.silent_symbols) == (1, 0, ())
    assert captured_sessions(world.store.root) == []


def test_a_capture_begun_late_says_what_it_missed(world: World, captured: Captured) -> None:
    """From the open to its first subscription; the second one from the last book of the first."""
    captured(seconds=2)
    last = books(world)["known_at"][-1]
    captured(seconds=2)

    (first, second) = gaps(world)
    assert first[:2] == ("not_running", OPEN)
    assert first[2] == pytest.approx(9_900, abs=10)
    assert second[:2] == ("not_running", last)


def test_one_begun_before_the_open_waits_for_it(world: World, captured: Captured) -> None:
    """It is connected when the session opens, so that there is no gap."""
    world.clock.set(OPEN - timedelta(seconds=12))

    report = captured(seconds=3)

    assert report.begun_at == OPEN
    assert report.n_connections == 1
    assert gaps(world) == []


def test_a_dropped_connection_is_a_gap_to_the_second(world: World, captured: Captured) -> None:
    """It begins when the connection was lost and ends with the new one; no book lies in it."""
    world.simulator.faults.add(Fault(name="stream_dropped", after=20, times=1))

    report = captured(seconds=8)

    (_, (reason, at, seconds)) = gaps(world)
    known = books(world)["known_at"]
    before, after = known.filter(known < at).max(), known.filter(known > at).min()
    assert isinstance(before, datetime)
    assert isinstance(after, datetime)
    (cut,) = world.simulator.stream.cut_at
    assert reason == "not_connected"
    # A second of this clock is a tenth of one.
    assert timedelta(0) <= at - cut < timedelta(seconds=2)
    assert report.n_connections == 2
    assert (at - before).total_seconds() < 1.5
    assert at + timedelta(seconds=seconds) <= after
    assert after - at - timedelta(seconds=seconds) < timedelta(seconds=1.5)
    assert report.gap_seconds["not_connected"] == pytest.approx(seconds, abs=0.1)


def test_a_refusal_is_tried_again_and_then_proven(world: World, captured: Captured) -> None:
    """Three times the socket refuses; the session holds, so the capture goes on."""
    world.simulator.faults.add(Fault(name="stream_refused", times=3))

    report = captured(seconds=12, first_wait_seconds=0.2, longest_wait_seconds=0.5)

    assert len(world.proofs) == 1
    assert report.n_connections == 1
    assert report.stopped_by is None
    assert books(world).height > 5


def test_a_session_that_has_ended_ends_the_capture(world: World, captured: Captured) -> None:
    """What was heard before is stored, and the report says why there is no more."""
    world.refusal = AuthExpiredError("the session has expired")
    world.simulator.faults.add(
        Fault(name="stream_dropped", after=20, times=1), Fault(name="stream_refused", after=1)
    )

    report = captured(seconds=600, first_wait_seconds=0.1, longest_wait_seconds=0.2)

    assert "the session has expired" in str(report.stopped_by)
    assert report.n_stored == report.n_ticks == 20
    assert report.n_gaps["not_connected"] == 1


def test_a_mute_connection_is_made_anew(world: World, captured: Captured) -> None:
    """No tick of anyone for two seconds: a gap from the last tick, and another connection."""
    world.simulator.faults.add(Fault(name="stream_silent", after=20, times=60))

    report = captured(seconds=14, dead_seconds=2.0, silence_seconds=600.0)

    (_, (reason, at, seconds)) = gaps(world)[:2]
    assert reason == "no_ticks"
    assert seconds > 2.0
    assert report.n_connections >= 2
    assert at == books(world).filter(pl.col("known_at") <= at)["known_at"].max() or (
        at == books(world, "SIM02").filter(pl.col("known_at") <= at)["known_at"].max()
    )


def test_a_symbol_that_falls_silent_is_a_gap_of_its_own(world: World, captured: Captured) -> None:
    """From its last tick to its next one; the other symbol has none."""
    world.simulator.faults.add(Fault(name="stream_silent", symbol="SIM03", after=5, times=15))

    report = captured(seconds=8, silence_seconds=1.5)

    (silent,) = [each for each in gaps(world) if each[0] == "silent"]
    known = books(world)["known_at"]
    assert silent[2] == pytest.approx(16 * 0.2, abs=1.5)
    assert silent[1] in known
    assert known.filter(known > silent[1]).min() == silent[1] + timedelta(seconds=silent[2])
    assert not [each for each in gaps(world, "SIM02") if each[0] == "silent"]
    assert report.n_gaps["silent"] == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("stream_crossed", "crossed_book"),
        ("stream_empty", "empty_book"),
        ("stream_zero_quantity", "zero_quantity"),
        ("stream_wrong_token", "wrong_token"),
    ],
)
def test_a_bad_tick_is_refused_with_its_reason(
    world: World, captured: Captured, fault: str, reason: str
) -> None:
    """Three of them come; all others are stored."""
    world.simulator.faults.add(Fault(name=fault, symbol="SIM03", times=3))

    report = captured(seconds=4)

    assert report.n_refused == {reason: 3}
    assert report.n_stored == report.n_ticks - 3
    refused = world.store.refused(DEPTH)
    assert refused["reason"].unique().to_list() == [reason]
    assert refused["symbol"].unique().to_list() == [None if reason == "wrong_token" else "SIM03"]


def test_a_late_tick_stands_at_its_own_second(world: World, captured: Captured) -> None:
    """It is known when it came, which is after the book that followed it."""
    world.simulator.faults.add(Fault(name="stream_out_of_order", symbol="SIM03", after=3, times=2))

    report = captured(seconds=6)

    rows = books(world)
    late = rows.filter(pl.col("known_at") > pl.col("known_at").shift(-1))
    assert report.n_stored == report.n_ticks
    assert late.height == 2
    assert books(world, "SIM02")["known_at"].is_sorted()


def test_a_disk_that_refuses_for_a_while_loses_nothing(
    world: World, captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written waits, in its order."""
    write, refusals = PartWriter.write_ticks, [OSError("full")] * 3

    def refuse(writer: PartWriter, heard: Any) -> None:
        if refusals and heard:
            raise refusals.pop()
        write(writer, heard)

    monkeypatch.setattr(PartWriter, "write_ticks", refuse)
    world.clock.set(CLOSE - timedelta(seconds=6))

    report = captured(seconds=600)

    assert refusals == []
    assert report.n_stored == report.n_ticks == sum(world.simulator.stream.n_sent.values())
    assert report.n_most_waiting > 20
    assert books(world)["bid_quantity"].n_unique() == books(world).height


class KilledError(BaseException):
    """Stands for the end of the process."""


def test_what_was_written_before_a_kill_is_brought_by_the_next_capture(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was being written counts for nothing, and the time between is a gap."""

    def kill(*_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(DepthCapture, "_flush_to_the_end", kill)
        with pytest.raises(KilledError):
            world.capture(seconds=5).run()
    session = captured_sessions(world.store.root)[0]
    written = tick_files(world.store.root, session)
    n_written = sum(pl.read_parquet(path).height for path in written)
    last = pl.concat([pl.read_parquet(path) for path in written]).filter(
        pl.col("symbol") == "SIM03"
    )["received"][-1]
    half = written[0].with_name(f".{written[0].name}.0.tmp")
    half.write_bytes(written[0].read_bytes()[:100])
    assert n_written > 20
    assert books(world).is_empty()

    report = world.capture(seconds=2).run()

    assert report.n_stored == n_written + report.n_ticks
    assert [each[:2] for each in gaps(world)] == [("not_running", OPEN), ("not_running", last)]
    assert tick_files(world.store.root, session) == []
