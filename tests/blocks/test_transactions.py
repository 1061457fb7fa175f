"""Facts about writers that meet in the SQLite file of Prefect's server, beside Prefect as it is."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiosqlite
import pytest
import sqlalchemy as sa
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from blocks import transactions
from blocks.environment import server_settings

Work = Callable[["_Server"], Awaitable[None]]


class _Server:
    """A database as Prefect's server opens it, with sessions as its routes ask for them."""

    def __init__(self, file: Path) -> None:
        self.configuration = AioSqliteConfiguration(f"sqlite+aiosqlite:///{file}")

    async def session(self) -> AsyncSession:
        return await self.configuration.session(await self.configuration.engine())

    async def write(self, name: str) -> None:
        async with await self.session() as session, self.configuration.begin_transaction(session):
            await session.execute(sa.text("INSERT INTO told VALUES (:name)"), {"name": name})

    async def told(self) -> list[str]:
        async with await self.session() as session:
            return list((await session.execute(sa.text("SELECT name FROM told"))).scalars())


@pytest.fixture
def as_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's server without what this project adds."""
    monkeypatch.setattr(
        AioSqliteConfiguration, "begin_transaction", transactions._begin_transaction
    )
    monkeypatch.setattr(aiosqlite.Cursor, "_execute", transactions._execute)


@pytest.fixture
def prepared(as_shipped: None) -> None:  # noqa: ARG001 - undone as it is
    transactions.set_up()
    transactions.set_up()


def run(tmp_path: Path, work: Work) -> None:
    async def on_a_table() -> None:
        server = _Server(tmp_path / "server.db")
        engine = await server.configuration.engine()
        async with engine.begin() as connection:
            await connection.execute(sa.text("CREATE TABLE told (name TEXT UNIQUE)"))
        try:
            await work(server)
        finally:
            await engine.dispose()

    asyncio.run(on_a_table())


async def read_then_write(server: _Server) -> None:
    """Look and then change, as the press of a button does, while another writes between."""
    looked, other_may_write = asyncio.Event(), asyncio.Event()

    async def other() -> None:
        await looked.wait()
        writing = asyncio.create_task(server.write("other"))
        # Without the lock it is done at once; with it, it waits until the press is over.
        await asyncio.wait([writing], timeout=0.5)
        other_may_write.set()
        await writing

    async def press() -> None:
        async with (
            await server.session() as session,
            server.configuration.begin_transaction(session),
        ):
            await session.execute(sa.text("SELECT count(*) FROM told"))
            looked.set()
            await other_may_write.wait()
            await session.execute(sa.text("INSERT INTO told VALUES ('press')"))

    await asyncio.gather(press(), other())


@pytest.mark.usefixtures("as_shipped")
def test_what_looks_and_then_writes_is_refused_by_the_server_as_shipped(tmp_path: Path) -> None:
    """The reason for what is added; once Prefect mends it, the addition can go."""
    with pytest.raises(OperationalError, match="database is locked"):
        run(tmp_path, read_then_write)


@pytest.mark.usefixtures("prepared")
def test_what_looks_and_then_writes_is_written(tmp_path: Path) -> None:
    async def both(server: _Server) -> None:
        await read_then_write(server)
        assert sorted(await server.told()) == ["other", "press"]

    run(tmp_path, both)


@pytest.mark.usefixtures("prepared")
def test_what_reads_in_a_session_of_its_own_meanwhile_does_not_wait(tmp_path: Path) -> None:
    """Routes of Prefect read so, inside of their transaction: it must see the file, unlocked."""

    async def nested(server: _Server) -> None:
        async with (
            await server.session() as session,
            server.configuration.begin_transaction(session),
        ):
            await session.execute(sa.text("INSERT INTO told VALUES ('outer')"))
            assert await asyncio.wait_for(server.told(), timeout=20) == []
        assert await server.told() == ["outer"]

    run(tmp_path, nested)


async def fail_and_look_at_the_cursor(server: _Server) -> sqlite3.Cursor:
    """Return the cursor of a statement that failed; its error is still held, as by a collector."""
    made: list[aiosqlite.Cursor] = []
    connect = aiosqlite.Connection.cursor

    async def cursor(connection: aiosqlite.Connection) -> aiosqlite.Cursor:
        made.append(await connect(connection))
        return made[-1]

    await server.write("once")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aiosqlite.Connection, "cursor", cursor)
        with pytest.raises(IntegrityError):
            await server.write("once")
    return made[-1]._cursor


def is_open(cursor: sqlite3.Cursor) -> bool:
    """Say whether it still has its connection; a closed one needs nothing of it any more."""
    try:
        cursor.fetchone()
    except sqlite3.ProgrammingError as error:
        return "closed cursor" not in str(error)
    return True


@pytest.mark.usefixtures("as_shipped")
def test_cursor_of_a_failed_statement_stays_open_as_shipped(tmp_path: Path) -> None:
    """The reason for what is added: the collector that meets it may stop the server."""

    async def fail(server: _Server) -> None:
        assert is_open(await fail_and_look_at_the_cursor(server))

    run(tmp_path, fail)


@pytest.mark.usefixtures("prepared")
def test_cursor_of_a_failed_statement_is_closed(tmp_path: Path) -> None:
    async def fail(server: _Server) -> None:
        assert not is_open(await fail_and_look_at_the_cursor(server))
        assert await server.told() == ["once"]

    run(tmp_path, fail)


def test_the_broker_prepares_the_server() -> None:
    """Prefect's server loads it by name, and asks for no other module of this project."""
    program = """
import aiosqlite
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.utilities.messaging import create_consumer
create_consumer("events")
print(AioSqliteConfiguration.begin_transaction.__module__, aiosqlite.Cursor._execute.__module__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | server_settings(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["blocks.transactions", "blocks.transactions"]
