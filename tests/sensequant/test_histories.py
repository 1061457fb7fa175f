"""Facts about histories: which bars of a store a model may see, and when a symbol was listed."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sensequant.histories import context_from_store, listings_of, read_histories
from sensequant.market.adjustments import adjust_bars
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.market.store import BarStore
from sensequant.market.symbols import NIFTY50
from sensequant.records import SkipReason
from sensequant.storage import read_table, write_table

CALENDAR = nse_calendar()
AT = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def source() -> SimulatedSource:
    """Return an invented market with a listing, a split and a hole."""
    return SimulatedSource(SimulatedConfig(n_symbols=3, history_start=date(2020, 12, 31)))


@pytest.fixture
def store(source: SimulatedSource, tmp_path: Path) -> BarStore:
    """Return a store with its stocks and one index."""
    store = BarStore(tmp_path)
    for symbol in ("SIM01", "SIM02", "SIM03", NIFTY50):
        store.write(source.fetch(Chunk(symbol)).bars, interval="1day", fetched_at=AT)
    store.write_actions(source.actions())
    return store


def test_a_history_is_the_adjusted_bars_of_its_symbol(
    store: BarStore, source: SimulatedSource
) -> None:
    """One for each that was asked for; its ends are its first and last session."""
    found = read_histories(store, ("SIM02", "SIM03"), CALENDAR)

    assert list(found) == ["SIM02", "SIM03"]
    for symbol, history in found.items():
        stored = store.read(symbol, interval="1day", final_only=True)
        expected = adjust_bars(stored, source.actions(), CALENDAR)
        assert history.bars is not None
        assert_frame_equal(history.bars, expected)
        assert history.reason is None
        assert history.ends == (stored["session"].min(), stored["session"].max())
        assert not history.bars["close"].equals(stored["close"]) or symbol == "SIM03"


def test_a_symbol_without_bars_says_why(store: BarStore) -> None:
    """Its reason stands in place of its bars; the others are read all the same."""
    found = read_histories(store, ("SIM01", "SIM99"), CALENDAR)

    assert found["SIM01"].bars is not None
    assert found["SIM99"].bars is None
    assert (found["SIM99"].reason, found["SIM99"].ends) == (SkipReason.NO_DATA, None)


def test_bars_that_may_still_change_are_not_read(store: BarStore, tmp_path: Path) -> None:
    """A history ends before the first bar that is not final; with none final it is empty."""
    path = max(tmp_path.glob("bars/*/symbol=SIM01/*.parquet"))
    bars = read_table(path)
    first = bars["session"][5]
    write_table(path, bars.with_columns(is_final=pl.col("session") < first))

    history = read_histories(store, ("SIM01",), CALENDAR)["SIM01"]

    assert history.ends is not None
    assert history.ends[1] == bars["session"][4]
    for path in tmp_path.glob("bars/*/symbol=SIM01/*.parquet"):
        write_table(path, read_table(path).with_columns(is_final=pl.lit(value=False)))
    assert read_histories(store, ("SIM01",), CALENDAR)["SIM01"].reason is SkipReason.NO_DATA


def test_the_context_is_what_the_store_knows_of_the_market(store: BarStore) -> None:
    """The benchmark is there, the volatility index is not, and listings are those given."""
    listings = {"SIM03": date(2022, 10, 3)}

    context = context_from_store(store, CALENDAR, listings=listings)

    assert context.benchmark is not None
    stored = store.read(NIFTY50, interval="1day")
    assert context.benchmark["close"].equals(stored["close"])
    assert context.vix is None
    assert context.listings == listings


@pytest.mark.parametrize(
    ("firsts", "expected"),
    [
        ({}, {}),
        ({"A": date(2020, 1, 1)}, {}),
        (
            {"A": date(2020, 1, 1), "B": date(2020, 1, 1), "C": date(2021, 5, 3)},
            {"C": date(2021, 5, 3)},
        ),
    ],
)
def test_where_the_data_begin_no_symbol_is_listed(
    firsts: dict[str, date], expected: dict[str, date]
) -> None:
    """A first bar on the first day of all is not known to be a listing."""
    assert listings_of(firsts) == expected
