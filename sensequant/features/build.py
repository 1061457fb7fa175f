"""The feature matrix: every chosen feature of every symbol at every session.

Belongs here: applying the registered expressions to bars. Does not belong here: formulas (the
family modules), labels, windows. Features are computed once over a symbol's whole history and
sliced afterwards, so that warm-up costs a window no rows.

A feature at session t uses bars up to and including t. What cannot be computed is null; NaN and
infinity never occur.
"""

from collections.abc import Iterator

import polars as pl

from sensequant.errors import ConfigError
from sensequant.features.context import NO_CONTEXT, MarketContext
from sensequant.features.inputs import PRICE_COLUMNS, require_adjusted_bars
from sensequant.features.ranks import MIN_SYMBOLS
from sensequant.features.registry import FeatureConfig, fed_families, model_columns, plan_for
from sensequant.features.spec import HISTORY, Family

__all__ = ["build_features"]

_READ_COLUMNS = (*PRICE_COLUMNS, "volume", "is_unexplained_gap")


def build_features(
    bars: pl.DataFrame, config: FeatureConfig, context: MarketContext = NO_CONTEXT
) -> pl.DataFrame:
    """Compute the features that models are fed.

    Parameters
    ----------
    bars
        Adjusted bars of any number of symbols, sorted by (symbol, session): symbol, session, open,
        high, low, close in INR, volume in shares, is_unexplained_gap, and for the family delivery
        delivered_volume in shares, null where none is known; other columns are ignored. The family
        ranks compares the symbols of this frame, so all symbols of a run belong into it.
    config
        Which features.
    context
        What is known beside the bars: index, volatility index, listings, depth, headlines, options,
        macro series.

    Returns
    -------
    polars.DataFrame
        symbol, session, then exactly `model_columns(config)` as Float64, one row per bar in the
        order of `bars`; null during warm-up and where a division by zero would be needed.

    Raises
    ------
    ConfigError
        A family is on whose data are wholly absent.
    InvalidBarsError
        A column is absent, the order is wrong, or a price or volume is impossible.

    Notes
    -----
    Rows are bars, not calendar days: `return_5` spans the symbol's last five bars even where the
    symbol was not traded in between.

    An unexplained gap (a jump that no known corporate action explains) starts a new history: the
    features warm up again behind it, instead of taking an artefact for a move of the market.
    """
    families = fed_families(config)
    require_adjusted_bars(bars, _READ_COLUMNS)
    _require_data(bars, families, context)
    delivery = ("delivered_volume",) if Family.DELIVERY in families else ()
    require_adjusted_bars(bars, delivery)
    symbol = pl.col("symbol")
    starts = symbol.ne_missing(symbol.shift()) | pl.col("is_unexplained_gap")
    rows = bars.select(
        "symbol", "session", *PRICE_COLUMNS, "volume", *delivery, starts.cum_sum().alias(HISTORY)
    )
    names = model_columns(config)
    plan = plan_for(names)
    given = [table.compute(rows, context) for table in plan.tables]
    query = pl.concat([rows, *given], how="horizontal").lazy()
    for stage in plan.stages:
        query = query.with_columns(stage)
    return query.select("symbol", "session", *(_finite(name) for name in names)).collect()


def _finite(name: str) -> pl.Expr:
    value = pl.col(name).cast(pl.Float64)
    return pl.when(value.is_finite()).then(value).alias(name)


def _require_data(bars: pl.DataFrame, families: frozenset[Family], context: MarketContext) -> None:
    if bars.is_empty():
        return
    for family, missing, remedy in _absent_data(bars, context):
        if family in families:
            raise ConfigError(
                "a family of features has no data",
                where=f"features.{family}",
                expected=f"data of the family {family}",
                found=missing,
                remedy=f"{remedy}, or switch features.{family} off",
            )


def _absent_data(bars: pl.DataFrame, context: MarketContext) -> Iterator[tuple[Family, str, str]]:
    for family, table, command in (
        (Family.DEPTH, context.depth, "depth import"),
        (Family.SENTIMENT, context.sentiment, "sentiment import"),
        (Family.OPTIONS, context.options, "options snapshot"),
        (Family.MACRO, context.macro, "macro import"),
    ):
        if table is None or table.is_empty():
            remedy = f"bring some (sensequant {command}) before the run is started"
            yield family, f"no session with {family}", remedy
    indices = {"NIFTY 50": context.benchmark, "India VIX": context.vix}
    absent = [name for name, frame in indices.items() if frame is None or frame.is_empty()]
    if absent:
        missing = f"no bars of {' and '.join(absent)}"
        yield Family.MARKET_CONTEXT, missing, "give the folder of the indices"
        yield Family.REGIMES, missing, "give the folder of the indices"
    if "delivered_volume" not in bars.columns or bars["delivered_volume"].count() == 0:
        missing = "no bar with a delivered volume"
        yield Family.DELIVERY, missing, "use bars of NSE's full bhavcopy"
    n_symbols = bars["symbol"].n_unique()
    if n_symbols < MIN_SYMBOLS:
        remedy = f"give at least {MIN_SYMBOLS} symbols"
        yield Family.RANKS, f"bars of {n_symbols} symbols", remedy
