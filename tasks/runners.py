"""How many units run side by side in one process."""

import os
from typing import Any, cast

from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from blocks.environment import Environment

__all__ = ["default_workers", "runner"]


def default_workers() -> int:
    """Return what the environment says, or the number of cores that this process may use."""
    return Environment().workers or len(os.sched_getaffinity(0))


def runner(workers: int | None = None) -> TaskRunner[PrefectFuture[Any]]:
    """Return a runner of threads: LightGBM, Polars and pyarrow release the interpreter's lock."""
    threads = cast("Any", ThreadPoolTaskRunner)(max_workers=workers or default_workers())
    return cast("TaskRunner[PrefectFuture[Any]]", threads)
