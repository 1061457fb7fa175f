"""Deploying: pools, deployments with their schedules, automations, on a server that answers.

Belongs here: the order of these steps and what is said of them. Does not belong here: a pool or an
automation (`blocks`), the deployments (`prefect.yaml`), starting a server or workers (`cli.up`).

Every step can be repeated: what is as it should be is left as it is. Deployments are registered by
Prefect's own command, so that `prefect deploy` by hand does the same.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from blocks.environment import (
    PREFECT_FILES,
    Environment,
    apply_variables,
    child_environment,
    prefect_environment,
)
from sensequant.cli.output import Fact
from sensequant.cli.server import Answering, own_server, probe, require_same_version
from sensequant.errors import ConfigError, SenseQuantError

if TYPE_CHECKING:
    from blocks.clients import Client
    from blocks.pools import WorkPool

__all__ = [
    "connect",
    "count_gpus",
    "deploy_all",
    "deploy_pools",
    "deploy_runs",
    "find_server",
    "pools_of",
]

_N_LAST_LINES = 12


def find_server(env: Environment) -> Environment:
    """Return the environment with the address of a running server of the client's version.

    Raises
    ------
    ConfigError
        Nobody answers, something else does, or a server of another version.
    """
    state = own_server(env)
    if state is not None and env.api_url is None and not env.is_port_given:
        env = env.on_port(state.port)
    answer = probe(env.server_url)
    if answer.by is not Answering.PREFECT:
        raise ConfigError(
            "Prefect server does not answer",
            where=env.server_url,
            expected="a Prefect server to deploy to",
            found=answer.found or "nobody",
            remedy="start one with `sensequant up`, or correct the port or PREFECT_API_URL",
        )
    require_same_version(env.server_url, answer.version)
    return env


def pools_of(env: Environment) -> "tuple[WorkPool, ...]":
    """Return the work pools that this machine serves."""
    from blocks.pools import read_pools  # noqa: PLC0415 - Prefect reads its variables first

    return read_pools(count_gpus(env))


def count_gpus(env: Environment) -> int:
    """Return how many GPUs this machine has: as many as the environment says, or NVIDIA finds."""
    if env.gpus is not None:
        return env.gpus
    from sensequant.nvml import open_nvml  # noqa: PLC0415 - asks the driver

    try:
        return len(open_nvml().devices())
    except ConfigError:
        # No driver or no device of NVIDIA: there is nothing to make a pool for.
        return 0


def connect(env: Environment) -> "Client":
    """Return a client of the server; the caller closes it."""
    apply_variables(prefect_environment(env))
    from blocks.clients import open_client  # noqa: PLC0415 - Prefect reads its variables first

    return open_client()


def deploy_all(env: Environment) -> Iterator[Fact]:
    """Make everything on the server that people and schedules need; yield what was done.

    Parameters
    ----------
    env
        Leads to a running server; see `find_server`.

    Raises
    ------
    ConfigError
        A pool or block contradicts what is needed.
    SenseQuantError
        Prefect refused the deployments.
    """
    with connect(env) as client:
        yield from deploy_pools(client, env)
        yield from deploy_runs(client, env)


def deploy_pools(client: "Client", env: Environment) -> Iterator[Fact]:
    """Make the pools, or set them right; without them Prefect registers no deployment."""
    from blocks.pools import ensure_pool  # noqa: PLC0415 - Prefect reads its variables first

    for pool in pools_of(env):
        yield (f"pool {pool.name}", ensure_pool(client, pool))


def deploy_runs(client: "Client", env: Environment) -> Iterator[Fact]:
    """Make deployments and automations, or set them right; the pools must be there."""
    yield from _deploy_flows(client, env)
    yield from _deploy_automations(client, env)


def _deploy_automations(client: "Client", env: Environment) -> Iterator[Fact]:
    from blocks.automations import (  # noqa: PLC0415 - Prefect reads its variables first
        ensure_automation,
        find_target,
        read_automations,
    )

    target = None if env.notify is None else find_target(client, env.notify)
    for automation in read_automations():
        done = ensure_automation(client, automation, target=target)
        said = f"{done}: --notify or SENSEQUANT_NOTIFY names nobody" if done == "left out" else done
        yield (f"automation {automation.name}", said)


def _deploy_flows(client: "Client", env: Environment) -> Iterator[Fact]:
    from blocks.pools import on_devices  # noqa: PLC0415 - Prefect reads its variables first

    wanted = _read_deployments()
    wanted["deployments"] = list(on_devices(wanted["deployments"], count_gpus(env)))
    switched_on = {
        (deployment.name, schedule.slug)
        for deployment in _deployments(client)
        for schedule in deployment.schedules
        if schedule.active
    }
    known = {deployment.name for deployment in _deployments(client)}
    for deployment in wanted["deployments"]:
        for schedule in deployment.get("schedules", ()):
            schedule["active"] = (deployment["name"], schedule["slug"]) in switched_on
    _run_prefect_deploy(wanted, env)
    for deployment in wanted["deployments"]:
        name = deployment["name"]
        yield (f"deployment {name}", ", ".join(_in_words(deployment, is_new=name not in known)))


def _in_words(deployment: dict[str, Any], *, is_new: bool) -> Iterator[str]:
    yield "made" if is_new else "set"
    for schedule in deployment.get("schedules", ()):
        yield f"schedule {schedule['slug']} {'on' if schedule['active'] else 'off'}"


def _deployments(client: "Client") -> Sequence[Any]:
    size = 200
    found: list[Any] = []
    while True:
        page = client.read_deployments(limit=size, offset=len(found))
        found += page
        if len(page) < size:
            return found


def _read_deployments() -> dict[str, Any]:
    path = next((path for path in PREFECT_FILES if path.exists()), PREFECT_FILES[0])
    try:
        # Anchors are resolved here, so that what is handed on can be written without them.
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(
            "deployments cannot be read",
            where=str(path),
            expected="the deployments of sensequant",
            found=" ".join(str(error).split()),
            remedy="install sensequant again; the file is part of it",
        ) from error


def _run_prefect_deploy(wanted: dict[str, Any], env: Environment) -> None:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "prefect.yaml"
        file.write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")
        command = ["--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
        done = subprocess.run(  # noqa: S603 - this interpreter and constant arguments
            [sys.executable, "-m", "prefect", *command],
            cwd=name,
            env=child_environment(prefect_environment(env) | {"NO_COLOR": "1", "COLUMNS": "200"}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise SenseQuantError(
            "Prefect refused the deployments",
            where=env.server_url,
            expected="every deployment of prefect.yaml",
            found="; ".join(said[-_N_LAST_LINES:]),
            remedy="correct what it says, then deploy again",
        )
