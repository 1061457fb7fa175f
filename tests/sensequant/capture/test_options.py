"""Option chains through the vendor's own SDK: contracts, reasons, and the days they end on."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from sensequant.breeze_simulator import (
    UNLIMITED,
    BreezeSimulator,
    Fault,
    SettableClock,
    SimulatedFeed,
)
from sensequant.breeze_simulator.options import N_STRIKES
from sensequant.capture import options
from sensequant.capture.option_rows import read_chain
from sensequant.capture.options import (
    OptionSnapshotReport,
    OptionSnapshotRequest,
    monthly_expiries,
    take_snapshot,
    why_no_snapshot,
)
from sensequant.context.hours import decisions_of
from sensequant.context.option_sessions import options_by_session
from sensequant.context.options import OPTIONS
from sensequant.context.store import ContextStore
from sensequant.errors import MasterUnavailableError, StopSourceError
from sensequant.market.sessions import IST, nse_calendar
from sensequant.market.sources.breeze.client import BreezeClient, Timing
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.master_file import download_master
from sensequant.market.sources.breeze.pacing import UnlimitedPacer
from sensequant.market.sources.breeze.source import BreezeSource
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.market.symbol_map import SymbolMap

AT = datetime(2024, 1, 16, 15, 20, tzinfo=IST)
EXPIRY = date(2024, 1, 25)
N_CONTRACTS = 2 * (2 * N_STRIKES + 1)


class World:
    """The vendor before the close, and a store."""

    def __init__(self, folder: Path) -> None:
        self.clock = SettableClock(AT)
        self.simulator = BreezeSimulator(
            SimulatedFeed(SimulatedConfig(n_symbols=3)), clock=self.clock, limits=UNLIMITED
        )
        self.store = ContextStore(folder, is_simulated=True)

    def take(self, **asked: Any) -> OptionSnapshotReport:
        """Take a snapshot of the NIFTY 50, of one expiry, unless told otherwise."""
        config = BreezeConfig()
        master = download_master(self.simulator.endpoints, config.timeouts)
        given = {"expiries": (EXPIRY,)} | asked
        timing = Timing(self.clock, lambda _: None, lambda: 0.5)
        with BreezeClient(
            self.simulator.endpoints,
            self.simulator.login,
            pacer=UnlimitedPacer(),
            config=config,
            timing=timing,
        ) as client:
            source = BreezeSource(
                client,
                SymbolMap.from_master(master, as_of=AT.date()),
                config,
                self.clock,
                is_simulated=True,
            )
            request = OptionSnapshotRequest.model_validate(given)
            return take_snapshot(request, source, self.store, calendar=nse_calendar())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Return a vendor without faults, ten minutes before the close."""
    made = World(tmp_path / "home")
    with made.simulator:
        yield made


def test_a_chain_is_stored_with_its_volatilities(world: World) -> None:
    """Calls and puts of one expiry, at one instant, near the volatility of the simulator."""
    report = world.take(symbols=("NIFTY", "SIM02", "NOSUCH"))

    rows = world.store.read(OPTIONS, "NIFTY50")
    assert report.n_contracts == {"NIFTY50": N_CONTRACTS, "SIM02": N_CONTRACTS}
    assert report.without_options == ("NOSUCH",)
    assert report.n_calls == 4
    assert rows["at"].unique().to_list() == [AT]
    assert rows["is_simulated"].all()
    assert set(rows["reason"].drop_nulls()) <= {"negative_time_value", "no_time_value"}
    assert report.n_volatilities + sum(report.n_without.values()) == 2 * N_CONTRACTS
    (row,) = options_by_session(rows, decisions_of(nse_calendar())).to_dicts()
    # It counts days until the end of the last session, we the hours until its close.
    assert row["atm_volatility"] == pytest.approx(0.25, rel=0.1)
    assert row["term_structure"] is None
    assert row["put_call_volume"] > 0


MONTHLY = [EXPIRY, date(2024, 2, 29), date(2024, 3, 28)]
WEEKLY = [date(2024, 1, 18), date(2024, 2, 1), date(2024, 2, 8)]


def test_listed_expiries_are_asked_for(world: World) -> None:
    """Weekly ones of the index among them; a share without options costs no call."""
    report = world.take(expiries=None, symbols=("NIFTY", "SIM02"))

    ends = {
        symbol: world.store.read(OPTIONS, symbol)["expiry"].unique().sort().to_list()
        for symbol in ("NIFTY50", "SIM02")
    }
    assert ends == {"NIFTY50": sorted([*MONTHLY, *WEEKLY]), "SIM02": MONTHLY}
    assert report.expiries_by == "list"
    assert report.n_calls == 2 * (6 + 3)
    # Nine days are left to the second of them, so that it is the near one, and two to the first.
    (row,) = options_by_session(
        world.store.read(OPTIONS, "NIFTY50"), decisions_of(nse_calendar())
    ).to_dicts()
    assert row["term_structure"] == pytest.approx(0.0, abs=0.02)


