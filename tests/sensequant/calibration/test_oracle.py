"""Facts about the oracle: what it knows, what that earns, which edge a Sharpe ratio asks for."""

import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from sensequant.calibration import oracle
from sensequant.calibration.oracle import EdgeWorth, edge_for, oracle_scores, oracle_sharpe
from sensequant.calibration.request import CalibrationRequest
from sensequant.errors import ConfigError
from sensequant.evaluation.backtest import run_backtest
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.simulated import SimulatedSource
from sensequant.market.sources.simulated.paths import SIGNAL_SESSIONS, simulate_paths

REQUEST = CalibrationRequest(n_symbols=6, years=2)


def test_scores_are_the_sign_of_the_last_ten_sessions() -> None:
    """By hand: up is 1, down and level are 0, unknown is no score; symbols do not mix."""
    days = [date(2024, 1, 1) + timedelta(days=number) for number in range(13)]
    closes = [10, 9, 8, 7, 7, 7, 7, 7, 7, 7, 11, 9, 3]
    bars = pl.DataFrame(
        {
            "symbol": ["A"] * 13 + ["B"],
            "session": [*days, days[0]],
            "close": [*map(float, closes), 5.0],
        }
    )
    rows = bars.select("symbol", "session").filter(pl.col("session").is_in([*days[-3:], days[0]]))

    scored = oracle_scores(bars, rows).sort("symbol", "session")

    assert scored["score"].to_list() == [None, 1.0, 0.0, 0.0, None]


def test_the_oracle_knows_what_the_process_planted() -> None:
    """The sign that the simulation itself uses, but for prices that the tick makes equal."""
    market = REQUEST.market(seed=5, edge_bps=40.0)
    source = SimulatedSource(market)
    bars = pl.concat(source.fetch(Chunk(symbol)).bars for symbol in source.symbols())
    calendar = nse_calendar()
    n_sessions = len(calendar.sessions(market.history_start, calendar.last))
    closes = simulate_paths(market, symbols=source.symbols(), n_sessions=n_sessions).closes
    planted = np.sign(closes[SIGNAL_SESSIONS:] - closes[:-SIGNAL_SESSIONS]) > 0

    scores = oracle_scores(bars, bars).pivot("symbol", index="session", values="score")
    known = scores.sort("session").select(source.symbols())[SIGNAL_SESSIONS:].to_numpy() > 0

    assert (known == planted).mean() > 0.999


def test_an_edge_is_worth_what_its_portfolio_earns(monkeypatch: pytest.MonkeyPatch) -> None:
    """More with a larger edge, about nothing without."""
    monkeypatch.setattr(oracle, "N_MARKETS", 6)

    nothing, some, much = (oracle.price_edge(REQUEST, edge) for edge in (0.0, 30.0, 60.0))

    assert nothing.sharpe < some.sharpe < much.sharpe
    assert abs(nothing.sharpe) < 4 * nothing.standard_error
    assert much.sharpe - 3 * much.standard_error > 1
    assert some.n_markets == 6


def test_the_ratio_is_that_of_the_returns_over_the_risk_free_rate() -> None:
    """Of one stock that only rises, always bought; by hand from the equity of the backtest."""
    days = nse_calendar().sessions(date(2023, 1, 2), date(2023, 12, 29))
    growth = np.cumprod(1.002 + 0.001 * np.cos(np.arange(len(days))))
    bars = pl.DataFrame(
        {
            "symbol": "A",
            "session": days,
            "open": 100 * np.r_[1.0, growth[:-1]],
            "close": 100 * growth,
            "volume": 10**9,
            "is_unexplained_gap": False,
        }
    )
    rows = bars.select("symbol", "session")[20:-20]
    config = REQUEST.config
    bought = run_backtest(
        rows.with_columns(score=pl.lit(1.0)),
        bars,
        horizon_sessions=config.labels.horizon_sessions,
        costs=config.costs,
        config=config.backtest,
    )
    excess = bought.equity["net_return"].to_numpy() - math.expm1(math.log1p(0.065) / 248)

    found = oracle_sharpe(bars, rows, config)

    assert found == pytest.approx(excess.mean() / excess.std(ddof=1) * 248**0.5)


WORTHS = [
    EdgeWorth(edge_bps=edge, sharpe=sharpe, standard_error=0.1, n_markets=9)
    for edge, sharpe in ((0.0, -0.5), (10.0, 0.5), (20.0, 2.5), (30.0, 2.4))
]


@pytest.mark.parametrize(("sharpe", "edge"), [(0.0, 5.0), (0.5, 10.0), (1.5, 15.0), (2.5, 20.0)])
def test_an_edge_is_interpolated_between_measured_ones(sharpe: float, edge: float) -> None:
    """By hand; noise that makes a larger edge worth less does not fold the curve."""
    assert edge_for(sharpe, WORTHS) == pytest.approx(edge)


@pytest.mark.parametrize("sharpe", [-1.0, 3.0])
def test_an_edge_beyond_the_measured_ones_is_refused(sharpe: float) -> None:
    """Nothing is extrapolated; the error names the range."""
    with pytest.raises(ConfigError, match="no edge is worth") as caught:
        edge_for(sharpe, WORTHS)

    assert caught.value.expected == "-0.50 to 2.50, from edges of 0 to 20 basis points"
