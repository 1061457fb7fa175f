"""From headlines to one row per symbol and session.

Belongs here: which headlines count for a session, and what they say together. Does not belong
here: scores (`scoring`), novelty of one headline (`headlines`), what is fed (`features.sentiment`).

A headline counts for the first session whose decision falls when it was known or later, if that is
no more than `MAX_WAIT` away. A session without one has no row.
"""

from datetime import timedelta

import polars as pl

from sensequant.context.headlines import novelties
from sensequant.context.rows import INSTANT
from sensequant.context.scoring import score_headlines

__all__ = ["MAX_WAIT", "SENTIMENT_SESSION_SCHEMA", "sentiment_by_session"]

MAX_WAIT = timedelta(days=7)
"""A headline that no session followed within this time says nothing any more."""

SENTIMENT_SESSION_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.Date(),
        "known_at": INSTANT,
        "n_headlines": pl.Float64(),
        "mean": pl.Float64(),
        "dispersion": pl.Float64(),
        "novelty": pl.Float64(),
    }
)
"""One row per symbol and session with a headline; `known_at` is its close. `dispersion` is null for
one headline alone, `novelty` where there was none before."""


def sentiment_by_session(headlines: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """Return what the headlines said that were known at the close of each session.

    Parameters
    ----------
    headlines
        Rows of `headlines.HEADLINES`, in any order.
    decisions
        Hours of the sessions (`hours.DECISION_SCHEMA`).

    Returns
    -------
    polars.DataFrame
        `SENTIMENT_SESSION_SCHEMA`, by symbol and session.
    """
    # What was said at one moment stands in the order of its words, whatever order it came in.
    ordered = headlines.sort("symbol", "known_at", "at", "headline")
    parts = [_judged(part) for part in ordered.partition_by("symbol", maintain_order=True)]
    scored = pl.concat([_JUDGED.to_frame(), *parts])
    counted = scored.sort("known_at", maintain_order=True).join_asof(
        decisions.select("session", "decided_at").sort("decided_at"),
        left_on="known_at",
        right_on="decided_at",
        strategy="forward",
        tolerance=MAX_WAIT,
    )
    by_session = counted.drop_nulls("session").group_by(
        "symbol", "session", "decided_at", maintain_order=True
    )
    return (
        by_session.agg(
            n_headlines=pl.len().cast(pl.Float64),
            mean=pl.col("score").mean(),
            dispersion=pl.col("score").std(),
            novelty=pl.col("novelty").mean(),
        )
        .rename({"decided_at": "known_at"})
        .sort("symbol", "session")
        .cast(SENTIMENT_SESSION_SCHEMA)
    )


_JUDGED = pl.Schema(
    {"symbol": pl.String(), "known_at": INSTANT, "score": pl.Float64(), "novelty": pl.Float64()}
)


def _judged(part: pl.DataFrame) -> pl.DataFrame:
    texts: list[str] = part["headline"].to_list()
    return part.select(
        "symbol",
        "known_at",
        score=pl.Series(score_headlines(texts), dtype=pl.Float64),
        novelty=pl.Series(novelties(texts), dtype=pl.Float64),
    )
