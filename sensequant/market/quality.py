"""What happens to delivered rows that are wrong: they are kept apart, with the reason.

Belongs here: the reasons, the split of delivered rows into bars and quarantine, and the count of
what was done. Does not belong here: how a layout names its columns (`sources`).

Nothing is clipped, filled or corrected. A row with a hard error leaves the bars and is kept in the
quarantine as it was read. Identical copies of a row are dropped and counted; when copies of one
session differ, nobody knows which one is right, so all of them go.

Row numbers count the data rows of a file from 1; the header is not counted.
"""

import dataclasses
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

import polars as pl

from sensequant.market.bars import BAR_COLUMNS, PRICES
from sensequant.records import Record

__all__ = [
    "KEPT_SERIES",
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
    BAD_DATE = "bad_date"
    OUTSIDE_CALENDAR = "outside_calendar"
    NOT_A_SESSION = "not_a_session"
    MISSING_PRICE = "missing_price"
    NON_NUMERIC_PRICE = "non_numeric_price"
    ZERO_OR_NEGATIVE_PRICE = "zero_or_negative_price"
    HIGH_BELOW_LOW = "high_below_low"
    PRICE_OUTSIDE_RANGE = "price_outside_range"
    INVALID_NUMBER = "invalid_number"
    NEGATIVE_VOLUME = "negative_volume"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"


KEPT_SERIES = ("EQ", "BE")
"""Ordinary trading and trade-to-trade; both are trades in the same share at the same exchange."""

QUARANTINE_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.Date(),
        "row_number": pl.Int64(),
        "reason": pl.String(),
        "raw_values": pl.String(),
    }
)

_FLOATS = (*PRICES, "previous_close", "average_price", "turnover_inr")
_COUNTS = ("volume", "n_trades", "delivered_volume")
_NUMBERS = (*_FLOATS, *_COUNTS)
_MISSING = ("", "-")

# Above this a float no longer tells one whole number from the next.
_MAX_COUNT = 2**53

RAW_COLUMNS = ("row_number", "session", *_NUMBERS, "series", "source_symbol", "reader_reason")
"""What a reader hands over: `row_number` is an integer, all else text as delivered, or null.

`reader_reason` is a reason that only the reader of a layout can see, null where there is none.
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
        Format of `session` in strftime terms.
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

    Returns
    -------
    Split
        Valid bars, sorted; rows in `QUARANTINE_SCHEMA`, by row number; the report.
    """
    kept_rows = pl.col("series").str.strip_chars().is_in(KEPT_SERIES) | pl.col("series").is_null()
    typed = _judged(_typed(raw.filter(kept_rows), row_format), sessions)
    wrong = typed.filter(pl.col("reason").is_not_null())
    fine = typed.filter(pl.col("reason").is_null())
    # The typed values decide: `1,990.05` and `1990.05` are one price.
    values = [column for column in fine.columns if column != "row_number"]
    unique = fine.unique(subset=values, keep="first", maintain_order=True)
    good, conflicting = _without_conflicts(unique, wrong)
    quarantine = _quarantine(pl.concat([wrong, conflicting]), as_read=as_read, symbol=symbol)
    report = QualityReport(
        symbol=symbol,
        n_rows_read=raw.height,
        n_rows_good=good.height,
        n_rows_quarantined=quarantine.height,
        n_duplicates_dropped=fine.height - unique.height,
        n_by_reason=_counts(quarantine["reason"]),
        n_by_dropped_series=_counts(raw.filter(~kept_rows)["series"].str.strip_chars()),
    )
    return Split(_as_bars(good, symbol=symbol, source=row_format.source), quarantine, report)


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


def _typed(raw: pl.DataFrame, row_format: RowFormat) -> pl.DataFrame:
    texts = raw.with_columns(
        pl.col("session", "series", "source_symbol", *_NUMBERS).str.strip_chars()
    ).with_columns(
        pl.when(pl.col(name).is_in(_MISSING)).then(None).otherwise(pl.col(name)).alias(name)
        for name in _NUMBERS
    )
    numbers = pl.col(*_NUMBERS).str.replace_all(",", "", literal=True)
    read = texts.with_columns(
        numbers.cast(pl.Float64, strict=False),
        pl.col("session").str.to_date(row_format.date_format, strict=False, exact=True),
        has_every_price=pl.all_horizontal(pl.col(name).is_not_null() for name in PRICES),
        has_volume=pl.col("volume").is_not_null(),
        n_texts=pl.sum_horizontal(pl.col(name).is_not_null() for name in _NUMBERS),
    )
    # Paise are the smallest unit there is; the product with a power of ten leaves float dust.
    turnover = (pl.col("turnover_inr") * row_format.turnover_unit_inr).round(2)
    return read.with_columns(turnover_inr=turnover)


