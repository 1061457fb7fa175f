"""Facts about automations: what the data say, how names become ids, what a second deploy does."""

import uuid
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.server.events.schemas.automations import AutomationCore as ServerAutomation

from blocks.automations import PREFIX, ensure_automation, find_target, read_automations
from blocks.environment import PREFECT_FILES, server_settings
from sensequant.errors import ConfigError

TARGET = str(uuid.uuid4())
DEPLOYMENT = uuid.uuid4()


class Server:
    """Keeps automations as the server does, which gives each trigger an id."""

    def __init__(self) -> None:
        self.automations: list[Any] = []
        self.n_writes = 0
        self.deployments = {
            "tidy-runs/tidy-runs": SimpleNamespace(id=DEPLOYMENT),
            "retrain-when-ingested/retrain-when-ingested": SimpleNamespace(id=uuid.uuid4()),
        }
        self.blocks = {("slack-webhook", "ops"): SimpleNamespace(id=TARGET)}

    def read_automations_by_name(self, name: str) -> list[Any]:
        """Return those of a name."""
        return [each for each in self.automations if each.name == name]

    def create_automation(self, automation: AutomationCore) -> None:
        """Keep a new one, if the server would take it."""
        self.n_writes += 1
        ServerAutomation.model_validate(automation.model_dump(mode="json"))
        self.automations.append(Kept(id=uuid.uuid4(), **automation.model_dump()))

    def update_automation(self, automation_id: uuid.UUID, automation: AutomationCore) -> None:
        """Put another in its place."""
        self.n_writes += 1
        self.delete_automation(automation_id)
        self.automations.append(Kept(id=automation_id, **automation.model_dump()))

    def delete_automation(self, automation_id: uuid.UUID) -> None:
        """Forget one."""
        self.automations = [each for each in self.automations if each.id != automation_id]

    def read_deployment_by_name(self, name: str) -> Any:
        """Return a deployment, or raise as the client does."""
        if name not in self.deployments:
            raise ObjectNotFound(http_exc=Exception(name))
        return self.deployments[name]

    def read_block_document_by_name(self, *, name: str, block_type_slug: str) -> Any:
        """Return a block, or raise as the client does."""
        if (block_type_slug, name) not in self.blocks:
            raise ObjectNotFound(http_exc=Exception(name))
        return self.blocks[block_type_slug, name]


class Kept(AutomationCore):
    """An automation with its id."""

    id: uuid.UUID


def deploy(server: Any, target: str | None = TARGET) -> dict[str, str]:
    return {
        automation.name.removeprefix(PREFIX): ensure_automation(server, automation, target=target)
        for automation in read_automations()
    }


def trigger_of(name: str) -> EventTrigger:
    (found,) = [each for each in read_automations() if each.name == PREFIX + name]
    return EventTrigger.model_validate(found.trigger)


def test_silent_runs_crash_after_ten_heartbeats_and_no_named_state_is_forgotten() -> None:
    """Any event of a run keeps it alive, those of states that only our flows have included."""
    trigger = trigger_of("crash-silent-runs")
    heartbeat_seconds = int(server_settings()["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])

    assert trigger.posture is Posture.Proactive
    assert trigger.within.total_seconds() == 10 * heartbeat_seconds
    for state in ("heartbeat", "Completed", "Degraded", "Skipped", "Suspended", "AwaitingRetry"):
        assert any(fnmatch(f"prefect.flow-run.{state}", each) for each in trigger.expect)


def test_what_is_as_it_should_be_is_not_written_again() -> None:
    """The second deploy changes nothing."""
    server = Server()

    assert set(deploy(server).values()) == {"made"}
    n_writes = server.n_writes
    assert set(deploy(server).values()) == {"unchanged"}
    assert server.n_writes == n_writes


def test_order_of_a_set_is_no_difference() -> None:
    """The server may list a set in another order than it was told."""
    server = Server()
    deploy(server)

    class Backwards(set[str]):
        """Lists what it holds from the last to the first."""

        def __iter__(self) -> Iterator[str]:
            return iter(sorted(super().__iter__(), reverse=True))

    server.automations = [
        each.model_copy(
            update={
                "trigger": each.trigger.model_copy(
                    update={
                        name: Backwards(getattr(each.trigger, name))
                        for name in ("after", "expect", "for_each")
                    }
                )
            }
        )
        for each in server.automations
    ]
    listed = server.automations[-1].trigger.model_dump(mode="json")["expect"]

    assert listed == sorted(listed, reverse=True)
    assert len(listed) > 1
    assert set(deploy(server).values()) == {"unchanged"}


def test_what_differs_is_set_right_and_what_is_off_stays_off() -> None:
    """Somebody's switch is kept; somebody's other trigger is not, nor a second of the same name."""
    server = Server()
    deploy(server)
    first = server.automations[0]
    changed = first.model_copy(update={"description": "mine", "enabled": False})
    server.automations[0] = changed
    server.automations.append(changed.model_copy(update={"id": uuid.uuid4()}))

    done = deploy(server)

    assert [name for name, what in done.items() if what == "changed"] == ["crash-silent-runs"]
    (again,) = server.read_automations_by_name(first.name)
    assert (again.description, again.enabled) == (first.description, False)


def test_what_is_off_at_first_stays_on_once_it_is_switched_on() -> None:
    """Nothing is trained by an event before a person wants it."""
    server = Server()
    deploy(server)
    (made,) = server.read_automations_by_name(f"{PREFIX}retrain-when-ingested")
    made.enabled = True

    deploy(server)

    assert [each.name for each in read_automations() if not each.enabled] == [made.name]
    assert server.read_automations_by_name(made.name)[0].enabled


def test_nobody_is_told_without_a_block() -> None:
    """Automations that notify are left out, and taken away when the block is no longer named."""
    server = Server()
    deploy(server)

    done = deploy(server, target=None)

    assert {name for name, what in done.items() if what == "left out"} == {
        "tell-failed-run",
        "tell-event",
    }
    assert not [each for each in server.automations if "tell" in each.name]


def test_names_become_ids() -> None:
    """The server knows deployments and blocks by their ids."""
    server = Server()
    deploy(server)
    actions = {each.name.removeprefix(PREFIX): each.actions[0] for each in server.automations}

    assert actions["tidy-after-a-crash"].deployment_id == DEPLOYMENT
    assert str(actions["tell-event"].block_document_id) == TARGET


def test_deployments_of_automations_exist() -> None:
    """What an automation starts stands in prefect.yaml."""
    deployed = yaml.safe_load(PREFECT_FILES[0].read_text(encoding="utf-8"))["deployments"]
    names = {deployment["name"] for deployment in deployed}
    started = {
        action["deployment"].partition("/")[2]
        for automation in read_automations()
        for action in automation.actions
        if action["type"] == "run-deployment"
    }

    assert started
    assert started <= names


def test_what_is_missing_is_named() -> None:
    """A deployment or a block that is not there ends the deploy with what to do."""
    server: Any = Server()
    server.deployments.clear()

    with pytest.raises(ConfigError, match="tidy-runs/tidy-runs"):
        deploy(server)
    with pytest.raises(ConfigError, match="slack-webhook/other"):
        find_target(server, "slack-webhook/other")
    assert find_target(server, "slack-webhook/ops") == TARGET


@pytest.mark.parametrize(
    "text", ["", "automations: 3", "automations: [{name: a}]", "automations: ["]
)
def test_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    """The error says which file, and what it should hold."""
    path = tmp_path / "automations.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"automations\.yaml"):
        read_automations(path)
