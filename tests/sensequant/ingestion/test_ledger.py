"""Facts about the ledger: entries, calls, pauses, stops; on SQLite and on PostgreSQL."""

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from sensequant.errors import ConfigError, DayLimitError, RecordError
from sensequant.ingestion.ledger import Ledger
from sensequant.ingestion.ledger_records import (
    CallsUsedUpError,
    ChunkEntry,
    ChunkOutcome,
    Stop,
    StopKind,
)
from sensequant.market.sessions import nse_calendar

Send = Callable[[str, str], list[tuple[object, ...]]]

AT = datetime(2024, 6, 12, 12, 0, tzinfo=UTC)
"""A Wednesday, two hours after the close."""

DAY = date(2024, 6, 12)
KEY = "0123456789ab"
SIX_HOURS = timedelta(hours=6)


def an_entry(**changes: Any) -> ChunkEntry:
    """Return an entry of ten stored sessions in March, settled when fetched in June."""
    facts: dict[str, Any] = {
        "store_key": "breeze",
        "source": "breeze",
        "symbol": "TCS",
        "interval": "1day",
        "start": date(2024, 3, 4),
        "end": date(2024, 3, 18),
        "outcome": "stored",
        "settled_through": date(2024, 3, 18),
        "fetched_at": AT,
        "seconds": 0.25,
    }
    return ChunkEntry.model_validate(facts | changes)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """Return an empty ledger."""
    opened = Ledger.open(url)
    yield opened
    opened.close()


def covered(ledger: Ledger, *, now: datetime = AT, **names: str) -> list[tuple[date, date]]:
    where: Any = {"store_key": "breeze", "symbol": "TCS", "interval": "1day"} | names
    return ledger.covered(**where, calendar=nse_calendar(), now=now, confirm_after=SIX_HOURS)


def test_an_entry_comes_back_as_it_was_recorded(ledger: Ledger) -> None:
    """No fact of an entry is lost or bent on its way through the database."""
    full = an_entry(
        outcome="failed",
        reason="transient_source",
        n_rows=12,
        n_bars=10,
        n_quarantined=2,
        n_missing_sessions=2,
        n_missing_bars=7,
        missing_sessions=[date(2024, 3, 5), date(2024, 3, 6)],
        source_digest="a" * 64,
        n_calls=3,
        findings=["truncated_and_paged", "numbers_as_text"],
        error_type="TransientSourceError",
        error_message="₹ 'a' \"b\" \\ :c %(d)s\nx",
        fetched_at=AT + timedelta(microseconds=1),
        seconds=1 / 3,
        backfill_id="b1",
    )
    bare = an_entry(start=None, end=None, outcome="empty", settled_through=None)
    for entry in (full, bare):
        ledger.record(entry)

    assert ledger.entries("breeze") == [full, bare]


def test_a_ledger_of_the_layout_before_is_upgraded(tmp_path: Path) -> None:
    """Its entries stay; what they did not count then is unknown, not zero."""
    place = tmp_path / "ledger.db"
    with contextlib.closing(Ledger.open(place)) as ledger:
        ledger.record(an_entry())
    with contextlib.closing(sqlite3.connect(place)) as former, former:
        former.execute("ALTER TABLE ledger_chunks DROP COLUMN n_missing_bars")
        former.execute("UPDATE ledger_schema SET version = 1")

    with contextlib.closing(Ledger.open(place)) as ledger:
        (entry,) = ledger.entries("breeze")
        ledger.record(an_entry(n_missing_bars=3))

        assert entry == an_entry(n_missing_bars=None)
        assert [each.n_missing_bars for each in ledger.entries("breeze")] == [None, 3]


def test_entries_are_told_by_store_symbol_interval_and_backfill(ledger: Ledger) -> None:
    """Each filter leaves what it names, in the order in which it was recorded."""
    entries = [
        an_entry(symbol=symbol, interval=interval, store_key=key, backfill_id=backfill)
        for symbol, interval, key, backfill in (
            ("TCS", "1day", "breeze", "b1"),
            ("TCS", "5minute", "breeze", "b2"),
            ("INFY", "1day", "breeze", "b2"),
            ("TCS", "1day", ".", "b3"),
        )
    ]
    for entry in entries:
        ledger.record(entry)

    assert ledger.entries("breeze") == entries[:3]
    assert ledger.entries("breeze", symbol="TCS") == entries[:2]
    assert ledger.entries("breeze", interval="1day") == [entries[0], entries[2]]
    assert ledger.entries("breeze", backfill_id="b2") == entries[1:3]
    assert ledger.entries("elsewhere") == []


def test_present_is_no_fact_for_the_ledger() -> None:
    """That others have fetched a chunk stands in their own entry."""
    with pytest.raises(ValidationError, match="outcome"):
        an_entry(outcome="present")


