"""Tables of the registry, and how a registry of an earlier version becomes one of this.

Belongs here: columns. Does not belong here: what the database itself enforces
(`release.registry_triggers`), when a row is written (`release.registry`, `release.deployments`),
how the database is reached (`databases`).

Instants are text in UTC (ISO 8601), digests 64 hexadecimal digits.
"""

import sqlalchemy as sa
from sqlalchemy import event

from sensequant.databases import Layout, version_table
from sensequant.errors import RegistryError
from sensequant.release.registry_triggers import guards_of

__all__ = ["CANDIDATES", "DEPLOYMENTS", "EVENTS", "LAYOUT", "OUTCOMES"]

_METADATA = sa.MetaData()


def _add_deployments(connection: sa.Connection) -> None:
    _METADATA.create_all(connection, tables=[DEPLOYMENTS, OUTCOMES])
    for guard in guards_of(CANDIDATES)[CANDIDATES]:
        if guard.dialect == connection.dialect.name:
            connection.exec_driver_sql(guard.ddl)


LAYOUT = Layout(
    name="registry",
    metadata=_METADATA,
    version=version_table("registry_schema", _METADATA),
    version_number=3,
    writers_lock=7_302_021,
    synchronous="FULL",
    refusal=RegistryError,
    damage=RegistryError,
    when_damaged="put a copy of the file in its place, or move it away; a new registry knows no "
    "earlier candidate, but their run folders stay",
    upgrades={
        1: "ALTER TABLE candidates ADD COLUMN decide_by VARCHAR(40)",
        2: _add_deployments,
    },
)

CANDIDATES = sa.Table(
    "candidates",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(64), nullable=False, unique=True),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("decision", sa.String(32)),
    sa.Column("failed_stage", sa.String(64)),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("manifest_sha256", sa.String(64)),
    sa.Column("evidence_digest", sa.String(64)),
    sa.Column("is_simulated", sa.Boolean, nullable=False),
    sa.Column("summary", sa.JSON, nullable=False),
    sa.Column("recorded_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
    sa.Column("decide_by", sa.String(40)),
    sqlite_autoincrement=True,
)

EVENTS = sa.Table(
    "candidate_events",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(64), sa.ForeignKey("candidates.run_id"), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("from_status", sa.String(32)),
    sa.Column("to_status", sa.String(32), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("manifest_sha256", sa.String(64)),
    sa.Column("previous_manifest_sha256", sa.String(64)),
    sa.Index("ix_candidate_events_run_id", "run_id"),
    sqlite_autoincrement=True,
)

DEPLOYMENTS = sa.Table(
    "deployments",
    _METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("environment", sa.String(16), nullable=False),
    sa.Column("run_id", sa.String(64), sa.ForeignKey("candidates.run_id"), nullable=False),
    sa.Column("model_sha256", sa.String(64), nullable=False),
    sa.Column("manifest_sha256", sa.String(64), nullable=False),
    sa.Column("is_simulated", sa.Boolean, nullable=False),
    sa.Column("replaces", sa.Integer, sa.ForeignKey("deployments.number")),
    sa.Column("restores", sa.Integer, sa.ForeignKey("deployments.number")),
    sa.Column("former", sa.Integer, sa.ForeignKey("deployments.number")),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("readiness", sa.JSON, nullable=False),
    sa.Index("ix_deployments_environment", "environment"),
    sqlite_autoincrement=True,
)
"""What was about to be deployed, written before anything moves."""

OUTCOMES = sa.Table(
    "deployment_outcomes",
    _METADATA,
    sa.Column(
        "deployment_number",
        sa.Integer,
        sa.ForeignKey("deployments.number"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("ended_at", sa.String(40), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("note", sa.Text),
)
"""How each of them ended, written after the pointer has moved or is known to stay."""

for _table, _guards in guards_of(CANDIDATES, EVENTS, DEPLOYMENTS, OUTCOMES).items():
    for _guard in _guards:
        event.listen(_table, "after_create", sa.DDL(_guard.ddl).execute_if(dialect=_guard.dialect))
