"""What importing NSE's files costs above parsing them.

Three steps over the same files, one after the other in one process on two threads: the floor (the
unpacked bytes through polars' CSV reader, nothing else), reading (unpack, parse, judge every row),
and the import (reading, and writing into a store). The ratios are the result; absolute times depend
on the machine. The files are those of the folder that SENSEQUANT_REAL_DATA names, because none may
be published here.
"""

import gzip
import io
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from sensequant.market.intervals import DAILY
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.source import FilesSource
from sensequant.market.store import BarStore

FOLDERS = ("daily_bhavcopy_2019_2026", "daily_secwise_2020_2026", "daily_nsepy_2000_2020")
N_THREADS = 2
N_REPEATS = 3
AT = datetime(2026, 9, 1, tzinfo=UTC)


class Item(NamedTuple):
    """One symbol of one folder."""

    folder: str
    symbol: str


def main() -> None:
    """Measure and print one JSON object."""
    data = Path(os.environ.get("SENSEQUANT_REAL_DATA", ""))
    if not all((data / name).is_dir() for name in FOLDERS):
        print(f"skipped: name a folder with {', '.join(FOLDERS)} by SENSEQUANT_REAL_DATA")
        return
    sources = {name: FilesSource(data / name) for name in FOLDERS}
    items = [Item(name, symbol) for name in FOLDERS for symbol in sources[name].symbols()]
    unpacked = {
        item: gzip.decompress((data / item.folder / f"{item.symbol}.csv.gz").read_bytes())
        for item in items
    }

    def floor(item: Item, _stores: dict[str, BarStore]) -> int:
        return pl.read_csv(io.BytesIO(unpacked[item]), infer_schema=False).height

    def read(item: Item, _stores: dict[str, BarStore]) -> int:
        return sources[item.folder].fetch(Chunk(item.symbol)).report.n_rows_read

    def imported(item: Item, stores: dict[str, BarStore]) -> int:
        fetched = sources[item.folder].fetch(Chunk(item.symbol))
        stores[item.folder].write(fetched.bars, interval=DAILY, fetched_at=AT)
        return fetched.report.n_rows_read

    n_rows = sum(floor(item, {}) for item in items)
    seconds = {work.__name__: best_of(work, items) for work in (floor, read, imported)}
    print(
        json.dumps(
            {
                "n_files": len(items),
                "n_rows": n_rows,
                "n_threads": N_THREADS,
                "seconds": {name: round(value, 2) for name, value in seconds.items()},
                "ratio_to_floor": {
                    name: round(value / seconds["floor"], 1) for name, value in seconds.items()
                },
                "rows_per_second": {name: round(n_rows / value) for name, value in seconds.items()},
            },
            indent=2,
        )
    )


def best_of(work: Callable[[Item, dict[str, BarStore]], int], items: list[Item]) -> float:
    """Return the shortest wall time in seconds of doing all items, each time into new stores."""
    times: list[float] = []
    for _ in range(N_REPEATS):
        with tempfile.TemporaryDirectory() as home:
            stores = {name: BarStore(Path(home) / name) for name in FOLDERS}
            started = time.perf_counter()
            with ThreadPoolExecutor(N_THREADS) as pool:
                list(pool.map(work, items, [stores] * len(items)))
            times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
