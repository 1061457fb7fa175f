"""Tables of the registry, and the triggers that keep its history whole.

Belongs here: columns, and what the database itself enforces, on SQLite and PostgreSQL. Does not
belong here: when a row is written (`release.registry`).

Instants are text in UTC (ISO 8601), digests 64 hexadecimal digits.
"""

import sqlalchemy as sa
from sqlalchemy import event

__all__ = ["CANDIDATES", "EVENTS", "METADATA", "SCHEMA", "SCHEMA_VERSION"]

SCHEMA_VERSION = 1
"""Layout of the tables; a registry of another layout is refused."""

METADATA = sa.MetaData()

SCHEMA = sa.Table(
    "registry_schema",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)

CANDIDATES = sa.Table(
    "candidates",
    METADATA,
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
    sqlite_autoincrement=True,
)

EVENTS = sa.Table(
    "candidate_events",
    METADATA,
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
