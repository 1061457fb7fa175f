"""Facts about bars held against other bars: what may differ does, what may not is named."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.market.bars import BAR_SCHEMA, INTRADAY_SCHEMA, Interval
from sensequant.market.crosscheck import (
    COMPARED_SCHEMA,
    DISPUTE_SCHEMA,
    CrossCheck,
    IntradayCheckConfig,
    SourceCheckConfig,
    compare_sources,
    compare_with_intraday,
    daily_from_intraday,
)
from sensequant.market.intervals import bar_starts, grid
from sensequant.market.quality import RAW_COLUMNS, RowFormat, split_quarantine
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.source import FilesSource

CALENDAR = nse_calendar()
TUESDAY = date(2024, 1, 30)
DRILL = date(2024, 3, 2)
MUHURAT = date(2023, 11, 12)


def daily_bars(rows: list[dict[str, Any]]) -> pl.DataFrame:
    whole = {"source_symbol": "x", "source": "test", "is_simulated": False, "symbol": "TCS"}
    blank: dict[str, Any] = dict.fromkeys(BAR_SCHEMA)
    return pl.DataFrame([blank | whole | row for row in rows], schema=BAR_SCHEMA)


def intraday_bars(rows: list[dict[str, Any]]) -> pl.DataFrame:
    whole = {"source_symbol": "x", "source": "test", "is_simulated": False, "symbol": "TCS"}
    blank: dict[str, Any] = dict.fromkeys(INTRADAY_SCHEMA)
    return pl.DataFrame([blank | whole | row for row in rows], schema=INTRADAY_SCHEMA)


def half_hours(session: date = TUESDAY, factor: float = 1.0, symbol: str = "TCS") -> pl.DataFrame:
    """Return a session of thirteen bars that rises from 100 to 113, each one rupee."""
    starts = bar_starts(CALENDAR, session, "30minute")
    assert starts is not None
    return intraday_bars(
        [
            {
                "symbol": symbol,
                "session": session,
                "starts_at": start,
                "open": factor * (100.0 + number),
                "high": factor * (101.0 + number),
                "low": factor * (100.0 + number),
                "close": factor * (101.0 + number),
                "volume": 10,
            }
            for number, start in enumerate(starts)
        ]
    )


RISE = {"open": 100.0, "high": 113.0, "low": 100.0, "close": 112.5, "volume": 135}
"""The daily bar of such a session: an average close, and five shares outside the bars."""


def against_half_hours(
    changes: Mapping[str, float] | None = None,
    *,
    intraday: pl.DataFrame | None = None,
    config: IntradayCheckConfig | None = None,
) -> CrossCheck:
    bars = daily_bars([{"session": TUESDAY} | RISE | dict(changes or {})])
    return compare_with_intraday(
        bars,
        half_hours() if intraday is None else intraday,
        interval="30minute",
        calendar=CALENDAR,
        config=config or IntradayCheckConfig(),
    )


def test_what_may_differ_is_no_dispute() -> None:
    """An auction's open, an average close and trades outside the bars are as they should be."""
    disputes, symbols = against_half_hours()

    assert disputes.equals(DISPUTE_SCHEMA.to_frame())
    assert symbols.schema == COMPARED_SCHEMA
    assert symbols.rows() == [("TCS", 1, 0, 0, None, None)]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"open": 103.1}, ["open"]),
        ({"open": 96.9, "low": 96.9}, ["open"]),
        ({"open": 97.1, "low": 97.1}, []),
        ({"high": 114.2}, ["high"]),
        ({"high": 111.8, "close": 111.8}, ["high"]),
        ({"low": 98.9}, ["low"]),
        ({"close": 110.8}, ["close"]),
        ({"close": 110.95}, []),
        ({"close": 113.2, "high": 113.2}, ["close"]),
        ({"volume": 129}, ["volume"]),
        ({"volume": 130}, []),
        ({"volume": 152}, []),
        ({"volume": 153}, ["volume"]),
        ({"close": 107.0, "volume": 0}, ["close", "volume"]),
    ],
    ids=str,
)
def test_each_field_has_its_bound(changes: dict[str, float], fields: list[str]) -> None:
    """The last half hour trades from 111 to 113; 130 shares are at least 85 % of the volume."""
    disputes, _ = against_half_hours(changes)

    assert disputes["field"].to_list() == fields
    assert disputes["kind"].to_list() == ["differs"] * len(fields)


