"""Who does the units of a stage: threads of this process, and how many, or a cluster.

Belongs here: the choice, and handing units over. Does not belong here: what a cluster needs
(`tasks.clusters`), shares of GPU pools (`tasks.shards`).
"""

import os
from collections import deque
from collections.abc import Generator, Iterable
from typing import Any, cast

from prefect import allow_failure
from prefect.events.worker import EventsWorker
from prefect.futures import PrefectFuture
from prefect.results import ResultRecord  # pyright: ignore[reportPrivateImportUsage]
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from blocks.environment import environment_now
from sensequant.errors import ConfigError

__all__ = ["default_workers", "in_turn", "on_cluster", "returned", "runner", "submit"]

_N_AHEAD = 500
"""Units that are handed over before the first of them has ended."""

_N_UNTOLD = 2000
"""Units after which the server is told all that it does not know yet."""


def default_workers() -> int:
    """Return what the environment says, or the number of cores that this process may use."""
    return environment_now().workers or len(os.sched_getaffinity(0))


def runner(workers: int | None = None, *, n_waiting: int = 0) -> TaskRunner[PrefectFuture[Any]]:
    """Return a runner of threads: LightGBM, Polars and pyarrow release the interpreter's lock.

    Parameters
    ----------
    workers
        Units that run side by side; None: `default_workers`.
    n_waiting
        Threads beside them, for units that wait until somebody is free to do them
        (`tasks.helping`). None beside a single worker, who does one after the other in their order.
    """
    at_once = workers or default_workers()
    n_threads = at_once + n_waiting if at_once > 1 else 1
    threads = cast("Any", ThreadPoolTaskRunner)(max_workers=n_threads)
    return cast("TaskRunner[PrefectFuture[Any]]", threads)


def on_cluster(address: str) -> TaskRunner[PrefectFuture[Any]]:
    """Return the runner of a Dask cluster whose workers can do units of this home.

    Parameters
    ----------
    address
        dask://host:port of its scheduler.

    Raises
    ------
    ConfigError
        The extra is not installed, or the cluster cannot be used; see `require_cluster`.
    """
    try:
        from tasks.clusters import cluster_runner, require_cluster  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ConfigError(
            "packages for a Dask cluster are missing",
            where=f"--runner {address}",
            expected="the extra `dask`",
            found=str(error),
            remedy="install it with `make extras`, or leave --runner out to use threads",
        ) from error
    require_cluster(address)
    return cluster_runner(address)


def submit(
    task: Task[..., Any], *arguments: Any, after: Iterable[PrefectFuture[Any]] = ()
) -> PrefectFuture[Any]:
    """Hand one unit to the runner of the flow, to begin once others have ended, well or not."""
    waits = [allow_failure(future) for future in after]
    # The library types `submit` by the parameters of the task, which differ from task to task.
    return cast("Any", task).submit(*arguments, wait_for=waits)


def returned(future: PrefectFuture[Any]) -> Any:
    """Wait for a task and return what it returned, or the exception that it raised.

    The same as the future's own `result`, which sends a coroutine to a loop of Prefect's for what
    lies in the state already: a twentieth of the time that a parent spends on short tasks.
    """
    future.wait()
    data = future.state.data
    if isinstance(data, ResultRecord):
        return cast("ResultRecord[Any]", data).result
    return future.result(raise_on_failure=False)


def in_turn(submissions: Iterable[PrefectFuture[Any]]) -> Generator[PrefectFuture[Any]]:
    """Yield each submitted unit, with some hundreds handed over ahead of it and not thousands.

    What the server was not told yet of a unit takes 20 KB of memory: Prefect sends it from a thread
    of its own, which falls behind where units are short.

    Parameters
    ----------
    submissions
        Hands over one unit whenever it is asked for the next.
    """
    ahead: deque[PrefectFuture[Any]] = deque()
    for n_submitted, future in enumerate(submissions, start=1):
        ahead.append(future)
        if n_submitted % _N_UNTOLD == 0:
            EventsWorker.instance().wait_until_empty()
        if len(ahead) == _N_AHEAD:
            yield ahead.popleft()
    # One at a time, so that nothing holds on to those that have ended.
    while ahead:
        yield ahead.popleft()
