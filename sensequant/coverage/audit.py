"""The audit: what every expected session is, from plain tables of evidence.

Belongs here: the rule that gives each session its state and reason. Does not belong here: the
evidence (`coverage.evidence`), sums (`coverage.rollup`), what is shown (`coverage.page`).

The audit is a pure function. Sessions that had not closed at the time of the audit are outside it.
The rule, first that applies:

1. no session of the calendar, before listing, delisted, suspended: `not_expected`
2. bars that a second source contradicts: `disputed`
3. bars that may still change: `pending`
4. fewer bars than expected: `partial`
5. bars: `ok`
6. only refused rows: `quarantined`
7. later than `settled_through`: `pending`
8. the last settled answer of the source lacks the session, or the source does not know the symbol:
   `missing_at_source`
9. `missing_local`
"""

from dataclasses import dataclass
from datetime import date

import polars as pl

from sensequant.coverage.evidence import AsOf, Evidence, answers_of
from sensequant.coverage.expected import EXPECTED_SCHEMA, Scope, expected_sessions
from sensequant.coverage.rollup import gaps_of, intervals_of, months_of, symbols_of, total_of
from sensequant.coverage.states import Reason, State
from sensequant.market.intervals import DAILY
from sensequant.market.sessions import SessionCalendar

__all__ = [
    "SESSION_SCHEMA",
    "CoverageAudit",
    "audit_coverage",
]

_KEY = ("symbol", "interval", "session")
SESSION_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "interval": pl.String(),
        "session": pl.Date(),
        "state": pl.String(),
        "reason": pl.String(),
        "n_expected": pl.Int32(),
        "n_bars": pl.Int32(),
        "n_final": pl.Int32(),
        "n_quarantined": pl.Int32(),
        "n_unexpected": pl.Int32(),
        "evidence": pl.String(),
    }
)
"""One row per symbol, interval and session. `state` is a `State`, `reason` a `Reason`, null where
the state says all. Counts are of bars, `n_quarantined` of refused rows."""


@dataclass(frozen=True, slots=True)
class CoverageAudit:
    """What an audit found.

    Parameters
    ----------
    scope, as_of
        What was audited, and up to when.
    sessions
        `SESSION_SCHEMA`, sorted by symbol, interval and session.
    months, symbols, intervals, total
        Sums (`coverage.rollup`).
    gaps
        Runs of consecutive sessions in the same state, for the same reason, that are not ok.
    """

    scope: Scope
    as_of: AsOf
    sessions: pl.DataFrame
    months: pl.DataFrame
    symbols: pl.DataFrame
    intervals: pl.DataFrame
    total: pl.DataFrame
    gaps: pl.DataFrame


def audit_coverage(
    scope: Scope, evidence: Evidence, *, as_of: AsOf, calendar: SessionCalendar
) -> CoverageAudit:
    """Judge every session of the scope and sum up.

    Parameters
    ----------
    scope
        Symbols, intervals, range.
    evidence
        What is known of the bars.
    as_of
        Up to when; the range ends with the last session that had closed.
    calendar
        The NSE calendar.

    Raises
    ------
    ConfigError
        A year up to `closed_through` is not in the calendar, or a listing is malformed.
    """
    expected = _expected(scope, evidence, as_of=as_of, calendar=calendar)
    answers = answers_of(evidence, expected)
    sessions = _in_order(_judged(expected, evidence, answers, as_of=as_of), scope)
    symbols = symbols_of(sessions, scope=scope, asked=evidence.asked)
    return CoverageAudit(
        scope=scope,
        as_of=as_of,
        sessions=sessions,
        months=months_of(sessions),
        symbols=symbols,
        intervals=intervals_of(symbols),
        total=total_of(symbols),
        gaps=gaps_of(sessions),
    )


def _expected(
    scope: Scope, evidence: Evidence, *, as_of: AsOf, calendar: SessionCalendar
) -> pl.DataFrame:
    end = min(scope.end, as_of.closed_through or date.min)
    if end < scope.start:
        return EXPECTED_SCHEMA.to_frame()
    closed = Scope(scope.symbols, scope.intervals, scope.start, end)
    expected = expected_sessions(closed, calendar, listings=evidence.listings)
    strange = (
        evidence.stored.filter(
            pl.col("session").is_between(scope.start, end),
            pl.col("symbol").is_in(scope.symbols),
            pl.col("interval").is_in(scope.intervals),
        )
        .join(expected.select("session").unique(), on="session", how="anti")
        .select(
            *_KEY,
            pl.lit(None, dtype=pl.Int32).alias("n_expected"),
            pl.lit(Reason.NO_SESSION.value).alias("not_expected"),
            pl.lit(None, dtype=pl.String).alias("note"),
        )
    )
    return pl.concat([expected, strange])


def _judged(
    expected: pl.DataFrame, evidence: Evidence, answers: pl.DataFrame, *, as_of: AsOf
) -> pl.DataFrame:
    refused = evidence.quarantined.group_by(_KEY).agg(
        pl.col("n_rows").sum().cast(pl.Int32).alias("n_quarantined"),
        pl.col("reasons").unique().sort().str.join(", ").alias("refused_for"),
    )
    disputed = evidence.disputed.group_by(_KEY).agg(
        pl.col("evidence").unique().sort().str.join("; ").alias("dispute")
    )
    facts = expected
    for frame in (evidence.stored, refused, disputed, answers):
        facts = facts.join(frame, on=_KEY, how="left", validate="1:1")
    counts = pl.col("n_bars", "n_final", "n_quarantined").fill_null(0)
    facts = facts.with_columns(counts, _n_unexpected())
    state, reason = _rules(as_of)
    rows = facts.with_columns(state.alias("state")).with_columns(reason.alias("reason"))
    return rows.with_columns(_evidence_text().alias("evidence")).select(SESSION_SCHEMA.names())


