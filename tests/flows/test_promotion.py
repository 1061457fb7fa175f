"""Facts about the flows that move models: their names, their ends, the checks on their page."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from prefect import Flow
from prefect.client.schemas.objects import State

from flows.compare_models import compare_models
from flows.monitor_model import monitor_model
from flows.promote_candidate import promote_candidate
from flows.roll_back import roll_back
from flows.stage_candidate import stage_candidate
from sensequant.evaluation.side_by_side import DELTAS
from sensequant.release.deployment_records import EnvironmentName
from sensequant.release.environments import read_pointer
from sensequant.stages.moving import history_of
from tasks import contest, monitoring, promotion
from tasks.events import Happening

Ask = Callable[..., list[dict[str, Any]]]

World = Any
"""The home that the fixture `world` makes (`tests/conftest.py`)."""

WHO = {"by": "bo", "reason": "because"}


class Clock:
    """The time that tasks read."""

    now = datetime(2023, 6, 30, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the instant at which it stands."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock that stands at the first delivery until a test moves it."""
    clock = Clock()
    for module in (promotion, monitoring, contest):
        monkeypatch.setattr(module, "utc_now", clock)
    return clock


@pytest.fixture
def here(world: World, home: Path) -> World:
    """Return the world in the home that tasks of this process work on."""
    shutil.copytree(world.home, home, dirs_exist_ok=True)
    return type(world)(home)


def execute(flow: Flow[..., Any], **parameters: Any) -> State[Any]:
    # The decorator types `return_state` away where the flow itself returns a state.
    return cast("Callable[..., State[Any]]", flow)(**parameters, return_state=True)


def seen(ask: Ask, state: State[Any]) -> tuple[str, dict[str, list[dict[str, str]]]]:
    """Return the name of a run and the tables on its page."""
    flow_run_id = str(state.state_details.flow_run_id)
    (run,) = ask("flow_runs", flow_runs={"id": {"any_": [flow_run_id]}})
    kept = ask("artifacts", artifacts={"flow_run_id": {"any_": [flow_run_id]}})
    tables = {each["key"]: json.loads(each["data"]) for each in kept if each["type"] == "table"}
    return run["name"], tables


def test_model_goes_to_production_and_back_by_flows(here: World, clock: Clock, ask: Ask) -> None:
    """Each run is named by what it does, ends with what stands where, and shows every check."""
    first, second = here.folder(1).run_id, here.folder(2).run_id
    staged = execute(stage_candidate, run_id=first, **WHO)
    assert (staged.name, staged.message) == (
        "Completed",
        f"{first} stands in staging, deployment 1 by bo",
    )
    name, tables = seen(ask, staged)
    assert name == f"stage {first}"
    assert {row["outcome"] for row in tables["readiness"]} == {"pass"}
    assert len(tables["readiness"]) == 13

    refused = execute(promote_candidate, run_id=first, **WHO)
    assert refused.name == "Failed"
    assert "NotReadyError: candidate is not ready to promote" in str(refused.message)
    rows = {row["check"]: row for row in seen(ask, refused)[1]["readiness"]}
    assert rows["staging_hours"]["outcome"] == "fail"
    assert read_pointer(here.home, EnvironmentName.PRODUCTION) is None

    clock.now = datetime(2023, 7, 14, 12, tzinfo=UTC)
    here.deliver(date(2023, 7, 14))
    promoted = execute(promote_candidate, run_id=first, **WHO)
    assert promoted.message == f"{first} stands in production, deployment 2 by bo"
    name, tables = seen(ask, promoted)
    assert name == f"promote {first}"
    shadow = {row["figure"]: row["value"] for row in tables["shadow"]}
    assert (shadow["sessions"], shadow["with an outcome"]) == ("10", "9")
    assert "n 9" in shadow["AUC"]

    assert execute(stage_candidate, run_id=second, **WHO).name == "Completed"
    back = execute(roll_back, environment="staging", **WHO)
    assert back.message == f"{first} stands in staging again, by bo"
    assert seen(ask, back)[0] == "roll back staging"
    assert [each.kind.value for each in history_of(here.home)] == [
        "stage",
        "promote",
        "stage",
        "rollback",
    ]


def test_a_model_is_looked_at_by_a_flow(
    here: World, clock: Clock, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soon after the deployment it is too early to tell; with old bars it is degraded, and told."""
    told: list[tuple[Happening, str]] = []
    monkeypatch.setattr(
        monitoring,
        "announce",
        lambda what, *, subject, message: told.append((what, f"{subject}: {message}")),  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType]
    )
    execute(stage_candidate, run_id=here.folder(1).run_id, **WHO)
    clock.now = datetime(2023, 7, 3, 12, tzinfo=UTC)
    here.deliver(date(2023, 7, 3))
    soon = execute(monitor_model, environment=EnvironmentName.STAGING)
    name, tables = seen(ask, soon)
    clock.now = datetime(2023, 9, 29, 12, tzinfo=UTC)
    assert told == []
    late = execute(monitor_model, environment=EnvironmentName.STAGING)
    clock.now = datetime(2023, 9, 29, 13, tzinfo=UTC)
    again = execute(monitor_model, environment=EnvironmentName.STAGING)

    assert again.name == "Degraded"
    ((what, words),) = told
    assert what is Happening.MODEL_DEGRADED
    assert words.startswith(f"staging (SIMULATED): {here.folder(1).run_id} in staging: data: ")
    (alert,) = seen(ask, again)[1]["alerts"]
    assert (alert["alert"], alert["observations"]) == ("data", "2")
    assert alert["told now"] == "no, it was told before"
    assert name == "monitor staging"
    assert soon.name == "Too early to tell"
    assert {row["finding"]: row["health"] for row in tables["findings"]}["data"] == "fine"
    assert late.name == "Degraded"
    assert "data" in str(late.message)


def test_models_are_held_against_each_other_by_a_flow(here: World, clock: Clock, ask: Ask) -> None:
    """Every difference of challenger and champion is a row on the run's page."""
    execute(stage_candidate, run_id=here.folder(1).run_id, **WHO)
    here.deliver(date(2023, 7, 14))
    clock.now = datetime(2023, 7, 14, 12, tzinfo=UTC)
    done = execute(
        compare_models,
        candidates=[here.folder(2).run_id],
        environment=EnvironmentName.STAGING,
    )

    name, tables = seen(ask, done)
    assert name == "compare with staging"
    assert done.message == f"1 models beside {here.folder(1).run_id} on 10 sessions"
    assert [row["figure"] for row in tables["contest"]] == list(DELTAS)
    assert "no interval" in tables["contest"][-1]["difference"]
