"""Ranks: where a symbol stands among all symbols of the run on the same session.

Belongs here: percentile ranks across symbols, and breadth. Does not belong here: what is ranked
(the other families).

A rank depends on which symbols a run holds: it compares them, not the market. On a session on which
fewer than five symbols have a value, none has a rank.

Source: Jegadeesh and Titman, *Returns to Buying Winners and Selling Losers* (1993), for ranking
symbols by past returns; George and Hwang, *The 52-Week High and Momentum Investing* (2004), for the
distance to the 52-week high.
"""

import polars as pl

from sensequant.features.expressions import CLOSE, ratio
from sensequant.features.spec import Family, Feature, FeatureSpec

__all__ = ["MIN_SYMBOLS", "RANK_FEATURES"]

MIN_SYMBOLS = 5
"""Symbols with a value, below which a rank says nothing."""

_SESSION = ("session",)
_WINNERS = "Jegadeesh and Titman (1993)"
_HIGHS = "George and Hwang (2004)"
_DEFINITION = "definition"


def _rank(column: str, *, warmup_bars: int, source: str) -> Feature:
    value = pl.col(column)
    finite = pl.when(value.is_finite()).then(value)
    n_symbols = finite.count()
    share = (finite.rank("average") - 1) / (n_symbols - 1)
    spec = FeatureSpec(
        name=f"rank_{column}",
        family=Family.RANKS,
        warmup_bars=warmup_bars,
        unit="0 to 1",
        formula=f"(rank of {column} among the symbols of the session - 1) / (symbols - 1), ties "
        "share their mean",
        source=source,
    )
    return Feature(spec, pl.when(n_symbols >= MIN_SYMBOLS).then(share), keys=_SESSION)


def _breadth() -> Feature:
    average = pl.col("sma_50")
    n_symbols = average.count()
    spec = FeatureSpec(
        name="share_above_sma_50",
        family=Family.RANKS,
        warmup_bars=49,
        unit="0 to 1",
        formula="symbols of the session with close above sma_50 / symbols with sma_50",
        source=_DEFINITION,
    )
    share = ratio((average < CLOSE).sum(), n_symbols)
    # A symbol that is still warming up itself has a value: breadth is about the others.
    return Feature(spec, pl.when(n_symbols >= MIN_SYMBOLS).then(share), keys=_SESSION)


RANK_FEATURES: tuple[Feature, ...] = (
    _rank("return_5", warmup_bars=5, source=_WINNERS),
    _rank("return_20", warmup_bars=20, source=_WINNERS),
    _rank("realised_volatility_20", warmup_bars=20, source=_DEFINITION),
    _rank("volume_ratio_20", warmup_bars=19, source=_DEFINITION),
    _rank("high_252_to_close", warmup_bars=251, source=_HIGHS),
    _breadth(),
)
