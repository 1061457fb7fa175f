"""Bars: one row per symbol and session, or instant, as the exchange published it, not adjusted.

Belongs here: the schema, the check that every frame from outside passes, and the digest of bars.
Does not belong here: reading rows out of files (`sources`), what happens to a row that is wrong
(`quality`), adjustment (`adjustments`), storage (`store`).

Prices are rupees per share, `turnover_inr` is rupees, volumes are shares. Missing is null; NaN and
infinity are refused. `symbol` is the name under which the bar is kept, `source_symbol` the name
that stood in the delivered row. Intraday bars also carry `starts_at`, the instant at which the bar
begins; `session` is its date in India.
"""

import math
from datetime import timedelta
from functools import cache
from typing import NamedTuple

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.market.intervals import DAILY, Interval, is_intraday
from sensequant.market.sessions import IST
from sensequant.records import frame_digest

__all__ = [
    "BAR_COLUMNS",
    "BAR_KEY",
    "BAR_SCHEMA",
    "DAILY",
    "INTRADAY_SCHEMA",
    "OPTIONAL_NUMBERS",
    "PRICES",
    "Interval",
    "bar_key",
    "bar_schema",
    "bars_digest",
    "validate_bars",
]

PRICES = ("open", "high", "low", "close")
"""The four prices that every bar has."""

OPTIONAL_NUMBERS = (
    "previous_close",
    "average_price",
    "turnover_inr",
    "n_trades",
    "delivered_volume",
)
"""Numbers that a source may leave out."""

BAR_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.Date(),
        "open": pl.Float64(),
        "high": pl.Float64(),
        "low": pl.Float64(),
        "close": pl.Float64(),
        "volume": pl.Int64(),
        "previous_close": pl.Float64(),
        "average_price": pl.Float64(),
        "turnover_inr": pl.Float64(),
        "n_trades": pl.Int64(),
        "delivered_volume": pl.Int64(),
        "series": pl.String(),
        "source_symbol": pl.String(),
        "source": pl.String(),
        "is_simulated": pl.Boolean(),
    }
)
"""A bar that is a session."""

BAR_COLUMNS = tuple(BAR_SCHEMA)
BAR_KEY = ("symbol", "session")

INTRADAY_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.Date(),
        "starts_at": pl.Datetime("us", "UTC"),
        **{name: kind for name, kind in BAR_SCHEMA.items() if name not in BAR_KEY},
    }
)
"""A bar that is a part of a session."""

_INTRADAY_KEY = ("symbol", "starts_at")

_NULLABLE = (*OPTIONAL_NUMBERS, "series")


class _Rule(NamedTuple):
    column: str
    is_fine: pl.Expr
    expected: str


_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS_OF_A_DAY = timedelta(days=1) // _MICROSECOND
_AHEAD_OF_UTC = f"{int(IST.utcoffset(None).total_seconds())}s"


def bar_schema(interval: Interval) -> pl.Schema:
    """Return the columns of bars of this length."""
    return INTRADAY_SCHEMA if is_intraday(interval) else BAR_SCHEMA


def bar_key(interval: Interval) -> tuple[str, ...]:
    """Return the columns that tell one bar from another."""
    return _INTRADAY_KEY if is_intraday(interval) else BAR_KEY


def validate_bars(frame: pl.DataFrame, interval: Interval = DAILY) -> pl.DataFrame:
    """Return the frame if it is a valid frame of bars, else raise.

    Parameters
    ----------
    frame
        Exactly the columns of `bar_schema`, in that order, sorted by `bar_key`, one row each. An
        empty frame with that schema is valid.
    interval
        Length of the bars.

    Returns
    -------
    polars.DataFrame
        The same object.

    Raises
    ------
    InvalidBarsError
        Columns, order, values or sorting are wrong; the first offending row is named.
    """
    _require_schema(frame, bar_schema(interval))
    # Nearly every frame is valid, which whole columns tell soonest; only a bad one is searched.
    if not _is_valid(frame, interval):
        _require_order(frame, bar_key(interval))
        for rule in _rules(interval):
            _require(frame, rule)
    return frame


