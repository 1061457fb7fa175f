"""What a backfill through the vendor's SDK costs above the SDK's calls, and how it keeps its pace.

Five parts; name those to run, none named runs all but `hour`:

- `overhead`: with the limit lifted, chunks against the bare calls of the SDK for the same ranges in
  the same run: daily ones, 5-minute ones, and all those of some stocks over three years, of which
  one in 63 is daily; then 96 stocks and three years of daily bars as a whole.
- `prefect`: all chunks of some stocks over three years as tasks of the flow, with a server of its
  own and the limit lifted; what a task costs above its chunk and above its bare call.
- `pace`: at 90 calls a minute for two minutes, the fullest 60 seconds and how much of the limit was
  used, both from the log of the simulator.
- `audit`: the coverage of 96 stocks over five years.
- `hour`: 96 stocks, three years, daily and 5-minute bars through the flow, at 90 calls a minute:
  over 6,000 calls, so it takes more than an hour.

Simulator and server run in processes of their own; "of this process" leaves their work out. The
simulator has made its market before anything is measured. The differences and ratios are the
result; absolute times depend on the machine and on what else it does, so its load is printed, too.
"""

import bisect
import contextlib
import importlib
import json
import multiprocessing
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from blocks.environment import Environment, apply_variables, prefect_environment
from sensequant.breeze_simulator import UNLIMITED, BreezeSimulator, SimulatedFeed
from sensequant.cli.server import ensure_server, stop_server
from sensequant.ingestion.audits import audit_shelf
from sensequant.ingestion.backfill import plan_backfill, run_backfill
from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.opening import Intakes, Outside
from sensequant.ingestion.places import market_digest, store_key
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.ingestion.shelf import open_shelf
from sensequant.ingestion.simulators import announce_simulator, running_simulator, simulator_file
from sensequant.market.intervals import Interval
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.pacing import Pacer, UnlimitedPacer, local_pacer
from sensequant.market.sources.breeze.sdk import open_sdk
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.market.symbol_map import latest_snapshot

N_SYMBOLS = 96
N_REPEATS = 3
# More stocks than one part uses, so that each batch of tasks has stocks of its own.
MARKET = SimulatedConfig(n_symbols=480)
UNHURRIED = BreezeConfig(calls_per_minute=100_000, calls_per_day=10_000_000)
N_MEASURED = 24
N_OF_BOTH_INTERVALS = 4
# One to warm up, one for each way that is measured, one that is asked for by bare calls.
N_BATCHES = 8
SHIPPED_WORKERS = BackfillOptions().workers
THREE_YEARS = (date(2022, 1, 1), date(2024, 12, 31))
FIVE_YEARS = (date(2020, 1, 1), date(2024, 12, 31))
# One full chunk of 900 sessions for each stock.
FULL_CHUNK = (date(2021, 5, 19), date(2024, 12, 31))
# Eight chunks of 5-minute bars for each stock: 24 stocks take two minutes.
FOUR_MONTHS = (date(2024, 1, 1), date(2024, 5, 20))
WINDOW = timedelta(seconds=60)
UNIVERSES = Path(__file__).parents[1] / "deployments" / "universes"


class Seconds(NamedTuple):
    """Time of one unit of work: on the wall, and of this process's threads."""

    wall: float
    cpu: float


def main() -> None:
    """Measure and print one JSON object."""
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "overhead": overhead,
        "prefect": prefect,
        "pace": pace,
        "audit": audit,
        "hour": hour,
    }
    wanted = sys.argv[1:] or [name for name in parts if name != "hour"]
    unknown = [name for name in wanted if name not in parts]
    if unknown:
        sys.exit(f"no such part: {', '.join(unknown)}; there are {', '.join(parts)}")
    measured = {name: parts[name]() for name in wanted}
    load = [round(value, 1) for value in os.getloadavg()]
    print(json.dumps({**measured, "n_cores": os.cpu_count(), "load_averages": load}, indent=2))


def overhead() -> dict[str, Any]:
    """Return what a chunk costs above its call, and the time of a whole backfill."""
    with tempfile.TemporaryDirectory() as name, serving(Path(name)):
        folder = Path(name)
        asked = {
            "1day": a_request("1day", *FULL_CHUNK, n_symbols=N_SYMBOLS),
            "5minute": a_request("5minute", *FOUR_MONTHS, n_symbols=N_MEASURED),
            "1day and 5minute of 3 years": of_both_intervals(stocks(N_OF_BOTH_INTERVALS)),
        }
        chunks = {
            f"{interval}, {workers} at once": per_chunk(folder, request, workers)
            for interval, request in asked.items()
            for workers in (1, SHIPPED_WORKERS)
        }
        request = a_request("1day", *THREE_YEARS, n_symbols=N_SYMBOLS)
        seconds = [whole_backfill(folder, request) for _ in range(N_REPEATS)]
    return {"of_a_chunk": chunks, "96_symbols_3_years_daily_s": round(min(seconds), 2)}


