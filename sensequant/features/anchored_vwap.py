"""The volume-weighted price since an anchor, and how widely prices spread around it.

Belongs here: sums that begin at an anchor, as helper columns. Does not belong here: which bars are
anchors, and the features (`levels`).

An anchor becomes known some bars after its own bar; from then on the sums run from the anchor's
bar, this bar included, until a later anchor becomes known. Each sum is made of its own bars alone.

Source: Shannon, *Maximum Trading Gains with Anchored VWAP* (2023).
"""

import operator
from functools import reduce

import polars as pl

from sensequant.features.expressions import VOLUME, previous, ratio
from sensequant.features.spec import HISTORY, Column

__all__ = ["anchor_helpers", "segment_of", "since"]

_TYPICAL = pl.col("_typical_price")
_DUST_OF_SQUARE = 1e-12
_DUST = 1e-20
"""A variance below this share of the mean square, or of the squared price, is what rounding left
of 0: prices have at most some eight digits, their offsets are right to about sixteen."""


def segment_of(anchor: str) -> tuple[str, ...]:
    """Return the keys of the rows that belong to one anchor."""
    return (HISTORY, f"_{anchor}_number")


def since(anchor: str, value: pl.Expr) -> pl.Expr:
    """Return the value where an anchor is known, else null."""
    return pl.when(pl.col(f"_{anchor}_number") > 0).then(value)


def anchor_helpers(anchor: str, starts: pl.Expr, *, n_back: int) -> dict[str, Column]:
    """Return the helper columns of an anchor.

    Parameters
    ----------
    anchor
        Name of the anchor.
    starts
        Whether an anchor has just become known; null counts as no.
    n_back
        Bars from the anchor's own bar to the one on which it is known.

    Returns
    -------
    dict of str to Column
        `_{anchor}_number` counts the anchors that are known, `_{anchor}_vwap` is the price (INR)
        and `_{anchor}_deviation` the volume-weighted population deviation of typical prices (INR),
        0 if all are equal; the others lead to them. The column `_typical_price` must exist.
    """
    reference = pl.col(f"_{anchor}_reference")
    mean, mean_square = (
        ratio(pl.col(f"_{anchor}_{name}"), pl.col(f"_{anchor}_volume"))
        for name in ("offset", "square")
    )
    variance = mean_square - mean**2
    is_spread = (variance > _DUST_OF_SQUARE * mean_square) & (variance > _DUST)
    deviation = pl.when(is_spread).then(variance.sqrt()).when(is_spread.is_not_null()).then(0.0)
    segment = segment_of(anchor)
    helpers = {
        f"_{anchor}_starts": Column(starts.fill_null(value=False)),
        f"_{anchor}_number": Column(pl.col(f"_{anchor}_starts").cum_sum()),
        f"_{anchor}_reference": Column(_TYPICAL.first(), segment),
        f"_{anchor}_vwap": Column(since(anchor, reference * (1 + mean)), ()),
        f"_{anchor}_deviation": Column(since(anchor, reference * deviation), ()),
    }
    for power, name in enumerate(("volume", "offset", "square")):
        piece = f"_{anchor}_{name}_piece"
        helpers[piece] = Column(_piece(anchor, power, n_back))
        helpers[f"_{anchor}_{name}"] = Column(pl.col(piece).cum_sum(), segment)
    return helpers


def _piece(anchor: str, power: int, n_back: int) -> pl.Expr:
    first = reduce(
        operator.add,
        [
            _weighted(previous(_TYPICAL, back), previous(VOLUME, back), _TYPICAL, power)
            for back in range(n_back + 1)
        ],
    )
    later = _weighted(_TYPICAL, VOLUME, pl.col(f"_{anchor}_reference"), power)
    return pl.when(pl.col(f"_{anchor}_starts")).then(first).otherwise(later)


def _weighted(price: pl.Expr, volume: pl.Expr, reference: pl.Expr, power: int) -> pl.Expr:
    if power == 0:
        return volume
    # Squares of whole prices would lose the digits in which prices differ.
    offset = price / reference - 1
    return volume * (offset if power == 1 else offset * offset)
