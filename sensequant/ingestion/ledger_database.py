"""How the ledger's database is reached: opening, transactions, and what its refusals mean.

Belongs here: SQLite and PostgreSQL, locks, and the translation of their errors. Does not belong
here: tables (`ledger_tables`) and facts (`ledger`).

SQLite runs in write-ahead mode, takes its write lock when a transaction begins and waits for it; on
PostgreSQL writers hold one advisory lock for the transaction. A commit survives the death of its
process. On SQLite the last commits before a power failure may be lost, never a part of one: chunks
of which the ledger then knows nothing are fetched again.
"""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sensequant.errors import ConfigError, RecordError, SchemaVersionError, StorageError
from sensequant.ingestion.ledger_tables import METADATA, SCHEMA, SCHEMA_VERSION
from sensequant.storage import locked

__all__ = ["LedgerDatabase"]

_BUSY_TIMEOUT_MS = 60_000
_IS_WRITE = "sensequant_is_write"
_WRITERS_LOCK = 7_302_022
"""Number of the PostgreSQL advisory lock that writers hold; the registry's is another one."""

_DAMAGED = ("file is not a database", "malformed")
_REMEDIES = {
    "database or disk is full": "free space on the disk of the ledger, then run again",
    "readonly database": "make the ledger's file and folder writable for this user",
    "unable to open": "make the ledger's folder, or name a place that this user may write",
    "disk i/o error": "see whether the disk of the ledger is healthy and has space",
    "database is locked": "see which program keeps the ledger open in a long transaction",
}


class LedgerDatabase:
    """One open database with the ledger's tables; they are made where they are missing.

    Parameters
    ----------
    place
        Path of a SQLite file, or an address such as `postgresql+psycopg://host/name`.

    Raises
    ------
    ConfigError
        The address is none, or its driver is not installed.
    StorageError
        The database cannot be reached or written.
    RecordError
        The file is no database, is damaged, or has tables of another layout.
    """

    def __init__(self, place: str | Path) -> None:
        self._engine = _engine(place)
        try:
            with self._setting_up():
                self._set_up()
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def writing(self) -> Generator[sa.Connection]:
        """Open a transaction that no other writer shares; it is committed at the end."""
        with self._transaction(is_write=True) as connection:
            if not self._is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITERS_LOCK)))
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """Open a transaction that sees one state of the ledger."""
        with self._transaction(is_write=False) as connection:
            yield connection

    def close(self) -> None:
        """Give back the connections to the database."""
        self._engine.dispose()

    @property
    def _is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    def _set_up(self) -> None:
        with self.writing() as connection:
            _require_schema(connection)
        if self._is_sqlite:
            # Outside of any transaction; the mode stays in the file.
            with self._explained(), self._engine.connect() as connection:
                raw: Any = connection.connection.driver_connection
                raw.execute("PRAGMA journal_mode=WAL")

    @contextlib.contextmanager
    def _setting_up(self) -> Generator[None]:
        database = self._engine.url.database
        if not self._is_sqlite or not database:
            yield
            return
        # Changing the journal mode does not wait for other connections, so openers queue here.
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(Path(database)))
            except OSError as error:
                raise self._refusal(error, "unable to open the folder") from error
            yield

    @contextlib.contextmanager
    def _transaction(self, *, is_write: bool) -> Generator[sa.Connection]:
        engine = self._engine.execution_options(**{_IS_WRITE: is_write})
        with self._explained(), engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise self._refusal(error, str(error).splitlines()[0]) from error

    def _refusal(self, error: Exception, found: str) -> StorageError | RecordError:
        where = self._engine.url.render_as_string(hide_password=True)
        said = f"{found} {error}".lower()
        if any(sign in said for sign in _DAMAGED):
            return RecordError(
                "ledger cannot be read",
                where=where,
                expected="a ledger of this project",
                found=found,
                remedy="move the file away; a new ledger is begun, and bars that are stored stay, "
                "but are fetched once more",
            )
        remedy = next((text for sign, text in _REMEDIES.items() if sign in said), None)
        return StorageError(
            "ledger's database refused",
            where=where,
            expected="a database that is reachable and writable",
            found=found,
            remedy=remedy or "see whether the database is reachable, writable and not locked",
        )


def _engine(place: str | Path) -> sa.Engine:
    # A path may hold signs that mean something in an address.
    url: str | sa.URL = sa.URL.create("sqlite", database=str(place))
    if isinstance(place, str) and "://" in place:
        url = place
    try:
        engine = sa.create_engine(url)
    except (ArgumentError, ModuleNotFoundError) as error:
        raise ConfigError(
            "ledger's address cannot be used",
            where="address of the ledger",
            expected="a path, or a PostgreSQL address with an installed driver",
            found=str(error),
            remedy="install the driver that the address names, or use a file",
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
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_sqlite(connection: sa.Connection) -> None:
    is_write = connection.get_execution_options().get(_IS_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


def _require_schema(connection: sa.Connection) -> None:
    if not sa.inspect(connection).has_table(SCHEMA.name):
        METADATA.create_all(connection)
        connection.execute(sa.insert(SCHEMA).values(id=1, version=SCHEMA_VERSION))
    found = connection.execute(sa.select(SCHEMA.c.version)).scalars().all()
    if found != [SCHEMA_VERSION]:
        raise SchemaVersionError(
            "ledger has another schema version",
            where=connection.engine.url.render_as_string(hide_password=True),
            expected=str(SCHEMA_VERSION),
            found=", ".join(map(str, found)) or "none",
            remedy="use the version of sensequant that wrote it, or another ledger",
        )
