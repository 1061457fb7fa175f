"""Telemetry: one whole line per event, from any thread, readable after a kill."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from sensequant.telemetry import Telemetry, read_events, telemetry_table

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


def test_the_table_holds_what_the_lines_say(tmp_path: Path) -> None:
    """One row per whole line; what has no column of its own stands in one text of JSON."""
    path = tmp_path / "t.jsonl"
    telemetry(path).emit("stage_started", stage="s", n_units=3)
    telemetry(path).emit("unit_ended", stage="s", kind="k", name="n", outcome="success", seconds=2)
    with path.open("a") as file:
        file.write('{"at": "2024-01-01T00:00:00+00:00", "ev')

    table = telemetry_table(path)

    assert table["at"].to_list() == [AT, AT]
    assert table["event"].to_list() == ["stage_started", "unit_ended"]
    assert table["seconds"].to_list() == [None, 2.0]
    assert table["name"].to_list() == [None, "n"]
    assert table["fields"].to_list() == ['{"n_units": 3}', "{}"]


def test_a_run_without_events_has_an_empty_table(tmp_path: Path) -> None:
    """The columns are there all the same, with their types."""
    path = tmp_path / "t.jsonl"
    path.touch()

    table = telemetry_table(path)

    assert (table.height, table.schema["at"], table.columns[-1]) == (
        0,
        pl.Datetime("us", "UTC"),
        "fields",
    )