@pytest.mark.parametrize(
    "statement", ["UPDATE ledger_chunks SET n_bars = 7", "DELETE FROM ledger_chunks"]
)
def test_entries_cannot_be_rewritten(ledger: Ledger, url: str, send: Send, statement: str) -> None:
    """The database itself refuses to alter or remove an entry, whoever asks."""
    ledger.record(an_entry())

    with pytest.raises(DBAPIError, match="only ever added"):
        send(url, statement)
    assert ledger.entries("breeze") == [an_entry()]


def test_stored_and_empty_answers_cover_their_range(ledger: Ledger) -> None:
    """Ranges that touch become one; other symbols, intervals and stores are not covered."""
    ledger.record(an_entry())
    ledger.record(
        an_entry(
            outcome="empty",
            reason="no_data_at_source",
            start=date(2024, 3, 19),
            end=date(2024, 3, 28),
            settled_through=date(2024, 3, 28),
        )
    )

    assert covered(ledger) == [(date(2024, 3, 4), date(2024, 3, 28))]
    assert covered(ledger, symbol="INFY") == []
    assert covered(ledger, interval="5minute") == []
    assert covered(ledger, store_key=".") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "failed", "error_type": "TransientSourceError"},
        {"outcome": "stopped", "error_type": "DayLimitError"},
        {"outcome": "empty", "reason": "unknown_symbol", "error_type": "UnknownSymbolError"},
    ],
    ids=lambda changes: changes["outcome"],
)
def test_what_was_not_answered_covers_nothing(ledger: Ledger, changes: dict[str, str]) -> None:
    """Failures and stops are left to do; so is a symbol that was not known, for it may be now."""
    ledger.record(an_entry(**changes))

    assert covered(ledger) == []


def test_unsettled_sessions_are_covered_for_a_while(ledger: Ledger) -> None:
    """After the time of confirmation they need another look; what was settled does not."""
    ledger.record(
        an_entry(start=date(2024, 6, 3), end=DAY, settled_through=date(2024, 6, 5), fetched_at=AT)
    )
    settled = [(date(2024, 6, 3), date(2024, 6, 5))]

    assert covered(ledger, now=AT) == [(date(2024, 6, 3), DAY)]
    assert covered(ledger, now=AT + SIX_HOURS - timedelta(microseconds=1)) == [
        (date(2024, 6, 3), DAY)
    ]
    assert covered(ledger, now=AT + SIX_HOURS) == settled


def test_calls_are_counted_per_key_and_day(ledger: Ledger) -> None:
    """Each call says how many there were; another key or day in India begins at one."""
    assert [ledger.reserve_call(KEY, at=AT, limit=3) for _ in range(3)] == [1, 2, 3]
    assert ledger.reserve_call("other", at=AT, limit=3) == 1
    assert ledger.reserve_call(KEY, at=AT + timedelta(days=1), limit=3) == 1
    assert ledger.calls_used(KEY, DAY) == 3
    assert ledger.calls_used(KEY, date(2024, 6, 11)) == 0


def test_beyond_the_limit_nothing_is_counted(ledger: Ledger) -> None:
    """The call after the last one is refused, again and again, until the limit is raised."""
    ledger.reserve_call(KEY, at=AT, limit=1)
    for kind in (CallsUsedUpError, DayLimitError):
        with pytest.raises(kind, match="used up"):
            ledger.reserve_call(KEY, at=AT, limit=1)

    assert ledger.calls_used(KEY, DAY) == 1
    assert ledger.reserve_call(KEY, at=AT, limit=2) == 2


def test_a_day_begins_at_midnight_in_india(ledger: Ledger) -> None:
    """18:30 UTC is midnight there, whatever the zone of the given instant."""
    before = datetime(2024, 6, 12, 18, 29, 59, tzinfo=UTC)
    after = datetime(2024, 6, 12, 14, 30, tzinfo=timezone(timedelta(hours=-4)))
    ledger.reserve_call(KEY, at=before, limit=1)

    assert ledger.reserve_call(KEY, at=after, limit=1) == 1
    assert ledger.calls_used(KEY, DAY) == ledger.calls_used(KEY, date(2024, 6, 13)) == 1


def test_calls_of_the_last_minutes(ledger: Ledger) -> None:
    """Minutes are counted as a whole, from the one that holds the instant; keys apart."""
    for seconds in (0, 59, 60, 119, 120):
        ledger.reserve_call(KEY, at=AT + timedelta(seconds=seconds), limit=99)
    ledger.reserve_call("other", at=AT, limit=99)

    assert ledger.calls_since(KEY, AT + timedelta(seconds=30)) == 5
    assert ledger.calls_since(KEY, AT + timedelta(seconds=60)) == 3
    assert ledger.calls_since(KEY, AT + timedelta(seconds=179)) == 1
    assert ledger.calls_since(KEY, AT + timedelta(seconds=180)) == 0