def test_a_dispute_holds_both_figures() -> None:
    """What the bar says, what the other side says, and who the other side is."""
    disputes, _ = against_half_hours({"close": 107.0})

    assert disputes.rows() == [
        ("TCS", TUESDAY, "differs", "close", 107.0, 113.0, "30minute"),
    ]


def test_swapped_open_and_close_are_named() -> None:
    """Both fields stand in the dispute, because either is wrong by itself."""
    disputes, symbols = against_half_hours({"open": 112.5, "close": 100.0})

    assert disputes.select("kind", "field", "value").rows() == [
        ("swapped_open_close", "close", 100.0),
        ("swapped_open_close", "open", 112.5),
    ]
    assert symbols["kind"].to_list() == [None]


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({"open_tolerance_frac": 0.04}, {"open": 103.1}),
        ({"extreme_tolerance_frac": 0.02}, {"high": 114.2}),
        ({"close_tolerance_frac": 0.04}, {"close": 107.0}),
        ({"excess_volume_frac": 0.1}, {"volume": 129}),
        ({"missing_volume_frac": 0.5}, {"volume": 153}),
    ],
    ids=str,
)
def test_every_tolerance_widens_its_bound(
    settings: dict[str, float], changes: dict[str, float]
) -> None:
    """A dispute under the defaults is none under the wider tolerance."""
    assert not against_half_hours(changes).disputes.is_empty()
    wider = IntradayCheckConfig.model_validate(settings)
    assert against_half_hours(changes, config=wider).disputes.is_empty()


@pytest.mark.parametrize("left_out", [0, 6, 12])
def test_an_incomplete_session_is_not_compared(left_out: int) -> None:
    """A missing bar could hold the very price that differs."""
    rest = half_hours().with_row_index().filter(pl.col("index") != left_out).drop("index")

    disputes, symbols = against_half_hours({"close": 107.0}, intraday=rest)

    assert disputes.is_empty()
    assert symbols.is_empty()


def test_a_session_of_unknown_hours_is_not_compared() -> None:
    """Nobody knows how many bars a drill has, nor is anything compared with nothing."""
    bars = intraday_bars(
        [
            {"session": DRILL, "starts_at": datetime(2024, 3, 2, 4, tzinfo=UTC), "volume": 1}
            | {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}
        ]
    )

    found = daily_from_intraday(bars, interval="30minute", calendar=CALENDAR)
    nothing = daily_from_intraday(bars.clear(), interval="30minute", calendar=CALENDAR)

    assert found.is_empty()
    assert nothing.schema == found.schema
    assert against_half_hours(intraday=bars.clear()).symbols.is_empty()


