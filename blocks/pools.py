"""Work pools of the Prefect server: read from data, made, and set right where they differ.

Belongs here: `deployments/pools.yaml` and the server's pools. Does not belong here: the workers
that serve them (`sensequant.cli.workers`).

A pool of a GPU pins its device in its job configuration, where neither a deployment nor a run can
override it (docs/adr/0013).
"""

import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from pydantic import Field, ValidationError

from blocks.environment import POOLS_FILE
from sensequant.errors import ConfigError
from sensequant.records import Config

__all__ = ["POOL_TYPE", "WorkPool", "ensure_pool", "on_devices", "read_pools", "worker_name"]

POOL_TYPE = "process"
"""Each run is a process of its own, on the machine of the worker that took it."""

_DEVICE = "{device}"


class WorkPool(Config):
    """One work pool as it should be on the server."""

    name: str = Field(pattern=r"^[a-z0-9{}-]+$", description="Name of the pool.")
    description: str = Field(description="What its runs are.")
    concurrency_limit: int = Field(ge=1, description="Runs that its workers execute side by side.")
    base_job_template: dict[str, Any] = Field(description="How a run becomes a process.")


def read_pools(n_gpus: int, path: Path = POOLS_FILE) -> tuple[WorkPool, ...]:
    """Return every pool of this machine, that of whole runs first, then one for each GPU.

    Raises
    ------
    ConfigError
        The file cannot be read or is no list of pools.
    """
    try:
        text = path.read_text(encoding="utf-8")
        entries = on_devices(yaml.safe_load(text)["pools"], n_gpus)
        return tuple(WorkPool.model_validate(entry) for entry in entries)
    except (OSError, yaml.YAMLError, ValidationError, TypeError, KeyError) as error:
        raise ConfigError(
            "work pools cannot be read",
            where=str(path),
            expected="pools, each with name, description, concurrency_limit, base_job_template",
            found=" ".join(str(error).split()),
            remedy="correct the file, or install sensequant again",
        ) from error


def ensure_pool(client: SyncPrefectClient, pool: WorkPool) -> str:
    """Make a pool, or set it right where it differs; a paused one stays paused.

    Returns
    -------
    str
        `made`, `changed` or `unchanged`.

    Raises
    ------
    ConfigError
        A pool of this name is of another type, which cannot be changed.
    """
    try:
        found = client.read_work_pool(pool.name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(type=POOL_TYPE, **pool.model_dump()))
        return "made"
    if found.type != POOL_TYPE:
        raise ConfigError(
            "work pool is of another type",
            where=pool.name,
            expected=POOL_TYPE,
            found=found.type,
            remedy=f"delete it with `prefect work-pool delete {pool.name}`, then deploy again",
        )
    is_same = all(getattr(found, name) == value for name, value in pool.model_dump().items())
    if is_same:
        return "unchanged"
    client.update_work_pool(
        pool.name, WorkPoolUpdate.model_validate(pool.model_dump(exclude={"name"}))
    )
    return "changed"


def worker_name(pool: str) -> str:
    """Return the name of this machine's worker of a pool; another machine's differs."""
    return f"{socket.gethostname()}-{pool}"


def on_devices(entries: Iterable[dict[str, Any]], n_gpus: int) -> Iterator[dict[str, Any]]:
    """Yield named entries of a file of data: one for each GPU of those named by their device."""
    for entry in entries:
        if _DEVICE in entry["name"]:
            yield from (_on_device(entry, device) for device in range(n_gpus))
        else:
            yield entry


def _on_device(value: Any, device: int) -> Any:
    if isinstance(value, str):
        return value.replace(_DEVICE, str(device))
    if isinstance(value, dict):
        items: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return {name: _on_device(each, device) for name, each in items.items()}
    if isinstance(value, list):
        parts: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return [_on_device(each, device) for each in parts]
    return value
