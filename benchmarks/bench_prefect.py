"""What Prefect and our own recording cost for each mapped task.

A server of our settings (`deployments/server.env`) on a port of its own, in a temporary home. Two
kinds of task: one that does nothing (Prefect alone), and one that does nothing as a unit of work
(cache key, telemetry, one log line, stored reference). Reported for 1,000: milliseconds of the
client's clock and CPU, and of the server's CPU until it has recorded everything. Then 5,000 trivial
tasks with a log line each: how many task runs and lines the server holds. Then the memory of the
parent at 10,000. Each step runs in a process of its own.

Usage: bench_prefect.py [N_SMALL [N_LARGE [N_LARGEST]]]
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import httpx
import psutil

from blocks.environment import Environment, child_environment, prefect_environment
from sensequant.cli.server import ensure_server, stop_server

N_TASKS = (1000, 5000, 10_000)
QUIET_SECONDS = 6.0
PATIENCE_SECONDS = 180.0


def main() -> None:
    """Measure, and print one JSON line for each step."""
    given = [int(word) for word in sys.argv[1:]]
    n_small, n_large, n_largest = [*given, *N_TASKS[len(given) :]]
    with tempfile.TemporaryDirectory() as folder:
        env = Environment.model_validate({"SENSEQUANT_HOME": folder}).on_port(_unused_port())
        ensure_server(env)
        try:
            for kind, n_tasks in (
                # The first flow of a server pays for what later ones find ready.
                ("trivial", 20),
                ("trivial", n_small),
                ("unit", n_small),
                ("telling", n_large),
                ("trivial", n_largest),
            ):
                print(json.dumps(_step(env, kind, n_tasks)), flush=True)
        finally:
            stop_server(env)


def _step(env: Environment, kind: str, n_tasks: int) -> dict[str, Any]:
    server = _family(env)
    before = _cpu_seconds(server)
    done = subprocess.run(
        [sys.executable, __file__, "--client", kind, str(n_tasks)],
        env=child_environment(prefect_environment(env)),
        check=True,
        capture_output=True,
        text=True,
    )
    client: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    n_recorded, lag_seconds = _recorded(env, client["flow_run_id"], n_tasks)
    _wait_until_idle(server)
    return {
        "kind": kind,
        "n_tasks": n_tasks,
        "client_ms": round(1000 * client["seconds"] / n_tasks, 2),
        "client_cpu_ms": round(1000 * client["cpu_seconds"] / n_tasks, 2),
        "server_cpu_ms": round(1000 * (_cpu_seconds(server) - before) / n_tasks, 2),
        "parent_mb": round(client["max_rss_mb"]),
        "n_task_runs": n_recorded,
        "n_logs": _count(env, "logs", logs={"flow_run_id": {"any_": [client["flow_run_id"]]}}),
        "lag_seconds": round(lag_seconds, 1),
    }


def _client(kind: str, n_tasks: int) -> None:
    from prefect import flow, task  # noqa: PLC0415 - the server's process does not need it
    from prefect.runtime import flow_run  # noqa: PLC0415

    from sensequant.records import Outcome, digest_of  # noqa: PLC0415
    from sensequant.runs import RunFolder, Stage  # noqa: PLC0415
    from sensequant.units import UnitRecord  # noqa: PLC0415
    from tasks.runners import runner  # noqa: PLC0415
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

    @flow(task_runner=runner())
    def mapped() -> str:
        started, cpu = time.perf_counter(), time.process_time()
        for future in chosen.map(list(range(n_tasks))):
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
    # Logs have no count; pages of 200 are what the server gives.
    with httpx.Client(trust_env=False, timeout=60) as client:
        if collection != "logs":
            url = f"{env.server_url}/{collection}/count"
            return int(client.post(url, json=filters).raise_for_status().json())
        n = 0
        while True:
            page = {"limit": 200, "offset": n}
            url = f"{env.server_url}/{collection}/filter"
            rows = client.post(url, json=filters | page).raise_for_status().json()
            n += len(rows)
            if len(rows) < page["limit"]:
                return n


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
        _client(sys.argv[2], int(sys.argv[3]))
    else:
        main()