def over_sessions(
    n: int, *, factors: Mapping[int, float] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    sessions = CALENDAR.sessions(TUESDAY, date(2024, 6, 28))[:n]
    daily = daily_bars([{"session": session} | RISE for session in sessions])
    intraday = pl.concat(
        half_hours(session, (factors or {}).get(number, 1.0))
        for number, session in enumerate(sessions)
    )
    return daily, intraday


def checked(daily: pl.DataFrame, intraday: pl.DataFrame, **settings: float) -> CrossCheck:
    return compare_with_intraday(
        daily,
        intraday,
        interval="30minute",
        calendar=CALENDAR,
        config=IntradayCheckConfig.model_validate(settings),
    )


def test_an_adjusted_series_is_scaled() -> None:
    """Three sessions off by one ratio are called so; a lone one is no series and only differs."""
    daily, intraday = over_sessions(8, factors={0: 0.75, 1: 0.75, 2: 0.75, 6: 0.5})

    disputes, symbols = checked(daily, intraday)

    kinds = disputes.select("session", "kind").unique().sort("session")
    assert kinds["kind"].to_list() == ["scaled"] * 3 + ["differs"]
    assert symbols.row(0)[1:] == (8, 4, 3, "scaled", None)


def test_the_scale_tolerance_decides_what_is_one_ratio() -> None:
    """Ratios of 0.75 and 0.76 are two, unless 2 % count as one."""
    pair = over_sessions(4, factors={0: 0.75, 1: 0.76})

    assert checked(*pair).symbols["n_scaled"].to_list() == [0]
    assert checked(*pair, scale_tolerance_frac=0.02).symbols["n_scaled"].to_list() == [2]


def test_another_companys_bars_are_another_instrument() -> None:
    """Closes that differ day by day, each in its own way, are not of the same share."""
    pair = over_sessions(20, factors={number: 1.1 + 0.01 * number for number in range(6)})

    disputes, symbols = checked(*pair)

    assert symbols.row(0) == ("TCS", 20, 6, 0, "another_instrument", None)
    assert disputes["kind"].unique().to_list() == ["another_instrument"]
    assert checked(*pair, min_disagreeing_sessions=7).symbols["kind"].to_list() == [None]
    assert checked(*pair, max_disagreeing_frac=0.3).symbols["kind"].to_list() == [None]


minutes = st.sampled_from(["30minute", "5minute", "1minute"])


def random_intraday(seed: int, interval: Interval, session: date, symbol: str) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    starts = grid(CALENDAR, interval).filter(pl.col("session") == session)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, starts.height)))
    opened = np.concatenate([[100.0], close[:-1]])
    return starts.with_columns(
        open=pl.Series(opened),
        high=pl.Series(np.maximum(opened, close) * (1 + rng.uniform(0, 0.001, starts.height))),
        low=pl.Series(np.minimum(opened, close) * (1 - rng.uniform(0, 0.001, starts.height))),
        close=pl.Series(close),
        volume=pl.Series(rng.integers(1, 1000, starts.height)),
        symbol=pl.lit(symbol),
        source_symbol=pl.lit("x"),
        source=pl.lit("test"),
        is_simulated=pl.lit(value=False),
        **{
            name: pl.lit(None, dtype=INTRADAY_SCHEMA[name])
            for name in ("previous_close", "average_price", "turnover_inr", "n_trades")
        },
        delivered_volume=pl.lit(None, dtype=pl.Int64),
        series=pl.lit(None, dtype=pl.String),
    ).select(INTRADAY_SCHEMA.names())


@given(seed=st.integers(0, 2**31), interval=minutes, gap=st.integers(0, 11))
def test_a_second_engine_aggregates_alike(seed: int, interval: Interval, gap: int) -> None:
    """DuckDB finds the same daily bars and the same range of the last half hour."""
    whole = pl.concat(
        [
            random_intraday(seed, interval, TUESDAY, "B"),
            random_intraday(seed + 1, interval, MUHURAT, "B"),
            random_intraday(seed + 2, interval, TUESDAY, "A"),
            random_intraday(seed + 3, interval, date(2024, 1, 31), "A").slice(gap + 1),
        ]
    ).sample(fraction=1.0, shuffle=True, seed=seed % 1000)

    found = daily_from_intraday(whole, interval=interval, calendar=CALENDAR)

    # Hours of the two sessions in minutes of the UTC day: 09:15-15:30 and 18:15-19:15 in India.
    length = {"30minute": 30, "5minute": 5, "1minute": 1}[interval]
    expected = duckdb.execute(
        """
        with timed as (
            select *, epoch(starts_at) % 86400 / 60 as minute,
                case when session = date '2023-11-12' then 825 else 600 end as closes
            from whole where session <> date '2024-01-31'
        )
        select symbol, session, arg_min(open, starts_at) as open, max(high) as high,
            min(low) as low, arg_max(close, starts_at) as close, sum(volume)::bigint as volume,
            max(high) filter (minute + $length > closes - 30) as last_high,
            min(low) filter (minute + $length > closes - 30) as last_low
        from timed group by all order by symbol, session
        """,
        {"length": length},
    ).fetchall()
    # The hour of a Muhurat session is a multiple of thirty minutes: two bars are more than needed.
    skipped = MUHURAT if interval == "30minute" else None
    assert [row for row in found.rows() if row[1] != skipped] == [
        row for row in expected if row[1] != skipped
    ]