def _judged(typed: pl.DataFrame, sessions: pl.Series) -> pl.DataFrame:
    is_finite = {name: pl.col(name).is_finite().fill_null(value=False) for name in _NUMBERS}
    has_texts_only_of_numbers = pl.sum_horizontal(is_finite.values()) == pl.col("n_texts")
    is_whole = pl.all_horizontal(
        ((pl.col(name) == pl.col(name).floor()) & (pl.col(name) < _MAX_COUNT)).fill_null(value=True)
        for name in _COUNTS
    )
    is_negative = {name: (pl.col(name) < 0).fill_null(value=False) for name in _NUMBERS}
    first, last = sessions.min(), sessions.max()
    tests = {
        QuarantineReason.BAD_DATE: pl.col("session").is_null(),
        QuarantineReason.OUTSIDE_CALENDAR: ~pl.col("session").is_between(
            pl.lit(first), pl.lit(last)
        ),
        QuarantineReason.NOT_A_SESSION: ~pl.col("session").is_in(sessions.implode()),
        QuarantineReason.MISSING_PRICE: ~pl.col("has_every_price"),
        QuarantineReason.NON_NUMERIC_PRICE: ~pl.all_horizontal(is_finite[name] for name in PRICES),
        QuarantineReason.ZERO_OR_NEGATIVE_PRICE: pl.min_horizontal(PRICES) <= 0,
        QuarantineReason.HIGH_BELOW_LOW: pl.col("high") < pl.col("low"),
        QuarantineReason.PRICE_OUTSIDE_RANGE: (
            (pl.max_horizontal("open", "close") > pl.col("high"))
            | (pl.min_horizontal("open", "close") < pl.col("low"))
        ),
        QuarantineReason.INVALID_NUMBER: (
            ~pl.col("has_volume")
            | ~has_texts_only_of_numbers
            | ~is_whole
            | pl.any_horizontal(is_negative[name] for name in _FLOATS)
        ),
        QuarantineReason.NEGATIVE_VOLUME: pl.any_horizontal(is_negative[name] for name in _COUNTS),
    }
    reasons = [pl.when(test).then(pl.lit(reason.value)) for reason, test in tests.items()]
    return typed.select(
        "row_number",
        "session",
        *_NUMBERS,
        "series",
        "source_symbol",
        reason=pl.coalesce(pl.col("reader_reason"), *reasons),
    )


def _without_conflicts(
    unique: pl.DataFrame, wrong: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    dated = pl.concat([unique["session"], wrong["session"]]).drop_nulls()
    contested = dated.filter(dated.is_duplicated()).unique()
    is_contested = pl.col("session").is_in(contested.implode())
    reason = pl.lit(QuarantineReason.CONFLICTING_DUPLICATE.value)
    return unique.filter(~is_contested), unique.filter(is_contested).with_columns(reason=reason)


def _quarantine(rows: pl.DataFrame, *, as_read: pl.DataFrame, symbol: str) -> pl.DataFrame:
    if rows.is_empty():
        return QUARANTINE_SCHEMA.to_frame()
    ordered = rows.sort("row_number")
    raw_values = as_read[(ordered["row_number"] - 1).to_list()].select(
        pl.struct(pl.all()).struct.json_encode().alias("raw_values")
    )
    columns = ordered.select(pl.lit(symbol).alias("symbol"), "session", "row_number", "reason")
    return pl.concat([columns, raw_values], how="horizontal").cast(QUARANTINE_SCHEMA)


def _as_bars(good: pl.DataFrame, *, symbol: str, source: str) -> pl.DataFrame:
    return (
        good.select(
            pl.lit(symbol).alias("symbol"),
            "session",
            *_FLOATS[: len(PRICES)],
            pl.col("volume").cast(pl.Int64),
            *_FLOATS[len(PRICES) :],
            pl.col("n_trades", "delivered_volume").cast(pl.Int64),
            "series",
            pl.col("source_symbol").fill_null(symbol),
            pl.lit(source).alias("source"),
            pl.lit(value=False).alias("is_simulated"),
        )
        .select(BAR_COLUMNS)
        .sort("session")
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
