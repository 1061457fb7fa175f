"""Facts about the intraday bars of the simulated market."""

from datetime import date, timedelta
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import ConfigError
from sensequant.market.bars import BAR_SCHEMA, INTRADAY_SCHEMA, validate_bars
from sensequant.market.intervals import INTERVALS, Interval, grid, is_intraday, minutes_of
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.market.sources.simulated.intraday import aggregate_minutes, minute_bars

INTRADAY: list[Interval] = [one for one in INTERVALS if is_intraday(one)]
CALENDAR = nse_calendar()
SESSIONS = CALENDAR.sessions(date(2020, 1, 1), date(2025, 12, 31))
SOURCE = SimulatedSource(SimulatedConfig(n_symbols=4, history_start=date(2020, 1, 1)))
MUHURAT = date(2023, 11, 12)
TICK = 0.05


def daily_bars(*rows: tuple[date, float, float, float, float, int]) -> pl.DataFrame:
    """Return daily bars of one symbol out of session, prices and volume."""
    columns = ("session", "open", "high", "low", "close", "volume")
    given = pl.DataFrame(rows, schema={name: BAR_SCHEMA[name] for name in columns}, orient="row")
    texts = {"symbol": "ABC", "source_symbol": "ABC", "source": "test", "series": "EQ"}
    absent = [name for name in BAR_SCHEMA if name not in {*columns, *texts, "is_simulated"}]
    return given.with_columns(
        is_simulated=pl.lit(value=True),
        **{name: pl.lit(text) for name, text in texts.items()},
        **{name: pl.lit(None, dtype=BAR_SCHEMA[name]) for name in absent},
    ).select(BAR_SCHEMA.names())


def minutes_of_bars(daily: pl.DataFrame, seed: int = 1) -> pl.DataFrame:
    return minute_bars(daily, seed=seed, calendar=CALENDAR)


def by_duckdb(bars: pl.DataFrame, query: str) -> pl.DataFrame:
    """Return what a query makes of a table named bars."""
    with duckdb.connect() as engine:
        engine.register("bars", bars.to_arrow())  # pyright: ignore[reportUnknownArgumentType]
        return pl.DataFrame(engine.sql(query).to_arrow_table())


@st.composite
def bars_of_a_session(draw: st.DrawFn) -> tuple[date, float, float, float, float, int]:
    low = draw(st.integers(1, 100_000))
    high = low + draw(st.one_of(st.just(0), st.integers(1, 12), st.integers(0, 20_000)))
    opened, closed = draw(st.integers(low, high)), draw(st.integers(low, high))
    session = draw(st.sampled_from(SESSIONS))
    prices = [round(one * TICK, 2) for one in (opened, high, low, closed)]
    return (session, *prices, draw(st.integers(0, 10**9)))  # pyright: ignore[reportReturnType]


@given(row=bars_of_a_session(), seed=st.integers(0, 2**31 - 1), interval=st.sampled_from(INTRADAY))
def test_bars_of_a_session_add_up_to_its_daily_bar(
    row: tuple[date, float, float, float, float, int], seed: int, interval: Interval
) -> None:
    """First open, highest high, lowest low, last close and total volume are those of the day."""
    bars = aggregate_minutes(minutes_of_bars(daily_bars(row), seed), interval)
    validate_bars(bars, interval)
    if bars.is_empty():
        assert CALENDAR.opens(row[0]) is None or row[0] in (date(2024, 3, 2), date(2024, 5, 18))
        return

    found = (
        bars["session"][0],
        bars["open"][0],
        bars["high"].max(),
        bars["low"].min(),
        bars["close"][-1],
        bars["volume"].sum(),
    )
    assert found == row
    steps = bars.select("open", "high", "low", "close").to_numpy() / TICK
    assert abs(steps - steps.round()).max() < 1e-6


@pytest.mark.parametrize("interval", INTRADAY)
@pytest.mark.parametrize("symbol", ["SIM01", "SIM02", "SIM04"])
def test_a_second_engine_finds_the_daily_bars(symbol: str, interval: Interval) -> None:
    """DuckDB sums intraday bars to daily ones, those with the split and the hole included."""
    daily = SOURCE.fetch(Chunk(symbol)).bars
    bars = SOURCE.fetch(Chunk(symbol, interval)).bars
    hours = grid(CALENDAR, "30minute")["session"].unique()
    expected = daily.filter(pl.col("session").is_in(hours.implode()))

    found = by_duckdb(
        bars,
        """select session, arg_min(open, starts_at) as open, max(high) as high, min(low) as low,
                  arg_max(close, starts_at) as close, sum(volume)::bigint as volume
           from bars group by session order by session""",
    )

    assert found.equals(expected.select(found.columns))
    assert 400 < found.height <= daily.height


@pytest.mark.parametrize("interval", ["5minute", "30minute"])
def test_a_second_engine_finds_the_longer_bars(interval: Interval) -> None:
    """DuckDB makes the longer bars out of the minutes, counted from the open of each session."""
    chunk = Chunk("SIM03", "1minute", date(2023, 11, 1), date(2023, 12, 15))
    minutes = SOURCE.fetch(chunk).bars
    expected = SOURCE.fetch(Chunk("SIM03", interval, chunk.start, chunk.end)).bars

    found = by_duckdb(
        minutes,
        f"""with placed as (select *, (epoch_us(starts_at) - min(epoch_us(starts_at))
                   over (partition by session)) // {minutes_of(interval) * 60_000_000} as n
                   from bars)
            select session, min(epoch_us(starts_at)) as starts_us,
                   arg_min(open, starts_at) as open, max(high) as high,
                   min(low) as low, arg_max(close, starts_at) as close,
                   sum(volume)::bigint as volume
            from placed group by session, n order by starts_us""",  # noqa: S608 - a number
    )

    own = expected.with_columns(starts_us=pl.col("starts_at").to_physical())
    assert found.equals(own.select(found.columns))


