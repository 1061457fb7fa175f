"""Rows of a history reply: what they are called there, and how they become bars or quarantine.

Belongs here: the two layouts (v1: texts, daily bars stamped at noon; v2: numbers, stamped at
midnight) and what only the reader of a reply can see: whose row it is, and whether it was asked
for. Does not belong here: judging stamps and numbers (`market.quality`), asking (`client`).

Stamps are naive times in India, prices rupees, volumes shares. An index has the volume 0. Rows
stay in the quarantine as they were delivered.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import math
import operator
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from operator import itemgetter
from types import NoneType
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.market.bars import PRICES, bar_schema
from sensequant.market.intervals import Interval
from sensequant.market.quality import (
    MAX_COUNT,
    QUARANTINE_SCHEMA,
    RAW_COLUMNS,
    QualityReport,
    QuarantineReason,
    RowFormat,
    Split,
    split_quarantine,
)
from sensequant.market.sources.breeze.config import HistoryVersion
from sensequant.market.sources.breeze.sdk import EXCHANGE
from sensequant.market.sources.breeze.stamps import times_of

__all__ = ["RowRequest", "RowsRead", "read_rows", "stamp_of"]

_STAMP_FORMAT = "%Y-%m-%d %H:%M:%S"
_STAMP_LENGTH = 19

_NUMBERS = (*PRICES, "volume")
_REQUIRED = frozenset({"datetime", "stock_code", "exchange_code", *_NUMBERS})
_OF_V1 = ("product_type", "expiry_date", "right", "strike_price", "open_interest", "count")
_KNOWN = _REQUIRED.union(_OF_V1)
_NO_EXPIRY = ("", "NA", None)

_TEXT = pl.String()
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False)
_numbers_of = itemgetter(*_NUMBERS)
_PLAIN_FIELDS = ("datetime", "stock_code", "exchange_code", *_NUMBERS)

# A truth value is a number in Python, but not in a price; its type is none of these.
_SCALARS = frozenset({float, int, str, NoneType})


@dataclasses.dataclass(frozen=True, slots=True)
class RowRequest:
    """What was asked for.

    Parameters
    ----------
    symbol
        Name under which the bars are kept.
    stock_code
        Breeze's code.
    interval
        Length of the bars.
    start, end
        First and last session.
    version
        History service that answered.
    is_simulated
        Whether a simulator answered.
    """

    symbol: str
    stock_code: str
    interval: Interval
    start: date
    end: date
    version: HistoryVersion
    is_simulated: bool

    @property
    def source(self) -> str:
        """Name of the source, kept in every bar."""
        return "breeze_simulator" if self.is_simulated else "breeze"


class RowsRead(NamedTuple):
    """Bars and quarantine, the digest of what was delivered, and what was odd but mended."""

    split: Split
    digest: str
    findings: tuple[str, ...]


def read_rows(rows: Sequence[object], request: RowRequest, *, sessions: pl.Series) -> RowsRead:
    """Divide delivered rows into bars and quarantine.

    Parameters
    ----------
    rows
        Rows as delivered, of any shape.
    request
        What was asked for.
    sessions
        Every session of the NSE calendar, sorted.

    Returns
    -------
    RowsRead
        The digest is a sha256 that does not depend on the order of rows. Findings:
        `numbers_as_text` (v2 only), `extra_fields`, `out_of_order`, `duplicates_dropped`.
    """
    plain = _read_plain(rows, request)
    if plain is not None:
        return plain
    raw = _raw(rows, request)
    split = split_quarantine(
        raw,
        as_read=raw.select("row_number"),
        symbol=request.symbol,
        row_format=RowFormat(request.source, _STAMP_FORMAT),
        sessions=sessions,
        interval=request.interval,
    )
    bars = split.good.with_columns(is_simulated=pl.lit(request.is_simulated))
    numbers = split.quarantine["row_number"].to_list()
    as_delivered = pl.Series("raw_values", [_as_json(rows[n - 1]) for n in numbers], _TEXT)
    quarantine = split.quarantine.with_columns(as_delivered)
    kept = Split(bars, quarantine, split.report)
    return RowsRead(kept, _digest(rows, raw), _findings(rows, raw, kept, request))


def stamp_of(row: object, request: RowRequest) -> datetime | None:
    """Return the naive time in India at which a row of this request stands, else None.

    Rows that are no rows, of another company or outside the request have none.
    """
    if not isinstance(row, dict):
        return None
    fields = cast("dict[str, Any]", row)
    return None if _reason(fields, request) else _parsed(fields["datetime"])


class _Plain(NamedTuple):
    stamps: Sequence[str]
    numbers: dict[str, NDArray[np.float64]]
    is_in_order: bool


def _read_plain(rows: Sequence[object], request: RowRequest) -> RowsRead | None:
    # Of nearly every reply each row is a bar as it stands, which its columns tell at once. Only of
    # a reply where one is not, row by row is looked into for the reason.
    plain = _plain_of(rows, request)
    times = None if plain is None else times_of(plain.stamps, request.interval)
    if plain is None or times is None or not _are_of_bars(plain.numbers):
        return None
    bars = _plain_bars(plain, times, request)
    report = QualityReport(
        symbol=request.symbol,
        n_rows_read=bars.height,
        n_rows_good=bars.height,
        n_rows_quarantined=0,
        n_duplicates_dropped=0,
        n_by_reason={},
        n_by_dropped_series={},
    )
    total = hashlib.sha256("\n".join((request.stock_code, *plain.stamps)).encode())
    for values in plain.numbers.values():
        total.update(values.tobytes())
    findings = () if plain.is_in_order else ("out_of_order",)
    split = Split(bars, QUARANTINE_SCHEMA.to_frame(), report)
    return RowsRead(split, total.hexdigest(), findings)


def _plain_of(rows: Sequence[object], request: RowRequest) -> _Plain | None:
    columns = _columns_of(rows)
    if columns is None:
        return None
    stamps, codes, exchanges, *numbers = columns
    is_own = codes.count(request.stock_code) == exchanges.count(EXCHANGE) == len(rows)
    are_numbers = set(map(type, itertools.chain.from_iterable(numbers))) <= {float, int}
    if not (is_own and are_numbers and _are_asked_for(stamps, request)):
        return None
    try:
        values = [np.array(column, dtype=np.float64) for column in numbers]
    except OverflowError:
        return None
    is_in_order = all(map(operator.lt, stamps, stamps[1:]))
    if not is_in_order:
        order = np.argsort(stamps)
        stamps = [stamps[place] for place in order]
        values = [column[order] for column in values]
    return _Plain(stamps, dict(zip(_NUMBERS, values, strict=True)), is_in_order)


def _columns_of(rows: Sequence[object]) -> list[list[Any]] | None:
    if set(map(type, rows)) != {dict}:
        return None
    parts = cast("Sequence[dict[str, Any]]", rows)
    if set(map(len, parts)) != {len(_REQUIRED)}:
        return None
    try:
        # With as many fields as there are, none may be missing.
        return [[fields[name] for fields in parts] for name in _PLAIN_FIELDS]
    except KeyError:
        return None


def _are_asked_for(stamps: Sequence[Any], request: RowRequest) -> bool:
    if set(map(type, stamps)) != {str} or set(map(len, stamps)) != {_STAMP_LENGTH}:
        return False
    # Stamps of this form sort as texts.
    is_within = min(stamps)[:10] >= f"{request.start}" and max(stamps)[:10] <= f"{request.end}"
    return is_within and len(set(stamps)) == len(stamps)


def _are_of_bars(numbers: Mapping[str, NDArray[np.float64]]) -> bool:
    # What `validate_bars` asks of these columns; the others of a plain reply are made here.
    opened, high, low, closed, volumes = (numbers[name] for name in _NUMBERS)
    is_fine = (
        (low > 0)
        & (low <= opened)
        & (low <= closed)
        & (high >= opened)
        & (high >= closed)
        & (high < np.inf)
        & (volumes >= 0)
        & (volumes < MAX_COUNT)
        & (np.floor(volumes) == volumes)
    )
    return bool(is_fine.all())


def _plain_bars(plain: _Plain, times: Mapping[str, pl.Series], request: RowRequest) -> pl.DataFrame:
    constants: dict[str, object] = {
        "symbol": request.symbol,
        "source_symbol": request.stock_code,
        "source": request.source,
        "is_simulated": request.is_simulated,
    }
    columns: dict[str, pl.Series] = {
        **times,
        **{name: pl.Series(plain.numbers[name]) for name in PRICES},
        "volume": pl.Series(plain.numbers["volume"].astype(np.int64)),
    }
    n_rows = len(plain.stamps)
    return pl.DataFrame(
        [
            columns[name].alias(name)
            if name in columns
            else pl.Series(name, [constants.get(name)], dtype=kind).new_from_index(0, n_rows)
            for name, kind in bar_schema(request.interval).items()
        ]
    )


def _raw(rows: Sequence[object], request: RowRequest) -> pl.DataFrame:
    parts = [cast("dict[str, Any]", row) if isinstance(row, dict) else {} for row in rows]
    names = {"session": "datetime", "source_symbol": "stock_code"} | {n: n for n in _NUMBERS}
    columns = {
        column: _texts([fields.get(name) for fields in parts]) for column, name in names.items()
    }
    reasons = [_reason(fields, request) for fields in parts]
    columns["reader_reason"] = pl.Series(reasons, dtype=_TEXT)
    absent = (pl.lit(None, dtype=_TEXT).alias(name) for name in RAW_COLUMNS if name not in columns)
    frame = pl.DataFrame(columns).with_columns(absent)
    numbers = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    return frame.with_columns(row_number=numbers).select(RAW_COLUMNS)


def _texts(values: list[Any]) -> pl.Series:
    kinds = set(map(type, values))
    if kinds <= {str, NoneType}:
        return pl.Series(values, dtype=_TEXT)
    if kinds <= {float, int}:
        # The shortest text that stands for the number, so nothing is lost on the way back.
        with contextlib.suppress(OverflowError):
            return pl.Series(values, dtype=pl.Float64, strict=False).cast(_TEXT)
    return pl.Series([_text(value) for value in values], dtype=_TEXT)


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    # What is neither text nor number makes the row malformed.
    return repr(value) if type(value) in (float, int) else None


def _reason(fields: Mapping[str, Any], request: RowRequest) -> str | None:
    if not _is_well_formed(fields):
        return QuarantineReason.MALFORMED_ROW.value
    if not _is_own(fields, request):
        return QuarantineReason.OTHER_SYMBOL.value
    stamp = _parsed(fields["datetime"])
    if stamp is not None and not request.start <= stamp.date() <= request.end:
        return QuarantineReason.OUTSIDE_REQUEST.value
    return None


def _is_well_formed(fields: Mapping[str, Any]) -> bool:
    if not fields.keys() >= _REQUIRED:
        return False
    is_named = isinstance(fields["datetime"], str) and isinstance(fields["stock_code"], str)
    return is_named and _SCALARS.issuperset(map(type, _numbers_of(fields)))


def _is_own(fields: Mapping[str, Any], request: RowRequest) -> bool:
    is_share = fields.get("expiry_date") in _NO_EXPIRY
    exchange = str(fields["exchange_code"]).strip().upper()
    return is_share and exchange == EXCHANGE and fields["stock_code"].strip() == request.stock_code


def _parsed(stamp: str) -> datetime | None:
    text = stamp.strip()
    if len(text) != _STAMP_LENGTH or text[10] != " ":
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _findings(
    rows: Sequence[object], raw: pl.DataFrame, split: Split, request: RowRequest
) -> tuple[str, ...]:
    fields = [cast("dict[str, Any]", row) for row in rows if isinstance(row, dict)]
    found = {
        "numbers_as_text": request.version == "v2" and _have_text_numbers(fields),
        "extra_fields": not all(row.keys() <= _KNOWN for row in fields),
        # Stamps of this form sort as texts.
        "out_of_order": not raw.filter(pl.col("reader_reason").is_null())["session"].is_sorted(),
        "duplicates_dropped": split.report.n_duplicates_dropped > 0,
    }
    return tuple(name for name, is_found in found.items() if is_found)


def _have_text_numbers(parts: Sequence[Mapping[str, Any]]) -> bool:
    columns = ([fields.get(name) for fields in parts] for name in _NUMBERS)
    texts = (value for column in columns for value in column if isinstance(value, str))
    return any(map(_is_number, texts))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text.replace(",", "")))
    except ValueError:
        return False


def _digest(rows: Sequence[object], raw: pl.DataFrame) -> str:
    if raw["reader_reason"].null_count() < raw.height:
        # What was refused is no row of ours, so the whole of what came counts.
        return hashlib.sha256(_as_json(_in_order(rows)).encode()).hexdigest()
    texts = raw.select(pl.exclude("row_number").fill_null("\0"))
    lines = texts.select(pl.concat_str(pl.all(), separator="\x1f").sort().str.join("\n"))
    return hashlib.sha256(str(lines.item()).encode()).hexdigest()


def _in_order(rows: Sequence[object]) -> Sequence[object]:
    parts = [cast("dict[str, Any]", row) for row in rows if isinstance(row, dict)]
    stamps = [fields.get("datetime") for fields in parts if isinstance(fields.get("datetime"), str)]
    if len(set(stamps)) == len(rows):
        return sorted(parts, key=itemgetter("datetime"))
    return sorted(rows, key=_as_json)


def _as_json(value: object) -> str:
    try:
        return _ENCODER.encode(value)
    except ValueError:
        # JSON has no NaN, although the service may write it.
        return _ENCODER.encode(_without_nan(value))


def _without_nan(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return {name: _without_nan(field) for name, field in fields.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in cast("list[object]", value)]
    return value
