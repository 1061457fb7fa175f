"""Two pools, each pinned to one device: who sees what, and what happens when a pool does nothing.

The pools are real, with a worker each, on a machine that needs no GPU: what is tested is which
device each process was given, and by whom the windows are done.
"""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any, cast

import polars as pl
import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import State, WorkerStatus
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from prefect.types.entrypoint import EntrypointType

from blocks.environment import Environment, child_environment, prefect_environment
from flows.run_history import historical_training
from flows.train_shard import train_shard
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.storage import read_table, sha256_of
from sensequant.student import StudentConfig
from sensequant.teacher import TeacherConfig
from sensequant.telemetry import read_events

Ask = Callable[..., list[dict[str, Any]]]

# The tiny market of tests/flows/conftest.py, whose names a test cannot import.
REQUEST = RunRequest(
    start=date(2022, 1, 1),
    end=date(2023, 6, 30),
    source=SourceConfig(
        simulated=SimulatedConfig(n_symbols=3, history_start=date(2020, 12, 31), seed=7)
    ),
)
CONFIG = TrainingConfig(
    teacher=TeacherConfig.model_validate({"booster": {"n_estimators": 20, "num_leaves": 7}}),
    student=StudentConfig(n_estimators=10, num_leaves=4),
)
RUN_ID = "live_candidate_20250101_000000_0000abcd"
POOLS = ("gpu-0", "gpu-1")
UP_TO_STUDENTS = tuple(Stage)[:3]
UP_TO_TEACHERS = (Stage.DATA_INGESTION, Stage.TEACHER_TRAINING)


def _template(pool: str) -> dict[str, Any]:
    return {
        "job_configuration": {
            "env": {
                "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
                "CUDA_VISIBLE_DEVICES": pool.removeprefix("gpu-"),
            },
            "stream_output": False,
        },
        "variables": {"type": "object", "properties": {}},
    }


def _make_pool(client: SyncPrefectClient, pool: str) -> None:
    client.create_work_pool(
        WorkPoolCreate(
            name=pool, type="process", base_job_template=_template(pool), concurrency_limit=1
        ),
        overwrite=True,
    )
    deployed = train_shard.to_deployment(
        name=pool, work_pool_name=pool, entrypoint_type=EntrypointType.MODULE_PATH
    )
    cast("Any", deployed).apply()


