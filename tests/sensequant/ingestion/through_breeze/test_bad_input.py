"""Wrong keys, wrong clocks, wrong requests, no space, two at once: the vendor's whole way."""

import contextlib
import dataclasses
import errno
import multiprocessing
import os
import resource
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from sensequant import storage
from sensequant.breeze_simulator import BreezeSimulator, Fault, Limits, SettableClock
from sensequant.errors import StopSourceError, StorageError
from sensequant.ingestion import opening
from sensequant.ingestion.backfill import run_backfill
from sensequant.ingestion.opening import Intakes, Outside
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.pacing import Pacer, UnlimitedPacer

WRONG = SecretStr("ThisIsWrong42")


@pytest.fixture
def real(world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a world in which the simulator stands where the vendor's own service is.

    There is no file with the simulator's login in the home then, as for a real login.
    """
    world.kind = "breeze"
    monkeypatch.setattr(opening, "VENDOR", world.simulator.endpoints)
    return world


def message_of(world: Any) -> str:
    return str(next(one.error_message for one in world.entries() if one.error_message))


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("api_key", "the app key is not known to the service"),
        ("secret_key", "the signature was refused"),
        ("session_token", "the session token is not known to the service"),
    ],
)
def test_a_wrong_login_stops_and_a_right_one_goes_on(real: Any, field: str, words: str) -> None:
    """The message says which of the three is wrong; no bar comes before all are right."""
    right = real.simulator.login
    real.login = dataclasses.replace(right, **{field: WRONG})
    report = real.backfill(workers=1)
    account = real.account()
    said = message_of(real)
    n_calls = real.n_calls()
    real.login = right
    again = real.backfill()

    assert report.outcome == "stopped"
    assert report.n_by_reason == {"auth_invalid": 1}
    assert report.n_left == report.n_planned
    assert words in said
    assert account.n_stored == 0
    assert n_calls <= 2
    assert again.outcome == "completed"
    assert real.account().is_true


class UntilMidnight(UnlimitedPacer):
    """A pacer at whose n-th call it is past midnight in India."""

    def __init__(self, clock: SettableClock, n_calls: int) -> None:
        super().__init__()
        self._clock = clock
        self._n_left = n_calls

    def take(self) -> None:
        """Count a call."""
        super().take()
        self._n_left -= 1
        if self._n_left == 0:
            self._clock.set(datetime(2022, 3, 15, 18, 31, tzinfo=UTC))


@pytest.mark.parametrize("workers", [1, 4])
def test_a_token_that_expires_in_the_middle_leaves_the_rest_to_do(real: Any, workers: int) -> None:
    """What came before midnight is stored and is not asked for again after the next login."""
    real.pacer = UntilMidnight(real.clock, 8)
    report = real.backfill(workers=workers)
    account = real.account()
    stored = {(one.symbol, one.interval, one.start) for one in real.entries() if one.n_bars}
    real.pacer = UnlimitedPacer()
    blocked = real.backfill()
    n_calls = real.n_calls()
    real.simulator.renew_session()
    again = real.backfill()
    entries = Counter((one.symbol, one.interval, one.start) for one in real.entries() if one.n_bars)

    assert report.outcome == blocked.outcome == "stopped"
    assert "auth_expired" in report.n_by_reason
    assert "expired" in message_of(real)
    assert 0 < report.n_left < report.n_planned
    assert account.n_stored > 0
    assert set(account.missing) == {"auth_expired", "never_asked"}
    assert not account.has_wrong_bars
    assert real.n_calls() > n_calls
    assert again.outcome == "completed"
    assert again.n_planned == report.n_left
    assert all(entries[one] == 1 for one in stored)
    account = real.account()
    assert account.is_true
    # A call that waits past midnight counts on both days; each worker may have one.
    assert 1 <= account.n_calls_counted - real.n_calls() <= workers


@pytest.fixture
def strict(market: Any, make_world: Any, tmp_path: Path) -> Iterator[Any]:
    """Return a world whose vendor refuses signatures of another time."""
    clock = SettableClock(datetime.now(UTC))
    limits = Limits(None, None, clock_skew=timedelta(minutes=5))
    with BreezeSimulator(market, clock=clock, limits=limits) as simulator:
        world = make_world(tmp_path / "home", other=(simulator, clock))
        world.clock.set(datetime.now(UTC))
        world.simulator.renew_session()
        yield world


@pytest.mark.parametrize(("minutes", "side"), [(20, "ahead of"), (-20, "behind")])
def test_a_clock_that_is_off_is_named(strict: Any, minutes: int, side: str) -> None:
    """A signature that is refused because of the clock says so, and by how much."""
    # The SDK signs with the clock of this machine, so the vendor's is moved.
    strict.clock.advance(timedelta(minutes=-minutes))
    strict.ahead = timedelta(minutes=minutes)
    report = strict.backfill(workers=1)
    said = message_of(strict)

    assert report.outcome == "stopped"
    assert report.n_by_reason == {"clock": 1}
    assert "clock of this machine is off" in said
    assert f"(20.0 minutes) {side} the service" in said
    assert strict.account().n_stored == 0


def test_a_symbol_that_is_not_in_the_list_costs_no_call(world: Any) -> None:
    """It is refused with the nearest names; all others are fetched."""
    world.symbols = ("SIM02", "SIM3")
    world.intervals = ("1day",)
    report = world.backfill()
    refused = [one for one in world.entries() if one.symbol == "SIM3"]
    world.symbols = ("SIM02",)

    assert report.outcome == "completed"
    assert report.n_by_reason == {"unknown_symbol": 2}
    assert all("SIM03" in str(one.error_message) for one in refused)
    codes = {call.params.get("stock_code") for call in world.simulator.calls}
    assert "SIM3" not in codes
    account = world.account()
    assert account.is_true
    assert account.n_calls_counted == world.n_calls()


def test_an_unknown_interval_is_refused() -> None:
    """There are four lengths of bars."""
    with pytest.raises(ValidationError, match="1minute"):
        BackfillRequest.model_validate({"symbols": ["SIM02"], "intervals": ["2minute"]})


def test_a_range_upside_down_is_refused() -> None:
    """The start may not follow the end."""
    with pytest.raises(ValidationError, match="upside down"):
        BackfillRequest(start=date(2021, 3, 2), end=date(2021, 3, 1))


def test_a_range_of_holidays_has_nothing_to_do(world: Any) -> None:
    """A weekend needs no call and is no error."""
    world.sessions = [date(2021, 3, 6), date(2021, 3, 7)]
    report = world.backfill()

    assert report.outcome == "nothing_to_do"
    assert world.n_calls() == 0
    assert world.entries() == []


@pytest.mark.parametrize("n_written", [0, 1, 5, 11])
def test_a_full_disk_loses_nothing_that_was_written(
    world: Any, monkeypatch: pytest.MonkeyPatch, n_written: int
) -> None:
    """It is an error that says so; with space again, the same command completes the bars."""
    world.symbols = ("SIM03",)
    left = iter([True] * n_written)
    really = os.fsync

    def full(descriptor: int) -> None:
        if not next(left, False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        really(descriptor)

    # The simulator's own file is no part of the ingestion.
    world.announce()
    announce, world.announce = world.announce, lambda: None
    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        world.backfill()
    monkeypatch.undo()
    world.announce = announce
    account = world.account()

    assert not account.has_wrong_bars
    assert set(account.missing) == {"never_asked"}
    assert world.backfill().outcome == "completed"
    assert world.account().is_true
    hidden = world.home.rglob(".*.parquet.*")
    assert [path for path in hidden if path.suffix != ".lock"] == []


def backfill(
    home: Path, request: BackfillRequest, now: datetime, may_begin: Event, largest_file: int | None
) -> None:
    """Backfill as a process of its own."""

    def no_login(_block: str | None) -> BreezeLogin:
        raise AssertionError

    def unlimited(_key_digest: str, _config: BreezeConfig) -> Pacer:
        return UnlimitedPacer()

    timing = Timing(lambda: now, lambda _: None, lambda: 0.5)
    assert may_begin.wait(60)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    with contextlib.closing(Intakes(Outside(home, timing, no_login, unlimited))) as intakes:
        options = BackfillOptions(workers=2)
        try:
            run_backfill(request, options, intakes.of(request.source), universes=home)
        except StorageError:
            os._exit(42)


def started(world: Any, n_processes: int, *, largest_file: int | None = None) -> list[int | None]:
    """Let processes backfill at the same time; return their exit codes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sensequant.ingestion.opening"])
    may_begin = context.Event()
    world.announce()
    arguments = (world.home, world.request, world.clock(), may_begin, largest_file)
    children = [context.Process(target=backfill, args=arguments) for _ in range(n_processes)]
    for child in children:
        child.start()
    may_begin.set()
    for child in children:
        child.join(120)
    return [child.exitcode for child in children]


@pytest.mark.parametrize("largest_file", [2_000, 30_000, 60_000, 150_000])
def test_files_that_may_not_grow_end_in_an_error(world: Any, largest_file: int) -> None:
    """Whichever file is the one that cannot be written, the ledger's own included."""
    codes = started(world, 1, largest_file=largest_file)
    account = world.account()

    assert codes == [42]
    assert not account.has_wrong_bars
    assert set(account.missing) <= {"never_asked"}
    assert world.backfill().outcome == "completed"
    assert world.account().is_true


def test_two_backfills_at_once_share_the_work(world: Any) -> None:
    """Each chunk is fetched by one of two processes; together they make no call twice."""
    world.look_at("hole", n_sessions=16)
    world.symbols = ("SIM01", "SIM02", "SIM03")
    codes = started(world, 2)
    account = world.account()
    asked = Counter(
        tuple(sorted(call.params.items()))
        for call in world.simulator.calls
        if call.path == "v2/historicalcharts"
    )
    entries = Counter((one.symbol, one.interval, one.start) for one in world.entries())

    assert codes == [0, 0]
    assert account.is_true
    assert set(asked.values()) == {1}
    assert set(entries.values()) == {1}
    assert len(asked) == len(entries)
    assert account.n_calls_counted == world.n_calls()


def secrets_of(*logins: BreezeLogin) -> set[str]:
    return {
        getattr(login, field.name).get_secret_value()
        for login in logins
        for field in dataclasses.fields(login)
    }


def test_no_secret_is_written_or_said(real: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither key, secret, token nor session are in a file below home, a message or the output."""
    first = real.simulator.login
    wrong = dataclasses.replace(first, secret_key=WRONG)
    said: list[str] = []
    for login, name in (
        (wrong, "slow"),
        (first, "missing_success"),
        (first, "truncated_json"),
        (first, "html_200"),
        (first, "session_lost"),
    ):
        real.log_in_next_day()
        seconds = 0.01 if name == "slow" else None
        real.simulator.faults.clear()
        real.simulator.faults.add(Fault(name=name, seconds=seconds, probability=0.6))
        token = real.simulator.login.session_token
        real.login = dataclasses.replace(login, session_token=token)
        with contextlib.suppress(StopSourceError):
            said.append(str(real.backfill()))
        said += [str(one) for one in real.entries()]
    access = real.simulator._access
    secrets = secrets_of(first, wrong, real.simulator.login) | {access.session_key}
    paths = [path for path in real.home.rglob("*") if path.is_file()]
    contents = [path.read_bytes() for path in paths]
    output = capfd.readouterr()

    assert len(paths) > 5
    assert any(b"malformed_reply" in content for content in contents)
    for secret in secrets:
        assert len(secret) >= 8
        assert not [
            path for path, has in zip(paths, contents, strict=True) if secret.encode() in has
        ]
        assert secret not in "".join([*said, output.out, output.err])
        assert not [path for path in paths if secret in str(path)]
