"""Facts about progress: events are read once and whole, bars only on a terminal."""

import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sensequant.cli.progress import EventFile, StageProgress, show_progress, update_stages

EVENTS: list[dict[str, Any]] = [
    {"event": "run_started", "stage": None, "n_symbols": 1},
    {"event": "stage_started", "stage": "teacher_training", "n_units": None},
    {"event": "stage_started", "stage": "teacher_training", "n_units": 3},
    {"event": "unit_ended", "stage": "teacher_training", "name": "a", "outcome": "success"},
    {"event": "unit_ended", "stage": "teacher_training", "name": "b", "outcome": "skipped"},
    {"event": "unit_ended", "stage": "teacher_training", "name": "c", "outcome": "failed"},
    {"event": "stage_ended", "stage": "teacher_training", "outcome": "degraded"},
    {"event": "stage_started", "stage": "release_audit", "n_units": None},
    {"event": "stage_ended", "stage": "release_audit", "outcome": "success"},
    {"event": "run_ended", "stage": None, "outcome": "degraded"},
]


def lines(events: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def watchers() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_file_that_is_not_there_yet_has_no_events(tmp_path: Path) -> None:
    """The run makes it later."""
    assert list(EventFile(tmp_path / "telemetry.jsonl").new_events()) == []


def test_each_event_is_read_once_and_a_cut_line_later(tmp_path: Path) -> None:
    """A line without its end is left for the next look, when it is whole."""
    path = tmp_path / "telemetry.jsonl"
    whole = lines(EVENTS[:2])
    path.write_bytes(whole[:-5])
    events = EventFile(path)

    first = list(events.new_events())
    path.write_bytes(whole)

    assert first == EVENTS[:1]
    assert list(events.new_events()) == EVENTS[1:2]
    assert list(events.new_events()) == []


def test_events_of_an_earlier_execution_are_passed_over(tmp_path: Path) -> None:
    """Reading starts where the earlier ones end."""
    path = tmp_path / "telemetry.jsonl"
    path.write_bytes(lines(EVENTS[:3]))
    events = EventFile(path, offset=len(lines(EVENTS[:2])))

    assert list(events.new_events()) == EVENTS[2:3]


def test_stages_count_their_units_by_outcome() -> None:
    """Events without a stage count nowhere; what is no plain success is noted."""
    stages: dict[str, StageProgress] = {}
    for event in EVENTS:
        update_stages(stages, event)

    teacher = stages["teacher_training"]
    assert list(stages) == ["teacher_training", "release_audit"]
    assert (teacher.n_units, teacher.n_ended) == (3, 3)
    assert teacher.note == "degraded, 1 skipped, 1 failed"
    assert stages["release_audit"].note == "success"
    assert StageProgress().note == ""


def test_pipe_sees_no_bars(tmp_path: Path) -> None:
    """Off a terminal nothing is drawn and no thread is started."""
    stream = io.StringIO()
    with show_progress(tmp_path / "telemetry.jsonl", Console(file=stream)):
        assert "progress" not in watchers()

    assert stream.getvalue() == ""


def test_terminal_sees_a_bar_per_stage_of_this_execution(tmp_path: Path) -> None:
    """What stood in the file before is not drawn; the last events are drawn before the end."""
    path = tmp_path / "telemetry.jsonl"
    old = {"event": "stage_started", "stage": "data_ingestion", "n_units": 9}
    path.write_bytes(lines([old]))
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system=None, width=120)
    with show_progress(path, console), path.open("ab") as file:
        file.write(lines(EVENTS))

    drawn = stream.getvalue()
    assert "data ingestion" not in drawn
    assert "teacher training" in drawn
    assert "3/3" in drawn
    assert "1 skipped, 1 failed" in drawn
    assert "release audit" in drawn


def test_bars_end_when_the_run_breaks(tmp_path: Path) -> None:
    """An error in the body passes through, and the watcher is gone."""
    console = Console(file=io.StringIO(), force_terminal=True)

    def interrupted() -> None:
        with show_progress(tmp_path / "telemetry.jsonl", console):
            assert "progress" in watchers()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert "progress" not in watchers()
