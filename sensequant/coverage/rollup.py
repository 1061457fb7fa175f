"""Sums of an audit: by month, by symbol, by interval, in all, and runs of what is missing.

Belongs here: counting sessions that were judged, and the status of a symbol. Does not belong here:
judging them (`coverage.audit`).

Conventions
-----------
- `n_sessions` counts expected sessions; the counts by state add up to it. `n_not_expected` stands
  beside it and is in no fraction.
- `coverage_frac` = n_ok / n_sessions, `bars_frac` = n_bars_present / n_bars_expected; both are null
  where the denominator is 0. A bar counts as present up to the number expected in its session.
- `worst` is the worst state of the sessions (`coverage.states.SEVERITY`).
"""

from typing import Protocol

import polars as pl

from sensequant.coverage.states import HELD_STATES, SEVERITY, State, Status

__all__ = [
    "COUNTS",
    "GAP_SCHEMA",
    "gaps_of",
    "intervals_of",
    "months_of",
    "symbols_of",
    "total_of",
]

COUNTS = (
    "n_sessions",
    *(f"n_{state.value}" for state in HELD_STATES),
    "n_not_expected",
    "n_bars_expected",
    "n_bars_present",
    "n_unexpected_bars",
    "n_quarantined_rows",
)
"""Columns of every sum, all Int64."""

GAP_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "interval": pl.String(),
        "state": pl.String(),
        "reason": pl.String(),
        "first": pl.Date(),
        "last": pl.Date(),
        "n_sessions": pl.Int64(),
        "n_bars_missing": pl.Int64(),
        "evidence": pl.String(),
    }
)
"""`n_bars_missing` is null where what a session should hold is not known."""

_GROUP = ("symbol", "interval")
_MAX_EVIDENCE = 3


class _Selection(Protocol):
    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def intervals(self) -> tuple[str, ...]: ...


def months_of(sessions: pl.DataFrame) -> pl.DataFrame:
    """Return the sums of each symbol, interval and calendar month that has a session.

    Returns
    -------
    polars.DataFrame
        symbol, interval, month (its first date), `COUNTS`, coverage_frac, bars_frac, worst.
    """
    month = pl.col("session").dt.truncate("1mo").alias("month")
    counted = sessions.group_by(*_GROUP, month, maintain_order=True).agg(*_counts(), _worst())
    return _with_fractions(counted)


def symbols_of(sessions: pl.DataFrame, *, scope: _Selection, asked: pl.DataFrame) -> pl.DataFrame:
    """Return the sums and the status of every symbol and interval of the scope.

    Parameters
    ----------
    sessions
        What each session is (`coverage.audit.SESSION_SCHEMA`).
    scope
        Symbols and intervals; those without any session have a row too.
    asked
        Requests (`coverage.audit.ASKED_SCHEMA`), for the duplicates that were dropped.

    Returns
    -------
    polars.DataFrame
        symbol, interval, status (a `Status`, null where nothing is expected), `COUNTS`,
        coverage_frac, bars_frac, worst, first_bar and last_bar (sessions),
        n_duplicates_dropped (null where no request says).
    """
    rows = pl.DataFrame({"symbol": sorted(scope.symbols)}, schema={"symbol": pl.String()}).join(
        pl.DataFrame({"interval": scope.intervals}, schema={"interval": pl.String()}),
        how="cross",
        maintain_order="left_right",
    )
    has_bars = pl.col("n_bars") > 0
    counted = sessions.group_by(_GROUP).agg(
        *_counts(),
        _worst(),
        pl.col("session").filter(has_bars).min().alias("first_bar"),
        pl.col("session").filter(has_bars).max().alias("last_bar"),
    )
    known = pl.col("n_duplicates_dropped").drop_nulls()
    duplicates = asked.group_by(_GROUP).agg(
        pl.when(known.len() > 0).then(known.sum()).alias("n_duplicates_dropped")
    )
    joined = rows.join(counted, on=_GROUP, how="left", maintain_order="left").join(
        duplicates, on=_GROUP, how="left", maintain_order="left"
    )
    full = _with_fractions(joined.with_columns(pl.col(COUNTS).fill_null(0)))
    return full.with_columns(_status().alias("status")).select(
        *_GROUP,
        "status",
        *COUNTS,
        "coverage_frac",
        "bars_frac",
        "worst",
        "first_bar",
        "last_bar",
        "n_duplicates_dropped",
    )


def intervals_of(symbols: pl.DataFrame) -> pl.DataFrame:
    """Return the sums of each interval over all symbols, and how many symbols have each status.

    Returns
    -------
    polars.DataFrame
        interval, n_symbols, one `n_symbols_STATUS` per status, `n_symbols_none` (nothing is
        expected), `COUNTS`, coverage_frac, bars_frac.
    """
    counted = symbols.group_by("interval", maintain_order=True).agg(_of_symbols())
    return _with_fractions(counted)


