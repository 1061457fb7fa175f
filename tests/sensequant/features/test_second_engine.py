"""Families beyond the classic ones, computed a second time by DuckDB's SQL."""

from collections.abc import Callable

import duckdb
import numpy as np
import polars as pl
import pytest

from sensequant.features.build import build_features
from sensequant.features.context import MarketContext
from sensequant.features.registry import FeatureConfig

BarsMaker = Callable[..., pl.DataFrame]
ContextMaker = Callable[..., MarketContext]

SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG")

MARKET_SQL = """
SELECT symbol, session,
  regr_slope(own, market) OVER w60 AS beta_60,
  corr(own, market) OVER w60 AS correlation_60,
  (close / lag(close, 20) OVER w) / (index / lag(index, 20) OVER w) - 1 AS relative_strength_20,
  (close / lag(close, 60) OVER w) / (index / lag(index, 60) OVER w) - 1 AS relative_strength_60,
FROM (
  SELECT *, close / lag(close) OVER v - 1 AS own, index / lag(index) OVER v - 1 AS market
  FROM (SELECT bars.*, benchmark.close AS index FROM bars JOIN benchmark USING (session))
  WINDOW v AS (PARTITION BY symbol ORDER BY session)
)
WINDOW w AS (PARTITION BY symbol ORDER BY session),
       w60 AS (PARTITION BY symbol ORDER BY session ROWS 59 PRECEDING)
"""

INDEX_SQL = """
SELECT session,
  close / lag(close) OVER w - 1 AS nifty_return_1,
  close / lag(close, 5) OVER w - 1 AS nifty_return_5,
  close / lag(close, 20) OVER w - 1 AS nifty_return_20,
  avg(close) OVER (ORDER BY session ROWS 49 PRECEDING) / close - 1 AS nifty_sma_50_to_close,
  avg(close) OVER (ORDER BY session ROWS 199 PRECEDING) / close - 1 AS nifty_sma_200_to_close,
  stddev_samp(log_return) OVER (ORDER BY session ROWS 19 PRECEDING)
    AS nifty_realised_volatility_20,
FROM (SELECT *, ln(close / lag(close) OVER (ORDER BY session)) AS log_return FROM benchmark)
WINDOW w AS (ORDER BY session)
"""

VIX_SQL = """
SELECT session, close AS vix_level,
  close / lag(close, 5) OVER (ORDER BY session) - 1 AS vix_change_5,
  (len(list_filter(year, lambda x: x < close))
   + 0.5 * (len(list_filter(year, lambda x: x = close)) - 1)) / 251 AS vix_percentile_252,
FROM (SELECT *, list(close) OVER (ORDER BY session ROWS 251 PRECEDING) AS year FROM vix)
"""

RANKS_SQL = """
SELECT symbol, session,
  CASE WHEN return_20 IS NOT NULL THEN
    (rank() OVER (PARTITION BY session ORDER BY return_20 NULLS LAST) - 1
     + (count(*) OVER (PARTITION BY session, return_20) - 1) / 2)
    / (count(return_20) OVER (PARTITION BY session) - 1) END AS rank_return_20,
  CASE WHEN volume_ratio_20 IS NOT NULL THEN
    (rank() OVER (PARTITION BY session ORDER BY volume_ratio_20 NULLS LAST) - 1
     + (count(*) OVER (PARTITION BY session, volume_ratio_20) - 1) / 2)
    / (count(volume_ratio_20) OVER (PARTITION BY session) - 1) END AS rank_volume_ratio_20,
  avg((close > sma_50)::INT) FILTER (sma_50 IS NOT NULL) OVER (PARTITION BY session)
    AS share_above_sma_50,
FROM (
  SELECT symbol, session, close,
    close / lag(close, 20) OVER w - 1 AS return_20,
    CASE WHEN row_number() OVER w >= 20
      THEN volume / avg(volume) OVER (PARTITION BY symbol ORDER BY session ROWS 19 PRECEDING)
    END AS volume_ratio_20,
    CASE WHEN row_number() OVER w >= 50
      THEN avg(close) OVER (PARTITION BY symbol ORDER BY session ROWS 49 PRECEDING)
    END AS sma_50,
  FROM bars WINDOW w AS (PARTITION BY symbol ORDER BY session)
)
"""

