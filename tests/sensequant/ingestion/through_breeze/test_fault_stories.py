"""Faults that take more than one look: the list of securities, recent days, comparisons.

What no comparison of one source with itself can find, because nothing in it tells:

- prices of another company, or of another scale, under the right code, in the daily and in the
  intraday bars of the same session alike; a second source finds both, and a change of scale is
  flagged as a jump that no action explains;
- open and close exchanged where each lies within what the other may be (the auction is within 3
  percent of the first candle, the close within the last half hour);
- a few intraday bars whose volume is dropped, open and close of an intraday bar exchanged, and any
  fault of intraday bars of a session whose daily bar is not there;
- a daily bar that is unfinished in the same way at two looks some hours apart.
"""

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from sensequant.breeze_simulator import Fault
from sensequant.breeze_simulator.fault_catalog import HISTORY_V1, HISTORY_V2, MASTER
from sensequant.errors import MasterUnavailableError
from sensequant.ingestion.audits import audit_shelf, cross_check
from sensequant.market.adjustments import ACTION_SCHEMA, adjust_bars
from sensequant.market.bars import bar_key
from sensequant.market.crosscheck import CrossCheck
from sensequant.market.sessions import nse_calendar
from sensequant.market.store import BarStore
from sensequant.market.symbol_map import RowKind, diff_maps, latest_snapshot

UNAVAILABLE = (
    "html_503",
    "html_200",
    "connection_reset",
    "redirect",
    "truncated_body",
    "master_404",
    "master_corrupt",
)


def only_daily(world: Any, *symbols: str) -> None:
    world.symbols, world.intervals = symbols, ("1day",)


def reasons_of(world: Any, symbol: str) -> set[str | None]:
    return {entry.reason for entry in world.entries() if entry.symbol == symbol}


def altered_sessions(world: Any, symbol: str, interval: Any) -> set[date]:
    stored = world.shelf.store.read(symbol, interval=interval)
    values = ("open", "high", "low", "close", "volume")
    key = "session" if interval == "1day" else "starts_at"
    both = world.truth(symbol, interval).join(stored, on=key, suffix="_stored")
    differs = pl.any_horizontal(pl.col(one) != pl.col(f"{one}_stored") for one in values)
    return set(both.filter(differs)["session"])


def compared(world: Any, **other: Any) -> CrossCheck:
    return cross_check(world.shelf, world.symbols, **other)


@pytest.mark.parametrize("name", UNAVAILABLE)
def test_without_a_list_nothing_is_asked(world: Any, name: str) -> None:
    """Without the list nobody knows a code: a clear error, no call, and nothing is written."""
    only_daily(world, "SIM02")
    world.simulator.faults.add(Fault(name=name, path=MASTER))
    with pytest.raises(MasterUnavailableError) as caught:
        world.backfill()
    n_calls = world.n_calls()
    account = world.account()
    entries = world.entries()
    world.simulator.faults.clear()

    assert "list of securities" in str(caught.value)
    assert n_calls == account.n_calls_counted == 0
    assert set(account.missing) == {"never_asked"}
    assert entries == []
    assert world.backfill().outcome == "completed"
    assert world.account().is_true


@pytest.mark.parametrize("name", UNAVAILABLE)
def test_a_list_that_fails_once_is_asked_for_again(world: Any, name: str) -> None:
    """One refused, broken or damaged download does not end a run."""
    only_daily(world, "SIM02")
    world.simulator.faults.add(Fault(name=name, path=MASTER, times=1))

    assert world.backfill().outcome == "completed"
    assert world.account().is_true


def test_a_slow_list_is_waited_for(world: Any) -> None:
    """The list has megabytes, so it may take longer than a reply."""
    only_daily(world, "SIM02")
    world.simulator.faults.add(Fault(name="slow", path=MASTER, seconds=0.1))

    assert world.backfill().outcome == "completed"
    assert world.account().is_true


