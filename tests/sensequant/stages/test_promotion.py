"""Facts about promotion: the way of a candidate to production and back, and every refusal."""

import shutil
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sensequant.errors import (
    ConfigError,
    MissingBarsError,
    NotReadyError,
    RegistryError,
    SenseQuantError,
)
from sensequant.release.deployment_records import (
    Check,
    Deployment,
    DeploymentKind,
    EnvironmentName,
)
from sensequant.release.environments import pointer_path, read_pointer
from sensequant.release.gates import Decision
from sensequant.release.limits import PromotionLimits
from sensequant.release.manifest import CandidateStatus
from sensequant.release.models import models_folder, open_model
from sensequant.release.signature import public_key_of, sign_manifest
from sensequant.stages.decision import candidates_below
from sensequant.stages.moving import Order, environments_of, history_of
from sensequant.stages.promotion import (
    look_at,
    promote_candidate,
    rollback_environment,
    stage_candidate,
)
from sensequant.stages.readiness import load_safely
from sensequant.stages.registry_place import registry_of
from sensequant.stages.scoring import ScoringRequest, score_deployed
from sensequant.storage import sha256_of
from sensequant.student_file import read_student
from sensequant.student_record import sealed, student_text

STAGING, PRODUCTION = EnvironmentName
LATER = datetime(2023, 7, 14, 12, tzinfo=UTC)
"""Ten sessions after the first delivery: more than 48 session hours."""


World = Any
"""The home that the fixture `world` makes (`tests/conftest.py`)."""


def order(at: datetime, *, load: Any = None, **limits: Any) -> Order:
    """Return an order at an instant; students load in this process unless told otherwise."""
    return Order(
        actor="bo",
        reason="because",
        clock=lambda: at,
        limits=PromotionLimits.model_validate(limits),
        load=load or (lambda path, sha256: read_student(path, sha256=sha256)),
    )


def everything(world: World) -> dict[str, Any]:
    """Return all that a refusal may not change."""
    with closing(registry_of(world.home)) as registry:
        runs = [each.run_id for each in registry.get_candidate_runs()]
        return {
            "candidates": registry.get_candidate_runs(),
            "events": [registry.history(run_id) for run_id in runs],
            "deployments": registry.deployments.history(),
            "pointers": [read_pointer(world.home, name) for name in EnvironmentName],
            "models": sorted(models_folder(world.home).rglob("*")),
        }


def status_of(world: World, number: int) -> CandidateStatus:
    with closing(registry_of(world.home)) as registry:
        return registry.get_candidate_run(world.folder(number).run_id).status


def staged(world: World, number: int = 1, at: datetime | None = None) -> Deployment:
    return stage_candidate(world.folder(number), order(at or world.AT))


def promoted(world: World, number: int = 1, at: datetime = LATER) -> Deployment:
    world.deliver(at.date())
    return promote_candidate(world.folder(number), order(at))


def failures(error: NotReadyError) -> dict[str, Check]:
    return {check.name: check for check in error.readiness.failures}


def test_candidate_goes_to_production_by_way_of_staging(world: World) -> None:
    """Each step moves one pointer, says why in the history, and keeps every check that was made."""
    first = staged(world)
    assert status_of(world, 1) is CandidateStatus.STAGING
    assert read_pointer(world.home, PRODUCTION) is None

    second = promoted(world)

    pointer = read_pointer(world.home, PRODUCTION)
    assert pointer is not None
    assert (pointer.number, pointer.model_sha256) == (second.number, first.model_sha256)
    assert status_of(world, 1) is CandidateStatus.PRODUCTION
    assert [check.name for check in second.readiness.checks] == [
        "clock",
        "state",
        "gates",
        "manifest",
        "approval",
        "approval_age",
        "artifacts",
        "signature",
        "feature_schema",
        "model",
        "expiry",
        "data",
        "disk",
        "staged",
        "staging_hours",
        "shadow",
    ]
    assert history_of(world.home) == [first, second]
    assert (second.actor, second.reason, second.is_simulated) == ("bo", "because", True)
    assert all(state.problem is None for state in environments_of(world.home))


