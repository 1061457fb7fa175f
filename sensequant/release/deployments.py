"""Deployments in the registry: what was about to move, what has moved, and what stood where when.

Belongs here: the two transactions of a deployment, and the states that follow from it. Does not
belong here: files and pointers (`release.environments`), whether a candidate is ready
(`stages.readiness`), the order of both with these (`stages.promotion`).

A deployment is two rows that are only ever added. The intention is written before anything moves;
the outcome after the pointer has moved (completed), or when it is known that it did not
(abandoned). One that has an intention alone is under way, or its process was killed; its
environment takes no other one then.

States of candidates and their events change with the outcome, in one transaction: `production` is
what production points to, else `staging` what staging points to, else `retired` what either once
pointed to.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from sensequant.databases import Database
from sensequant.errors import ConfigError, RegistryError
from sensequant.release.deployment_records import (
    Deployment,
    DeploymentKind,
    DeploymentOutcome,
    EnvironmentName,
    Intent,
)
from sensequant.release.manifest import CandidateStatus
from sensequant.release.registry_records import CandidateRun, EventKind
from sensequant.release.registry_rows import as_text, one_candidate, require_words, without
from sensequant.release.registry_tables import CANDIDATES, DEPLOYMENTS, EVENTS, OUTCOMES
from sensequant.release.registry_triggers import DEPLOYABLE, ENVIRONMENT_OF

__all__ = ["Deployments"]

_EVENT_OF = {
    DeploymentKind.STAGE: EventKind.STAGED,
    DeploymentKind.PROMOTE: EventKind.PROMOTED,
    DeploymentKind.ROLLBACK: EventKind.RESTORED,
}
_JOINED = sa.select(
    DEPLOYMENTS, OUTCOMES.c.outcome, OUTCOMES.c.ended_at, OUTCOMES.c.note
).select_from(DEPLOYMENTS.outerjoin(OUTCOMES))


class Deployments:
    """The history of the environments in one registry.

    Parameters
    ----------
    database
        That of the registry.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, intent: Intent, *, at: datetime) -> Deployment:
        """Write down what is about to be deployed; nothing has moved yet.

        Parameters
        ----------
        intent
            Which model, where, who, why. A rollback must name the model that it restores.
        at
            Aware instant.

        Raises
        ------
        RegistryError
            Unknown run, another manifest than that of the candidate, a state from which it cannot
            be deployed so, or another deployment of the environment is under way.
        ConfigError
            No actor, no reason, an instant without time zone, or a kind that leads elsewhere.
        """
        require_words("actor", intent.actor)
        require_words("reason", intent.reason)
        _require_destination(intent)
        with self._database.writing() as connection:
            _require_deployable(intent, one_candidate(connection, intent.run_id))
            _require_turn(connection, intent.environment)
            current = _current(connection, intent.environment)
            row = {
                **intent.model_dump(mode="json", exclude={"schema_version"}),
                "actor": intent.actor.strip(),
                "reason": intent.reason.strip(),
                "at": as_text(at),
                **_places(connection, intent, current),
            }
            number = connection.execute(sa.insert(DEPLOYMENTS).values(row)).inserted_primary_key
            return _one(connection, int(number[0]) if number is not None else 0)

    def complete(
        self, number: int, *, actor: str, at: datetime, note: str | None = None
    ) -> Deployment:
        """Write down that the pointer has moved, and the states that follow from it.

        Parameters
        ----------
        number
            The deployment.
        actor
            Who writes this down: whoever deployed, or whoever found it done.
        at
            Aware instant.
        note
            Words beside it, where there is something to say.
        """
        word = _Word(actor, at, note)
        with self._database.writing() as connection:
            deployment = _require_under_way(connection, number)
            before = _current(connection, deployment.environment)
            _end(connection, number, DeploymentOutcome.COMPLETED, word)
            _follow(connection, deployment, word)
            if before is not None and before.run_id != deployment.run_id:
                _withdraw(connection, before.run_id, deployment, word)
            return _one(connection, number)

    def abandon(self, number: int, *, actor: str, at: datetime, note: str) -> Deployment:
        """Write down that the pointer has not moved and will not; nothing else changes."""
        with self._database.writing() as connection:
            _require_under_way(connection, number)
            _end(connection, number, DeploymentOutcome.ABANDONED, _Word(actor, at, note))
            return _one(connection, number)

    def under_way(self) -> list[Deployment]:
        """Return the deployments that have not ended, the oldest first."""
        with self._database.reading() as connection:
            return _under_way(connection)

    def current(self, environment: EnvironmentName) -> Deployment | None:
        """Return the last completed deployment of an environment; None where nothing ever stood."""
        with self._database.reading() as connection:
            return _current(connection, environment)

    def get(self, number: int) -> Deployment:
        """Return one deployment.

        Raises
        ------
        RegistryError
            There is none of this number.
        """
        with self._database.reading() as connection:
            return _one(connection, number)

    def history(self, environment: EnvironmentName | None = None) -> list[Deployment]:
        """Return all deployments, or those of one environment, the oldest first."""
        query = _JOINED.order_by(DEPLOYMENTS.c.number)
        if environment is not None:
            query = query.where(DEPLOYMENTS.c.environment == environment.value)
        with self._database.reading() as connection:
            return [_deployment(row) for row in connection.execute(query).mappings()]

    def last_instant(self) -> datetime | None:
        """Return the latest instant that the history of candidates and environments holds."""
        columns = (EVENTS.c.at, DEPLOYMENTS.c.at, OUTCOMES.c.ended_at)
        with self._database.reading() as connection:
            found = [connection.execute(sa.select(sa.func.max(each))).scalar() for each in columns]
        known = [each for each in found if each is not None]
        # Texts of instants in UTC have the order of the instants.
        return datetime.fromisoformat(max(known)) if known else None


