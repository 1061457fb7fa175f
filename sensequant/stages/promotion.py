"""From an approved candidate to a model in use, and back: staging, promotion, rollback.

Belongs here: which model may move where, and which checks are asked. Does not belong here: the
checks (`stages.readiness`), and how a model is moved so that nobody finds half of it
(`stages.moving`).

Every check is made; one that does not pass ends it, and nothing has changed. A promotion takes the
very folder that stood in staging. A rollback takes the folder that stood there before, looks at
every byte of it again, and asks neither approval nor run: both were asked when it came there.
"""

from collections.abc import Callable
from pathlib import Path

from sensequant.errors import NotReadyError, RegistryError
from sensequant.ingestion.places import store_at
from sensequant.market.sessions import nse_calendar
from sensequant.release.deployment_records import (
    Deployment,
    DeploymentKind,
    EnvironmentName,
    Readiness,
    ShadowValidation,
)
from sensequant.release.environments import read_pointer
from sensequant.release.manifest import read_manifest
from sensequant.release.models import Model, open_model, pack_model, store_model
from sensequant.runs import RunFolder
from sensequant.stages.context import read_settings, settings_at
from sensequant.stages.moving import Desk, Order, desk
from sensequant.stages.readiness import (
    CandidateFacts,
    Stand,
    StudentFiles,
    candidate_checks,
    place_checks,
    readiness_of,
    rollback_checks,
    staging_checks,
    student_checks,
)
from sensequant.stages.scoring import scorers_of
from sensequant.stages.shadow import validate_in_shadow

__all__ = ["look_at", "promote_candidate", "rollback_environment", "stage_candidate"]


def stage_candidate(folder: RunFolder, order: Order) -> Deployment:
    """Put the model of an approved candidate into staging.

    Raises
    ------
    NotReadyError
        A check did not pass; nothing has changed.
    RegistryError
        The run is not in the registry, or registry and pointers contradict each other.
    StorageError
        The disk is full; the environment stays where it was.
    """
    with desk(folder.home, order) as at_desk:
        readiness, manifest_sha256 = _look(at_desk, folder, DeploymentKind.STAGE)
        _require_ready(readiness)
        packed = pack_model(folder, manifest_sha256=manifest_sha256)
        intent = at_desk.intend(
            readiness,
            model_sha256=packed.sha256,
            manifest_sha256=manifest_sha256,
            is_simulated=packed.record.is_simulated,
        )
        return at_desk.deploy(intent, lambda: store_model(folder.home, packed))


def promote_candidate(folder: RunFolder, order: Order) -> Deployment:
    """Put the model that stands in staging into production; errors as `stage_candidate`."""
    with desk(folder.home, order) as at_desk:
        readiness, manifest_sha256 = _look(at_desk, folder, DeploymentKind.PROMOTE)
        _require_ready(readiness)
        model = at_desk.staged_model()
        intent = at_desk.intend(
            readiness,
            model_sha256=model.sha256,
            manifest_sha256=manifest_sha256,
            is_simulated=model.record.is_simulated,
        )
        return at_desk.deploy(intent, lambda: open_model(folder.home, model.sha256))


def rollback_environment(
    home: Path, environment: EnvironmentName, order: Order, *, instead_of: str | None = None
) -> Deployment:
    """Put back the model that stood in an environment before the present one.

    Parameters
    ----------
    home
        Root of all data at rest.
    environment
        Where.
    order
        Who asks, and why.
    instead_of
        Digest of the model that must stand there now; None: whichever does.

    Raises
    ------
    NotReadyError
        The folder of that model is not what its name says, or this code cannot score with it;
        nothing has changed.
    RegistryError
        Nothing stood there before, another model stands there by now, or registry and pointers
        contradict each other.
    """
    with desk(home, order) as at_desk:
        _require_present(at_desk, environment, instead_of)
        former = _former(at_desk, environment)
        readiness = _look_at_former(at_desk, former)
        _require_ready(readiness)
        intent = at_desk.intend(
            readiness,
            model_sha256=former.model_sha256,
            manifest_sha256=former.manifest_sha256,
            is_simulated=former.is_simulated,
        )
        return at_desk.deploy(intent, lambda: open_model(home, former.model_sha256))


def look_at(folder: RunFolder, kind: DeploymentKind, order: Order) -> Readiness:
    """Make every check of a stage or a promotion and move nothing.

    Raises
    ------
    RegistryError
        The run is not in the registry, or registry and pointers contradict each other.
    """
    with desk(folder.home, order) as at_desk:
        return _look(at_desk, folder, kind)[0]


