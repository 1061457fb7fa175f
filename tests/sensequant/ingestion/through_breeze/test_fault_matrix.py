"""Every fault of the vendor alone, once and lasting: what the store and the ledger make of it.

`FATES` says of every fault what becomes of a backfill. A fault that it does not name fails a test,
so a new switch of the simulator cannot be forgotten.

What is found by comparing, and the list of securities, have their tests in `test_fault_stories`.
"""

import dataclasses
from typing import Any, Literal

import pytest

from sensequant.breeze_simulator import CATALOG, Fault
from sensequant.breeze_simulator.fault_catalog import (
    CUSTOMER,
    HISTORY_V1,
    HISTORY_V2,
    MASTER,
    OPTION_CHAIN,
    QUOTES,
    STREAM,
    Layer,
)
from sensequant.market.sources.breeze.config import RetryConfig, TimeoutConfig

OF_THE_SOCKET = frozenset(name for name, kind in CATALOG.items() if kind.layer is Layer.STREAM)
"""Faults of market depth, which no backfill asks for; the tests of captures show them."""

PATHS_OF_A_BACKFILL = (CUSTOMER, QUOTES, HISTORY_V1, HISTORY_V2, MASTER)
"""What a backfill asks for; nobody asks for the option chain (nor for the socket)."""

Kind = Literal["fails", "stops", "empty", "refuses", "harmless", "alters", "loses", "elsewhere"]


@dataclasses.dataclass(frozen=True)
class Fate:
    """What becomes of a backfill that meets a fault.

    Attributes
    ----------
    kind
        fails: an answer is asked for again; where none comes, the chunk is left to do.
        stops: nobody asks any more until a person has done something.
        empty: the answer is that there are no bars, and the ledger says of which sessions.
        refuses: rows are in the quarantine.
        harmless: nothing is lost; the report may name it as a finding.
        alters: no row is wrong by itself; the bars are stored as they came.
        loses: bars are missing.
        elsewhere: a test of its own, in `test_fault_stories`.
    words
        Reason in ledger or quarantine, or the finding.
    """

    kind: Kind
    words: str = ""


TRANSIENT = Fate("fails", "transient_source")
MALFORMED = Fate("fails", "malformed_reply")
BUSY = Fate("fails", "minute_limit")
NOT_POSITIVE = Fate("refuses", "zero_or_negative_price")
ALTERED = Fate("alters")
ELSEWHERE = Fate("elsewhere")

FATES: dict[str, Fate] = {
    "html_503": TRANSIENT,
    "html_200": MALFORMED,
    "empty_body": MALFORMED,
    "null_body": MALFORMED,
    "list_body": MALFORMED,
    "service_error": TRANSIENT,
    "throttled": BUSY,
    "connection_reset": TRANSIENT,
    "redirect": TRANSIENT,
    "minute_limit": BUSY,
    "day_limit": Fate("stops", "day_limit"),
    "login_expired": Fate("stops", "auth_expired"),
    "session_lost": Fate("stops", "auth_expired"),
    "invalid_user_details": Fate("fails", "auth_expired"),
    "bad_checksum": Fate("stops", "auth_invalid"),
    "ip_denied": Fate("stops", "address_denied"),
    "no_data_found": Fate("empty", "missing_at_source"),
    "slow": TRANSIENT,
    "truncated_body": TRANSIENT,
    "truncated_json": MALFORMED,
    "missing_success": MALFORMED,
    "duplicate_rows": Fate("harmless", "duplicates_dropped"),
    "conflicting_rows": Fate("refuses", "conflicting_duplicate"),
    "out_of_order": Fate("harmless", "out_of_order"),
    "out_of_window": Fate("harmless"),
    "other_symbol": Fate("refuses", "other_symbol"),
    "other_symbol_hidden": ALTERED,
    "negative_volume": Fate("refuses", "negative_volume"),
    "zero_volume": ALTERED,
    "zero_open": NOT_POSITIVE,
    "zero_low": NOT_POSITIVE,
    "swapped_open_close": ALTERED,
    "missing_first_candle": Fate("loses", "delivered_fewer"),
    "missing_day": Fate("loses", "missing_at_source"),
    "partial_recent": ELSEWHERE,
    "late_eod": ELSEWHERE,
    "unadjusted_split": ALTERED,
    "adjusted_before_2022": ALTERED,
    "missing_fields": Fate("refuses", "malformed_row"),
    "extra_fields": Fate("harmless", "extra_fields"),
    "numbers_as_text": Fate("harmless", "numbers_as_text"),
    "nan_numbers": Fate("refuses", "non_numeric_price"),
    "master_404": ELSEWHERE,
    "master_corrupt": ELSEWHERE,
    "master_stale": ELSEWHERE,
    "master_collision": ELSEWHERE,
    "master_without_dates": ELSEWHERE,
    "rename": ELSEWHERE,
}