def _require_destination(intent: Intent) -> None:
    expected = ENVIRONMENT_OF.get(intent.kind, intent.environment)
    if intent.environment is not expected:
        raise ConfigError(
            "this kind of deployment leads elsewhere",
            where=intent.kind,
            expected=expected,
            found=intent.environment,
        )


def _require_deployable(intent: Intent, candidate: CandidateRun) -> None:
    states = DEPLOYABLE[intent.kind]
    if candidate.status not in states:
        raise RegistryError(
            f"candidate is in no state to {intent.kind.in_words}",
            where=candidate.run_id,
            expected=" or ".join(states),
            found=candidate.status,
            remedy="`sensequant candidates` and `sensequant environments` say how it stands",
        )
    if candidate.manifest_sha256 != intent.manifest_sha256:
        raise RegistryError(
            "candidate has another manifest by now",
            where=candidate.run_id,
            expected=str(candidate.manifest_sha256),
            found=intent.manifest_sha256,
            remedy="look at its briefing and its approval again",
        )


def _require_turn(connection: sa.Connection, environment: EnvironmentName) -> None:
    other = next((each for each in _under_way(connection) if each.environment is environment), None)
    if other is not None:
        raise RegistryError(
            "another deployment of this environment is under way",
            where=environment,
            expected="deployments one after the other",
            found=f"number {other.number}, {other.kind} of {other.run_id} by {other.actor}",
            remedy="wait for it; `sensequant environments` settles one whose process was killed",
        )


def _places(
    connection: sa.Connection, intent: Intent, current: Deployment | None
) -> dict[str, int | None]:
    replaces = None if current is None else current.number
    if intent.kind is not DeploymentKind.ROLLBACK:
        return {"replaces": replaces, "restores": None, "former": replaces}
    restores = None if current is None else current.former
    restored = None if restores is None else _one(connection, restores)
    if restored is None or restored.model_sha256 != intent.model_sha256:
        raise RegistryError(
            "rollback does not restore what stood there before",
            where=intent.environment,
            expected="no rollback, for nothing stood there before"
            if restored is None
            else f"model {restored.model_sha256} of {restored.run_id}",
            found=f"model {intent.model_sha256} of {intent.run_id}",
        )
    return {"replaces": replaces, "restores": restores, "former": restored.former}


