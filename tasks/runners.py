"""How units are handed to the threads of one process, and how many run side by side."""

import os
from collections.abc import Iterable
from typing import Any, cast

from prefect import allow_failure
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from blocks.environment import Environment

__all__ = ["default_workers", "runner", "submit"]


def default_workers() -> int:
    """Return what the environment says, or the number of cores that this process may use."""
    return Environment().workers or len(os.sched_getaffinity(0))


def runner(workers: int | None = None) -> TaskRunner[PrefectFuture[Any]]:
    """Return a runner of threads: LightGBM, Polars and pyarrow release the interpreter's lock."""
    threads = cast("Any", ThreadPoolTaskRunner)(max_workers=workers or default_workers())
    return cast("TaskRunner[PrefectFuture[Any]]", threads)


def submit(
    task: Task[..., Any], *arguments: Any, after: Iterable[PrefectFuture[Any]] = ()
) -> PrefectFuture[Any]:
    """Hand one unit to the runner of the flow, to begin once others have ended, well or not."""
    waits = [allow_failure(future) for future in after]
    # The library types `submit` by the parameters of the task, which differ from task to task.
    return cast("Any", task).submit(*arguments, wait_for=waits)
