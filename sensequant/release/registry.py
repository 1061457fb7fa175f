"""The registry: which run is a candidate, in which state, and everything that ever happened to it.

Belongs here: transactions and the states that a run can reach. Does not belong here: the records
(`release.registry_records`), the tables (`release.registry_tables`), how the database is reached
(`databases`), what moves into environments (`release.deployments`), how a verdict comes about
(`release.gates`), what the manifest holds (`release.manifest`).

`candidates` holds one row per run: its present state. `candidate_events` holds every change with
actor, instant and reason; rows are only ever added. A change of state and its event are one
transaction. Triggers in the database refuse other states, and to alter or remove an event.

    recorded -> ready-for-review -> approved, by a person or by the rule of the gates
                                 -> rejected, by a person or because the time is over (expired)
             -> rejected, by the verdict
             -> failed, in a stage
    approved -> staging -> production -> retired, by deployments (`release.deployments`)

A decision names the digest of the manifest that it is about, and is final for it. Another manifest
of the same run supersedes it: what was approved is then not what there is. Once a model was
deployed, its run keeps its manifest.

Writers may be many. Instants are given by the caller, aware, and stored as text in UTC, so that
SQLite and PostgreSQL keep them alike.
"""

from datetime import datetime

import sqlalchemy as sa

from sensequant.databases import Database
from sensequant.errors import RegistryError
from sensequant.release.deployments import Deployments
from sensequant.release.limits import CLOCKS_AGREE
from sensequant.release.manifest import CandidateStatus
from sensequant.release.registry_records import (
    DECISIONS,
    CandidateEvent,
    CandidateRun,
    EventKind,
    RunResult,
)
from sensequant.release.registry_rows import (
    as_text,
    candidate_of,
    find_candidate,
    one_candidate,
    require_words,
    without,
)
from sensequant.release.registry_tables import CANDIDATES, EVENTS, LAYOUT

__all__ = ["Registry"]


