"""A run that waits for a person: asked on its page, answered in another process, or never."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from sensequant.release.registry_records import CandidateEvent, EventKind
from sensequant.runs import RunFolder
from sensequant.stages.registry_place import registry_of

pytestmark = pytest.mark.machines

Start = Callable[[float], str]


@pytest.fixture
def start(machine: Any, decidable: dict[str, Any]) -> Start:
    """Return what starts a run that waits for so many hours; it returns the run's id."""

    def started(hours: float) -> str:
        deployment = machine.ask("deployments/name/historical-training/historical-training")
        parameters = copy.deepcopy(decidable)
        parameters["options"]["decision_hours"] = hours
        return machine.start(deployment["id"], parameters=parameters)

    return started


def folder_of(machine: Any, flow_run_id: str) -> RunFolder:
    (path,) = (machine.home / "runs").glob(f"*_{flow_run_id[:8]}")
    return RunFolder(machine.home, path.name)


def history(folder: RunFolder) -> list[CandidateEvent]:
    registry = registry_of(folder.home)
    events = registry.history(folder.run_id)
    registry.close()
    return events


def n_stages(machine: Any, flow_run_id: str) -> int:
    """Return how many stages ever ran for a run."""
    return machine.ask("flow_runs/count", flow_runs={"parent_flow_run_id": {"any_": [flow_run_id]}})


def answer(machine: Any, flow_run_id: str, **changes: str) -> str:
    given = {"decision": "approve", "name": "Ann", "reason": "read it all", **changes}
    return machine.ask(f"flow_runs/{flow_run_id}/resume", run_input=given)["status"]


def test_suspended_run_is_answered_by_its_form_in_another_process(
    machine: Any, start: Start
) -> None:
    """Its worker is killed meanwhile; a wrong manifest is refused and asked again; no stage reruns.

    The form refuses what is not filled in, and the first decision stands.
    """
    run = start(24)
    first = machine.state_of(run, "Suspended")
    folder = folder_of(machine, run)
    manifest = folder.manifest.read_bytes()
    (recorded,) = history(folder)
    digest = str(recorded.manifest_sha256)
    machine.kill_worker()
    machine.sensequant("up")

    assert answer(machine, run, manifest_sha256=digest, name="") == "REJECT"
    assert answer(machine, run) == "REJECT"
    assert answer(machine, run, manifest_sha256="b" * 64) == "ACCEPT"
    machine.wait(lambda: machine.ask(f"flow_runs/{run}")["state"]["id"] != first["id"])
    asked_again = machine.state_of(run, "Suspended")
    assert asked_again["state_details"]["pause_key"] != first["state_details"]["pause_key"]
    assert history(folder) == [recorded]
    assert answer(machine, run, manifest_sha256=digest) == "ACCEPT"

    ended = machine.state_of(run, "Approved")
    assert ended["type"] == "COMPLETED"
    assert ended["message"].endswith("verdict approve; approved by Ann: read it all")
    decided = history(folder)[-1]
    assert (decided.kind, decided.manifest_sha256) == (EventKind.APPROVED, digest)
    assert folder.manifest.read_bytes() == manifest
    assert n_stages(machine, run) == 8
    refused = machine.sensequant(
        "reject", folder.run_id, "--by", "Bo", "--reason", "no", check=False
    )
    assert refused.returncode == 1
    assert "decided already" in refused.stderr
    assert "approved by Ann: read it all" in refused.stderr


def test_suspended_run_ends_by_itself_when_its_time_is_over(machine: Any, start: Start) -> None:
    """Nobody does anything: the run that was scheduled for that instant wakes it."""
    run = start(0.004)

    ended = machine.state_of(run, "Expired")

    assert ended["type"] == "COMPLETED"
    assert "rejected: expired: nobody decided by" in ended["message"]
    assert history(folder_of(machine, run))[-1].kind is EventKind.EXPIRED


def test_suspended_run_goes_on_after_a_command(machine: Any, start: Start) -> None:
    """The decision counts first; the run follows."""
    run = start(24)
    machine.state_of(run, "Suspended")

    said = machine.sensequant(
        "reject", folder_of(machine, run).run_id, "--by", "Bo", "--reason", "too few symbols"
    ).stdout

    assert "decision: rejected by Bo: too few symbols" in said
    assert "suspended run: goes on" in said
    assert machine.state_of(run, "Rejected")["type"] == "COMPLETED"
    assert n_stages(machine, run) == 8
