"""From snapshots of the order book to one row per symbol and session.

Belongs here: what of a session's snapshots counts, and for how long each does. Does not belong
here: measures of one snapshot (`depth`), and what is fed to models (`features.depth`).

Only snapshots within the hours of the session count that were known at its close. Each counts from
its moment to the next one, at most for `MAX_AGE`, and no further than to a gap of the capture in
which the book may have changed unseen; time that no snapshot covers weighs nothing. Of a session
with less than `MIN_COVERED` there is no row, because a few minutes are no session.

Source: Foucault, Kadan and Kandel, *Limit Order Book as a Market for Liquidity* (2005), for
resilience as the chance that a wider spread comes back in time.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from sensequant.context.asof import join_known, latest_versions
from sensequant.context.depth import DEPTH, MAX_AGE, with_measures
from sensequant.context.depth_gaps import DEPTH_GAPS, UNKNOWN_BOOK
from sensequant.context.hours import session_of

__all__ = [
    "DEPTH_SESSION_SCHEMA",
    "MIN_COVERED",
    "RECOVERY",
    "depth_by_session",
    "snapshots_at",
]

MIN_COVERED = timedelta(minutes=30)
"""Least time of a session that snapshots must cover."""

RECOVERY = timedelta(seconds=60)
"""Time within which a spread that widened must come back to count as recovered."""

_TICK_DIGITS = 4
"""Digits to which spreads are compared; prices have two."""

DEPTH_SESSION_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.Date(),
        "known_at": pl.Datetime("us", "UTC"),
        "n_snapshots": pl.Int64(),
        "covered_seconds": pl.Float64(),
        "spread_frac": pl.Float64(),
        "microprice_to_mid": pl.Float64(),
        "imbalance_1": pl.Float64(),
        "imbalance": pl.Float64(),
        "bid_depth_to_mid": pl.Float64(),
        "ask_depth_to_mid": pl.Float64(),
        "order_flow_imbalance": pl.Float64(),
        "resilience": pl.Float64(),
        "imbalance_at_close": pl.Float64(),
    }
)
"""One row per symbol and session; `known_at` is its close. Means are weighted by time.
`order_flow_imbalance`: sum of the order flow / mean best quantity. `resilience`: share of the
widenings of the spread after which it was back within `RECOVERY`."""

_MEANS = {
    "spread_frac": pl.col("spread_frac"),
    "microprice_to_mid": pl.col("microprice") / pl.col("mid") - 1,
    "imbalance_1": pl.col("imbalance_1"),
    "imbalance": pl.col("imbalance"),
    "bid_depth_to_mid": pl.col("bid_depth_price") / pl.col("mid") - 1,
    "ask_depth_to_mid": pl.col("ask_depth_price") / pl.col("mid") - 1,
}


def depth_by_session(
    snapshots: pl.DataFrame, decisions: pl.DataFrame, gaps: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return what the order books of each session said, as far as it was known at the close.

    Parameters
    ----------
    snapshots
        Rows of `depth.DEPTH`, all versions, in any order.
    decisions
        Hours of the sessions (`hours.DECISION_SCHEMA`).
    gaps
        Rows of `depth_gaps.DEPTH_GAPS`, in any order; None where nothing was captured.

    Returns
    -------
    polars.DataFrame
        `DEPTH_SESSION_SCHEMA`, by symbol and session.
    """
    measured = _measured(
        snapshots, decisions, DEPTH_GAPS.schema.to_frame() if gaps is None else gaps
    )
    parts = measured.partition_by("symbol", "session", maintain_order=True)
    rows = [_session_row(part) for part in parts]
    table = pl.DataFrame(
        [row for row in rows if row is not None],
        schema=pl.Schema(
            {k: v for k, v in DEPTH_SESSION_SCHEMA.items() if k != "imbalance_at_close"}
        ),
    )
    closes = join_known(
        table,
        measured.select("symbol", "known_at", "at", "source", imbalance_at_close="imbalance"),
        columns=["imbalance_at_close"],
        max_age=MAX_AGE,
        decided_at="known_at",
    )
    return closes.select(DEPTH_SESSION_SCHEMA.names())


