"""Facts about units of work: outcomes, references that heal themselves, keys, and collection."""

import copy
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from pydantic import ValidationError

from sensequant.errors import (
    ConfigError,
    LeakageError,
    MissingBarsError,
    RegistryError,
    RetryableError,
    SourceError,
    StorageError,
)
from sensequant.records import Outcome
from sensequant.runs import RunFolder, Stage
from sensequant.stages.context import Run
from sensequant.storage import sha256_of
from sensequant.telemetry import read_events
from sensequant.units import UnitRecord
from tasks.training import train_teacher
from tasks.units import (
    UnitFailedError,
    UnitRef,
    bring_unit,
    can_retry,
    do_unit,
    do_units,
    emit_ended,
    records_of,
    run_folder,
    unit_key,
)

SUCCESS = UnitRecord(kind="teacher", name="teacher A w", outcome=Outcome.SUCCESS, seconds=0)


def do(folder: RunFolder, work: Callable[[], UnitRecord], **fields: Any) -> Any:
    names: dict[str, Any] = {"kind": "teacher", "name": "teacher A w", "symbol": "A", "window": "w"}
    return do_unit(folder, Stage.TEACHER_TRAINING, work, **(names | fields))


def raising(error: Exception) -> Callable[[], UnitRecord]:
    def work() -> UnitRecord:
        raise error

    return work


def failure_from(error: Exception) -> UnitFailedError:
    record = UnitRecord.from_error(error, kind="chunk", name="chunk A", seconds=0)
    failure = UnitFailedError(record)
    failure.__cause__ = error
    return failure


def test_a_run_lies_below_the_home_of_the_environment(folder: RunFolder) -> None:
    """Tasks find a run by its id and SENSEQUANT_HOME."""
    assert run_folder(folder.run_id).root == folder.root


def test_success_is_a_reference_with_digests_of_what_was_made(folder: RunFolder) -> None:
    """The reference names every file of the unit, in folders too, and how long the work took."""
    made, table = folder.teacher("w"), folder.rows("A")

    def work() -> UnitRecord:
        (made / "deep").mkdir(parents=True)
        (made / "deep" / "model.txt").write_text("tree")
        table.parent.mkdir()
        table.write_text("rows")
        return SUCCESS

    reference = do(folder, work, makes=[made, table, folder.root / "never made"])

    assert isinstance(reference, UnitRef)
    assert reference.record.outcome is Outcome.SUCCESS
    assert reference.record.seconds > 0
    assert reference.files == {
        "rows/A.parquet": sha256_of(table),
        "teachers/w/deep/model.txt": sha256_of(made / "deep" / "model.txt"),
    }


@pytest.mark.parametrize("error", [None, MissingBarsError("gone"), RuntimeError("broke")])
def test_what_an_earlier_attempt_left_is_removed(
    folder: RunFolder, error: Exception | None
) -> None:
    """Whatever becomes of a unit, no file of an earlier attempt is taken for its own."""
    made, table = folder.teacher("w"), folder.rows("A")
    for path in (made / "model.txt", table):
        path.parent.mkdir(parents=True)
        path.write_text("old")

    try:
        do(folder, raising(error) if error else lambda: SUCCESS, makes=[made, table])
    except UnitFailedError:
        assert isinstance(error, RuntimeError)

    assert not made.exists()
    assert not table.exists()


def test_a_data_error_is_a_skip(folder: RunFolder) -> None:
    """A skip is a completed state of its own name, with its reason as message and in the record."""
    state = do(folder, raising(MissingBarsError("gone")))

    assert isinstance(state, State)
    assert (state.type, state.name, state.message) == ("COMPLETED", "Skipped", "no_data")
    reference = cast("UnitRef", cast("State[Any]", state).result())
    assert reference.record.outcome is Outcome.SKIPPED
    assert (reference.record.reason, reference.record.error_message) == ("no_data", "gone")
    assert (reference.record.symbol, reference.record.window) == ("A", "w")


def test_any_other_error_is_a_failure_with_everything_known(folder: RunFolder) -> None:
    """It raises, so that the task is red and is not cached; its record holds the traceback."""
    cause = RuntimeError("broke")

    with pytest.raises(UnitFailedError, match="RuntimeError: broke") as failed:
        do(folder, raising(cause))

    record = failed.value.record
    assert failed.value.__cause__ is cause
    assert record.outcome is Outcome.FAILED
    assert (record.error_type, record.error_message) == ("RuntimeError", "broke")
    assert "in work" in (record.error_traceback or "")
    assert (record.symbol, record.window, record.name) == ("A", "w", "teacher A w")