def test_the_longest_pause_holds(ledger: Ledger) -> None:
    """A shorter wish does not shorten a pause; keys pause apart."""
    later = AT + timedelta(seconds=40)
    assert ledger.pause_until(KEY) is None
    for until in (AT, later, AT + timedelta(seconds=1)):
        ledger.pause(KEY, until)

    assert ledger.pause_until(KEY) == later
    assert ledger.pause_until("other") is None


@pytest.mark.parametrize("kind", [kind for kind in StopKind if kind is not StopKind.DAY_LIMIT])
def test_a_stop_of_a_login_ends_with_a_new_login(ledger: Ledger, kind: StopKind) -> None:
    """The stop names the session; another session, key or day is not stopped."""
    ledger.stop(KEY, kind=kind, at=AT, message="no", session_digest="s1")

    assert ledger.stopped(KEY, at=AT, session_digest="s1") == Stop(
        kind=kind, day=DAY, at=AT, message="no", session_digest="s1"
    )
    assert ledger.stopped(KEY, at=AT, session_digest="s2") is None
    assert ledger.stopped("other", at=AT, session_digest="s1") is None
    assert ledger.stopped(KEY, at=AT + timedelta(days=1), session_digest="s1") is None


def test_a_limit_of_the_day_holds_for_every_login_until_midnight(ledger: Ledger) -> None:
    """A new login brings no new calls; a new day in India does."""
    ledger.stop(KEY, kind=StopKind.DAY_LIMIT, at=AT, message="limit", session_digest="s1")
    midnight = datetime(2024, 6, 12, 18, 30, tzinfo=UTC)

    assert ledger.stopped(KEY, at=midnight - timedelta(microseconds=1)) is not None
    assert ledger.stopped(KEY, at=AT, session_digest="s2") is not None
    assert ledger.stopped(KEY, at=midnight) is None


def test_the_first_stop_is_told_and_a_repeated_one_changes_nothing(ledger: Ledger) -> None:
    """Of several stops the earliest is the cause; the first message stays."""
    ledger.stop(KEY, kind=StopKind.DAY_LIMIT, at=AT + timedelta(hours=1), message="limit")
    for hours, message in ((0, "first"), (2, "second")):
        ledger.stop(
            KEY,
            kind=StopKind.AUTH_EXPIRED,
            at=AT + timedelta(hours=hours),
            message=message,
            session_digest="s1",
        )
    told = ledger.stopped(KEY, at=AT, session_digest="s1")

    assert told is not None
    assert (told.kind, told.message, told.at) == (StopKind.AUTH_EXPIRED, "first", AT)


def test_a_stop_of_a_login_must_name_the_login(ledger: Ledger) -> None:
    """Else no new login could ever lift it."""
    with pytest.raises(ConfigError, match="names no login"):
        ledger.stop(KEY, kind=StopKind.AUTH_INVALID, at=AT, message="no")


def test_a_person_can_lift_the_stops_of_a_day(ledger: Ledger) -> None:
    """All stops of the key on that day go, those of others stay."""
    ledger.stop(KEY, kind=StopKind.DAY_LIMIT, at=AT, message="limit")
    ledger.stop(KEY, kind=StopKind.ADDRESS_DENIED, at=AT, message="ip", session_digest="s1")
    ledger.stop("other", kind=StopKind.DAY_LIMIT, at=AT, message="limit")

    assert ledger.lift_stops(KEY, at=AT) == 2
    assert ledger.stopped(KEY, at=AT, session_digest="s1") is None
    assert ledger.stopped("other", at=AT) is not None


def test_a_backfill_begins_and_ends(ledger: Ledger) -> None:
    """Until it has ended, nobody knows how; taken up again, it keeps its beginning."""
    later = AT + timedelta(hours=1)
    ledger.begin_backfill("b1", request={"symbols": ["TCS"], "end": None}, started_at=AT)
    (begun,) = ledger.backfills()
    ledger.begin_backfill("b1", request={"symbols": ["INFY"]}, started_at=later)
    ledger.end_backfill("b1", outcome="stopped", counts={"n_left": 3}, ended_at=later)
    (ended,) = ledger.backfills()

    assert (begun.ended_at, begun.outcome, begun.counts) == (None, None, {})
    assert ended.request == {"symbols": ["TCS"], "end": None}
    assert (ended.started_at, ended.ended_at) == (AT, later)
    assert (ended.outcome, ended.counts) == ("stopped", {"n_left": 3})


