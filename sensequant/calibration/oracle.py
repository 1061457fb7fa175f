"""What a planted edge is worth to somebody who knows it.

Belongs here: trading the known signal, and the edge that a wanted Sharpe ratio asks for. Does not
belong here: the process that plants the edge (`market.sources.simulated.paths`), the backtest.

The oracle knows the sign of the planted drift of every stock, no more: it scores a stock 1 where
the drift is up and 0 elsewhere, and its scores are traded as those of a student are: same sessions,
same holding period, sizes, limits, costs. Its Sharpe ratio is over the risk-free return, as that of
the report. In one world it has the noise of three years; what an edge is worth is therefore the
mean over worlds that nothing else is measured on.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from sensequant.calibration.request import CalibrationRequest
from sensequant.errors import ConfigError
from sensequant.evaluation.backtest import run_backtest
from sensequant.evaluation.figures import risk_free_per_session
from sensequant.evaluation.measures import sharpe_ratio
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.market.sources.simulated.paths import SIGNAL_SESSIONS
from sensequant.records import Finite, Record, derive_seed
from sensequant.settings import TrainingConfig
from sensequant.windows import pooled_windows

__all__ = ["EDGES_BPS", "EdgeWorth", "edge_for", "oracle_scores", "oracle_sharpe", "price_edge"]

EDGES_BPS = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0)
"""Edges whose worth is measured; between them it is interpolated."""

N_MARKETS = 48
"""Markets over which the worth of an edge is averaged."""


class EdgeWorth(Record):
    """The oracle's Sharpe ratio of one edge over several markets."""

    edge_bps: Finite
    sharpe: Finite
    standard_error: Finite
    n_markets: int


def oracle_scores(bars: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the scores of who knows the planted signal.

    Parameters
    ----------
    bars
        symbol, session, close; adjusted daily bars, also from before the rows.
    rows
        symbol, session: the decisions to be scored.

    Returns
    -------
    polars.DataFrame
        symbol, session, score: 1 where the stock is about to drift upward, else 0.
    """
    before = pl.col("close").shift(SIGNAL_SESSIONS).over("symbol", order_by="session")
    known = bars.select("symbol", "session", score=(pl.col("close") > before).cast(pl.Float64))
    return rows.select("symbol", "session").join(known, on=["symbol", "session"], how="left")


def oracle_sharpe(bars: pl.DataFrame, rows: pl.DataFrame, config: TrainingConfig) -> float | None:
    """Return the yearly net Sharpe ratio of trading on the planted signal; None where undefined.

    Parameters
    ----------
    bars
        Adjusted daily bars of all symbols, as the backtest takes them.
    rows
        symbol, session: the decisions that a run's students made.
    config
        The method: holding period, costs, sizes, risk-free return.
    """
    traded = run_backtest(
        oracle_scores(bars, rows),
        bars,
        horizon_sessions=config.labels.horizon_sessions,
        costs=config.costs,
        config=config.backtest,
    )
    risk_free = risk_free_per_session(config.significance.annual_risk_free_frac)
    return sharpe_ratio(traded.equity["net_return"].to_numpy(), risk_free_daily=risk_free)


def price_edge(request: CalibrationRequest, edge_bps: float) -> EdgeWorth:
    """Measure what an edge is worth in markets of this law that are used for nothing else."""
    found: list[float] = []
    for number in range(N_MARKETS):
        # The same markets for every edge, so that the worth rises with the edge and not by chance.
        seed = derive_seed(request.seed, "oracle", str(number))
        ratio = _sharpe_of(request, request.market(seed=seed, edge_bps=edge_bps))
        if ratio is not None:
            found.append(ratio)
    values = np.array(found)
    return EdgeWorth(
        edge_bps=edge_bps,
        sharpe=float(values.mean()),
        standard_error=float(values.std(ddof=1) / len(values) ** 0.5),
        n_markets=len(values),
    )


def edge_for(sharpe: float, worths: Sequence[EdgeWorth]) -> float:
    """Return the edge that is worth a Sharpe ratio to the oracle, in basis points per session.

    Parameters
    ----------
    sharpe
        Yearly net Sharpe ratio.
    worths
        Measured edges, ascending.

    Raises
    ------
    ConfigError
        None of the measured edges is worth as much, or the least is worth more.
    """
    known: list[EdgeWorth] = []
    for worth in worths:
        # Where noise makes a larger edge worth less, the smaller one is enough.
        if not known or worth.sharpe > known[-1].sharpe:
            known.append(worth)
    edges, ratios = [each.edge_bps for each in known], [each.sharpe for each in known]
    if not ratios[0] <= sharpe <= ratios[-1]:
        raise ConfigError(
            "no edge is worth this Sharpe ratio to an oracle",
            where="oracle_sharpes",
            expected=f"{ratios[0]:.2f} to {ratios[-1]:.2f}, from edges of {edges[0]:g} to "
            f"{edges[-1]:g} basis points",
            found=f"{sharpe:g}",
            remedy="ask for another ratio, or for another law of the walks",
        )
    return round(float(np.interp(sharpe, ratios, edges)), 2)


class _Market(NamedTuple):
    bars: pl.DataFrame
    rows: pl.DataFrame


def _sharpe_of(request: CalibrationRequest, market: SimulatedConfig) -> float | None:
    made = _made(request, market)
    return oracle_sharpe(made.bars, made.rows, request.config)


def _made(request: CalibrationRequest, market: SimulatedConfig) -> _Market:
    source = SimulatedSource(market)
    bars = pl.concat(source.fetch(Chunk(symbol)).bars for symbol in source.symbols())
    # Nothing is scored before a student has learnt from the first window.
    first, *_ = pooled_windows(request.start, request.end, request.config.windows)
    is_scored = (pl.col("session") > first.end) & (pl.col("session") <= request.end)
    return _Market(
        bars.with_columns(is_unexplained_gap=pl.lit(value=False)),
        bars.filter(is_scored).select("symbol", "session"),
    )
