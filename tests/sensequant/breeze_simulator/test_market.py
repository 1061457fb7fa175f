"""Facts about what can be seen of a market, and when."""

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from sensequant.breeze_simulator.market import (
    FolderFeed,
    MarketFeed,
    SimulatedFeed,
    snapshot,
    visible_bars,
)
from sensequant.errors import UnknownSymbolError
from sensequant.market.bars import bar_schema, validate_bars
from sensequant.market.intervals import INTERVALS, Interval
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource

IST = timezone(timedelta(hours=5, minutes=30))
TODAY = date(2024, 1, 16)
START = date(2024, 1, 10)
CONFIG = SimulatedConfig(n_symbols=4)
FEED = SimulatedFeed(CONFIG)


def at(hour: int, minute: int = 0, second: int = 0, *, day: date = TODAY) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=IST)


def seen(
    interval: Interval, now: datetime, *, symbol: str = "SIM03", end: date = date(2024, 1, 31)
) -> pl.DataFrame:
    return visible_bars(FEED, symbol, interval, start=START, end=end, now=now)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with three daily bars of one company."""
    names = "Date,Symbol,Series,Prev Close,Open,High,Low,Close,VWAP,Volume,Turnover,Trades,"
    lines = [f"{names}Deliverable Volume"]
    for day, opened in (("2024-01-12", 100), ("2024-01-15", 105), ("2024-01-16", 110)):
        prices = f"{opened},{opened + 10},{opened - 5},{opened + 5}"
        lines.append(f"{day},ABC,EQ,,{prices},,{10 * opened},,,")
    (tmp_path / "ABC.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_volatility_has_daily_bars() -> None:
    """Valid ones on every session of NIFTY 50, in percent a year, higher after larger moves."""
    bars = FEED.truth("INDIAVIX", "1day")
    nifty = FEED.truth("NIFTY50", "1day")
    moves = nifty["close"].log().diff().abs().rolling_mean(20)
    both = pl.DataFrame({"level": bars["close"], "move": moves}).drop_nulls()

    assert validate_bars(bars) is bars
    assert bars["session"].equals(nifty["session"])
    assert bars["close"].median() == pytest.approx(18, abs=12)
    assert both.select(pl.corr("level", "move")).item() > 0.8
    assert FEED.truth("INDIAVIX", "1minute", START, TODAY).is_empty()


@pytest.mark.parametrize("interval", INTERVALS)
def test_the_truth_is_that_of_the_source(interval: Interval) -> None:
    """A feed adds and loses nothing, and keeps what it is."""
    feed: MarketFeed = FEED
    source = SimulatedSource(CONFIG)

    found = feed.truth("SIM02", interval, START, TODAY)

    assert found.equals(source.fetch(Chunk("SIM02", interval, START, TODAY)).bars)
    assert feed.is_simulated
    assert feed.intervals == INTERVALS
    assert feed.symbols() == source.symbols()
    assert feed.indices() == (*source.indices(), "INDIAVIX")
    assert feed.actions().equals(source.actions())


def test_where_there_is_nothing_the_truth_is_empty() -> None:
    """Before a listing, on a holiday, or for minutes of an index there are no bars."""
    holiday = date(2024, 1, 26)

    assert FEED.truth("SIM04", "1day", end=date(2020, 1, 1)).is_empty()
    assert FEED.truth("SIM03", "5minute", holiday, holiday).schema == bar_schema("5minute")
    assert FEED.truth("NIFTY50", "5minute").is_empty()
    with pytest.raises(UnknownSymbolError, match="symbol is not in"):
        FEED.truth("RELIANCE", "1day")


@pytest.mark.parametrize("interval", INTERVALS)
def test_before_the_open_nothing_of_today_is_there(interval: Interval) -> None:
    """Bars of yesterday are the last; the first minute is there when it is over."""
    before = seen(interval, at(9, 15, 59))
    after = seen(interval, at(9, 16))

    assert before["session"].max() == date(2024, 1, 15)
    assert after["session"].max() == TODAY


@pytest.mark.parametrize("interval", INTERVALS)
def test_after_the_close_everything_is_there_and_nothing_of_tomorrow(interval: Interval) -> None:
    """At half past three the session is what it will be."""
    truth = FEED.truth("SIM03", interval, START, TODAY)

    assert seen(interval, at(15, 30)).equals(truth)
    assert seen(interval, at(23, 59)).equals(truth)
    assert seen(interval, at(15, 30), end=date(2024, 1, 15)).equals(
        FEED.truth("SIM03", interval, START, date(2024, 1, 15))
    )


@given(minute=st.integers(1, 374), later=st.integers(0, 100))
def test_the_running_session_grows(minute: int, later: int) -> None:
    """What was seen stays: the open, the former bars, highs that only rise, volume that adds up."""
    first, second = (
        {
            interval: seen(interval, at(9, 15) + timedelta(minutes=passed)).filter(
                pl.col("session") == TODAY
            )
            for interval in INTERVALS
        }
        for passed in (minute, minute + later)
    )
    for interval in INTERVALS:
        validate_bars(first[interval], interval)
        assert first[interval]["volume"].sum() == first["1minute"]["volume"].sum()
        assert first[interval]["high"].max() == first["1minute"]["high"].max()
        assert first[interval]["close"][-1] == first["1minute"]["close"][-1]
    assert first["1minute"].height == minute
    assert second["1minute"].head(minute).equals(first["1minute"])
    assert second["1day"]["open"][0] == first["1day"]["open"][0]
    assert second["1day"]["high"][0] >= first["1day"]["high"][0]
    assert second["1day"]["low"][0] <= first["1day"]["low"][0]


def test_a_session_without_known_hours_is_over_at_midnight() -> None:
    """Nobody knows when the Muhurat session of 2026 ends, so its bar comes the day after."""
    diwali = date(2026, 11, 8)

    running = visible_bars(
        FEED, "SIM03", "1day", start=diwali, end=diwali, now=at(23, 59, day=diwali)
    )
    over = visible_bars(
        FEED, "SIM03", "1day", start=diwali, end=diwali, now=at(0, 0, day=date(2026, 11, 9))
    )

    assert running.is_empty()
    assert over.height == 1


def test_a_range_upside_down_is_empty() -> None:
    """The vendor does not complain either."""
    now = at(12)

    bars = visible_bars(FEED, "SIM03", "5minute", start=TODAY, end=START, now=now)

    assert bars.schema == bar_schema("5minute")
    assert bars.is_empty()


def test_a_folder_of_daily_bars_shows_a_session_after_its_close(folder: Path) -> None:
    """It has no minutes, so nothing can be told of a running session."""
    feed = FolderFeed(folder)
    truth = feed.truth("ABC", "1day")

    def visible(now: datetime) -> pl.DataFrame:
        return visible_bars(feed, "ABC", "1day", start=START, end=TODAY, now=now)

    assert not feed.is_simulated
    assert_frame_equal(visible(at(15, 29)), truth.head(2))
    assert_frame_equal(visible(at(15, 30)), truth)
    assert feed.truth("ABC", "1minute").is_empty()


def test_a_snapshot_is_the_state_of_the_running_session() -> None:
    """Last price and volume are those of the minutes so far, the previous close is yesterday's."""
    minutes = FEED.truth("SIM03", "1minute", TODAY, TODAY).head(108)
    yesterday = FEED.truth("SIM03", "1day", date(2024, 1, 15), date(2024, 1, 15))

    state = snapshot(FEED, "SIM03", now=at(11, 3, 20))

    assert state is not None
    assert state.last == minutes["close"][-1]
    assert state.volume == minutes["volume"].sum()
    assert state.previous_close == yesterday["close"][0]
    assert state.traded_at == at(11, 3, 20)


def test_a_snapshot_after_the_close_is_of_the_close() -> None:
    """On a weekend the last trade was on Friday at half past three."""
    state = snapshot(FEED, "SIM03", now=at(12, day=date(2024, 1, 14)))

    assert state is not None
    assert state.traded_at == at(15, 30, day=date(2024, 1, 12))


def test_a_snapshot_of_what_has_not_traded_is_none(folder: Path) -> None:
    """Before its listing a stock has no price; on its first day the open stands for yesterday."""
    feed = FolderFeed(folder)

    assert snapshot(FEED, "SIM04", now=at(12, day=date(2020, 1, 15))) is None
    first = snapshot(feed, "ABC", now=at(16, day=date(2024, 1, 12)))
    assert first is not None
    assert first.previous_close == first.open == 100.0
