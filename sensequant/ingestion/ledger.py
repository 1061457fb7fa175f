"""The ledger: what was asked of sources of bars, what they answered, and how often they were asked.

Belongs here: facts about chunks, calls, pauses, stops and backfills, for all stores of one home.
Does not belong here: the bars (`market.store`), what an answer covers (`ranges`), how the database
is reached (`databases`).

A chunk's entry is only ever added. Calls are counted per key and day in India, in steps of one
minute; keys and sessions are known by digests that the caller makes. No clock is read: every
instant is given, aware.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from sensequant.databases import Database
from sensequant.errors import ConfigError, RecordError
from sensequant.ingestion.ledger_records import (
    BackfillEntry,
    CallsUsedUpError,
    ChunkEntry,
    ChunkOutcome,
    Stop,
    StopKind,
)
from sensequant.ingestion.ledger_tables import BACKFILLS, CALLS, CHUNKS, LAYOUT, PAUSES, STOPS
from sensequant.ingestion.ranges import Answer, Range, covered_ranges
from sensequant.market.intervals import Interval
from sensequant.market.sessions import SessionCalendar, session_date_of

__all__ = ["Ledger"]

_ENTRY_COLUMNS = tuple(ChunkEntry.model_fields.keys() - {"schema_version"})

# What each chunk needs is put together once.
_INSERT_CHUNK = sa.insert(CHUNKS)
_ANSWERS = sa.select(
    CHUNKS.c.start, CHUNKS.c.end, CHUNKS.c.settled_through, CHUNKS.c.fetched_at
).where(
    CHUNKS.c.store_key == sa.bindparam("store_key"),
    CHUNKS.c.symbol == sa.bindparam("symbol"),
    CHUNKS.c.interval == sa.bindparam("interval"),
    CHUNKS.c.outcome.in_([ChunkOutcome.STORED.value, ChunkOutcome.EMPTY.value]),
    CHUNKS.c.error_type.is_(None),
)


def _of_key_and_day(table: sa.Table) -> sa.ColumnElement[bool]:
    is_own_key = table.c.key_digest == sa.bindparam("of_key")
    return sa.and_(is_own_key, table.c.day == sa.bindparam("of_day"))


_STATE_OF_KEY = sa.select(
    sa.select(sa.func.coalesce(sa.func.sum(CALLS.c.n_calls), 0))
    .where(_of_key_and_day(CALLS))
    .scalar_subquery(),
    sa.select(PAUSES.c.until)
    .where(PAUSES.c.key_digest == sa.bindparam("of_key"))
    .scalar_subquery(),
    sa.select(sa.func.count()).select_from(STOPS).where(_of_key_and_day(STOPS)).scalar_subquery(),
)
_CALLS_OF_MINUTE = sa.update(CALLS).where(
    _of_key_and_day(CALLS), CALLS.c.minute == sa.bindparam("of_minute")
)
_COUNT_CALL = _CALLS_OF_MINUTE.values(n_calls=CALLS.c.n_calls + 1)
_RETURN_CALL = _CALLS_OF_MINUTE.values(n_calls=CALLS.c.n_calls - 1)


class Ledger:
    """Everything that is known about fetching, in one database.

    Open it with `Ledger.open`. It may be used by many threads; every process opens its own.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url_or_path: str | Path) -> Self:
        """Open a ledger, making it where it is missing.

        Parameters
        ----------
        url_or_path
            Path of a SQLite file, or address of a PostgreSQL database whose driver is installed.

        Raises
        ------
        ConfigError
            The address is none, or its driver is not installed.
        StorageError
            The database cannot be reached or written.
        RecordError
            The file is no database, is damaged, or is a ledger of another version.
        """
        is_address = isinstance(url_or_path, str) and "://" in url_or_path
        return cls(Database(url_or_path if is_address else Path(url_or_path), LAYOUT))

    def close(self) -> None:
        """Give back the connections to the database."""
        self._database.close()

    def record(self, entry: ChunkEntry) -> None:
        """Add what became of a chunk."""
        row = {
            **{name: getattr(entry, name) for name in _ENTRY_COLUMNS},
            "outcome": entry.outcome.value,
            "fetched_at": _as_text(entry.fetched_at),
            "missing_sessions": [session.isoformat() for session in entry.missing_sessions],
            "findings": list(entry.findings),
        }
        with self._database.writing() as connection:
            connection.execute(_INSERT_CHUNK, row)

    def entries(
        self,
        store_key: str,
        *,
        symbol: str | None = None,
        interval: Interval | None = None,
        backfill_id: str | None = None,
    ) -> list[ChunkEntry]:
        """Return the entries of a store, or those of one symbol, interval or backfill, in order."""
        query = sa.select(CHUNKS).where(CHUNKS.c.store_key == store_key).order_by(CHUNKS.c.id)
        wanted = {"symbol": symbol, "interval": interval, "backfill_id": backfill_id}
        for name, value in wanted.items():
            if value is not None:
                query = query.where(CHUNKS.c[name] == value)
        return [ChunkEntry.model_validate(row) for row in self._rows(query)]

    def covered(
        self,
        store_key: str,
        symbol: str,
        interval: Interval,
        *,
        calendar: SessionCalendar,
        now: datetime,
        confirm_after: timedelta,
    ) -> list[Range]:
        """Return the dates for which no call is needed (`ranges.covered_ranges`).

        Entries that failed or were stopped cover nothing, nor do those in which the source refused
        the symbol or delivered what cannot be read: that may be mended at any time.

        Raises
        ------
        ConfigError
            `now` is naive or not in the calendar.
        """
        wanted = {"store_key": store_key, "symbol": symbol, "interval": interval}
        with self._database.reading() as connection:
            rows = connection.execute(_ANSWERS, wanted).all()
        answers = [
            Answer(start, end, settled, datetime.fromisoformat(at))
            for start, end, settled, at in rows
        ]
        return covered_ranges(answers, calendar=calendar, now=now, confirm_after=confirm_after)

    def reserve_call(
        self, key_digest: str, *, at: datetime, limit: int, session_digest: str | None = None
    ) -> int | None:
        """Count one call before it is made, unless calls are stopped, paused or used up.

        Parameters
        ----------
        key_digest
            Digest of the key that makes the call.
        at
            Instant of the call; its date in India is the day.
        limit
            Calls that this key may make on that day.
        session_digest
            Digest of the session token that makes it.

        Returns
        -------
        int or None
            Calls of the day so far, this one included; None while all calls pause.

        Raises
        ------
        StopSourceError
            Calls are stopped on this day, or the limit is reached (`CallsUsedUpError`). As for a
            pause, nothing was counted.
        """
        day, minute = session_date_of(at), _minute_of(at)
        own = {"of_key": key_digest, "of_day": day, "of_minute": minute}
        # All of it in one transaction: a call is counted by what holds when it is counted.
        with self._database.writing() as connection:
            n_used, until, n_stops = connection.execute(_STATE_OF_KEY, own).one()
            if n_stops:
                stop = _stop_of(connection, key_digest, day, session_digest)
                if stop is not None:
                    raise stop.as_error()
            if until is not None and _as_text(at) < until:
                return None
            if n_used >= limit:
                raise CallsUsedUpError(
                    "the calls of this day are used up",
                    where=f"key {key_digest}, {day}",
                    expected=f"fewer than {limit} calls",
                    found=f"{n_used} calls",
                    remedy="go on after midnight in India, or raise the limit per day",
                )
            if connection.execute(_COUNT_CALL, own).rowcount == 0:
                first = {"key_digest": key_digest, "day": day, "minute": minute, "n_calls": 1}
                connection.execute(sa.insert(CALLS), first)
        return n_used + 1

    def return_call(self, key_digest: str, *, at: datetime) -> None:
        """Take back what was counted at an instant for a call that was not made."""
        own = {"of_key": key_digest, "of_day": session_date_of(at), "of_minute": _minute_of(at)}
        with self._database.writing() as connection:
            connection.execute(_RETURN_CALL, own)

    def calls_used(self, key_digest: str, day: date) -> int:
        """Return the calls that were counted on a day in India."""
        with self._database.reading() as connection:
            return _n_calls(connection, CALLS.c.key_digest == key_digest, CALLS.c.day == day)

    def calls_since(self, key_digest: str, instant: datetime) -> int:
        """Return the calls that were counted since the beginning of the minute of an instant."""
        is_since = CALLS.c.minute >= _minute_of(instant)
        with self._database.reading() as connection:
            return _n_calls(connection, CALLS.c.key_digest == key_digest, is_since)

    def pause(self, key_digest: str, until: datetime) -> None:
        """Ask every worker to make no call before an instant; the latest wish holds."""
        text = _as_text(until)
        with self._database.writing() as connection:
            known = connection.execute(
                sa.select(PAUSES.c.until).where(PAUSES.c.key_digest == key_digest)
            ).scalar()
            if known is None:
                connection.execute(sa.insert(PAUSES).values(key_digest=key_digest, until=text))
            elif known < text:
                own = PAUSES.c.key_digest == key_digest
                connection.execute(sa.update(PAUSES).where(own).values(until=text))

    def pause_until(self, key_digest: str) -> datetime | None:
        """Return the instant before which no call may be made, past or not; None without one."""
        query = sa.select(PAUSES.c.until).where(PAUSES.c.key_digest == key_digest)
        with self._database.reading() as connection:
            text = connection.execute(query).scalar()
        return None if text is None else datetime.fromisoformat(text)

    def stop(
        self,
        key_digest: str,
        *,
        kind: StopKind,
        at: datetime,
        message: str,
        session_digest: str | None = None,
    ) -> None:
        """Record that nobody may call any more on the day in India of `at`; again changes nothing.

        Parameters
        ----------
        key_digest
            Digest of the key that was refused.
        kind
            Why.
        at
            Instant at which the source said so.
        message
            What it said.
        session_digest
            Digest of the session token that was refused: a new login lifts the stop. A day's limit
            holds for any login, so it is not kept there.

        Raises
        ------
        ConfigError
            No session is named although the stop is that of a login.
        """
        if kind is StopKind.DAY_LIMIT:
            session_digest = None
        elif session_digest is None:
            raise ConfigError(
                "stop names no login",
                where="session_digest",
                expected="the digest of the session token",
                found="nothing",
                remedy="give it, so that a new login can lift the stop",
            )
        row = {
            "key_digest": key_digest,
            "day": session_date_of(at),
            "kind": kind.value,
            "session_digest": session_digest or "",
        }
        with self._database.writing() as connection:
            known = sa.select(STOPS.c.at).filter_by(**row)
            if connection.execute(known).first() is None:
                row |= {"message": message, "at": _as_text(at)}
                connection.execute(sa.insert(STOPS).values(row))

    def stopped(
        self, key_digest: str, *, at: datetime, session_digest: str | None = None
    ) -> Stop | None:
        """Return the first stop that holds for a key and login on the day of `at`, or None."""
        with self._database.reading() as connection:
            return _stop_of(connection, key_digest, session_date_of(at), session_digest)

    def lift_stops(self, key_digest: str, *, at: datetime) -> int:
        """Remove the stops of a key on the day of `at`, because a person has mended the cause.

        Returns
        -------
        int
            How many there were.
        """
        gone = sa.delete(STOPS).where(
            STOPS.c.key_digest == key_digest, STOPS.c.day == session_date_of(at)
        )
        with self._database.writing() as connection:
            return connection.execute(gone).rowcount

    def begin_backfill(
        self, backfill_id: str, *, request: Mapping[str, Any], started_at: datetime
    ) -> None:
        """Record that a backfill begins, or is taken up again after it was broken off."""
        with self._database.writing() as connection:
            query = sa.select(BACKFILLS.c.id).where(BACKFILLS.c.backfill_id == backfill_id)
            if connection.execute(query).first() is None:
                row = {
                    "backfill_id": backfill_id,
                    "request": dict(request),
                    "started_at": _as_text(started_at),
                    "counts": {},
                }
                connection.execute(sa.insert(BACKFILLS).values(row))

    def end_backfill(
        self, backfill_id: str, *, outcome: str, counts: Mapping[str, int], ended_at: datetime
    ) -> None:
        """Record how a backfill ended; one that was taken up again ends again.

        Raises
        ------
        RecordError
            No such backfill was begun.
        """
        update = (
            sa.update(BACKFILLS)
            .where(BACKFILLS.c.backfill_id == backfill_id)
            .values(outcome=outcome, counts=dict(counts), ended_at=_as_text(ended_at))
        )
        with self._database.writing() as connection:
            if connection.execute(update).rowcount == 0:
                raise RecordError(
                    "backfill was not begun",
                    where="ledger",
                    expected="a backfill that begin_backfill has recorded",
                    found=backfill_id,
                )

    def backfills(self, *, limit: int = 20) -> list[BackfillEntry]:
        """Return the latest backfills, the last one first."""
        query = sa.select(BACKFILLS).order_by(BACKFILLS.c.id.desc()).limit(limit)
        return [BackfillEntry.model_validate(row) for row in self._rows(query)]

    def _rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [{name: value for name, value in row.items() if name != "id"} for row in rows]


def _stop_of(
    connection: sa.Connection, key_digest: str, day: date, session_digest: str | None
) -> Stop | None:
    query = (
        sa.select(STOPS)
        .where(
            STOPS.c.key_digest == key_digest,
            STOPS.c.day == day,
            STOPS.c.session_digest.in_(["", session_digest or ""]),
        )
        .order_by(STOPS.c.at, STOPS.c.kind)
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    fields = {name: value for name, value in row.items() if name != "key_digest"}
    return Stop.model_validate(fields | {"session_digest": row["session_digest"] or None})


def _n_calls(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> int:
    total = sa.func.coalesce(sa.func.sum(CALLS.c.n_calls), 0)
    return int(connection.execute(sa.select(total).where(*conditions)).scalar_one())


def _minute_of(instant: datetime) -> int:
    return int(_in_utc(instant).timestamp()) // 60


def _as_text(instant: datetime) -> str:
    return _in_utc(instant).isoformat(timespec="microseconds")


def _in_utc(instant: datetime) -> datetime:
    if instant.utcoffset() is None:
        raise ConfigError(
            "instant has no time zone",
            expected="an aware datetime",
            found=instant.isoformat(),
            remedy="give it in UTC",
        )
    return instant.astimezone(UTC)
