"""Facts about deployments in the registry: order, states that follow, and what databases refuse."""

import multiprocessing
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from sensequant.errors import ConfigError, RegistryError
from sensequant.release.deployment_records import (
    Deployment,
    DeploymentKind,
    DeploymentOutcome,
    EnvironmentName,
    Intent,
    Readiness,
)
from sensequant.release.gates import Decision
from sensequant.release.manifest import CandidateStatus
from sensequant.release.registry import Registry
from sensequant.release.registry_records import RunResult

Send = Callable[[str, str], list[tuple[object, ...]]]

STAGING, PRODUCTION = EnvironmentName
STAGE, PROMOTE, ROLLBACK = DeploymentKind
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def run_id(number: int) -> str:
    return f"live_candidate_20260102_030405_{number:08x}"


def digest(number: int) -> str:
    return f"{number:x}" * 64


def record(registry: Registry, number: int, *, manifest: int | None = None) -> None:
    result = RunResult(
        run_id=run_id(number),
        decision=Decision.APPROVE,
        reason="ok",
        manifest_sha256=digest(manifest or number),
        evidence_digest="e" * 64,
        is_simulated=True,
    )
    registry.record_candidate_run(result, actor="flow", at=AT)


def approve(registry: Registry, number: int) -> None:
    registry.approve_candidate_run(
        run_id(number), manifest_sha256=digest(number), actor="ann", reason="good", at=AT
    )


def intent(
    kind: DeploymentKind, number: int, environment: EnvironmentName, **changes: Any
) -> Intent:
    readiness = Readiness(
        run_id=run_id(number), kind=kind, environment=environment, at=AT, checks=()
    )
    fields: dict[str, Any] = {
        "kind": kind,
        "environment": environment,
        "run_id": run_id(number),
        "model_sha256": digest(number),
        "manifest_sha256": digest(number),
        "is_simulated": True,
        "actor": "bo",
        "reason": "because",
        "readiness": readiness,
    }
    return Intent.model_validate(fields | changes)


def deploy(
    registry: Registry, kind: DeploymentKind, number: int, environment: EnvironmentName
) -> Deployment:
    begun = registry.deployments.begin(intent(kind, number, environment), at=AT)
    return registry.deployments.complete(begun.number, actor="bo", at=AT)


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    """Return a registry with three approved candidates and one that waits."""
    opened = Registry(url)
    for number in (1, 2, 3, 4):
        record(opened, number)
    for number in (1, 2, 3):
        approve(opened, number)
    yield opened
    opened.close()


def states(registry: Registry) -> list[str]:
    return [registry.get_candidate_run(run_id(number)).status.value for number in (1, 2, 3)]


def test_states_follow_from_what_stands_where(registry: Registry) -> None:
    """Production before staging before retired; who was never deployed stays approved."""
    seen: list[list[str]] = []
    for kind, number, environment in (
        (STAGE, 1, STAGING),
        (PROMOTE, 1, PRODUCTION),
        (STAGE, 2, STAGING),
        (PROMOTE, 2, PRODUCTION),
        (STAGE, 3, STAGING),
        (ROLLBACK, 1, PRODUCTION),
        (ROLLBACK, 2, STAGING),
        (PROMOTE, 2, PRODUCTION),
    ):
        deploy(registry, kind, number, environment)
        seen.append(states(registry))

    assert seen == [
        ["staging", "approved", "approved"],
        ["production", "approved", "approved"],
        ["production", "staging", "approved"],
        ["retired", "production", "approved"],
        ["retired", "production", "staging"],
        ["production", "retired", "staging"],
        ["production", "staging", "retired"],
        ["retired", "production", "retired"],
    ]


def test_rollbacks_go_back_step_by_step(registry: Registry) -> None:
    """Each to what its environment held before the one that it undoes, never round in a circle."""
    first, second, third = (deploy(registry, STAGE, number, STAGING) for number in (1, 2, 3))
    assert [each.former for each in (first, second, third)] == [None, 1, 2]

    one_back = deploy(registry, ROLLBACK, 2, STAGING)
    two_back = deploy(registry, ROLLBACK, 1, STAGING)

    assert (one_back.replaces, one_back.restores, one_back.former) == (3, 2, 1)
    assert (two_back.replaces, two_back.restores, two_back.former) == (4, 1, None)
    with pytest.raises(RegistryError, match="nothing stood there before"):
        registry.deployments.begin(intent(ROLLBACK, 2, STAGING), at=AT)


