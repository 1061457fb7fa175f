"""Market context: what the index and its volatility did, and how a symbol moves with them.

Belongs here: NIFTY 50, India VIX, beta, correlation and relative strength. Does not belong here:
comparing the symbols of a run (`ranks`).

Features of an index run over its own sessions. Features of a symbol against the index run over the
sessions on which both have a bar, so that both returns span the same time. A session without a bar
of the index has no value; nothing is filled.

Sources: Sharpe, *Capital Asset Prices* (1964), for beta; Whaley, *The Investor Fear Gauge* (2000),
for the level of an implied volatility; Levy, *Relative Strength as a Criterion for Investment
Selection* (1967).
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from sensequant.features.comovement import (
    N_BARS,
    beta,
    common_sessions,
    comovement_columns,
    correlation,
)
from sensequant.features.context import MarketContext
from sensequant.features.expressions import (
    CLOSE,
    previous,
    ratio,
    relative_to_close,
    rolling_deviation,
    rolling_mean,
    simple_return,
)
from sensequant.features.spec import Column, Family, Feature, FeatureSpec, Table

__all__ = ["MARKET_FEATURES", "MARKET_HELPERS", "MARKET_TABLE"]

_SHARPE = "Sharpe (1964)"
_WHALEY = "Whaley (2000)"
_LEVY = "Levy (1967)"
_DEFINITION = "definition"

_VIX_BARS = 252
_VOLATILITY_BARS = 20

_COMMON = common_sessions("benchmark")
_BENCHMARK = pl.col("_benchmark_close")

MARKET_HELPERS: Mapping[str, Column] = comovement_columns("benchmark")
"""Columns on the way to a feature: fractions, and a squared one."""


def _spec(
    name: str, *, warmup_bars: int, formula: str, unit: str = "fraction", source: str = _DEFINITION
) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family=Family.MARKET_CONTEXT,
        warmup_bars=warmup_bars,
        unit=unit,
        formula=formula,
        source=source,
    )


def _index_return(n_bars: int) -> Feature:
    return Feature(
        _spec(
            f"nifty_return_{n_bars}",
            warmup_bars=n_bars,
            formula=f"NIFTY 50: close[t] / close[t-{n_bars}] - 1",
        ),
        None,
    )


def _index_average(n_bars: int) -> Feature:
    return Feature(
        _spec(
            f"nifty_sma_{n_bars}_to_close",
            warmup_bars=n_bars - 1,
            formula=f"NIFTY 50: mean of the last {n_bars} closes / close - 1",
        ),
        None,
    )


def _strength(n_bars: int) -> Feature:
    spec = _spec(
        f"relative_strength_{n_bars}",
        warmup_bars=n_bars,
        formula=f"(close[t] / close[t-{n_bars}]) / (NIFTY 50 likewise) - 1, over common sessions",
        source=_LEVY,
    )
    own = ratio(CLOSE, previous(CLOSE, n_bars))
    benchmark = ratio(_BENCHMARK, previous(_BENCHMARK, n_bars))
    return Feature(spec, ratio(own, benchmark) - 1, _COMMON)


_INDEX_FEATURES: tuple[Feature, ...] = (
    _index_return(1),
    _index_return(5),
    _index_return(20),
    _index_average(50),
    _index_average(200),
    Feature(
        _spec(
            "nifty_realised_volatility_20",
            warmup_bars=_VOLATILITY_BARS,
            unit="fraction per square root of a session",
            formula="NIFTY 50: sample standard deviation of the last 20 log returns",
        ),
        None,
    ),
    Feature(
        _spec(
            "vix_level",
            warmup_bars=0,
            unit="percent a year",
            formula="India VIX: close",
            source=_WHALEY,
        ),
        None,
    ),
    Feature(
        _spec(
            "vix_change_5",
            warmup_bars=5,
            formula="India VIX: close[t] / close[t-5] - 1",
            source=_WHALEY,
        ),
        None,
    ),
    Feature(
        _spec(
            "vix_percentile_252",
            warmup_bars=_VIX_BARS - 1,
            unit="0 to 1",
            formula="India VIX: share of the 251 closes before that lie below, equal ones by half",
            source=_WHALEY,
        ),
        None,
    ),
)

MARKET_FEATURES: tuple[Feature, ...] = (
    *_INDEX_FEATURES,
    Feature(
        _spec(
            "beta_60",
            warmup_bars=N_BARS,
            unit="multiple",
            formula="covariance of returns with NIFTY 50 / its variance, 60 common sessions",
            source=_SHARPE,
        ),
        beta("benchmark"),
        _COMMON,
    ),
    Feature(
        _spec(
            "correlation_60",
            warmup_bars=N_BARS,
            unit="-1 to 1",
            formula="correlation of returns with NIFTY 50, 60 common sessions",
        ),
        correlation("benchmark"),
        _COMMON,
    ),
    _strength(20),
    _strength(60),
)

_BENCHMARK_COLUMNS = ("_benchmark_close", "_has_benchmark")
_COLUMNS = (*_BENCHMARK_COLUMNS, *(feature.spec.name for feature in _INDEX_FEATURES))


def _by_session(rows: pl.DataFrame, context: MarketContext) -> pl.DataFrame:
    joined = rows.select("session")
    for closes, columns in ((context.benchmark, _nifty_columns), (context.vix, _vix_columns)):
        if closes is None:
            continue
        table = columns(closes.select("session", "close"))
        joined = joined.join(table, on="session", how="left", maintain_order="left")
    return joined.with_columns(_has_benchmark=pl.col("_benchmark_close").is_not_null()).select(
        _COLUMNS
    )


MARKET_TABLE = Table(_COLUMNS, _by_session)


def _nifty_columns(closes: pl.DataFrame) -> pl.DataFrame:
    mean = f"_mean_{_VOLATILITY_BARS}"
    return (
        closes.with_columns(
            _log_return=ratio(CLOSE, previous(CLOSE)).log(),
            **{f"_sma_{n_bars}": rolling_mean("close", n_bars) for n_bars in (50, 200)},
        )
        .with_columns(rolling_mean("_log_return", _VOLATILITY_BARS).alias(mean))
        .select(
            "session",
            *(simple_return(CLOSE, n).alias(f"nifty_return_{n}") for n in (1, 5, 20)),
            *(
                relative_to_close(pl.col(f"_sma_{n}")).alias(f"nifty_sma_{n}_to_close")
                for n in (50, 200)
            ),
            _benchmark_close="close",
            nifty_realised_volatility_20=rolling_deviation(
                "_log_return", _VOLATILITY_BARS, mean_column=mean, ddof=1
            ),
        )
    )


def _vix_columns(closes: pl.DataFrame) -> pl.DataFrame:
    return closes.select(
        "session",
        vix_level="close",
        vix_change_5=simple_return(CLOSE, 5),
        vix_percentile_252=pl.Series(
            _percentiles(closes["close"].to_numpy(), _VIX_BARS), nan_to_null=True
        ),
    )


def _percentiles(values: np.ndarray, n_bars: int) -> np.ndarray:
    percentiles = np.full(values.size, np.nan)
    if values.size >= n_bars:
        windows = np.lib.stride_tricks.sliding_window_view(values, n_bars)
        earlier, last = windows[:, :-1], windows[:, -1:]
        below = (earlier < last).sum(axis=1) + 0.5 * (earlier == last).sum(axis=1)
        percentiles[n_bars - 1 :] = below / (n_bars - 1)
    return percentiles
