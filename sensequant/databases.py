"""How a database with many writers is reached: opening, transactions, what its refusals mean.

Belongs here: SQLite and PostgreSQL, their locks, the check of a layout's version, and the
translation of their errors. Does not belong here: tables (`ingestion.ledger_tables`,
`release.registry_tables`), and what is written into them when (`ingestion.ledger`,
`release.registry`).

SQLite runs in write-ahead mode, takes its write lock when a transaction begins and waits for it; on
PostgreSQL writers hold one advisory lock for the transaction. A commit survives the death of its
process; whether it survives a power failure on SQLite is for the layout to choose.

Sources: https://sqlite.org/wal.html, https://sqlite.org/pragma.html#pragma_synchronous,
https://sqlite.org/rescode.html, https://www.postgresql.org/docs/current/explicit-locking.html
"""

import contextlib
import sqlite3
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sensequant.errors import ConfigError, SchemaVersionError, SenseQuantError
from sensequant.storage import locked

__all__ = ["Database", "Layout", "Upgrade", "version_table"]

_BUSY_TIMEOUT_MS = 60_000
_BEGIN = "sensequant_begin"
_NO_TRANSACTION = ""

_SECRETS = ("password", "sslpassword")
_PATIENCE = {"connect_timeout": 30, "tcp_user_timeout": 60_000}
"""How long a PostgreSQL server may be silent, where its address says nothing else: seconds until it
takes a connection, milliseconds until it acknowledges what was sent."""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REMEDIES = {
    sqlite3.SQLITE_FULL: "free space on the disk of the {name}, then run again",
    sqlite3.SQLITE_READONLY: "make the {name}'s file and folder writable for this user",
    sqlite3.SQLITE_CANTOPEN: "make the {name}'s folder, or name a place that this user may write",
    sqlite3.SQLITE_IOERR: "see whether the disk of the {name} is healthy and has space",
    sqlite3.SQLITE_BUSY: "see which program keeps the {name} open in a long transaction",
}
Upgrade = str | Callable[[sa.Connection], None]
"""What makes the next version of a layout."""

