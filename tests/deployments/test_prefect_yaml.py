"""`prefect.yaml`: every flow has a deployment that a person can start."""

import importlib
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import yaml
from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule

from blocks.environment import UNIVERSES_FOLDER
from blocks.pools import read_pools
from sensequant.market.sessions import nse_calendar
from sensequant.market.universes import load_universe
from sensequant.settings import TrainingConfig
from sensequant.splits import split_validation
from sensequant.windows import POOLED

ROOT = Path(__file__).parents[2]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())[
    "deployments"
]
KNOWN_POOLS = {*(pool.name for pool in read_pools(0)), "gpu-{device}"}
# One flow asked in several ways.
SEVERAL = {"scheduled-retraining": "retrain-", "daily-ingestion": "ingest-"}
SCHEDULES = [
    (deployment, schedule)
    for deployment in DEPLOYMENTS
    for schedule in deployment.get("schedules", ())
]


def flow_of(deployment: dict[str, Any]) -> Flow[Any, Any]:
    module, name = deployment["entrypoint"].rsplit(".", 1)
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, Flow)
    return cast("Flow[Any, Any]", found)


def test_every_flow_has_a_deployment() -> None:
    """No flow is out of reach of the UI, and no deployment names a flow that is not there."""
    flows = {
        f"flows.{path.stem}.{name}"
        for path in (ROOT / "flows").glob("*.py")
        if path.stem != "__init__"
        for name in importlib.import_module(f"flows.{path.stem}").__all__
    }

    assert {deployment["entrypoint"] for deployment in DEPLOYMENTS} == flows


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_a_deployment_can_be_started(deployment: dict[str, Any]) -> None:
    """Its entrypoint is a dotted module path, its parameters validate, it says what it does."""
    flow = flow_of(deployment)

    # The deployments of a share are as many as there are GPUs, and have the names of their pools.
    pool = deployment["work_pool"]["name"]
    named = pool if "{device}" in pool else SEVERAL.get(flow.name, flow.name)
    assert deployment["name"].startswith(named)
    assert "/" not in deployment["entrypoint"]
    assert deployment["work_pool"]["name"] in KNOWN_POOLS
    assert len(deployment["description"]) > 20
    assert deployment["tags"]
    if deployment.get("parameters"):
        flow.validate_parameters(deployment["parameters"])


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_the_form_describes_every_field(deployment: dict[str, Any]) -> None:
    """Every setting that the UI shows carries a description, its own or that of its model."""
    schema = flow_of(deployment).parameters.model_dump()
    models: dict[str, Any] = schema["definitions"]
    fields = {"": schema["properties"]} | {
        name: model.get("properties", {}) for name, model in models.items()
    }

    def describe(field: dict[str, Any]) -> str | None:
        # A description that says the same as the model's docstring is left to the model.
        model = field.get("$ref", "").removeprefix("#/definitions/")
        return field.get("description") or models.get(model, {}).get("description")

    bare = [
        f"{model}.{name}"
        for model, properties in fields.items()
        for name, field in properties.items()
        if not describe(field)
    ]
    assert bare == []


def identify(value: Any) -> str:
    return str(value.get("slug") or value["name"])


@pytest.mark.parametrize(("deployment", "schedule"), SCHEDULES, ids=identify)
def test_a_schedule_is_off_and_in_the_time_of_the_exchange(
    deployment: dict[str, Any], schedule: dict[str, Any]
) -> None:
    """Nothing starts by itself before somebody wants it; what it asks for validates."""
    asked = deployment.get("parameters", {}) | schedule.get("parameters", {})

    assert schedule["active"] is False
    assert schedule["timezone"] == "Asia/Kolkata"
    assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    flow_of(deployment).validate_parameters(asked)


def test_each_universe_is_retrained_weekly_monthly_and_quarterly() -> None:
    """On 90 days, a year and three years; each range holds a window that was not learnt from."""
    for universe in sorted(path.stem for path in UNIVERSES_FOLDER.glob("*.yaml")):
        name = f"retrain-{universe.replace('_', '-')}"
        (deployment,) = [each for each in DEPLOYMENTS if each["name"] == name]
        days: dict[str, int] = {}
        for schedule in deployment["schedules"]:
            asked = deployment["parameters"] | schedule["parameters"]
            assert asked["recent"]["universe"] == universe
            config = TrainingConfig.model_validate(asked.get("config", {}))
            days[schedule["slug"]] = asked["recent"]["last_days"]
            assert days[schedule["slug"]] >= 2 * config.windows.window_days
            # Where a person may wait, a person decides.
            assert asked["options"] == {"decision": "await"}
            assert config.teacher.tuning.n_trials == (20 if schedule["slug"] == "quarterly" else 0)
        assert days == {"weekly": 90, "monthly": 365, "quarterly": 1095}
        assert load_universe(universe, folder=UNIVERSES_FOLDER, as_of=date(2025, 6, 2))


def test_a_whole_window_of_each_training_has_rows_enough_for_a_teacher() -> None:
    """Of one symbol or of all, as the schedule says; a training that only skips is none."""
    calendar = nse_calendar()
    for deployment, schedule in SCHEDULES:
        asked = deployment.get("parameters", {}) | schedule.get("parameters", {})
        if "recent" not in asked:
            continue
        config = TrainingConfig.model_validate(asked.get("config", {}))
        start = date(2025, 1, 6)
        end = start + timedelta(days=config.windows.window_days - 1)
        members = load_universe(asked["recent"]["universe"], folder=UNIVERSES_FOLDER, as_of=start)
        n_symbols = len(members) if config.teacher.scope == POOLED else 1
        sessions = [calendar.number_of(day) for day in calendar.sessions(start, end)]
        numbers = np.repeat(np.array(sessions), n_symbols)
        split = split_validation(
            numbers, numbers + config.labels.horizon_sessions, config.teacher.split
        )
        least = config.teacher.booster.smallest_training_part
        where = f"{deployment['name']} {schedule['slug']}: {split.train.size} rows"
        is_too_small = where.startswith("retrain-metals-etfs weekly")
        assert (split.train.size < least) is is_too_small, where
