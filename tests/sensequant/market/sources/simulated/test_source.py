"""Facts about the bars of the simulated market."""

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensequant.errors import ConfigError, MissingBarsError, UnknownSymbolError
from sensequant.market.adjustments import adjust_bars, parse_actions
from sensequant.market.bars import bars_digest, validate_bars
from sensequant.market.intervals import INTERVALS, Interval
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import BarSource, Chunk
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.market.sources.simulated.source import (
    DIVIDEND_YIELD_FRAC,
    HOLE_SESSIONS,
    LISTING_SESSION,
    SPLIT_SESSION,
)

CONFIG = SimulatedConfig(n_symbols=4, history_start=date(2020, 1, 1))
SESSIONS = nse_calendar().sessions(date(2020, 1, 1), nse_calendar().last)


@pytest.fixture(scope="module")
def source() -> SimulatedSource:
    return SimulatedSource(CONFIG)


def test_it_is_a_source_and_says_that_it_is_simulated(source: BarSource) -> None:
    """Names have as many digits as they need; one chunk holds everything, at every interval."""
    assert (source.name, source.is_simulated) == ("simulated", True)
    assert source.symbols() == ("SIM01", "SIM02", "SIM03", "SIM04")
    assert SimulatedSource(SimulatedConfig(n_symbols=100)).symbols()[-1] == "SIM100"
    assert source.indices() == ("NIFTY50", "NIFTY50TRI")
    assert source.intervals == INTERVALS
    assert [source.sessions_per_chunk(interval) for interval in INTERVALS] == [None] * 4


@pytest.mark.parametrize("symbol", ["SIM01", "SIM02", "SIM03", "SIM04", "NIFTY50", "NIFTY50TRI"])
def test_bars_are_valid_and_marked(source: SimulatedSource, symbol: str) -> None:
    """Every bar is valid, on a session, marked as simulated, on the tick."""
    fetched = source.fetch(Chunk(symbol))
    bars = validate_bars(fetched.bars)

    assert set(bars["session"]) <= set(SESSIONS)
    assert bars["is_simulated"].all()
    assert bars["source"].unique().to_list() == ["simulated"]
    assert fetched.quarantine.is_empty()
    assert fetched.report.n_rows_good == fetched.report.n_rows_read == bars.height
    unit = 0.05 if symbol.startswith("SIM") else 0.01
    steps = bars.select("open", "high", "low", "close").to_numpy() / unit
    assert np.allclose(steps, steps.round(), atol=1e-6)


def test_the_same_settings_give_the_same_bars(source: SimulatedSource) -> None:
    """A second source agrees to the last digit, in values and in digest."""
    again = SimulatedSource(CONFIG)

    for symbol in ("SIM02", "NIFTY50"):
        one, other = source.fetch(Chunk(symbol)), again.fetch(Chunk(symbol))
        assert bars_digest(one.bars) == bars_digest(other.bars)
        assert one.source_digest == other.source_digest
    assert source.fetch(Chunk("SIM01")).source_digest != source.fetch(Chunk("SIM02")).source_digest


def test_cutting_by_dates_changes_no_value(source: SimulatedSource) -> None:
    """A chunk is a slice of the whole."""
    whole = source.fetch(Chunk("SIM03")).bars
    start, end = date(2021, 3, 1), date(2021, 6, 30)

    part = source.fetch(Chunk("SIM03", start=start, end=end)).bars

    assert part.equals(whole.filter(pl.col("session").is_between(start, end)))


@pytest.mark.parametrize("interval", ["1minute", "5minute", "30minute"])
def test_intraday_bars_are_valid_and_marked(source: SimulatedSource, interval: Interval) -> None:
    """They pass the check of bars, and their digest depends on the interval."""
    chunk = Chunk("SIM02", interval, date(2024, 1, 1), date(2024, 1, 12))
    fetched = source.fetch(chunk)

    bars = validate_bars(fetched.bars, interval)
    assert bars["is_simulated"].all()
    assert fetched.report.n_rows_good == bars.height
    assert fetched.source_digest != source.fetch(Chunk("SIM02")).source_digest


def test_sessions_without_known_hours_have_no_intraday_bars(source: SimulatedSource) -> None:
    """The drill of March 2024 was in two parts: it has a daily bar and no others."""
    drill = date(2024, 3, 2)

    assert source.fetch(Chunk("SIM02", "1day", drill, drill)).bars.height == 1
    with pytest.raises(MissingBarsError, match="SIM02 5minute"):
        source.fetch(Chunk("SIM02", "5minute", drill, drill))


def test_requests_that_are_wrong(source: SimulatedSource) -> None:
    """Unknown symbols, empty and inverted ranges are told."""
    with pytest.raises(UnknownSymbolError, match="did you mean SIM01"):
        source.fetch(Chunk("SIM1"))
    with pytest.raises(UnknownSymbolError, match="symbol is not in"):
        source.fetch(Chunk("RELIANCE", "5minute"))
    with pytest.raises(ConfigError, match="upside down"):
        source.fetch(Chunk("SIM01", start=date(2022, 1, 1), end=date(2021, 1, 1)))
    with pytest.raises(ConfigError, match="indices have no intraday bars"):
        source.fetch(Chunk("NIFTY50", "1minute"))
    with pytest.raises(MissingBarsError, match="widen the range"):
        source.fetch(Chunk("SIM01", end=date(2019, 1, 1)))


