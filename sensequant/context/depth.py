"""The order book at one moment, and what it says of itself.

Belongs here: the rows of depth and the measures of single snapshots. Does not belong here: reading
files (`depth_files`), sessions (`depth_sessions`), features (`features.depth`).

A side of the book is a list from the best price outwards, of as many levels as had orders: prices
in INR, quantities in shares. Measures of several levels look at the first `N_LEVELS`, or at those
that are there.

Sources: Cont, Kukanov and Stoikov, *The Price Impact of Order Book Events* (2014), for order flow
imbalance; Gatheral and Oomen, *Zero-Intelligence Realized Variance Estimation* (2010), for the
microprice.
"""

import operator
from collections.abc import Mapping
from datetime import timedelta
from functools import reduce

import polars as pl

from sensequant.context.hours import session_of
from sensequant.context.rows import ContextKind
from sensequant.features.expressions import ratio

__all__ = ["DEPTH", "MAX_AGE", "MEASURES", "N_LEVELS", "SIDES", "with_measures"]

_LEVELS = pl.List(pl.Float64())

SIDES = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
"""The lists of a snapshot."""

DEPTH = ContextKind("depth", values=dict.fromkeys(SIDES, _LEVELS), parts="session")
"""Snapshots of the order book."""

N_LEVELS = 5
"""Levels that a measure of several levels looks at: as many as NSE broadcasts to everyone."""

MAX_AGE = timedelta(minutes=5)
"""After this time without another snapshot nobody knows the book any more."""


def _at_level(side: str, level: int) -> pl.Expr:
    return pl.col(side).list.get(level - 1, null_on_oob=True)


_BID, _ASK = _at_level("bid_price", 1), _at_level("ask_price", 1)
_BID_QUANTITY, _ASK_QUANTITY = _at_level("bid_quantity", 1), _at_level("ask_quantity", 1)
_MID = (_BID + _ASK) / 2


def _imbalance(bid: pl.Expr, ask: pl.Expr) -> pl.Expr:
    return ratio(bid - ask, bid + ask)


def _total(side: str) -> pl.Expr:
    return _sum([_at_level(side, level) for level in range(1, N_LEVELS + 1)])


def _weighted_price(side: str) -> pl.Expr:
    values = [
        _at_level(f"{side}_price", level) * _at_level(f"{side}_quantity", level)
        for level in range(1, N_LEVELS + 1)
    ]
    return ratio(_sum(values), _total(f"{side}_quantity"))


def _sum(values: list[pl.Expr]) -> pl.Expr:
    # One after the other, so that the last digit depends on no machine.
    return reduce(operator.add, [value.fill_null(0.0) for value in values])


def _order_flow() -> pl.Expr:
    """Return what the last step added to the best bid and took from the best ask, in shares."""
    bid, ask, bid_size, ask_size = (_before(each) for each in _BEST)
    gained = pl.when(bid <= _BID).then(_BID_QUANTITY).otherwise(0.0)
    gained -= pl.when(bid >= _BID).then(bid_size).otherwise(0.0)
    offered = pl.when(ask >= _ASK).then(_ASK_QUANTITY).otherwise(0.0)
    offered -= pl.when(ask <= _ASK).then(ask_size).otherwise(0.0)
    # Across a silence nobody knows what happened in between.
    is_step = (pl.col("at") - _before(pl.col("at"))) <= MAX_AGE
    return pl.when(is_step).then(gained - offered)


_BEST = (_BID, _ASK, _BID_QUANTITY, _ASK_QUANTITY)


def _before(value: pl.Expr) -> pl.Expr:
    return value.shift().over("symbol", "session")


MEASURES: Mapping[str, pl.Expr] = {
    "mid": _MID,
    "spread": _ASK - _BID,
    "spread_frac": ratio(_ASK - _BID, _MID),
    "microprice": ratio(_ASK * _BID_QUANTITY + _BID * _ASK_QUANTITY, _BID_QUANTITY + _ASK_QUANTITY),
    **{
        f"imbalance_{level}": _imbalance(
            _at_level("bid_quantity", level), _at_level("ask_quantity", level)
        )
        for level in range(1, N_LEVELS + 1)
    },
    "imbalance": _imbalance(_total("bid_quantity"), _total("ask_quantity")),
    "bid_depth_price": _weighted_price("bid"),
    "ask_depth_price": _weighted_price("ask"),
    "best_quantity": (_BID_QUANTITY + _ASK_QUANTITY) / 2,
    "order_flow": _order_flow(),
}
"""What a snapshot says. mid, spread, microprice and prices weighted by their quantity over the
levels: INR. spread_frac: spread / mid. imbalance_k: (bid - ask) / (bid + ask) quantity of level k,
imbalance: of all levels together; -1 to 1. best_quantity: mean of the two best quantities, shares.
order_flow: shares since the snapshot before, null for the first of a session."""


def with_measures(snapshots: pl.DataFrame) -> pl.DataFrame:
    """Add the session and `MEASURES` to snapshots that are sorted by symbol and time.

    Parameters
    ----------
    snapshots
        Rows of `DEPTH`, one version of each moment.

    Returns
    -------
    polars.DataFrame
        The rows with session, then the measures as Float64; null where a level is not there.
    """
    return snapshots.with_columns(session=session_of("at")).with_columns(**MEASURES)