def test_rollback_of_another_model_is_refused(registry: Registry) -> None:
    """What it restores is not for the caller to choose."""
    for number in (1, 2, 3):
        deploy(registry, STAGE, number, STAGING)

    with pytest.raises(RegistryError, match="does not restore what stood there before"):
        registry.deployments.begin(intent(ROLLBACK, 1, STAGING), at=AT)


def test_nothing_follows_from_an_intention_alone(registry: Registry) -> None:
    """Nor from one that was abandoned; another one may begin then, and not before."""
    begun = registry.deployments.begin(intent(STAGE, 1, STAGING), at=AT)

    assert registry.deployments.under_way() == [begun]
    assert registry.deployments.current(STAGING) is None
    assert states(registry)[0] == "approved"
    with pytest.raises(RegistryError, match=r"under way.*found: number 1"):
        registry.deployments.begin(intent(STAGE, 2, STAGING), at=AT)

    left = registry.deployments.abandon(begun.number, actor="cleaner", at=AT, note="it died")

    assert (left.outcome, left.note) == (DeploymentOutcome.ABANDONED, "it died")
    assert states(registry)[0] == "approved"
    assert len(registry.history(run_id(1))) == 2
    assert deploy(registry, STAGE, 2, STAGING).former is None
    with pytest.raises(RegistryError, match="ended already"):
        registry.deployments.complete(begun.number, actor="bo", at=AT)


def test_run_that_is_on_its_way_keeps_its_manifest(registry: Registry) -> None:
    """The database refuses another one, as long as the intention stands or was carried out."""
    begun = registry.deployments.begin(intent(STAGE, 1, STAGING), at=AT)
    with pytest.raises(RegistryError, match="keeps its manifest"):
        record(registry, 1, manifest=5)

    registry.deployments.abandon(begun.number, actor="cleaner", at=AT, note="it died")
    record(registry, 1, manifest=5)

    assert registry.get_candidate_run(run_id(1)).status is CandidateStatus.READY_FOR_REVIEW


@pytest.mark.parametrize(
    ("asked", "error", "match"),
    [
        (intent(STAGE, 4, STAGING), RegistryError, "no state to stage.*ready-for-review"),
        (intent(PROMOTE, 1, PRODUCTION), RegistryError, "no state to promote.*found: approved"),
        (intent(STAGE, 9, STAGING), RegistryError, "not in the registry"),
        (intent(STAGE, 1, PRODUCTION), ConfigError, "leads elsewhere.*expected: staging"),
        (intent(STAGE, 1, STAGING, manifest_sha256="f" * 64), RegistryError, "another manifest"),
        (intent(STAGE, 1, STAGING, actor=" "), ConfigError, "actor was empty"),
        (intent(STAGE, 1, STAGING, reason=" "), ConfigError, "reason was empty"),
    ],
    ids=[
        "not approved",
        "not staged",
        "unknown",
        "wrong way",
        "other manifest",
        "nobody",
        "no why",
    ],
)
def test_what_may_not_move_is_refused_with_the_reason(
    registry: Registry, asked: Intent, error: type[Exception], match: str
) -> None:
    """Nothing is written then."""
    with pytest.raises(error, match=match):
        registry.deployments.begin(asked, at=AT)
    assert registry.deployments.history() == []


def test_latest_instant_is_that_of_all_that_happened(registry: Registry) -> None:
    """Of candidates, intentions and outcomes."""
    assert registry.deployments.last_instant() == AT
    begun = registry.deployments.begin(intent(STAGE, 1, STAGING), at=AT + timedelta(hours=1))
    assert registry.deployments.last_instant() == AT + timedelta(hours=1)
    registry.deployments.complete(begun.number, actor="bo", at=AT + timedelta(hours=2))
    assert registry.deployments.last_instant() == AT + timedelta(hours=2)


def into(table: str, **values: str) -> str:
    columns, quoted = ", ".join(values), ", ".join(values.values())
    return f"INSERT INTO {table} ({columns}) VALUES ({quoted})"  # noqa: S608


