"""Facts about units on a Dask cluster: a scheduler and a worker in processes of their own."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

from blocks.environment import Environment, child_environment, prefect_environment
from sensequant.errors import ConfigError
from sensequant.release.manifest import SUMS_NAME
from sensequant.runs import RunFolder
from sensequant.settings import RunOptions
from sensequant.storage import read_json, read_table
from tasks.runners import on_cluster, submit
from tasks.telling import utc_now

Train = Callable[..., State[Any]]

NOBODY = "dask://127.0.0.1:9"
START_SECONDS = 240.0


@contextmanager
def process(*arguments: str, folder: Path, **variables: str) -> Generator[subprocess.Popen[bytes]]:
    """Hold a program of Dask, and end it with its process group."""
    with (folder / "dask.log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env=child_environment(variables),
            stdout=log,
            stderr=log,
        )
    try:
        yield started
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            started.send_signal(number)
            try:
                started.wait(timeout=10)
                break
            except subprocess.TimeoutExpired:
                continue


@contextmanager
def scheduler(folder: Path) -> Generator[str]:
    """Hold a scheduler and return its address."""
    file = folder / "scheduler.json"
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
    command = ["distributed.cli.dask_scheduler", *options, "--scheduler-file", str(file)]
    with process(*command, folder=folder):
        wait_for(file.exists, folder)
        yield read_json(file)["address"].replace("tcp://", "dask://")


@contextmanager
def worker(address: str, folder: Path, **variables: str) -> Generator[None]:
    """Hold a worker with two threads; it is ready when it says that it has registered."""
    log = folder / "dask.log"
    n_before = log.read_text().count("Registered to")
    options = ["--nthreads", "2", "--no-nanny", "--no-dashboard"]
    command = ["distributed.cli.dask_worker", address.replace("dask://", "tcp://"), *options]
    with process(*command, folder=folder, **variables):
        wait_for(lambda: log.read_text().count("Registered to") > n_before, folder)
        yield


def wait_for(answer: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answer():
        assert time.monotonic() < deadline, (folder / "dask.log").read_text()
        time.sleep(0.2)


@pytest.fixture(scope="module")
def home(server: Environment, tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """Return the home of these tests, which the worker of the cluster shares."""
    assert server
    home = tmp_path_factory.mktemp("cluster") / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENSEQUANT_HOME", str(home))
        with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: home / "prefect" / "results"}):
            yield home


@pytest.fixture(scope="module")
def cluster(home: Path, server: Environment) -> Generator[str]:
    """Return the address of a cluster with one worker, which trains for runs of this home."""
    variables = prefect_environment(server) | {"SENSEQUANT_HOME": str(home)}
    with scheduler(home.parent) as address, worker(address, home.parent, **variables):
        yield address


@pytest.fixture
def empty(tmp_path: Path) -> Generator[str]:
    """Return the address of a scheduler for workers that a test starts."""
    with scheduler(tmp_path) as address:
        yield address


@pytest.mark.slow
def test_a_cluster_makes_the_same_bytes_as_threads(
    cluster: str, folder: RunFolder, finished: RunFolder, train: Train, teaching: Any
) -> None:
    """All eight stages; not one teacher is trained in the process of the run."""
    state = train(options=RunOptions(runner=cluster))

    assert state.name == "Completed", state
    assert teaching.taught == []
    assert "success" in read_table(folder.units("teacher"))["outcome"]
    sums = (folder.root / SUMS_NAME).read_bytes()
    assert sums == (finished.root / SUMS_NAME).read_bytes()


@pytest.mark.slow
def test_a_unit_begins_when_those_before_it_have_ended_well_or_not(cluster: str) -> None:
    """Neither earlier nor never: order holds, and a failure before a unit does not keep it away."""

    @task
    def takes_a_while(*, is_bad: bool) -> float:
        time.sleep(1.0)
        if is_bad:
            message = "a tree fell"
            raise ValueError(message)
        return utc_now().timestamp()

    @task
    def follows() -> float:
        return utc_now().timestamp()

    @flow(task_runner=on_cluster(cluster))
    def in_order() -> list[Any]:
        good, bad = (cast("Any", takes_a_while).submit(is_bad=each) for each in (False, True))
        last = submit(follows, after=[good, bad])
        return [each.result(raise_on_failure=False) for each in (good, bad, last)]

    good, bad, last = in_order()

    assert isinstance(bad, ValueError)
    assert last >= good


@pytest.mark.slow
def test_a_scheduler_that_is_away_opens_no_run(
    home: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says what does not answer and what to do; there is no half-opened run."""
    run_id = "live_candidate_20250101_000000_0000abce"
    monkeypatch.setattr("tasks.clusters._CONNECT_SECONDS", 1)

    state = train(options=RunOptions(runner=NOBODY), run_id=run_id)

    assert state.is_failed()
    assert "Dask scheduler does not answer" in str(state.message)
    assert NOBODY in str(state.message)
    assert not (home / "runs" / run_id).exists()


@pytest.mark.slow
def test_a_cluster_without_workers_is_refused(home: Path, empty: str) -> None:
    """Units would wait for ever."""
    assert home

    with pytest.raises(ConfigError, match="has no worker"):
        on_cluster(empty)


@pytest.mark.slow
def test_a_worker_of_another_home_is_refused(
    home: Path, server: Environment, empty: str, tmp_path: Path
) -> None:
    """It would train on other bars, or on none."""
    assert home
    variables = prefect_environment(server) | {"SENSEQUANT_HOME": str(tmp_path / "other")}
    with worker(empty, tmp_path, **variables), pytest.raises(ConfigError) as caught:
        on_cluster(empty)

    assert str(tmp_path / "other") in caught.value.found
    assert "SENSEQUANT_HOME" in caught.value.remedy


@pytest.mark.slow
def test_a_worker_without_the_package_is_refused(home: Path, empty: str, tmp_path: Path) -> None:
    """It says which package is missing."""
    assert home
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "tasks.py").write_text("raise ModuleNotFoundError(\"No module named 'tasks'\")\n")
    with (
        worker(empty, tmp_path, PYTHONPATH=str(absent)),
        pytest.raises(ConfigError, match="worker of the Dask cluster does not answer") as caught,
    ):
        on_cluster(empty)

    assert "No module named 'tasks'" in caught.value.found