def test_environment_needs_no_file_of_the_run(world: World) -> None:
    """The model that is served is the candidate, and still there when its run is tidied away."""
    staged(world)
    expected = read_student(world.folder(1).candidate / "universe.json")
    shutil.rmtree(world.folder(1).root)

    scored = score_deployed(world.home, STAGING, ScoringRequest())

    assert scored.is_audited
    assert scored.is_simulated
    assert scored.rows["session"].unique().to_list() == [date(2023, 6, 30)]
    assert scored.rows["score"].count() == 3
    (model,) = [open_model(world.home, path.name) for path in models_folder(world.home).glob("*")]
    assert read_student(model.students["universe"][0]).to_text() == expected.to_text()


@pytest.mark.parametrize(
    "asked",
    [
        ScoringRequest(start=date(2029, 1, 1)),
        # A Saturday and a Sunday.
        ScoringRequest(start=date(2023, 6, 24), end=date(2023, 6, 25)),
    ],
    ids=["beyond the bars", "between sessions"],
)
def test_period_without_bars_is_refused(world: World, asked: ScoringRequest) -> None:
    """No scores of nothing; the message says which sessions are stored."""
    staged(world)

    with pytest.raises(MissingBarsError, match=r"period has no final bars.*to 2023-06-30"):
        score_deployed(world.home, STAGING, asked)


def test_nothing_is_served_where_nothing_is_deployed(world: World) -> None:
    """The error says where it looked."""
    with pytest.raises(ConfigError, match="nothing is deployed"):
        score_deployed(world.home, PRODUCTION, ScoringRequest())