def _require_under_way(connection: sa.Connection, number: int) -> Deployment:
    found = _one(connection, number)
    if found.outcome is not None:
        raise RegistryError(
            "deployment has ended already",
            where=f"deployment {number}",
            expected="one that is under way",
            found=f"{found.outcome}: {found.note or 'no note'}",
        )
    return found


@dataclass(frozen=True, slots=True)
class _Word:
    """Who writes down an outcome, when, and what is said beside it."""

    actor: str
    at: datetime
    note: str | None

    def __post_init__(self) -> None:
        require_words("actor", self.actor)


def _end(connection: sa.Connection, number: int, outcome: DeploymentOutcome, word: _Word) -> None:
    row = {
        "deployment_number": number,
        "outcome": outcome.value,
        "ended_at": as_text(word.at),
        "actor": word.actor.strip(),
        "note": word.note,
    }
    connection.execute(sa.insert(OUTCOMES).values(row))


def _follow(connection: sa.Connection, deployment: Deployment, word: _Word) -> None:
    reason = f"deployment {deployment.number} to {deployment.environment}: {deployment.reason}"
    _move(connection, deployment.run_id, _EVENT_OF[deployment.kind], reason, word)


def _withdraw(connection: sa.Connection, run_id: str, by: Deployment, word: _Word) -> None:
    reason = f"deployment {by.number}: {by.run_id} took its place in {by.environment}: {by.reason}"
    _move(connection, run_id, EventKind.WITHDRAWN, reason, word)


def _move(
    connection: sa.Connection, run_id: str, kind: EventKind, reason: str, word: _Word
) -> None:
    candidate, instant = one_candidate(connection, run_id), as_text(word.at)
    status = _state_of(connection, run_id)
    if candidate.status is not status:
        update = sa.update(CANDIDATES).where(CANDIDATES.c.run_id == run_id)
        connection.execute(update.values(status=status.value, updated_at=instant))
    event: dict[str, Any] = {
        "run_id": run_id,
        "kind": kind.value,
        "at": instant,
        "actor": word.actor.strip(),
        "from_status": candidate.status.value,
        "to_status": status.value,
        "reason": reason if word.note is None else f"{reason} ({word.note})",
        "manifest_sha256": candidate.manifest_sha256,
        "previous_manifest_sha256": candidate.manifest_sha256,
    }
    connection.execute(sa.insert(EVENTS).values(event))


def _state_of(connection: sa.Connection, run_id: str) -> CandidateStatus:
    for environment, status in (
        (EnvironmentName.PRODUCTION, CandidateStatus.PRODUCTION),
        (EnvironmentName.STAGING, CandidateStatus.STAGING),
    ):
        current = _current(connection, environment)
        if current is not None and current.run_id == run_id:
            return status
    return CandidateStatus.RETIRED


def _current(connection: sa.Connection, environment: EnvironmentName) -> Deployment | None:
    query = _JOINED.where(
        DEPLOYMENTS.c.environment == environment.value,
        OUTCOMES.c.outcome == DeploymentOutcome.COMPLETED.value,
    ).order_by(DEPLOYMENTS.c.number.desc())
    row = connection.execute(query.limit(1)).mappings().first()
    return None if row is None else _deployment(row)


def _under_way(connection: sa.Connection) -> list[Deployment]:
    query = _JOINED.where(OUTCOMES.c.outcome.is_(None)).order_by(DEPLOYMENTS.c.number)
    return [_deployment(row) for row in connection.execute(query).mappings()]


def _one(connection: sa.Connection, number: int) -> Deployment:
    row = connection.execute(_JOINED.where(DEPLOYMENTS.c.number == number)).mappings().first()
    if row is None:
        raise RegistryError(
            "deployment is not in the registry",
            where=f"deployment {number}",
            expected="a number of the history",
            found="none",
        )
    return _deployment(row)


def _deployment(row: sa.RowMapping) -> Deployment:
    return Deployment.model_validate(without(row))