def test_the_latest_backfills_come_first(ledger: Ledger) -> None:
    """As many as asked for."""
    for number in range(5):
        ledger.begin_backfill(f"b{number}", request={}, started_at=AT)

    assert [each.backfill_id for each in ledger.backfills(limit=2)] == ["b4", "b3"]


def test_a_backfill_that_was_not_begun_cannot_end(ledger: Ledger) -> None:
    """That is a fault of the caller, and nothing is written."""
    with pytest.raises(RecordError, match="not begun"):
        ledger.end_backfill("b1", outcome="completed", counts={}, ended_at=AT)
    assert ledger.backfills() == []


@pytest.mark.parametrize("method", ["reserve_call", "pause", "calls_since", "stopped"])
def test_instants_need_a_zone(ledger: Ledger, method: str) -> None:
    """A naive datetime is no instant."""
    naive: dict[str, Any] = {
        "reserve_call": {"at": AT.replace(tzinfo=None), "limit": 1},
        "pause": {"until": AT.replace(tzinfo=None)},
        "calls_since": {"instant": AT.replace(tzinfo=None)},
        "stopped": {"at": AT.replace(tzinfo=None)},
    }
    with pytest.raises(ConfigError, match="no time zone"):
        getattr(ledger, method)(KEY, **naive[method])


def test_ledger_is_kept_between_openings(ledger: Ledger, url: str) -> None:
    """Another opening of the same database finds what was recorded."""
    ledger.record(an_entry())
    ledger.reserve_call(KEY, at=AT, limit=5)
    other = Ledger.open(url)

    assert other.entries("breeze") == [an_entry()]
    assert other.calls_used(KEY, DAY) == 1
    other.close()


@pytest.mark.parametrize("as_given", [str, Path])
def test_path_with_signs_of_an_address_is_a_path(tmp_path: Path, as_given: type) -> None:
    """A question mark or a hash in a folder's name is no part of an address, a text is no URL."""
    path = tmp_path / "a?b#c%20d" / "ledger.db"
    Ledger.open(as_given(path)).close()

    assert path.is_file()


def test_threads_share_one_ledger(ledger: Ledger) -> None:
    """Eighty calls of eight threads are eighty calls, each with a number of its own."""

    def reserve(_: int) -> int | None:
        return ledger.reserve_call(KEY, at=AT, limit=80)

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(reserve, range(80)))

    assert set(numbers) == set(range(1, 81))


def reserve_many(url: str, together: Barrier, granted: Any) -> None:
    ledger = Ledger.open(url)
    together.wait(60)
    for number in range(200):
        try:
            granted.put(ledger.reserve_call(KEY, at=AT + timedelta(seconds=number), limit=500))
        except DayLimitError:
            granted.put(None)
    ledger.close()


def test_processes_are_granted_exactly_the_limit(url: str) -> None:
    """Of 4 times 200 reservations with a limit of 500, 500 are granted, each number once."""
    spawn = multiprocessing.get_context("spawn")
    together, granted = spawn.Barrier(4), spawn.Queue()
    workers = [spawn.Process(target=reserve_many, args=(url, together, granted)) for _ in range(4)]
    for worker in workers:
        worker.start()
    numbers = [granted.get(timeout=60) for _ in range(800)]
    for worker in workers:
        worker.join(60)

    assert sorted(number for number in numbers if number is not None) == list(range(1, 501))
    ledger = Ledger.open(url)
    assert ledger.calls_used(KEY, DAY) == 500
    ledger.close()


def write_until_killed(path: Path, first: Any) -> None:
    ledger = Ledger.open(path)
    while True:
        ledger.reserve_call(KEY, at=AT, limit=10**9)
        ledger.record(an_entry())
        first.set()


def test_a_killed_writer_leaves_a_usable_ledger(tmp_path: Path, send: Send) -> None:
    """What it had recorded is whole, and others go on at once."""
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    spawn = multiprocessing.get_context("spawn")
    for _ in range(3):
        first = spawn.Event()
        writer = spawn.Process(target=write_until_killed, args=(path, first))
        writer.start()
        assert first.wait(60)
        time.sleep(0.02)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(60)
        n_entries, n_calls = len(ledger.entries("breeze")), ledger.calls_used(KEY, DAY)

        assert n_calls - n_entries in {0, 1, 2, 3}
        assert ledger.reserve_call(KEY, at=AT, limit=10**9) == n_calls + 1
        ledger.record(an_entry())
        assert len(ledger.entries("breeze")) == n_entries + 1
    assert send(f"sqlite:///{path}", "PRAGMA integrity_check") == [("ok",)]
    ledger.close()


def test_outcomes_are_words_that_people_read() -> None:
    """The words of the table are those of the documentation."""
    assert [outcome.value for outcome in ChunkOutcome] == [
        "stored",
        "empty",
        "failed",
        "stopped",
        "present",
    ]
