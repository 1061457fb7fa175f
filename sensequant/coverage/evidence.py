"""What an audit knows: bars, refused rows, disputes, requests, and up to when it judges.

Belongs here: the plain tables that an audit takes, and what the requests say of each session. Does
not belong here: reading them from store and ledger (`coverage.collect`), the verdict on a session
(`coverage.audit`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl

from sensequant.market.sessions import SessionCalendar, session_date_of

__all__ = [
    "ASKED_SCHEMA",
    "DISPUTED_SCHEMA",
    "QUARANTINED_SCHEMA",
    "STORED_SCHEMA",
    "AsOf",
    "Evidence",
    "answers_of",
    "as_of_at",
]

_KEY = ("symbol", "interval", "session")
_KEY_SCHEMA: Mapping[str, pl.DataType] = {
    "symbol": pl.String(),
    "interval": pl.String(),
    "session": pl.Date(),
}

STORED_SCHEMA = pl.Schema({**_KEY_SCHEMA, "n_bars": pl.Int32(), "n_final": pl.Int32()})
"""Bars in the store, one row per session that has any."""

QUARANTINED_SCHEMA = pl.Schema({**_KEY_SCHEMA, "n_rows": pl.Int32(), "reasons": pl.String()})
"""Refused rows; `session` is null where a row has no date that can be read."""

DISPUTED_SCHEMA = pl.Schema({**_KEY_SCHEMA, "evidence": pl.String()})
"""Sessions in which a second source contradicts the stored bars."""

ASKED_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "interval": pl.String(),
        "start": pl.Date(),
        "end": pl.Date(),
        "asked_at": pl.Datetime("us", "UTC"),
        "is_answered": pl.Boolean(),
        "is_refused": pl.Boolean(),
        "settled_through": pl.Date(),
        "missing_sessions": pl.List(pl.Date()),
        "n_duplicates_dropped": pl.Int64(),
        "evidence": pl.String(),
    }
)
"""Requests; null bounds mean all there is.

`is_answered`: bars, or none, came. `is_refused`: the source does not know the symbol.
`settled_through`: last session that the answer settles, null if none. `missing_sessions`: those of
the request that the answer lacks, null if not recorded; then what the store lacks counts as not
delivered. Of a request without start only sessions from the first stored bar on are recorded."""


@dataclass(frozen=True, slots=True)
class AsOf:
    """Up to when sessions are judged.

    Parameters
    ----------
    closed_through
        Last session that had closed; None where none had.
    settled_through
        Last session that every source should have by now; None where none is.
    """

    closed_through: date | None
    settled_through: date | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the bars; every frame has its schema, in any order of rows.

    Parameters
    ----------
    stored, quarantined, disputed, asked
        `STORED_SCHEMA`, `QUARANTINED_SCHEMA`, `DISPUTED_SCHEMA`, `ASKED_SCHEMA`.
    listings
        Spells with `coverage.expected.LISTING_COLUMNS`; None: nothing is known.
    """

    stored: pl.DataFrame
    quarantined: pl.DataFrame
    disputed: pl.DataFrame
    asked: pl.DataFrame
    listings: pl.DataFrame | None = None


def as_of_at(now: datetime, calendar: SessionCalendar, *, settled_through: date | None) -> AsOf:
    """Return up to when sessions are judged at an instant.

    Parameters
    ----------
    now
        Aware instant of the audit.
    calendar
        The NSE calendar.
    settled_through
        Last settled session (`market.finality`).

    Raises
    ------
    ConfigError
        `now` is naive or in a year that the calendar does not know.
    """
    today = session_date_of(now)
    if not calendar.is_session(today):
        return AsOf(_before(today, calendar), settled_through)
    closes = calendar.closes(today)
    # Where the hours are not known, the day must be over.
    has_closed = closes is not None and closes <= now
    return AsOf(today if has_closed else _before(today, calendar), settled_through)


def answers_of(evidence: Evidence, expected: pl.DataFrame) -> pl.DataFrame:
    """Return what the requests say of each session that they cover.

    Parameters
    ----------
    evidence
        Requests, and the stored bars.
    expected
        Sessions (`coverage.expected.EXPECTED_SCHEMA`).

    Returns
    -------
    polars.DataFrame
        symbol, interval, session; was_answered; was_settled; is_lacking, of the last settled
        answer; was_refused, of the last request; settled_evidence and last_evidence. One row per
        session that a request covers.
    """
    known = evidence.asked.filter(
        pl.col("symbol").is_in(expected["symbol"].unique().implode()),
        pl.col("interval").is_in(expected["interval"].unique().implode()),
    ).sort("symbol", "interval", "asked_at", "start", "end", "evidence", nulls_last=False)
    requests = known.with_row_index("request")
    covered = _covered(requests, expected)
    lacking = (
        requests.select("request", session="missing_sessions")
        .explode("session", empty_as_null=False)
        .drop_nulls()
        .unique()
        .with_columns(pl.lit(value=True).alias("is_lacking"))
    )
    is_settled = pl.col("is_answered") & (pl.col("session") <= pl.col("settled_through"))
    is_before_all = pl.col("start").is_null() & (pl.col("session") < pl.col("first_stored"))
    is_lacking = (
        pl.col("is_lacking").fill_null(value=False)
        | pl.col("missing_sessions").is_null()
        | is_before_all.fill_null(value=False)
    )
    begun = evidence.stored.group_by(*_KEY[:2]).agg(pl.col("session").min().alias("first_stored"))
    rows = covered.join(lacking, on=["request", "session"], how="left", maintain_order="left").join(
        begun, on=_KEY[:2], how="left", maintain_order="left"
    )
    judged = rows.with_columns(
        is_settled.fill_null(value=False).alias("is_settled"), is_lacking.alias("is_lacking")
    )
    settled = pl.col("is_settled")
    return judged.group_by(*_KEY).agg(
        pl.col("is_answered").any().alias("was_answered"),
        settled.any().alias("was_settled"),
        pl.col("is_lacking").filter(settled).last().alias("is_lacking"),
        pl.col("is_refused").last().alias("was_refused"),
        pl.col("evidence").filter(settled).last().alias("settled_evidence"),
        pl.col("evidence").last().alias("last_evidence"),
    )


def _covered(requests: pl.DataFrame, expected: pl.DataFrame) -> pl.DataFrame:
    sessions = expected["session"].unique().sort()
    days = sessions.to_physical().to_numpy()
    first = requests["start"].fill_null(date.min).to_physical().to_numpy()
    last = requests["end"].fill_null(date.max).to_physical().to_numpy()
    # Each request is spread over the sessions that it covers, which costs one row for each.
    places = requests.with_columns(
        pl.Series("place", np.searchsorted(days, first, side="left"), dtype=pl.Int64),
        pl.Series("stop", np.searchsorted(days, last, side="right"), dtype=pl.Int64),
    )
    numbered = sessions.to_frame().with_row_index("place").cast({"place": pl.Int64})
    return (
        places.with_columns(pl.int_ranges("place", "stop").alias("place"))
        .explode("place", empty_as_null=False)
        .join(numbered, on="place", how="inner", maintain_order="left")
    )


def _before(day: date, calendar: SessionCalendar) -> date | None:
    number = calendar.table["session"].search_sorted(day)
    return calendar.session_at(number - 1) if number else None