def altered(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


ARTIFACTS = (
    "config.json",
    "candidate/universe.json",
    "audit/gates.json",
    "predictions.parquet",
    "SHA256SUMS",
    "manifest.yaml",
)


@pytest.mark.parametrize("kind", [DeploymentKind.STAGE, DeploymentKind.PROMOTE])
@pytest.mark.parametrize("name", ARTIFACTS)
def test_one_altered_byte_is_refused(world: World, name: str, kind: DeploymentKind) -> None:
    """Of any file of the run, before staging and again before production."""
    act, at = stage_candidate, world.AT
    if kind is DeploymentKind.PROMOTE:
        staged(world)
        world.deliver(LATER.date())
        act, at = promote_candidate, LATER
    altered(world.folder(1).root / name)
    before = everything(world)

    with pytest.raises(NotReadyError, match=r"differ|is not|cannot be read|manifest") as told:
        act(world.folder(1), order(at))

    assert failures(told.value).keys() & {"artifacts", "manifest", "approval"}
    assert everything(world) == before


@pytest.mark.parametrize("kind", [DeploymentKind.PROMOTE, DeploymentKind.ROLLBACK])
def test_one_altered_byte_of_a_deployed_model_is_refused(
    world: World, kind: DeploymentKind
) -> None:
    """Nobody promotes it, nobody rolls back to it, and the list of environments says so."""
    first = staged(world)
    world.deliver(LATER.date())
    if kind is DeploymentKind.ROLLBACK:
        staged(world, 2, at=world.AT)
    path = models_folder(world.home) / first.model_sha256 / "candidate" / "universe.json"
    path.chmod(0o600)
    altered(path)
    before = everything(world)

    def act() -> Deployment:
        if kind is DeploymentKind.PROMOTE:
            return promote_candidate(world.folder(1), order(LATER))
        return rollback_environment(world.home, STAGING, order(LATER))

    with pytest.raises(NotReadyError, match=r"universe\.json is altered"):
        act()

    assert everything(world) == before
    if kind is DeploymentKind.PROMOTE:
        problems = [state.problem for state in environments_of(world.home)]
        assert "universe.json is altered" in str(problems[0])


def test_manifest_of_another_run_is_refused(world: World) -> None:
    """With its files, so that every digest in it is right."""
    shutil.rmtree(world.folder(1).root)
    shutil.copytree(world.folder(2).root, world.folder(1).root)
    before = everything(world)

    with pytest.raises(NotReadyError) as told:
        staged(world)

    assert set(failures(told.value)) == {"manifest", "approval"}
    assert world.folder(2).run_id in failures(told.value)["manifest"].found
    assert everything(world) == before


def test_approval_of_another_digest_is_refused(world: World) -> None:
    """The run was judged again since; nobody has approved what there is now."""
    approved = sha256_of(world.folder(1).manifest)
    (world.folder(1).predictions).write_bytes(b"other scores")
    world.judge(world.folder(1))
    before = everything(world)

    with pytest.raises(NotReadyError) as told:
        staged(world)

    found = failures(told.value)
    assert set(found) == {"state", "approval", "approval_age"}
    assert (found["state"].expected, found["state"].found) == (
        "approved or retired",
        "ready-for-review",
    )
    assert approved not in found["approval"].expected
    assert everything(world) == before


def test_approval_that_the_folder_has_outlived_is_refused(world: World) -> None:
    """The folder was audited again, and nobody told the registry: digests are right, not agreed."""
    folder = world.folder(1)
    approved = sha256_of(folder.manifest)
    folder.predictions.write_bytes(b"other scores")
    with closing(registry_of(world.home)) as registry:
        candidate = registry.get_candidate_run(folder.run_id)
    shutil.copy(world.home / "registry.db", world.home / "kept.db")
    world.judge(folder)
    shutil.move(world.home / "kept.db", world.home / "registry.db")
    for name in ("registry.db-wal", "registry.db-shm"):
        (world.home / name).unlink(missing_ok=True)
    assert candidate.manifest_sha256 == approved != sha256_of(folder.manifest)

    with pytest.raises(NotReadyError) as told:
        staged(world)

    assert set(failures(told.value)) == {"manifest", "approval"}
    assert approved in failures(told.value)["approval"].found


@pytest.mark.parametrize("hours", [719.9, 720.1])
def test_approval_expires(world: World, hours: float) -> None:
    """It holds for thirty days by default."""
    at = world.AT + timedelta(hours=hours)
    world.deliver(at.date())
    before = everything(world)
    if hours < 720:
        assert staged(world, at=at).outcome == "completed"
        return

    with pytest.raises(NotReadyError) as told:
        staged(world, at=at)

    assert set(failures(told.value)) == {"approval_age"}
    assert "at most 720 hours ago" in failures(told.value)["approval_age"].expected
    assert everything(world) == before


def test_candidate_that_nobody_decided_on_in_time_is_refused(world: World) -> None:
    """It is rejected as expired, and the check quotes that."""
    folder = world.train(3)
    world.judge(folder)
    with closing(registry_of(world.home)) as registry:
        candidate = registry.get_candidate_run(folder.run_id)
        registry.reject_candidate_run(
            folder.run_id,
            manifest_sha256=str(candidate.manifest_sha256),
            actor="the clock",
            reason="too late",
            at=world.AT,
        )

    with pytest.raises(NotReadyError) as told:
        staged(world, 3)

    assert {"state", "approval"} <= set(failures(told.value))
    assert "too late" in failures(told.value)["approval"].found


@pytest.mark.parametrize("decision", [Decision.REJECT, Decision.NOT_ENOUGH_EVIDENCE])
def test_candidate_with_a_failed_gate_is_refused(world: World, decision: Decision) -> None:
    """Nobody can have approved it, and the verdict is named."""
    folder = world.train(3)
    world.judge(folder, decision)
    before = everything(world)

    with pytest.raises(NotReadyError) as told:
        staged(world, 3)

    found = failures(told.value)
    assert set(found) == {"state", "gates", "approval", "approval_age"}
    assert found["gates"].found == f"{decision}: A gate fails."
    assert everything(world) == before


def test_unknown_run_is_refused(world: World) -> None:
    """It is not in the registry."""
    before = everything(world)
    for act in (stage_candidate, promote_candidate):
        with pytest.raises(RegistryError, match="not in the registry"):
            act(world.folder(9), order(world.AT))
    assert everything(world) == before


def test_wrong_state_is_refused(world: World) -> None:
    """Production without staging, staging twice, and rolling back what stands alone."""
    before = everything(world)
    with pytest.raises(NotReadyError) as told:
        promote_candidate(world.folder(1), order(world.AT))
    assert {"state", "staged", "staging_hours", "shadow"} <= set(failures(told.value))
    for name in EnvironmentName:
        with pytest.raises(RegistryError, match="nothing to roll back to"):
            rollback_environment(world.home, name, order(world.AT))
    assert everything(world) == before

    staged(world)
    before = everything(world)
    with pytest.raises(NotReadyError) as told:
        staged(world)
    assert failures(told.value)["state"].found == "staging"
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        rollback_environment(world.home, STAGING, order(world.AT))
    assert everything(world) == before


def test_model_of_another_feature_schema_is_refused(world: World) -> None:
    """Sound in every digest, but with a column that this code does not build."""
    folder = world.folder(3)
    world.train(3)
    path = folder.candidate / "universe.json"
    file = read_student(path).file
    columns = (*file.columns[:-1], "moon_phase")
    path.write_text(student_text(sealed(file.model_copy(update={"columns": columns}))))
    world.judge(folder)
    world.approve(folder)
    before = everything(world)

    with pytest.raises(NotReadyError) as told:
        staged(world, 3)

    found = failures(told.value)
    assert set(found) == {"feature_schema"}
    assert "missing ['moon_phase']" in found["feature_schema"].found
    assert everything(world) == before


def test_model_that_scores_otherwise_than_it_did_is_refused(world: World) -> None:
    """In a process of its own: what it recorded of itself is not what it says."""
    folder = world.folder(3)
    world.train(3)
    path = folder.candidate / "universe.json"
    file = read_student(path).file
    scores = (file.sample.scores[0] + 1e-6, *file.sample.scores[1:])
    sample = file.sample.model_copy(update={"scores": scores})
    path.write_text(student_text(sealed(file.model_copy(update={"sample": sample}))))
    world.judge(folder)
    world.approve(folder)
    before = everything(world)

    with pytest.raises(NotReadyError) as told:
        stage_candidate(folder, order(world.AT, load=load_safely))

    assert set(failures(told.value)) == {"model"}
    assert "did not load in a process of its own" in failures(told.value)["model"].found
    assert everything(world) == before


@pytest.mark.parametrize(
    ("limits", "at", "name"),
    [
        ({"min_free_mib": 1_048_576}, LATER, "disk"),
        ({"max_sessions_behind": 0}, LATER + timedelta(days=4), "data"),
        ({"staging_hours": 62.6}, LATER, "staging_hours"),
        ({"require_signature": True}, LATER, "signature"),
        ({}, datetime(2023, 6, 29, 12, tzinfo=UTC), "clock"),
    ],
    ids=["disk", "stale data", "too early", "unsigned", "clock went backwards"],
)
def test_each_limit_is_kept(world: World, limits: dict[str, Any], at: datetime, name: str) -> None:
    """What is found stands beside what was expected; the history does not go back in time."""
    staged(world)
    world.deliver(LATER.date())
    before = everything(world)

    with pytest.raises(NotReadyError) as told:
        promote_candidate(world.folder(1), order(at, **limits))

    assert name in failures(told.value)
    if name != "clock":
        assert set(failures(told.value)) == {name}
    assert everything(world) == before


def test_student_that_may_not_speak_any_more_is_refused(world: World) -> None:
    """Half a year after what it learnt."""
    at = datetime(2024, 1, 5, 12, tzinfo=UTC)
    world.deliver(at.date())

    with pytest.raises(NotReadyError) as told:
        stage_candidate(world.folder(1), order(at, approval_hours=8760))

    assert set(failures(told.value)) == {"expiry"}


def test_hours_in_staging_are_those_of_sessions(world: World) -> None:
    """A weekend and a holiday count for nothing: eight sessions are needed, not two days."""
    staged(world)
    world.deliver(LATER.date())
    # 3 July to 12 July 2023 are eight sessions of 6.25 hours.
    early = datetime(2023, 7, 12, 7, 44, tzinfo=UTC)

    with pytest.raises(NotReadyError) as told:
        promote_candidate(world.folder(1), order(early))
    assert failures(told.value)["staging_hours"].found.startswith("47.73 since 2023-06-30 12:00")
    assert promote_candidate(world.folder(1), order(early + timedelta(minutes=17))).number == 2


@pytest.mark.parametrize("trusted", ["nobody", "signer", "another"])
def test_signature_is_verified_where_there_is_one(world: World, trusted: str) -> None:
    """A key that is not among the trusted ones is refused; with none named, anyone's will do."""
    key = SecretStr("11" * 32)
    signature = sign_manifest(world.folder(1), key)
    keys = {"nobody": (), "signer": (public_key_of(key),), "another": ("22" * 32,)}[trusted]
    asked = Order(
        actor="bo",
        reason="so",
        clock=lambda: world.AT,
        limits=PromotionLimits(require_signature=True),
        trusted_keys=keys,
        load=lambda path, sha256: read_student(path, sha256=sha256),
    )
    if trusted == "another":
        with pytest.raises(NotReadyError, match="not among the trusted ones"):
            stage_candidate(world.folder(1), asked)
        return

    done = stage_candidate(world.folder(1), asked)

    (check,) = [check for check in done.readiness.checks if check.name == "signature"]
    assert signature.public_key in check.found
    assert "manifest.sig" in {path.name for path in models_folder(world.home).rglob("*")}


def test_signature_of_another_manifest_is_refused(world: World) -> None:
    """Its bytes are whole, and it is about something else."""
    sign_manifest(world.folder(2), SecretStr("11" * 32))
    shutil.copy(world.folder(2).signature, world.folder(1).signature)

    with pytest.raises(NotReadyError) as told:
        staged(world)

    assert set(failures(told.value)) == {"signature"}
    assert "not one of this manifest" in failures(told.value)["signature"].found


def test_looking_moves_nothing(world: World) -> None:
    """Every check is there, passed or not."""
    before = everything(world)

    found = look_at(world.folder(1), DeploymentKind.STAGE, order(world.AT))
    other = look_at(world.folder(1), DeploymentKind.PROMOTE, order(world.AT))

    assert found.failures == []
    assert {check.name for check in other.failures} == {
        "state",
        "feature_schema",
        "model",
        "expiry",
        "staged",
        "staging_hours",
        "shadow",
    }
    assert everything(world) == before


def test_rollback_restores_what_stood_there_before(world: World) -> None:
    """Not the last backup, not the one before the last rollback: the model that it replaced."""
    request = ScoringRequest(start=LATER.date(), end=LATER.date())
    staged(world, 1)
    promoted(world, 1)
    expected = score_deployed(world.home, PRODUCTION, request).rows
    staged(world, 2, at=LATER)
    much_later = LATER + timedelta(days=12)
    promoted(world, 2, at=much_later)
    assert status_of(world, 1) is CandidateStatus.RETIRED

    done = rollback_environment(world.home, PRODUCTION, order(much_later))

    assert (done.run_id, done.restores, done.former) == (world.folder(1).run_id, 2, None)
    assert status_of(world, 1) is CandidateStatus.PRODUCTION
    # It still stands in staging.
    assert status_of(world, 2) is CandidateStatus.STAGING
    assert score_deployed(world.home, PRODUCTION, request).rows.equals(expected)
    assert not score_deployed(world.home, STAGING, request).rows.equals(expected)
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        rollback_environment(world.home, PRODUCTION, order(much_later))
    assert all(state.problem is None for state in environments_of(world.home))


def test_rollback_asks_neither_approval_nor_run(world: World) -> None:
    """It is for the day on which something is wrong: the folder of the model is enough."""
    staged(world, 1)
    staged(world, 2)
    shutil.rmtree(world.home / "runs")
    at = datetime(2024, 3, 1, tzinfo=UTC)

    done = rollback_environment(world.home, STAGING, order(at))

    assert done.run_id == world.folder(1).run_id
    assert {check.name for check in done.readiness.checks} == {
        "clock",
        "model_folder",
        "feature_schema",
        "model",
    }


def test_what_was_rolled_back_can_be_staged_again(world: World) -> None:
    """A person may come back to it; its approval must still hold."""
    staged(world, 1)
    staged(world, 2)
    rollback_environment(world.home, STAGING, order(world.AT))
    assert status_of(world, 2) is CandidateStatus.RETIRED

    again = staged(world, 2)

    assert again.former == 3
    assert status_of(world, 2) is CandidateStatus.STAGING
    assert rollback_environment(world.home, STAGING, order(world.AT)).restores == 3


def test_history_of_a_candidate_tells_its_deployments(world: World) -> None:
    """With who, why, which environment, and from which state to which; the decision stands."""
    staged(world, 1)
    promoted(world, 1)
    staged(world, 2, at=LATER)
    with closing(registry_of(world.home)) as registry:
        events = registry.history(world.folder(1).run_id)
        decided = registry.decision_on(world.folder(1).run_id)

    assert [(event.kind.value, event.to_status.value) for event in events] == [
        ("recorded", "ready-for-review"),
        ("approved", "approved"),
        ("staged", "staging"),
        ("promoted", "production"),
        ("withdrawn", "production"),
    ]
    assert decided == events[1]
    assert "took its place in staging" in events[-1].reason
    (review,) = [
        each
        for each in candidates_below(world.home, at=LATER)
        if each.candidate.run_id == world.folder(1).run_id
    ]
    assert not review.is_open


def test_judging_again_what_was_deployed_is_refused(world: World) -> None:
    """A model in an environment keeps the manifest by which it came there."""
    staged(world)
    world.folder(1).predictions.write_bytes(b"other scores")

    with pytest.raises(RegistryError, match="keeps its manifest"):
        world.judge(world.folder(1))


@pytest.mark.parametrize("damage", ["gone", "garbage", "another"])
def test_pointer_that_contradicts_the_registry_stops_everything(world: World, damage: str) -> None:
    """Neither is believed; the message says what each of them tells."""
    staged(world, 1)
    staged(world, 2)
    path = pointer_path(world.home, STAGING)
    if damage == "gone":
        path.unlink()
    elif damage == "garbage":
        path.write_text("{")
    else:
        path.write_text(path.read_text().replace('"number": 2', '"number": 1'))

    with pytest.raises(SenseQuantError, match=r"contradict each other|cannot be read"):
        rollback_environment(world.home, STAGING, order(world.AT))
    assert environments_of(world.home)[0].problem is not None


def test_disk_that_is_full_leaves_all_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The intention is abandoned at once, and says so."""

    def refuse(*_: object) -> None:
        raise SenseQuantError("disk is full")

    monkeypatch.setattr("sensequant.release.models.write_folder", refuse)
    with pytest.raises(SenseQuantError, match="disk is full"):
        staged(world)

    (left,) = history_of(world.home)
    assert (left.outcome, left.note) == (
        "abandoned",
        "interrupted before the pointer moved; nothing has changed",
    )
    assert status_of(world, 1) is CandidateStatus.APPROVED
    monkeypatch.undo()
    assert staged(world).number == 2