def total_of(symbols: pl.DataFrame) -> pl.DataFrame:
    """Return the sums over everything, one row; a symbol counts once for each interval."""
    return _with_fractions(symbols.select(_of_symbols()))


def gaps_of(sessions: pl.DataFrame) -> pl.DataFrame:
    """Return the runs of sessions that lack something.

    A run ends where the state or the reason changes. Sessions that are not expected and hold no
    bar are left out before runs are formed, so that a holiday or a suspension does not cut one.

    Returns
    -------
    polars.DataFrame
        `GAP_SCHEMA`, sorted by symbol, interval and first session.
    """
    is_silent = (pl.col("state") == State.NOT_EXPECTED.value) & (pl.col("n_unexpected") == 0)
    told = sessions.filter(~is_silent)
    parts = [*_GROUP, "state", "reason"]
    changes = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in parts)
    lacking = pl.col("n_expected") - pl.min_horizontal("n_bars", "n_expected")
    runs = (
        told.with_columns(changes.cum_sum().alias("run"), lacking.alias("n_lacking"))
        .filter(pl.col("state") != State.OK.value)
        .group_by("run", maintain_order=True)
        .agg(
            pl.col(parts).first(),
            pl.col("session").first().alias("first"),
            pl.col("session").last().alias("last"),
            pl.len().cast(pl.Int64).alias("n_sessions"),
            pl.when(pl.col("n_lacking").null_count() == 0)
            .then(pl.col("n_lacking").sum().cast(pl.Int64))
            .alias("n_bars_missing"),
            _few_texts("evidence").alias("evidence"),
        )
    )
    return runs.select(GAP_SCHEMA.names()).cast(GAP_SCHEMA)


def _counts() -> list[pl.Expr]:
    state = pl.col("state")
    is_held = state != State.NOT_EXPECTED.value
    present = pl.min_horizontal("n_bars", "n_expected")
    counts = [
        is_held.sum().alias("n_sessions"),
        *((state == value.value).sum().alias(f"n_{value.value}") for value in HELD_STATES),
        (~is_held).sum().alias("n_not_expected"),
        pl.col("n_expected").filter(is_held).sum().alias("n_bars_expected"),
        present.filter(is_held & pl.col("n_expected").is_not_null()).sum().alias("n_bars_present"),
        pl.col("n_unexpected").sum().alias("n_unexpected_bars"),
        pl.col("n_quarantined").sum().alias("n_quarantined_rows"),
    ]
    return [count.cast(pl.Int64) for count in counts]


def _worst() -> pl.Expr:
    order = {state.value: place for place, state in enumerate(SEVERITY)}
    back = {place: value for value, place in order.items()}
    ranks = pl.col("state").replace_strict(order, return_dtype=pl.Int32)
    return ranks.min().replace_strict(back, return_dtype=pl.String).alias("worst")


def _of_symbols() -> list[pl.Expr]:
    status = pl.col("status")
    return [
        pl.len().cast(pl.Int64).alias("n_symbols"),
        *(
            (status == value.value).sum().cast(pl.Int64).alias(f"n_symbols_{value.value}")
            for value in Status
        ),
        status.null_count().cast(pl.Int64).alias("n_symbols_none"),
        pl.col(COUNTS).sum(),
    ]


def _with_fractions(counted: pl.DataFrame) -> pl.DataFrame:
    return counted.with_columns(
        _fraction("n_ok", "n_sessions").alias("coverage_frac"),
        _fraction("n_bars_present", "n_bars_expected").alias("bars_frac"),
    )


def _fraction(part: str, whole: str) -> pl.Expr:
    return pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole))


def _status() -> pl.Expr:
    n_with_bars = pl.sum_horizontal("n_ok", "n_partial", "n_disputed")
    is_pending_all = pl.col("n_ok") + pl.col("n_pending") == pl.col("n_sessions")
    return (
        pl.when(pl.col("n_sessions") == 0)
        .then(pl.lit(None, dtype=pl.String))
        .when(pl.col("n_ok") == pl.col("n_sessions"))
        .then(pl.lit(Status.OK.value))
        .when(is_pending_all)
        .then(pl.lit(Status.PENDING.value))
        .when(n_with_bars > 0)
        .then(pl.lit(Status.PARTIAL.value))
        .when(pl.col("n_missing_local") > 0)
        .then(pl.lit(Status.MISSING_LOCAL.value))
        .otherwise(pl.lit(Status.MISSING_AT_SOURCE.value))
    )


def _few_texts(name: str) -> pl.Expr:
    texts = pl.col(name).drop_nulls().unique(maintain_order=True)
    few = texts.head(_MAX_EVIDENCE).str.join("; ")
    return pl.when(texts.len() > 0).then(few)
