"""From ticks as they came to rows of depth.

Belongs here: the instant of a tick, and what of the ticks is refused. Does not belong here: the
rules about a book (`context.depth_rules`), files (`parts`, `compaction`).

The vendor stamps whole seconds and may send several books within one. A book happened at the
instant at which it came, if that lies within its second, and otherwise at the end of its second;
books of one symbol that would share an instant follow each other by a microsecond, in the order in
which they came. It was known when it came. So a tick that comes late stands at its own second, and
is known no earlier than it came.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl

from sensequant.context.depth import DEPTH, SIDES
from sensequant.context.depth_rules import judge_books
from sensequant.context.store import REFUSED_SCHEMA
from sensequant.market.sessions import SessionCalendar

__all__ = ["UNREADABLE_TICK", "WRONG_TOKEN", "Judged", "books_of", "refused_ticks"]

WRONG_TOKEN = "wrong_token"  # noqa: S105 - a reason
"""A tick of a room to which nobody subscribed."""

UNREADABLE_TICK = "unreadable_tick"
"""A tick that the vendor's SDK could not take apart."""

_LAST_OF_SECOND = timedelta(microseconds=999_999)
_MICROSECOND = timedelta(microseconds=1)


class Judged(NamedTuple):
    """What came of ticks.

    Attributes
    ----------
    rows
        Rows of `depth.DEPTH`.
    refused
        The others (`store.REFUSED_SCHEMA`); of ticks that are refused alike there is one row for
        each minute, which says how many they were.
    n_refused
        Refused ticks by reason.
    """

    rows: pl.DataFrame
    refused: pl.DataFrame
    n_refused: Counter[str]


def books_of(
    ticks: pl.DataFrame,
    *,
    calendar: SessionCalendar,
    source: str,
    is_simulated: bool,
    judged_at: datetime,
) -> Judged:
    """Judge the ticks of one symbol.

    Parameters
    ----------
    ticks
        `parts.TICK_SCHEMA`, in the order in which they came; of one symbol.
    calendar
        The NSE calendar, whose hours a book must lie in.
    source
        Who sent them.
    is_simulated
        Whether the books are invented.
    judged_at
        Aware time of the judgement.
    """
    # Stable, so that ticks of one instant stay in the order in which they came.
    stamped = ticks.with_columns(at=_instant()).sort("at", maintain_order=True)
    place = pl.int_range(pl.len()) * _MICROSECOND
    apart = stamped.with_columns(at=(pl.col("at") - place).cum_max() + place)
    judged = judge_books(apart.with_row_index("_row"), calendar)
    rows = judged.filter(pl.col("reason").is_null()).select(
        "symbol",
        "at",
        known_at=pl.max_horizontal("received", "at"),
        source=pl.lit(source),
        is_simulated=pl.lit(is_simulated),
        **{side: pl.col(side) for side in SIDES},
    )
    refused = judged.filter(pl.col("reason").is_not_null())
    return Judged(
        rows.cast(DEPTH.schema), _by_minute(refused, source, judged_at), _counted(refused)
    )


def refused_ticks(ticks: pl.DataFrame, *, source: str, judged_at: datetime) -> Judged:
    """Refuse ticks that belong to no symbol.

    Parameters
    ----------
    ticks
        `parts.TICK_SCHEMA`, without a symbol.
    source, judged_at
        As `books_of` takes them.
    """
    is_unread = pl.col("room").is_null()
    named = ticks.with_columns(
        reason=pl.when(is_unread).then(pl.lit(UNREADABLE_TICK)).otherwise(pl.lit(WRONG_TOKEN)),
        detail=pl.col("room").fill_null("nothing that could be read"),
    )
    return Judged(DEPTH.schema.to_frame(), _by_minute(named, source, judged_at), _counted(named))


def _counted(refused: pl.DataFrame) -> Counter[str]:
    return Counter(dict(refused["reason"].value_counts().iter_rows()))


def _instant() -> pl.Expr:
    stamp = pl.col("stamp")
    return pl.col("received").clip(stamp, stamp + _LAST_OF_SECOND)


def _by_minute(refused: pl.DataFrame, source: str, judged_at: datetime) -> pl.DataFrame:
    minutes = refused.sort("received", maintain_order=True).group_by(
        "symbol",
        "reason",
        pl.col("received").dt.truncate("1m").alias("_minute"),
        maintain_order=True,
    )
    first = minutes.agg(
        stamp=pl.col("received").first().dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
        detail=pl.format("{}; {} ticks in this minute", pl.col("detail").first(), pl.len()),
    )
    return first.select(
        "symbol",
        "stamp",
        "reason",
        "detail",
        source=pl.lit(source),
        file=pl.lit(""),
        refused_at=pl.lit(judged_at, REFUSED_SCHEMA["refused_at"]),
    ).cast(REFUSED_SCHEMA)
