"""Facts about the limit of calls per minute that all processes of a server share."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from blocks.environment import Environment
from sensequant.errors import ClockError, SourceError
from sensequant.market.sources.breeze.config import BreezeConfig
from tasks.pacing import PrefectRate, limit_name, remove_limit, set_limit

TEN_A_SECOND = BreezeConfig(calls_per_minute=603, burst=3)


@pytest.fixture
def name(server: Environment) -> str:
    """Return the name of a limit that no other test uses."""
    assert server
    return limit_name(uuid.uuid4().hex[:12])


def test_workers_keep_the_limit_together(name: str) -> None:
    """Two processes with two threads each: no window holds more than the bucket and its decay."""
    set_limit(name, TEN_A_SECOND)
    calls: list[float] = []
    deadline = time.monotonic() + 4.0

    def work(rate: PrefectRate) -> None:
        while time.monotonic() < deadline:
            rate.take()
            calls.append(time.monotonic())

    with (
        closing(PrefectRate(name, TEN_A_SECOND)) as one,
        closing(PrefectRate(name, TEN_A_SECOND)) as other,
        ThreadPoolExecutor(4) as threads,
    ):
        list(threads.map(work, [one, other] * 2))

    calls.sort()
    # The instant at which a call was allowed is known to the server only: a reply takes a moment.
    slack_seconds = 0.2
    for first, began in enumerate(calls):
        for position in range(first, len(calls)):
            span = calls[position] - began + slack_seconds
            assert position - first + 1 <= 3 + 10 * span
    assert len(calls) >= 12


def test_a_limit_can_be_changed(name: str) -> None:
    """The settings of the latest run hold."""
    set_limit(name, TEN_A_SECOND)
    set_limit(name, BreezeConfig(calls_per_minute=90, burst=2))
    with get_client(sync_client=True) as client:
        limit = client.read_global_concurrency_limit_by_name(name)
    assert limit.limit == 2000
    assert limit.slot_decay_per_second == pytest.approx(88 / 60 * 1000)


def test_a_new_limit_grants_no_burst(name: str) -> None:
    """Nobody knows what was called before it was made, so its bucket is full at first."""
    set_limit(name, BreezeConfig(calls_per_minute=90, burst=2))
    with (
        get_client(sync_client=True) as client,
        pytest.raises(PrefectHTTPStatusError, match="423"),
    ):
        client.increment_concurrency_slots(names=[name], slots=1000, mode="rate_limit")


def test_without_the_limit_no_call_is_made(name: str) -> None:
    """Prefect itself would let the call pass."""
    with (
        closing(PrefectRate(name, TEN_A_SECOND)) as rate,
        pytest.raises(SourceError, match="cannot be limited"),
    ):
        rate.take()


def test_one_process_asks_one_at_a_time(name: str) -> None:
    """Its threads do not deny each other slots: none has to ask twice."""
    set_limit(name, TEN_A_SECOND)
    time.sleep(0.3)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(seconds)

    with (
        closing(PrefectRate(name, TEN_A_SECOND, sleep=sleep)) as rate,
        ThreadPoolExecutor(8) as threads,
    ):
        for taken in [threads.submit(rate.take) for _ in range(8)]:
            taken.result()
    assert len(waits) == 8


def test_a_stop_reaches_whoever_asks_next(name: str) -> None:
    """No slot is taken any more, and the error is the one that stopped."""
    set_limit(name, TEN_A_SECOND)
    with closing(PrefectRate(name, TEN_A_SECOND)) as rate:
        rate.stop(ClockError("the clock of this machine is off"))
        with pytest.raises(ClockError):
            rate.take()


def test_a_limit_can_be_removed(name: str) -> None:
    """It is gone from the server; that it is gone already is no error."""
    set_limit(name, TEN_A_SECOND)
    remove_limit(name)
    remove_limit(name)
    with get_client(sync_client=True) as client, pytest.raises(ObjectNotFound):
        client.read_global_concurrency_limit_by_name(name)
