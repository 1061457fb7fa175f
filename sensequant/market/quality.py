"""What happens to delivered rows that are wrong: they are kept apart, with the reason.

Belongs here: the reasons, the split of delivered rows into bars and quarantine, and the count of
what was done. Does not belong here: how a layout names its columns (`sources`).

Nothing is clipped, filled or corrected. A row with a hard error leaves the bars and is kept in the
quarantine as it was read. Identical copies of a row are dropped and counted; when copies of one
session differ, nobody knows which one is right, so all of them go.

Row numbers count the data rows of a file from 1; the header is not counted.

A stamp of a daily row names its session: it is a date, or midnight or noon of it, and any other
hour makes it a bad date, because a converted time zone may have moved it to another day. A stamp of
an intraday row is the wall clock in India at which the bar begins; `starts_at` is that instant in
UTC. Where the hours of a session are not known, its bars must begin on a whole minute, no more.
"""

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime, time
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

import polars as pl

from sensequant.errors import ConfigError
from sensequant.market.bars import (
    DAILY,
    INTRADAY_SCHEMA,
    PRICES,
    Interval,
    bar_key,
    bar_schema,
)
from sensequant.market.intervals import is_intraday, minutes_of
from sensequant.market.sessions import IST, SessionKind, nse_calendar
from sensequant.records import Record

__all__ = [
    "KEPT_SERIES",
    "MAX_COUNT",
    "QUARANTINE_SCHEMA",
    "RAW_COLUMNS",
    "QualityReport",
    "QuarantineReason",
    "RowFormat",
    "Split",
    "merge_reports",
    "split_quarantine",
]


class QuarantineReason(StrEnum):
    """Why a delivered row is no bar; the first that applies is recorded."""

    FABRICATED = "fabricated"
    MALFORMED_ROW = "malformed_row"
    OTHER_SYMBOL = "other_symbol"
    OUTSIDE_REQUEST = "outside_request"
    BAD_DATE = "bad_date"
    OUTSIDE_CALENDAR = "outside_calendar"
    NOT_A_SESSION = "not_a_session"
    OUTSIDE_HOURS = "outside_hours"
    OFF_GRID = "off_grid"
    MISSING_PRICE = "missing_price"
    NON_NUMERIC_PRICE = "non_numeric_price"
    ZERO_OR_NEGATIVE_PRICE = "zero_or_negative_price"
    HIGH_BELOW_LOW = "high_below_low"
    PRICE_OUTSIDE_RANGE = "price_outside_range"
    INVALID_NUMBER = "invalid_number"
    NEGATIVE_VOLUME = "negative_volume"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"


_Tests = dict[QuarantineReason, pl.Expr]

KEPT_SERIES = ("EQ", "BE")
"""Ordinary trading and trade-to-trade; both are trades in the same share at the same exchange."""

QUARANTINE_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.Date(),
        "starts_at": INTRADAY_SCHEMA["starts_at"],
        "row_number": pl.Int64(),
        "reason": pl.String(),
        "raw_values": pl.String(),
    }
)
"""A refused row: `starts_at` is null for a daily one, `session` too where the stamp is no date."""

_FLOATS = (*PRICES, "previous_close", "average_price", "turnover_inr")
_COUNTS = ("volume", "n_trades", "delivered_volume")
_NUMBERS = (*_FLOATS, *_COUNTS)
_MISSING = ("", "-")

_INSTANT = INTRADAY_SCHEMA["starts_at"]
_TIMES_OF_DAY = ("%H", "%I", "%R", "%T")
_DAILY_LABELS = (time(0), time(12))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = 60_000_000  # of a minute

MAX_COUNT = 2**53
"""Above this a float no longer tells one whole number from the next."""

RAW_COLUMNS = ("row_number", "session", *_NUMBERS, "series", "source_symbol", "reader_reason")
"""What a reader hands over: `row_number` is an integer, all else text as delivered, or null.

`session` holds the stamp of the row, whatever the interval. `reader_reason` is a reason that only
the reader of a layout can see (fabricated, malformed, another symbol's, not asked for), null where
there is none.
"""


