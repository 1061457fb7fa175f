"""The feature matrix: every chosen feature of every symbol at every session.

Belongs here: applying the registered expressions to bars. Does not belong here: formulas (the
family modules), labels, windows. Features are computed once over a symbol's whole history and
sliced afterwards, so that warm-up costs a window no rows.

A feature at session t uses bars up to and including t. What cannot be computed is null; NaN and
infinity never occur.
"""

import polars as pl

from sensequant.features.inputs import PRICE_COLUMNS, require_adjusted_bars
from sensequant.features.registry import FeatureConfig, computing_stages, model_columns

__all__ = ["build_features"]

_STAGES = computing_stages()
_HISTORY = "_history"


def build_features(bars: pl.DataFrame, config: FeatureConfig) -> pl.DataFrame:
    """Compute the features that models are fed.

    Parameters
    ----------
    bars
        Adjusted bars of any number of symbols, sorted by (symbol, session): symbol, session, open,
        high, low, close in INR, volume in shares, is_unexplained_gap; other columns are ignored.
    config
        Which features.

    Returns
    -------
    polars.DataFrame
        symbol, session, then exactly `model_columns(config)` as Float64, one row per bar in the
        order of `bars`; null during warm-up and where a division by zero would be needed.

    Raises
    ------
    InvalidBarsError
        A column is absent, the order is wrong, or a price or volume is impossible.

    Notes
    -----
    Rows are bars, not calendar days: `return_5` spans the symbol's last five bars even where the
    symbol was not traded in between.

    An unexplained gap (a jump that no known corporate action explains) starts a new history: the
    features warm up again behind it, instead of taking an artefact for a move of the market.
    """
    require_adjusted_bars(bars, (*PRICE_COLUMNS, "volume", "is_unexplained_gap"))
    symbol = pl.col("symbol")
    starts = symbol.ne_missing(symbol.shift()) | pl.col("is_unexplained_gap")
    query = bars.lazy().with_columns(starts.cum_sum().alias(_HISTORY))
    for stage in _STAGES:
        query = query.with_columns(column.over(_HISTORY) for column in stage)
    names = model_columns(config)
    return query.select("symbol", "session", *(_finite(name) for name in names)).collect()


def _finite(name: str) -> pl.Expr:
    value = pl.col(name).cast(pl.Float64)
    return pl.when(value.is_finite()).then(value).alias(name)