@contextmanager
def _worker(pool: str, env: Environment, home: Path) -> Generator[None]:
    command = ["worker", "start", "--pool", pool, "--type", "process", "--limit", "1"]
    variables = prefect_environment(env) | {
        "SENSEQUANT_HOME": str(home),
        "SENSEQUANT_WORKERS": "1",
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "prefect" / "results"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        # A device that the worker may use itself: the pool's word must win.
        "CUDA_VISIBLE_DEVICES": "7",
    }
    with (home / f"{pool}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *command],
            stdout=log,
            stderr=log,
            env=child_environment(variables),
            cwd=home,
            start_new_session=True,
        )
    try:
        yield
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            process.send_signal(signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
                break
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


@pytest.fixture(scope="module")
def home(server: Environment, tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """Return the home of these tests, which the workers of both pools share."""
    home = tmp_path_factory.mktemp("shards")
    results = home / "prefect" / "results"
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("SENSEQUANT_HOME", str(home))
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        stack.enter_context(temporary_settings({PREFECT_LOCAL_STORAGE_PATH: results}))
        client = stack.enter_context(get_client(sync_client=True))
        for pool in POOLS:
            _make_pool(client, pool)
            stack.enter_context(_worker(pool, server, home))
        _make_pool(client, "gpu-2")
        _wait_until_online(client)
        yield home


def _wait_until_online(client: SyncPrefectClient) -> None:
    deadline = time.monotonic() + 600
    for pool in POOLS:
        while not any(
            worker.status is WorkerStatus.ONLINE
            for worker in client.read_workers_for_work_pool(pool)
        ):
            assert time.monotonic() < deadline, f"no worker of {pool}"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def alone(home: Path) -> RunFolder:
    """Return the same run without pools."""
    folder = RunFolder(home, f"{RUN_ID[:-1]}c")
    state = _train(folder.run_id, gpu_pools=(), stages=UP_TO_STUDENTS)
    assert state.is_completed(), state
    return folder


def _train(run_id: str, **options: Any) -> State[Any]:
    # What another run made would be brought, and nothing left for the pools.
    shutil.rmtree(Environment().home / "made", ignore_errors=True)
    # The decorator types `return_state` away where the flow itself returns a state.
    execute = cast("Callable[..., State[Any]]", historical_training)
    return execute(
        request=REQUEST,
        config=CONFIG,
        options=RunOptions(workers=1, **options),
        run_id=run_id,
        return_state=True,
    )


def _units(folder: RunFolder, kind: str) -> pl.DataFrame:
    return read_table(folder.units(kind)).filter(pl.col("kind") == kind)


def _ended(folder: RunFolder, *kinds: str) -> list[dict[str, Any]]:
    events = read_events(folder.telemetry)
    return [one for one in events if one["event"] == "unit_ended" and one["kind"] in kinds]


def _files(folder: RunFolder, *parts: str) -> dict[str, str]:
    """Return the digests of what teachers and students made, by path."""
    return {
        path.relative_to(folder.root).as_posix(): sha256_of(path)
        for part in parts or ("teachers", "students")
        for path in folder.root.glob(f"{part}/*/*")
    }


@pytest.mark.slow
def test_every_window_sees_the_device_that_its_pool_names(
    home: Path, alone: RunFolder, ask: Ask, eventually: Callable[..., Any]
) -> None:
    """Both pools do teachers and students on their own device, once each, to the same bytes."""
    folder = RunFolder(home, RUN_ID)

    state = _train(RUN_ID, gpu_pools=POOLS, stages=UP_TO_STUDENTS)

    assert state.is_completed(), state
    for kind in ("teacher", "student"):
        units = _units(folder, kind)
        tried = _tried(units)
        assert set(tried["pool"]) == set(POOLS)
        assert (tried["visible_devices"] == tried["pool"].str.strip_prefix("gpu-")).all()
        assert tried["n_threads"].to_list() == [1] * tried.height
        assert sorted(one["name"] for one in _ended(folder, kind)) == sorted(units["name"])
    assert not any(event["is_cached"] for event in _ended(folder, "teacher", "student"))
    by_symbol = _units(folder, "student").group_by("symbol").agg(pl.col("pool").n_unique())
    assert by_symbol["pool"].to_list() == [1] * by_symbol.height
    assert _files(folder) == _files(alone)

    def shares() -> list[dict[str, Any]]:
        wanted = {"flow_runs": {"tags": {"any_": list(POOLS)}}}
        return [
            run
            for run in ask("flow_runs", **wanted)
            if run["state_type"] == "COMPLETED" and run["parameters"]["run_id"] == RUN_ID
        ]

    runs = eventually(lambda: len(found := shares()) == 4 and found)
    assert {(run["work_pool_name"], tuple(run["tags"])) for run in runs} == {
        (pool, (pool,)) for pool in POOLS
    }


@pytest.mark.slow
def test_a_pool_that_does_nothing_hangs_no_run(home: Path, alone: RunFolder, ask: Ask) -> None:
    """One pool has no worker, one never begins: the third does all, and the page says why."""
    run_id = f"{RUN_ID[:-1]}e"
    folder = RunFolder(home, run_id)
    with get_client(sync_client=True) as client:
        client.update_work_pool("gpu-1", WorkPoolUpdate(is_paused=True))
        state = _train(
            run_id,
            gpu_pools=("gpu-2", "gpu-1", "gpu-0"),
            pool_start_seconds=12,
            stages=UP_TO_TEACHERS,
        )
        client.update_work_pool("gpu-1", WorkPoolUpdate(is_paused=False))

    assert state.is_completed(), state
    assert set(_tried(_units(folder, "teacher"))["pool"]) == {"gpu-0"}
    assert _files(folder, "teachers") == _files(alone, "teachers") != {}
    page = ask("artifacts", artifacts={"key": {"any_": ["teacher-training-devices"]}})
    rows = [
        row for artifact in page if run_id in artifact["description"] for row in _rows(artifact)
    ]
    assert [(row["pool"], row["share"]) for row in rows[:1]] == [("gpu-2", "none")]
    assert sorted((row["pool"], row["share"]) for row in rows[1:]) == [
        ("gpu-0", "done"),
        ("gpu-0", "done"),
        ("gpu-1", "moved"),
    ]
    assert "no worker" in rows[0]["reason"]


def _tried(units: pl.DataFrame) -> pl.DataFrame:
    """Return units that a process did; what the plan leaves out is told without one."""
    assert set(units.filter(pl.col("pool").is_null())["outcome"]) <= {"skipped"}
    return units.drop_nulls("pool")


def _rows(artifact: dict[str, Any]) -> list[dict[str, Any]]:
    return json.loads(artifact["data"])