@pytest.mark.parametrize("interval", INTRADAY)
def test_bars_stand_on_the_grid_of_the_calendar(interval: Interval) -> None:
    """Every session has the bars that the calendar expects: 375, 75 or 13, Muhurat 60, 12 or 2."""
    chunk = Chunk("SIM03", interval, date(2023, 11, 1), date(2023, 12, 15))
    expected = grid(CALENDAR, interval).filter(
        pl.col("session").is_between(date(2023, 11, 1), date(2023, 12, 15))
    )

    bars = SOURCE.fetch(chunk).bars

    assert bars.select("session", "starts_at").equals(expected)
    counts = dict(bars.group_by("session").len().iter_rows())
    short = {"1minute": 60, "5minute": 12, "30minute": 2}[interval]
    full = {"1minute": 375, "5minute": 75, "30minute": 13}[interval]
    assert counts.pop(MUHURAT) == short
    assert set(counts.values()) == {full}


@given(
    first=st.sampled_from(SESSIONS[:-40]),
    length=st.integers(1, 40),
    interval=st.sampled_from(INTRADAY),
)
def test_the_range_that_is_asked_for_changes_nothing(
    first: date, length: int, interval: Interval
) -> None:
    """A session has the same bars alone and in the middle of any range."""
    last = CALENDAR.offset(first, length - 1)
    alone = minutes_of_bars(SOURCE.fetch(Chunk("SIM03", "1day", first, first)).bars)

    together = minutes_of_bars(SOURCE.fetch(Chunk("SIM03", "1day", first, last)).bars)

    assert together.filter(pl.col("session") == first).equals(alone)
    if not alone.is_empty():
        fetched = SOURCE.fetch(Chunk("SIM03", interval, first, last)).bars
        apart = SOURCE.fetch(Chunk("SIM03", interval, first, first)).bars
        assert fetched.filter(pl.col("session") == first).equals(apart)


def test_symbols_and_seeds_have_paths_of_their_own() -> None:
    """The same daily bar under another seed has another path, and another symbol another one."""
    daily = daily_bars((date(2024, 1, 16), 100.0, 104.0, 97.0, 101.0, 100_000))

    assert minutes_of_bars(daily, 1).equals(minutes_of_bars(daily, 1))
    assert not minutes_of_bars(daily, 1).equals(minutes_of_bars(daily, 2))


def test_a_flat_session_stays_flat() -> None:
    """One price all day, no volume: every minute has that price and none."""
    bars = minutes_of_bars(daily_bars((date(2024, 1, 16), 5.05, 5.05, 5.05, 5.05, 0)))

    assert bars.height == 375
    for name in ("open", "high", "low", "close"):
        assert bars[name].unique().to_list() == [5.05]
    assert bars["volume"].sum() == 0


def test_volume_is_heavier_near_open_and_close() -> None:
    """The first and the last half hour trade more than any half hour at noon."""
    daily = SOURCE.fetch(Chunk("SIM03", "1day", date(2023, 1, 1), date(2023, 6, 30))).bars
    minutes = minutes_of_bars(daily).with_columns(
        place=pl.int_range(pl.len()).over("session") // 25
    )
    shares = minutes.group_by("place").agg(pl.col("volume").sum()).sort("place")["volume"]

    assert shares[0] > 1.8 * shares[7]
    assert shares[14] > 1.8 * shares[7]


def test_what_only_a_session_has_is_null() -> None:
    """Previous close, average, turnover, trades and delivery are not invented for a minute."""
    bars = SOURCE.fetch(Chunk("SIM03", "5minute", date(2024, 1, 1), date(2024, 1, 5))).bars

    names = ("previous_close", "average_price", "turnover_inr", "n_trades", "delivered_volume")
    assert all(bars[name].is_null().all() for name in names)
    assert bars["series"].unique().to_list() == ["EQ"]


def test_nothing_in_gives_nothing_out() -> None:
    """Without sessions, or without known hours, there are no bars but there is a schema."""
    unknown: dict[str, Any] = {"schema": INTRADAY_SCHEMA}
    empty = pl.DataFrame(**unknown)

    assert minutes_of_bars(BAR_SCHEMA.to_frame()).equals(empty)
    assert minutes_of_bars(daily_bars((date(2024, 5, 18), 1.0, 1.0, 1.0, 1.0, 1))).equals(empty)
    assert aggregate_minutes(empty, "5minute").equals(empty)
    with pytest.raises(ConfigError, match="no fixed number of minutes"):
        aggregate_minutes(empty, "1day")


def test_a_session_that_is_cut_off_ends_with_a_shorter_bar() -> None:
    """Seven minutes make one bar of five and one of two."""
    daily = daily_bars((date(2024, 1, 16), 100.0, 104.0, 97.0, 101.0, 100_000))
    first = minutes_of_bars(daily).head(7)

    bars = aggregate_minutes(first, "5minute")

    assert bars["starts_at"].diff()[1] == timedelta(minutes=5)
    assert bars["volume"].to_list() == [first["volume"][:5].sum(), first["volume"][5:].sum()]
    assert bars["close"].to_list() == [first["close"][4], first["close"][6]]
