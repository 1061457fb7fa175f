"""Random adjusted bars, and a market around them, for the features' tests."""

from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl
import pytest

from sensequant.context.depth_sessions import DEPTH_SESSION_SCHEMA
from sensequant.context.headline_sessions import SENTIMENT_SESSION_SCHEMA
from sensequant.context.option_sessions import OPTIONS_SESSION_SCHEMA
from sensequant.features.context import MarketContext
from sensequant.market.sessions import nse_calendar
from sensequant.market.symbols import NIFTY50

SESSIONS = nse_calendar().sessions(date(2020, 1, 1), nse_calendar().last)

BarsMaker = Callable[..., pl.DataFrame]
ContextMaker = Callable[..., MarketContext]


def _one_symbol(symbol: str, rng: np.random.Generator, n_bars: int) -> pl.DataFrame:
    close = 250 * np.exp(np.cumsum(rng.normal(0, 0.02, n_bars)))
    open_ = close * np.exp(rng.normal(0, 0.01, n_bars))
    volume = rng.integers(1_000, 1_000_000, n_bars).astype(np.float64)
    return pl.DataFrame(
        {
            "symbol": [symbol] * n_bars,
            "session": SESSIONS[:n_bars],
            "open": open_,
            "high": np.maximum(open_, close) * np.exp(rng.exponential(0.01, n_bars)),
            "low": np.minimum(open_, close) * np.exp(-rng.exponential(0.01, n_bars)),
            "close": close,
            "volume": volume,
            "delivered_volume": np.floor(volume * rng.uniform(0.2, 0.8, n_bars)),
            "is_unexplained_gap": [False] * n_bars,
        }
    )


def _sessions_of(bars: pl.DataFrame, schema: pl.Schema, rng: np.random.Generator) -> pl.DataFrame:
    """Return random values of every number of a schema, for each symbol and session."""
    numbers = [name for name, dtype in schema.items() if dtype == pl.Float64()]
    return bars.select(
        "symbol",
        "session",
        **{name: pl.Series(rng.normal(0, 1, bars.height)) for name in numbers},
    )


def _macro_of(sessions: pl.Series, rng: np.random.Generator) -> pl.DataFrame:
    """Return a random walk of every macro series that is fed."""
    parts = [
        pl.DataFrame(
            {"session": sessions, "value": 80 * np.exp(rng.normal(0, 0.01, len(sessions)).cumsum())}
        ).with_columns(symbol=pl.lit(series))
        for series in ("IN10Y", "USDINR", "GOLD", "BANKNIFTY", "NIFTYIT")
    ]
    return pl.concat(parts)


@pytest.fixture(scope="session")
def make_bars() -> BarsMaker:
    """Return a maker of seeded random bars: (n_bars, seed=0, symbols=("AAA",))."""

    def make(n_bars: int, *, seed: int = 0, symbols: tuple[str, ...] = ("AAA",)) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        return pl.concat([_one_symbol(symbol, rng, n_bars) for symbol in symbols])

    return make


@pytest.fixture(scope="session")
def make_context() -> ContextMaker:
    """Return a maker of a market on the sessions of some bars, all listed on the first of them."""

    def make(bars: pl.DataFrame, *, seed: int = 0) -> MarketContext:
        rng = np.random.default_rng([seed, 1])
        sessions = bars["session"].unique().sort()
        steps = rng.normal(0, [[0.01], [0.05]], (2, len(sessions))).cumsum(axis=1)
        index, vix = np.array([[12_000], [15]]) * np.exp(steps)
        symbols: list[str] = bars["symbol"].unique().to_list()
        first: date = sessions[0]
        of_symbols = bars.select("symbol", "session")
        of_index = sessions.to_frame().select(pl.lit(NIFTY50).alias("symbol"), "session")
        return MarketContext(
            benchmark=pl.DataFrame({"session": sessions, "close": index}),
            vix=pl.DataFrame({"session": sessions, "close": vix}),
            listings=dict.fromkeys(symbols, first),
            depth=_sessions_of(bars, DEPTH_SESSION_SCHEMA, rng),
            sentiment=_sessions_of(bars, SENTIMENT_SESSION_SCHEMA, rng),
            macro=_macro_of(sessions, rng),
            options=_sessions_of(pl.concat([of_symbols, of_index]), OPTIONS_SESSION_SCHEMA, rng),
        )

    return make