def _look(at_desk: Desk, folder: RunFolder, kind: DeploymentKind) -> tuple[Readiness, str]:
    candidate = at_desk.registry.get_candidate_run(folder.run_id)
    facts = CandidateFacts(
        folder=folder,
        candidate=candidate,
        decision=at_desk.registry.decision_on(folder.run_id),
        last_instant=at_desk.registry.deployments.last_instant(),
        limits=at_desk.order.limits,
        trusted_keys=at_desk.order.trusted_keys,
    )
    is_promotion = kind is DeploymentKind.PROMOTE
    environment = EnvironmentName.PRODUCTION if is_promotion else EnvironmentName.STAGING
    stand = _stand(at_desk)
    looks = candidate_checks(facts, kind, at_desk.at)
    files = _staged_files(at_desk) if is_promotion else _own_files(folder)
    looks |= student_checks(files, at_desk.order.load, at=at_desk.at)
    looks |= place_checks(
        at_desk.home,
        lambda: store_at(at_desk.home, read_settings(folder).request.source),
        lambda: read_manifest(folder).facts.symbols,
        at_desk.order.limits,
        at=at_desk.at,
    )
    if is_promotion:
        looks |= staging_checks(facts, stand, at=at_desk.at)
    found = readiness_of(folder.run_id, kind, environment, looks, at=at_desk.at)
    if stand.found:
        found = found.model_copy(update={"shadow": stand.found[-1]})
    return found, candidate.manifest_sha256 or ""


def _own_files(folder: RunFolder) -> Callable[[], StudentFiles]:
    def files() -> StudentFiles:
        return {
            Path(entry.path).stem: (folder.root / entry.path, entry.sha256)
            for entry in read_manifest(folder).artifacts
            if Path(entry.path).parent.name == folder.candidate.name
        }

    return files


def _staged_files(at_desk: Desk) -> Callable[[], StudentFiles]:
    return lambda: at_desk.staged_model().students


def _stand(at_desk: Desk) -> Stand:
    deployment = at_desk.registry.deployments.current(EnvironmentName.STAGING)

    def shadow_of_staged() -> ShadowValidation:
        since = None if deployment is None else deployment.ended_at
        if since is None:
            raise RegistryError("nothing is in staging", where=str(at_desk.home))
        model = at_desk.staged_model()
        return validate_in_shadow(
            scorers_of(at_desk.home, model),
            settings_at(model.config),
            nse_calendar(),
            since=since,
            until=at_desk.at,
        )

    return Stand(
        pointer=read_pointer(at_desk.home, EnvironmentName.STAGING),
        deployment=deployment,
        model=at_desk.staged_model,
        shadow=shadow_of_staged,
    )


def _require_present(at_desk: Desk, environment: EnvironmentName, model_sha256: str | None) -> None:
    current = at_desk.registry.deployments.current(environment)
    if model_sha256 is None or current is None or current.model_sha256 == model_sha256:
        return
    raise RegistryError(
        "another model stands there by now",
        where=environment,
        expected=model_sha256,
        found=f"{current.model_sha256}, deployment {current.number} by {current.actor}",
        remedy="look at that one first",
    )


def _former(at_desk: Desk, environment: EnvironmentName) -> Deployment:
    current = at_desk.registry.deployments.current(environment)
    if current is None or current.former is None:
        raise RegistryError(
            "there is nothing to roll back to",
            where=environment,
            expected="a model that stood there before the present one",
            found="nothing deployed" if current is None else f"deployment {current.number} alone",
            remedy="`sensequant environments` shows the history",
        )
    return at_desk.registry.deployments.get(current.former)


def _look_at_former(at_desk: Desk, former: Deployment) -> Readiness:
    def model() -> Model:
        return open_model(at_desk.home, former.model_sha256)

    last = at_desk.registry.deployments.last_instant()
    looks = rollback_checks(model, last, at=at_desk.at)
    looks |= student_checks(lambda: model().students, at_desk.order.load, at=at_desk.at)
    # An expired model is silent, which is better than one that must go.
    del looks["expiry"]
    return readiness_of(
        former.run_id, DeploymentKind.ROLLBACK, former.environment, looks, at=at_desk.at
    )


def _require_ready(found: Readiness) -> None:
    if not found.failures:
        return
    error = NotReadyError(
        f"candidate is not ready to {found.kind.in_words}",
        where=found.run_id,
        expected=f"all {len(found.checks)} checks pass",
        found="; ".join(
            f"{check.name}: expected {check.expected}, found {check.found}"
            for check in found.failures
        ),
        remedy="nothing has changed; mend what is named, then ask again",
    )
    error.readiness = found
    raise error
