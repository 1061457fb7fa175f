"""Everything that one machine needs for its runs: started in order, stopped in reverse.

Belongs here: the order, and when it is ready. Does not belong here: the server (`cli.server`), the
workers (`cli.workers`), what is registered (`cli.deploy`).
"""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from blocks.environment import Environment
from blocks.pages import publish_all
from sensequant.cli.deploy import connect, deploy_pools, deploy_runs, find_server, pools_of
from sensequant.cli.output import Fact
from sensequant.cli.server import ensure_server, own_server, stop_server
from sensequant.cli.workers import start_workers, stop_workers, why_dead
from sensequant.errors import SenseQuantError

if TYPE_CHECKING:
    from blocks.clients import Client

__all__ = ["start_machine", "start_server", "stop_machine"]

READY_SECONDS = 240.0
"""Longest wait until a worker has reported to the server: 5 to 15 s on a machine that does nothing
else. One that ends is noticed at once."""

_POLL_SECONDS = 0.5


def start_server(env: Environment) -> Iterator[Fact]:
    """Start the server if none answers; yield where it is."""
    server = ensure_server(env)
    yield ("server", f"{'started' if server.is_new else 'found'}, Prefect {server.version}")
    yield ("pages", server.environment.ui_url)
    yield ("api", server.environment.server_url)
    stop = "`sensequant down`" if server.is_ours else "not ours, so `down` leaves it"
    yield ("stop", stop)


def start_machine(env: Environment) -> Iterator[Fact]:
    """Start server and workers, register what runs need, and wait until the workers are ready.

    Raises
    ------
    ConfigError
        The server is of another version, a pool or block contradicts what is needed, or the
        registry of this home lies elsewhere.
    RegistryError
        The database of the registry does not answer; nothing was started.
    SenseQuantError
        A worker ended by itself or did not report in time.
    """
    yield from _registry(env)
    yield from start_server(env)
    publish_all(env)
    env = find_server(ensure_server(env).environment)
    with connect(env) as client:
        yield from deploy_pools(client, env)
        from blocks.pools import worker_name  # noqa: PLC0415 - Prefect reads its variables first

        names = {pool.name: worker_name(pool.name) for pool in pools_of(env)}
        # Workers start while deployments are registered; both need nothing but the pools.
        started = start_workers(env, names.items())
        yield from deploy_runs(client, env)
        yield from _end_what_crashed(client)
        for pool, name in names.items():
            _wait_for_worker(client, env, pool, name)
            yield (f"worker of {pool}", started[pool])


def stop_machine(env: Environment) -> Iterator[Fact]:
    """Stop the workers, then the server, that were started for this home; yield what was stopped.

    The server goes last, so that it still learns which runs were ended.
    """
    state = own_server(env)
    if state is not None:
        env = env.on_port(state.port)
    for worker in stop_workers(env):
        yield (f"worker of {worker.pool}", f"stopped, process {worker.pid}")
    server = stop_server(env)
    found = "none of ours was running" if server is None else f"stopped, process {server.pid}"
    yield ("server", found)


def _registry(env: Environment) -> Iterator[Fact]:
    from sensequant.stages.registry_place import (  # noqa: PLC0415 - slow to import
        address_kept_at,
        registry_of,
    )

    # Asked now: a run would find out at its end, when the candidate is recorded.
    if env.registry_url is None and address_kept_at(env.home) is None:
        return
    with closing(registry_of(env.home, env.registry_url)) as registry:
        yield ("registry", registry.address)


def _end_what_crashed(client: "Client") -> Iterator[Fact]:
    from tasks.tidying import end_orphans  # noqa: PLC0415 - Prefect reads its variables first

    tidied = end_orphans(client, now=datetime.now(UTC))
    if tidied.n_flow_runs or tidied.n_task_runs:
        found = f"{tidied.n_flow_runs} flow runs, {tidied.n_task_runs} task runs"
        yield ("ended what crashed runs had left", found)


def _wait_for_worker(client: "Client", env: Environment, pool: str, name: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        for worker in client.read_workers_for_work_pool(pool):
            if worker.name == name and worker.status == "ONLINE":
                return
        dead = why_dead(env, pool)
        if dead is not None:
            raise dead
        time.sleep(_POLL_SECONDS)
    raise SenseQuantError(
        "worker did not report in time",
        where=f"pool {pool}",
        expected=f"worker {name} online within {READY_SECONDS:g} seconds",
        found="no heartbeat on the server",
        remedy="run `sensequant up` again; if it stays so, `sensequant doctor`",
    )