def _n_unexpected() -> pl.Expr:
    n_bars = pl.col("n_bars").fill_null(0)
    too_many = pl.max_horizontal(n_bars - pl.col("n_expected"), pl.lit(0, dtype=pl.Int32))
    return (
        pl.when(pl.col("not_expected").is_not_null())
        .then(n_bars)
        .when(pl.col("n_expected").is_null())
        .then(pl.lit(0, dtype=pl.Int32))
        .otherwise(too_many)
        .cast(pl.Int32)
        .alias("n_unexpected")
    )


def _rules(as_of: AsOf) -> tuple[pl.Expr, pl.Expr]:
    has_bars = pl.col("n_bars") > 0
    is_short = has_bars & (pl.col("interval") != DAILY) & (pl.col("n_bars") < pl.col("n_expected"))
    # A null never lets a rule apply, so each is False where it is not known.
    is_late = pl.col("session") > (as_of.settled_through or date.min)
    was_settled = pl.col("was_settled").fill_null(value=False)
    was_refused = pl.col("was_refused").fill_null(value=False)
    is_lacking = was_settled & pl.col("is_lacking").fill_null(value=False)
    rules = (
        (pl.col("not_expected").is_not_null(), State.NOT_EXPECTED, pl.col("not_expected")),
        (has_bars & pl.col("dispute").is_not_null(), State.DISPUTED, _said(Reason.DISPUTED)),
        (
            has_bars & (pl.col("n_final") < pl.col("n_bars")),
            State.PENDING,
            _said(Reason.PROVISIONAL),
        ),
        (is_short.fill_null(value=False), State.PARTIAL, _why_short(was_settled)),
        (has_bars & pl.col("n_expected").is_null(), State.OK, _said(Reason.HOURS_UNKNOWN)),
        (has_bars, State.OK, pl.lit(None, dtype=pl.String)),
        (pl.col("n_quarantined") > 0, State.QUARANTINED, _said(Reason.BAD_ROWS)),
        (is_late, State.PENDING, _said(Reason.TOO_RECENT)),
        (is_lacking, State.MISSING_AT_SOURCE, _said(Reason.NOT_DELIVERED)),
        (was_settled, State.MISSING_LOCAL, _said(Reason.LOST)),
        (was_refused, State.MISSING_AT_SOURCE, _said(Reason.UNKNOWN_SYMBOL)),
    )
    state = pl.coalesce(
        *(pl.when(test).then(pl.lit(value.value)) for test, value, _ in rules),
        pl.lit(State.MISSING_LOCAL.value),
    )
    # Each rule names its reason; the first that applies decides, even where its reason is null.
    reason = _why_never_settled()
    for test, _, why in reversed(rules):
        reason = pl.when(test).then(why).otherwise(reason)
    return state, reason


def _said(reason: Reason) -> pl.Expr:
    return pl.lit(reason.value)


def _why_short(was_settled: pl.Expr) -> pl.Expr:
    return (
        pl.when(pl.col("n_quarantined") > 0)
        .then(_said(Reason.BAD_ROWS))
        .when(was_settled)
        .then(_said(Reason.DELIVERED_FEWER))
        .otherwise(_why_never_settled())
    )


def _why_never_settled() -> pl.Expr:
    return (
        pl.when(pl.col("was_answered").is_null())
        .then(_said(Reason.NEVER_ASKED))
        .when(pl.col("was_answered"))
        .then(_said(Reason.ASKED_TOO_EARLY))
        .otherwise(_said(Reason.ASK_FAILED))
    )


def _evidence_text() -> pl.Expr:
    ledger = (
        pl.when(pl.col("was_settled"))
        .then(pl.col("settled_evidence"))
        .otherwise(pl.col("last_evidence"))
    )
    parts = {
        State.NOT_EXPECTED: pl.col("note"),
        State.DISPUTED: pl.col("dispute"),
        State.QUARANTINED: pl.col("refused_for"),
        State.PARTIAL: pl.concat_str(
            pl.format("{} of {} bars", "n_bars", "n_expected"),
            "refused_for",
            ledger,
            separator="; ",
            ignore_nulls=True,
        ),
        State.PENDING: ledger,
        State.MISSING_AT_SOURCE: pl.concat_str(ledger, "note", separator="; ", ignore_nulls=True),
        State.MISSING_LOCAL: pl.concat_str(ledger, "note", separator="; ", ignore_nulls=True),
    }
    text = pl.coalesce(
        *(pl.when(pl.col("state") == state.value).then(value) for state, value in parts.items())
    )
    return pl.when(text != "").then(text)


def _in_order(sessions: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    order = {interval: place for place, interval in enumerate(scope.intervals)}
    place = pl.col("interval").replace_strict(order, return_dtype=pl.Int32)
    return sessions.sort("symbol", place, "session")
