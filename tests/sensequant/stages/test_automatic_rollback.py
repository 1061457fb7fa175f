"""Facts about the rollback that nobody asks for: off at first, confirmed, recorded, or refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sensequant.release.deployment_records import DeploymentKind, EnvironmentName
from sensequant.release.environments import read_pointer
from sensequant.release.limits import PromotionLimits
from sensequant.release.monitoring import (
    AutomaticRollback,
    MonitorLimits,
    MonitorReport,
    RollbackOutcome,
)
from sensequant.stages import monitoring
from sensequant.stages.automatic_rollback import roll_back_if_confirmed
from sensequant.stages.monitoring import monitor
from sensequant.stages.moving import Order, history_of
from sensequant.stages.promotion import stage_candidate
from sensequant.stages.shadow import judge_rows
from sensequant.storage import read_json
from sensequant.student_file import Student, read_student
from tests.sensequant.stages.test_monitoring import LATER, upside_down

STAGING = EnvironmentName.STAGING
MONDAY = datetime(2023, 10, 30, 12, tzinfo=UTC)
World = Any
"""The home that the fixture `world` makes (`tests/conftest.py`)."""


def load(path: Any, sha256: str) -> Student:
    return read_student(path, sha256=sha256)


def order(at: datetime) -> Order:
    return Order(
        actor="bo", reason="because", clock=lambda: at, limits=PromotionLimits(), load=load
    )


def looked(world: World, at: datetime, **rollback: Any) -> MonitorReport:
    limits = MonitorLimits.model_validate({"rollback": {"is_on": True, **rollback}})
    return monitor(world.home, STAGING, limits, at=at, load=load)


def standing(world: World) -> str:
    pointer = read_pointer(world.home, STAGING)
    assert pointer is not None
    return pointer.run_id


@pytest.fixture
def degraded(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a home in whose staging model 2 took the place of 1, and speaks upside down since."""
    for number in (1, 2):
        stage_candidate(world.folder(number), order(world.AT + timedelta(minutes=number)))
    world.deliver(datetime(2023, 11, 3, tzinfo=UTC).date())
    monkeypatch.setattr(monitoring, "judge_rows", upside_down)
    return world


def test_former_model_comes_back_once_it_is_confirmed(degraded: World) -> None:
    """Two observations over two sessions; the history names who, why, and the figures."""
    first = looked(degraded, MONDAY, confirmation_hours=12.5)
    soon = looked(degraded, LATER, confirmation_hours=12.5)
    assert standing(degraded) == degraded.folder(2).run_id
    done = looked(degraded, LATER + timedelta(days=1), confirmation_hours=12.5)

    assert [each.rollback.outcome for each in (first, soon, done) if each.rollback] == [
        RollbackOutcome.NOT_DUE,
        RollbackOutcome.NOT_DUE,
        RollbackOutcome.DONE,
    ]
    assert soon.rollback is not None
    assert "not confirmed over 12.5 session hours: scores 6.25 hours in 2" in soon.rollback.words
    assert standing(degraded) == degraded.folder(1).run_id
    last = history_of(degraded.home)[-1]
    assert (last.kind, last.actor) == (DeploymentKind.ROLLBACK, "automatic")
    assert done.since is not None
    assert f"{done.since.auc.value:.3f} [{done.since.auc.lower:.3f}" in last.reason
    assert done.rollback is not None
    assert done.rollback.deployment == last.number
    stored = degraded.home / "monitoring" / "staging" / "20231101T120000Z.json"
    assert MonitorReport.model_validate(read_json(stored)) == done


def test_it_is_off_unless_somebody_switches_it_on(degraded: World) -> None:
    """The default looks, tells and moves nothing."""
    for days in (0, 1, 2):
        at = MONDAY + timedelta(days=days)
        report = monitor(degraded.home, STAGING, MonitorLimits(), at=at, load=load)
        assert report.rollback is None

    assert standing(degraded) == degraded.folder(2).run_id


def test_what_heals_in_between_is_not_confirmed(
    degraded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One observation that does not find it begins the time of confirmation anew."""
    looked(degraded, MONDAY, confirmation_hours=6)
    monkeypatch.setattr(monitoring, "judge_rows", judge_rows)
    fine = looked(degraded, LATER, confirmation_hours=6)
    monkeypatch.setattr(monitoring, "judge_rows", upside_down)
    again = looked(degraded, LATER + timedelta(days=1), confirmation_hours=6)

    assert fine.rollback is not None
    assert fine.rollback.words == "none of scores is degraded"
    assert again.rollback is not None
    assert again.rollback.outcome is RollbackOutcome.NOT_DUE
    assert standing(degraded) == degraded.folder(2).run_id


def test_only_named_findings_put_a_model_back(degraded: World) -> None:
    """Scores are upside down, but expiry alone was named."""
    for days in (0, 1, 2):
        at = MONDAY + timedelta(days=days)
        report = looked(degraded, at, confirmation_hours=0, findings=["feature_schema"])

    assert report.rollback is not None
    assert report.rollback.outcome is RollbackOutcome.NOT_DUE
    assert standing(degraded) == degraded.folder(2).run_id


def test_without_a_former_model_nothing_moves_and_it_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first model of an environment stays, however bad it is."""
    stage_candidate(world.folder(1), order(world.AT))
    world.deliver(datetime(2023, 11, 3, tzinfo=UTC).date())
    monkeypatch.setattr(monitoring, "judge_rows", upside_down)
    looked(world, MONDAY, confirmation_hours=6)
    report = looked(world, LATER, confirmation_hours=6)

    assert report.rollback is not None
    assert report.rollback.outcome is RollbackOutcome.NO_FORMER
    assert "no model stood in staging before this one; scores" in report.rollback.words
    assert len(history_of(world.home)) == 1


def test_refused_rollback_is_recorded_and_moves_nothing(degraded: World) -> None:
    """Another model stands there by now, or the former one is not what its name says."""
    looked(degraded, MONDAY, confirmation_hours=6)
    found = monitor(degraded.home, STAGING, MonitorLimits(), at=LATER, load=load)
    settings = AutomaticRollback(is_on=True, confirmation_hours=6)
    other = found.model_copy(update={"model_sha256": "0" * 64})
    moved = roll_back_if_confirmed(degraded.home, other, settings, load=load)
    alter(degraded)
    altered = roll_back_if_confirmed(degraded.home, found, settings, load=load)

    assert moved is not None
    assert altered is not None
    assert moved.outcome is altered.outcome is RollbackOutcome.REFUSED
    assert "another model stands there by now" in moved.words
    assert "model_folder" in altered.words
    assert standing(degraded) == degraded.folder(2).run_id


def alter(world: World) -> None:
    former = history_of(world.home)[0].model_sha256
    path = world.home / "models" / former / "candidate" / "universe.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"score", b"scare", 1))
