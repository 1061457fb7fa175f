"""Prices without the jumps that splits, bonuses, rights and demergers make, and with dividends in.

Belongs here: adjusted bars, with and without dividends, and the mark of moves that cannot be
learned from. Does not belong here: the table of actions (`market.actions`), their ratios
(`market.action_ratios`), the search for actions that no list has (`market.action_gaps`), storage of
either table (`store`).

Prices are **forward-adjusted**: raw price times the product of `1 / price_ratio` of all actions
with an ex-date on or before the session; volumes, delivered ones too, are divided by it. An
adjusted bar therefore never depends on a later action or bar. Adjusting a part of the bars gives
that part of the adjusted bars, up to one factor where a ratio or a dividend is measured against a
close that the part lacks.

There are two views. `adjust_bars` is the price: a dividend leaves its small fall in it, as on the
exchange's screen. Features and labels are made from it, because a decision buys at a price and a
stop is hit by a price, and a label then needs no reinvestment that nobody made. `total_return_bars`
is what a holder earned: on each ex-date the dividend is put back into the share at the previous
close. It is for returns over months, and for comparison with a total return index.
"""

import math

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.market.action_ratios import (
    OPEN_OVER_PREVIOUS_CLOSE,
    cash_factors,
    cumulative_factors,
    price_ratios,
)
from sensequant.market.actions import (
    ACTION_KEY,
    ACTION_SCHEMA,
    actions_frame,
    parse_actions,
    validate_actions,
)
from sensequant.market.sessions import SessionCalendar

__all__ = [
    "ACTION_KEY",
    "ACTION_SCHEMA",
    "ADJUSTED_SCHEMA",
    "GAP_LIMIT_LOG",
    "actions_frame",
    "adjust_bars",
    "parse_actions",
    "total_return_bars",
    "validate_actions",
]

ADJUSTED_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.Date(),
        "session_number": pl.Int32(),
        "open": pl.Float64(),
        "high": pl.Float64(),
        "low": pl.Float64(),
        "close": pl.Float64(),
        "volume": pl.Float64(),
        "delivered_volume": pl.Float64(),
        "share_factor": pl.Float64(),
        "is_short_session": pl.Boolean(),
        "is_unexplained_gap": pl.Boolean(),
    }
)

GAP_LIMIT_LOG = math.log(1.35)
"""Overnight |log(open / previous close)| above which a move needs an explanation.

Stocks open within their price band (5, 10 or 20 percent), and those without a band open within the
10 percent of the dynamic one: YESBANK, on the morning after its moratorium (2020-03-06), opened 10
percent down and fell within the session. A bonus of one for two already moves the price by a third.
"""

_PRICES = ("open", "high", "low", "close")
_VOLUMES = ("volume", "delivered_volume")


def adjust_bars(
    bars: pl.DataFrame, actions: pl.DataFrame, calendar: SessionCalendar
) -> pl.DataFrame:
    """Return forward-adjusted bars with their place in the calendar; dividends stay in the price.

    Parameters
    ----------
    bars
        Bars of one or more symbols (`market.bars.BAR_SCHEMA`; further columns are ignored).
    actions
        Corporate actions of any symbols, from any number of sources (`ACTION_SCHEMA`).
    calendar
        The NSE calendar.

    Returns
    -------
    polars.DataFrame
        `ADJUSTED_SCHEMA`, sorted by symbol and session. `delivered_volume` is null where the source
        gave none. `share_factor` is how many shares an adjusted share is: prices were multiplied by
        it, volumes divided.

        `is_unexplained_gap` is set where the move over the night cannot be told from what an
        action did: the adjusted open is more than 35 percent away from the previous adjusted
        close; or the bar is the first on or after the ex-date of an action whose ratio neither a
        list nor a person gives, nor the terms of rights (`action_ratios`). If such a ratio was
        taken from the open, the level goes on without a step, but the return of that night is 0 by
        construction and not by observation, so the mark stays. After a hole the previous bar
        counts, because nobody saw what happened in between. The first bar of a symbol has no
        previous close and is never marked.

    Raises
    ------
    InvalidBarsError
        A bar's session is not in the calendar, or two sources disagree on an action of one of
        the symbols.
    """
    numbered = _numbered(bars.sort("symbol", "session"), calendar)
    ratios = price_ratios(numbered, actions, calendar)
    adjusted = _price_adjusted(numbered, ratios)
    return _marked(adjusted, _unmeasured(ratios))


