"""Rows of a history reply that are wrong.

Belongs here: what the faults of the layers `rows` and `shape` do to the rows of one reply. Does not
belong here: when they act (`faults`), how rows are made (`history`).

Faults of values see rows as v2 has them, numbers as numbers; faults of form see them as they go
out. Which rows are hit depends on the fault's seed and on symbol, interval and time of the row, so
that a lasting fault spoils the same rows in every reply, however the range is cut.
"""

import dataclasses
import math
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from sensequant.breeze_simulator.faults import Fault, chance
from sensequant.market.actions import SHARE_KINDS
from sensequant.market.intervals import Interval, is_intraday

__all__ = ["ReplyContext", "Row", "changed_shape", "changed_values", "splits_of"]

Row = dict[str, Any]
"""One bar on the wire."""

_DEFAULT_RATE = 0.05
_DEFAULT_DAYS = 2
_EXTRA_SESSIONS = 3
_SPLIT_FACTOR = 5
_ADJUSTED_BEFORE = date(2022, 1, 1)
_PRICES = ("open", "high", "low", "close")
_LAST_FIFTH = 0.8


@dataclasses.dataclass(frozen=True, slots=True)
class ReplyContext:
    """What a fault may know of a reply.

    Parameters
    ----------
    symbol, interval
        What was asked for.
    today
        Date in India.
    sessions
        Sessions on which the symbol has traded so far, ascending.
    splits
        Ex-dates and price ratios of the symbol's splits.
    rows_of
        Returns the true rows of one session, of this symbol or, if True is passed, of another.
    """

    symbol: str
    interval: Interval
    today: date
    sessions: Callable[[], list[date]]
    splits: Callable[[], list[tuple[date, float]]]
    rows_of: Callable[[date, bool], list[Row]]


