"""Depth: what the order books of the session said of those who waited to buy and to sell.

Belongs here: which columns of a session's order books are fed. Does not belong here: how they are
computed from snapshots, and what counts as known (`context.depth_sessions`).

A session without enough snapshots has no value: nothing is filled. Prices and quantities are those
of the session itself; every column is a ratio, so that splits leave it as it is.

Sources: Cont, Kukanov and Stoikov, *The Price Impact of Order Book Events* (2014); Gatheral and
Oomen, *Zero-Intelligence Realized Variance Estimation* (2010), for the microprice; Foucault, Kadan
and Kandel, *Limit Order Book as a Market for Liquidity* (2005), for resilience.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sensequant.features.session_tables import session_table
from sensequant.features.spec import Family, Feature, FeatureSpec

__all__ = ["DEPTH_FEATURES", "DEPTH_TABLE"]

_DEFINITION = "definition"
_CONT = "Cont, Kukanov and Stoikov (2014)"


class _Fed(NamedTuple):
    column: str
    unit: str
    formula: str
    source: str = _DEFINITION


_FED: Mapping[str, _Fed] = {
    "depth_spread_frac": _Fed(
        "spread_frac", "fraction", "mean over time of (best ask - best bid) / mid"
    ),
    "depth_microprice_to_mid": _Fed(
        "microprice_to_mid",
        "fraction",
        "mean over time of microprice / mid - 1; microprice: best prices weighted by the quantity "
        "of the other side",
        "Gatheral and Oomen (2010)",
    ),
    "depth_imbalance_1": _Fed(
        "imbalance_1",
        "-1 to 1",
        "mean over time of (bid - ask) / (bid + ask) quantity at the best prices",
    ),
    "depth_imbalance_5": _Fed(
        "imbalance", "-1 to 1", "mean over time of the same, five levels added"
    ),
    "depth_bid_to_mid": _Fed(
        "bid_depth_to_mid",
        "fraction",
        "mean over time of (bid price weighted by quantity over five levels) / mid - 1",
    ),
    "depth_ask_to_mid": _Fed("ask_depth_to_mid", "fraction", "the same of the ask"),
    "depth_order_flow_imbalance": _Fed(
        "order_flow_imbalance",
        "multiple",
        "sum of what each snapshot added to the best bid and took from the best ask / mean best "
        "quantity",
        _CONT,
    ),
    "depth_resilience": _Fed(
        "resilience",
        "0 to 1",
        "share of the widenings of the spread after which it was back within 60 seconds",
        "Foucault, Kadan and Kandel (2005)",
    ),
    "depth_imbalance_at_close": _Fed(
        "imbalance_at_close",
        "-1 to 1",
        "depth_imbalance_5 of the last snapshot, not older than five minutes at the close",
    ),
}

DEPTH_FEATURES: tuple[Feature, ...] = tuple(
    Feature(
        FeatureSpec(
            name=name,
            family=Family.DEPTH,
            warmup_bars=0,
            unit=fed.unit,
            formula=fed.formula,
            source=fed.source,
        ),
        None,
    )
    for name, fed in _FED.items()
)


DEPTH_TABLE = session_table(
    {name: fed.column for name, fed in _FED.items()}, lambda context: context.depth
)
