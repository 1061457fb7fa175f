"""A run that waits for a person: asked on its page, answered in another process, or never."""

from datetime import date
from typing import Any

import pytest

from sensequant.evaluation.significance import SignificanceConfig
from sensequant.evaluation.validation import ValidationConfig
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.release.limits import GateConfig
from sensequant.release.registry_records import CandidateEvent, EventKind
from sensequant.runs import RunFolder
from sensequant.settings import DecisionMode, RunOptions, RunRequest, TrainingConfig
from sensequant.stages.release import registry_of
from sensequant.stress.scenarios import StressConfig
from sensequant.student import StudentConfig
from sensequant.teacher import TeacherConfig

pytestmark = pytest.mark.slow

# An edge that so few bars can show, and limits that they can meet.
REQUEST = RunRequest(
    start=date(2022, 1, 1),
    end=date(2023, 6, 30),
    source=SourceConfig(
        simulated=SimulatedConfig(
            n_symbols=6,
            history_start=date(2020, 12, 31),
            seed=7,
            planted_edge_bps=80,
            has_events=False,
            has_regimes=False,
            volatility_dispersion=0,
        )
    ),
)
CONFIG = TrainingConfig(
    teacher=TeacherConfig.model_validate({"booster": {"n_estimators": 20, "num_leaves": 7}}),
    student=StudentConfig(n_estimators=20, num_leaves=4),
    validation=ValidationConfig(n_bootstrap_draws=100, n_placebo=2),
    significance=SignificanceConfig(n_draws=100),
    stress=StressConfig(periods=("svb_banking_crisis_2023",)),
    gates=GateConfig(
        min_scored_sessions=1,
        min_trades=1,
        min_mean_excess_return=-1,
        min_deflated_sharpe=0.5,
        max_alpha_p_value=0.5,
        max_drawdown_frac=1,
        min_resilience=0,
    ),
)


def start(machine: Any, *, hours: float) -> str:
    options = RunOptions(decision=DecisionMode.AWAIT, decision_hours=hours, workers=2)
    return machine.start(request=REQUEST, config=CONFIG, options=options)


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


def test_suspended_run_is_answered_by_its_form_in_another_process(machine: Any) -> None:
    """Its worker is killed meanwhile; a wrong manifest is refused and asked again; no stage reruns.

    The form refuses what is not filled in, and the first decision stands.
    """
    run = start(machine, hours=24)
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
        "reject", folder.run_id, "--by", "Bo", "--reason", "no", exit_code=1
    )
    assert "decided already" in refused
    assert "approved by Ann: read it all" in refused


def test_suspended_run_ends_by_itself_when_its_time_is_over(machine: Any) -> None:
    """Nobody does anything: the run that was scheduled for that instant wakes it."""
    run = start(machine, hours=0.01)

    ended = machine.state_of(run, "Expired")

    assert ended["type"] == "COMPLETED"
    assert "rejected: expired: nobody decided by" in ended["message"]
    assert history(folder_of(machine, run))[-1].kind is EventKind.EXPIRED


def test_suspended_run_goes_on_after_a_command(machine: Any) -> None:
    """The decision counts first; the run follows."""
    run = start(machine, hours=24)
    machine.state_of(run, "Suspended")

    said = machine.sensequant(
        "reject", folder_of(machine, run).run_id, "--by", "Bo", "--reason", "too few symbols"
    )

    assert "decision: rejected by Bo: too few symbols" in said
    assert "suspended run: goes on" in said
    assert machine.state_of(run, "Rejected")["type"] == "COMPLETED"
    assert n_stages(machine, run) == 8