@pytest.mark.parametrize("error", [LeakageError, RegistryError, StorageError])
def test_fatal_errors_are_not_units_that_failed(
    folder: RunFolder, error: type[LeakageError | RegistryError | StorageError]
) -> None:
    """They come out as they are; telemetry tells of them, unless the disk refused."""
    with pytest.raises(error, match="no further"):
        do(folder, raising(error("no further")))

    told = list(read_events(folder.telemetry)) if folder.telemetry.exists() else []
    assert [event["outcome"] for event in told] == ([] if error is StorageError else ["failed"])


def test_each_unit_is_told_once(folder: RunFolder) -> None:
    """Success, skip and failure leave one event each, with stage, name, outcome and reason."""
    do(folder, lambda: SUCCESS)
    do(folder, raising(MissingBarsError("gone")))
    with pytest.raises(UnitFailedError):
        do(folder, raising(RuntimeError("broke")))
    emit_ended(folder, Stage.TEACHER_TRAINING, SUCCESS, is_cached=True)

    told = list(read_events(folder.telemetry))
    assert {(event["event"], event["stage"], event["name"]) for event in told} == {
        ("unit_ended", "teacher_training", "teacher A w")
    }
    assert [(event["outcome"], event["reason"], event["is_cached"]) for event in told] == [
        ("success", None, False),
        ("skipped", "no_data", False),
        ("failed", None, False),
        ("success", None, True),
    ]


def test_a_reference_heals_itself(folder: RunFolder) -> None:
    """Stored and read back, it is refused as soon as its file is altered or gone."""
    table = folder.rows("A")

    def work() -> UnitRecord:
        table.parent.mkdir()
        table.write_text("rows")
        return SUCCESS

    stored = do(folder, work, makes=[table]).model_dump_json()
    assert UnitRef.model_validate_json(stored).record.kind == "teacher"

    table.write_text("rowS")
    with pytest.raises(ValidationError, match="missing or altered"):
        UnitRef.model_validate_json(stored)

    table.unlink()
    with pytest.raises(ValidationError, match="missing or altered"):
        UnitRef.model_validate_json(stored)


def test_a_failed_unit_can_be_copied() -> None:
    """Its record comes along: process pools and stored results rebuild errors as a copy does."""
    failure = failure_from(RuntimeError("broke"))

    again = copy.copy(failure)

    assert str(again) == str(failure)
    assert again.record == failure.record


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (failure_from(RetryableError("busy")), True),
        (failure_from(SourceError("nonsense")), False),
        (failure_from(ConfigError("wrong")), False),
        (failure_from(MissingBarsError("gone")), False),
        (failure_from(RuntimeError("broke")), False),
        # Not from a unit of work: whatever this is, asking again does not help.
        (RetryableError("busy"), False),
        (LeakageError("future"), False),
    ],
    ids=lambda value: (
        type(value.__cause__ or value).__name__ if isinstance(value, Exception) else ""
    ),
)
def test_only_what_may_pass_is_retried(error: Exception, expected: bool) -> None:
    """The type of the cause decides, never the message."""
    assert can_retry(train_teacher, None, Failed(data=error)) is expected


class Ended:
    """A future that has ended, whose state holds no result."""

    state: ClassVar[State[Any]] = Completed()

    def __init__(self, result: Any) -> None:
        self._result = result

    def wait(self) -> None:
        """Do nothing: it has ended."""

    def result(self, *, raise_on_failure: bool) -> Any:
        """Return the result, or the exception as a value."""
        assert not raise_on_failure
        return self._result


def futures_of(*results: Any) -> list[PrefectFuture[Any]]:
    return [cast("PrefectFuture[Any]", Ended(result)) for result in results]


def test_collected_are_the_records_of_all(folder: RunFolder) -> None:
    """Successes and failures alike, in the order in which they were mapped."""
    failure = failure_from(RuntimeError("broke"))
    reference = UnitRef(root=folder.root, record=SUCCESS)

    found = [records_of(future) for future in futures_of(failure, reference)]

    assert found == [[failure.record], [SUCCESS]]


@pytest.mark.parametrize(
    ("result", "error"),
    [(LeakageError("future"), LeakageError), (KeyError("bug"), KeyError), (7, TypeError)],
    ids=["fatal", "fault of the program", "no unit"],
)
def test_what_is_no_unit_is_not_collected(result: Any, error: type[Exception]) -> None:
    """A task that broke outside its unit of work breaks the stage."""
    with pytest.raises(error):
        records_of(futures_of(result)[0])