@given(seed=st.integers(0, 2**31), interval=minutes, auction=st.floats(-0.025, 0.025))
def test_an_honest_daily_bar_is_never_disputed(
    seed: int, interval: Interval, auction: float
) -> None:
    """Built as the exchange does: auction open, extremes with it, average of the last half hour."""
    intraday = random_intraday(seed, interval, TUESDAY, "TCS")
    opened = intraday["open"].to_list()[0] * (1 + auction)
    tail = intraday.tail({"30minute": 1, "5minute": 6, "1minute": 30}[interval])
    prices = [(high + low) / 2 for high, low in tail.select("high", "low").iter_rows()]
    volumes = tail["volume"].to_list()
    daily = daily_bars(
        [
            {
                "session": TUESDAY,
                "open": opened,
                "high": max(opened, *intraday["high"]),
                "low": min(opened, *intraday["low"]),
                "close": float(np.average(prices, weights=volumes)),
                "volume": round(sum(intraday["volume"]) * 1.05),
            }
        ]
    )

    found = compare_with_intraday(
        daily, intraday, interval=interval, calendar=CALENDAR, config=IntradayCheckConfig()
    )

    assert found.disputes.is_empty()


def walk(symbol: str, seed: int, n: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    sessions = CALENDAR.sessions(date(2023, 1, 2), date(2023, 12, 29))[:n]
    close = 500 * np.exp(np.cumsum(rng.normal(0, 0.02, n)))
    opened = close * (1 + rng.normal(0, 0.01, n))
    return daily_bars(
        [
            {
                "symbol": symbol,
                "session": session,
                "open": round(float(first), 2),
                "high": round(float(max(first, last) * 1.01), 2),
                "low": round(float(min(first, last) * 0.99), 2),
                "close": round(float(last), 2),
                "volume": int(rng.integers(1000, 9000)),
            }
            for session, first, last in zip(sessions, opened, close, strict=True)
        ]
    )


def scaled_by(bars: pl.DataFrame, factor: float, *, until: int) -> pl.DataFrame:
    is_early = pl.int_range(pl.len()) < until
    return bars.with_columns(
        pl.when(is_early).then(pl.col(name) * factor).otherwise(name).round(2)
        for name in ("open", "high", "low", "close")
    )


def compared(bars: pl.DataFrame, other: pl.DataFrame, **settings: float) -> CrossCheck:
    return compare_sources(
        bars, other, other_name="second", config=SourceCheckConfig.model_validate(settings)
    )


MARKET = pl.concat([walk("AAA", 1), walk("BBB", 2), walk("CCC", 3)])


def test_equal_sources_have_no_dispute() -> None:
    """A source against itself, whole or in part, in any order, disagrees on nothing."""
    disputes, symbols = compared(MARKET, MARKET.reverse().filter(pl.col("volume") % 2 == 0))

    assert disputes.equals(DISPUTE_SCHEMA.to_frame())
    assert symbols["kind"].to_list() == [None] * 3
    assert symbols["n_compared"].sum() == MARKET.filter(pl.col("volume") % 2 == 0).height
    assert compared(MARKET, MARKET.clear()).symbols.equals(COMPARED_SCHEMA.to_frame())


def test_two_symbols_that_were_swapped_are_both_named() -> None:
    """Each is another instrument, and each resembles the other one."""
    swapped = MARKET.with_columns(pl.col("symbol").replace({"AAA": "BBB", "BBB": "AAA"}))

    disputes, symbols = compared(swapped, MARKET)

    assert symbols.select("symbol", "kind", "resembles").rows() == [
        ("AAA", "another_instrument", "BBB"),
        ("BBB", "another_instrument", "AAA"),
        ("CCC", None, None),
    ]
    assert disputes["symbol"].unique().sort().to_list() == ["AAA", "BBB"]
    assert disputes["kind"].unique().to_list() == ["another_instrument"]
    assert disputes["other"].unique().to_list() == ["second"]


def test_a_foreign_series_need_not_be_in_the_other_source() -> None:
    """Then nobody's closes are its own."""
    _, symbols = compared(walk("AAA", 9), MARKET)

    assert symbols.row(0)[-2:] == ("another_instrument", None)


def test_a_rename_in_the_middle_is_found() -> None:
    """The name went to another company: the last third of the sessions is the other one's."""
    first = MARKET.filter(pl.col("symbol") == "AAA")[:40]
    then = MARKET.filter(pl.col("symbol") == "BBB")[40:].with_columns(symbol=pl.lit("AAA"))

    disputes, symbols = compared(pl.concat([first, then]), MARKET)

    assert symbols.row(0) == ("AAA", 60, 20, 0, "another_instrument", "BBB")
    assert disputes["session"].unique().sort().to_list() == then["session"].to_list()


def test_an_adjusted_source_is_scaled_and_never_another_instrument() -> None:
    """All prices before the ex-date are off by one ratio."""
    disputes, symbols = compared(scaled_by(walk("AAA", 1), 0.5, until=30), MARKET)

    assert symbols.row(0) == ("AAA", 60, 30, 30, "scaled", None)
    assert disputes["kind"].unique().to_list() == ["scaled"]
    assert sorted(disputes["field"].unique()) == ["close", "high", "low", "open"]


def test_single_corrections_are_no_verdict() -> None:
    """Open and close exchanged, a typing error and another volume concern one session each."""
    bars = walk("AAA", 1)
    days = bars["session"].to_list()
    at = pl.col("session")
    wrong = bars.with_columns(
        open=pl.when(at == days[3]).then("close").otherwise("open"),
        close=pl.when(at == days[3]).then("open").otherwise("close"),
        high=pl.when(at == days[5]).then(pl.col("high") * 1.1).otherwise("high"),
        volume=pl.when(at == days[7]).then(1).otherwise("volume"),
    )

    disputes, symbols = compared(wrong, bars)

    assert disputes.select("session", "kind", "field").rows() == [
        (days[3], "swapped_open_close", "close"),
        (days[3], "swapped_open_close", "open"),
        (days[5], "differs", "high"),
        (days[7], "differs", "volume"),
    ]
    assert symbols["kind"].to_list() == [None]


def test_every_setting_of_two_sources_acts() -> None:
    """Wider tolerances and a milder verdict each take disputes or verdicts away."""
    bars = MARKET.filter(pl.col("symbol") == "AAA")
    off = bars.with_columns(pl.col("high", "low", "open", "close") * 1.004, pl.col("volume") * 2)

    assert compared(bars, off)[1].row(0)[2:5] == (60, 60, "scaled")
    assert compared(bars, off, scale_tolerance_frac=0.005)[1].row(0)[2:5] == (
        60,
        0,
        "another_instrument",
    )
    assert compared(bars, off, tolerance_frac=0.01)[0]["field"].unique().to_list() == ["volume"]
    assert "volume" not in compared(bars, off, volume_tolerance_frac=1.0)[0]["field"]
    foreign = walk("AAA", 9)
    assert compared(bars, foreign, max_disagreeing_frac=0.999)[1]["kind"].to_list() == [
        "another_instrument"
    ]
    most = pl.concat([bars[:30], foreign[30:]])
    assert compared(bars, most, max_disagreeing_frac=0.6)[1]["kind"].to_list() == [None]
    assert compared(bars, most, min_disagreeing_sessions=31)[1]["kind"].to_list() == [None]


def test_volumes_of_an_index_are_not_compared() -> None:
    """Every publisher counts them in units of its own."""
    index = walk("NIFTY50", 1)

    assert compared(index, index.with_columns(pl.col("volume") * 100)).disputes.is_empty()


@given(st.integers(0, 2**31), st.floats(0.05, 20).filter(lambda ratio: abs(ratio - 1) > 0.01))
def test_any_constant_ratio_is_scaled(seed: int, ratio: float) -> None:
    """Splits, bonuses and units alike, in either direction."""
    bars = walk("AAA", seed, n=12)
    other = bars.with_columns(pl.col("open", "high", "low", "close") * ratio)

    assert compared(bars, other).symbols["kind"].to_list() == ["scaled"]
    assert compared(other, bars).symbols["kind"].to_list() == ["scaled"]


def real_daily(folder: Path) -> pl.DataFrame:
    source = FilesSource(folder)
    return pl.concat(source.fetch(Chunk(symbol)).bars for symbol in source.symbols())


@pytest.fixture(scope="module")
def real_sets(real_data: Path) -> dict[str, pl.DataFrame]:
    """Return the three daily sets."""
    names = ("daily_bhavcopy_2019_2026", "daily_secwise_2020_2026", "daily_nsepy_2000_2020")
    return {name: real_daily(real_data / name) for name in names}


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("first", "second", "n_symbols", "n_rows"),
    [
        ("daily_bhavcopy_2019_2026", "daily_secwise_2020_2026", 100, 139_251),
        ("daily_bhavcopy_2019_2026", "daily_nsepy_2000_2020", 50, 7_200),
        ("daily_secwise_2020_2026", "daily_nsepy_2000_2020", 43, 3_526),
    ],
)
def test_the_three_real_sets_agree_to_the_paisa(
    real_sets: dict[str, pl.DataFrame], first: str, second: str, n_symbols: int, n_rows: int
) -> None:
    """Every price and volume under a common name, even without any tolerance."""
    found = compared(
        real_sets[first], real_sets[second], tolerance_frac=0.0, volume_tolerance_frac=0.0
    )

    assert found.disputes.is_empty()
    assert (found.symbols.height, found.symbols["n_compared"].sum()) == (n_symbols, n_rows)


