"""Measure how often the verdict errs: the whole pipeline on worlds whose truth is known."""

from typing import Any

from prefect import flow, unmapped
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from sensequant.calibration.request import CalibrationRequest
from tasks.calibration import (
    calibration_of,
    ended,
    open_worlds,
    price_edge_of,
    sum_up,
    try_world_of,
)
from tasks.runners import runner

__all__ = ["calibrate_verdict"]


def _name_run() -> str:
    asked = CalibrationRequest.model_validate(flow_run.get_parameters()["request"])
    n_edges = len(asked.oracle_sharpes) * asked.n_edge_worlds
    return f"calibration · {asked.n_worlds} walks, {n_edges} edges · {asked.n_symbols} symbols"


@flow(name="calibrate-verdict", flow_run_name=_name_run)
def calibrate_verdict(
    request: CalibrationRequest = CalibrationRequest(), workers: int | None = None
) -> State[Any]:
    """Do the worlds that have no record yet, then count what the gates said of all of them.

    Args:
        request: Worlds and method.
        workers: Worlds that run side by side, each in a process of its own; the number of cores
            when empty.
    """
    missing = open_worlds(request)
    with runner(workers) as threads:
        worths = calibration_of(request).missing_worths
        n_failed = _map(threads, price_edge_of, request, edge_bps=worths)
        if not n_failed:
            n_failed = _map(threads, try_world_of, request, name=missing)
    summary = sum_up(request)
    message = f"{summary.n_judged} of {summary.n_asked} worlds judged, {n_failed} tasks failed"
    return (Failed if n_failed else Completed)(message=message, data=summary)


def _map(threads: Any, task: Any, request: CalibrationRequest, **over: list[Any]) -> int:
    return ended(list(threads.map(task, {"request": unmapped(request), **over})))