def per_chunk(folder: Path, request: BackfillRequest, workers: int) -> dict[str, Any]:
    """Return milliseconds of a chunk, of its bare call, and of the difference.

    Of many side by side these are the time of all by their number.
    """
    warm_up = request.model_copy(update={"symbols": ("SIM480",)})
    options = BackfillOptions(workers=workers)
    bare: list[Seconds] = []
    whole: list[Seconds] = []
    n_chunks = 0
    for _ in range(N_REPEATS):
        with opened(folder, request, UnlimitedPacer()) as (home, context):
            # Logs in, and lets every part of the way be used once.
            run_backfill(warm_up, options, context, universes=UNIVERSES)
            chunks = plan_backfill(request, options, context, universes=UNIVERSES).chunks
            n_chunks = len(chunks)
            bare.append(bare_calls(home, chunks, workers))
            started = now_of_process()
            run_backfill(request, options, context, universes=UNIVERSES)
            whole.append(since(started))
    best = {"chunk": best_of(whole), "bare_call": best_of(bare)}
    in_ms = {name: in_milliseconds(seconds, n_chunks) for name, seconds in best.items()}
    own = difference(in_ms["chunk"], in_ms["bare_call"])
    return {
        "n_chunks": n_chunks,
        "ms_on_the_wall_and_of_this_process": {**in_ms, "own": own},
        "ratio_to_bare_call": round(best["chunk"].wall / best["bare_call"].wall, 2),
    }


def bare_calls(home: Path, chunks: Sequence[Chunk], workers: int) -> Seconds:
    """Return the time of asking the SDK for the same ranges, and nothing else."""
    simulator = running_simulator(home, market_digest(source_of(UNHURRIED)))
    symbols = latest_snapshot(home / store_key(source_of(UNHURRIED)))
    if simulator is None or symbols is None:
        sys.exit("the simulator has gone")
    with open_sdk(simulator.endpoints, simulator.login) as sdk:
        sdk.log_in()

        def call(chunk: Chunk) -> None:
            outcome = sdk.history(
                symbols.stock_code(chunk.symbol),
                interval=chunk.interval,
                from_date=wire(chunk.start, wall(0)),
                to_date=wire(chunk.end, wall(23, 59, 59)),
                version="v2",
            )
            # No bars is an answer, too: a stock may be suspended.
            if outcome.value["Success"] is None:
                sys.exit(f"no answer for {chunk}: {outcome.value}")

        with ThreadPoolExecutor(workers) as threads:
            call(chunks[0])
            started = now_of_process()
            list(threads.map(call, chunks))
            return since(started)


def whole_backfill(folder: Path, request: BackfillRequest) -> float:
    """Return the seconds of a backfill with the usual workers, opening and login included."""
    started = time.perf_counter()
    with opened(folder, request, UnlimitedPacer()) as (_, context):
        report = run_backfill(request, BackfillOptions(), context, universes=UNIVERSES)
    if report.outcome != "completed":
        sys.exit(f"backfill {report.outcome}: {report.n_by_reason}")
    return time.perf_counter() - started


def prefect() -> dict[str, Any]:
    """Return what a chunk costs as a task of a flow, beside one without Prefect and an idle task.

    Each batch has stocks of its own, so that every chunk is fetched for the first time.
    """
    with (
        tempfile.TemporaryDirectory() as name,
        serving(Path(name)),
        with_server(Path(name)),
        # Prefect reads its variables when it is imported, so nothing imports it before.
        mock.patch("tasks.sources._rate", return_value=UnlimitedPacer()),
    ):
        flows = importlib.import_module("_flows_of_chunks")
        repeats = [of_tasks(flows, Path(name), each) for each in range(N_REPEATS)]
    best = {way: best_of([each[way] for each in repeats]) for way in repeats[0]}
    in_ms = {way: in_milliseconds(seconds) for way, seconds in best.items()}
    for workers in (1, SHIPPED_WORKERS):
        way = f"{workers} at once"
        in_ms[f"own, {way}"] = difference(in_ms[f"as_tasks, {way}"], in_ms[f"bare_call, {way}"])
    return {"ms_of_a_chunk_on_the_wall_and_of_this_process": in_ms}