@pytest.mark.real_data
def test_real_companies_under_each_others_names_are_found(
    real_sets: dict[str, pl.DataFrame],
) -> None:
    """Banks move alike, and still are told apart; the others are left in peace."""
    secwise = real_sets["daily_secwise_2020_2026"]
    turn = {"HDFCBANK": "ICICIBANK", "ICICIBANK": "AXISBANK", "AXISBANK": "HDFCBANK"}

    _, symbols = compared(
        secwise.with_columns(pl.col("symbol").replace(turn)), real_sets["daily_bhavcopy_2019_2026"]
    )

    foreign = symbols.filter(pl.col("kind").is_not_null())
    assert foreign.select("symbol", "kind", "resembles").rows() == [
        ("AXISBANK", "another_instrument", "ICICIBANK"),
        ("HDFCBANK", "another_instrument", "AXISBANK"),
        ("ICICIBANK", "another_instrument", "HDFCBANK"),
    ]


def real_intraday(path: Path, symbol: str, interval: Interval) -> pl.DataFrame:
    table = pl.read_csv(path, infer_schema=False)
    stamp = "datetime" if "datetime" in table.columns else "Date"
    known = {name: pl.col(name) for name in ("open", "high", "low", "close", "volume")}
    raw = table.select(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("row_number"),
        pl.col(stamp).str.head(19).alias("session"),
        *(
            known.get(name, pl.lit(None, dtype=pl.String)).alias(name)
            for name in RAW_COLUMNS
            if name not in ("row_number", "session")
        ),
    )
    return split_quarantine(
        raw,
        as_read=table,
        symbol=symbol,
        row_format=RowFormat("set", "%Y-%m-%d %H:%M:%S"),
        sessions=CALENDAR.numbers()["session"],
        interval=interval,
    ).good