HIT_SHARE = 0.3
"""Share of rows or sessions that a fault hits, so that some are hit and some are not."""


def paths_of(name: str) -> tuple[str, ...]:
    return tuple(path for path in CATALOG[name].paths if path in PATHS_OF_A_BACKFILL)


def cases(*kinds: Kind) -> list[tuple[str, str]]:
    # What goes wrong with the list of securities goes wrong before anything is asked.
    return [
        (name, path)
        for name in CATALOG
        if name in FATES and FATES[name].kind in kinds
        for path in paths_of(name)
        if path != MASTER
    ]


def rows_of(*kinds: Kind) -> list[tuple[str, str]]:
    layers = {Layer.ROWS, Layer.SHAPE}
    return [(name, path) for name, path in cases(*kinds) if CATALOG[name].layer in layers]


def small_for(world: Any, path: str) -> None:
    # The one that is listed within the range; v1 has daily bars alone.
    world.symbols = ("SIM03",)
    if path == HISTORY_V1:
        world.breeze = world.breeze.model_copy(update={"daily_version": "v1"})
    if path != HISTORY_V2:
        world.intervals = ("1day",)


def impatient(world: Any, n_tries: int) -> None:
    retry = RetryConfig(n_transient_tries=n_tries)
    timeouts = TimeoutConfig(read_seconds=0.2)
    world.breeze = world.breeze.model_copy(update={"retry": retry, "timeouts": timeouts})
    world.intervals = ("1day",)


def hitting(name: str, path: str, **settings: Any) -> Fault:
    if "rate" in CATALOG[name].readable:
        settings = {"rate": HIT_SHARE} | settings
    if name == "slow":
        settings = {"seconds": 0.6} | settings
    return Fault(name=name, path=path, seed=7, **settings)


def expect_heal(world: Any) -> None:
    """Once the fault is off, another run completes the bars, and a third has nothing to do."""
    world.simulator.faults.clear()
    report = world.backfill()
    n_calls = world.n_calls()
    again = world.backfill()

    assert report.outcome == "completed"
    assert report.n_left == 0
    account = world.account()
    assert account.is_true
    assert again.outcome == "nothing_to_do"
    assert world.n_calls() == n_calls == account.n_calls_counted


def test_the_matrix_has_every_fault() -> None:
    """Every switch is in the table or is one of the socket's; a backfill asks all other paths."""
    socket = {name for name, kind in CATALOG.items() if kind.paths == (STREAM,)}

    assert socket == OF_THE_SOCKET
    assert FATES.keys() == CATALOG.keys() - OF_THE_SOCKET
    assert all(
        set(kind.paths) - {OPTION_CHAIN} <= {*PATHS_OF_A_BACKFILL, STREAM}
        for kind in CATALOG.values()
    )
    assert all(paths_of(name) for name in FATES)


@pytest.mark.parametrize(("name", "path"), cases("fails"))
def test_a_passing_failure_heals_within_the_run(world: Any, name: str, path: str) -> None:
    """The first answer to every question is spoilt; the run asks again, and gets every bar."""
    small_for(world, path)
    if name == "slow":
        impatient(world, 4)
    world.simulator.faults.add(hitting(name, path, times=1, scope="request"))

    report = world.backfill()

    assert world.simulator.faults.n_acted(name) > 0
    assert report.outcome == "completed"
    assert report.n_left == 0
    account = world.account()
    assert account.is_true
    assert world.n_calls() == account.n_calls_counted


@pytest.mark.parametrize(("name", "path"), cases("fails"))
def test_a_lasting_failure_is_left_to_do(world: Any, name: str, path: str) -> None:
    """No bar comes; every chunk stands in the ledger with the reason, and is fetched later."""
    small_for(world, path)
    if name == "slow":
        impatient(world, 2)
    world.simulator.faults.add(hitting(name, path))

    report = world.backfill()
    account = world.account()
    kept = sum(account.refused.values())

    words = FATES[name].words
    assert report.outcome == ("stopped" if words == "auth_expired" else "failed")
    assert report.n_by_reason.keys() == {words}
    assert report.n_left == report.n_planned
    assert account.n_stored == 0
    assert set(account.missing) <= {words, "never_asked"}
    assert account.missing[words] > 0
    # The body of what makes no sense is kept, unless it was empty or could hold a session.
    has_body = words == "malformed_reply" and name != "empty_body"
    assert (kept > 0) == (has_body and path != CUSTOMER)
    assert set(account.refused) <= {"malformed_reply"}
    if words == "auth_expired":
        world.log_in_next_day()
    expect_heal(world)