class QualityReport(Record):
    """How many rows were read and what became of them.

    `n_rows_read` is the sum of good, quarantined, duplicate and other-series rows.
    """

    symbol: str
    n_rows_read: int
    n_rows_good: int
    n_rows_quarantined: int
    n_duplicates_dropped: int
    n_by_reason: dict[str, int]
    n_by_dropped_series: dict[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class RowFormat:
    """How the texts of a source are to be read.

    Parameters
    ----------
    source
        Name of the source, kept in every bar.
    date_format
        Format of `session` in strftime terms: a date, or a naive time in India.
    turnover_unit_inr
        Rupees that one unit of the turnover column stands for.
    """

    source: str
    date_format: str
    turnover_unit_inr: float = 1.0


class Split(NamedTuple):
    """Bars, quarantined rows and the count of both."""

    good: pl.DataFrame
    quarantine: pl.DataFrame
    report: QualityReport


def split_quarantine(
    raw: pl.DataFrame,
    *,
    as_read: pl.DataFrame,
    symbol: str,
    row_format: RowFormat,
    sessions: pl.Series,
    interval: Interval = DAILY,
) -> Split:
    """Divide delivered rows into bars and quarantine.

    Parameters
    ----------
    raw
        Rows in the columns of `RAW_COLUMNS`.
    as_read
        The same rows with the columns of the file: what the quarantine keeps, row by row.
    symbol
        Name under which the bars are kept.
    row_format
        How the texts are to be read.
    sessions
        Every session of the NSE calendar, sorted.
    interval
        Length of the bars; their hours are those of the NSE calendar.

    Returns
    -------
    Split
        Valid bars, sorted; rows in `QUARANTINE_SCHEMA`, by row number; the report.

    Raises
    ------
    ConfigError
        The bars are intraday and the format of their stamps has no time of day.
    """
    stripped = raw.with_columns(
        pl.col("session", "series", "source_symbol").str.strip_chars(),
    )
    is_kept = pl.col("series").is_in(KEPT_SERIES) | pl.col("series").is_null()
    kept = stripped.filter(is_kept)
    typed = _judged(_timed(_typed(kept, row_format), row_format, interval), sessions, interval)
    wrong = typed.filter(pl.col("reason").is_not_null())
    fine = typed.filter(pl.col("reason").is_null()) if wrong.height else typed
    unique, good, conflicting = _told_apart(fine, wrong, key=bar_key(interval)[1])
    quarantine = _quarantine(pl.concat([wrong, conflicting]), as_read=as_read, symbol=symbol)
    report = QualityReport(
        symbol=symbol,
        n_rows_read=raw.height,
        n_rows_good=good.height,
        n_rows_quarantined=quarantine.height,
        n_duplicates_dropped=fine.height - unique.height,
        n_by_reason=_counts(quarantine["reason"]),
        n_by_dropped_series=_counts(stripped.filter(~is_kept)["series"]),
    )
    bars = _as_bars(good, symbol=symbol, source=row_format.source, interval=interval)
    return Split(bars, quarantine, report)


def merge_reports(reports: Iterable[QualityReport], *, symbol: str) -> QualityReport:
    """Add up the reports of several files of one symbol."""
    parts = list(reports)
    return QualityReport(
        symbol=symbol,
        n_rows_read=sum(part.n_rows_read for part in parts),
        n_rows_good=sum(part.n_rows_good for part in parts),
        n_rows_quarantined=sum(part.n_rows_quarantined for part in parts),
        n_duplicates_dropped=sum(part.n_duplicates_dropped for part in parts),
        n_by_reason=_summed(part.n_by_reason for part in parts),
        n_by_dropped_series=_summed(part.n_by_dropped_series for part in parts),
    )


class _ToldApart(NamedTuple):
    unique: pl.DataFrame
    good: pl.DataFrame
    conflicting: pl.DataFrame


def _typed(kept: pl.DataFrame, row_format: RowFormat) -> pl.DataFrame:
    read = kept.with_columns(pl.col(*_NUMBERS).cast(pl.Float64, strict=False))
    # Most texts are plain numbers; only columns where some are not have their spelling looked into.
    unread = [name for name in _NUMBERS if read[name].null_count() > kept[name].null_count()]
    if unread:
        read = _spelt(read, kept.select(unread))
    else:
        every_price = pl.all_horizontal(pl.col(*PRICES).is_not_null())
        read = read.with_columns(has_every_price=every_price, has_unread=pl.lit(value=False))
    # Paise are the smallest unit there is; the product with a power of ten leaves float dust.
    turnover = (pl.col("turnover_inr") * row_format.turnover_unit_inr).round(2)
    return read.with_columns(turnover_inr=turnover)


def _spelt(read: pl.DataFrame, delivered: pl.DataFrame) -> pl.DataFrame:
    stripped = delivered.select(pl.all().str.strip_chars())
    texts = stripped.select(
        pl.when(~pl.col(name).is_in(_MISSING)).then(pl.col(name)).alias(name)
        for name in stripped.columns
    )
    numbers = texts.select(
        pl.all().str.replace_all(",", "", literal=True).cast(pl.Float64, strict=False)
    )
    is_text = texts.select(pl.all().is_not_null().name.suffix("_is_text"))
    both = read.with_columns(*numbers.iter_columns(), *is_text.iter_columns())
    is_there = [
        pl.col(f"{name}_is_text") if name in texts.columns else pl.col(name).is_not_null()
        for name in PRICES
    ]
    return both.with_columns(
        has_every_price=pl.all_horizontal(is_there),
        has_unread=pl.any_horizontal(
            pl.col(f"{name}_is_text") & pl.col(name).is_null() for name in texts.columns
        ),
    )


def _timed(typed: pl.DataFrame, row_format: RowFormat, interval: Interval) -> pl.DataFrame:
    stamp, form = pl.col("session"), row_format.date_format
    if is_intraday(interval):
        _require_time_of_day(row_format, interval)
        wall = stamp.str.to_datetime(form, time_unit="us", strict=False, exact=True)
        return typed.with_columns(session=wall.dt.date(), starts_at=_as_utc(wall))
    if _has_time_of_day(form):
        wall = stamp.str.to_datetime(form, time_unit="us", strict=False, exact=True)
        day = pl.when(wall.dt.time().is_in(_DAILY_LABELS)).then(wall.dt.date())
    else:
        day = stamp.str.to_date(form, strict=False, exact=True)
    return typed.with_columns(session=day, starts_at=pl.lit(None, dtype=_INSTANT))


def _has_time_of_day(form: str) -> bool:
    return any(code in form for code in _TIMES_OF_DAY)


def _require_time_of_day(row_format: RowFormat, interval: Interval) -> None:
    if not _has_time_of_day(row_format.date_format):
        raise ConfigError(
            "format of intraday stamps has no time of day",
            where=f"{row_format.source} {interval}",
            expected=f"a format with one of {', '.join(_TIMES_OF_DAY)}",
            found=row_format.date_format,
            remedy="give the format of the whole stamp",
        )


def _as_utc(wall: pl.Expr) -> pl.Expr:
    return (wall - IST.utcoffset(None)).dt.cast_time_unit("us").dt.replace_time_zone("UTC")


def _judged(typed: pl.DataFrame, sessions: pl.Series, interval: Interval) -> pl.DataFrame:
    tests = _stamp_tests(sessions)
    if is_intraday(interval):
        typed = typed.join(_hours(), on="session", how="left", maintain_order="left")
        tests |= _hour_tests(interval)
    tests |= _number_tests()
    columns = ("row_number", "session", "starts_at", *_NUMBERS, "series", "source_symbol")
    is_wrong = pl.any_horizontal(pl.col("reader_reason").is_not_null(), *tests.values())
    if not typed.select(is_wrong.any()).item():
        return typed.select(*columns, reason=pl.lit(None, dtype=pl.String))
    reasons = [pl.when(test).then(pl.lit(reason.value)) for reason, test in tests.items()]
    return typed.select(*columns, reason=pl.coalesce(pl.col("reader_reason"), *reasons))


def _stamp_tests(sessions: pl.Series) -> _Tests:
    session = pl.col("session")
    known = session.is_between(pl.lit(sessions.min()), pl.lit(sessions.max()))
    return {
        QuarantineReason.BAD_DATE: session.is_null(),
        QuarantineReason.OUTSIDE_CALENDAR: ~known,
        QuarantineReason.NOT_A_SESSION: ~session.is_in(sessions.implode()),
    }


def _hour_tests(interval: Interval) -> _Tests:
    starts_at = pl.col("starts_at")
    is_known = pl.col("opens_at").is_not_null()
    length = pl.when(is_known).then(minutes_of(interval)).otherwise(1) * _MICROSECONDS
    since = (starts_at - pl.col("opens_at").fill_null(_EPOCH)).dt.total_microseconds()
    return {
        QuarantineReason.OUTSIDE_HOURS: ~starts_at.is_between("opens_at", "closes_at", "left"),
        QuarantineReason.OFF_GRID: since % length != 0,
    }


@lru_cache(maxsize=1)
def _hours() -> pl.DataFrame:
    # Only the first open and the last close of a drill are known, not the break between.
    return (
        nse_calendar()
        .table.filter(pl.col("opens_at").is_not_null(), pl.col("kind") != SessionKind.DRILL.value)
        .select(
            "session",
            *(
                _as_utc(pl.col("session").dt.combine(pl.col(name))).alias(name)
                for name in ("opens_at", "closes_at")
            ),
        )
    )


def _number_tests() -> _Tests:
    # A comparison with null is null, which no test takes for a defect.
    is_finite = {name: pl.col(name).is_finite() for name in _NUMBERS}
    is_negative = {name: pl.col(name) < 0 for name in _NUMBERS}
    return {
        QuarantineReason.MISSING_PRICE: ~pl.col("has_every_price"),
        QuarantineReason.NON_NUMERIC_PRICE: ~pl.all_horizontal(
            is_finite[name].fill_null(value=False) for name in PRICES
        ),
        QuarantineReason.ZERO_OR_NEGATIVE_PRICE: pl.min_horizontal(PRICES) <= 0,
        QuarantineReason.HIGH_BELOW_LOW: pl.col("high") < pl.col("low"),
        QuarantineReason.PRICE_OUTSIDE_RANGE: (
            (pl.max_horizontal("open", "close") > pl.col("high"))
            | (pl.min_horizontal("open", "close") < pl.col("low"))
        ),
        QuarantineReason.INVALID_NUMBER: pl.any_horizontal(
            pl.col("has_unread"),
            pl.col("volume").is_null(),
            *(~is_finite[name] for name in _NUMBERS if name not in PRICES),
            *(pl.col(name) != pl.col(name).floor() for name in _COUNTS),
            *(pl.col(name) >= MAX_COUNT for name in _COUNTS),
            *(is_negative[name] for name in _FLOATS if name not in PRICES),
        ),
        QuarantineReason.NEGATIVE_VOLUME: pl.any_horizontal(is_negative[name] for name in _COUNTS),
    }


def _told_apart(fine: pl.DataFrame, wrong: pl.DataFrame, *, key: str) -> _ToldApart:
    if wrong.is_empty() and fine[key].n_unique() == fine.height:
        return _ToldApart(fine, fine, fine.clear())
    # The typed values decide: `1,990.05` and `1990.05` are one price.
    values = [column for column in fine.columns if column != "row_number"]
    unique = fine.unique(subset=values, keep="first", maintain_order=True)
    # A row of another company claims nothing about this one.
    rivals = wrong.filter(pl.col("reason") != QuarantineReason.OTHER_SYMBOL.value)
    claims = pl.concat([unique[key], rivals[key]]).drop_nulls()
    contested = claims.filter(claims.is_duplicated()).unique()
    is_contested = pl.col(key).is_in(contested.implode())
    reason = pl.lit(QuarantineReason.CONFLICTING_DUPLICATE.value)
    return _ToldApart(
        unique,
        unique.filter(~is_contested),
        unique.filter(is_contested).with_columns(reason=reason),
    )


def _quarantine(rows: pl.DataFrame, *, as_read: pl.DataFrame, symbol: str) -> pl.DataFrame:
    if rows.is_empty():
        return QUARANTINE_SCHEMA.to_frame()
    ordered = rows.sort("row_number")
    raw_values = as_read[(ordered["row_number"] - 1).to_list()].select(
        pl.struct(pl.all()).struct.json_encode().alias("raw_values")
    )
    named = ordered.with_columns(symbol=pl.lit(symbol))
    columns = named.select("symbol", "session", "starts_at", "row_number", "reason")
    return pl.concat([columns, raw_values], how="horizontal").cast(QUARANTINE_SCHEMA)


def _as_bars(good: pl.DataFrame, *, symbol: str, source: str, interval: Interval) -> pl.DataFrame:
    schema = bar_schema(interval)
    return (
        good.with_columns(
            pl.lit(symbol).alias("symbol"),
            pl.col(*_COUNTS).cast(pl.Int64),
            pl.col("source_symbol").fill_null(symbol),
            pl.lit(source).alias("source"),
            pl.lit(value=False).alias("is_simulated"),
        )
        .select(schema.names())
        .sort(bar_key(interval)[1])
    )


def _counts(values: pl.Series) -> dict[str, int]:
    counted = values.drop_nulls().value_counts(name="n").sort(values.name)
    return dict(counted.iter_rows())


def _summed(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))
