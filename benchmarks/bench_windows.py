"""What a trained window costs above the bare LightGBM fits, in memory and with its files.

Three ways to do the same teachers, one after the other in one process, on as many threads as there
are cores: the fits alone, the teacher on rows in memory, the unit of work with its files. The
ratios are the result; absolute times depend on the machine.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from sensequant.boosting import TrainingData, feature_matrix, train_booster
from sensequant.errors import DataError
from sensequant.features.registry import model_columns
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.stages import training
from sensequant.stages.context import Run, RunRecord, RunSettings, load_run
from sensequant.stages.inline import run_inline
from sensequant.storage import read_table
from sensequant.teacher import train_teacher
from sensequant.windows import Window, slice_window

N_SYMBOLS = 20
N_REPEATS = 3
RUN_ID = "live_candidate_20250101_000000_00000000"
UNIVERSES = Path(__file__).parents[1] / "deployments" / "universes"


def main() -> None:
    """Measure and print one JSON object."""
    with tempfile.TemporaryDirectory() as home:
        run = prepared_run(Path(home))
        windows = trainable(run)
        columns = model_columns(run.config.features)
        tables = {symbol: read_table(run.folder.rows(symbol)) for symbol in run.symbols}
        rows = [slice_window(tables[window.symbol], window) for window in windows]
        n_rounds = rounds_of(run, windows)

        def fits(index: int) -> None:
            labelled = rows[index].drop_nulls("label")
            data = TrainingData(
                feature_matrix(labelled, columns), labelled["label"].to_numpy() * 1.0, columns
            )
            # One fit that chooses the rounds, five folds and the final one.
            for seed in range(7):
                train_booster(
                    data,
                    objective="binary",
                    config=run.config.teacher.booster,
                    seed=seed,
                    n_threads=1,
                    n_rounds=n_rounds[index],
                )

        def in_memory(index: int) -> None:
            train_teacher(
                rows[index],
                columns=columns,
                config=run.config.teacher,
                min_samples=run.config.windows.min_samples,
                seed=1,
                n_threads=1,
            )

        def with_files(index: int) -> None:
            training.train_window(run, windows[index].symbol, windows[index].short)

        seconds = {
            work.__name__: best_of(work, len(windows)) for work in (fits, in_memory, with_files)
        }
    floor = seconds["fits"]
    print(
        json.dumps(
            {
                "n_windows": len(windows),
                "n_threads": os.cpu_count(),
                "seconds": {name: round(value, 3) for name, value in seconds.items()},
                "ratio_to_fits": {name: round(s / floor, 2) for name, s in seconds.items()},
                "windows_per_second": round(len(windows) / seconds["with_files"], 1),
            },
            indent=2,
        )
    )


def prepared_run(home: Path) -> Run:
    """Return a run with bars, features and teachers of a simulated market."""
    market = SimulatedConfig(n_symbols=N_SYMBOLS)
    at = datetime(2025, 1, 1, tzinfo=UTC)
    stages = (Stage.DATA_INGESTION, Stage.TEACHER_TRAINING)
    folder = RunFolder(home, RUN_ID)
    run_inline(
        folder,
        RunSettings(
            request=RunRequest(source=SourceConfig(kind="simulated", simulated=market)),
            config=TrainingConfig(),
        ),
        RunRecord(
            run_id=RUN_ID,
            started_at=at,
            options=RunOptions(stages=stages),
            workers=1,
            host="bench",
            code_version="0" * 64,
            versions={},
            is_simulated=True,
        ),
        universes=UNIVERSES,
        at=at,
    )
    return load_run(folder)


def trainable(run: Run) -> list[Window]:
    """Return the windows that have a teacher."""
    found: list[Window] = []
    for planned in run.windows:
        try:
            training.train_window(run, planned.window.symbol, planned.window.short)
        except DataError:
            continue
        found.append(planned.window)
    return found


def rounds_of(run: Run, windows: list[Window]) -> list[int]:
    """Return the number of trees of each window's teacher."""
    paths = [run.folder.teacher(window.label) / "metadata.json" for window in windows]
    return [json.loads(path.read_text())["n_trees"] for path in paths]


def best_of(work: Callable[[int], None], n_units: int) -> float:
    """Return the shortest wall time in seconds of doing all units on all cores."""
    times: list[float] = []
    for _ in range(N_REPEATS):
        started = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(work, range(n_units)))
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