@pytest.mark.parametrize("times", [1, None])
@pytest.mark.parametrize(("name", "path"), cases("stops"))
def test_a_stop_stops_at_once(world: Any, name: str, path: str, times: int | None) -> None:
    """One such answer ends all calls; they begin again when a person has logged in again."""
    small_for(world, path)
    world.simulator.faults.add(hitting(name, path, times=times, after=0))

    report = world.backfill(workers=1)
    account = world.account()
    n_calls = world.n_calls()
    again = world.backfill()

    words = FATES[name].words
    # A session that is lost takes one more try and a look at it.
    assert n_calls <= (5 if name == "session_lost" else 3)
    assert report.outcome == again.outcome == "stopped"
    assert report.n_left == report.n_planned
    assert report.n_by_reason == {words: 1}
    assert account.n_stored == 0
    assert set(account.missing) == {words, "never_asked"}
    # As long as nobody has logged in again, not even one call is made.
    assert world.n_calls() == n_calls == account.n_calls_counted
    world.log_in_next_day()
    expect_heal(world)


@pytest.mark.parametrize("settings", [{"times": 1, "scope": "request"}, {}], ids=["once", "lasts"])
@pytest.mark.parametrize(("name", "path"), [*cases("empty"), *rows_of("refuses", "loses")])
def test_a_gap_stands_in_the_books(
    world: Any, name: str, path: str, settings: dict[str, Any]
) -> None:
    """What is refused or not delivered has its reason, all else is there; --force brings it."""
    small_for(world, path)
    world.simulator.faults.add(hitting(name, path, **settings))

    report = world.backfill()
    account = world.account()
    n_calls = world.n_calls()
    again = world.backfill()

    is_harmless = path == QUOTES or (name == "missing_first_candle" and path == HISTORY_V1)
    assert report.outcome == "completed"
    assert set(account.missing) == (set() if is_harmless else {FATES[name].words})
    assert not account.has_wrong_bars
    assert set(account.refused) == ({FATES[name].words} & set(account.missing)) - {
        "missing_at_source",
        "delivered_fewer",
    }
    # An answer is an answer: it is not asked for again unless somebody wants to.
    assert again.outcome == "nothing_to_do"
    assert world.n_calls() == n_calls == account.n_calls_counted
    world.simulator.faults.clear()
    world.backfill(is_forced=True)
    assert world.account().is_true


@pytest.mark.parametrize("settings", [{"times": 1, "scope": "request"}, {}], ids=["once", "lasts"])
@pytest.mark.parametrize(("name", "path"), rows_of("harmless"))
def test_nothing_is_lost_by_what_is_only_odd(
    world: Any, name: str, path: str, settings: dict[str, Any]
) -> None:
    """Every bar is there, and the report says what was odd."""
    small_for(world, path)
    world.simulator.faults.add(hitting(name, path, **settings))

    report = world.backfill()
    account = world.account()

    # Numbers of v1 are texts anyway.
    is_finding = FATES[name].words and not (name == "numbers_as_text" and path == HISTORY_V1)
    assert world.simulator.faults.n_acted(name) > 0 or not is_finding
    assert report.outcome == "completed"
    assert account.is_true
    assert report.n_by_finding.keys() == ({FATES[name].words} if is_finding else set())
    assert set(account.refused) == ({"outside_request"} if name == "out_of_window" else set())


@pytest.mark.parametrize("settings", [{"times": 1, "scope": "request"}, {}], ids=["once", "lasts"])
@pytest.mark.parametrize(("name", "path"), rows_of("alters"))
def test_what_no_row_shows_is_stored_as_it_came(
    world: Any, name: str, path: str, settings: dict[str, Any]
) -> None:
    """No bar is lost or added; when right ones come, the wrong ones stay as revisions."""
    small_for(world, path)
    if name == "adjusted_before_2022":
        world.symbols = ("SIM02",)
        world.look_at("split")
    if name == "unadjusted_split":
        settings = {**settings, "sessions": (world.sessions[4],)}
    world.simulator.faults.add(hitting(name, path, **settings))

    report = world.backfill()
    account = world.account()
    world.simulator.faults.clear()
    forced = world.backfill(is_forced=True)
    n_altered = sum(map(len, account.altered.values()))
    n_revised = sum(world.shelf.store.revisions(*where).height for where in world.series)

    assert report.outcome == "completed"
    assert n_altered > 0
    assert not account.missing
    assert not account.refused
    assert account.invented == account.twice == {}
    assert world.account().is_true
    assert forced.n_final_changed == n_revised == n_altered
