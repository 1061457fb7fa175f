"""How Prefect's server uses its SQLite file, where what it ships with loses or freezes.

Belongs here: when a transaction takes the write lock, and what a failed statement leaves behind.
Does not belong here: this project's own databases (`sensequant.databases`), and PostgreSQL, which
needs none of it.

Prefect takes the write lock at the first statement that writes. Where one reads before, and another
transaction writes in between, SQLite refuses the second at once, however long it may wait: the
press of a button fails, a heartbeat and an event are lost. Taken at its beginning, the lock is
waited for.

A statement that fails leaves its cursor open, in a cycle with its traceback. When Python collects
it, on the thread of the event loop, SQLite waits for the cursor's connection; if that waits for a
lock that a task of this loop holds, the whole server stands still for the 60 seconds of its
patience. Here such a cursor is closed on its connection's own thread.

Sources: https://sqlite.org/lang_transaction.html, https://sqlite.org/rescode.html#busy_snapshot,
https://sqlite.org/threadsafe.html
"""

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

__all__ = ["set_up"]

_begin_transaction = AioSqliteConfiguration.begin_transaction
_execute: Any = vars(aiosqlite.Cursor)["_execute"]


def set_up() -> None:
    """Prepare this process, a server, for writers that meet; a second time changes nothing."""
    databases: Any = AioSqliteConfiguration
    databases.begin_transaction = _begin_with_the_lock
    cursors: Any = aiosqlite.Cursor
    cursors._execute = _execute_or_close  # noqa: SLF001


@asynccontextmanager
async def _begin_with_the_lock(
    configuration: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = False
) -> AsyncGenerator[AsyncSessionTransaction, None]:
    del with_for_update
    async with _begin_transaction(configuration, session, with_for_update=True) as transaction:
        # SQLAlchemy begins at the first statement; what reads in a session of its own meanwhile,
        # in the same task, must not ask for the lock too.
        await session.connection()
        outer = SQLITE_BEGIN_MODE.set(None)
        try:
            yield transaction
        finally:
            SQLITE_BEGIN_MODE.reset(outer)


async def _execute_or_close(
    cursor: Any, work: Callable[..., Any], *arguments: Any, **options: Any
) -> Any:
    try:
        return await _execute(cursor, work, *arguments, **options)
    except sqlite3.Error:
        await _execute(cursor, cursor._cursor.close)  # noqa: SLF001
        raise