def test_events(source: SimulatedSource) -> None:
    """One stock has a hole, one a split with its action, one is listed late."""
    hole, split, plain, late = (source.fetch(Chunk(symbol)).bars for symbol in source.symbols())

    assert sorted(set(SESSIONS) - set(hole["session"])) == [SESSIONS[at] for at in HOLE_SESSIONS]
    assert split["close"][SPLIT_SESSION] / split["close"][SPLIT_SESSION - 1] < 0.15
    assert split["previous_close"][SPLIT_SESSION] == split["close"][SPLIT_SESSION - 1]
    assert plain["session"].to_list() == SESSIONS
    assert late["session"][0] == SESSIONS[LISTING_SESSION]
    adjusted = adjust_bars(split, source.actions(), nse_calendar())
    assert not adjusted["is_unexplained_gap"].any()
    assert adjusted["close"].log().diff().abs().max() < 0.3  # pyright: ignore[reportOperatorIssue]


def test_the_action_reads_like_one_of_nse(source: SimulatedSource) -> None:
    """The parser of NSE's wording gives the same ratio as the row itself."""
    listed = source.actions().select("symbol", "ex_date", "subject")

    assert parse_actions(listed, source="simulated").equals(source.actions())
    assert source.actions().select("symbol", "ex_date").row(0) == ("SIM02", SESSIONS[SPLIT_SESSION])


def test_without_events_nothing_happens() -> None:
    """Every stock trades in every session and no action is listed."""
    quiet = SimulatedSource(CONFIG.model_copy(update={"has_events": False}))

    assert quiet.actions().is_empty()
    for symbol in quiet.symbols():
        bars = quiet.fetch(Chunk(symbol)).bars
        assert bars["session"].to_list() == SESSIONS
        assert bars["close"].log().diff().abs().max() < 0.5  # pyright: ignore[reportOperatorIssue]


def test_the_index_is_the_mean_of_the_listed_stocks() -> None:
    """Its return is the mean simple return of the stocks, up to the rounding of ticks."""
    quiet = SimulatedSource(CONFIG.model_copy(update={"has_events": False}))
    stocks = [quiet.fetch(Chunk(symbol)).bars["close"].pct_change() for symbol in quiet.symbols()]
    expected = pl.DataFrame({str(n): one for n, one in enumerate(stocks)}).mean_horizontal()

    found = quiet.fetch(Chunk("NIFTY50")).bars["close"].pct_change()

    assert found[1:].to_list() == pytest.approx(expected[1:].to_list(), abs=3e-4)


def test_the_total_return_index_gains_the_dividends(source: SimulatedSource) -> None:
    """It outgrows the price index by the yearly yield, and has one value per session."""
    price, total = (source.fetch(Chunk(symbol)).bars for symbol in ("NIFTY50", "NIFTY50TRI"))
    years = len(SESSIONS) / 248

    gain = np.log(total["close"][-1] / price["close"][-1]) / years
    assert gain == pytest.approx(DIVIDEND_YIELD_FRAC, abs=1e-3)
    assert total["open"].equals(total["close"].rename("open"))
    assert price["volume"].sum() == total["volume"].sum() == 0


def test_volume_rises_with_the_size_of_the_move(source: SimulatedSource) -> None:
    """Volume is lognormal and correlated with the absolute return; delivery is a part of it."""
    bars = source.fetch(Chunk("SIM03")).bars
    moves = bars["close"].log().diff().abs()[1:]

    assert np.corrcoef(moves, bars["volume"].log()[1:])[0, 1] > 0.3
    assert (bars["delivered_volume"] < bars["volume"]).all()
    assert (bars["n_trades"] <= bars["volume"]).all()


VARIED: dict[str, Any] = {
    "seed": 5,
    "n_symbols": 5,
    "history_start": date(2020, 6, 1),
    "annual_volatility_frac": 0.5,
    "volatility_dispersion": 0.0,
    "market_correlation": 0.0,
    "annual_drift_frac": 0.0,
    "has_regimes": False,
    "tail_degrees_of_freedom": 4.0,
    "garch_reaction_frac": 0.1,
    "garch_memory_frac": 0.8,
    "planted_edge_bps": 30.0,
    "has_events": False,
}
BESIDE = {"garch_memory_frac": {"garch_reaction_frac": 0.1}}
"""What else a setting needs to act."""


@pytest.mark.parametrize("name", SimulatedConfig.model_fields)
def test_every_setting_changes_the_market(source: SimulatedSource, name: str) -> None:
    """No setting is dead: each one changes the bars of the index or of a stock."""
    beside = CONFIG.model_copy(update=BESIDE.get(name, {}))
    source = SimulatedSource(beside) if name in BESIDE else source
    other = SimulatedSource(beside.model_copy(update={name: VARIED[name]}))

    changed = [
        symbol
        for symbol in (*source.symbols(), "NIFTY50")
        if bars_digest(source.fetch(Chunk(symbol)).bars)
        != bars_digest(other.fetch(Chunk(symbol)).bars)
    ]
    assert changed


def test_the_index_spans_the_range_of_its_own_volatility() -> None:
    """With clusters and tails, too, its high and low fit a motion from open to close."""
    law = {"tail_degrees_of_freedom": 5.0, "garch_reaction_frac": 0.1, "garch_memory_frac": 0.8}
    calm = SimulatedConfig(n_symbols=30, has_regimes=False, has_events=False)
    spreads: list[float] = []
    for config in (calm, calm.model_copy(update=law)):
        bars = SimulatedSource(config).fetch(Chunk("NIFTY50")).bars
        moved = (bars["close"] / bars["open"]).log()
        span = (bars["high"] / bars["low"]).log()
        # Parkinson (1980): the mean square of the range is 4 ln 2 times the variance.
        spreads.append(float((span**2).mean() / (4 * np.log(2)) / (moved**2).mean()))  # pyright: ignore[reportArgumentType]

    assert spreads == pytest.approx([1.0, 1.0], abs=0.1)
