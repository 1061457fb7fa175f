"""Facts about running a run again: what failed, changed or was lost is done, nothing else is."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry, Scheduled

from blocks.environment import Environment, child_environment, prefect_environment
from flows.run_history import historical_training
from sensequant.release.manifest import SUMS_NAME, read_manifest
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions
from sensequant.stages import evidence, ingestion
from sensequant.stages.context import Run, RunSettings
from sensequant.storage import read_json, read_table, sha256_of
from sensequant.telemetry import read_events

Train = Callable[..., State[Any]]

ROOT = Path(__file__).parents[2]
BAD = ("SIM01", "2022-06-30")
UP_TO_TEACHERS = RunOptions(stages=(Stage.DATA_INGESTION, Stage.TEACHER_TRAINING), workers=2)
UP_TO_STUDENTS = RunOptions(stages=tuple(Stage)[:3], workers=2)


def executed(folder: RunFolder) -> set[str]:
    """Return the names of the units that the last attempt did itself."""
    return {name for name, is_cached in ended(folder) if not is_cached}


def ended(folder: RunFolder) -> list[tuple[str, bool]]:
    units: list[tuple[str, bool]] = []
    for event in read_events(folder.telemetry):
        if event["event"] == "run_started":
            units = []
        elif event["event"] == "unit_ended":
            units.append((event["name"], event["is_cached"]))
    return units


def assert_same_evidence(folder: RunFolder, undisturbed: RunFolder) -> None:
    sums = (folder.root / SUMS_NAME).read_bytes()
    assert sums == (undisturbed.root / SUMS_NAME).read_bytes()
    assert read_manifest(folder).evidence_digest == read_manifest(undisturbed).evidence_digest


def test_what_failed_is_done_again_and_all_that_rests_on_it(
    folder: RunFolder, finished: RunFolder, train: Train, teaching: Any
) -> None:
    """The failed teacher runs again, and the students that lacked it; the end is the same."""
    teaching.errors[BAD] = RuntimeError("a tree fell")
    train()
    teaching.errors.clear()
    teaching.taught.clear()

    state = train()

    assert state.name == "Completed"
    assert teaching.taught == [BAD]
    assert executed(folder) == {
        "teacher SIM01 2022-06-30..2022-12-26",
        # This one was skipped for want of that teacher, the later ones learnt without it.
        "student SIM01 2022-06-30..2022-12-26",
        "student SIM01 2022-12-27..2023-06-24",
        "student SIM01 2023-06-25..2023-06-30",
        # Those of all symbols had the other symbols' teachers, and learn again with this one.
        "student universe 2022-06-30..2022-12-26",
        "student universe 2022-12-27..2023-06-24",
        "student universe 2023-06-25..2023-06-30",
        "stress rate_hike_selloff_2022",
        "stress svb_banking_crisis_2023",
    }
    names = [name for name, _ in ended(folder)]
    assert len(names) == len(set(names)) == 41
    assert read_json(folder.run)["outcome"] == "completed"
    assert_same_evidence(folder, finished)


def test_retry_of_the_flow_run_itself_works_on_the_same_run(
    home: Path, market: RunSettings, train: Train, teaching: Any
) -> None:
    """Retry on the run's page opens the run again that it opened first, and does what failed."""
    teaching.errors[BAD] = RuntimeError("a tree fell")
    state = train(run_id=None, options=UP_TO_TEACHERS)
    (root,) = (home / "runs").iterdir()
    folder = RunFolder(home, root.name)
    flow_run_id = read_json(folder.run)["prefect_flow_run_id"]
    teaching.errors.clear()
    teaching.taught.clear()
    assert state.name == "Degraded"

    state = retried(flow_run_id, market, options=UP_TO_TEACHERS)

    assert state.name == "Completed"
    assert [path.name for path in (home / "runs").iterdir()] == [folder.run_id]
    assert teaching.taught == [BAD]


