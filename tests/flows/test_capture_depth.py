"""Facts about the flow that captures order books: from the vendor's socket to the run's page."""

import json
import time
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.client.schemas.objects import State

from flows import capture_depth as flow_module
from flows.capture_depth import capture_depth
from sensequant.breeze_simulator import BreezeSimulator, Ports, SettableClock, SimulatedFeed
from sensequant.breeze_simulator.limits import UNLIMITED
from sensequant.capture.report import DepthCaptureReport
from sensequant.capture.request import DepthCaptureRequest
from sensequant.context.depth import DEPTH
from sensequant.errors import ConfigError
from sensequant.ingestion.places import context_store_at, market_digest
from sensequant.ingestion.simulators import announce_simulator
from sensequant.market.sessions import IST
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from tasks import capture, sources
from tasks.sources import close_intakes

SOURCE = SourceConfig(kind="breeze-simulator", simulated=SimulatedConfig(n_symbols=3))
SPEED = 10.0


@pytest.fixture
def clock(home: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[SettableClock]:
    """Return the clock of a vendor that runs of this home find, eight seconds before the close."""
    at = datetime(2024, 1, 16, 15, 29, tzinfo=IST)
    clock = SettableClock(at, elapsed=lambda: SPEED * time.monotonic())
    timing = Timing(clock, lambda seconds: time.sleep(seconds / SPEED), lambda: 0.5)
    for module in (sources, capture):
        monkeypatch.setattr(module, "live_timing", lambda: timing)
    for module in (flow_module, capture):
        monkeypatch.setattr(module, "utc_now", clock)
    feed = SimulatedFeed(SOURCE.simulated)
    ports = Ports(tick_seconds=0.02)
    with BreezeSimulator(feed, clock=clock, limits=UNLIMITED, ports=ports) as simulator:
        announce_simulator(home, simulator, market_digest=market_digest(SOURCE))
        simulator.stream.last_price("SIM01", at)
        clock.set(at)
        yield clock
        close_intakes()


def execute(**parameters: Any) -> State[Any]:
    # The decorator types `return_state` away where the flow itself returns a state.
    flow = cast("Callable[..., State[Any]]", capture_depth)
    return flow(DepthCaptureRequest(**parameters), return_state=True)


@pytest.mark.usefixtures("clock")
def test_books_reach_the_store_and_the_page(
    home: Path,
    ask: Callable[..., list[dict[str, Any]]],
    eventually: Callable[[Callable[[], Any]], Any],
) -> None:
    """A symbol that the vendor does not know is named, and the other one is captured."""
    state = execute(symbols=("SIM01", "NOSUCH"), source=SOURCE)

    report = state.result()
    assert isinstance(report, DepthCaptureReport)
    assert state.name == "Completed"
    assert report.unknown_symbols == ("NOSUCH",)
    stored = context_store_at(home, SOURCE).read(DEPTH, "SIM01")
    assert stored.height == report.n_stored == report.n_ticks > 5
    flow_run_id = str(state.state_details.flow_run_id)
    kept = eventually(
        lambda: ask(
            "artifacts",
            artifacts={"flow_run_id": {"any_": [flow_run_id]}, "key": {"any_": ["depth"]}},
        )
    )
    shown = {row["figure"]: row["value"] for row in json.loads(kept[0]["data"])}
    assert shown["ticks"] == str(report.n_ticks)
    assert shown["symbols without a token"] == "NOSUCH"
    assert shown["marked as simulated"] == "yes"
    assert shown["gaps: not_running"].startswith("1, ")


def test_a_day_without_a_session_is_skipped(clock: SettableClock) -> None:
    """Nobody logs in; what is no vendor is refused."""
    asked = {"symbols": ("SIM01",), "source": SourceConfig(kind="simulated")}
    refused = execute(**asked)
    clock.advance(-timedelta(days=2))
    skipped = execute(**asked)

    with pytest.raises(ConfigError, match="no order books"):
        refused.result()
    assert (skipped.name, skipped.message) == ("Skipped", "Sunday 2024-01-14 is no session of NSE")