def bars_digest(frame: pl.DataFrame, interval: Interval = DAILY) -> str:
    """Return the sha256 of the values of bars, whatever the order of rows.

    Only the columns of `bar_schema` count: when a bar was fetched and whether it is final do not.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    columns = tuple(bar_schema(interval))
    return frame_digest(frame.select(columns).sort(columns))


def _require_schema(frame: pl.DataFrame, schema: pl.Schema) -> None:
    if frame.schema == schema and tuple(frame.columns) == tuple(schema):
        return
    missing = [name for name in schema if name not in frame.columns]
    extra = [name for name in frame.columns if name not in schema]
    wrong = [
        f"{name} is {frame.schema[name]}, not {dtype}"
        for name, dtype in schema.items()
        if name in frame.columns and frame.schema[name] != dtype
    ]
    found = [f"missing {missing}"] if missing else []
    found += [f"extra {extra}"] if extra else []
    found += wrong or []
    raise InvalidBarsError(
        "frame has not the columns of bars",
        expected=", ".join(f"{name} {dtype}" for name, dtype in schema.items()),
        found="; ".join(found) or "the columns in another order",
        remedy="build the frame with bar_schema",
    )


def _is_valid(frame: pl.DataFrame, interval: Interval) -> bool:
    # The rules of `_rules`, on columns instead of expressions: planning a query for each delivery
    # would take longer than the comparisons.
    if any(frame[name].null_count() for name in bar_schema(interval) if name not in _NULLABLE):
        return False
    opened, high, low, closed = (frame[name] for name in PRICES)
    optional = [frame[name] for name in OPTIONAL_NUMBERS]
    amounts = [values for values in optional if values.null_count() < frame.height]
    # NaN is above every number here, infinity included.
    are_fine = (
        low > 0,
        low <= opened,
        opened <= high,
        low <= closed,
        closed <= high,
        high < math.inf,
        *(values >= 0 for values in (frame["volume"], *amounts)),
        *(values < math.inf for values in amounts if values.dtype.is_float()),
        *([_is_dated(frame)] if is_intraday(interval) else []),
        _is_ascending(frame, bar_key(interval)),
    )
    return all(is_fine.all() for is_fine in are_fine)


def _is_dated(frame: pl.DataFrame) -> pl.Series:
    in_india = frame["starts_at"].to_physical() + IST.utcoffset(None) // _MICROSECOND
    return in_india // _MICROSECONDS_OF_A_DAY == frame["session"].to_physical()


def _is_ascending(frame: pl.DataFrame, key: tuple[str, ...]) -> pl.Series:
    symbol, at = (frame[name] for name in key)
    former_symbol, former_at = symbol.head(-1), at.head(-1)
    symbol, at = symbol.slice(1), at.slice(1)
    return (former_symbol < symbol) | ((former_symbol == symbol) & (former_at < at))


def _require_order(frame: pl.DataFrame, key: tuple[str, ...]) -> None:
    keys = frame.select(symbol=key[0], at=key[1])
    former = keys.select(pl.all().shift(1).name.prefix("former_"))
    is_before = (pl.col("former_symbol") < pl.col("symbol")) | (
        (pl.col("former_symbol") == pl.col("symbol")) & (pl.col("former_at") < pl.col("at"))
    )
    wrong = pl.concat([keys, former], how="horizontal").slice(1).filter(~is_before)
    if wrong.height:
        row = wrong.row(0, named=True)
        raise InvalidBarsError(
            "bars are not sorted or not unique",
            where=f"{row['symbol']} {row['at']}",
            expected=f"one row per symbol and {key[1]}, ascending",
            found=f"after {row['former_symbol']} {row['former_at']}",
            remedy=f"sort by symbol and {key[1]} and decide which duplicate holds",
        )


@cache
def _rules(interval: Interval) -> tuple[_Rule, ...]:
    column = pl.col
    present = [
        _Rule(name, column(name).is_not_null(), "a value")
        for name in bar_schema(interval)
        if name not in _NULLABLE
    ]
    dated = _Rule(
        "session",
        column("starts_at").dt.offset_by(_AHEAD_OF_UTC).dt.date() == column("session"),
        "the date in India of starts_at",
    )
    prices = [
        _Rule(name, column(name).is_finite() & (column(name) > 0), "a finite price above 0")
        for name in PRICES
    ]
    amounts = [
        _Rule(
            name,
            column(name).is_finite() & (column(name) >= 0),
            "a finite number of at least 0, or null",
        )
        for name in ("previous_close", "average_price", "turnover_inr")
    ]
    counts = [
        _Rule(name, column(name) >= 0, "at least 0")
        for name in ("volume", "n_trades", "delivered_volume")
    ]
    top = column("high") >= pl.max_horizontal("open", "close", "low")
    bottom = column("low") <= pl.min_horizontal("open", "close")
    return (
        *present,
        *([dated] if is_intraday(interval) else []),
        *prices,
        *amounts,
        *counts,
        _Rule("high", top, "at least open, close and low"),
        _Rule("low", bottom, "at most open and close"),
    )


def _require(frame: pl.DataFrame, rule: _Rule) -> None:
    wrong = frame.filter(~rule.is_fine)
    if wrong.height:
        row = wrong.row(0, named=True)
        raise InvalidBarsError(
            f"bar has a wrong {rule.column}",
            where=f"{row['symbol']} {row.get('starts_at', row['session'])} {rule.column}",
            expected=rule.expected,
            found=str(row[rule.column]),
            remedy="quarantine the row (market.quality) before it becomes a bar",
        )
