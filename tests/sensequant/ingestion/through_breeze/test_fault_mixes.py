"""Random mixes of faults: 200 of them, each drawn from its number, so that any can be run again."""

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant import storage
from sensequant.breeze_simulator import CATALOG, Fault
from sensequant.breeze_simulator.fault_catalog import (
    CUSTOMER,
    HISTORY_V1,
    HISTORY_V2,
    MASTER,
    QUOTES,
    STREAM,
    Layer,
)
from sensequant.errors import MasterUnavailableError
from sensequant.ingestion.audits import audit_shelf
from sensequant.market.sessions import session_date_of

N_MIXES = 200
N_TOGETHER = 25
PATHS = (CUSTOMER, QUOTES, HISTORY_V1, HISTORY_V2, MASTER)
NAMES = sorted(name for name, kind in CATALOG.items() if kind.paths != (STREAM,))

ALTERING = {
    "other_symbol_hidden",
    "zero_volume",
    "swapped_open_close",
    "unadjusted_split",
    "adjusted_before_2022",
    "partial_recent",
}
"""Faults that no row shows."""

PASSING = {
    "transient_source": {
        "html_503",
        "service_error",
        "connection_reset",
        "redirect",
        "truncated_body",
    },
    "malformed_reply": {
        "html_200",
        "empty_body",
        "null_body",
        "list_body",
        "truncated_json",
        "missing_success",
    },
    "minute_limit": {"throttled", "minute_limit"},
    "day_limit": {"day_limit"},
    "auth_expired": {"login_expired", "session_lost", "invalid_user_details"},
    "auth_invalid": {"bad_checksum"},
    "address_denied": {"ip_denied"},
    "unknown_symbol": {"rename", "master_stale", "master_collision"},
}
"""Why a chunk has no answer, and by which faults; a later run asks again."""

STAYING = {
    "missing_at_source": {"no_data_found", "missing_day", "late_eod", "rename"},
    "delivered_fewer": {"missing_first_candle", "partial_recent"},
    "conflicting_duplicate": {"conflicting_rows"},
    "other_symbol": {"other_symbol"},
    "negative_volume": {"negative_volume"},
    "zero_or_negative_price": {"zero_open", "zero_low"},
    "price_outside_range": {"zero_open", "zero_low", "unadjusted_split", "adjusted_before_2022"},
    "malformed_row": {"missing_fields"},
    "non_numeric_price": {"nan_numbers"},
}
"""Why a bar is missing although there was an answer, and by which faults."""


def a_fault(draw: random.Random, world: Any) -> Fault:
    name = draw.choice(NAMES)
    kind = CATALOG[name]
    settings: dict[str, Any] = {
        "seed": draw.randrange(1000),
        "probability": draw.uniform(0.3, 1.0),
        "times": draw.choice([None, None, 2]),
        "after": draw.choice([0, 0, 0, 3]),
        "scope": draw.choice(["all", "request"]),
    }
    paths = [path for path in kind.paths if path in PATHS]
    if kind.layer not in (Layer.WORLD, Layer.MASTER) and draw.random() < 0.5:
        settings["path"] = draw.choice(paths)
    if "rate" in kind.readable:
        settings["rate"] = draw.choice([0.05, 0.3, 1.0])
    if "days" in kind.readable:
        settings["days"] = 400 if name == "master_stale" else draw.randint(1, 3)
    if name in ("rename", "master_collision"):
        settings["symbol"] = draw.choice(world.symbols)
    if name == "unadjusted_split":
        settings["sessions"] = (draw.choice(world.sessions),)
    if name == "slow":
        settings["seconds"] = 0.01
    return Fault(name=name, **settings)


