"""What Prefect and our own recording cost for each mapped task.

A server of our settings (`deployments/server.env`) on a port of its own, in a temporary home: first
on SQLite, then, where SENSEQUANT_DATABASE names one, on that PostgreSQL database, which should be
empty. At the end a tenth of the tasks on a Dask cluster of one worker, where Dask is installed. Two
kinds of task: one that does nothing (Prefect alone), and one that does nothing as a unit of work
(cache key, telemetry, one log line, stored reference). Reported for 1,000: milliseconds of the
client's clock and CPU, and of the server's CPU until it has recorded everything. Then 5,000 trivial
tasks with a log line each: how many task runs and lines the server holds. Then the memory of the
parent at 10,000. Each step runs in a process of its own. Compare choices within one run only.

Usage: bench_prefect.py [N_SMALL [N_LARGE [N_LARGEST]]]
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

import httpx
import psutil

from blocks.environment import (
    Environment,
    child_environment,
    prefect_environment,
    read_environment,
)
from sensequant.cli.server import ensure_server, stop_server

N_TASKS = (1000, 5000, 10_000)
QUIET_SECONDS = 6.0
PATIENCE_SECONDS = 600.0


def main() -> None:
    """Measure, and print one JSON line for each step."""
    given = [int(word) for word in sys.argv[1:]]
    n_small, n_large, n_largest = [*given, *N_TASKS[len(given) :]]
    database = read_environment().database
    with tempfile.TemporaryDirectory() as folder:
        env = Environment.model_validate({"SENSEQUANT_HOME": folder, "SENSEQUANT_DATABASE": None})
        with _server(env) as here:
            _measure(here, "sqlite", n_small, n_large)
            _tell("sqlite", _step(here, "trivial", n_largest))
            if find_spec("prefect_dask") is not None:
                with _cluster(here) as address:
                    _tell("sqlite", _step(here, "trivial", n_small // 10, address))
    if database is not None:
        with tempfile.TemporaryDirectory() as folder:
            address = database.get_secret_value()
            values = {"SENSEQUANT_HOME": folder, "SENSEQUANT_DATABASE": address}
            with _server(Environment.model_validate(values)) as here:
                _measure(here, "postgresql", n_small, n_large)


def _measure(env: Environment, database: str, n_small: int, n_large: int) -> None:
    # The first flow of a server pays for what later ones find ready.
    _step(env, "trivial", 20)
    for kind, n_tasks in (("trivial", n_small), ("unit", n_small), ("telling", n_large)):
        _tell(database, _step(env, kind, n_tasks))


def _tell(database: str, found: dict[str, Any]) -> None:
    print(json.dumps({"database": database} | found), flush=True)


@contextmanager
def _server(env: Environment) -> Generator[Environment]:
    here = env.on_port(_unused_port())
    ensure_server(here, wait_seconds=PATIENCE_SECONDS)
    try:
        yield here
    finally:
        stop_server(here)


@contextmanager
def _cluster(env: Environment) -> Generator[str]:
    file = env.home / "scheduler.json"
    variables = child_environment(prefect_environment(env))
    scheduler = ["dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    worker = ["dask_worker", "--nthreads", "2", "--no-nanny", "--no-dashboard"]
    with ExitStack() as stack:
        for name, *options in (scheduler, worker):
            command = [sys.executable, "-m", f"distributed.cli.{name}", *options]
            process = subprocess.Popen(
                [*command, "--scheduler-file", str(file)],
                env=variables,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            while not file.exists():
                time.sleep(0.5)
        time.sleep(QUIET_SECONDS)
        yield json.loads(file.read_text())["address"].replace("tcp://", "dask://")


def _step(env: Environment, kind: str, n_tasks: int, cluster: str | None = None) -> dict[str, Any]:
    server = _family(env)
    before = _cpu_seconds(server)
    done = subprocess.run(
        [sys.executable, __file__, "--client", kind, str(n_tasks), *([cluster] if cluster else [])],
        env=child_environment(prefect_environment(env)),
        check=True,
        capture_output=True,
        text=True,
    )
    client: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    n_recorded, lag_seconds = _recorded(env, client["flow_run_id"], n_tasks)
    _wait_until_idle(server)
    return {
        "runner": "threads" if cluster is None else "dask",
        "kind": kind,
        "n_tasks": n_tasks,
        "client_ms": round(1000 * client["seconds"] / n_tasks, 2),
        "client_cpu_ms": round(1000 * client["cpu_seconds"] / n_tasks, 2),
        "server_cpu_ms": round(1000 * (_cpu_seconds(server) - before) / n_tasks, 2),
        "parent_mb": round(client["max_rss_mb"]),
        "n_task_runs": n_recorded,
        **_log_lines(env, client["flow_run_id"]),
        "lag_seconds": round(lag_seconds, 1),
    }


def _client(kind: str, n_tasks: int, cluster: str | None = None) -> None:
    from prefect import flow, task  # noqa: PLC0415 - the server's process does not need it
    from prefect.runtime import flow_run  # noqa: PLC0415

    from sensequant.records import Outcome, digest_of  # noqa: PLC0415
    from sensequant.runs import RunFolder, Stage  # noqa: PLC0415
    from sensequant.units import UnitRecord  # noqa: PLC0415
    from tasks.runners import in_turn, on_cluster, runner, submit  # noqa: PLC0415
    from tasks.telling import say  # noqa: PLC0415
    from tasks.units import do_unit  # noqa: PLC0415

    folder = RunFolder(Environment().home, "live_candidate_20250101_000000_0000abcd")
    folder.root.mkdir(parents=True, exist_ok=True)

    @task(log_prints=False)
    def trivial(number: int) -> int:
        return number

    @task(log_prints=False)
    def telling(number: int) -> int:
        say("told", number=number)
        return number

    def key_of(_context: Any, parameters: dict[str, Any]) -> str:
        return digest_of({"run": str(flow_run.get_id()), **parameters})

    @task(persist_result=True, cache_key_fn=key_of)
    def unit(number: int) -> Any:
        name = f"unit {number}"

        def work() -> UnitRecord:
            return UnitRecord(kind="unit", name=name, outcome=Outcome.SUCCESS, seconds=0.0)

        return do_unit(folder, Stage.TEACHER_TRAINING, work, kind="unit", name=name)

    chosen: Any = {"trivial": trivial, "telling": telling, "unit": unit}[kind]
    seconds: dict[str, float] = {}

    @flow(task_runner=runner() if cluster is None else on_cluster(cluster))
    def mapped() -> str:
        started, cpu = time.perf_counter(), time.process_time()
        for future in in_turn(submit(chosen, number) for number in range(n_tasks)):
            future.wait()
        seconds.update(seconds=time.perf_counter() - started, cpu_seconds=time.process_time() - cpu)
        return str(flow_run.get_id())

    state: Any = mapped(return_state=True)
    rss_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(seconds | {"flow_run_id": state.result(), "max_rss_mb": rss_kib / 1024}))


def _recorded(env: Environment, flow_run_id: str, n_tasks: int) -> tuple[int, float]:
    started = time.monotonic()
    of_run = {"flow_run_id": {"any_": [flow_run_id]}, "state": {"type": {"any_": ["COMPLETED"]}}}
    while time.monotonic() - started < PATIENCE_SECONDS:
        n = _count(env, "task_runs", task_runs=of_run)
        if n >= n_tasks:
            break
        time.sleep(0.5)
    return _count(env, "task_runs", task_runs=of_run), time.monotonic() - started


def _count(env: Environment, collection: str, **filters: Any) -> int:
    with httpx.Client(trust_env=False, timeout=60) as client:
        url = f"{env.server_url}/{collection}/count"
        return int(client.post(url, json=filters).raise_for_status().json())


def _log_lines(env: Environment, flow_run_id: str) -> dict[str, int]:
    """Count the lines of a run, and those among them that a busy server took in more than once."""
    filters = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}, "limit": 200}
    lines: list[tuple[Any, ...]] = []
    with httpx.Client(trust_env=False, timeout=60) as client:
        while len(lines) % 200 == 0:
            page = filters | {"offset": len(lines)}
            rows = client.post(f"{env.server_url}/logs/filter", json=page).raise_for_status().json()
            lines += [(row["task_run_id"], row["timestamp"], row["message"]) for row in rows]
            if not rows:
                break
    return {"n_logs": len(set(lines)), "n_logs_repeated": len(lines) - len(set(lines))}


def _family(env: Environment) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter()
        if process.pid == _server_pid(env) or _server_pid(env) in map(_pid, _parents(process))
    ]


def _server_pid(env: Environment) -> int:
    return int(json.loads((env.prefect_home / "server.json").read_text())["pid"])


def _parents(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.parents()
    except psutil.Error:
        return []


def _pid(process: psutil.Process) -> int:
    return process.pid


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes if process.is_running()]
    return sum(each.user + each.system for each in times)


def _wait_until_idle(processes: list[psutil.Process]) -> None:
    # What it still does for the last tasks belongs to them; idle, it takes a few ms a second.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        before = _cpu_seconds(processes)
        time.sleep(QUIET_SECONDS)
        if _cpu_seconds(processes) - before < 0.05 * QUIET_SECONDS:
            return


def _unused_port() -> int:
    import socket  # noqa: PLC0415

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    os.environ.setdefault("DO_NOT_TRACK", "1")
    if sys.argv[1:2] == ["--client"]:
        _client(sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
    else:
        main()