def changed_values(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
    """Return the rows of a reply as a fault of values leaves them."""
    return _VALUES[fault.name](fault, rows, context)


def changed_shape(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
    """Return the rows of a reply as a fault of form leaves them."""
    return _SHAPES[fault.name](fault, rows, context)


def _day(row: Row) -> date:
    return date.fromisoformat(row["datetime"][:10])


def _is_hit(fault: Fault, context: ReplyContext, stamp: str) -> bool:
    if fault.sessions is not None:
        return date.fromisoformat(stamp[:10]) in fault.sessions
    drawn = chance(fault, "row", context.symbol, context.interval, stamp)
    return drawn < (fault.rate or _DEFAULT_RATE)


def _is_day_hit(fault: Fault, context: ReplyContext, row: Row) -> bool:
    return _is_hit(fault, context, row["datetime"][:10])


def _is_recent(fault: Fault, context: ReplyContext, row: Row) -> bool:
    return context.today - _day(row) < timedelta(days=fault.days or _DEFAULT_DAYS)


def _on_hit_rows(change: Callable[[Row], list[Row]]) -> "_Change":
    def act(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
        return [
            new
            for row in rows
            for new in (change(row) if _is_hit(fault, context, row["datetime"]) else [row])
        ]

    return act


def _with(**fields: Callable[[Row], Any]) -> Callable[[Row], list[Row]]:
    def change(row: Row) -> list[Row]:
        return [row | {name: value(row) for name, value in fields.items()}]

    return change


def _conflicting(row: Row) -> list[Row]:
    other = row["low"] if row["close"] != row["low"] else row["high"]
    return [row, row | {"close": other, "volume": row["volume"] + 1}]


def _out_of_order(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
    return sorted(
        rows, key=lambda row: chance(fault, "order", context.symbol, str(row["datetime"]))
    )


def _out_of_window(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
    del fault
    if not rows:
        return rows
    earlier = [one for one in context.sessions() if one < _day(rows[0])][-_EXTRA_SESSIONS:]
    return [row for session in earlier for row in context.rows_of(session, False)] + rows


def _other_symbol(*, is_hidden: bool) -> "_Change":
    def act(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
        changed: list[Row] = []
        for session, own in _by_session(rows).items():
            if not _is_day_hit(fault, context, own[0]):
                changed += own
                continue
            stamps = {row["datetime"] for row in own}
            foreign = [row for row in context.rows_of(session, True) if row["datetime"] in stamps]
            code = {"stock_code": own[0]["stock_code"]} if is_hidden else {}
            changed += [row | code for row in foreign] or own
        return changed

    return act


def _without_first_candle(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
    if not is_intraday(context.interval):
        return rows
    firsts = {
        own[0]["datetime"]
        for session, own in _by_session(rows).items()
        if _is_day_hit(fault, context, own[0])
        and own[0]["datetime"] == context.rows_of(session, False)[0]["datetime"]
    }
    return [row for row in rows if row["datetime"] not in firsts]


def _without_day(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
    return [row for row in rows if not _is_day_hit(fault, context, row)]


def _partial_recent(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
    if not is_intraday(context.interval):
        return [_half(row) if _is_recent(fault, context, row) else row for row in rows]
    changed: list[Row] = []
    for session, own in _by_session(rows).items():
        if not _is_recent(fault, context, own[0]):
            changed += own
            continue
        whole = context.rows_of(session, False)
        last = whole[int(len(whole) * _LAST_FIFTH)]["datetime"]
        kept = [row for row in own if row["datetime"] <= last]
        changed += [_half(row) if row["datetime"] == last else row for row in kept]
    return changed


def _half(row: Row) -> Row:
    prices = (row["open"], row["close"])
    return row | {"high": max(prices), "low": min(prices), "volume": row["volume"] // 2}


def _late_eod(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
    if is_intraday(context.interval):
        return rows
    return [row for row in rows if not _is_recent(fault, context, row)]


def _unadjusted_split(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
    sessions = context.sessions()
    middle = sessions[int(len(sessions) * (0.25 + 0.5 * chance(fault, "split", context.symbol)))]
    ex_date = middle if fault.sessions is None else min(fault.sessions)
    return [row if _day(row) < ex_date else _scaled(row, 1.0 / _SPLIT_FACTOR) for row in rows]


def _adjusted_before_2022(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
    del fault
    early = [(day, ratio) for day, ratio in context.splits() if day < _ADJUSTED_BEFORE]
    return [
        _scaled(row, math.prod(ratio for day, ratio in early if _day(row) < day)) for row in rows
    ]


def _scaled(row: Row, ratio: float) -> Row:
    if ratio == 1.0:
        return row
    prices = {name: max(0.05, round(row[name] * ratio, 2)) for name in _PRICES}
    return row | prices | {"volume": round(row["volume"] / ratio)}


def _by_session(rows: list[Row]) -> dict[date, list[Row]]:
    sessions: dict[date, list[Row]] = {}
    for row in rows:
        sessions.setdefault(_day(row), []).append(row)
    return sessions


def _with_extra_field(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
    del fault, context
    return [row | {"vwap": row["close"]} for row in rows]


def _as_text(fault: Fault, rows: list[Row], context: ReplyContext) -> list[Row]:
    del fault, context
    return [
        {name: str(one) if isinstance(one, int | float) else one for name, one in row.items()}
        for row in rows
    ]


def _without_field(row: Row) -> list[Row]:
    # Which of the five depends on the time of the row alone.
    names = (*_PRICES, "volume")
    at = datetime.fromisoformat(row["datetime"])
    missing = names[(at.toordinal() + at.minute) % len(names)]
    return [{name: value for name, value in row.items() if name != missing}]


_Change = Callable[[Fault, list[Row], ReplyContext], list[Row]]

_VALUES: dict[str, _Change] = {
    "duplicate_rows": _on_hit_rows(lambda row: [row, dict(row)]),
    "conflicting_rows": _on_hit_rows(_conflicting),
    "out_of_order": _out_of_order,
    "out_of_window": _out_of_window,
    "other_symbol": _other_symbol(is_hidden=False),
    "other_symbol_hidden": _other_symbol(is_hidden=True),
    "negative_volume": _on_hit_rows(_with(volume=lambda row: -row["volume"] - 1)),
    "zero_volume": _on_hit_rows(_with(volume=lambda _: 0)),
    "zero_open": _on_hit_rows(_with(open=lambda _: 0.0)),
    "zero_low": _on_hit_rows(_with(low=lambda _: 0.0)),
    "swapped_open_close": _on_hit_rows(
        _with(open=lambda row: row["close"], close=lambda row: row["open"])
    ),
    "missing_first_candle": _without_first_candle,
    "missing_day": _without_day,
    "partial_recent": _partial_recent,
    "late_eod": _late_eod,
    "unadjusted_split": _unadjusted_split,
    "adjusted_before_2022": _adjusted_before_2022,
}

_SHAPES: dict[str, _Change] = {
    "missing_fields": _on_hit_rows(_without_field),
    "extra_fields": _with_extra_field,
    "numbers_as_text": _as_text,
    "nan_numbers": _on_hit_rows(_with(close=lambda _: math.nan)),
}


def splits_of(actions: pl.DataFrame, symbol: str) -> list[tuple[date, float]]:
    """Return ex-dates and price ratios of a symbol's splits and bonuses."""
    own = actions.filter(
        pl.col("symbol") == symbol,
        pl.col("kind").is_in(SHARE_KINDS),
        pl.col("price_ratio").is_not_null(),
    )
    return list(own.select("ex_date", "price_ratio").iter_rows())
