"""The workers of this machine: one for each work pool, started detached, stopped by their ids.

Belongs here: which workers run for this home, starting and stopping them. Does not belong here:
pools (`blocks.pools`), the life of a process (`cli.processes`), runs.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from blocks.environment import Environment, prefect_environment
from sensequant.cli.processes import (
    STOP_SECONDS,
    ProcessState,
    is_alive,
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
                variables=prefect_environment(env),
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

    A run that is under way is told first, so that it says itself that it crashed, and its stages,
    too; Retry takes up what is finished.

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
        _end_runs(processes, wait_seconds=wait_seconds)
        for state in states:
            if (process := state.process) is not None:
                stop_process(process, name=f"worker of {state.pool}", wait_seconds=wait_seconds)
        for path in _folder(env).glob("*.json"):
            path.unlink()
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


def _end_runs(workers: Sequence[psutil.Process], *, wait_seconds: float) -> None:
    for worker in workers:
        # A worker that was told takes no further run, and waits for those it has.
        _terminate(worker)
    runs = [run for worker in workers for run in _runs_of(worker)]
    for run in runs:
        _terminate(run)
    deadline = time.monotonic() + wait_seconds
    while any(is_alive(run) for run in runs) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _runs_of(worker: psutil.Process) -> list[psutil.Process]:
    try:
        return worker.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _terminate(process: psutil.Process) -> None:
    try:
        process.terminate()
    except psutil.NoSuchProcess:
        return


def _folder(env: Environment) -> Path:
    folder = env.prefect_home / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _state_file(env: Environment, pool: str) -> Path:
    return _folder(env) / f"{pool}.json"
