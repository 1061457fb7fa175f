"""The device that trees are grown on: asked for and working, never assumed.

Belongs here: asking LightGBM whether a GPU works here. Does not belong here: the fits
(`boosting`).

LightGBM is asked in a child process, because it prints a refusal past Python, and a broken driver
may take the process with it.
"""

import json
import subprocess
import sys
from functools import cache

from sensequant.booster_config import BoosterConfig
from sensequant.errors import ConfigError

__all__ = ["resolve_device"]

_PROBE_SECONDS = 120
_PROBE = """
import json, sys
import lightgbm, numpy
rows = lightgbm.Dataset(numpy.arange(64.0).reshape(32, 2), numpy.arange(32) % 2)
lightgbm.train(json.loads(sys.argv[1]), rows, num_boost_round=1)
"""
# LightGBM takes another OpenCL device than the one that was asked for without a word of complaint.
_TAKEN = "Using requested OpenCL platform"
_NOT_TAKEN = "it took the default device instead: both numbers act together, or none if too high"


def resolve_device(config: BoosterConfig) -> str:
    """Return the device that a fit will use: asked for and working, never assumed.

    A tiny model is fitted on it in a child process, once per device. The answer is `cpu`, `gpu`
    or `cuda`.

    Raises
    ------
    ConfigError
        The device was asked for by name and this build or machine has it not.
    """
    if config.device == "cpu":
        return "cpu"
    candidates = ("cuda", "gpu") if config.device == "auto" else (config.device,)
    refusals: dict[str, str] = {}
    for device in candidates:
        refusal = _refusal_of(device, config.gpu_platform_id, config.gpu_device_id)
        if refusal is None:
            return device
        refusals[device] = refusal
    if config.device == "auto":
        return "cpu"
    raise ConfigError(
        "LightGBM cannot use the device",
        where="device",
        expected=config.device,
        found=refusals[config.device],
        remedy="install a LightGBM build and driver for this device, or set device to cpu or auto",
    )


@cache
def _refusal_of(device: str, platform_id: int, device_id: int) -> str | None:
    parameters = {
        "objective": "binary",
        "device_type": device,
        "gpu_platform_id": platform_id,
        "gpu_device_id": device_id,
        "min_data_in_leaf": 1,
        "verbosity": 1,
        "num_threads": 1,
    }
    try:
        probe = subprocess.run(  # noqa: S603 - a constant program and numbers that were checked
            [sys.executable, "-c", _PROBE, json.dumps(parameters)],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_PROBE_SECONDS} seconds"
    if probe.returncode == 0:
        is_taken = device != "gpu" or max(platform_id, device_id) < 0 or _TAKEN in probe.stdout
        return None if is_taken else _NOT_TAKEN
    said = [line for line in probe.stderr.splitlines() if "LightGBMError:" in line]
    if not said:
        return f"the probe ended with code {probe.returncode}"
    return said[-1].partition("LightGBMError:")[2].strip()