LEVELS_SQL = """
SELECT symbol, session,
  max(high) OVER w252 / close - 1 AS high_252_to_close,
  min(low) OVER w252 / close - 1 AS low_252_to_close,
FROM bars WINDOW w252 AS (PARTITION BY symbol ORDER BY session ROWS 251 PRECEDING)
"""

DELIVERY_SQL = """
SELECT symbol, session, share AS delivery_share,
  CASE WHEN count(share) OVER w20 = 20 THEN avg(share) OVER w20 END AS delivery_share_mean_20,
  CASE WHEN count(share) OVER w20 = 20
    THEN (share - avg(share) OVER w20) / stddev_pop(share) OVER w20
  END AS delivery_share_zscore_20,
FROM (SELECT symbol, session, delivered_volume / volume AS share FROM bars)
WINDOW w20 AS (PARTITION BY symbol ORDER BY session ROWS 19 PRECEDING)
"""

GAPS_SQL = """
SELECT symbol, session,
  (gap - avg(gap) OVER earlier) / stddev_samp(gap) OVER earlier AS gap_zscore_20,
  CASE WHEN gap > 0 THEN least(1, (open - low) / (open - last))
       WHEN gap < 0 THEN least(1, (high - open) / (last - open)) END AS gap_fill_frac,
FROM (
  SELECT *, lag(close) OVER v AS last, open / lag(close) OVER v - 1 AS gap
  FROM bars WINDOW v AS (PARTITION BY symbol ORDER BY session)
)
WINDOW earlier AS
  (PARTITION BY symbol ORDER BY session ROWS BETWEEN 20 PRECEDING AND 1 PRECEDING)
"""


@pytest.fixture(scope="module")
def bars(make_bars: BarsMaker) -> pl.DataFrame:
    """Return bars with holes: some without delivered volume, and some sessions of one symbol."""
    bars = make_bars(420, seed=6, symbols=SYMBOLS)
    number = pl.int_range(pl.len())
    is_hole = (pl.col("symbol") == "CCC") & (number % 11 == 3)
    return bars.with_columns(
        delivered_volume=pl.when(number % 97 != 5).then("delivered_volume")
    ).filter(~is_hole)


@pytest.fixture(scope="module")
def context(bars: pl.DataFrame, make_context: ContextMaker) -> MarketContext:
    """Return indices that lack some sessions of the bars, each its own."""
    whole = make_context(bars, seed=6)
    assert whole.benchmark is not None
    assert whole.vix is not None
    number = pl.int_range(pl.len())
    return MarketContext(
        benchmark=whole.benchmark.filter(number % 37 != 20),
        vix=whole.vix.filter(number % 53 != 21),
    )


@pytest.mark.parametrize(
    ("family", "sql", "n_most_nulls"),
    [
        ("market_context", MARKET_SQL, 640),
        ("market_context", INDEX_SQL, 1_470),
        ("market_context", VIX_SQL, 1_850),
        ("ranks", RANKS_SQL, 360),
        ("levels", LEVELS_SQL, 1_770),
        ("delivery", DELIVERY_SQL, 740),
        ("gaps", GAPS_SQL, 160),
    ],
    ids=["market", "index", "vix", "ranks", "levels", "delivery", "gaps"],
)
def test_sql_agrees(
    family: str, sql: str, n_most_nulls: int, bars: pl.DataFrame, context: MarketContext
) -> None:
    """DuckDB has the same value wherever we have one, and we have one wherever warm-up is over."""
    ours = build_features(bars, FeatureConfig.model_validate({family: True}), context)
    with duckdb.connect() as engine:
        engine.register("bars", bars.to_arrow())  # pyright: ignore[reportUnknownArgumentType]
        for name in ("benchmark", "vix"):
            engine.register(name, getattr(context, name).to_arrow())
        theirs = pl.DataFrame(engine.sql(sql).to_arrow_table())
    keys = [name for name in ("symbol", "session") if name in theirs.columns]
    joined = ours.join(theirs, on=keys, how="left", maintain_order="left", suffix="_sql")

    for name in theirs.columns[len(keys) :]:
        known = joined.filter(pl.col(name).is_not_null())
        np.testing.assert_allclose(known[name], known[f"{name}_sql"], rtol=1e-9, atol=1e-11)
        assert joined[name].null_count() <= n_most_nulls
        assert joined.filter(
            pl.col(name).is_not_null() & pl.col(f"{name}_sql").is_null()
        ).is_empty()
