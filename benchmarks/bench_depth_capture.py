"""What a capture of order books costs, and whether it loses a tick: 200 symbols, five a second.

    python benchmarks/bench_depth_capture.py --seconds 600

Three captures of a simulator in a process of its own, each capture on one core (`taskset`): one
that nothing disturbs, one whose connection is dropped in the middle, one that is killed (kill -9)
in the middle and started again. The first ends with the close of the vendor's clock, so that what
was sent and what was stored can be compared tick by tick.
"""

import argparse
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psutil
from pydantic import SecretStr

from sensequant.breeze_simulator import UNLIMITED, BreezeSimulator, Fault, Ports, SettableClock
from sensequant.breeze_simulator.market import SimulatedFeed
from sensequant.capture.parts import captured_sessions
from sensequant.capture.request import CaptureConfig
from sensequant.capture.session import CaptureParts, DepthCapture, Progress
from sensequant.context.depth import DEPTH
from sensequant.context.depth_gaps import DEPTH_GAPS
from sensequant.context.store import ContextStore
from sensequant.market.sessions import IST, nse_calendar
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.credentials import SharedLogin
from sensequant.market.sources.breeze.depth_socket import DepthSocket, depth_room
from sensequant.market.sources.breeze.endpoints import Endpoints
from sensequant.market.sources.breeze.sdk import open_sdk
from sensequant.market.sources.simulated import SimulatedConfig

CLOSE = datetime(2024, 1, 16, 15, 30, tzinfo=IST)
SAMPLED_EVERY_SECONDS = 10.0
SETTLED_AFTER_SECONDS = 30.0


def clock_of(begun: float, before_close: float) -> SettableClock:
    """Return the vendor's clock; all processes of a machine share the monotonic one."""
    at = CLOSE - timedelta(seconds=before_close) + timedelta(seconds=time.monotonic() - begun)
    return SettableClock(at, elapsed=time.monotonic)


def serve(asked: Mapping[str, Any]) -> None:
    """Be the vendor until a line comes; tell what was sent."""
    clock = SettableClock(CLOSE - timedelta(seconds=asked["seconds"]))
    feed = SimulatedFeed(SimulatedConfig(n_symbols=asked["symbols"]))
    faults = [Fault(name="stream_dropped", after=n, times=1) for n in asked["drops"]]
    with BreezeSimulator(
        feed,
        # Another clock takes its place below.
        clock=lambda: clock(),  # noqa: PLW0108
        limits=UNLIMITED,
        faults=faults,
        ports=Ports(tick_seconds=asked["period"]),
    ) as simulator:
        with open_sdk(simulator.endpoints, simulator.login) as sdk:
            sdk.log_in()
            shared = sdk.share()
        listed = {symbol: simulator.directory.of_symbol(symbol) for symbol in feed.symbols()}
        # The first look at a market takes long.
        for symbol in feed.symbols():
            simulator.stream.last_price(symbol, clock())
        begun = time.monotonic()
        clock = clock_of(begun, asked["seconds"])
        told = {
            "begun": begun,
            "endpoints": dataclasses.asdict(simulator.endpoints),
            "user": shared.user_id.get_secret_value(),
            "key": shared.session_key.get_secret_value(),
            "rooms": {depth_room(one.token): symbol for symbol, one in listed.items()},
        }
        print(json.dumps(told), flush=True)
        sys.stdin.readline()
        stream = simulator.stream
        cuts = [at.isoformat() for at in stream.cut_at]
        cpu = time.process_time()
        print(json.dumps({"sent": dict(stream.n_sent), "cuts": cuts, "cpu": cpu}), flush=True)


def capture(asked: Mapping[str, Any]) -> None:
    """Capture to the close; tell what it took."""
    vendor = asked["vendor"]
    clock = clock_of(vendor["begun"], asked["seconds"])
    login = SharedLogin(SecretStr(vendor["user"]), SecretStr(vendor["key"]))
    begun, process = time.monotonic(), psutil.Process()
    samples: list[tuple[float, float]] = []

    def sample(_: Progress) -> None:
        now = time.monotonic() - begun
        if not samples or now - samples[-1][0] >= SAMPLED_EVERY_SECONDS:
            samples.append((now, process.memory_info().rss / 2**20))

    listening = DepthCapture(
        CaptureParts(
            socket=DepthSocket(Endpoints(**vendor["endpoints"]), login),
            prove=lambda: None,
            symbols=vendor["rooms"],
            unknown=(),
            source="breeze_simulator",
            store=ContextStore(Path(asked["home"]), is_simulated=True),
            calendar=nse_calendar(),
            timing=Timing(clock, time.sleep, lambda: 0.5),
        ),
        CaptureConfig(),
        tell=sample,
    )
    report = listening.run()
    told = {
        "report": report.model_dump(mode="json"),
        "samples": samples,
        "cpu": time.process_time(),
        "wall": time.monotonic() - begun,
        "rss_after_mib": process.memory_info().rss / 2**20,
        "cores": len(os.sched_getaffinity(0)),
    }
    print(json.dumps(told), flush=True)