def deployment(kind: str, number: int, environment: str, **more: str) -> str:
    texts = {
        "kind": kind,
        "environment": environment,
        "run_id": run_id(number),
        "model_sha256": digest(number),
        "manifest_sha256": digest(number),
        "actor": "x",
        "reason": "x",
        "at": "x",
        "readiness": "{}",
    }
    quoted = {name: f"'{value}'" for name, value in texts.items()}
    return into("deployments", **quoted, is_simulated="true", **more)


def outcome(number: int, word: str) -> str:
    return into(
        "deployment_outcomes",
        deployment_number=str(number),
        outcome=f"'{word}'",
        ended_at="'x'",
        actor="'x'",
    )


def change(number: int, what: str) -> str:
    return f"UPDATE candidates SET {what} WHERE run_id = '{run_id(number)}'"  # noqa: S608


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("UPDATE deployments SET actor = 'x'", "deployments are only ever added"),
        ("DELETE FROM deployments", "deployments are only ever added"),
        ("UPDATE deployment_outcomes SET outcome = 'abandoned'", "outcomes are only ever added"),
        ("DELETE FROM deployment_outcomes", "outcomes are only ever added"),
        ("UPDATE candidates SET status = 'production'", "does not go from that state"),
        (
            change(1, "status = 'approved'"),
            "does not go from that state",
        ),
        (change(4, "status = 'gone'"), "does not go from that state"),
        (
            change(1, f"manifest_sha256 = '{digest(5)}'"),
            "does not go from that state|keeps its manifest",
        ),
        (deployment("stage", 2, "staging"), "another deployment of this environment is under way"),
        (deployment("promote", 2, "production"), "in a state to be deployed so"),
        (deployment("stage", 2, "production"), "does not lead there"),
        (
            deployment("rollback", 1, "production", restores="1"),
            "restores what stood in this environment",
        ),
        (
            outcome(2, "perhaps"),
            "completed or abandoned",
        ),
        (
            outcome(1, "abandoned"),
            "(?i)unique",
        ),
    ],
)
def test_database_itself_refuses(
    registry: Registry, url: str, send: Send, statement: str, match: str
) -> None:
    """Whoever writes, and by whatever program; candidate 1 stands in staging, 3 is on its way."""
    deploy(registry, STAGE, 1, STAGING)
    registry.deployments.begin(intent(STAGE, 3, STAGING), at=AT)
    before = registry.deployments.history(), states(registry)

    with pytest.raises(DBAPIError, match=match):
        send(url, statement)
    assert (registry.deployments.history(), states(registry)) == before


def test_database_deploys_nothing_without_an_approval(url: str, send: Send) -> None:
    """Not even where somebody has written the state by hand, past the history."""
    registry = Registry(url)
    record(registry, 1)
    send(url, "UPDATE candidates SET status = 'approved'")

    with pytest.raises(DBAPIError, match="without an approval of its manifest"):
        send(url, deployment("stage", 1, "staging"))
    with pytest.raises(RegistryError, match="without an approval of its manifest"):
        registry.deployments.begin(intent(STAGE, 1, STAGING), at=AT)
    registry.close()


@pytest.mark.parametrize("table", ["deployments CASCADE", "deployment_outcomes"])
def test_postgresql_refuses_to_empty_the_history(
    postgresql_url: str, send: Send, table: str
) -> None:
    """Truncation passes by the rows, yet not by the guard."""
    Registry(postgresql_url).close()

    with pytest.raises(DBAPIError, match="only ever added"):
        send(postgresql_url, f"TRUNCATE {table}")


def begin_at_once(url: str, number: int, together: Barrier, told: Any) -> None:
    registry = Registry(url)
    together.wait(60)
    try:
        told.put(registry.deployments.begin(intent(STAGE, number, STAGING), at=AT).run_id)
    except RegistryError as error:
        told.put(str(error))
    registry.close()


def test_of_intentions_at_once_one_stands(registry: Registry, url: str) -> None:
    """Three processes without the lock of the environments: the database alone sees to it."""
    context = multiprocessing.get_context("spawn")
    together, told = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=begin_at_once, args=(url, number, together, told))
        for number in (1, 2, 3)
    ]
    for process in processes:
        process.start()
    answers = [told.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    (begun,) = registry.deployments.under_way()

    assert answers.count(begun.run_id) == 1
    assert sum("under way" in answer for answer in answers) == 2
