"""The table of NSE sessions, made of rules and sourced exceptions.

Belongs here: reading the two files of exceptions, checking them and making the table of them. Does
not belong here: counting along the table and turning its hours into instants (`market.sessions`).

The rule is that every weekday of the known years was a session. The exceptions are the closures in
`nse_closures.csv` and the sessions in `nse_special_sessions.csv`, each with its source.
`docs/calendar.md` says where they come from and how to add a year. Hours are local time in India;
an hour that is not known is null, never a default. A drill that traded twice in a day stands with
its first open and its last close.
"""

import io
from datetime import date, time, timedelta
from enum import StrEnum
from importlib import resources

import polars as pl

from sensequant.errors import ConfigError

__all__ = [
    "CLOSURES_FILE",
    "FIRST_YEAR",
    "LAST_YEAR",
    "OBSERVED_THROUGH",
    "SPECIAL_SESSIONS_FILE",
    "SessionKind",
    "build_calendar_table",
    "calendar_table",
]

FIRST_YEAR = 2000
LAST_YEAR = 2026
"""Years that the table knows in full; a year is added as docs/calendar.md says."""

OBSERVED_THROUGH = date(2026, 8, 21)
"""Sessions up to here are confirmed by trade; later ones follow the published holiday list."""

CLOSURES_FILE = "nse_closures.csv"
SPECIAL_SESSIONS_FILE = "nse_special_sessions.csv"

_FULL_LENGTH = timedelta(hours=3)
_SATURDAY = 6  # as polars counts, Monday being 1

# First date of each era, with the continuous session's open and close. Source: NSE's announcements
# as collected by pandas_market_calendars 5.5, calendar NSE.
_REGULAR_HOURS = (
    (date(2000, 1, 1), time(9, 55), time(15, 30)),
    (date(2010, 1, 4), time(9, 0), time(15, 30)),
    (date(2010, 10, 18), time(9, 15), time(15, 30)),
)


class SessionKind(StrEnum):
    """What sort of session it was."""

    REGULAR = "regular"
    MUHURAT = "muhurat"
    """About one hour on the day of Diwali, mostly in the evening."""

    WEEKEND_SPECIAL = "weekend_special"
    """A full-length session on a Saturday or Sunday, mostly for the Union budget."""

    DRILL = "drill"
    """A short live session, mostly on a Saturday, to test systems or the back-up site."""


def calendar_table() -> pl.DataFrame:
    """Return every known session of NSE, oldest first.

    Returns
    -------
    polars.DataFrame
        session Date, session_number Int32 (0 is 2000-01-03), kind String (a `SessionKind`),
        opens_at and closes_at Time (IST; null where not known), source String.
    """
    return build_calendar_table(
        closures=_packaged_csv(CLOSURES_FILE), special=_packaged_csv(SPECIAL_SESSIONS_FILE)
    )


def build_calendar_table(
    *,
    closures: pl.DataFrame,
    special: pl.DataFrame,
    first_year: int = FIRST_YEAR,
    last_year: int = LAST_YEAR,
) -> pl.DataFrame:
    """Make the table from its exceptions, after checking that they can be meant so.

    Parameters
    ----------
    closures
        date, name, source (String): weekdays without a session.
    special
        date, kind, opens_at, closes_at, source (String, times as HH:MM or null): sessions on
        weekends, and weekdays with other hours.
    first_year, last_year
        Years to list in full.

    Raises
    ------
    ConfigError
        An exception contradicts itself, another one or the known years; or a year has no closure.
    """
    closed = _parsed(closures, file=CLOSURES_FILE)
    extra = _parsed(special, file=SPECIAL_SESSIONS_FILE)
    weekdays = _weekdays(first_year, last_year)
    _check_closures(closed, weekdays=weekdays, years=range(first_year, last_year + 1))
    _check_special(extra, closed=closed, years=range(first_year, last_year + 1))
    regular = weekdays.join(closed, on="session", how="anti").join(extra, on="session", how="anti")
    return (
        pl.concat([regular, extra.select(regular.columns)])
        .sort("session")
        .with_row_index("session_number")
        .select(
            "session",
            pl.col("session_number").cast(pl.Int32),
            "kind",
            "opens_at",
            "closes_at",
            "source",
        )
    )


