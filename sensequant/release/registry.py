"""The registry: which run is a candidate, in which state, and everything that ever happened to it.

Belongs here: transactions and the states that a run can reach. Does not belong here: the tables
(`release.registry_tables`), how a verdict comes about (`release.gates`), what the manifest holds
(`release.manifest`).

Two tables. `candidates` holds one row per run: its present state. `candidate_events` holds every
change with actor, instant and reason; rows are only ever added, and triggers in the database refuse
to alter or remove one. A change of state and its event are one transaction.

Writers may be many: SQLite runs in write-ahead mode, takes its write lock when a transaction begins
and waits for it; on PostgreSQL writers hold one advisory lock for the transaction. Instants are
given by the caller, aware, and stored as text in UTC, so that both databases keep them alike.
"""

import contextlib
from collections.abc import Generator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from pydantic import Field, model_validator
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sensequant.errors import ConfigError, RegistryError, SchemaVersionError
from sensequant.records import Finite, Record
from sensequant.release.gates import Decision
from sensequant.release.manifest import CandidateStatus, status_of
from sensequant.release.registry_tables import (
    CANDIDATES,
    EVENTS,
    METADATA,
    SCHEMA,
    SCHEMA_VERSION,
)
from sensequant.runs import RUN_ID_PATTERN
from sensequant.storage import locked

__all__ = [
    "CandidateEvent",
    "CandidateRun",
    "EventKind",
    "Registry",
    "RunResult",
]

_BUSY_TIMEOUT_MS = 30_000
_SHA256 = r"^[0-9a-f]{64}$"
_IS_WRITE = "sensequant_is_write"
_WRITERS_LOCK = 7_302_021
"""Number of the PostgreSQL advisory lock that writers hold; any number of our own does."""


class EventKind(StrEnum):
    """What happened to a candidate."""

    RECORDED = "recorded"
    SUPERSEDED = "superseded"


class RunResult(Record):
    """How a run ended, as it is told to the registry: with a verdict, or failed in a stage."""

    run_id: str = Field(pattern=f"^{RUN_ID_PATTERN.pattern}$")
    decision: Decision | None = None
    failed_stage: str | None = None
    reason: str = Field(min_length=1)
    manifest_sha256: str | None = Field(default=None, pattern=_SHA256)
    evidence_digest: str | None = Field(default=None, pattern=_SHA256)
    is_simulated: bool
    summary: dict[str, Finite | int | str | bool | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _either_judged_or_failed(self) -> Self:
        is_judged = self.decision is not None
        if is_judged == (self.failed_stage is not None):
            raise ConfigError(
                "result of a run is contradictory",
                where="RunResult.decision and RunResult.failed_stage",
                expected="a decision, or the stage that failed",
                found="both" if is_judged else "neither",
            )
        if is_judged and (self.manifest_sha256 is None or self.evidence_digest is None):
            raise ConfigError(
                "a judged run has no manifest",
                where="RunResult.manifest_sha256 and RunResult.evidence_digest",
                expected="the digests of the manifest that the decision rests on",
                found="none",
                remedy="write the manifest before recording the run",
            )
        return self

    @property
    def status(self) -> CandidateStatus:
        """The state that this result puts the candidate into."""
        return CandidateStatus.FAILED if self.decision is None else status_of(self.decision)


class CandidateRun(Record):
    """The present state of one run in the registry."""

    run_id: str
    status: CandidateStatus
    decision: Decision | None
    failed_stage: str | None
    reason: str
    manifest_sha256: str | None
    evidence_digest: str | None
    is_simulated: bool
    summary: dict[str, Finite | int | str | bool | None]
    recorded_at: datetime
    updated_at: datetime


class CandidateEvent(Record):
    """One entry of a candidate's history."""

    run_id: str
    kind: EventKind
    at: datetime
    actor: str
    from_status: CandidateStatus | None
    to_status: CandidateStatus
    reason: str
    manifest_sha256: str | None
    previous_manifest_sha256: str | None


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
        self._engine = _engine(url)
        try:
            with self._setting_up():
                self._set_up()
        except BaseException:
            self.close()
            raise

    def record_candidate_run(self, result: RunResult, *, actor: str, at: datetime) -> CandidateRun:
        """Record how a run ended; the same result again changes nothing.

        A result with another manifest, state or reason supersedes the former one, and the event
        says so.

        Parameters
        ----------
        result
            Verdict and manifest, or the stage that failed.
        actor
            Who records: a person, or the name of the flow.
        at
            Aware instant.

        Raises
        ------
        ConfigError
            No actor, or an instant without time zone.
        """
        instant = _as_text(at)
        if not actor.strip():
            raise ConfigError("actor was empty", where="actor", expected="who records", found="''")
        with self._transaction(is_write=True) as connection:
            former = _find(connection, result.run_id)
            if former is None or not _is_same(former, result):
                _store(connection, result, former=former, instant=instant)
                _tell(connection, result, former=former, actor=actor, instant=instant)
            return _one(connection, result.run_id)

    def get_latest_candidate_run(self) -> CandidateRun | None:
        """Return the run that was first recorded last; None from an empty registry."""
        query = sa.select(CANDIDATES).order_by(CANDIDATES.c.id.desc()).limit(1)
        with self._transaction(is_write=False) as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _candidate(row)

    def get_candidate_runs(self, status: CandidateStatus | None = None) -> list[CandidateRun]:
        """Return all candidates, or those in one state, the latest first."""
        query = sa.select(CANDIDATES).order_by(CANDIDATES.c.id.desc())
        if status is not None:
            query = query.where(CANDIDATES.c.status == status.value)
        with self._transaction(is_write=False) as connection:
            rows = connection.execute(query).mappings().all()
        return [_candidate(row) for row in rows]

    def get_candidate_run(self, run_id: str) -> CandidateRun:
        """Return one candidate.

        Raises
        ------
        RegistryError
            The run is not in the registry.
        """
        with self._transaction(is_write=False) as connection:
            return _one(connection, run_id)

    def history(self, run_id: str) -> list[CandidateEvent]:
        """Return everything that happened to a candidate, the oldest first.

        Raises
        ------
        RegistryError
            The run is not in the registry.
        """
        query = sa.select(EVENTS).where(EVENTS.c.run_id == run_id).order_by(EVENTS.c.id)
        with self._transaction(is_write=False) as connection:
            _one(connection, run_id)
            rows = connection.execute(query).mappings().all()
        return [CandidateEvent.model_validate(_without_id(row)) for row in rows]

    def close(self) -> None:
        """Give back the connections to the database."""
        self._engine.dispose()

    @property
    def _is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    def _set_up(self) -> None:
        with self._transaction(is_write=True) as connection:
            _require_schema(connection)
        if self._is_sqlite:
            # Outside of any transaction; the mode stays in the file.
            with self._engine.connect() as connection:
                raw: Any = connection.connection.driver_connection
                raw.execute("PRAGMA journal_mode=WAL")

    @contextlib.contextmanager
    def _setting_up(self) -> Generator[None]:
        database = self._engine.url.database
        if self._is_sqlite and database:
            # Changing the journal mode does not wait for other connections, so openers queue here.
            with locked(Path(database)):
                yield
        else:
            yield

    @contextlib.contextmanager
    def _transaction(self, *, is_write: bool) -> Generator[sa.Connection]:
        engine = self._engine.execution_options(**{_IS_WRITE: is_write})
        try:
            with engine.begin() as connection:
                if is_write and not self._is_sqlite:
                    _queue_writers(connection)
                yield connection
        except SQLAlchemyError as error:
            raise RegistryError(
                "the registry's database refused",
                where=self._engine.url.render_as_string(hide_password=True),
                found=str(error).splitlines()[0],
                remedy="see whether the database is reachable, writable and not locked",
            ) from error


def _engine(url: str) -> sa.Engine:
    try:
        engine = sa.create_engine(url)
    except (ArgumentError, ModuleNotFoundError) as error:
        raise ConfigError(
            "registry address cannot be used",
            where="url",
            expected="sqlite:///file, or a PostgreSQL address with an installed driver",
            found=str(error),
            remedy="install the driver that the address names, or use SQLite",
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own rule would begin a transaction only at the first write, too late to wait for
    # the lock: a read that has become stale by then fails at once.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: sa.Connection) -> None:
    is_write = connection.get_execution_options().get(_IS_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


def _queue_writers(connection: sa.Connection) -> None:
    # One lock for all writers of this registry, freed at the end of the transaction; unlike a lock
    # on a row it also holds while the tables are being made.
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITERS_LOCK)))


