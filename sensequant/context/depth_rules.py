"""When a snapshot of an order book cannot be used, and why.

Belongs here: the rules, whatever the snapshots came by. Does not belong here: files
(`depth_files`), the socket (`sensequant.capture`), what a book says (`depth`).

A snapshot is refused, with the first reason that holds, rather than mended. A feed that repeats one
book for longer than `depth.MAX_AGE` is frozen: what follows is refused until the book changes.
"""

from enum import StrEnum

import polars as pl

from sensequant.context.depth import MAX_AGE, SIDES
from sensequant.context.hours import decisions_of, session_of
from sensequant.market.sessions import SessionCalendar

__all__ = ["DepthRefusal", "judge_books"]


class DepthRefusal(StrEnum):
    """Why a snapshot cannot be used."""

    UNREADABLE_TIME = "unreadable_time"
    OUTSIDE_HOURS = "outside_hours"
    UNREADABLE_NUMBER = "unreadable_number"
    IMPOSSIBLE_NUMBER = "impossible_number"
    EMPTY_BOOK = "empty_book"
    ONE_SIDED_BOOK = "one_sided_book"
    ZERO_QUANTITY = "zero_quantity"
    UNORDERED_LEVELS = "unordered_levels"
    CROSSED_BOOK = "crossed_book"
    DUPLICATE = "duplicate"
    CONTRADICTION = "contradiction"
    FROZEN_FEED = "frozen_feed"


def judge_books(snapshots: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    """Add to every snapshot of one symbol the reason why it is refused, and what was wrong.

    Parameters
    ----------
    snapshots
        `_row`, a number of its own; `at`, an instant in UTC; the lists of `depth.SIDES`, with 0
        where a level has no orders and null where a number could not be read; others stay.
    calendar
        The NSE calendar, whose hours a snapshot must lie in.

    Returns
    -------
    polars.DataFrame
        The snapshots in their order with `reason`, null for those that can be used, and `detail`.
        Levels without orders are left out of the lists of those that can be used.
    """
    hours = snapshots.with_columns(session=session_of("at")).join(
        decisions_of(calendar), on="session", how="left", maintain_order="left"
    )
    alone = hours.with_columns(reason=_own_reason()).with_columns(
        pl.when(pl.col("reason").is_null()).then(_there(side)).otherwise(pl.col(side)).alias(side)
        for side in SIDES
    )
    return _compared(alone).with_columns(detail=_detail())


def _own_reason() -> pl.Expr:
    """Return the first reason that a snapshot gives by itself."""
    at = pl.col("at")
    # A session whose hours are not known has none within which a snapshot could lie.
    in_hours = at.is_between("opens_at", "decided_at", closed="left").fill_null(value=False)
    sides = [pl.col(side) for side in SIDES]
    has_hole = [side.list.eval(pl.element().is_null()).list.any() for side in sides]
    is_impossible = [
        side.list.eval((pl.element() < 0) | ~pl.element().is_finite()).list.any() for side in sides
    ]
    n_levels = {side: _n_there(side) for side in SIDES}
    n_bids, n_asks = n_levels["bid_price"], n_levels["ask_price"]
    is_uneven = (n_bids != n_levels["bid_quantity"]) | (n_asks != n_levels["ask_quantity"])
    best_bid, best_ask = (pl.col(f"{side}_price").list.first() for side in ("bid", "ask"))
    reasons = [
        (at.is_null(), DepthRefusal.UNREADABLE_TIME),
        (~in_hours, DepthRefusal.OUTSIDE_HOURS),
        (pl.any_horizontal(has_hole), DepthRefusal.UNREADABLE_NUMBER),
        (pl.any_horizontal(is_impossible), DepthRefusal.IMPOSSIBLE_NUMBER),
        ((n_bids == 0) & (n_asks == 0), DepthRefusal.EMPTY_BOOK),
        ((n_bids == 0) | (n_asks == 0), DepthRefusal.ONE_SIDED_BOOK),
        (is_uneven | _has_gap(), DepthRefusal.ZERO_QUANTITY),
        (_is_unordered(), DepthRefusal.UNORDERED_LEVELS),
        (best_bid >= best_ask, DepthRefusal.CROSSED_BOOK),
    ]
    return pl.coalesce(pl.when(is_so).then(pl.lit(reason.value)) for is_so, reason in reasons)


def _n_there(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element() > 0).list.sum()


def _there(side: str) -> pl.Expr:
    return pl.col(side).list.head(_n_there(side))


def _has_gap() -> pl.Expr:
    """Return whether a level without orders lies before one that has some, on any list."""
    return pl.any_horizontal(_there(side).list.eval(pl.element() <= 0).list.any() for side in SIDES)


def _is_unordered() -> pl.Expr:
    """Return whether prices do not fall from bid to bid, or not rise from ask to ask."""
    bids = _there("bid_price").list.eval(pl.element().diff() >= 0).list.any()
    asks = _there("ask_price").list.eval(pl.element().diff() <= 0).list.any()
    return bids | asks


def _compared(alone: pl.DataFrame) -> pl.DataFrame:
    """Judge, among the snapshots that are usable by themselves, those that others refute."""
    usable = alone.filter(pl.col("reason").is_null())
    book = pl.struct(SIDES)
    n_books = book.n_unique().over("at")
    is_repeated = pl.int_range(pl.len()).over("at") > 0
    first = usable.select(
        "_row",
        _twin=pl.when(n_books > 1)
        .then(pl.lit(DepthRefusal.CONTRADICTION.value))
        .when(is_repeated)
        .then(pl.lit(DepthRefusal.DUPLICATE.value)),
    )
    left = usable.join(first.filter(pl.col("_twin").is_null()), on="_row").sort("at")
    is_change = pl.any_horizontal(
        pl.col(side).ne_missing(pl.col(side).shift()) for side in SIDES
    ) | (pl.col("session") != pl.col("session").shift())
    since = pl.when(is_change.fill_null(value=True)).then(pl.col("at")).forward_fill()
    frozen = left.with_columns(_since=since).select(
        "_row",
        _frozen=pl.when(pl.col("at") - pl.col("_since") > MAX_AGE).then(
            pl.lit(DepthRefusal.FROZEN_FEED.value)
        ),
    )
    return (
        alone.join(first, on="_row", how="left", maintain_order="left")
        .join(frozen, on="_row", how="left", maintain_order="left")
        .with_columns(reason=pl.coalesce("reason", "_twin", "_frozen"))
    )


def _detail() -> pl.Expr:
    """Return the best prices and quantities as words, for whoever looks at a refused row."""
    firsts = [pl.col(side).list.first().cast(pl.String).fill_null("none") for side in SIDES]
    return pl.format("bid {} x {}, ask {} x {}", *firsts)
