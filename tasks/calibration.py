"""Tasks of a calibration: what an edge is worth, one world, the sum.

Belongs here: what a task needs besides `sensequant.calibration`: names, artifacts, telemetry. Does
not belong here: worlds and counts. The records on disk are the memory of a calibration, so a
task that is done again finds its world judged.
"""

import time
from typing import Any

from prefect import task
from prefect.futures import PrefectFuture

from blocks.environment import UNIVERSES_FOLDER, environment_now
from sensequant.calibration.page import render_calibration
from sensequant.calibration.request import CalibrationRequest
from sensequant.calibration.summary import CalibrationSummary
from sensequant.calibration.work import (
    Calibration,
    close_calibration,
    do_world_apart,
    do_worth_apart,
    open_calibration,
)
from sensequant.reports.power_chart import power_chart
from sensequant.telemetry import Telemetry
from tasks.artifacts import show_chart, show_markdown
from tasks.telling import say, utc_now

__all__ = [
    "calibration_of",
    "ended",
    "open_worlds",
    "price_edge_of",
    "sum_up",
    "try_world_of",
]

_STAGE = "calibration"


def calibration_of(request: CalibrationRequest) -> Calibration:
    """Return the calibration of a request below the home of this process."""
    return Calibration(environment_now().home, request)


@task(task_run_name="find what is missing")
def open_worlds(request: CalibrationRequest) -> list[str]:
    """Make the folder of the calibration; return the names of worlds without a record."""
    calibration = open_calibration(environment_now().home, request)
    missing = calibration.missing
    _telemetry(calibration).emit("stage_started", stage=_STAGE, n_units=len(missing))
    n_done = len(calibration.worlds) - len(missing)
    say("calibration opened", folder=str(calibration.root), missing=len(missing), done=n_done)
    return missing


@task(task_run_name="worth of an edge of {edge_bps:g} bps")
def price_edge_of(request: CalibrationRequest, edge_bps: float) -> None:
    """Measure what a planted edge is worth to an oracle."""
    do_worth_apart(calibration_of(request), edge_bps)


@task(task_run_name="world {name}")
def try_world_of(request: CalibrationRequest, name: str) -> str:
    """Run the pipeline on one world in a process of its own; return the verdict."""
    calibration, began = calibration_of(request), time.monotonic()
    outcome = "failed"
    try:
        record = do_world_apart(calibration, name, universes=UNIVERSES_FOLDER)
        outcome = "success"
    finally:
        seconds = time.monotonic() - began
        _telemetry(calibration).emit(
            "unit_ended",
            stage=_STAGE,
            kind="world",
            name=name,
            outcome=outcome,
            seconds=seconds,
        )
    say(
        "world judged",
        verdict=record.decision.value,
        auc=record.auc,
        sharpe=record.net_sharpe,
        oracle=record.oracle_sharpe,
        seconds=round(seconds, 1),
    )
    return record.decision.value


@task(task_run_name="sum up")
def sum_up(request: CalibrationRequest) -> CalibrationSummary:
    """Write what all worlds say together, and show it on the run's page."""
    calibration = calibration_of(request)
    summary = close_calibration(calibration)
    _telemetry(calibration).emit("stage_ended", stage=_STAGE, outcome="success")
    show_markdown(
        "calibration", render_calibration(summary), description=f"calibration {calibration.root}"
    )
    chart = power_chart(summary.walks, summary.levels)
    show_chart("power", chart, description="approvals by what an oracle would have earned")
    return summary


def ended(futures: list[PrefectFuture[Any]]) -> int:
    """Wait for tasks and return how many failed."""
    states = [future.wait() or future.state for future in futures]
    return sum(not state.is_completed() for state in states)


def _telemetry(calibration: Calibration) -> Telemetry:
    path = calibration.root / "telemetry.jsonl"
    return Telemetry(path, run_id=calibration.root.name, now=utc_now)