_REMEDY = "see whether the database is reachable, writable and not locked"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What makes one database different from another.

    Parameters
    ----------
    name
        What the database is called in messages, as one word.
    metadata
        All its tables, that of `version` among them; they are made where they are missing.
    version
        Table that holds the version of the layout, made by `version_table`.
    version_number
        Version that this code reads and writes; any other that cannot be upgraded is refused.
    upgrades
        By an earlier version, the statement that makes the next one of it and loses nothing; or,
        where one statement is not enough, what sends them all within the transaction it is given.
    writers_lock
        Number of the PostgreSQL advisory lock that writers hold; each layout has its own.
    synchronous
        On SQLite: FULL keeps every commit through a power failure. NORMAL may then lose the last
        commits, never a part of one, and does not wait for the disk at each.
    refusal
        Error for a database that cannot be reached, read or written.
    damage
        Error for a file that is no database, or is damaged.
    when_damaged
        What a reader of that error can do.
    """

    name: str
    metadata: sa.MetaData
    version: sa.Table
    version_number: int
    writers_lock: int
    synchronous: Literal["NORMAL", "FULL"]
    refusal: type[SenseQuantError]
    damage: type[SenseQuantError]
    when_damaged: str
    upgrades: Mapping[int, Upgrade] = field(default_factory=dict[int, Upgrade])


class Database:
    """One open database with the tables of a layout. Threads may share it.

    Parameters
    ----------
    place
        Path of a SQLite file, whose folder is made if it is missing; or an address as text:
        `sqlite:///file`, or `postgresql+psycopg://host/name`, whose driver must be installed.
    layout
        What the database holds.

    Raises
    ------
    ConfigError
        The address is none, or its driver is not installed.
    SchemaVersionError
        The tables have another layout.
    SenseQuantError
        `layout.refusal` or `layout.damage`: the database cannot be used.
    """

    def __init__(self, place: str | Path, layout: Layout) -> None:
        self._layout = layout
        self._engine = _engine(place, layout)
        try:
            with self._alone_in_opening():
                self._set_up()
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def writing(self) -> Generator[sa.Connection]:
        """Open a transaction that no other writer shares; it is committed at the end."""
        with self._connection("BEGIN IMMEDIATE") as connection:
            if not self._is_sqlite:
                # Unlike a lock on a row, this one also holds while the tables are being made.
                lock = sa.func.pg_advisory_xact_lock(self._layout.writers_lock)
                connection.execute(sa.select(lock))
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """Open a transaction that waits for no writer, and that no writer waits for."""
        with self._connection("BEGIN") as connection:
            yield connection

    def close(self) -> None:
        """Give back the connections to the database."""
        self._engine.dispose()

    @property
    def _is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    @property
    def address(self) -> str:
        """Where it lies, without password."""
        url = self._engine.url.difference_update_query(_SECRETS)
        return url.render_as_string(hide_password=True)

    def _set_up(self) -> None:
        with self.writing() as connection:
            self._require_version(connection)
        if self._is_sqlite:
            # The mode cannot change within a transaction; it stays in the file.
            with self._connection(_NO_TRANSACTION) as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")

    def _require_version(self, connection: sa.Connection) -> None:
        table, number = self._layout.version, self._layout.version_number
        if not sa.inspect(connection).has_table(table.name):
            self._layout.metadata.create_all(connection)
            connection.execute(sa.insert(table).values(id=1, version=number))
        found = connection.execute(sa.select(table.c.version)).scalars().all()
        while len(found) == 1 and found[0] in self._layout.upgrades and found[0] < number:
            upgrade = self._layout.upgrades[found[0]]
            if isinstance(upgrade, str):
                connection.exec_driver_sql(upgrade)
            else:
                upgrade(connection)
            found = [found[0] + 1]
            connection.execute(sa.update(table).values(version=found[0]))
        if found != [number]:
            name = self._layout.name
            raise SchemaVersionError(
                f"{name} has another schema version",
                where=self.address,
                expected=str(number),
                found=", ".join(map(str, found)) or "none",
                remedy=f"use the version of sensequant that wrote it, or another {name}",
            )

    @contextlib.contextmanager
    def _alone_in_opening(self) -> Generator[None]:
        database = self._engine.url.database
        if not self._is_sqlite or not database:
            yield
            return
        # Who changes the journal mode while another does is refused at once, so openers queue here.
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(Path(database)))
            except OSError as error:
                raise self._refusal(str(error), sqlite3.SQLITE_CANTOPEN) from error
            yield

    @contextlib.contextmanager
    def _connection(self, begin: str) -> Generator[sa.Connection]:
        engine = self._engine.execution_options(**{_BEGIN: begin})
        try:
            with engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            # Further lines hold the statement and its values.
            found = str(error).splitlines()[0]
            raise self._refusal(found, _sqlite_code(error)) from error

    def _refusal(self, found: str, code: int | None) -> SenseQuantError:
        layout = self._layout
        if code in _DAMAGED:
            return layout.damage(
                f"{layout.name} cannot be read",
                where=self.address,
                expected=f"a {layout.name} of this project",
                found=found,
                remedy=layout.when_damaged,
            )
        remedy = _REMEDY if code is None else _REMEDIES.get(code, _REMEDY)
        return layout.refusal(
            f"{layout.name}'s database refused",
            where=self.address,
            expected="a database that is reachable and writable",
            found=found,
            remedy=remedy.format(name=layout.name),
        )


def version_table(name: str, metadata: sa.MetaData) -> sa.Table:
    """Return the table, of one row, that holds the version of a layout.

    Parameters
    ----------
    name
        Its name in the database.
    metadata
        The layout's tables, which it joins.
    """
    return sa.Table(
        name,
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
    )


def _engine(place: str | Path, layout: Layout) -> sa.Engine:
    # A path may hold signs that mean something in an address.
    is_path = isinstance(place, Path)
    url = sa.URL.create("sqlite", database=str(place)) if is_path else place
    try:
        engine = _engine_at(sa.make_url(url))
    except (ArgumentError, ImportError, ValueError) as error:
        raise ConfigError(
            f"{layout.name}'s address cannot be used",
            where=f"address of the {layout.name}",
            expected="sqlite:///file, or a PostgreSQL address with an installed driver",
            found=str(error),
            remedy="install the driver that the address names, or use a file",
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _preparing_sqlite(layout))
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _engine_at(url: sa.URL) -> sa.Engine:
    if url.drivername != "postgresql+psycopg":
        return sa.create_engine(url)
    patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    # A server that was started anew between two transactions is no error.
    return sa.create_engine(url, pool_pre_ping=True, connect_args=patience)


def _preparing_sqlite(layout: Layout) -> Any:
    def prepare(connection: Any, _record: Any) -> None:
        # The driver's own rule would begin a transaction only at the first write, too late to wait
        # for the lock: a read that has become stale by then fails at once.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA synchronous={layout.synchronous}")

    return prepare


def _begin_sqlite(connection: sa.Connection) -> None:
    begin = connection.get_execution_options()[_BEGIN]
    if begin != _NO_TRANSACTION:
        connection.exec_driver_sql(begin)


def _sqlite_code(error: SQLAlchemyError) -> int | None:
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    # The lowest byte is the kind, those above it say more.
    return None if code is None else code & 0xFF
