"""Facts about limits that all workers of a key share."""

import dataclasses
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sensequant.errors import (
    AddressDeniedError,
    AuthExpiredError,
    AuthInvalidError,
    BadRequestError,
    ClockError,
    DayLimitError,
    StopSourceError,
)
from sensequant.ingestion.ledger import Ledger
from sensequant.ingestion.ledger_records import CallsUsedUpError
from sensequant.ingestion.pacing import LedgerPacer
from sensequant.market.sources.breeze.pacing import UnlimitedPacer

NOON = datetime(2024, 6, 3, 6, 30, tzinfo=UTC)


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


class Workers:
    """Workers of one key, each a process of its own as far as the ledger can tell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()

    def hire(self, *, session: str = "today", calls_per_day: int = 100) -> LedgerPacer:
        """Return the pacer of one more worker."""
        return LedgerPacer(
            rate=UnlimitedPacer(),
            ledger=Ledger.open(self.path),
            key_digest="0123456789ab",
            session_digest=session,
            calls_per_day=calls_per_day,
            clock=self.clock,
            sleep=self.clock.sleep,
        )


@pytest.fixture
def workers(tmp_path: Path) -> Workers:
    """Return a way to hire workers that share a ledger."""
    return Workers(tmp_path / "ledger.db")


def test_calls_of_all_workers_count_together(workers: Workers) -> None:
    """Two workers with a limit of five make five calls, whoever makes them."""
    one, two = workers.hire(calls_per_day=5), workers.hire(calls_per_day=5)
    for pacer in (one, two, one, two, one):
        pacer.take()
    with pytest.raises(DayLimitError, match="used up"):
        two.take()
    assert one.ledger.calls_used(one.key_digest, NOON.date()) == 5


def test_the_count_begins_anew_at_midnight_in_india(workers: Workers) -> None:
    """18:30 UTC is midnight there."""
    pacer = workers.hire(calls_per_day=1)
    pacer.take()
    workers.clock.now = datetime(2024, 6, 3, 18, 29, 59, tzinfo=UTC)
    with pytest.raises(DayLimitError):
        pacer.take()
    workers.clock.now = datetime(2024, 6, 3, 18, 30, tzinfo=UTC)
    pacer.take()


def test_a_minute_limit_pauses_every_worker(workers: Workers) -> None:
    """What one worker is told, the other waits for: until the next minute, and a moment more."""
    workers.clock.now = NOON + timedelta(seconds=47)
    told, other = workers.hire(), workers.hire()
    told.minute_limit_met()
    other.take()
    assert workers.clock.now == NOON + timedelta(seconds=61)
    assert max(workers.clock.slept) <= 1.0
    workers.clock.slept.clear()
    told.take()
    assert workers.clock.slept == []


def test_a_pause_ends_early_when_all_is_stopped(workers: Workers) -> None:
    """Who waits for the minute need not wait for nothing."""
    told, other = workers.hire(), workers.hire()
    told.minute_limit_met()
    told.stop(AuthExpiredError("session has ended"))
    with pytest.raises(AuthExpiredError):
        other.take()
    assert workers.clock.slept == []


@pytest.mark.parametrize("kind", [AuthExpiredError, AuthInvalidError, AddressDeniedError])
def test_a_refused_login_stops_all_until_there_is_another(
    workers: Workers, kind: type[StopSourceError]
) -> None:
    """Every process of that session raises the same kind of error; a new session goes on."""
    workers.hire().stop(kind("refused", found="as the vendor put it"))
    with pytest.raises(kind, match="as the vendor put it"):
        workers.hire().take()
    workers.hire(session="renewed").take()


def test_the_vendors_day_limit_holds_for_any_login_until_midnight(workers: Workers) -> None:
    """It counts the key, not the session."""
    workers.hire().stop(DayLimitError("limit of the day"))
    with pytest.raises(DayLimitError):
        workers.hire(session="renewed").take()
    workers.clock.now += timedelta(days=1)
    workers.hire().take()


def test_our_own_limit_stops_nobody_who_may_call_more(workers: Workers) -> None:
    """A person who raises it goes on at once."""
    modest = workers.hire(calls_per_day=1)
    modest.take()
    with pytest.raises(CallsUsedUpError) as caught:
        modest.take()
    modest.stop(caught.value)
    workers.hire(calls_per_day=2).take()


def test_a_clock_that_is_set_right_needs_no_new_login(workers: Workers) -> None:
    """The process that met it stops; a later one goes on with the same key and session."""
    pacer = workers.hire()
    pacer.stop(ClockError("the clock of this machine is off"))
    with pytest.raises(ClockError):
        pacer.take()
    workers.hire().take()


def test_an_error_of_another_kind_is_no_stop(workers: Workers) -> None:
    """A stop that says nothing about the key or its session is not kept."""
    pacer = workers.hire()
    pacer.stop(StopSourceError("something else"))
    pacer.take()
    assert not issubclass(BadRequestError, StopSourceError)


class SlowRate(UnlimitedPacer):
    """A limit per minute whose slot takes a while."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = seconds

    def take(self) -> None:
        """Wait, then allow the call."""
        super().take()
        self.clock.sleep(self.seconds)


def test_a_call_that_waited_past_midnight_counts_on_the_new_day(workers: Workers) -> None:
    """18:30 UTC is midnight in India; the vendor counts the call when it comes."""
    workers.clock.now = datetime(2024, 6, 3, 18, 29, 59, tzinfo=UTC)
    pacer = dataclasses.replace(workers.hire(), rate=SlowRate(workers.clock, 2.0))
    pacer.take()

    assert pacer.ledger.calls_used(pacer.key_digest, date(2024, 6, 4)) == 1


def test_a_pause_that_begins_during_the_wait_holds(workers: Workers) -> None:
    """Another process met the limit of the minute while this one waited for its slot."""
    pacer = workers.hire()

    class Interrupted(SlowRate):
        def take(self) -> None:
            super().take()
            pacer.minute_limit_met()

    dataclasses.replace(pacer, rate=Interrupted(workers.clock, 0.5)).take()

    assert workers.clock.now == NOON + timedelta(seconds=61)


def test_a_stop_that_comes_during_the_wait_counts_no_call(workers: Workers) -> None:
    """Another process was refused meanwhile: the call is not made, so nothing is counted."""
    pacer = workers.hire()

    class Stopped(SlowRate):
        def take(self) -> None:
            super().take()
            pacer.stop(AuthExpiredError("session has ended"))

    with pytest.raises(AuthExpiredError):
        dataclasses.replace(pacer, rate=Stopped(workers.clock, 0.5)).take()

    assert pacer.ledger.calls_used(pacer.key_digest, NOON.date()) == 0


def test_one_transaction_allows_a_call(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop, pause and count are asked for together, as long as nothing has to be waited for."""
    pacer = workers.hire()
    asked: list[str] = []
    for name in ("reserve_call", "stopped", "pause_until"):
        real = getattr(Ledger, name)

        def counted(*given: Any, _name: str = name, _real: Any = real, **named: Any) -> Any:
            asked.append(_name)
            return _real(*given, **named)

        monkeypatch.setattr(Ledger, name, counted)
    pacer.take()

    assert asked == ["reserve_call"]
