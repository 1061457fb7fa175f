"""What the GPUs do while a stage runs, and whether its device is worth it.

Belongs here: sampling around a stage or a share, and saying which device is faster. Does not belong
here: NVIDIA's library, the table of samples and the measurement themselves (`sensequant`).
"""

import platform
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sensequant.device_timing import DeviceTiming, compare_with_cpu
from sensequant.errors import ConfigError
from sensequant.gpu_samples import GpuSampler, gpu_table
from sensequant.nvml import open_nvml
from sensequant.runs import Stage
from sensequant.stages.context import load_run
from sensequant.stages.costs import WindowCosts
from sensequant.storage import write_table
from tasks.artifacts import show_chart
from tasks.plans import PlannedWindows
from tasks.telling import say, utc_now
from tasks.units import run_folder

__all__ = ["tell_faster_device", "watching_gpus", "watching_share"]


@contextmanager
def watching_gpus(run_id: str) -> Generator[None]:
    """Sample all GPUs of this machine meanwhile; then write the table and show the chart."""
    folder = run_folder(run_id)
    try:
        library = open_nvml()
    except ConfigError as error:
        say("no GPU is watched", reason=error.found)
        yield
        return
    sampler = GpuSampler(folder.gpu_samples, library, run_id=run_id, now=utc_now)
    try:
        with sampler:
            yield
    finally:
        samples = gpu_table(folder.gpu_samples)
        write_table(folder.gpu_table, samples)
        # The library that draws is large, and most processes draw nothing.
        from sensequant.reports.gpu_chart import gpu_chart  # noqa: PLC0415

        show_chart("gpus", gpu_chart(samples), description=f"GPUs during {run_id}")


def watching_share(run_id: str) -> AbstractContextManager[None]:
    """Sample the GPUs of this machine, unless the run that shares out does so here already."""
    if load_run(run_folder(run_id)).record.host == platform.node():
        return nullcontext()
    return watching_gpus(run_id)


def tell_faster_device(run_id: str, stage: Stage, windows: PlannedWindows) -> DeviceTiming | None:
    """Measure a typical fit on the CPU and on the device of the teachers, and say which is faster.

    Returns
    -------
    DeviceTiming or None
        None where the teachers are trained on the CPU anyway.
    """
    run = load_run(run_folder(run_id))
    booster = run.config.teacher.booster
    if booster.device == "cpu":
        return None
    costs = WindowCosts(run, stage, windows.symbols, windows.names)
    timing = compare_with_cpu(booster, costs.typical_rows, costs.n_columns)
    if timing is not None:
        say(timing.verdict, is_warning=timing.is_cpu_faster, device=timing.device)
    return timing
