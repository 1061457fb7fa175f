"""What was known at a decision, and what was not.

Belongs here: the join of decisions with rows of context. Does not belong here: what the rows mean.

At a decision the latest row counts that was known by then: the one that happened last, and of its
versions the one that was known last. A row that happened earlier and arrived later never replaces
it. A row older than the stated age counts as missing, and nothing stands in for it.
"""

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from sensequant.errors import ConfigError

__all__ = ["join_known", "latest_versions"]


def join_known(
    decisions: pl.DataFrame,
    rows: pl.DataFrame,
    *,
    columns: Sequence[str],
    max_age: timedelta,
    decided_at: str = "decided_at",
) -> pl.DataFrame:
    """Give every decision what was known of its symbol.

    Parameters
    ----------
    decisions
        One row per decision: symbol and `decided_at`, an instant in UTC; other columns stay.
    rows
        Rows of one kind of context (`rows.ROW_SCHEMA` and the columns), in any order.
    columns
        Which columns to take.
    max_age
        Longest time between `at` and the decision after which the row still counts; above 0.
    decided_at
        Name of the column of decisions.

    Returns
    -------
    polars.DataFrame
        The decisions in their order, with the columns; null where nothing fresh was known.

    Raises
    ------
    ConfigError
        `max_age` is not above 0.
    """
    if max_age <= timedelta(0):
        raise ConfigError(
            "age after which a value is stale must be above 0",
            where="max_age",
            expected="a length of time above 0",
            found=str(max_age),
        )
    news = _news(rows).select("symbol", "known_at", "at", *columns)
    position = "_position"
    joined = (
        decisions.with_row_index(position)
        .sort(decided_at)
        .join_asof(
            news.sort("known_at"),
            left_on=decided_at,
            right_on="known_at",
            by="symbol",
            strategy="backward",
            check_sortedness=False,
        )
        .sort(position)
    )
    is_fresh = (pl.col(decided_at) - pl.col("at")) <= max_age
    return joined.select(
        *decisions.columns, *(pl.when(is_fresh).then(pl.col(name)).alias(name) for name in columns)
    )


def latest_versions(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return of rows with one key the version that was known last, sorted by the key."""
    # Sorted by all columns of the contract, so that the order of delivery decides nothing.
    return rows.sort(*key, "known_at", "source").unique(
        subset=list(key), keep="last", maintain_order=True
    )


def _news(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that, when they became known, were the latest of their symbol."""
    ordered = rows.sort("symbol", "known_at", "at", "source")
    latest = pl.col("at").cum_max().over("symbol")
    # Of rows that became known together the last one counts.
    return ordered.filter(pl.col("at") == latest).unique(
        subset=["symbol", "known_at"], keep="last", maintain_order=True
    )
