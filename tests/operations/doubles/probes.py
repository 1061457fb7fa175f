"""Flows that show how their process was started; for workers of tests only."""

import os
import time
from typing import Any

from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.states import Completed

__all__ = ["see_devices", "take_a_while"]


@task
def see(number: int) -> tuple[int, str | None, str | None]:
    """Return what a task sees of the devices."""
    return number, os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("CUDA_DEVICE_ORDER")


@flow
def see_devices() -> State[Any]:
    """Return what three tasks see, where they agree."""
    seen = [future.result()[1:] for future in see.map(list(range(3)))]
    devices, order = seen[0]
    n_same = seen.count((devices, order))
    return Completed(message=f"CUDA_VISIBLE_DEVICES={devices} {order} in {n_same} of 3 tasks")


@flow
def take_a_while() -> None:
    """Hold a place for some seconds."""
    time.sleep(5)
