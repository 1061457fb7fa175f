"""Facts about the flow that keeps option chains: from the vendor to the store and the page."""

import json
from collections.abc import Callable, Generator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.client.schemas.objects import State

from flows import snapshot_options as flow_module
from flows.snapshot_options import snapshot_options
from sensequant.breeze_simulator import BreezeSimulator, SettableClock, SimulatedFeed
from sensequant.breeze_simulator.limits import UNLIMITED
from sensequant.capture.options import OptionSnapshotReport, OptionSnapshotRequest
from sensequant.context.options import OPTIONS
from sensequant.ingestion.places import context_store_at, market_digest
from sensequant.ingestion.simulators import announce_simulator
from sensequant.market.sessions import IST
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from tasks import sources
from tasks.sources import close_intakes

SOURCE = SourceConfig(kind="breeze-simulator", simulated=SimulatedConfig(n_symbols=3))


@pytest.fixture
def clock(home: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[SettableClock]:
    """Return the clock of a vendor that runs of this home find, ten minutes before the close."""
    clock = SettableClock(datetime(2024, 1, 16, 15, 20, tzinfo=IST))
    timing = Timing(clock, lambda _: None, lambda: 0.5)
    monkeypatch.setattr(sources, "live_timing", lambda: timing)
    monkeypatch.setattr(flow_module, "utc_now", clock)
    feed = SimulatedFeed(SOURCE.simulated)
    with BreezeSimulator(feed, clock=clock, limits=UNLIMITED) as simulator:
        announce_simulator(home, simulator, market_digest=market_digest(SOURCE))
        yield clock
        close_intakes()


def execute() -> State[Any]:
    # The decorator types `return_state` away where the flow itself returns a state.
    flow = cast("Callable[..., State[Any]]", snapshot_options)
    asked = OptionSnapshotRequest(
        symbols=("NIFTY", "NOSUCH"), expiries=(date(2024, 1, 25),), source=SOURCE
    )
    return flow(asked, return_state=True)


def test_chains_reach_the_store_and_the_page(
    clock: SettableClock,
    home: Path,
    ask: Callable[..., list[dict[str, Any]]],
    eventually: Callable[[Callable[[], Any]], Any],
) -> None:
    """The table names rates, counts and reasons; after the close nothing is asked."""
    state = execute()
    clock.advance(timedelta(minutes=10))
    skipped = execute()

    report = state.result()
    assert isinstance(report, OptionSnapshotReport)
    stored = context_store_at(home, SOURCE).read(OPTIONS, "NIFTY50")
    assert stored.height == report.n_contracts["NIFTY50"] > 20
    assert skipped.name == "Skipped"
    flow_run_id = str(state.state_details.flow_run_id)
    kept = eventually(
        lambda: ask(
            "artifacts",
            artifacts={"flow_run_id": {"any_": [flow_run_id]}, "key": {"any_": ["options"]}},
        )
    )
    shown = {row["figure"]: row["value"] for row in json.loads(kept[0]["data"])}
    assert shown["contracts on NIFTY50"] == str(stored.height)
    assert shown["without options"] == "NOSUCH"
    assert shown["rate of interest in a year"] == "0.065"
    assert shown["marked as simulated"] == "yes"
