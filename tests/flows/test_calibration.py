"""Facts about the flow of the calibration: one task per world, nothing done twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.client.schemas.objects import State

from flows.calibrate_verdict import calibrate_verdict
from sensequant.calibration.oracle import EDGES_BPS, EdgeWorth
from sensequant.calibration.request import CalibrationRequest
from sensequant.calibration.work import Calibration
from sensequant.settings import TrainingConfig
from sensequant.stages.context import RunSettings
from sensequant.storage import read_table, write_json
from sensequant.telemetry import read_events

Ask = Callable[..., list[dict[str, Any]]]
Eventually = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def request_of_one(market: RunSettings) -> CalibrationRequest:
    """Return a request for one edge, under the method of these tests."""
    backtest = market.config.backtest.model_copy(update={"threshold": 0.2})
    values = market.config.model_copy(update={"backtest": backtest}).model_dump()
    return CalibrationRequest(
        n_worlds=0,
        n_edge_worlds=1,
        oracle_sharpes=(2.0,),
        n_symbols=3,
        years=2,
        config=TrainingConfig.model_validate(values),
    )


def execute(request: CalibrationRequest) -> State[Any]:
    # The decorator types `return_state` away where the flow itself returns a state.
    return cast("Callable[..., State[Any]]", calibrate_verdict)(
        request, workers=1, return_state=True
    )


def tasks_of(ask: Ask, state: State[Any]) -> list[str]:
    flow_run_id = str(state.state_details.flow_run_id)
    runs = ask("task_runs", task_runs={"flow_run_id": {"any_": [flow_run_id]}})
    return sorted(run["name"] for run in runs)


def test_each_world_is_a_task_and_is_done_once(
    request_of_one: CalibrationRequest, home: Path, ask: Ask, eventually: Eventually
) -> None:
    """The second run finds it judged and says the same; the user's own ledger is untouched."""
    calibration = Calibration(home, request_of_one)
    # All edges but one are priced already.
    for edge in EDGES_BPS[1:]:
        worth = EdgeWorth(edge_bps=edge, sharpe=edge / 10, standard_error=0.1, n_markets=48)
        write_json(calibration.worth(edge), worth)

    first, again = execute(request_of_one), execute(request_of_one)

    assert first.is_completed()
    assert first.message == "1 of 1 worlds judged, 0 tasks failed"
    around = ["find what is missing", "sum up"]
    inside = ["world oracle_2_0000", "worth of an edge of 0 bps"]
    assert eventually(lambda: tasks_of(ask, first) == [*around, *inside])
    assert eventually(lambda: tasks_of(ask, again) == around)
    said: list[Any] = [state.result() for state in (first, again)]
    assert said[0] == said[1]
    assert said[0].levels[0].edge_bps == 20.0
    table = read_table(calibration.root / "worlds.parquet")
    assert table["world"].to_list() == ["oracle_2_0000"]
    events = [event["event"] for event in read_events(calibration.root / "telemetry.jsonl")]
    assert events.count("unit_ended") == 1
    assert not (home / "trials").exists()
    assert not (home / "runs").exists()
    for name in ("calibration.json", "calibration.md", "power.svg"):
        assert (calibration.root / name).exists()
