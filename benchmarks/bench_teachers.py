"""What teachers cost through Prefect above a bare LightGBM loop over the same fits.

The floor: the fits of every window (for the whole and for each fold one that chooses the rounds and
one on all rows), on arrays that lie ready, in two processes without anything else. Beside it the
flow `train-teachers` with its server, cache keys, files and records, on two threads. Both do the
same fits on the same rows; the ratio is the result. With SENSEQUANT_REAL_DATA the bars are those of
NSE, else simulated.
"""

import importlib
import json
import multiprocessing
import os
import resource
import socket
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import lightgbm
import numpy as np
import polars as pl

from blocks.environment import Environment, apply_variables
from sensequant.boosting import Floats, feature_matrix
from sensequant.cli.flow_runs import execute_flow, flow_variables
from sensequant.cli.server import ensure_server, stop_server
from sensequant.features.registry import model_columns
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.splits import IntArray, purged_folds, split_validation
from sensequant.stages import training
from sensequant.stages.context import Run, RunRecord, RunSettings, load_run
from sensequant.stages.inline import run_inline
from sensequant.storage import read_table
from sensequant.windows import feature_rows

N_PROCESSES = 2
N_SYMBOLS = 96
RUN_ID = "live_candidate_20250101_000000_00000000"
UNIVERSES = Path(__file__).parents[1] / "deployments" / "universes"
FOLDER = "daily_bhavcopy_2019_2026"

Fit = tuple[tuple[Floats, Floats], ...]
"""Features and labels of the rows that choose the rounds, that judge them, and of all rows."""


def main() -> None:
    """Measure and print one JSON object."""
    with tempfile.TemporaryDirectory() as home, _server(Path(home)) as env:
        run = _opened(env.home)
        # The floor's imports end before its clock starts, too.
        importlib.import_module("flows.train_teachers")
        started = time.perf_counter()
        flow = execute_flow(
            "flows.train_teachers:train_teachers",
            env,
            telemetry=None,
            is_verbose=False,
            run_id=run.folder.run_id,
        )
        seconds = time.perf_counter() - started
        if flow.is_failed:
            raise SystemExit(str(flow.failure(where="train-teachers")))
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        seconds_features = _seconds_of_features(run)
        work = [_fits_of(run, short) for short in _trained(run)]
        floor = _bare(work, _parameters(run))
        teachers = seconds - seconds_features
        print(
            json.dumps(
                {
                    "n_symbols": len(run.symbols),
                    "n_teachers": len(work),
                    "n_fits": sum(2 * len(fits) for fits in work),
                    "is_real": run.request.source.kind == "files",
                    "seconds": {
                        "bare_loop": round(floor, 2),
                        "teachers": round(teachers, 2),
                        "features_and_labels": round(seconds_features, 2),
                    },
                    "ratio_to_bare_loop": round(teachers / floor, 2),
                    "peak_memory_mib": round(peak_mib),
                },
                indent=2,
            )
        )


@contextmanager
def _server(home: Path) -> Generator[Environment]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    env = Environment.model_validate({"SENSEQUANT_HOME": home, "SENSEQUANT_PORT": port})
    apply_variables({"SENSEQUANT_HOME": str(home), "SENSEQUANT_PORT": str(port)})
    served = ensure_server(env).environment
    apply_variables(flow_variables(served, is_verbose=False))
    try:
        yield served
    finally:
        stop_server(served)


def _opened(home: Path) -> Run:
    at = datetime(2025, 1, 1, tzinfo=UTC)
    folder = RunFolder(home, RUN_ID)
    run_inline(
        folder,
        RunSettings(request=_request(), config=TrainingConfig()),
        RunRecord(
            run_id=RUN_ID,
            started_at=at,
            options=RunOptions(stages=(Stage.DATA_INGESTION,)),
            workers=N_PROCESSES,
            host="bench",
            code_version="0" * 64,
            versions={},
            is_simulated=False,
        ),
        universes=UNIVERSES,
        at=at,
    )
    return load_run(folder)