def _require_schema(connection: sa.Connection) -> None:
    if not sa.inspect(connection).has_table(SCHEMA.name):
        METADATA.create_all(connection)
        connection.execute(sa.insert(SCHEMA).values(id=1, version=SCHEMA_VERSION))
    found = connection.execute(sa.select(SCHEMA.c.version)).scalars().all()
    if found != [SCHEMA_VERSION]:
        raise SchemaVersionError(
            "registry has another schema version",
            where=connection.engine.url.render_as_string(hide_password=True),
            expected=str(SCHEMA_VERSION),
            found=", ".join(map(str, found)) or "none",
            remedy="use the version of sensequant that wrote it, or another registry",
        )


def _find(connection: sa.Connection, run_id: str) -> CandidateRun | None:
    query = sa.select(CANDIDATES).where(CANDIDATES.c.run_id == run_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else _candidate(row)


def _one(connection: sa.Connection, run_id: str) -> CandidateRun:
    found = _find(connection, run_id)
    if found is None:
        raise RegistryError(
            "run is not in the registry",
            where=run_id,
            expected="a run that was recorded",
            found="no such candidate",
            remedy="list the candidates with get_candidate_runs",
        )
    return found


def _is_same(former: CandidateRun, result: RunResult) -> bool:
    return (former.manifest_sha256, former.status, former.reason) == (
        result.manifest_sha256,
        result.status,
        result.reason,
    )


def _store(
    connection: sa.Connection, result: RunResult, *, former: CandidateRun | None, instant: str
) -> None:
    values = {
        "status": result.status.value,
        "updated_at": instant,
        **result.model_dump(mode="json", exclude={"schema_version", "run_id"}),
    }
    if former is None:
        row = {**values, "run_id": result.run_id, "recorded_at": instant}
        connection.execute(sa.insert(CANDIDATES).values(row))
        return
    update = sa.update(CANDIDATES).where(CANDIDATES.c.run_id == result.run_id)
    connection.execute(update.values(values))


def _tell(
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


def _candidate(row: sa.RowMapping) -> CandidateRun:
    return CandidateRun.model_validate(_without_id(row))


def _without_id(row: sa.RowMapping) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "id"}


def _as_text(at: datetime) -> str:
    if at.tzinfo is None:
        raise ConfigError(
            "instant has no time zone",
            where="at",
            expected="an aware datetime",
            found=at.isoformat(),
            remedy="give it in UTC",
        )
    return at.astimezone(UTC).isoformat()
