"""Tests of pacing, with a clock that only sleeping moves."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import AuthExpiredError, ConfigError, DayLimitError
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.pacing import LocalPacer, UnlimitedPacer, local_pacer

START = datetime(2024, 3, 4, 10, 0, 30, tzinfo=UTC)


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self, start: datetime = START) -> None:
        self.now = start
        self.on_sleep: Callable[[], None] | None = None

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass, then let something happen."""
        self.now += timedelta(seconds=seconds)
        if self.on_sleep is not None:
            self.on_sleep()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return (self.now - START).total_seconds()


def _pacer(clock: Clock, per_minute: int = 90, burst: int = 2, **options: int) -> LocalPacer:
    return LocalPacer(
        calls_per_minute=per_minute, burst=burst, clock=clock, sleep=clock.sleep, **options
    )


def _taken(pacer: LocalPacer, clock: Clock, n: int) -> list[float]:
    times: list[float] = []
    for _ in range(n):
        pacer.take()
        times.append(clock.elapsed)
    return times


def _most_in_a_minute(times: list[float]) -> int:
    return max(sum(1 for other in times if 0 <= other - begin <= 60.0) for begin in times)


@given(
    per_minute=st.integers(3, 200),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0.0, 40.0), max_size=40),
)
def test_no_minute_holds_more_than_the_limit(
    per_minute: int, burst: int, pauses: list[float]
) -> None:
    """Counted by brute force over every closed window of 60 seconds, with callers that idle."""
    burst = min(burst, per_minute - 1)
    clock = Clock()
    pacer = _pacer(clock, per_minute, burst)
    times: list[float] = []
    for pause in [*pauses, *[0.0] * (2 * per_minute)]:
        clock.sleep(pause)
        pacer.take()
        times.append(clock.elapsed)

    # A microsecond is the finest time of a clock.
    assert _most_in_a_minute([round(moment, 4) for moment in times]) <= per_minute


def test_limit_is_used_to_the_full() -> None:
    """900 calls at 90 a minute take ten minutes and a little: more than 95 % of the limit."""
    clock = Clock()
    times = _taken(_pacer(clock), clock, 900)

    assert 900 / (times[-1] / 60.0) >= 0.95 * 90


def test_burst_comes_at_once_and_then_every_interval() -> None:
    """Two at once, then one each 60 / 88 seconds."""
    clock = Clock()
    times = _taken(_pacer(clock), clock, 4)

    assert pytest.approx([0.0, 0.0, 60 / 88, 120 / 88], abs=1e-5) == times


def test_minute_limit_pauses_until_the_next_minute() -> None:
    """It is 10:00:30, so the next call comes at 10:01, and nothing was saved up."""
    clock = Clock()
    pacer = _pacer(clock)
    pacer.minute_limit_met()
    times = _taken(pacer, clock, 2)

    assert pytest.approx([30.0, 30.0 + 60 / 88], abs=1e-5) == times


def test_who_waits_already_waits_for_the_minute_too() -> None:
    """A pause also holds for calls that were promised before it."""
    clock = Clock()
    pacer = _pacer(clock, per_minute=3, burst=2)
    _taken(pacer, clock, 2)
    # The third would come after 60 seconds, the pause ends after 30: no wait is cut short.
    clock.on_sleep = lambda: pacer.minute_limit_met() if clock.elapsed == 1.0 else None
    pacer.take()

    assert clock.elapsed >= 60.0


def test_promise_within_a_pause_is_given_anew() -> None:
    """A call promised for 10:00:31 is made in the next minute."""
    clock = Clock()
    pacer = _pacer(clock, per_minute=62, burst=2)
    _taken(pacer, clock, 4)
    assert clock.elapsed == pytest.approx(2.0)
    clock.on_sleep = lambda: pacer.minute_limit_met() if clock.elapsed < 3.5 else None
    pacer.take()

    assert clock.elapsed >= 30.0


@pytest.mark.parametrize(
    "make", [lambda: _pacer(Clock()), UnlimitedPacer], ids=["local", "unlimited"]
)
def test_stop_holds_for_all_that_come(make: Callable[[], LocalPacer | UnlimitedPacer]) -> None:
    """Each caller gets an error of its own, the first that stopped the calls."""
    pacer = make()
    pacer.take()
    pacer.stop(AuthExpiredError("over", where="here"))
    pacer.stop(DayLimitError("too late"))
    caught: list[AuthExpiredError] = []
    for _ in range(2):
        with pytest.raises(AuthExpiredError, match="over; where: here") as info:
            pacer.take()
        caught.append(info.value)

    assert caught[0] is not caught[1]


def test_stop_reaches_who_waits() -> None:
    """A caller that waits for its turn does not make its call."""
    clock = Clock()
    pacer = _pacer(clock, per_minute=3, burst=2)
    _taken(pacer, clock, 2)
    clock.on_sleep = lambda: pacer.stop(AuthExpiredError("over"))

    with pytest.raises(AuthExpiredError):
        pacer.take()
    assert clock.elapsed <= 1.0


def test_unlimited_pacer_ignores_the_minute() -> None:
    """There is nothing to wait for."""
    pacer = UnlimitedPacer()
    pacer.minute_limit_met()
    pacer.take()


def test_day_is_that_of_india() -> None:
    """At 18:30 UTC the next day begins there, and the count begins again."""
    clock = Clock(datetime(2024, 3, 4, 18, 29, 0, tzinfo=UTC))
    pacer = _pacer(clock, calls_per_day=2)
    _taken(pacer, clock, 2)
    with pytest.raises(DayLimitError, match="2 calls"):
        pacer.take()
    clock.sleep(60.0)

    pacer.take()


def test_clock_that_is_put_back_makes_nobody_wait() -> None:
    """An hour back is not an hour's wait."""
    clock = Clock()
    pacer = _pacer(clock)
    _taken(pacer, clock, 10)
    clock.now -= timedelta(hours=1)
    before = clock.elapsed
    pacer.take()

    assert clock.elapsed - before <= 60 / 88 + 1e-5


@pytest.mark.parametrize(("per_minute", "burst"), [(5, 5), (5, 0), (1, 1)])
def test_burst_must_leave_something_of_the_minute(per_minute: int, burst: int) -> None:
    """Otherwise the interval would be infinite or negative."""
    with pytest.raises(ConfigError, match="burst"):
        _pacer(Clock(), per_minute, burst)


def test_settings_reach_the_pacer() -> None:
    """Each of the three changes what the pacer does."""
    clock = Clock()
    config = BreezeConfig(calls_per_minute=61, burst=1, calls_per_day=3)
    pacer = local_pacer(config, clock=clock, sleep=clock.sleep)
    times = _taken(pacer, clock, 3)

    assert pytest.approx([0.0, 1.0, 2.0], abs=1e-5) == times
    with pytest.raises(DayLimitError):
        pacer.take()


def test_threads_share_the_limit() -> None:
    """Twelve threads at 100 calls a second make 60 calls in about 0.6 seconds, not faster."""
    pacer = LocalPacer(
        calls_per_minute=6001, burst=1, clock=lambda: datetime.now(UTC), sleep=time.sleep
    )
    threads = [threading.Thread(target=lambda: [pacer.take() for _ in range(5)]) for _ in range(12)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert time.monotonic() - begin >= 0.58