def of_tasks(flows: Any, home: Path, repeat: int) -> dict[str, Seconds]:
    """Return the time of a chunk in each way of `flows`, and of its bare call."""
    *measured, unfetched = batches(repeat)
    seconds: dict[str, Seconds] = {
        way: Seconds(*each) for way, each in flows.measure(measured).items()
    }
    chunks = flows.chunks_of(unfetched)
    for workers in (1, SHIPPED_WORKERS):
        bare = bare_calls(home, chunks, workers)
        seconds[f"bare_call, {workers} at once"] = Seconds(*(each / len(chunks) for each in bare))
    return seconds


@contextlib.contextmanager
def with_server(home: Path) -> Generator[None]:
    """Run a Prefect server, and let this process be its client."""
    env = Environment.model_validate({"SENSEQUANT_HOME": str(home)}).on_port(unused_port())
    ensure_server(env)
    try:
        apply_variables({**prefect_environment(env), "PREFECT_LOGGING_LEVEL": "WARNING"})
        yield
    finally:
        importlib.import_module("tasks.sources").close_intakes()
        stop_server(env)


def batches(repeat: int) -> list[BackfillRequest]:
    """Return requests for all chunks of some stocks each, no stock in two of them."""
    n_stocks = N_BATCHES * N_OF_BOTH_INTERVALS
    symbols = stocks(MARKET.n_symbols)[repeat * n_stocks : (repeat + 1) * n_stocks]
    firsts = range(0, n_stocks, N_OF_BOTH_INTERVALS)
    return [of_both_intervals(symbols[first : first + N_OF_BOTH_INTERVALS]) for first in firsts]


def of_both_intervals(symbols: tuple[str, ...]) -> BackfillRequest:
    """Return a request for three years of daily and 5-minute bars."""
    return BackfillRequest(
        symbols=symbols,
        intervals=("1day", "5minute"),
        start=THREE_YEARS[0],
        end=THREE_YEARS[1],
        source=source_of(UNHURRIED),
    )


def unused_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def pace() -> dict[str, Any]:
    """Return how full the fullest minute was, and how much of the limit was used."""
    config = BreezeConfig()
    request = a_request("5minute", *FOUR_MONTHS, n_symbols=N_MEASURED)
    pacer = local_pacer(config, clock=now, sleep=time.sleep)
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as calls:
        with opened(Path(name), request, pacer) as (_, context):
            run_backfill(request, BackfillOptions(), context, universes=UNIVERSES)
        return pace_of(calls(), config)


def hour() -> dict[str, Any]:
    """Return the pace of the flow over three years of daily and 5-minute bars."""
    config = BreezeConfig(calls_per_day=UNHURRIED.calls_per_day)
    request = BackfillRequest(
        symbols=stocks(N_SYMBOLS),
        intervals=("1day", "5minute"),
        start=THREE_YEARS[0],
        end=THREE_YEARS[1],
        source=source_of(config),
    )
    with (
        tempfile.TemporaryDirectory() as name,
        serving(Path(name)) as calls,
        with_server(Path(name)),
    ):
        used = time.process_time()
        state = importlib.import_module("flows.backfill_bars").backfill_bars(
            request, return_state=True
        )
        used = time.process_time() - used
        return {
            "state": f"{state.name}: {state.message}",
            "cpu_of_this_process_s": round(used, 1),
            **pace_of(calls(), config),
        }


def pace_of(calls: Sequence[tuple[datetime, str]], config: BreezeConfig) -> dict[str, Any]:
    """Return how full the fullest minute was, and how much of the limit was used."""
    times = [at for at, path in calls if path != "master"]
    fullest = max(
        bisect.bisect_right(times, first + WINDOW) - place for place, first in enumerate(times)
    )
    minutes = (times[-1] - times[0]) / WINDOW
    return {
        "limit_of_a_minute": config.calls_per_minute,
        "n_calls": len(times),
        "minutes": round(minutes, 3),
        "n_calls_in_the_fullest_60_s": fullest,
        "used_frac": round((len(times) - 1) / minutes / config.calls_per_minute, 4),
    }