def total_return_bars(
    bars: pl.DataFrame, actions: pl.DataFrame, calendar: SessionCalendar
) -> pl.DataFrame:
    """Return bars like those of `adjust_bars`, with every dividend reinvested.

    Prices are divided, from the ex-date on, by what the dividend D left of the previous close P:
    (P - D) / P, which is known before that session opens. Volumes are adjusted for the number of
    shares only, so price times volume is no longer the value that was traded.

    Parameters
    ----------
    bars, actions, calendar
        As in `adjust_bars`.

    Returns
    -------
    polars.DataFrame
        `ADJUSTED_SCHEMA`. A session with a dividend of unknown amount is an unexplained gap too.

    Raises
    ------
    InvalidBarsError
        As in `adjust_bars`; or a dividend is not below the previous close.
    """
    numbered = _numbered(bars.sort("symbol", "session"), calendar)
    ratios = price_ratios(numbered, actions, calendar)
    cash = cash_factors(numbered, actions, ratios, calendar)
    adjusted = _price_adjusted(numbered, ratios)
    paid = (
        adjusted.join(cash, on=["symbol", "session"], how="left", maintain_order="left")
        .with_columns(
            cash_factor=(1.0 / pl.col("dividend_factor").fill_null(1.0)).cum_prod().over("symbol")
        )
        .with_columns(pl.col(_PRICES) * pl.col("cash_factor"))
    )
    unknown = cash.filter(pl.col("dividend_factor").is_null()).select("symbol", "session")
    return _marked(paid, pl.concat([_unmeasured(ratios), unknown]))


def _numbered(bars: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    numbers = calendar.numbers().rename({"is_short": "is_short_session"})
    joined = bars.join(numbers, on="session", how="left", maintain_order="left")
    strange = joined.filter(pl.col("session_number").is_null())
    if strange.height:
        row = strange.row(0, named=True)
        raise InvalidBarsError(
            "bar is not on a session of the calendar",
            where=f"{row['symbol']} {row['session']}",
            expected=f"a session from {calendar.first} to {calendar.last}",
            found=f"{strange.height} such bars",
            remedy="correct the calendar or quarantine the bars",
        )
    return joined


def _price_adjusted(bars: pl.DataFrame, ratios: pl.DataFrame) -> pl.DataFrame:
    factor = pl.col("share_factor")
    # Sorted by session alone, because an as-of join by symbol wants the key sorted over all rows.
    return (
        bars.sort("session", "symbol")
        .join_asof(
            cumulative_factors(ratios).sort("ex_date", "symbol"),
            left_on="session",
            right_on="ex_date",
            by="symbol",
            strategy="backward",
            check_sortedness=False,
        )
        .with_columns(factor.fill_null(1.0))
        .with_columns(pl.col(_PRICES) * factor, pl.col(_VOLUMES).cast(pl.Float64) / factor)
        .sort("symbol", "session")
    )


def _unmeasured(ratios: pl.DataFrame) -> pl.DataFrame:
    is_estimate = pl.col("ratio_source") == OPEN_OVER_PREVIOUS_CLOSE
    return (
        ratios.filter(pl.col("price_ratio").is_null() | is_estimate)
        .select("symbol", "session")
        .drop_nulls()
    )


def _marked(adjusted: pl.DataFrame, unmeasured: pl.DataFrame) -> pl.DataFrame:
    marks = unmeasured.unique().with_columns(is_unmeasured=pl.lit(value=True))
    move = (pl.col("open") / pl.col("close").shift(1).over("symbol")).log().abs()
    is_jump = (move > GAP_LIMIT_LOG).fill_null(value=False)
    return (
        adjusted.join(marks, on=["symbol", "session"], how="left", maintain_order="left")
        .with_columns(is_unexplained_gap=is_jump | pl.col("is_unmeasured").fill_null(value=False))
        .select(ADJUSTED_SCHEMA.names())
    )
