"""How large a full position is.

Belongs here: the settings that every strategy shares, and sizes. Does not belong here: when a
position is taken (`evaluation.backtest`, `evaluation.strategies`), what limits do to an order
(`evaluation.portfolio`).

With `sizing: equal` a full position is `position_frac` of the equity. With `sizing: volatility` it
is that much times what `reference_volatility_frac` is of the symbol's own volatility: the standard
deviation (n - 1) of its last 60 daily log returns, at least 20 of them, per year. Returns over an
unexplained gap do not count; a symbol with fewer returns, or none that varies, has no size and is
not bought. Either way `max_position_frac` is the most, also where an implied volatility stands in
place of that of the returns (`evaluation.gates`).
"""

from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from sensequant.evaluation.account import Limits
from sensequant.evaluation.grid import Floats, carried, with_session_numbers
from sensequant.evaluation.measures import SESSIONS_PER_YEAR
from sensequant.records import Config

__all__ = ["PortfolioConfig", "full_positions", "sizes_of"]

_MOST_RETURNS = 60
_FEWEST_RETURNS = 20


class PortfolioConfig(Config):
    """How large positions are, and what the portfolio may do."""

    capital_inr: float = Field(
        default=1e7, ge=1e5, le=1e12, description="Equity before the first session, in INR."
    )
    sizing: Literal["equal", "volatility"] = Field(
        default="equal",
        description="Whether a full position is the same for every symbol, or smaller for one "
        "that moves more.",
    )
    position_frac: float = Field(
        default=0.10, gt=0, le=1, description="A full position, as a fraction of equity."
    )
    reference_volatility_frac: float = Field(
        default=0.30,
        gt=0,
        le=5,
        description="With sizing by volatility, realised or implied: yearly volatility at which a "
        "full position is position_frac, as a fraction.",
    )
    max_position_frac: float = Field(
        default=0.20, gt=0, le=1, description="Largest target of one symbol, fraction of equity."
    )
    gross_limit_frac: float = Field(
        default=1.0, gt=0, le=1, description="Largest sum of positions, as a fraction of equity."
    )
    max_participation_frac: float = Field(
        default=0.10,
        gt=0,
        le=1,
        description="Largest opening order, as a fraction of the volume of its bar.",
    )
    cash_rate_frac: float = Field(
        default=0.065,
        ge=0,
        le=0.5,
        description="Interest on idle cash per year, as a fraction; no more than the risk-free "
        "return of the statistics, or doing nothing would look like skill.",
    )

    @property
    def limits(self) -> Limits:
        """What the portfolio may do."""
        return Limits(
            capital_inr=self.capital_inr,
            gross_limit_frac=self.gross_limit_frac,
            max_participation_frac=self.max_participation_frac,
            cash_rate_frac=self.cash_rate_frac,
        )


def full_positions(
    bars: pl.DataFrame, *, symbols: tuple[str, ...], first: int, last: int, config: PortfolioConfig
) -> Floats:
    """Return the size of a full position, as known before each session opens.

    Parameters
    ----------
    bars
        symbol, session, close, is_unexplained_gap, also from before the first session; with
        starts_at where bars are parts of a session.
    symbols
        The columns, sorted.
    first, last
        Numbers of the first and last session.
    config
        How positions are sized.

    Returns
    -------
    numpy.ndarray
        Fractions of equity, shape (n_sessions, n_symbols); 0 where a symbol has no size.
    """
    shape = (max(0, last - first + 1), len(symbols))
    if config.sizing == "equal":
        return np.full(shape, min(config.position_frac, config.max_position_frac))
    volatility = _known_before(_volatilities(bars, symbols), symbols, first=first, shape=shape)
    return sizes_of(np.where(volatility > 0, volatility, np.inf), config)


def sizes_of(volatility_frac: Floats, config: PortfolioConfig) -> Floats:
    """Return full positions at yearly volatilities above 0, as fractions of equity."""
    size = config.position_frac * config.reference_volatility_frac / volatility_frac
    return np.minimum(size, config.max_position_frac)


def _volatilities(bars: pl.DataFrame, symbols: tuple[str, ...]) -> pl.DataFrame:
    order = [name for name in ("symbol", "session", "starts_at") if name in bars.columns]
    daily = (
        bars.filter(pl.col("symbol").is_in(symbols))
        .sort(order)
        .group_by("symbol", "session", maintain_order=True)
        .agg(pl.col("close").last(), pl.col("is_unexplained_gap").any())
    )
    log_return = (pl.col("close") / pl.col("close").shift(1).over("symbol")).log()
    moved = daily.with_columns(
        log_return=pl.when(~pl.col("is_unexplained_gap")).then(log_return)
    ).with_columns(
        volatility=pl.col("log_return")
        .rolling_std(_MOST_RETURNS, min_samples=_FEWEST_RETURNS)
        .over("symbol")
        * SESSIONS_PER_YEAR**0.5
    )
    return with_session_numbers(moved.select("symbol", "session", "volatility"))


def _known_before(
    rows: pl.DataFrame, symbols: tuple[str, ...], *, first: int, shape: tuple[int, int]
) -> Floats:
    # What was known before the first session stands in the first row, whenever it became known.
    place = (pl.col("number") + 1 - first).clip(lower_bound=0)
    codes = pl.col("symbol").cast(pl.Enum(symbols)).to_physical()
    known = rows.with_columns(place=place, column=codes).filter(pl.col("place") < shape[0])
    values = np.full(shape, np.nan)
    # Rows ascend, so that of several for one cell the last one stays.
    for row, column, value in known.select("place", "column", "volatility").iter_rows():
        values[row, column] = np.nan if value is None else value
    return carried(values)