def _request() -> RunRequest:
    data = Path(os.environ.get("SENSEQUANT_REAL_DATA", "")) / FOLDER
    start, end = date(2022, 1, 1), date(2024, 12, 31)
    if not data.is_dir():
        market = SimulatedConfig(n_symbols=N_SYMBOLS, history_start=date(2019, 8, 23))
        return RunRequest(start=start, end=end, source=SourceConfig(simulated=market))
    files = sorted(data.glob("*.csv.gz"))
    symbols = tuple(path.name.removesuffix(".csv.gz") for path in files)[:N_SYMBOLS]
    source = SourceConfig(kind="files", folder=data)
    return RunRequest(symbols=symbols, start=start, end=end, source=source)


def _seconds_of_features(run: Run) -> float:
    from sensequant.telemetry import read_events  # noqa: PLC0415 - after the variables are set

    return sum(
        event["seconds"]
        for event in read_events(run.folder.telemetry)
        if event["event"] == "unit_ended" and event["kind"] == "features"
    )


def _trained(run: Run) -> list[tuple[str, str]]:
    units = read_table(run.folder.units("teacher")).filter(
        pl.col("outcome") == "success", pl.col("kind") == "teacher"
    )
    return list(units.select("symbol", "window").iter_rows())


def _fits_of(run: Run, unit: tuple[str, str]) -> list[Fit]:
    window = run.window(*unit).window
    columns, config = model_columns(run.config.features), run.config.teacher
    labelled = feature_rows(training.window_rows(run, window), columns).drop_nulls("label")
    features = feature_matrix(labelled, columns)
    labels = labelled["label"].cast(pl.Float64).to_numpy()
    starts, ends = (
        labelled[name].cast(pl.Int64).to_numpy() for name in ("session_number", "label_end_number")
    )

    def fit_on(rows: IntArray) -> Fit:
        # Rounds are chosen on a part of the rows, then all of them are learnt from.
        split = split_validation(starts[rows], ends[rows], config.split)
        parts = (rows[split.train], rows[split.validation], rows)
        return tuple((features[part], labels[part]) for part in parts)

    least = config.booster.smallest_training_part
    fits = [fit_on(np.arange(len(labels)))]
    fits += [
        fit_on(fold.train) for fold in purged_folds(starts, ends, config.split) if fold.train.size
    ]
    return [fit for fit in fits if len(fit[0][1]) >= least and len(set(fit[0][1])) > 1]


def _parameters(run: Run) -> dict[str, Any]:
    booster = run.config.teacher.booster
    return {
        "objective": "binary",
        "num_leaves": booster.num_leaves,
        "max_depth": booster.max_depth,
        "learning_rate": booster.learning_rate,
        "min_data_in_leaf": booster.min_child_samples,
        "bagging_fraction": booster.subsample,
        "bagging_freq": booster.bagging_freq,
        "feature_fraction": booster.colsample_bytree,
        "early_stopping_round": booster.early_stopping_rounds,
        "num_iterations": booster.n_estimators,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }


def _bare(work: list[list[Fit]], parameters: dict[str, Any]) -> float:
    # Spawned, not forked: LightGBM's threads do not survive a fork. Imports and the hand-over of
    # the arrays end before the clock starts.
    context = multiprocessing.get_context("spawn")
    ready, times = context.Barrier(N_PROCESSES), context.SimpleQueue()
    processes = [
        context.Process(target=_fit_all, args=(work[number::N_PROCESSES], parameters, ready, times))
        for number in range(N_PROCESSES)
    ]
    for process in processes:
        process.start()
    seconds = [times.get() for _ in processes]
    for process in processes:
        process.join()
    return max(seconds)


def _fit_all(work: list[list[Fit]], parameters: dict[str, Any], ready: Any, times: Any) -> None:
    train = cast("Any", lightgbm).train
    only_once = {"early_stopping_round", "num_iterations"}
    plain = {name: value for name, value in parameters.items() if name not in only_once}
    ready.wait()
    started = time.perf_counter()
    n_asked = parameters["num_iterations"]
    for fits in work:
        for learns, examines, whole in fits:
            data = lightgbm.Dataset(*learns)
            validation = lightgbm.Dataset(*examines, reference=data)
            chosen = train(parameters, data, num_boost_round=n_asked, valid_sets=[validation])
            n_rounds = max(1, chosen.best_iteration)
            train(plain, lightgbm.Dataset(*whole), num_boost_round=n_rounds)
    times.put(time.perf_counter() - started)


if __name__ == "__main__":
    main()
