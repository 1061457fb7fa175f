"""What the stress tests cost: crises of the candidate, crises of the method, synthetic shocks.

The NSEpy set of NSE bars (2000 to 2020, 50 stocks) where SENSEQUANT_REAL_DATA has it, else a
simulated market. Stages 1 to 5 run once, with shipped settings over three years; then every crisis
of the catalogue is replayed with the candidate and, in two processes as a run of two workers would,
with the method as of then on two windows before each. Seconds on the wall; a crisis without bars is
counted as skipped.
"""

import json
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.records import Outcome, code_version
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.stages import crises
from sensequant.stages.context import Run, RunRecord, RunSettings, load_run
from sensequant.stages.inline import run_inline
from sensequant.stress.scenarios import StressConfig, load_scenarios

RUN_ID = "live_candidate_20250101_000000_00000000"
UNIVERSES = Path(__file__).parents[1] / "deployments" / "universes"
FOLDER = "daily_nsepy_2000_2020"
N_PROCESSES = 2


def main() -> None:
    """Measure and print one JSON object."""
    with tempfile.TemporaryDirectory() as home:
        run = _made(Path(home))
        names = [scenario.name for scenario in run.scenarios]
        candidate, n_replayed = _timed(lambda: [crises.replay_scenario(run, x) for x in names])
        method, n_methods = _timed(lambda: _methods(run, names))
        started = time.perf_counter()
        crises.summarise(run)
        shocks = time.perf_counter() - started
        found = {
            "n_symbols": len(run.symbols),
            "is_real": run.request.source.kind == "files",
            "n_crises": len(names),
            "candidate": {"n_replayed": n_replayed, "seconds": round(candidate, 2)},
            "method": {"n_replayed": n_methods, "seconds": round(method, 2)},
            "summary_and_shocks_seconds": round(shocks, 2),
        }
    print(json.dumps(found, indent=2))


def _made(home: Path) -> Run:
    at = datetime(2025, 1, 1, tzinfo=UTC)
    every = tuple(scenario.name for scenario in load_scenarios())
    config = TrainingConfig(stress=StressConfig(periods=every, method_windows=2))
    record = RunRecord(
        run_id=RUN_ID,
        started_at=at,
        options=RunOptions(stages=tuple(Stage)[:5]),
        workers=N_PROCESSES,
        host="bench",
        code_version=code_version(),
        versions={},
        is_simulated=False,
    )
    settings = RunSettings(request=_request(), config=config)
    run_inline(RunFolder(home, RUN_ID), settings, record, universes=UNIVERSES, at=at)
    return load_run(RunFolder(home, RUN_ID))


def _request() -> RunRequest:
    data = Path(os.environ.get("SENSEQUANT_REAL_DATA", "")) / FOLDER
    if not data.is_dir():
        market = SimulatedConfig(n_symbols=50, history_start=date(2007, 1, 1))
        source = SourceConfig(simulated=market)
        return RunRequest(start=date(2017, 1, 1), end=date(2019, 12, 31), source=source)
    source = SourceConfig(kind="files", folder=data)
    return RunRequest(start=date(2017, 1, 1), end=date(2019, 12, 31), source=source)


def _methods(run: Run, names: list[str]) -> list[Any]:
    # Spawned, not forked: LightGBM's threads do not survive a fork.
    with ProcessPoolExecutor(N_PROCESSES, mp_context=get_context("spawn")) as processes:
        return list(processes.map(_method, [run.folder.home] * len(names), names))


def _method(home: Path, name: str) -> Any:
    return crises.replay_method(load_run(RunFolder(home, RUN_ID)), name)


def _timed(work: Any) -> tuple[float, int]:
    started = time.perf_counter()
    units = work()
    seconds = time.perf_counter() - started
    return seconds, sum(unit.outcome is Outcome.SUCCESS for unit in units)


if __name__ == "__main__":
    main()
