"""Tables of the registry, and the triggers that keep its history whole.

Belongs here: columns, and what the database itself enforces, on SQLite and PostgreSQL. Does not
belong here: when a row is written (`release.registry`), how the database is reached (`databases`).

Instants are text in UTC (ISO 8601), digests 64 hexadecimal digits.
"""

import sqlalchemy as sa
from sqlalchemy import event

from sensequant.databases import Layout, version_table
from sensequant.errors import RegistryError

__all__ = ["CANDIDATES", "EVENTS", "LAYOUT"]

_METADATA = sa.MetaData()

LAYOUT = Layout(
    name="registry",
    metadata=_METADATA,
    version=version_table("registry_schema", _METADATA),
    version_number=2,
    writers_lock=7_302_021,
    synchronous="FULL",
    refusal=RegistryError,
    damage=RegistryError,
    when_damaged="put a copy of the file in its place, or move it away; a new registry knows no "
    "earlier candidate, but their run folders stay",
    upgrades={1: "ALTER TABLE candidates ADD COLUMN decide_by VARCHAR(40)"},
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

_KEEP_EVENTS = (
    (
        "sqlite",
        """CREATE TRIGGER candidate_events_no_update BEFORE UPDATE ON candidate_events
        BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END""",
    ),
    (
        "sqlite",
        """CREATE TRIGGER candidate_events_no_delete BEFORE DELETE ON candidate_events
        BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END""",
    ),
    (
        "postgresql",
        """CREATE FUNCTION candidate_events_keep() RETURNS trigger AS $$
        BEGIN RAISE EXCEPTION 'events are only ever added'; END $$ LANGUAGE plpgsql""",
    ),
    (
        "postgresql",
        """CREATE TRIGGER candidate_events_keep
        BEFORE UPDATE OR DELETE OR TRUNCATE ON candidate_events
        FOR EACH STATEMENT EXECUTE FUNCTION candidate_events_keep()""",
    ),
)
for _dialect, _statement in _KEEP_EVENTS:
    event.listen(EVENTS, "after_create", sa.DDL(_statement).execute_if(dialect=_dialect))
