"""Facts about workers: one for each pool, known again, stopped with what they execute."""

import os
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest

from blocks.environment import Environment, read_environment
from sensequant.cli import workers as module
from sensequant.cli.processes import is_alive
from sensequant.cli.workers import (
    WorkerState,
    log_of,
    own_workers,
    start_workers,
    stop_workers,
    why_dead,
)
from sensequant.storage import write_json

RUN_ID = "0f0f0f0f-0000-4000-8000-000000000001"
POOLS = [("default", "here-default"), ("gpu-0", "here-gpu-0")]
# A worker stays up after a first SIGTERM and waits for its run, which ends at none.
_WORKER = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
run = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", run], env={**os.environ, "PREFECT__FLOW_RUN_ID": %r})
print(*sys.argv[1:], os.environ["CUDA"] if "CUDA" in os.environ else "", flush=True)
time.sleep(60)
"""


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Environment]:
    """Return a home whose workers are scripts that behave as badly as Prefect's can."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    script = tmp_path / "worker.py"
    script.write_text(_WORKER % RUN_ID, encoding="utf-8")
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setattr("sensequant.cli.processes.sys.executable", str(python))
    env = read_environment(home=tmp_path / "home", port=4999)
    yield env
    for state in own_workers(env):
        if state.process is not None:
            for process in [*state.process.children(recursive=True), state.process]:
                process.kill()


def children_of(state: WorkerState) -> list[psutil.Process]:
    assert state.process is not None
    deadline = time.monotonic() + 20
    while not (children := state.process.children(recursive=True)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return children


def test_each_pool_gets_one_worker_and_never_a_second(env: Environment) -> None:
    """It is told its pool, its name and not to make the pool; a second start finds it."""
    started = start_workers(env, POOLS)
    first = {state.pool: state.pid for state in own_workers(env)}
    found = start_workers(env, POOLS)

    assert {pool: f"started, process {pid}" for pool, pid in first.items()} == started
    assert {pool: f"found, process {pid}" for pool, pid in first.items()} == found
    for state in own_workers(env):
        children_of(state)
        (said,) = log_of(env, state.pool).read_text().splitlines()
        assert said.startswith("-m prefect worker start --type process --no-create-pool")
        assert f"--pool {state.pool} --name here-{state.pool}" in said


def test_machines_that_share_a_home_stop_their_own_workers_only(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine of the server and another one, whose server is elsewhere."""
    start_workers(env, POOLS[:1])
    monkeypatch.setenv("PREFECT_API_URL", "http://10.1.2.3:4999/api")
    other = read_environment(home=env.home)

    assert start_workers(other, POOLS[:1])["default"].startswith("started")
    assert [state.pool for state in stop_workers(other, wait_seconds=0.3)] == ["default"]

    assert [state.pool for state in own_workers(env)] == ["default"]
    assert own_workers(other) == []


def test_stopping_ends_workers_and_runs_that_ignore_it(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are gone afterwards, and their runs are shown as crashed."""
    shown: list[str] = []

    def show(_env: Environment, flow_run_id: str) -> None:
        shown.append(flow_run_id)

    monkeypatch.setattr(module, "_show_as_crashed", show)
    start_workers(env, POOLS)
    family = [one for state in own_workers(env) for one in children_of(state)]

    stopped = stop_workers(env, wait_seconds=0.2)

    assert [state.pool for state in stopped] == ["default", "gpu-0"]
    assert not [one for one in family if is_alive(one)]
    assert not [state for state in stopped if state.process is not None]
    assert shown == [RUN_ID]
    assert stop_workers(env) == []


def test_worker_of_somebody_else_under_the_same_id_is_left_alone(env: Environment) -> None:
    """An id that was given to a new process belongs to it."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
        process = psutil.Process(other.pid)
        state = WorkerState.of(process, pool="default", name="x").model_copy(
            update={"process_created_at": process.create_time() - 60}
        )
        write_json(module._state_file(env, "default"), state)

        assert own_workers(env) == []
        assert stop_workers(env) == []
        assert process.is_running()
        other.communicate()


def test_worker_that_ended_leaves_its_last_words(env: Environment) -> None:
    """The error names the pool and the log; one that runs is no error."""
    start_workers(env, POOLS[:1])
    log_of(env, "gpu-0").write_text("a line\nWork pool 'gpu-0' not found!\n", encoding="utf-8")

    error = why_dead(env, "gpu-0")

    assert why_dead(env, "default") is None
    assert error is not None
    assert "not found!" in error.found
    assert str(log_of(env, "gpu-0")) in error.remedy


@pytest.mark.parametrize(
    ("state", "is_set"), [("RUNNING", True), ("PENDING", True), ("COMPLETED", False)]
)
def test_only_a_run_that_had_not_ended_is_shown_as_crashed(
    env: Environment, monkeypatch: pytest.MonkeyPatch, state: str, *, is_set: bool
) -> None:
    """A result that came in time stays; a server that is busy is asked again."""
    import httpx  # noqa: PLC0415

    asked: list[str] = []

    def get(url: str, **_: object) -> httpx.Response:
        asked.append(url)
        if len(asked) == 1:
            message = "busy"
            raise httpx.ReadTimeout(message)
        return httpx.Response(200, json={"state": {"type": state}})

    def post(url: str, **_: object) -> httpx.Response:
        asked.append(url)
        return httpx.Response(201)

    monkeypatch.setattr(httpx, "get", get)
    monkeypatch.setattr(httpx, "post", post)

    module._show_as_crashed(env, RUN_ID)

    run = f"http://127.0.0.1:4999/api/flow_runs/{RUN_ID}"
    assert asked == [run, run, *([f"{run}/set_state"] if is_set else [])]


def test_runs_are_executed_by_this_interpreter(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pools say `python`; the folder of ours comes first on the worker's PATH."""
    assert env
    monkeypatch.setenv("PATH", "/usr/bin")

    assert module._path() == os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin"])
