"""Facts about limits and the log of calls."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from sensequant.breeze_simulator import UNLIMITED, BreezeSimulator, Limits, SettableClock
from sensequant.breeze_simulator.limits import CallCounter

IST = timezone(timedelta(hours=5, minutes=30))
NOW = datetime(2024, 1, 16, 11, 3, 20, tzinfo=IST)
DAYS = (NOW.date(), NOW.date())


def test_the_default_is_what_the_vendor_allows() -> None:
    """A hundred a minute, five thousand a day, a thousand bars."""
    assert Limits() == Limits(100, 5000, 1000)
    assert Limits(None, None, 1000) == UNLIMITED


def test_a_minute_is_one_of_the_wall_clock() -> None:
    """The third call of a minute is refused, the first of the next is not."""
    counter = CallCounter(Limits(calls_per_minute=2, calls_per_day=None))
    times = [NOW, NOW + timedelta(seconds=39), NOW + timedelta(seconds=39.9)]

    assert [counter.count(at) is None for at in times] == [True, True, False]
    assert counter.count(NOW + timedelta(seconds=40)) is None


def test_a_day_is_one_of_india() -> None:
    """The limit of a day holds to midnight in India, not in Greenwich; refused calls count."""
    counter = CallCounter(Limits(calls_per_minute=1, calls_per_day=3))
    late = datetime(2024, 1, 16, 23, 58, tzinfo=IST)

    outcomes = [
        None if reply is None else reply.outcome
        for reply in (
            counter.count(late),
            counter.count(late),
            counter.count(late + timedelta(minutes=1)),
            counter.count(late + timedelta(minutes=1)),
            counter.count(late + timedelta(minutes=2)),
        )
    ]
    assert outcomes == [None, "minute_limit", None, "day_limit", None]


def test_the_sdk_meets_the_limit_of_the_minute(
    start: Callable[..., BreezeSimulator], connect: Callable[..., Any], clock: SettableClock
) -> None:
    """Login counts; the refusal is Status 5 with HTTP 401, and passes with the minute."""
    simulator = start(limits=Limits(calls_per_minute=2))
    vendor = connect(simulator)

    assert vendor.ask("SIM03", days=DAYS).value["Status"] == 200
    refused = vendor.ask("SIM03", days=DAYS)
    assert refused.value["Status"] == 5
    assert refused.value["Error"].startswith("Limit exceed: API call per minute")
    assert refused.reply.status == 401
    clock.advance(timedelta(minutes=1))
    assert vendor.ask("SIM03", days=DAYS).value["Status"] == 200


def test_the_log_tells_every_call_and_no_secret(vendor: Any) -> None:
    """Path, time, parameters and outcome stand in it; keys and sessions do not."""
    simulator: BreezeSimulator = vendor.simulator
    vendor.ask("SIM03", days=DAYS)
    login, history = simulator.calls

    assert (login.number, login.path, login.outcome, login.params) == (
        1,
        "customerdetails",
        "ok",
        {},
    )
    assert (history.number, history.path, history.http_status) == (2, "v2/historicalcharts", 200)
    assert history.params["interval"] == "1day"
    assert history.at == NOW
    secret = simulator.login.api_key.get_secret_value()
    assert secret not in repr(simulator.calls)
    simulator.forget_calls()
    assert simulator.calls == ()
