"""Telemetry: one whole line per event, from any thread, readable after a kill."""

import threading
from datetime import UTC, datetime
from pathlib import Path

from sensequant.telemetry import Telemetry, read_events

AT = datetime(2024, 1, 1, tzinfo=UTC)


def telemetry(path: Path) -> Telemetry:
    return Telemetry(path, run_id="r", now=lambda: AT)


def test_an_event_is_read_back_as_it_was_emitted(tmp_path: Path) -> None:
    """Time, event, run and fields stand in the line."""
    path = tmp_path / "t.jsonl"
    telemetry(path).emit("unit_ended", stage="x", seconds=0.5)

    expected = {
        "at": AT.isoformat(),
        "event": "unit_ended",
        "run_id": "r",
        "stage": "x",
        "seconds": 0.5,
    }
    assert list(read_events(path)) == [expected]


def test_lines_of_many_threads_never_mix(tmp_path: Path) -> None:
    """All events of eight threads are there, each whole."""
    path = tmp_path / "t.jsonl"

    def emit(who: int) -> None:
        for i in range(50):
            telemetry(path).emit("e", who=who, i=i, padding="x" * 200)

    threads = [threading.Thread(target=emit, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    seen = {(event["who"], event["i"]) for event in read_events(path)}
    assert seen == {(who, i) for who in range(8) for i in range(50)}


def test_a_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    """What was written before the kill can still be read."""
    path = tmp_path / "t.jsonl"
    telemetry(path).emit("whole")
    with path.open("a") as file:
        file.write('{"event": "cu')

    assert [event["event"] for event in read_events(path)] == ["whole"]
