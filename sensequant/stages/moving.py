"""Moving a model between environments: the steps, in the one order that survives a kill.

Belongs here: the lock, what is settled first, and what is written when. Does not belong here: which
model may move (`stages.promotion`), rows (`release.deployments`), folders (`release.models`),
pointers (`release.environments`).

One process at a time moves environments of a home. Under that lock, whatever was left by a process
that died is settled first. Then, each durable before the next begins:

    1. the intention, in the registry      dies before 3: the pointer is the old one; abandoned
    2. the folder of the model             made whole or not at all, and named by its content
    3. the pointer                         the only step that a reader of the environment sees
    4. the outcome, in the registry        dies before: the pointer is the new one; completed

The pointer holds the number of its deployment, so that the next command can tell which it was.
"""

from collections.abc import Callable, Collection, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import SecretStr

from sensequant.errors import RecordError, RegistryError
from sensequant.release.deployment_records import (
    Deployment,
    EnvironmentName,
    Intent,
    Pointer,
    Readiness,
)
from sensequant.release.environments import alone, read_pointer, write_pointer
from sensequant.release.limits import PromotionLimits
from sensequant.release.models import Model, open_model, remove_unfinished_models
from sensequant.release.registry import Registry
from sensequant.stages.readiness import LoadStudent, load_safely
from sensequant.stages.registry_place import registry_of

__all__ = [
    "Desk",
    "EnvironmentState",
    "Order",
    "desk",
    "environments_of",
    "history_of",
    "reconcile",
]


@dataclass(frozen=True, kw_only=True)
class Order:
    """Who wants a model moved, why, and by which limits.

    Parameters
    ----------
    actor, reason
        Who, and why; both stand in the history.
    clock
        Returns the present instant, aware; asked once the lock is held.
    limits
        What must hold.
    trusted_keys
        Public keys that may sign a manifest; any, when empty.
    load
        Loads a student to see whether it can be loaded.
    registry
        Address of the registry; None for the file below the home.
    """

    actor: str
    reason: str
    clock: Callable[[], datetime]
    limits: PromotionLimits = field(default_factory=PromotionLimits)
    trusted_keys: Collection[str] = ()
    load: LoadStudent = load_safely
    registry: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class EnvironmentState:
    """What stands in an environment: where it points, and the deployment that did it.

    `problem` says what is wrong with pointer or model; None: every byte was verified.
    """

    name: EnvironmentName
    pointer: Pointer | None
    deployment: Deployment | None
    problem: str | None


def reconcile(
    home: Path,
    *,
    actor: str,
    clock: Callable[[], datetime],
    registry: SecretStr | None = None,
) -> list[Deployment]:
    """Settle what processes that died have left, and return it; waits for one that lives."""
    with alone(home), closing(registry_of(home, registry)) as opened:
        return _settle(home, opened, actor=actor, at=clock())


def history_of(home: Path, *, registry: SecretStr | None = None) -> list[Deployment]:
    """Return every deployment below a home, the oldest first."""
    with closing(registry_of(home, registry)) as opened:
        return opened.deployments.history()


def environments_of(home: Path, *, registry: SecretStr | None = None) -> list[EnvironmentState]:
    """Return what stands where, every byte of it verified; changes nothing."""
    with closing(registry_of(home, registry)) as opened:
        return [_state_of(home, opened, name) for name in EnvironmentName]


@dataclass(frozen=True, slots=True)
class Desk:
    """What a process works with while it alone may move environments of a home."""

    home: Path
    registry: Registry
    order: Order
    at: datetime

    def intend(
        self, readiness: Readiness, *, model_sha256: str, manifest_sha256: str, is_simulated: bool
    ) -> Intent:
        """Return the row that says what is about to be deployed."""
        return Intent(
            kind=readiness.kind,
            environment=readiness.environment,
            run_id=readiness.run_id,
            model_sha256=model_sha256,
            manifest_sha256=manifest_sha256,
            is_simulated=is_simulated,
            actor=self.order.actor,
            reason=self.order.reason,
            readiness=readiness,
        )

    def staged_model(self) -> Model:
        """Return the model that stands in staging, verified."""
        pointer = read_pointer(self.home, EnvironmentName.STAGING)
        if pointer is None:
            raise RegistryError("nothing is in staging", where=str(self.home))
        return open_model(self.home, pointer.model_sha256)

    def deploy(self, intent: Intent, make: Callable[[], Model]) -> Deployment:
        """Write the intention, make the model's folder, move the pointer, write the outcome."""
        begun = self.registry.deployments.begin(intent, at=self.at)
        try:
            model = make()
            write_pointer(
                self.home,
                Pointer(
                    environment=begun.environment,
                    number=begun.number,
                    run_id=begun.run_id,
                    model_sha256=model.sha256,
                    manifest_sha256=begun.manifest_sha256,
                    is_simulated=begun.is_simulated,
                ),
            )
        except BaseException:
            # Whether the pointer has moved is read from the pointer itself.
            _settle(self.home, self.registry, actor=self.order.actor, at=self.order.clock())
            raise
        return self.registry.deployments.complete(
            begun.number, actor=self.order.actor, at=self.order.clock()
        )


@contextmanager
def desk(home: Path, order: Order) -> Generator[Desk]:
    """Let one process at a time move environments, once what others left is settled.

    Raises
    ------
    RegistryError
        Registry and pointers contradict each other, or the registry cannot be used.
    RecordError
        A pointer is damaged.
    """
    with alone(home), closing(registry_of(home, order.registry)) as registry:
        at = order.clock()
        _settle(home, registry, actor=order.actor, at=at)
        for environment in EnvironmentName:
            _require_agreement(home, registry, environment)
        yield Desk(home, registry, order, at)


def _settle(home: Path, registry: Registry, *, actor: str, at: datetime) -> list[Deployment]:
    remove_unfinished_models(home)
    return [
        _settle_one(home, registry, each, actor=actor, at=at)
        for each in registry.deployments.under_way()
    ]


def _settle_one(
    home: Path, registry: Registry, begun: Deployment, *, actor: str, at: datetime
) -> Deployment:
    pointer = read_pointer(home, begun.environment)
    ends = registry.deployments
    if pointer is not None and pointer.number == begun.number:
        note = "interrupted after the pointer had moved; found done"
        return ends.complete(begun.number, actor=actor, at=at, note=note)
    note = "interrupted before the pointer moved; nothing has changed"
    return ends.abandon(begun.number, actor=actor, at=at, note=note)


def _require_agreement(home: Path, registry: Registry, environment: EnvironmentName) -> None:
    pointer, current = read_pointer(home, environment), registry.deployments.current(environment)
    told = None if current is None else (current.number, current.model_sha256)
    found = None if pointer is None else (pointer.number, pointer.model_sha256)
    if told != found:
        raise RegistryError(
            "registry and pointer contradict each other",
            where=environment,
            expected=_in_words(told),
            found=_in_words(found),
            remedy="restore the registry and the folder environments from one backup",
        )


def _in_words(stand: tuple[int, str] | None) -> str:
    return "nothing deployed" if stand is None else f"deployment {stand[0]}, model {stand[1]}"


def _state_of(home: Path, registry: Registry, name: EnvironmentName) -> EnvironmentState:
    deployment = registry.deployments.current(name)
    pointer, problem = None, None
    try:
        pointer = read_pointer(home, name)
        _require_agreement(home, registry, name)
        if pointer is not None:
            open_model(home, pointer.model_sha256)
    except (RecordError, RegistryError) as error:
        problem = str(error)
    return EnvironmentState(name, pointer, deployment, problem)
