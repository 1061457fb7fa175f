"""From macro series to one row per series and session.

Belongs here: which value of a series counts for a session. Does not belong here: returns and
scores of it (`features.macro`).

The value counts that happened last of those known at the close of the session, if it is not older
than the age that the table of series states. A session without such a value has no row.
"""

from datetime import timedelta

import polars as pl

from sensequant.context.asof import join_known
from sensequant.context.macro import known_series
from sensequant.context.rows import INSTANT

__all__ = ["MACRO_SESSION_SCHEMA", "macro_by_session"]

MACRO_SESSION_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.Date(),
        "known_at": INSTANT,
        "value": pl.Float64(),
    }
)
"""One row per series and session with a value; `symbol` is the series, `known_at` the close."""


def macro_by_session(rows: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """Return what was known of each series at the close of each session.

    Parameters
    ----------
    rows
        Rows of `macro.MACRO`, in any order.
    decisions
        Hours of the sessions (`hours.DECISION_SCHEMA`).

    Returns
    -------
    polars.DataFrame
        `MACRO_SESSION_SCHEMA`, by series and session.
    """
    parts = [_of_one(part, decisions) for part in rows.partition_by("symbol")]
    found = pl.concat([MACRO_SESSION_SCHEMA.to_frame(), *parts])
    return found.sort("symbol", "session")


def _of_one(rows: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    series = known_series()[str(rows["symbol"][0])]
    asked = decisions.select("session", "decided_at", symbol=pl.lit(series.series))
    known = join_known(asked, rows, columns=["value"], max_age=timedelta(days=series.max_age_days))
    return (
        known.drop_nulls("value")
        .rename({"decided_at": "known_at"})
        .select(MACRO_SESSION_SCHEMA.names())
    )
