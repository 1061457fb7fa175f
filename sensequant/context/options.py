"""Options of one underlying at one moment, and the volatility that each price implies.

Belongs here: the rows of options, which prices say something, why the others do not. Does not
belong here: asking a vendor (`sensequant.capture.options`), the formula (`black_scholes`), sessions
(`option_sessions`).

A row is a contract as it was quoted: its open interest and volume say something even where its
price does not. Rate and dividend of the computation stand in the row. The price is the middle of
the best bid and offer where both are there, else the last one.
"""

from datetime import datetime, time, timedelta
from enum import StrEnum

import numpy as np
import polars as pl

from sensequant.context.black_scholes import Terms, implied
from sensequant.context.rows import ContextKind
from sensequant.market.sessions import IST

__all__ = ["OPTIONS", "QUOTE_SCHEMA", "PriceReason", "expires_at", "with_volatilities"]

QUOTE_SCHEMA = pl.Schema(
    {
        "expiry": pl.Date(),
        "strike_inr": pl.Float64(),
        "is_call": pl.Boolean(),
        "last_inr": pl.Float64(),
        "last_date": pl.Date(),
        "bid_inr": pl.Float64(),
        "ask_inr": pl.Float64(),
        "volume": pl.Float64(),
        "open_interest": pl.Float64(),
        "spot_inr": pl.Float64(),
    }
)
"""A contract as it was quoted: last price and the date in India of that trade, best bid and offer,
traded quantity of the day, open interest, price of the underlying; null where nothing is there."""

OPTIONS = ContextKind(
    "options",
    values={
        **{name: QUOTE_SCHEMA[name] for name in QUOTE_SCHEMA},
        "rate_frac": pl.Float64(),
        "dividend_frac": pl.Float64(),
        "implied_volatility": pl.Float64(),
        "reason": pl.String(),
    },
    own_key=("expiry", "strike_inr", "is_call"),
    parts="month",
)
"""Contracts of an underlying. `implied_volatility`: in a year, as a fraction; null where `reason`
says why there is none."""

_YEAR = timedelta(days=365)
_CLOSE = time(15, 30)


class PriceReason(StrEnum):
    """Why a price implies no volatility."""

    EXPIRED = "expired"
    NO_TRADE = "no_trade"
    NO_SPOT = "no_spot"
    NEGATIVE_TIME_VALUE = "negative_time_value"
    NO_TIME_VALUE = "no_time_value"
    ABOVE_BOUND = "above_bound"


def expires_at(expiry: str) -> pl.Expr:
    """Return the instants at which contracts of a column of dates end: 15:30 in India."""
    wall = pl.col(expiry).dt.combine(pl.lit(_CLOSE), time_unit="us")
    return (wall - IST.utcoffset(None)).dt.replace_time_zone("UTC")


def with_volatilities(
    quotes: pl.DataFrame, *, at: datetime, rate_frac: float, dividend_frac: float
) -> pl.DataFrame:
    """Add to quotes the volatility that each implies, or the reason why it implies none.

    Parameters
    ----------
    quotes
        `QUOTE_SCHEMA`.
    at
        Aware instant of the quotes.
    rate_frac, dividend_frac
        Rate of interest and of dividends in a year, compounded continuously.

    Returns
    -------
    polars.DataFrame
        The quotes with rate_frac, dividend_frac, implied_volatility and reason.
    """
    left = (expires_at("expiry") - pl.lit(at)).dt.total_microseconds() / (
        _YEAR / timedelta(microseconds=1)
    )
    is_quoted = (pl.col("bid_inr") > 0) & (pl.col("ask_inr") >= pl.col("bid_inr"))
    today = at.astimezone(IST).date()
    has_traded = (pl.col("volume") > 0) & (pl.col("last_inr") > 0) & (pl.col("last_date") == today)
    given = quotes.with_columns(
        rate_frac=pl.lit(rate_frac),
        dividend_frac=pl.lit(dividend_frac),
        _years=left,
        _price=pl.when(is_quoted)
        .then((pl.col("bid_inr") + pl.col("ask_inr")) / 2)
        .otherwise("last_inr"),
    ).with_columns(
        reason=pl.when(pl.col("_years") <= 0)
        .then(pl.lit(PriceReason.EXPIRED.value))
        .when(~has_traded.fill_null(value=False))
        .then(pl.lit(PriceReason.NO_TRADE.value))
        .when((pl.col("spot_inr") > 0).fill_null(value=False).not_())
        .then(pl.lit(PriceReason.NO_SPOT.value))
    )
    numbered = given.with_row_index("_row")
    usable = numbered.filter(pl.col("reason").is_null())
    solved = _solved(usable)
    return (
        numbered.join(solved, on="_row", how="left", maintain_order="left")
        .with_columns(reason=pl.coalesce("reason", "_why"))
        .drop("_row", "_years", "_price", "_why")
    )


def _solved(usable: pl.DataFrame) -> pl.DataFrame:
    columns = ("spot_inr", "strike_inr", "_years", "rate_frac", "dividend_frac")
    terms = Terms(
        *(usable[name].to_numpy() for name in columns), is_call=usable["is_call"].to_numpy()
    )
    prices = usable["_price"].to_numpy()
    found = implied(terms, prices)
    why = np.where(
        prices < terms.intrinsic_inr,
        PriceReason.NEGATIVE_TIME_VALUE.value,
        np.where(
            prices >= terms.highest_inr,
            PriceReason.ABOVE_BOUND.value,
            PriceReason.NO_TIME_VALUE.value,
        ),
    )
    return usable.select(
        "_row",
        implied_volatility=pl.Series(found, dtype=pl.Float64).fill_nan(None),
        _why=pl.when(pl.Series(np.isnan(found))).then(pl.Series(why.tolist(), dtype=pl.String)),
    )
