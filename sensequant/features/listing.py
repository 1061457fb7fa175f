"""Listing: how long a symbol has been traded.

Belongs here: the age of a listing in sessions. Does not belong here: finding listings
(`market.listings`), and windows that begin before one (`windows`).
"""

from bisect import bisect_left

import polars as pl

from sensequant.features.context import MarketContext
from sensequant.features.spec import Family, Feature, FeatureSpec, Table
from sensequant.market.sessions import nse_calendar

__all__ = ["LISTING_FEATURES", "LISTING_TABLE"]

_NAME = "post_listing_sessions"

LISTING_FEATURES: tuple[Feature, ...] = (
    Feature(
        FeatureSpec(
            name=_NAME,
            family=Family.LISTING,
            warmup_bars=0,
            unit="sessions",
            formula="sessions of the calendar since the listing, 0 on its day; null where the "
            "listing is not known or lies before the stored bars",
            source="table of listings (docs/data.md)",
        ),
        None,
    ),
)


def _ages(rows: pl.DataFrame, context: MarketContext) -> pl.DataFrame:
    sessions = nse_calendar().table["session"].to_list()
    known = {
        symbol: bisect_left(sessions, day)
        for symbol, day in context.listings.items()
        if day >= sessions[0]
    }
    firsts = pl.DataFrame(
        {"symbol": list(known), "listed_number": list(known.values())},
        schema={"symbol": pl.String, "listed_number": pl.Int32},
    )
    age = pl.col("session_number") - pl.col("listed_number")
    return (
        rows.select("symbol", "session")
        .join(nse_calendar().numbers(), on="session", how="left", maintain_order="left")
        .join(firsts, on="symbol", how="left", maintain_order="left")
        # A bar before the listing contradicts it, and has no age.
        .select(pl.when(age >= 0).then(age).alias(_NAME))
    )


LISTING_TABLE = Table((_NAME,), _ages)