def test_a_stock_that_an_old_list_lacks_is_fetched_with_a_new_one(world: Any) -> None:
    """What a stale list does not have is refused, with that reason, and asked for the next day."""
    # As of the February before the March in which SIM03 was listed.
    world.simulator.faults.add(Fault(name="master_stale", days=400))
    report = world.backfill()
    account = world.account()
    world.simulator.faults.clear()
    world.log_in_next_day()
    later = world.backfill()

    assert reasons_of(world, "SIM03") >= {"unknown_symbol"}
    assert report.n_by_reason == {"unknown_symbol": 4}
    assert set(account.missing) == {"unknown_symbol"}
    assert later.outcome == "completed"
    assert world.account().is_true


def test_a_symbol_that_two_rows_claim_is_refused(world: Any) -> None:
    """Neither of two rows is believed; the other symbols are fetched."""
    world.simulator.faults.add(Fault(name="master_collision", symbol="SIM02"))
    report = world.backfill()
    account = world.account()
    symbols = latest_snapshot(world.root)
    messages = [entry.error_message for entry in world.entries() if entry.symbol == "SIM02"]
    world.simulator.faults.clear()
    world.log_in_next_day()
    later = world.backfill()

    assert symbols is not None
    assert symbols.rows_of("SIM02", RowKind.COLLISION).height == 2
    assert all("several rows" in text for text in messages)
    assert report.n_by_reason == {"unknown_symbol": 4}
    assert set(account.missing) == {"unknown_symbol"}
    assert later.outcome == "completed"
    assert world.account().is_true


@pytest.mark.parametrize(("faults", "n_missing"), [((), 0), (("master_without_dates",), 2)])
def test_a_listing_date_excuses_the_days_before_it(
    world: Any, faults: tuple[str, ...], n_missing: int
) -> None:
    """Where the list does not tell it, the sessions before the first bar count as missing."""
    world.simulator.faults.add(*(Fault(name=name) for name in faults))
    only_daily(world, "SIM03")
    report = world.backfill()

    assert report.outcome == "completed"
    assert world.account().is_true
    assert report.n_missing_sessions == n_missing


def test_a_renamed_stock_is_found_by_its_isin(world: Any) -> None:
    """The old code brings nothing, and that is in the ledger; the next list has the new name."""
    only_daily(world, "SIM02")
    world.symbols = ("SIM03",)
    world.backfill()
    before = latest_snapshot(world.root)
    world.simulator.faults.add(Fault(name="rename", symbol="SIM02"))
    world.symbols = ("SIM02",)
    report = world.backfill()
    account = world.account()
    world.log_in_next_day()
    world.symbols = ("SIM02X",)
    later = world.backfill()
    after = latest_snapshot(world.root)
    stored = world.shelf.store.read("SIM02X", interval="1day")

    assert report.outcome == "completed"
    assert report.n_by_reason == {"no_data_at_source": 2}
    assert account.missing == {"missing_at_source": 8}
    assert before is not None
    assert after is not None
    changes = diff_maps(before, after)
    renamed = changes.filter(pl.col("change") == "renamed")
    assert renamed.select("symbol_before", "symbol").rows() == [("SIM02", "SIM02X")]
    assert later.outcome == "completed"
    assert stored["close"].to_list() == world.truth("SIM02", "1day")["close"].to_list()


def test_a_name_that_the_list_no_longer_has_is_refused(world: Any) -> None:
    """A symbol that was renamed before the list came is unknown, and the nearest name is told."""
    only_daily(world, "SIM02")
    world.simulator.faults.add(Fault(name="rename", symbol="SIM02"))
    report = world.backfill()
    refused = [entry for entry in world.entries() if entry.error_type]

    assert report.n_by_reason == {"unknown_symbol": 2}
    assert all("SIM02X" in str(entry.error_message) for entry in refused)