def start(mode: str, asked: Mapping[str, Any], *before: str) -> subprocess.Popen[str]:
    """Start this program in another mode."""
    words = [*before, sys.executable, __file__, "--as", mode, json.dumps(asked)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the next line that a process says."""
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise SystemExit(f"a process ended with {process.wait()}")
    return json.loads(line)


def measure(
    options: argparse.Namespace, home: Path, *, drops: Sequence[int] = (), kill_after: float = 0.0
) -> dict[str, Any]:
    """Return what one capture, or one that was killed and started again, found and took."""
    seconds = options.seconds if not (drops or kill_after) else options.short_seconds
    given = {"symbols": options.symbols, "seconds": seconds, "period": options.period}
    server = start("serve", given | {"drops": list(drops)}, "taskset", "-c", options.server_core)
    vendor = answer(server)
    asked = {"vendor": vendor, "seconds": seconds, "home": str(home)}
    pinned = ("taskset", "-c", options.core)
    listener = start("capture", asked, *pinned)
    found: dict[str, Any] = {}
    if kill_after:
        time.sleep(kill_after)
        listener.send_signal(signal.SIGKILL)
        listener.wait()
        found["killed_at"] = clock_of(vendor["begun"], seconds)().isoformat()
        listener = start("capture", asked, *pinned)
    found |= answer(listener)
    listener.wait()
    found |= {"rooms": vendor["rooms"]} | _ended(server)
    return found


def _ended(server: subprocess.Popen[str]) -> dict[str, Any]:
    if server.stdin is not None:
        server.stdin.write("\n")
        server.stdin.flush()
    told = answer(server)
    server.wait()
    return {"sent": told["sent"], "cuts": told["cuts"], "server_cpu": told["cpu"]}


def compare(found: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """Hold what was sent against what lies in the store."""
    store = ContextStore(home, is_simulated=True)
    n_differing, n_stored, n_repeated = 0, 0, 0
    for room, symbol in found["rooms"].items():
        rows = store.read(DEPTH, symbol)
        n_stored += rows.height
        n_differing += rows.height != found["sent"].get(room, 0)
        n_repeated += rows.height - rows["bid_quantity"].n_unique()
    sent = sum(found["sent"].values())
    gaps = store.read(DEPTH_GAPS, next(iter(found["rooms"].values()))).sort("at")
    return {
        "sent": sent,
        "stored": n_stored,
        "lost": sent - n_stored,
        "symbols_that_differ": n_differing,
        "alike": n_repeated,
        "left_in_parts": len(captured_sessions(store.root)),
        "gaps": gaps.select("reason", "at", "until").to_dicts(),
    }


def show(title: str, found: Mapping[str, Any], compared: Mapping[str, Any]) -> None:
    """Print one measurement."""
    samples = pl.DataFrame(found["samples"], schema=["seconds", "mib"], orient="row")
    settled = samples.filter(pl.col("seconds") >= SETTLED_AFTER_SECONDS)
    print(f"== {title}")
    for name, value in compared.items():
        print(f"{name}: {value}")
    print(
        f"ticks heard: {found['report']['n_ticks']}, lost for want of room: "
        f"{found['report']['n_lost']}, most waiting: {found['report']['n_most_waiting']}"
    )
    print(
        f"cpu of the capture: {found['cpu']:.1f} s in {found['wall']:.1f} s, on "
        f"{found['cores']} core; of the server: {found['server_cpu']:.1f} s"
    )
    if settled.height > 1:
        first, last = settled["mib"][0], settled["mib"][-1]
        most = settled["mib"].max()
        print(
            f"memory: {first:.0f} MiB after {settled['seconds'][0]:.0f} s, {last:.0f} MiB after "
            f"{settled['seconds'][-1]:.0f} s, at most {most:.0f} MiB while listening; "
            f"{found['rss_after_mib']:.0f} MiB after the compaction"
        )
    for cut in found["cuts"]:
        print(f"the server cut the connection at {cut}")
    if "killed_at" in found:
        print(f"the capture was killed at {found['killed_at']}")


def main() -> None:
    """Measure three captures, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--short-seconds", type=float, default=60.0)
    parser.add_argument("--period", type=float, default=0.2)
    parser.add_argument("--core", default="0")
    parser.add_argument("--server-core", default="1")
    parser.add_argument("--as", nargs=2, dest="role")
    options = parser.parse_args()
    if options.role:
        mode, text = options.role
        {"serve": serve, "capture": capture}[mode](json.loads(text))
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-depth-"))
    try:
        half = int(options.symbols * options.short_seconds / options.period / 2)
        disturbances: dict[str, dict[str, Any]] = {
            "undisturbed": {},
            "dropped once": {"drops": [half]},
            "killed and started again": {"kill_after": options.short_seconds / 2},
        }
        for title, extra in disturbances.items():
            home = folder / title.replace(" ", "-")
            found = measure(options, home, **extra)
            show(title, found, compare(found, home))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