def against_real(
    real_data: Path, real_sets: dict[str, pl.DataFrame], folder: str, interval: Interval
) -> CrossCheck:
    daily = real_sets["daily_bhavcopy_2019_2026"]
    names = daily["symbol"].unique()
    # These sets spell a name without the signs that a file name may not hold.
    known = {name.replace("-", "_").replace("&", "_"): name for name in names}
    intraday = pl.concat(
        real_intraday(path, known[stem], interval)
        for path in sorted((real_data / folder).glob("*.csv.gz"))
        if (stem := path.name.removesuffix(".csv.gz")) in known
    )
    return compare_with_intraday(
        daily, intraday, interval=interval, calendar=CALENDAR, config=IntradayCheckConfig()
    )


@pytest.mark.real_data
def test_real_five_minute_bars_hold_one_adjusted_series(
    real_data: Path, real_sets: dict[str, pl.DataFrame]
) -> None:
    """POWERGRID is adjusted for its bonus of 12 September 2023 (1 for 3), the others are not."""
    disputes, symbols = against_real(real_data, real_sets, "intraday_5min_2023", "5minute")

    assert symbols.filter(pl.col("kind").is_not_null()).rows() == [
        ("POWERGRID", symbols["n_compared"].max(), 7, 7, "scaled", None)
    ]
    assert disputes["symbol"].unique().to_list() == ["POWERGRID"]
    assert disputes["session"].max() == date(2023, 9, 11)
    highs = disputes.filter(pl.col("field") == "high")
    assert (highs["other_value"] / highs["value"]).round(4).unique().to_list() == [0.75]


