"""Round trips: what each position earned, from nothing held to nothing held again.

Belongs here: putting the fills of a portfolio together to round trips. Does not belong here: fills
(`evaluation.portfolio`), returns of the whole portfolio (`evaluation.figures`).

A position that is larger or smaller for a while is one round trip, and so is one that turns from
long to short. What is still held at the end is none yet.
"""

import polars as pl

__all__ = ["ROUND_TRIP_SCHEMA", "round_trips_of"]

ROUND_TRIP_SCHEMA = pl.Schema(
    {"symbol": pl.String, "opened": pl.Date, "closed": pl.Date, "reason": pl.String}
    | dict.fromkeys(("bought_inr", "sold_inr", "cost_inr", "net_gain_inr"), pl.Float64)
    | {"net_gain_frac": pl.Float64}
)
"""`reason` is that of the last fill; the gain, after all costs, over the value of all fills that
opened the position or made it larger: for a long one, of what was bought."""


def round_trips_of(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the round trips among fills, by the session in which they ended, and by symbol.

    Parameters
    ----------
    trades
        `portfolio.TRADES_SCHEMA`, in the order of the fills.

    Returns
    -------
    polars.DataFrame
        `ROUND_TRIP_SCHEMA`.
    """
    side_inr = {
        f"{name}_inr": pl.col("value_inr").filter(pl.col("side") == side).sum()
        for name, side in (("bought", "buy"), ("sold", "sell"))
    }
    trip = pl.col("is_flat").cast(pl.Int64).cum_sum().over("symbol") - pl.col("is_flat")
    is_long = pl.col("first_side") == "buy"
    return (
        trades.with_columns(trip=trip)
        .group_by("symbol", "trip", maintain_order=True)
        .agg(
            opened=pl.col("session").first(),
            closed=pl.col("session").last(),
            reason=pl.col("reason").last(),
            first_side=pl.col("side").first(),
            is_over=pl.col("is_flat").last(),
            cost_inr=pl.col("cost_inr").sum(),
            **side_inr,
        )
        .filter("is_over")
        .with_columns(net_gain_inr=pl.col("sold_inr") - pl.col("bought_inr") - pl.col("cost_inr"))
        .with_columns(
            net_gain_frac=pl.col("net_gain_inr")
            / pl.when(is_long).then(pl.col("bought_inr")).otherwise(pl.col("sold_inr"))
        )
        .sort("closed", "symbol", maintain_order=True)
        .select(ROUND_TRIP_SCHEMA.names())
        .cast(ROUND_TRIP_SCHEMA)  # pyright: ignore[reportArgumentType]
    )
