"""Features that another module has computed for each symbol and session.

Belongs here: bringing such a table to the rows of the bars. Does not belong here: the formulas
(`sensequant.context`), and the features themselves (`depth`).

A row takes what is known of its own symbol, or of one that stands for the market, and its own
session. A session of which nothing is known has no value; nothing is carried forward.
"""

from collections.abc import Callable, Mapping

import polars as pl

from sensequant.features.context import MarketContext
from sensequant.features.spec import Table

__all__ = ["session_table"]


def session_table(
    columns: Mapping[str, str],
    of: Callable[[MarketContext], pl.DataFrame | None],
    *,
    market: str | None = None,
) -> Table:
    """Return a table of features that stand in a frame of the context.

    Parameters
    ----------
    columns
        Name of the feature to the column of the frame.
    of
        From the context to the frame, with symbol, session and the columns.
    market
        Symbol whose sessions every row takes; None: those of its own.
    """
    on = ["symbol", "session"] if market is None else ["session"]

    def compute(rows: pl.DataFrame, context: MarketContext) -> pl.DataFrame:
        keys = rows.select(on)
        frame = of(context)
        if frame is None:
            return keys.select(pl.lit(None, pl.Float64).alias(name) for name in columns)
        known = frame if market is None else frame.filter(symbol=market)
        named = known.select(*on, **{k: pl.col(v) for k, v in columns.items()})
        joined = keys.join(named, on=on, how="left", maintain_order="left")
        return joined.select(*columns)

    return Table(tuple(columns), compute)