def test_a_bar_of_today_is_not_final_until_two_looks_agree(world: Any) -> None:
    """Unfinished bars are kept as provisional, then as revisions; training never sees them."""
    last = world.sessions[-1]
    world.stand_at(last, 20)
    world.simulator.faults.add(Fault(name="partial_recent", days=1))
    world.backfill()
    evening = world.account()
    world.simulator.faults.clear()
    world.log_in_next_day()
    world.backfill()
    morning = world.account()
    final = {
        (symbol, interval): set(
            world.shelf.store.read(symbol, interval=interval, final_only=True)[bar_key(interval)[1]]
        )
        for symbol, interval in world.series
    }
    revised = {where: world.shelf.store.revisions(*where).height for where in world.series}
    world.clock.advance(timedelta(hours=7))
    world.backfill()
    n_final = [
        world.shelf.store.read(symbol, interval=interval, final_only=True).height
        for symbol, interval in world.series
    ]

    assert set(evening.missing) == {"pending"}
    assert not evening.invented
    assert {where: len(keys) for where, keys in evening.altered.items()} == revised
    assert morning.is_true
    assert all(not final[where] & keys for where, keys in evening.altered.items())
    assert n_final == [world.truth(*where).height for where in world.series]


def test_a_daily_bar_that_comes_late_is_pending(world: Any) -> None:
    """What is not there in the evening is not missing; it is asked for the next day."""
    last = world.sessions[-1]
    world.stand_at(last, 20)
    world.simulator.faults.add(Fault(name="late_eod", days=1))
    report = world.backfill()
    evening = world.account()
    audit = audit_shelf(
        world.shelf, world.request, home=world.home, universes=world.home, now=world.clock()
    )
    world.simulator.faults.clear()
    world.log_in_next_day()
    world.backfill()

    late = audit.sessions.filter(pl.col("interval") == "1day", pl.col("session") == last)
    assert report.outcome == "completed"
    assert report.n_pending_sessions == 4
    assert report.n_missing_sessions == 0
    assert evening.missing == {"pending": 4}
    assert late["state"].to_list() == ["pending", "pending"]
    assert world.account().is_true


def test_a_row_that_nobody_asked_for_explains_no_gap(world: Any) -> None:
    """A failed chunk stays missing in the audit, although the next one brought rows of its days."""
    only_daily(world, "SIM02")
    world.simulator.faults.add(
        Fault(name="out_of_window"),
        Fault(name="service_error", path=HISTORY_V2, symbol="SIM02", times=4),
    )
    report = world.backfill(workers=1)
    account = world.account()
    audit = audit_shelf(
        world.shelf, world.request, home=world.home, universes=world.home, now=world.clock()
    )

    states = audit.sessions.select("state", "reason").rows()
    assert report.outcome == "degraded"
    assert account.missing == {"transient_source": 4}
    assert account.refused["outside_request"] > 0
    assert states == [("missing_local", "ask_failed")] * 4 + [("ok", None)] * 4


@pytest.mark.parametrize("name", ["swapped_open_close", "other_symbol_hidden", "zero_volume"])
def test_a_wrong_daily_bar_is_disputed_by_its_intraday_bars(world: Any, name: str) -> None:
    """Comparing finds what no row shows, blames no right bar, and training leaves it out."""
    world.breeze = world.breeze.model_copy(update={"daily_version": "v1"})
    world.look_at("listing", n_sessions=24)
    world.simulator.faults.add(Fault(name=name, path=HISTORY_V1, rate=0.4, seed=3))
    world.backfill()
    disputes = compared(world).disputes
    final = {
        symbol: set(world.shelf.store.read(symbol, interval="1day", final_only=True)["session"])
        for symbol in world.symbols
    }

    for symbol in world.symbols:
        found = set(disputes.filter(pl.col("symbol") == symbol)["session"])
        wrong = altered_sessions(world, symbol, "1day")
        certain = swaps_that_show(world, symbol) & wrong
        assert found <= wrong
        assert found >= (certain if name == "swapped_open_close" else wrong)
        assert found
        assert not final[symbol] & found