def test_bars_that_were_brought_are_taken_in_by_one_task(
    folder: RunFolder, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second attempt plans no chunk; with a file of bars lost, all are planned and made again."""
    asked = RunOptions(stages=(Stage.DATA_INGESTION,), workers=2)
    planned: list[int] = []
    really = ingestion.plan_chunks

    def counted(*given: Any, **named: Any) -> Any:
        chunks = really(*given, **named)
        planned.append(len(chunks))
        return chunks

    monkeypatch.setattr(ingestion, "plan_chunks", counted)
    train(options=asked)
    table = read_table(folder.units("chunk"))
    bars = {path.name: sha256_of(path) for path in (folder.root / "bars").iterdir()}
    train(options=asked)
    n_planned_twice = len(planned)
    folder.bars("SIM01").unlink()
    train(options=asked)

    assert n_planned_twice == 1
    assert len(planned) == 2
    assert read_table(folder.units("chunk"))["name"].equals(table["name"])
    assert {path.name: sha256_of(path) for path in (folder.root / "bars").iterdir()} == bars


def executed_run(flow_run: FlowRun, market: RunSettings, **fields: Any) -> State[Any]:
    """Execute a run that the server knows, as its worker does."""
    parameters = {"request": market.request, "config": market.config, "run_id": None} | fields
    return cast(
        "State[Any]",
        run_flow(
            historical_training, flow_run=flow_run, parameters=parameters, return_type="state"
        ),
    )


def retried(flow_run_id: UUID | str, market: RunSettings, **fields: Any) -> State[Any]:
    """Do what the button Retry does, and what a worker does then."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(str(flow_run_id)), AwaitingRetry(), force=True)
        again = client.read_flow_run(UUID(str(flow_run_id)))
    return executed_run(again, market, **fields)


def test_a_run_of_last_week_is_taken_up_where_it_was(
    home: Path, market: RunSettings, teaching: Any
) -> None:
    """Its folder has the day of last week, and what it made is known without Prefect's results."""
    last_week = datetime.now(UTC) - timedelta(days=7)
    with get_client(sync_client=True) as client:
        created = client.create_flow_run(
            historical_training, state=Scheduled(scheduled_time=last_week)
        )
    teaching.errors[BAD] = RuntimeError("a tree fell")
    state = executed_run(created, market, options=UP_TO_TEACHERS)
    assert state.name == "Degraded"
    (root,) = (home / "runs").iterdir()
    assert root.name.startswith(f"live_candidate_{last_week:%Y%m%d_%H%M%S}")
    shutil.rmtree(home / "prefect" / "results")
    teaching.errors.clear()
    teaching.taught.clear()

    state = retried(created.id, market, options=UP_TO_TEACHERS)

    assert state.name == "Completed"
    assert list((home / "runs").iterdir()) == [root]
    assert teaching.taught == [BAD]


def test_a_stage_that_failed_is_done_again_and_those_after_it(
    folder: RunFolder,
    finished: RunFolder,
    train: Train,
    teaching: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No unit before it is executed a second time, and the evidence is the same."""

    def break_down(_run: Run) -> None:
        message = "no paper"
        raise RuntimeError(message)

    with monkeypatch.context() as patch:
        patch.setattr(evidence, "validate_scores", break_down)
        state = train()
    assert state.is_failed()
    assert "model_validation failed: RuntimeError: no paper" in str(state.message)
    assert read_json(folder.run)["failed_stage"] == "model_validation"
    teaching.taught.clear()

    state = train()

    assert state.name == "Completed"
    assert teaching.taught == []
    assert {name.split()[0] for name in executed(folder)} == {"stress"}
    assert read_json(folder.run)["failed_stage"] is None
    assert_same_evidence(folder, finished)


def test_other_code_makes_every_window_stale(
    train: Train, teaching: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another version of the sources made is not trusted, in the same run neither."""
    train(options=UP_TO_TEACHERS)
    first = sorted(teaching.taught)
    teaching.taught.clear()
    for module in ("tasks.units", "sensequant.stages.training"):
        monkeypatch.setattr(f"{module}.code_version", lambda: "other code")

    train(options=UP_TO_TEACHERS)

    assert sorted(teaching.taught) == first
    assert len(first) == 6


def test_files_that_were_lost_are_made_again(
    folder: RunFolder, finished: RunFolder, train: Train, teaching: Any
) -> None:
    """A unit whose file is gone or altered runs again, and only that one."""
    train(options=UP_TO_STUDENTS)
    teaching.taught.clear()
    label = "SIM01_2022-01-01_to_2022-06-29"
    (folder.teacher(label) / "labels.parquet").unlink()
    folder.bars("SIM02").unlink()
    folder.rows("SIM03").write_bytes(b"PAR1 no more")
    student = folder.student(label) / "student.json"
    student.write_text(student.read_text() + " ")

    state = train(options=UP_TO_STUDENTS)

    assert state.name == "Completed"
    assert teaching.taught == [("SIM01", "2022-01-03")]
    assert executed(folder) == {
        "bars SIM02",
        "features and labels",
        "teacher SIM01 2022-01-01..2022-06-29",
        "student SIM01 2022-01-01..2022-06-29",
    }
    made = {path.relative_to(folder.root): sha256_of(path) for path in folder.artifacts()}
    assert len(made) > 50
    assert made == {path: sha256_of(finished.root / path) for path in made}


def test_a_finished_run_does_nothing_twice(folder: RunFolder, train: Train, teaching: Any) -> None:
    """Run again, a finished run takes every unit from the first attempt, skips included."""
    train(options=UP_TO_TEACHERS)
    table = read_table(folder.units("teacher"))
    teaching.taught.clear()

    state = train(options=UP_TO_TEACHERS)

    assert state.name == "Completed"
    assert executed(folder) == set()
    assert teaching.taught == []
    assert len(ended(folder)) == 23
    assert read_table(folder.units("teacher")).equals(table)


def test_a_failure_after_a_success_leaves_nothing_stale(
    folder: RunFolder, train: Train, teaching: Any
) -> None:
    """A teacher that fails when it is made anew does not leave its predecessor behind."""
    train(options=UP_TO_TEACHERS)
    made = folder.teacher("SIM01_2022-06-30_to_2022-12-26")
    assert made.exists()
    (made / "model.txt").unlink()
    teaching.errors[BAD] = RuntimeError("a tree fell")

    train(options=UP_TO_TEACHERS)

    assert not made.exists()
    assert folder.stages()[1].findings["n_teachers"] == 5


def test_another_home_is_another_run(
    folder: RunFolder, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of one home are not taken for those of another, even if they are stored together."""
    options = RunOptions(stages=(Stage.DATA_INGESTION,))
    train(options=options)
    other = RunFolder(tmp_path / "other", folder.run_id)
    monkeypatch.setenv("SENSEQUANT_HOME", str(other.home))

    state = train(options=options)

    assert state.name == "Completed"
    assert len(executed(other)) == 10
    assert sha256_of(other.bars("SIM01")) == sha256_of(folder.bars("SIM01"))


def test_a_run_keeps_its_settings(folder: RunFolder, market: RunSettings, train: Train) -> None:
    """A run id with other settings is refused, and the run stays as it was."""
    options = RunOptions(stages=(Stage.DATA_INGESTION,))
    train(options=options)
    before = {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}

    state = train(config=market.config.model_copy(update={"seed": 1}), options=options)

    assert state.is_failed()
    assert "run exists with other settings" in str(state.result(raise_on_failure=False))
    assert before == {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}


_CHILD = """
import itertools, os, pathlib, time
from flows.run_history import historical_training
from sensequant.stages import training

really, number = training.train_teacher, itertools.count()

def train_two(rows, **settings):
    if next(number) == 2:
        pathlib.Path(os.environ["SENSEQUANT_HOME"], "amid").touch()
        time.sleep(600)
    return really(rows, **settings)

training.train_teacher = train_two
historical_training(
    request={request!r}, config={config!r}, options=dict(workers=1), run_id={run_id!r}
)
"""


@pytest.fixture
def child(
    folder: RunFolder, market: RunSettings, server: Environment
) -> Iterator["subprocess.Popen[bytes]"]:
    """Return a process of its own that executes the run, and stands still at the third teacher."""
    program = _CHILD.format(
        request=market.request.model_dump(mode="json"),
        config=market.config.model_dump(mode="json"),
        run_id=folder.run_id,
    )
    variables = prefect_environment(server) | {
        "SENSEQUANT_HOME": str(folder.home),
        "PREFECT_LOCAL_STORAGE_PATH": str(folder.home / "prefect" / "results"),
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=child_environment(variables), cwd=folder.home.parent
    )
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_killed_run_is_taken_up_where_it_was(
    folder: RunFolder,
    finished: RunFolder,
    train: Train,
    teaching: Any,
    child: "subprocess.Popen[bytes]",
) -> None:
    """Killed amid the third teacher and run again, a run stands on the same evidence."""
    deadline = time.monotonic() + 600
    while not (folder.home / "amid").exists():
        assert child.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "no teacher was trained in time"
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert [name for name, _ in ended(folder)][-2:] == [
        "teacher SIM01 2022-01-01..2022-06-29",
        "teacher SIM01 2022-06-30..2022-12-26",
    ]
    assert read_json(folder.run)["outcome"] is None

    state = train()

    assert state.name == "Completed"
    assert sorted(teaching.taught) == [
        ("SIM01", "2022-12-27"),
        ("SIM02", "2022-01-03"),
        ("SIM02", "2022-06-30"),
        ("SIM02", "2022-12-27"),
    ]
    assert_same_evidence(folder, finished)
