"""Random adjusted bars for the features' tests."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

FIRST_SESSION = date(2020, 1, 1)

BarsMaker = Callable[..., pl.DataFrame]


def _one_symbol(symbol: str, rng: np.random.Generator, n_bars: int) -> pl.DataFrame:
    close = 250 * np.exp(np.cumsum(rng.normal(0, 0.02, n_bars)))
    open_ = close * np.exp(rng.normal(0, 0.01, n_bars))
    return pl.DataFrame(
        {
            "symbol": [symbol] * n_bars,
            "session": [FIRST_SESSION + timedelta(days=day) for day in range(n_bars)],
            "open": open_,
            "high": np.maximum(open_, close) * np.exp(rng.exponential(0.01, n_bars)),
            "low": np.minimum(open_, close) * np.exp(-rng.exponential(0.01, n_bars)),
            "close": close,
            "volume": rng.integers(1_000, 1_000_000, n_bars).astype(np.float64),
            "is_unexplained_gap": [False] * n_bars,
        }
    )


@pytest.fixture(scope="session")
def make_bars() -> BarsMaker:
    """Return a maker of seeded random bars: (n_bars, seed=0, symbols=("AAA",))."""

    def make(n_bars: int, *, seed: int = 0, symbols: tuple[str, ...] = ("AAA",)) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        return pl.concat([_one_symbol(symbol, rng, n_bars) for symbol in symbols])

    return make