def _packaged_csv(name: str) -> pl.DataFrame:
    content = resources.files("sensequant.market").joinpath(name).read_bytes()
    return pl.read_csv(io.BytesIO(content), infer_schema=False)


def _parsed(exceptions: pl.DataFrame, *, file: str) -> pl.DataFrame:
    times = [
        pl.col(name).str.to_time("%H:%M")
        for name in ("opens_at", "closes_at")
        if name in exceptions.columns
    ]
    try:
        parsed = exceptions.with_columns(pl.col("date").str.to_date("%Y-%m-%d"), *times)
    except pl.exceptions.PolarsError as error:
        raise ConfigError(
            "calendar file cannot be read",
            where=file,
            expected="dates as YYYY-MM-DD and times as HH:MM",
            found=str(error).splitlines()[0],
        ) from error
    return parsed.rename({"date": "session"})


def _weekdays(first_year: int, last_year: int) -> pl.DataFrame:
    days = pl.date_range(date(first_year, 1, 1), date(last_year, 12, 31), eager=True)
    opens = pl.lit(None, dtype=pl.Time)
    closes = pl.lit(None, dtype=pl.Time)
    for since, opens_at, closes_at in _REGULAR_HOURS:
        opens = pl.when(pl.col("session") >= since).then(opens_at).otherwise(opens)
        closes = pl.when(pl.col("session") >= since).then(closes_at).otherwise(closes)
    is_observed = pl.col("session") <= OBSERVED_THROUGH
    return (
        pl.DataFrame({"session": days})
        .filter(pl.col("session").dt.weekday() < _SATURDAY)
        .with_columns(
            kind=pl.lit(SessionKind.REGULAR.value),
            opens_at=opens,
            closes_at=closes,
            source=pl.when(is_observed)
            .then(pl.lit("weekday that is no listed closure; trade observed"))
            .otherwise(pl.lit("weekday that is no listed closure; not yet observed")),
        )
    )


def _check_closures(closed: pl.DataFrame, *, weekdays: pl.DataFrame, years: range) -> None:
    _refuse_rows(
        closed.filter(closed["session"].is_duplicated()), "closure is listed twice", CLOSURES_FILE
    )
    _refuse_rows(
        closed.join(weekdays, on="session", how="anti"),
        "closure is no weekday of the known years",
        CLOSURES_FILE,
    )
    empty = sorted(set(years) - set(closed["session"].dt.year().to_list()))
    if empty:
        raise ConfigError(
            "year has no closure listed",
            where=CLOSURES_FILE,
            expected="the holidays of every known year",
            found=", ".join(map(str, empty)),
            remedy="list them from the exchange's circular, or leave the year unknown",
        )


def _check_special(special: pl.DataFrame, *, closed: pl.DataFrame, years: range) -> None:
    day, kind = pl.col("session"), pl.col("kind")
    is_weekend = day.dt.weekday() >= _SATURDAY
    is_full = kind.is_in([SessionKind.REGULAR.value, SessionKind.WEEKEND_SPECIAL.value])
    span = pl.col("closes_at").cast(pl.Duration) - pl.col("opens_at").cast(pl.Duration)
    faults = {
        "session is listed twice": day.is_duplicated(),
        "session is outside the known years": ~day.dt.year().is_between(years[0], years[-1]),
        "session is listed as a closure too": day.is_in(closed["session"].to_list()),
        "kind of session is unknown": ~kind.is_in([known.value for known in SessionKind]),
        "regular session is on a weekend": (kind == SessionKind.REGULAR.value) & is_weekend,
        "weekend session is on a weekday": (kind == SessionKind.WEEKEND_SPECIAL.value)
        & ~is_weekend,
        "one of open and close is missing": pl.col("opens_at").is_null()
        != pl.col("closes_at").is_null(),
        "session closes before it opens": span <= timedelta(0),
        "full-length session lacks three hours": is_full & (span.is_null() | (span < _FULL_LENGTH)),
    }
    for what, is_fault in faults.items():
        _refuse_rows(special.filter(is_fault), what, SPECIAL_SESSIONS_FILE)


def _refuse_rows(rows: pl.DataFrame, what: str, file: str) -> None:
    if not rows.is_empty():
        raise ConfigError(
            what,
            where=file,
            found=", ".join(map(str, rows["session"].unique().sort().to_list())),
            remedy="correct the row; docs/calendar.md describes the columns",
        )
