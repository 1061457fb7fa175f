"""The workers of this machine: one for each work pool, started detached, stopped by their ids.

Belongs here: which workers run for this home, starting and stopping them. Does not belong here:
pools (`blocks.pools`), the life of a process (`cli.processes`), runs.
"""

import os
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import httpx
import psutil

from blocks.environment import Environment, prefect_environment
from sensequant.cli.processes import (
    STOP_SECONDS,
    ProcessState,
    last_lines,
    start_detached,
    stop_process,
)
from sensequant.errors import SenseQuantError
from sensequant.storage import locked, write_json

__all__ = [
    "WorkerState",
    "log_of",
    "own_workers",
    "start_workers",
    "stop_workers",
    "why_dead",
]

# A worker that made its pool itself would know no pins.
_COMMAND = ("worker", "start", "--type", "process", "--no-create-pool-if-not-found")
_POLL_SECONDS = 0.2
_N_ATTEMPTS = 10
_UNENDED = {"RUNNING", "PENDING", "CANCELLING"}
_STOPPED = "stopped by `sensequant down`; Retry takes up what is finished"


class WorkerState(ProcessState):
    """Which process was started as the worker of a pool."""

    pool: str
    name: str


def own_workers(env: Environment) -> list[WorkerState]:
    """Return the workers that were started for this home and still run, by pool."""
    states = [WorkerState.read(path) for path in sorted(_folder(env).glob("*.json"))]
    return [state for state in states if state is not None]


def start_workers(env: Environment, names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Start the workers that do not run yet.

    Parameters
    ----------
    env
        Where the server is, and the home below which state and log of each worker stand.
    names
        Pool and name of each worker.

    Returns
    -------
    dict
        For each pool, what was done: `started` or `found`, with the process.
    """
    done: dict[str, str] = {}
    with locked(_folder(env)):
        running = {state.pool: state for state in own_workers(env)}
        for pool, name in names:
            if pool in running:
                done[pool] = f"found, process {running[pool].pid}"
                continue
            process = start_detached(
                [*_COMMAND, "--pool", pool, "--name", name],
                log=log_of(env, pool),
                folder=env.prefect_home,
                variables=prefect_environment(env) | {"PATH": _path()},
            )
            state = WorkerState.of(process, pool=pool, name=name)
            write_json(_state_file(env, pool), state)
            done[pool] = f"started, process {state.pid}"
    return done


def log_of(env: Environment, pool: str) -> Path:
    """Return the file to which the worker of a pool, and its runs, print."""
    return _folder(env) / f"{pool}.log"


def stop_workers(env: Environment, *, wait_seconds: float = STOP_SECONDS) -> list[WorkerState]:
    """Stop the workers that were started for this home, and what they execute.

    A run that is under way is ended and shown as Crashed; Retry takes up what it has finished.

    Returns
    -------
    list of WorkerState
        What was stopped.

    Raises
    ------
    SenseQuantError
        A process is still there after it was killed.
    """
    with locked(_folder(env)):
        states = own_workers(env)
        processes = [process for state in states if (process := state.process) is not None]
        runs = [run for worker in processes for run in _runs_of(worker)]
        flow_run_ids = dict.fromkeys(filter(None, map(_flow_run_of, runs)))
        for process in [*processes, *runs]:
            # All at once, because each takes its time to end.
            _terminate(process)
        for state, process in zip(states, processes, strict=True):
            stop_process(process, name=f"worker of {state.pool}", wait_seconds=wait_seconds)
        for run in runs:
            stop_process(run, name="run", wait_seconds=wait_seconds)
        for flow_run_id in flow_run_ids:
            _show_as_crashed(env, flow_run_id)
        for state in states:
            _state_file(env, state.pool).unlink(missing_ok=True)
    return states


def why_dead(env: Environment, pool: str) -> SenseQuantError | None:
    """Return an error with the last words of a worker that was started and is gone."""
    if any(state.pool == pool for state in own_workers(env)):
        return None
    return SenseQuantError(
        "worker ended by itself",
        where=f"pool {pool}",
        expected="a worker that waits for runs",
        found="; ".join(last_lines(log_of(env, pool))) or "no word in its log",
        remedy=f"read {log_of(env, pool)}, then run `sensequant up` again",
    )


def _path() -> str:
    # The pools say `python`, which must be this interpreter.
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _runs_of(worker: psutil.Process) -> list[psutil.Process]:
    try:
        return worker.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _flow_run_of(run: psutil.Process) -> str | None:
    try:
        return run.environ().get("PREFECT__FLOW_RUN_ID")
    except psutil.Error:
        return None


def _show_as_crashed(env: Environment, flow_run_id: str) -> None:
    # A process that is killed cannot say so, and its worker is gone as well.
    state = {"type": "CRASHED", "name": "Crashed", "message": _STOPPED}
    url = f"{env.server_url}/flow_runs/{flow_run_id}"
    for _ in range(_N_ATTEMPTS):
        try:
            found = httpx.get(url, trust_env=False).json()
            if found["state"]["type"] not in _UNENDED:
                return
            body = {"state": state, "force": True}
            if httpx.post(f"{url}/set_state", json=body, trust_env=False).is_success:
                return
        except (httpx.HTTPError, KeyError, ValueError):
            # No server any more: the run's missing heartbeats will tell, once there is one.
            pass
        time.sleep(_POLL_SECONDS)


def _terminate(process: psutil.Process) -> None:
    try:
        process.terminate()
    except psutil.NoSuchProcess:
        return


def _folder(env: Environment) -> Path:
    folder = env.prefect_home / "workers"
    if env.local_port is None:
        # Beside the server's own machine, others share the home; each has pools of its own there.
        folder /= socket.gethostname()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _state_file(env: Environment, pool: str) -> Path:
    return _folder(env) / f"{pool}.json"