def test_what_is_listed_is_asked_for_over_three_months(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what has ended, nor what ends later; what has no options at all is named."""
    listed = (date(2024, 1, 11), EXPIRY, date(2024, 3, 28), date(2024, 4, 25), date(2028, 6, 29))
    monkeypatch.setattr(options, "download_expiries", Mock(return_value={"NIFTY": listed}))

    report = world.take(expiries=None, symbols=("NIFTY", "SIM02"))

    assert world.store.read(OPTIONS, "NIFTY50")["expiry"].unique().sort().to_list() == [
        EXPIRY, date(2024, 3, 28),
    ]  # fmt: skip
    assert (report.n_calls, report.without_options) == (4, ("SIM02",))


def test_monthly_expiries_are_looked_for_where_there_is_no_list(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last Thursdays of three months have contracts; what has none costs one call."""
    error = MasterUnavailableError("the list cannot be had", where="here")
    monkeypatch.setattr(options, "download_expiries", Mock(side_effect=error))

    report = world.take(expiries=None)

    rows = world.store.read(OPTIONS, "NIFTY50")
    assert rows["expiry"].unique().sort().to_list() == MONTHLY
    assert report.expiries_by == "rule"
    assert report.n_calls == 3 * 2 + len(monthly_expiries(AT.date(), nse_calendar())) - 3


def test_a_second_snapshot_is_another_moment(world: World) -> None:
    """Both stay; an expiry that has no contracts brings nothing."""
    world.take()
    world.clock.advance(timedelta(minutes=1))
    world.take()
    empty = world.take(expiries=(date(2024, 1, 24),))

    assert world.store.read(OPTIONS, "NIFTY50")["at"].n_unique() == 2
    assert (empty.n_contracts, empty.without_options) == ({}, ("NIFTY50",))
    assert empty.n_calls == 1


def test_a_vendor_that_stops_us_is_no_empty_chain(world: World) -> None:
    """The error is its own; nothing is stored."""
    world.simulator.faults.add(Fault(name="ip_denied", path="optionchain"))

    with pytest.raises(StopSourceError):
        world.take()
    assert world.store.symbols(OPTIONS) == ()


ROW: dict[str, Any] = {
    "expiry_date": "25-Jan-2024",
    "right": "Call",
    "strike_price": 20000.0,
    "ltp": 200.0,
    "ltt": "16-Jan-2024 15:19:00",
    "best_bid_price": 199.0,
    "best_offer_price": 201.0,
    "total_quantity_traded": "50",
    "open_interest": 100.0,
    "spot_price": "20000",
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"strike_price": "n/a"}, "unreadable"),
        ({"strike_price": 0}, "unreadable"),
        ({"expiry_date": "soon"}, "unreadable"),
        ({"right": "Other"}, "unreadable"),
        ({"right": "Put"}, "other_contract"),
        ({"expiry_date": "29-Feb-2024"}, "other_contract"),
    ],
)
def test_a_row_that_is_no_contract_is_refused(changes: dict[str, Any], reason: str) -> None:
    """The others are read."""
    found = read_chain([ROW, ROW | changes], expiry=EXPIRY, is_call=True)

    assert found.n_refused == {reason: 1}
    assert found.quotes.height == 1
    assert found.quotes["last_date"].to_list() == [AT.date()]


def test_rows_that_come_twice() -> None:
    """Alike: one of them stays; different: nobody knows which, and none does, in any order."""
    other = ROW | {"ltp": 210.0}
    for rows in ([ROW, other], [other, ROW, ROW]):
        assert read_chain(rows, expiry=EXPIRY, is_call=True).quotes.is_empty()
    twice = read_chain([ROW, dict(ROW), None], expiry=EXPIRY, is_call=True)

    assert twice.n_refused == {"duplicate": 1, "unreadable": 1}
    assert twice.quotes.height == 1


def test_numbers_that_are_none_are_missing() -> None:
    """The contract stays, and says less."""
    odd = ROW | {"ltp": "NA", "open_interest": -5, "spot_price": None, "ltt": "NA"}

    (row,) = read_chain([odd], expiry=EXPIRY, is_call=True).quotes.to_dicts()

    assert [row[name] for name in ("last_inr", "open_interest", "spot_inr", "last_date")] == [
        None
    ] * 4


def test_the_days_on_which_monthly_contracts_end() -> None:
    """The last Tuesday and the last Thursday; on a holiday the session before."""
    known = nse_calendar()

    assert EXPIRY in monthly_expiries(AT.date(), known)
    # Thursday 2023-03-30 was a holiday, and so was no last Tuesday of that month.
    assert set(monthly_expiries(date(2023, 3, 1), known)) >= {date(2023, 3, 28), date(2023, 3, 29)}
    assert min(monthly_expiries(date(2024, 1, 26), known)) == date(2024, 1, 30)


def test_when_no_session_is_open() -> None:
    """What becomes known after the close counts for nothing."""
    known = nse_calendar()

    assert why_no_snapshot(AT, known) is None
    assert "is not open" in str(why_no_snapshot(AT + timedelta(minutes=10), known))
    assert "is not open" in str(why_no_snapshot(AT - timedelta(hours=8), known))
    assert "no session" in str(why_no_snapshot(AT + timedelta(days=5), known))
