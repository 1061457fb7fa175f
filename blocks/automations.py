"""Automations of the Prefect server: read from data, made, and set right where they differ.

Belongs here: `deployments/automations.yaml` and the server's automations. Does not belong here: the
events that start them (`tasks.events`, Prefect's own).

The data name deployments and notification blocks; the server knows them by id, so names are looked
up when an automation is made.
"""

from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from pydantic import Field, ValidationError

from blocks.environment import AUTOMATIONS_FILE
from sensequant.errors import ConfigError
from sensequant.records import Config

__all__ = ["PREFIX", "Automation", "ensure_automation", "find_target", "read_automations"]

PREFIX = "sensequant-"
"""How names of our automations begin; others are not touched."""

_SETS = {"after", "expect", "for_each"}
_NOTIFY = "notify"
_RUN_DEPLOYMENT = "run-deployment"


class Automation(Config):
    """One automation as it should be on the server, with names where the server has ids."""

    name: str = Field(pattern=rf"^{PREFIX}[a-z-]+$", description="Name of the automation.")
    description: str = Field(description="What it is for.")
    trigger: dict[str, Any] = Field(description="What it waits for.")
    actions: tuple[dict[str, Any], ...] = Field(min_length=1, description="What it then does.")
    enabled: bool = Field(
        default=True, description="Whether it is on when it is made; then a person's switch counts."
    )

    @property
    def notifies(self) -> bool:
        """Whether it tells somebody, so that it needs a block that says whom."""
        return any(action["type"] == _NOTIFY for action in self.actions)


def read_automations(path: Path = AUTOMATIONS_FILE) -> tuple[Automation, ...]:
    """Return every automation of the data.

    Raises
    ------
    ConfigError
        The file cannot be read or is no list of automations.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["automations"]
        return tuple(Automation.model_validate(entry) for entry in entries)
    except (OSError, yaml.YAMLError, ValidationError, TypeError, KeyError) as error:
        raise ConfigError(
            "automations cannot be read",
            where=str(path),
            expected="automations, each with name, description, trigger, actions",
            found=" ".join(str(error).split()),
            remedy="correct the file, or install sensequant again",
        ) from error


def find_target(client: SyncPrefectClient, block: str) -> str:
    """Return the id of the block that is to be told, named as type/name.

    Raises
    ------
    ConfigError
        There is no such block on the server.
    """
    block_type, _, name = block.partition("/")
    try:
        document = client.read_block_document_by_name(name=name, block_type_slug=block_type)
    except ObjectNotFound as error:
        raise ConfigError(
            "block to notify is missing",
            where=f"SENSEQUANT_NOTIFY or --notify: {block}",
            expected="a block of this type and name on the server",
            found="none",
            remedy="make it on the page Blocks of Prefect's UI, then deploy again",
        ) from error
    return str(document.id)


def ensure_automation(
    client: SyncPrefectClient, automation: Automation, *, target: str | None
) -> str:
    """Make an automation, or set it right where it differs; one that is switched off stays off.

    Parameters
    ----------
    client
        The server.
    automation
        What should be there.
    target
        Id of the block to notify; without it, an automation that notifies is taken away.

    Returns
    -------
    str
        `made`, `changed`, `unchanged`, or `left out` where nobody is to be notified.

    Raises
    ------
    ConfigError
        It starts a deployment that is not there.
    """
    found = client.read_automations_by_name(automation.name)
    if automation.notifies and target is None:
        for one in found:
            client.delete_automation(one.id)
        return "left out"
    actions = [_with_ids(client, action, target) for action in automation.actions]
    wanted = AutomationCore.model_validate(automation.model_dump() | {"actions": actions})
    if not found:
        client.create_automation(wanted)
        return "made"
    first, *more = found
    for one in more:
        client.delete_automation(one.id)
    wanted = wanted.model_copy(update={"enabled": first.enabled})
    if _content(first) == _content(wanted):
        return "unchanged"
    client.update_automation(first.id, wanted)
    return "changed"


def _with_ids(
    client: SyncPrefectClient, action: dict[str, Any], target: str | None
) -> dict[str, Any]:
    if action["type"] == _NOTIFY:
        return action | {"type": "send-notification", "block_document_id": target}
    if action["type"] == _RUN_DEPLOYMENT:
        name = action["deployment"]
        try:
            deployment = client.read_deployment_by_name(name)
        except ObjectNotFound as error:
            raise ConfigError(
                "automation starts a deployment that is missing",
                where=str(AUTOMATIONS_FILE),
                expected=f"the deployment {name}",
                found="none of this name",
                remedy="add it to prefect.yaml, or correct its name",
            ) from error
        rest = {key: value for key, value in action.items() if key != "deployment"}
        return rest | {"source": "selected", "deployment_id": str(deployment.id)}
    return action


def _content(automation: AutomationCore) -> dict[str, Any]:
    content = automation.model_dump(mode="json", include={"description", "trigger", "actions"})
    # The server gives a trigger an id of its own at each change.
    content["trigger"].pop("id", None)
    # They are sets, so their order says nothing; the server lists them in one of its own.
    for name in _SETS & content["trigger"].keys():
        content["trigger"][name] = sorted(content["trigger"][name])
    return content