def set_up(draw: random.Random, world: Any) -> list[Fault]:
    window = draw.choice(["listing", "hole", "split"])
    # The stock to which it happens, and one to which nothing does.
    world.symbols = {"hole": ("SIM01", "SIM02")}.get(window, ("SIM02", "SIM03"))
    is_daily = draw.random() < 0.5
    world.intervals = ("1day",) if is_daily else ("1day", "5minute")
    n_sessions = draw.randint(20, 30) if is_daily else draw.randint(7, 9)
    world.look_at(window, n_sessions=n_sessions)
    world.breeze = world.breeze.model_copy(
        update={
            "daily_chunk_sessions": draw.randint(n_sessions // 2 + 1, n_sessions + 1),
            "five_minute_chunk_sessions": min(12, draw.randint(n_sessions // 2 + 1, n_sessions)),
            "daily_version": draw.choice(["v1", "v2"]),
        }
    )
    # In the evening of the last session nothing of the last week is settled.
    if draw.random() < 0.3:
        world.stand_at(world.sessions[-1], 19)
    return [a_fault(draw, world) for _ in range(draw.randint(1, 4))]


def reasons_by(table: dict[str, set[str]], names: set[str]) -> set[str]:
    return {reason for reason, causes in table.items() if causes & names}


def expect_books(world: Any, names: set[str], allowed: set[str], said: str) -> None:
    """Every bar is the market's, or the books say why not; every call is counted."""
    account = world.account()

    assert set(account.missing) <= allowed, (said, account.missing)
    assert account.invented == account.twice == {}, said
    assert names & ALTERING or account.altered == {}, said
    assert world.n_calls() == account.n_calls_counted, said


def expect_audit(world: Any, said: str) -> None:
    """Expect that the audit calls complete what is complete, and missing what is missing."""
    audit = audit_shelf(
        world.shelf, world.request, home=world.home, universes=world.home, now=world.clock()
    )
    parts = [
        world.truth(symbol, interval)
        .group_by("session")
        .agg(n_true=pl.len())
        .with_columns(symbol=pl.lit(symbol), interval=pl.lit(interval))
        for symbol in world.symbols
        for interval in world.intervals
    ]
    judged = audit.sessions.join(pl.concat(parts), on=["symbol", "interval", "session"])
    counted = judged.select(
        "state",
        pl.when(pl.col("n_bars") == 0)
        .then(pl.lit("none"))
        .when(pl.col("n_bars") == pl.col("n_true"))
        .then(pl.lit("all"))
        .otherwise(pl.lit("some"))
        .alias("there"),
    )
    found = set(counted.unique().iter_rows())

    assert found <= {
        ("ok", "all"),
        ("pending", "all"),
        ("pending", "some"),
        ("pending", "none"),
        ("partial", "some"),
        ("quarantined", "none"),
        ("missing_at_source", "none"),
    }, (said, found)


def mix(world: Any, number: int) -> None:
    draw = random.Random(number)  # noqa: S311 - a number of a test, no secret
    faults = set_up(draw, world)
    names = {fault.name for fault in faults}
    said = f"mix {number}: {faults}"
    is_recent = session_date_of(world.clock()) == world.sessions[-1]
    world.simulator.faults.add(*faults)
    unasked: set[str] = set()
    try:
        report = world.backfill()
    except MasterUnavailableError:
        unasked = {"never_asked"}
    else:
        unasked = {"never_asked"} if report.outcome == "stopped" else set()
    waiting = {"pending"} if is_recent else set[str]()
    staying = reasons_by(STAYING, names)
    expect_books(world, names, reasons_by(PASSING, names) | staying | unasked | waiting, said)

    world.simulator.faults.clear()
    world.log_in_next_day()
    report = world.backfill()
    assert report.outcome in ("completed", "nothing_to_do"), said
    assert report.n_left == 0, said
    expect_books(world, names, staying, said)
    if number % 4 == 0:
        expect_audit(world, said)
        n_altered = sum(map(len, world.account().altered.values()))
        world.backfill(is_forced=True)
        n_revised = sum(world.shelf.store.revisions(*where).height for where in world.series)
        assert world.account().is_true, said
        assert n_revised >= n_altered, said


@pytest.fixture(autouse=True)
def no_power_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk: nothing here dies."""

    def leave_it(_path: Any) -> None: ...

    monkeypatch.setattr(storage, "_sync_one", leave_it)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, N_MIXES, N_TOGETHER))
def test_mixes_of_faults(make_world: Any, tmp_path: Path, first: int) -> None:
    """Nothing is lost, invented, doubled or altered without a trace, and a later run heals."""
    for number in range(first, first + N_TOGETHER):
        mix(make_world(tmp_path / str(number)), number)
