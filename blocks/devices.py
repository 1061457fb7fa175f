"""How many GPUs this machine has, as NVIDIA's management library counts them.

Belongs here: the count that work pools are made from. Does not belong here: what a run sees of
them, and how busy they are.
"""

import importlib
from typing import Any

__all__ = ["count_gpus"]


def count_gpus() -> int:
    """Return the number of NVIDIA GPUs; 0 where there is no driver or no library to ask it."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return 0
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return 0
    try:
        return int(nvml.nvmlDeviceGetCount())
    finally:
        nvml.nvmlShutdown()
