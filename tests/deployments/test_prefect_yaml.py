"""`prefect.yaml`: every flow has a deployment that a person can start."""

import importlib
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from prefect import Flow

ROOT = Path(__file__).parents[2]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())[
    "deployments"
]
KNOWN_POOLS = {"default"}


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

    assert deployment["name"] == flow.name
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
