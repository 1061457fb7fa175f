"""What the process of a running task sees of its GPUs, for the record of each unit.

Belongs here: reading the pool and the environment. Does not belong here: watching over a stage
(`tasks.watching`), and who gets which window (`tasks.shards`).
"""

from functools import lru_cache
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from blocks.environment import environment_now
from sensequant.devices import DeviceLibrary, SeenDevice, see_device
from sensequant.errors import ConfigError
from sensequant.nvml import open_nvml

__all__ = ["pool_here", "seen_here"]

_FIT_THREADS = 1
"""Threads of each fit: windows run side by side, and small fits gain nothing from a second."""


def seen_here() -> SeenDevice:
    """Return what this process sees: its pool, the devices it may use, and the first of them."""
    return see_device(
        _library(),
        pool=pool_here(),
        visible=environment_now().visible_devices,
        n_threads=_FIT_THREADS,
    )


def pool_here() -> str | None:
    """Return the work pool that started this process, None for a process that no pool started."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    try:
        return _pool_of(context.flow_run.id)
    except (HTTPError, PrefectException):
        # The work is worth more than the name of the place where it is done.
        return None


@lru_cache(maxsize=1)
def _library() -> DeviceLibrary | None:
    try:
        return open_nvml()
    except ConfigError:
        return None


@lru_cache(maxsize=64)
def _pool_of(flow_run_id: UUID) -> str | None:
    with get_client(sync_client=True) as client:
        return _first_pool(client, flow_run_id)


def _first_pool(client: SyncPrefectClient, flow_run_id: UUID) -> str | None:
    # A stage's flow runs in the process of the run above it, and has no pool of its own.
    flow_run = client.read_flow_run(flow_run_id)
    while flow_run.work_pool_name is None and flow_run.parent_task_run_id is not None:
        task_run = client.read_task_run(flow_run.parent_task_run_id)
        if task_run.flow_run_id is None:
            break
        flow_run = client.read_flow_run(task_run.flow_run_id)
    return flow_run.work_pool_name
