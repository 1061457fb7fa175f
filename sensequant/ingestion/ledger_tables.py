"""Tables of the ledger, and the triggers that keep its history of chunks whole.

Belongs here: columns, and what the database itself enforces, on SQLite and PostgreSQL. Does not
belong here: when a row is written (`ledger`), how the database is reached (`databases`).

Instants are text in UTC (ISO 8601 with microseconds, so that they sort as they follow each other),
days are dates in India, digests are text of the caller.
"""

import sqlalchemy as sa
from sqlalchemy import event

from sensequant.databases import Layout, version_table
from sensequant.errors import RecordError, StorageError

__all__ = ["BACKFILLS", "CALLS", "CHUNKS", "LAYOUT", "PAUSES", "STOPS"]

_METADATA = sa.MetaData()

LAYOUT = Layout(
    name="ledger",
    metadata=_METADATA,
    version=version_table("ledger_schema", _METADATA),
    version_number=2,
    # What earlier entries would have counted is not known: null.
    upgrades={1: "ALTER TABLE ledger_chunks ADD COLUMN n_missing_bars INTEGER"},
    writers_lock=7_302_022,
    # Chunks of which the ledger has lost the entries are fetched again.
    synchronous="NORMAL",
    refusal=StorageError,
    damage=RecordError,
    when_damaged="move the file away; a new ledger is begun, and bars that are stored stay, but "
    "are fetched once more",
)

CHUNKS = sa.Table(
    "ledger_chunks",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("store_key", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("symbol", sa.String(32), nullable=False),
    sa.Column("interval", sa.String(16), nullable=False),
    sa.Column("start", sa.Date),
    sa.Column("end", sa.Date),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(64)),
    sa.Column("n_rows", sa.Integer, nullable=False),
    sa.Column("n_bars", sa.Integer, nullable=False),
    sa.Column("n_quarantined", sa.Integer, nullable=False),
    sa.Column("n_duplicates_dropped", sa.Integer, nullable=False),
    sa.Column("n_missing_sessions", sa.Integer, nullable=False),
    sa.Column("missing_sessions", sa.JSON, nullable=False),
    sa.Column("n_missing_bars", sa.Integer),
    sa.Column("settled_through", sa.Date),
    sa.Column("source_digest", sa.String(64)),
    sa.Column("n_calls", sa.Integer),
    sa.Column("findings", sa.JSON, nullable=False),
    sa.Column("error_type", sa.String(64)),
    sa.Column("error_message", sa.Text),
    sa.Column("fetched_at", sa.String(40), nullable=False),
    sa.Column("seconds", sa.Float(), nullable=False),
    sa.Column("backfill_id", sa.String(128)),
    sa.Index("ix_ledger_chunks_bars", "store_key", "symbol", "interval"),
    sa.Index("ix_ledger_chunks_backfill", "backfill_id"),
    sqlite_autoincrement=True,
)

CALLS = sa.Table(
    "ledger_calls",
    _METADATA,
    sa.Column("key_digest", sa.String(64), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("minute", sa.BigInteger, primary_key=True),
    sa.Column("n_calls", sa.Integer, nullable=False),
)
"""Calls of one key in one minute; `minute` counts from 1970-01-01 00:00 UTC."""

PAUSES = sa.Table(
    "ledger_pauses",
    _METADATA,
    sa.Column("key_digest", sa.String(64), primary_key=True),
    sa.Column("until", sa.String(40), nullable=False),
)

STOPS = sa.Table(
    "ledger_stops",
    _METADATA,
    sa.Column("key_digest", sa.String(64), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("session_digest", sa.String(64), primary_key=True),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
)
"""`session_digest` is empty where the stop holds for any login."""

BACKFILLS = sa.Table(
    "ledger_backfills",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("backfill_id", sa.String(128), nullable=False, unique=True),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("started_at", sa.String(40), nullable=False),
    sa.Column("ended_at", sa.String(40)),
    sa.Column("outcome", sa.String(32)),
    sa.Column("counts", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)

_KEEP_CHUNKS = (
    (
        "sqlite",
        """CREATE TRIGGER ledger_chunks_no_update BEFORE UPDATE ON ledger_chunks
        BEGIN SELECT RAISE(ABORT, 'entries are only ever added'); END""",
    ),
    (
        "sqlite",
        """CREATE TRIGGER ledger_chunks_no_delete BEFORE DELETE ON ledger_chunks
        BEGIN SELECT RAISE(ABORT, 'entries are only ever added'); END""",
    ),
    (
        "postgresql",
        """CREATE FUNCTION ledger_chunks_keep() RETURNS trigger AS $$
        BEGIN RAISE EXCEPTION 'entries are only ever added'; END $$ LANGUAGE plpgsql""",
    ),
    (
        "postgresql",
        """CREATE TRIGGER ledger_chunks_keep
        BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_chunks
        FOR EACH STATEMENT EXECUTE FUNCTION ledger_chunks_keep()""",
    ),
)
for _dialect, _statement in _KEEP_CHUNKS:
    event.listen(CHUNKS, "after_create", sa.DDL(_statement).execute_if(dialect=_dialect))
