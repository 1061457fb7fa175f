"""What the feature matrix costs: all families at once, and what each adds to the default.

The bars of 96 symbols are those of the folder that SENSEQUANT_REAL_DATA names, because none may be
published here; without it random walks of the same size stand in for them. Absolute times depend on
the machine and on who else uses it, so the cost of the default and the processor's time are printed
beside them; memory is the process's peak.
"""

import json
import os
import resource
import time
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from sensequant.features.build import build_features
from sensequant.features.context import MarketContext
from sensequant.features.registry import FeatureConfig, model_columns
from sensequant.market.adjustments import adjust_bars
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.source import FilesSource

FOLDER = "daily_bhavcopy_2019_2026"
FLAGS = ("gaps", "calendar", "delivery", "market_context", "ranks", "levels")
N_SYMBOLS = 96
N_REPEATS = 3


class Cost(NamedTuple):
    """Time on the clock, and time of all threads on a processor."""

    wall_seconds: float
    cpu_seconds: float


def main() -> None:
    """Measure and print one JSON object."""
    folder = Path(os.environ.get("SENSEQUANT_REAL_DATA", "")) / FOLDER
    is_real = "SENSEQUANT_REAL_DATA" in os.environ and folder.is_dir()
    bars, context = real_bars(folder) if is_real else random_bars()
    configs = {
        "default": FeatureConfig(),
        **{flag: FeatureConfig.model_validate({flag: True}) for flag in FLAGS},
        "all": FeatureConfig.model_validate(dict.fromkeys(("classic_levels", *FLAGS), True)),
    }
    costs = {name: best_of(bars, config, context) for name, config in configs.items()}
    print(
        json.dumps(
            {
                "bars": FOLDER if is_real else "random walks",
                "n_symbols": bars["symbol"].n_unique(),
                "n_rows": bars.height,
                "n_columns": len(model_columns(configs["all"])),
                "n_threads": pl.thread_pool_size(),
                "seconds": {name: round(cost.wall_seconds, 3) for name, cost in costs.items()},
                "cpu_seconds": {name: round(cost.cpu_seconds, 3) for name, cost in costs.items()},
                "rows_per_second": round(bars.height / costs["all"].wall_seconds),
                "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            },
            indent=2,
        )
    )


def best_of(bars: pl.DataFrame, config: FeatureConfig, context: MarketContext) -> Cost:
    """Return the shortest times of building the matrix."""
    walls: list[float] = []
    cpus: list[float] = []
    for _ in range(N_REPEATS):
        started, started_cpu = time.perf_counter(), time.process_time()
        build_features(bars, config, context)
        walls.append(time.perf_counter() - started)
        cpus.append(time.process_time() - started_cpu)
    return Cost(min(walls), min(cpus))


def real_bars(folder: Path) -> tuple[pl.DataFrame, MarketContext]:
    """Return adjusted bars of the symbols with most rows, and the indices beside them."""
    source = FilesSource(folder)
    raw = pl.concat(source.fetch(Chunk(symbol)).bars for symbol in source.symbols())
    fullest = raw["symbol"].value_counts(sort=True)["symbol"][:N_SYMBOLS].implode()
    chosen = raw.filter(pl.col("symbol").is_in(fullest))
    adjusted = adjust_bars(chosen, source.actions(), nse_calendar())
    index, vix = (source.fetch(Chunk(name)).bars for name in ("NIFTY50", "INDIAVIX"))
    return adjusted, MarketContext(benchmark=index, vix=vix)


def random_bars() -> tuple[pl.DataFrame, MarketContext]:
    """Return random walks on the sessions from August 2019 on, and two more as indices."""
    sessions = nse_calendar().sessions(date(2019, 8, 23), date(2026, 8, 21))
    rng = np.random.default_rng(0)
    shape = (N_SYMBOLS + 2, len(sessions))
    close = 250 * np.exp(rng.normal(0, 0.02, shape).cumsum(axis=1))
    open_ = close * np.exp(rng.normal(0, 0.01, shape))
    volume = rng.integers(1_000, 1_000_000, shape).astype(np.float64)
    spread = np.exp(rng.exponential(0.01, shape))
    frames = [
        pl.DataFrame(
            {
                "symbol": f"S{number:03}",
                "session": sessions,
                "open": open_[number],
                "high": np.maximum(open_, close)[number] * spread[number],
                "low": np.minimum(open_, close)[number] / spread[number],
                "close": close[number],
                "volume": volume[number],
                "delivered_volume": volume[number] // 2,
                "is_unexplained_gap": False,
            }
        )
        for number in range(shape[0])
    ]
    *stocks, index, vix = frames
    return pl.concat(stocks), MarketContext(benchmark=index, vix=vix)


if __name__ == "__main__":
    main()
