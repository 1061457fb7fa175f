"""Checks of what `sensequant up` makes on a server: pools, workers, automations, schedules.

Belongs here: looking, and what to do about it. Does not belong here: the other checks
(`cli.doctor`), repairing anything.

None of them is needed for `sensequant run`, so what is missing is a warning.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from blocks.environment import Environment
from sensequant.cli.deploy import connect, pools_of
from sensequant.cli.doctor import Check, CheckStatus
from sensequant.cli.server import Answering, own_server, probe

if TYPE_CHECKING:
    from blocks.clients import Client

__all__ = ["check_automations", "check_pools", "check_schedules", "check_workers"]

_REMEDY = "run `sensequant up`"


def check_pools(env: Environment) -> Check:
    """Check that the server has every work pool of this machine, and that none is paused."""
    return _checked("pools", env, _missing_pools)


def check_workers(env: Environment) -> Check:
    """Check that a worker has reported lately for every work pool of this machine."""
    return _checked("workers", env, _missing_workers)


def check_automations(env: Environment) -> Check:
    """Check that runs whose process is gone are ended, and that nobody switched that off."""
    return _checked("automations", env, _missing_automations)


def check_schedules(env: Environment) -> Check:
    """Check that the server has planned runs for every deployment whose schedule is on."""
    remedy = "read `prefect/server.log` of the home; `sensequant down`, then `sensequant up`"
    return _checked("schedules", env, _silent_schedules, remedy=remedy)


def _checked(
    name: str,
    env: Environment,
    find_faults: Callable[["Client", Environment], Iterable[str]],
    *,
    remedy: str = _REMEDY,
) -> Check:
    state = own_server(env)
    if state is not None and not env.is_port_given and env.api_url is None:
        env = env.on_port(state.port)
    if probe(env.server_url).by is not Answering.PREFECT:
        return Check(name, CheckStatus.OK, "no server runs; `sensequant up` makes them")
    with connect(env) as client:
        faults = list(find_faults(client, env))
    if faults:
        return Check(name, CheckStatus.WARN, "; ".join(faults), remedy)
    return Check(name, CheckStatus.OK, "all are there")


def _missing_pools(client: "Client", env: Environment) -> Iterable[str]:
    found = {pool.name: pool for pool in client.read_work_pools()}
    for pool in pools_of(env):
        if pool.name not in found:
            yield f"{pool.name} is missing"
        elif found[pool.name].is_paused:
            yield f"{pool.name} is paused, by somebody on its page"


def _missing_workers(client: "Client", env: Environment) -> Iterable[str]:
    known = {pool.name for pool in client.read_work_pools()}
    for pool in pools_of(env):
        workers = client.read_workers_for_work_pool(pool.name) if pool.name in known else []
        if not any(worker.status == "ONLINE" for worker in workers):
            yield f"no worker of {pool.name} is online"


def _missing_automations(client: "Client", env: Environment) -> Iterable[str]:
    from blocks.automations import read_automations  # noqa: PLC0415 - after Prefect's variables

    found = {automation.name: automation for automation in client.read_automations()}
    for automation in read_automations():
        if automation.notifies and env.notify is None:
            continue
        if automation.name not in found:
            yield f"{automation.name} is missing"
        elif automation.enabled and not found[automation.name].enabled:
            yield f"{automation.name} is switched off"


def _silent_schedules(client: "Client", _env: Environment) -> Iterable[str]:
    from blocks.schedules import unplanned  # noqa: PLC0415 - after Prefect's variables

    for name in unplanned(client):
        yield f"a schedule of {name} is on, but no run is planned"