def audit() -> dict[str, Any]:
    """Return the seconds of auditing five years of stored daily bars."""
    source = SourceConfig(kind="simulated", simulated=MARKET)
    request = BackfillRequest(
        symbols=stocks(N_SYMBOLS), start=FIVE_YEARS[0], end=FIVE_YEARS[1], source=source
    )
    seconds: list[float] = []
    n_sessions = 0
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        with contextlib.closing(Intakes(outside(home, UnlimitedPacer()))) as intakes:
            run_backfill(request, BackfillOptions(), intakes.of(source), universes=UNIVERSES)
        for _ in range(N_REPEATS):
            started = time.perf_counter()
            shelf = open_shelf(home, source)
            found = audit_shelf(shelf, request, home=home, universes=UNIVERSES, now=now())
            shelf.ledger.close()
            seconds.append(time.perf_counter() - started)
            n_sessions = found.sessions.height
    return {"n_symbols": N_SYMBOLS, "n_sessions": n_sessions, "seconds": round(min(seconds), 2)}


def a_request(interval: Interval, start: date, end: date, *, n_symbols: int) -> BackfillRequest:
    """Return a request to the simulator."""
    return BackfillRequest(
        symbols=stocks(n_symbols),
        intervals=(interval,),
        start=start,
        end=end,
        source=source_of(UNHURRIED),
    )


def stocks(n_symbols: int) -> tuple[str, ...]:
    """Return the first symbols of the market."""
    return SimulatedFeed(MARKET).symbols()[:n_symbols]


def source_of(config: BreezeConfig) -> SourceConfig:
    """Return the settings of the simulator as a source."""
    return SourceConfig(kind="breeze-simulator", simulated=MARKET, breeze=config)


def wire(day: date | None, at: wall) -> str:
    """Return a time as the service wants it."""
    return f"{day}T{at:%H:%M:%S}.000Z"


@contextlib.contextmanager
def opened(
    folder: Path, request: BackfillRequest, pacer: Pacer
) -> Generator[tuple[Path, IngestContext]]:
    """Open an empty home that knows the simulator of this folder."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        home = Path(name)
        shutil.copy(simulator_file(folder), simulator_file(home))
        with contextlib.closing(Intakes(outside(home, pacer))) as intakes:
            yield home, intakes.of(request.source)


def outside(home: Path, pacer: Pacer) -> Outside:
    """Return this machine's clock and waiting, and a pacer."""

    def no_login(_block: str | None) -> BreezeLogin:
        sys.exit("the simulator has a login of its own")

    def rate(_key_digest: str, _config: BreezeConfig) -> Pacer:
        return pacer

    return Outside(home, Timing(now, time.sleep, lambda: 0.5), no_login, rate)


@contextlib.contextmanager
def serving(folder: Path) -> Generator[Callable[[], list[tuple[datetime, str]]]]:
    """Run a simulator in another process; yields what asks it for its log of calls."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(folder, there))
    process.start()
    here.recv()

    def calls() -> list[tuple[datetime, str]]:
        here.send("calls")
        return here.recv()

    try:
        yield calls
    finally:
        here.send("stop")
        process.join()


def serve(folder: Path, pipe: Connection) -> None:
    """Serve until told to stop."""
    market = SimulatedFeed(MARKET)
    for symbol in (*market.symbols(), *market.indices()):
        market.truth(symbol, "1day")
    with BreezeSimulator(market, clock=now, limits=UNLIMITED) as simulator:
        announce_simulator(folder, simulator, market_digest=market_digest(source_of(UNHURRIED)))
        pipe.send("ready")
        while pipe.recv() == "calls":
            pipe.send([(call.at, call.path) for call in simulator.calls])


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def now_of_process() -> Seconds:
    """Return the two clocks."""
    return Seconds(time.perf_counter(), time.process_time())


def since(started: Seconds) -> Seconds:
    """Return what has passed on both clocks."""
    ended = now_of_process()
    return Seconds(ended.wall - started.wall, ended.cpu - started.cpu)


def in_milliseconds(seconds: Seconds, n_units: int = 1) -> list[float]:
    """Return the time of one of some units on each clock."""
    return [round(1000 * each / n_units, 2) for each in seconds]


def difference(minuends: Sequence[float], subtrahends: Sequence[float]) -> list[float]:
    """Return what each is more than its counterpart."""
    return [round(x - y, 2) for x, y in zip(minuends, subtrahends, strict=True)]


def best_of(times: Sequence[Seconds]) -> Seconds:
    """Return the shortest time on each clock."""
    return Seconds(min(each.wall for each in times), min(each.cpu for each in times))


if __name__ == "__main__":
    main()