@pytest.mark.real_data
def test_real_one_minute_bars_miss_a_few_extremes(
    real_data: Path, real_sets: dict[str, pl.DataFrame]
) -> None:
    """Candles made of snapshots: three extremes of 360 sessions, and nothing else."""
    disputes, symbols = against_real(real_data, real_sets, "intraday_1min_2023_banks", "1minute")

    assert disputes.select("symbol", "session", "kind", "field").rows() == [
        ("HDFCBANK", date(2023, 5, 11), "differs", "high"),
        ("INDUSINDBK", date(2023, 6, 1), "differs", "low"),
        ("KOTAKBANK", date(2023, 4, 17), "differs", "low"),
    ]
    assert symbols["kind"].null_count() == symbols.height


def real_index(path: Path, form: str) -> pl.DataFrame:
    table = pl.read_csv(path, infer_schema=False)
    table = table.rename({name: name.strip().lower() for name in table.columns})
    rows = table.select(
        pl.col("date").str.to_date(form).alias("session"),
        pl.col("open", "high", "low", "close").cast(pl.Float64),
        symbol=pl.lit("INDIAVIX"),
        volume=pl.lit(0, dtype=pl.Int64),
    )
    is_bar = pl.all_horizontal(pl.col("open", "close").is_between("low", "high"))
    return rows.filter(is_bar).unique("session", keep="none")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("official", "form", "second", "expected"),
    [
        (
            "nifty50_nse_2000_2021.csv",
            "%Y-%m-%d",
            "nifty50_yahoo_2007_2026.csv",
            [
                (date(2009, 10, 8), "high"),
                (date(2009, 10, 8), "low"),
                (date(2012, 5, 31), "high"),
                (date(2012, 5, 31), "low"),
                (date(2015, 3, 30), "high"),
                (date(2021, 2, 24), "low"),
            ],
        ),
        (
            "indiavix_nse_2012_2026.csv",
            "%d-%b-%Y",
            "indiavix_yahoo_2008_2026.csv",
            [(date(2015, 2, 20), "high"), (date(2018, 11, 7), "close")],
        ),
    ],
)
def test_real_indices_of_two_publishers(
    real_data: Path, official: str, form: str, second: str, expected: list[tuple[date, str]]
) -> None:
    """Six of 6,843 common sessions differ by more than a thousandth, one of them in its close."""
    found = compared(
        real_index(real_data / "index" / official, form),
        real_index(real_data / "index" / second, "%Y-%m-%d"),
    )

    assert found.disputes.select("session", "field").rows() == expected
    assert found.symbols["kind"].to_list() == [None]