class Registry:
    """Candidates and their history in one database.

    Parameters
    ----------
    url
        `sqlite:///path/registry.db`, or a PostgreSQL address with a driver that is installed. The
        tables are made when they are missing.

    Raises
    ------
    ConfigError
        The address is no database that can be reached from here.
    SchemaVersionError
        The tables have another layout.
    RegistryError
        The database refused.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, LAYOUT)
        self.deployments = Deployments(self._database)

    @property
    def address(self) -> str:
        """Where it lies, without password."""
        return self._database.address

    def record_candidate_run(
        self, result: RunResult, *, actor: str, at: datetime, decide_by: datetime | None = None
    ) -> CandidateRun:
        """Record how a run ended; the same result again changes nothing.

        A result with another manifest, verdict or reason supersedes the former one and what was
        decided on it, and the event says so.

        Parameters
        ----------
        result
            Verdict and manifest, or the stage that failed.
        actor
            Who records: a person, or the name of the flow.
        at
            Aware instant.
        decide_by
            Aware instant from which on the candidate counts as rejected if nobody has decided.

        Raises
        ------
        ConfigError
            No actor, or an instant without time zone.
        """
        instant, limit = as_text(at), None if decide_by is None else as_text(decide_by)
        require_words("actor", actor)
        with self._database.writing() as connection:
            former = find_candidate(connection, result.run_id)
            if former is None or not _is_same(former, result):
                if former is not None:
                    _require_replaceable(former, result)
                _store(connection, result, former=former, instant=instant, decide_by=limit)
                _tell_result(connection, result, former=former, actor=actor, instant=instant)
            return one_candidate(connection, result.run_id)

    def approve_candidate_run(
        self, run_id: str, *, manifest_sha256: str, actor: str, reason: str, at: datetime
    ) -> CandidateEvent:
        """Approve a candidate that is ready for review; the same approval again changes nothing.

        Parameters
        ----------
        run_id
            The candidate.
        manifest_sha256
            The manifest that was read before deciding; another one is refused.
        actor, reason
            Who decides, and why.
        at
            Aware instant; from `decide_by` on, nobody can decide any more.

        Returns
        -------
        CandidateEvent
            The decision, as it stands in the history.

        Raises
        ------
        RegistryError
            Unknown run, another manifest, not ready for review, decided otherwise already, or an
            instant before that of the manifest.
        ConfigError
            No actor, no reason, or an instant without time zone.
        """
        return self._decide(
            EventKind.APPROVED,
            run_id,
            manifest_sha256=manifest_sha256,
            actor=actor,
            reason=reason,
            at=at,
        )

    def reject_candidate_run(
        self, run_id: str, *, manifest_sha256: str, actor: str, reason: str, at: datetime
    ) -> CandidateEvent:
        """Reject a candidate that is ready for review; parameters as of an approval."""
        return self._decide(
            EventKind.REJECTED,
            run_id,
            manifest_sha256=manifest_sha256,
            actor=actor,
            reason=reason,
            at=at,
        )

    def expire_candidate_runs(self, *, actor: str, at: datetime) -> list[CandidateEvent]:
        """Reject every candidate that nobody decided on in time; return what was rejected.

        Raises
        ------
        ConfigError
            No actor, or an instant without time zone.
        """
        instant = as_text(at)
        require_words("actor", actor)
        query = sa.select(CANDIDATES).where(
            CANDIDATES.c.status == CandidateStatus.READY_FOR_REVIEW.value,
            # Texts of instants in UTC have the order of the instants.
            CANDIDATES.c.decide_by <= instant,
        )
        with self._database.writing() as connection:
            overdue = [candidate_of(row) for row in connection.execute(query).mappings()]
            return [
                _settle(
                    connection,
                    candidate,
                    EventKind.EXPIRED,
                    actor=actor,
                    reason=f"nobody decided by {candidate.decide_by}",
                    instant=instant,
                )
                for candidate in overdue
            ]

    def decision_on(self, run_id: str) -> CandidateEvent | None:
        """Return what was decided on a candidate's present manifest; None while it is open.

        Raises
        ------
        RegistryError
            The run is not in the registry.
        """
        with self._database.reading() as connection:
            one_candidate(connection, run_id)
            return _decision(connection, run_id)

    def get_latest_candidate_run(self) -> CandidateRun | None:
        """Return the run that was first recorded last; None from an empty registry."""
        query = sa.select(CANDIDATES).order_by(CANDIDATES.c.id.desc()).limit(1)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else candidate_of(row)

    def get_candidate_runs(self, status: CandidateStatus | None = None) -> list[CandidateRun]:
        """Return all candidates, or those in one state, the latest first."""
        query = sa.select(CANDIDATES).order_by(CANDIDATES.c.id.desc())
        if status is not None:
            query = query.where(CANDIDATES.c.status == status.value)
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [candidate_of(row) for row in rows]

    def get_candidate_run(self, run_id: str) -> CandidateRun:
        """Return one candidate.

        Raises
        ------
        RegistryError
            The run is not in the registry.
        """
        with self._database.reading() as connection:
            return one_candidate(connection, run_id)

    def history(self, run_id: str) -> list[CandidateEvent]:
        """Return everything that happened to a candidate, the oldest first.

        Raises
        ------
        RegistryError
            The run is not in the registry.
        """
        query = sa.select(EVENTS).where(EVENTS.c.run_id == run_id).order_by(EVENTS.c.id)
        with self._database.reading() as connection:
            one_candidate(connection, run_id)
            rows = connection.execute(query).mappings().all()
        return [CandidateEvent.model_validate(without(row, "id")) for row in rows]

    def _decide(
        self,
        kind: EventKind,
        run_id: str,
        *,
        manifest_sha256: str,
        actor: str,
        reason: str,
        at: datetime,
    ) -> CandidateEvent:
        require_words("actor", actor)
        require_words("reason", reason)
        # A transaction of its own: the refusal that follows must not undo it.
        self.expire_candidate_runs(actor=actor, at=at)
        with self._database.writing() as connection:
            candidate = one_candidate(connection, run_id)
            _require_manifest(candidate, manifest_sha256)
            decided = _decision(connection, run_id)
            if decided is not None and (decided.kind, decided.actor) == (kind, actor.strip()):
                return decided
            _require_open(candidate, decided)
            _require_later(candidate, at)
            return _settle(
                connection, candidate, kind, actor=actor, reason=reason, instant=as_text(at)
            )

    def close(self) -> None:
        """Give back the connections to the database."""
        self._database.close()


def _is_same(former: CandidateRun, result: RunResult) -> bool:
    # Not by state: a decision on this very result stays.
    names = ("manifest_sha256", "decision", "failed_stage", "reason")
    return all(getattr(former, name) == getattr(result, name) for name in names)


def _decision(connection: sa.Connection, run_id: str) -> CandidateEvent | None:
    # What became of the model later does not undo it; another manifest does.
    settles = [EventKind.RECORDED, EventKind.SUPERSEDED, *DECISIONS]
    query = sa.select(EVENTS).where(EVENTS.c.run_id == run_id, EVENTS.c.kind.in_(settles))
    row = connection.execute(query.order_by(EVENTS.c.id.desc()).limit(1)).mappings().first()
    last = None if row is None else CandidateEvent.model_validate(without(row, "id"))
    return last if last is not None and last.is_decision else None


def _require_replaceable(former: CandidateRun, result: RunResult) -> None:
    # What is under way to an environment, the database refuses.
    deployed = {CandidateStatus.STAGING, CandidateStatus.PRODUCTION, CandidateStatus.RETIRED}
    if former.status in deployed:
        raise RegistryError(
            "what was deployed keeps its manifest",
            where=former.run_id,
            expected=f"manifest {former.manifest_sha256}, which is or was in an environment",
            found=f"manifest {result.manifest_sha256}",
            remedy="judge this evidence in a new run",
        )


def _require_manifest(candidate: CandidateRun, manifest_sha256: str) -> None:
    if candidate.manifest_sha256 != manifest_sha256:
        raise RegistryError(
            "decision is about another manifest",
            where=candidate.run_id,
            expected=candidate.manifest_sha256 or "no decision, because the run has no manifest",
            found=manifest_sha256,
            remedy="read the briefing of this run again and decide on the manifest that it names",
        )


def _require_open(candidate: CandidateRun, decided: CandidateEvent | None) -> None:
    if candidate.status is CandidateStatus.READY_FOR_REVIEW:
        return
    if decided is None:
        raise RegistryError(
            "candidate is not up for decision",
            where=candidate.run_id,
            expected="a candidate whose gates all pass",
            found=f"{candidate.status}: {candidate.reason}",
            remedy="nothing can be approved against its gates; train again with more evidence",
        )
    raise RegistryError(
        "candidate is decided already",
        where=candidate.run_id,
        expected="the first decision on this manifest",
        found=f"{decided.in_words} ({decided.at.isoformat()})",
        remedy="the first decision stands; another one needs another run",
    )


def _require_later(candidate: CandidateRun, at: datetime) -> None:
    # The first decision stands: one that is older than what it is about could never be used.
    if candidate.updated_at > at + CLOCKS_AGREE:
        raise RegistryError(
            "clock goes backwards",
            where=candidate.run_id,
            expected=f"a decision after {candidate.updated_at.isoformat()}",
            found=at.isoformat(),
            remedy="nothing has changed; set the clock of this machine right, then decide again",
        )


def _settle(
    connection: sa.Connection,
    candidate: CandidateRun,
    kind: EventKind,
    *,
    actor: str,
    reason: str,
    instant: str,
) -> CandidateEvent:
    status = DECISIONS[kind].value
    update = sa.update(CANDIDATES).where(CANDIDATES.c.run_id == candidate.run_id)
    connection.execute(update.values(status=status, updated_at=instant))
    event = {
        "run_id": candidate.run_id,
        "kind": kind.value,
        "at": instant,
        "actor": actor.strip(),
        "from_status": candidate.status.value,
        "to_status": status,
        "reason": reason.strip(),
        "manifest_sha256": candidate.manifest_sha256,
        "previous_manifest_sha256": candidate.manifest_sha256,
    }
    connection.execute(sa.insert(EVENTS).values(event))
    return CandidateEvent.model_validate(event)


def _store(
    connection: sa.Connection,
    result: RunResult,
    *,
    former: CandidateRun | None,
    instant: str,
    decide_by: str | None,
) -> None:
    values = {
        "status": result.status.value,
        "updated_at": instant,
        "decide_by": decide_by,
        **result.model_dump(mode="json", exclude={"schema_version", "run_id"}),
    }
    if former is None:
        row = {**values, "run_id": result.run_id, "recorded_at": instant}
        connection.execute(sa.insert(CANDIDATES).values(row))
        return
    update = sa.update(CANDIDATES).where(CANDIDATES.c.run_id == result.run_id)
    connection.execute(update.values(values))


def _tell_result(
    connection: sa.Connection,
    result: RunResult,
    *,
    former: CandidateRun | None,
    actor: str,
    instant: str,
) -> None:
    kind = EventKind.RECORDED if former is None else EventKind.SUPERSEDED
    connection.execute(
        sa.insert(EVENTS).values(
            run_id=result.run_id,
            kind=kind.value,
            at=instant,
            actor=actor,
            from_status=None if former is None else former.status.value,
            to_status=result.status.value,
            reason=result.reason,
            manifest_sha256=result.manifest_sha256,
            previous_manifest_sha256=None if former is None else former.manifest_sha256,
        )
    )