def context_of(key: str = "train-teacher") -> TaskRunContext:
    task = types.SimpleNamespace(task_key=key)
    return cast("TaskRunContext", types.SimpleNamespace(task=task))


def test_a_key_follows_everything_a_result_rests_on(
    ingested: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Task, parameters, inputs, configuration, code and place each change it; nothing else does."""
    given = {"run_id": ingested.run_id, "symbol": "SIM01"}
    source, tag = ingested.root / "input", ["one"]

    def reads(run: Run, parameters: Mapping[str, Any]) -> Iterator[Path | str]:
        assert run.folder.root.name == parameters["run_id"]
        yield source
        yield from tag

    make = unit_key(reads)
    keys = [make(context_of(), given)]
    assert make(context_of(), given) == keys[0]
    keys.append(make(context_of("other"), given))
    keys.append(make(context_of(), given | {"symbol": "SIM02"}))
    source.write_text("now it exists")
    keys.append(make(context_of(), given))
    source.write_text("now it differs")
    keys.append(make(context_of(), given))
    tag[0] = "two"
    keys.append(make(context_of(), given))
    ingested.config.write_text(ingested.config.read_text() + "\n")
    keys.append(make(context_of(), given))
    monkeypatch.setattr("tasks.units.code_version", lambda: "other code")
    keys.append(make(context_of(), given))
    moved = ingested.home / "moved"
    moved.mkdir()
    (ingested.home / "runs").rename(moved / "runs")
    monkeypatch.setenv("SENSEQUANT_HOME", str(moved))
    keys.append(make(context_of(), given))

    assert len(set(keys)) == len(keys) == 9


KEY = "ab" * 32
SECOND_ID = "live_candidate_20260101_000000_0000beef"


def make_teacher(folder: RunFolder, text: str = "tree") -> Callable[[], UnitRecord]:
    """Return the work of a unit that writes one file."""

    def work() -> UnitRecord:
        folder.teacher("w").mkdir(parents=True)
        (folder.teacher("w") / "model.txt").write_text(text)
        return SUCCESS

    return work


def test_what_an_earlier_run_made_is_reused(folder: RunFolder) -> None:
    """A completed state of its own name says by whom it was made; the work is not done."""
    first = do(folder, make_teacher(folder), makes=[folder.teacher("w")], key=lambda: KEY)
    second = RunFolder(folder.home, SECOND_ID)
    raise_it = raising(AssertionError("done again"))

    state = do(second, raise_it, makes=[second.teacher("w")], key=lambda: KEY)

    assert isinstance(first, UnitRef)
    assert (state.type, state.name) == ("COMPLETED", "Reused")
    assert state.message == f"made by {folder.run_id}"
    reference = cast("UnitRef", cast("State[Any]", state).result())
    assert reference.record.outcome is Outcome.SUCCESS
    assert reference.record.reused_from == folder.run_id
    assert first.record.reused_from is None
    assert reference.files == first.files
    assert list(first.files) == ["teachers/w/model.txt"]
    assert (second.teacher("w") / "model.txt").read_text() == "tree"


def test_a_third_run_takes_it_from_the_one_that_made_it(folder: RunFolder) -> None:
    """What was brought is not noted anew: its maker stays known."""
    do(folder, make_teacher(folder), makes=[folder.teacher("w")], key=lambda: KEY)
    for name in (SECOND_ID, SECOND_ID.replace("2026", "2027")):
        other = RunFolder(folder.home, name)
        state = do(other, raising(AssertionError()), makes=[other.teacher("w")], key=lambda: KEY)
        assert state.message == f"made by {folder.run_id}"


@pytest.mark.parametrize("change", ["key", "altered", "none"])
def test_what_was_not_made_before_is_made(folder: RunFolder, change: str) -> None:
    """Another key, a file that was altered since, or a unit that belongs to its run alone."""
    do(folder, make_teacher(folder), makes=[folder.teacher("w")], key=lambda: KEY)
    second = RunFolder(folder.home, SECOND_ID)
    keys = {"key": lambda: "cd" * 32, "altered": lambda: KEY, "none": None}
    if change == "altered":
        (folder.teacher("w") / "model.txt").write_text("cut")

    made = do(second, make_teacher(second, "new"), makes=[second.teacher("w")], key=keys[change])

    assert isinstance(made, UnitRef)
    assert made.record.reused_from is None
    assert (second.teacher("w") / "model.txt").read_text() == "new"


def test_a_failure_is_not_kept_for_later_runs(folder: RunFolder) -> None:
    """It is no result: whoever asks for the same does it anew."""
    with pytest.raises(UnitFailedError):
        do(folder, raising(RuntimeError("x")), makes=[folder.teacher("w")], key=lambda: KEY)
    second = RunFolder(folder.home, SECOND_ID)

    made = do(second, make_teacher(second), makes=[second.teacher("w")], key=lambda: KEY)

    assert isinstance(made, UnitRef)


def test_a_skip_is_kept_with_its_reason(folder: RunFolder) -> None:
    """The same rows are skipped for the same reason in a later run, and leave no files."""
    gone = MissingBarsError("gone")
    do(folder, raising(gone), makes=[folder.teacher("w")], key=lambda: KEY)
    second = RunFolder(folder.home, SECOND_ID)
    stale = second.teacher("w") / "model.txt"
    stale.parent.mkdir(parents=True)
    stale.touch()

    state = do(second, make_teacher(second), makes=[second.teacher("w")], key=lambda: KEY)

    assert (state.name, state.message) == ("Skipped", gone.reason)
    assert not stale.exists()


def test_what_this_run_made_is_its_own(folder: RunFolder) -> None:
    """A unit whose files lie here already is brought from nowhere; only what is not its goes."""
    place = folder.teacher("w")
    do(folder, make_teacher(folder), makes=[place], key=lambda: KEY)
    before = (place / "model.txt").stat()
    (place / "trials.parquet").touch()

    record = bring_unit(folder, KEY, [place])

    assert record is not None
    assert (record.outcome, record.reused_from) == (Outcome.SUCCESS, None)
    assert (place / "model.txt").stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in place.iterdir()] == ["model.txt"]


def do_both(folder: RunFolder, work: Callable[[], list[UnitRecord]]) -> Any:
    return do_units(
        folder,
        Stage.TEACHER_TRAINING,
        work,
        makes=[folder.all_rows],
        kind="features",
        name="features and labels",
    )


def test_several_units_in_one_task_are_its_parts(folder: RunFolder) -> None:
    """They are collected in place of the task's own record, which counts them."""
    skipped = UnitRecord.from_error(
        MissingBarsError("gone"), kind="features", name="features B", seconds=0
    )
    parts = [SUCCESS, skipped]

    def work() -> list[UnitRecord]:
        folder.all_rows.mkdir()
        folder.rows("A").write_text("rows")
        return parts

    reference = do_both(folder, work)

    assert isinstance(reference, UnitRef)
    assert reference.parts == parts
    assert reference.files == {"rows/A.parquet": sha256_of(folder.rows("A"))}
    assert (reference.record.outcome, reference.record.counts) == (
        Outcome.SUCCESS,
        {"n_success": 1, "n_skipped": 1},
    )
    assert records_of(futures_of(reference)[0]) == parts
    again = UnitRef.model_validate_json(reference.model_dump_json())
    assert again.parts == parts
    told = list(read_events(folder.telemetry))
    assert [(event["name"], event["outcome"]) for event in told] == [
        ("features and labels", "success")
    ]


def test_without_anything_to_make_a_task_of_several_units_is_skipped(folder: RunFolder) -> None:
    """A DataError of the whole is a skip with its reason, and the stage gets one record of it."""

    def work() -> list[UnitRecord]:
        error = MissingBarsError("no symbol has usable bars")
        raise error

    state = do_both(folder, work)

    assert isinstance(state, State)
    assert (state.type, state.name, state.message) == ("COMPLETED", "Skipped", "no_data")
    reference = cast("UnitRef", cast("State[Any]", state).result())
    (record,) = records_of(futures_of(reference)[0])
    assert (record.outcome, record.reason) == (Outcome.SKIPPED, "no_data")


def test_a_task_of_several_units_that_breaks_is_one_failure(folder: RunFolder) -> None:
    """Whatever parts it had done before."""

    def work() -> list[UnitRecord]:
        message = "broke"
        raise RuntimeError(message)

    with pytest.raises(UnitFailedError, match="broke") as failed:
        do_both(folder, work)

    (record,) = records_of(futures_of(failed.value)[0])
    assert (record.name, record.outcome) == ("features and labels", Outcome.FAILED)