def snapshots_at(
    snapshots: pl.DataFrame, moments: Iterable[datetime], symbols: Iterable[str]
) -> pl.DataFrame:
    """Return the book that was known of each symbol at given moments.

    Parameters
    ----------
    snapshots
        Rows of `depth.DEPTH`, all versions, in any order.
    moments
        Instants in UTC.
    symbols
        Whose books.

    Returns
    -------
    polars.DataFrame
        symbol, decided_at and the four sides; null where no snapshot younger than `MAX_AGE` was
        known.
    """
    asked = pl.DataFrame(
        [(symbol, moment) for symbol in symbols for moment in moments],
        schema={"symbol": pl.String, "decided_at": pl.Datetime("us", "UTC")},
        orient="row",
    )
    return join_known(asked, snapshots, columns=list(DEPTH.values), max_age=MAX_AGE)


def _measured(snapshots: pl.DataFrame, decisions: pl.DataFrame, gaps: pl.DataFrame) -> pl.DataFrame:
    """Return the snapshots that count, with their measures and the seconds for which they do."""
    hours = snapshots.with_columns(session=session_of("at")).join(decisions, on="session")
    counting = hours.filter(
        pl.col("known_at") <= pl.col("decided_at"),
        pl.col("at").is_between("opens_at", "decided_at", closed="left"),
    )
    measured = with_measures(latest_versions(counting, DEPTH.key))
    until = pl.col("at").shift(-1).over("symbol", "session").fill_null(pl.col("decided_at"))
    held = pl.min_horizontal(until - pl.col("at"), pl.lit(MAX_AGE), pl.col("to_gap"))
    with_gaps = measured.with_columns(to_gap=_time_to_gap(measured, gaps))
    return with_gaps.with_columns(seconds=held.dt.total_microseconds() / 1e6)


def _time_to_gap(measured: pl.DataFrame, gaps: pl.DataFrame) -> pl.Series:
    """Return the time from each snapshot to the next gap that was known at the close, else null."""
    unseen = gaps.filter(pl.col("reason").is_in(list(UNKNOWN_BOOK)))
    if unseen.is_empty():
        return pl.Series([None], dtype=pl.Duration("us")).new_from_index(0, measured.height)
    keys = measured.select("symbol", "at", "decided_at").with_row_index("_row")
    known = (
        unseen.select("symbol", begins="at", ends="known_at")
        .with_columns(session=session_of("begins"))
        .join(
            measured.select("symbol", "decided_at", session=session_of("at")).unique(),
            on=["symbol", "session"],
        )
        .filter(pl.col("ends") <= pl.col("decided_at"))
    )
    found = keys.sort("at").join_asof(
        known.select("symbol", "begins").sort("begins"),
        left_on="at",
        right_on="begins",
        by="symbol",
        strategy="forward",
        check_sortedness=False,
    )
    return found.sort("_row").select(pl.col("begins") - pl.col("at")).to_series()


def _session_row(part: pl.DataFrame) -> dict[str, Any] | None:
    covered = float(part["seconds"].sum())
    if covered < MIN_COVERED.total_seconds():
        return None
    symbol, session, decided_at = part.select("symbol", "session", "decided_at").row(0)
    return {
        "symbol": symbol,
        "session": session,
        "known_at": decided_at,
        "n_snapshots": part.height,
        "covered_seconds": covered,
        **part.select(**{name: _time_mean(value) for name, value in _MEANS.items()}).row(
            0, named=True
        ),
        "order_flow_imbalance": _order_flow_imbalance(part),
        "resilience": _resilience(part, decided_at),
    }


def _time_mean(value: pl.Expr) -> pl.Expr:
    weight = pl.when(value.is_not_null()).then(pl.col("seconds")).otherwise(0.0)
    total = weight.sum()
    return pl.when(total > 0).then((value * weight).sum() / total)


def _order_flow_imbalance(part: pl.DataFrame) -> float | None:
    flow, size = part.select(pl.col("order_flow").sum(), pl.col("best_quantity").mean()).row(0)
    has_step = part["order_flow"].count() > 0
    return flow / size if has_step and size else None


def _resilience(part: pl.DataFrame, decided_at: datetime) -> float | None:
    rounded = part.select("at", spread=pl.col("spread").round(_TICK_DIGITS))
    # The narrowest spread in the time after each snapshot, the snapshot itself left out.
    later = rounded.rolling("at", period=RECOVERY, offset=timedelta(0), closed="right").agg(
        narrowest=pl.col("spread").min()
    )
    judged = (
        rounded.with_columns(before=pl.col("spread").shift(), narrowest=later["narrowest"])
        .filter(
            pl.col("spread") > pl.col("before"),
            pl.col("at") - pl.col("at").shift() <= MAX_AGE,
            pl.col("at") + RECOVERY <= decided_at,
        )
        .select((pl.col("narrowest") <= pl.col("before")).fill_null(value=False).mean())
    )
    share: float | None = judged.item()
    return share