def swaps_that_show(world: Any, symbol: str) -> set[date]:
    """Return the sessions whose open is no price of the last half hour, by more than a thousandth.

    There the open cannot have been the close.
    """
    daily = world.truth(symbol, "1day").select("session", "open")
    last = (
        world.truth(symbol, "5minute")
        .sort("starts_at")
        .group_by("session")
        .agg(low=pl.col("low").tail(6).min(), high=pl.col("high").tail(6).max())
    )
    both = daily.join(last, on="session")
    shows = ~pl.col("open").is_between(pl.col("low") * 0.998, pl.col("high") * 1.002)
    return set(both.filter(shows)["session"])


def test_wrong_intraday_bars_dispute_the_daily_bar(world: Any) -> None:
    """Another company's candles under the right code are found as well from the other side."""
    world.breeze = world.breeze.model_copy(update={"daily_version": "v1"})
    fault = Fault(name="other_symbol_hidden", path=HISTORY_V2, rate=0.4, seed=3)
    world.simulator.faults.add(fault)
    world.backfill()
    disputes = compared(world).disputes
    wrong = {(one, day) for one in world.symbols for day in altered_sessions(world, one, "5minute")}
    world.simulator.faults.clear()
    world.backfill(is_forced=True)

    assert wrong
    assert set(disputes.select("symbol", "session").iter_rows()) == wrong
    # When the right ones have come, nothing is held against the bars any more.
    assert compared(world).disputes.is_empty()
    assert world.shelf.store.disputes("SIM02", "1day").is_empty()


def test_a_change_of_scale_in_the_daily_bars_alone_is_told_as_one(world: Any) -> None:
    """Daily bars that are adjusted where the intraday bars are not have one ratio to them."""
    world.breeze = world.breeze.model_copy(update={"daily_version": "v1"})
    ex_date = world.sessions[4]
    fault = Fault(name="unadjusted_split", path=HISTORY_V1, sessions=(ex_date,))
    world.simulator.faults.add(fault)
    world.backfill()
    disputes = compared(world).disputes

    assert set(disputes["session"]) == {day for day in world.sessions if day >= ex_date}
    assert set(disputes["kind"]) == {"scaled"}


def test_a_change_of_scale_everywhere_is_a_jump_that_no_action_explains(world: Any) -> None:
    """The two lengths of bars agree with each other, so the night of the ex-date tells it."""
    world.symbols = ("SIM02",)
    ex_date = world.sessions[4]
    world.simulator.faults.add(Fault(name="unadjusted_split", sessions=(ex_date,)))
    world.backfill()
    alone = compared(world).disputes
    truth = BarStore(world.home / "second")
    daily = world.truth("SIM02", "1day")
    truth.write(daily, interval="1day", fetched_at=world.clock())
    second = compared(world, other=truth, other_name="second").disputes

    assert alone.is_empty()
    assert gaps_of(world, ACTION_SCHEMA.to_frame()) == [ex_date]
    assert set(second["session"]) == {day for day in world.sessions if day >= ex_date}
    assert set(second["kind"]) == {"scaled"}


def test_bars_that_are_adjusted_already_lack_the_jump_that_an_action_demands(world: Any) -> None:
    """Adjusting a second time makes a jump where there was none, and that is flagged."""
    only_daily(world, "SIM02")
    world.look_at("split")
    actions = world.market.actions()
    ex_date = actions.filter(pl.col("symbol") == "SIM02")["ex_date"][0]
    world.backfill()
    before = gaps_of(world, actions)
    world.simulator.faults.add(Fault(name="adjusted_before_2022"))
    world.backfill(is_forced=True)

    assert before == []
    assert gaps_of(world, actions) == [ex_date]


def gaps_of(world: Any, actions: pl.DataFrame) -> list[date]:
    stored = world.shelf.store.read("SIM02", interval="1day")
    adjusted = adjust_bars(stored, actions, nse_calendar())
    return adjusted.filter("is_unexplained_gap")["session"].to_list()
