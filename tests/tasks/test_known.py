"""Facts about windows whose results are known: which are taken in, and which are left to do."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from prefect.client.schemas.objects import State

from sensequant.errors import RecordError
from sensequant.records import Outcome, digest_of
from sensequant.reuse import remember
from sensequant.runs import RunFolder, Stage
from sensequant.stages import training
from sensequant.stages.context import Run, load_run
from sensequant.storage import sha256_of, write_atomically
from sensequant.telemetry import read_events
from sensequant.units import UnitRecord
from tasks import known
from tasks.known import KnownWindows, take_known_windows
from tasks.plans import PlannedWindows, planned_students, planned_teachers

TEACHERS, STUDENTS = Stage.TEACHER_TRAINING, Stage.STUDENT_TRAINING
OTHER_ID = "live_candidate_20240101_000000_0000beef"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[UnitRecord]:
    """Return what the page shows; every unit's key is its name."""
    rows: list[UnitRecord] = []

    def show(_run_id: str, _stage: Stage, units: list[UnitRecord]) -> None:
        rows.extend(units)

    def key(_run: Run, given: Mapping[str, Any]) -> str:
        return digest_of([given["symbol"], given["window"]])

    monkeypatch.setattr(known, "show_known", show)
    for stage in (TEACHERS, STUDENTS):
        monkeypatch.setitem(known._KEYS, stage, key)
    return rows


def take(folder: RunFolder, stage: Stage, windows: PlannedWindows) -> State[Any]:
    return cast("State[Any]", take_known_windows.fn(folder.run_id, stage, windows))


def found(state: State[Any]) -> KnownWindows:
    return cast("KnownWindows", state.result())


def note(folder: RunFolder, symbol: str, window: str, *, reason: str | None = None) -> None:
    """Let a run have done a unit: with one file, or skipped with a reason."""
    record = UnitRecord(
        kind="unit",
        name=f"unit {symbol} {window}",
        symbol=symbol,
        window=window,
        outcome=Outcome.SUCCESS if reason is None else Outcome.SKIPPED,
        reason=reason,
        seconds=1.5,
    )
    files: dict[str, str] = {}
    if reason is None:
        path = folder.root / "teachers" / f"{symbol}_{window.replace('..', '_to_')}" / "model.txt"
        write_atomically(path, window.encode())
        files = {path.relative_to(folder.root).as_posix(): sha256_of(path)}
    remember(folder, digest_of([symbol, window]), record, files)


def test_windows_that_nobody_has_done_are_left(
    ingested: RunFolder, shown: list[UnitRecord]
) -> None:
    """All of them, in their order; the page shows no table."""
    windows = planned_teachers(ingested.run_id)

    state = take(ingested, TEACHERS, windows)

    assert (state.name, found(state)) == ("Completed", KnownWindows(windows))
    assert shown == []


def test_known_windows_are_taken_and_told(ingested: RunFolder, shown: list[UnitRecord]) -> None:
    """One made by this run, one by another, which stands here then; the third is left."""
    windows = planned_teachers(ingested.run_id)
    first, second, third = windows.names
    note(RunFolder(ingested.home, OTHER_ID), "SIM01", first)
    note(ingested, "SIM01", third)

    state = take(ingested, TEACHERS, windows)

    assert (state.type, state.name) == ("COMPLETED", "Cached")
    assert state.message == "2 of 3 windows, 1 of them made by other runs"
    assert found(state).left == PlannedWindows(["SIM01"], [second])
    made = [(each.window, each.reused_from) for each in found(state).records]
    assert made == [(first, OTHER_ID), (third, None)]
    model = ingested.teacher(f"SIM01_{first.replace('..', '_to_')}") / "model.txt"
    assert model.read_text() == first
    assert shown == found(state).records
    events = [each for each in read_events(ingested.telemetry) if each["event"] == "unit_ended"]
    told = [(each["name"], each["is_cached"]) for each in events if each["kind"] == "unit"]
    assert told == [(f"unit SIM01 {first}", True), (f"unit SIM01 {third}", True)]


@pytest.mark.usefixtures("shown")
def test_a_skipped_window_keeps_name_and_reason(ingested: RunFolder) -> None:
    """It is known as what it was: skipped, and why."""
    windows = planned_teachers(ingested.run_id)
    note(ingested, "SIM01", windows.names[1], reason="one_class")

    (record,) = found(take(ingested, TEACHERS, windows)).records

    assert (record.name, record.outcome, record.reason) == (
        f"unit SIM01 {windows.names[1]}",
        Outcome.SKIPPED,
        "one_class",
    )


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize(
    ("noted", "taken"), [({0, 1, 2}, [0, 1, 2]), ({1, 2}, [1]), ({0, 2}, [0, 2])]
)
def test_a_student_waits_for_those_that_it_follows_from(
    ingested: RunFolder, noted: set[int], taken: list[int]
) -> None:
    """Not known before those up to the one before last are; another symbol's do not matter."""
    planned = planned_students(ingested.run_id)
    names = sorted(set(planned.names))
    for place in noted:
        note(ingested, "SIM01", names[place])

    known_now = found(take(ingested, STUDENTS, planned))

    assert [record.window for record in known_now.records] == [names[place] for place in taken]
    assert known_now.left.symbols.count("universe") == 3


def unreadable(_run: Run, _given: Mapping[str, Any]) -> str:
    raise RecordError("cut")


def test_what_cannot_be_looked_up_is_left(
    ingested: RunFolder, shown: list[UnitRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit itself tells what is wrong, under its own name."""
    key: Callable[..., str] = unreadable
    monkeypatch.setitem(known._KEYS, TEACHERS, key)
    windows = planned_teachers(ingested.run_id)

    assert found(take(ingested, TEACHERS, windows)).left == windows
    assert shown == []


def test_a_window_of_few_bars_is_skipped_without_a_task(
    ingested: RunFolder, shown: list[UnitRecord]
) -> None:
    """Told once as skipped, as its training would tell it; the next attempt finds that noted."""
    run = load_run(ingested)
    training.prepare_rows(run)
    windows = planned_teachers(ingested.run_id)
    *trained, few = windows.names
    with pytest.raises(training.WindowSkippedError) as skipped:
        training.train_window(run, "SIM01", few)
    leftover = ingested.teacher(run.window("SIM01", few).window.label) / "labels.parquet"
    write_atomically(leftover, b"of an earlier attempt")

    first = take(ingested, TEACHERS, windows)
    again = take(ingested, TEACHERS, windows)

    assert found(first).left == PlannedWindows(["SIM01"] * len(trained), trained)
    (record,) = found(first).records
    assert (record.name, record.outcome) == (f"teacher SIM01 {few}", Outcome.SKIPPED)
    assert (record.reason, record.error_message) == ("insufficient_samples", str(skipped.value))
    assert not leftover.exists()
    assert shown == [record, record]
    assert (first.name, again.name) == ("Completed", "Cached")
    assert first.message == (
        "0 of 3 windows, 0 of them made by other runs; 1 have nothing to learn from"
    )
    assert again.message == "1 of 3 windows, 0 of them made by other runs"
    events = [each for each in read_events(ingested.telemetry) if each["event"] == "unit_ended"]
    told = [each["is_cached"] for each in events if each["name"] == record.name]
    assert told == [False, True]
