"""What each action did to the price of one share: its ratio, and what a dividend took out.

Belongs here: ratios that no list gives and that bars and terms do (rights, demergers), and the
factors of dividends. Does not belong here: the table of actions (`market.actions`), adjusted bars
(`market.adjustments`).

Everything is known by the open of the session on which the action took effect: a ratio comes from
the list, from a person, from the close before, or from that open. Nothing later is read. Session,
previous close and open are those of the first bar on or after the ex-date and of the bar before it.

Theoretical ex-rights price: a holder of h shares may buy n new ones at the price s, and what he
holds then is worth h P + n s, so one of his h + n shares is worth (h P + n s) / (h + n). NSE words
the price as a premium over the face value, which its CSV gives and other copies of the list do not.
Face values are 1 to 10 rupees; where that leaves the ratio open by less than `FACE_VALUE_WIDTH`,
the middle is taken.
"""

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.market.actions import CASH_KINDS, PRICE_KINDS, RIGHTS, SHARE_KINDS, settle_actions
from sensequant.market.sessions import SessionCalendar

__all__ = [
    "CASH_SCHEMA",
    "FACE_VALUE_WIDTH",
    "OPEN_OVER_PREVIOUS_CLOSE",
    "RATIO_SCHEMA",
    "THEORETICAL_EX_RIGHTS",
    "cash_factors",
    "cumulative_factors",
    "price_ratios",
]

OPEN_OVER_PREVIOUS_CLOSE = "open_over_previous_close"
"""`ratio_source` of a ratio that the market set at the open: the night is taken out."""

THEORETICAL_EX_RIGHTS = "theoretical_ex_rights"
"""`ratio_source` of a ratio that follows from the terms of rights and the close before."""

RATIO_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "ex_date": pl.Date(),
        "session": pl.Date(),
        "kind": pl.String(),
        "price_ratio": pl.Float64(),
        "ratio_source": pl.String(),
    }
)
"""One action's ratio; `session` is null where no bar follows, the ratio where nothing gives it."""

CASH_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.Date(),
        "dividend_factor": pl.Float64(),
    }
)
"""What all payments of one session left of the previous close; null where one is not known."""

FACE_VALUE_WIDTH = 0.005
"""Width of the range of ratios up to which an unknown face value does not matter."""

_LEAST_FACE_VALUE_INR, _MOST_FACE_VALUE_INR = 1.0, 10.0
_NUMBER = r"(\d+(?:\.\d+)?)"
_TERMS = rf"^{_NUMBER}:{_NUMBER}(?: at premium {_NUMBER})?$"


def price_ratios(
    bars: pl.DataFrame, actions: pl.DataFrame, calendar: SessionCalendar
) -> pl.DataFrame:
    """Return the ratio of every action that moves the price of the bars' symbols.

    Parameters
    ----------
    bars
        Raw bars of one or more symbols: symbol, session, open, close.
    actions
        Corporate actions of any symbols, from any number of sources (`actions.ACTION_SCHEMA`).
    calendar
        The NSE calendar.

    Returns
    -------
    polars.DataFrame
        `RATIO_SCHEMA`, sorted. Where neither list nor person gives a ratio: rights with a ratio
        and a price have the theoretical one (1 where the new share costs more than the old one);
        anything else has the open over the previous close, less what the known ratios of that
        session explain, if the two bars are of consecutive sessions. Several such actions of one
        session share a row, kinds joined with ``+``. A split or a bonus without a ratio is a fault
        of the list and stays null, and so does what falls into a hole. An action before the first
        bar is there only if its ratio is listed or confirmed.

    Raises
    ------
    InvalidBarsError
        The actions of these symbols are not valid.
    """
    own = actions.filter(pl.col("symbol").is_in(bars["symbol"].unique().implode()))
    settled = settle_actions(own).filter(pl.col("kind").is_in(PRICE_KINDS))
    met = _met(settled, bars, calendar)
    known = met.filter(pl.col("price_ratio").is_not_null())
    unknown = met.filter(
        pl.col("price_ratio").is_null() & pl.col("previous_close").is_not_null()
    ).with_columns(theoretical=_ex_rights_ratio())
    rights = unknown.filter(pl.col("theoretical").is_not_null()).with_columns(
        price_ratio="theoretical", ratio_source=pl.lit(THEORETICAL_EX_RIGHTS)
    )
    given = pl.concat([part.select(RATIO_SCHEMA.names()) for part in (known, rights)])
    rest = _taken_out(unknown.filter(pl.col("theoretical").is_null()), given)
    return pl.concat([given, rest]).sort("symbol", "ex_date", "kind")


def cumulative_factors(ratios: pl.DataFrame) -> pl.DataFrame:
    """Return by what a price on or after each ex-date is multiplied.

    Parameters
    ----------
    ratios
        `RATIO_SCHEMA`.

    Returns
    -------
    polars.DataFrame
        symbol, ex_date, share_factor: the product of ``1 / price_ratio`` of all known ratios of
        the symbol with an ex-date up to this one; sorted, one row per symbol and ex-date.
    """
    return (
        ratios.drop_nulls("price_ratio")
        .group_by("symbol", "ex_date")
        .agg((1.0 / pl.col("price_ratio").sort()).product().alias("share_factor"))
        .sort("symbol", "ex_date")
        .with_columns(pl.col("share_factor").cum_prod().over("symbol"))
    )


def cash_factors(
    bars: pl.DataFrame,
    actions: pl.DataFrame,
    ratios: pl.DataFrame,
    calendar: SessionCalendar,
) -> pl.DataFrame:
    """Return what dividends and distributions left of the previous close, (P - D) / P.

    Parameters
    ----------
    bars, actions, calendar
        As in `price_ratios`.
    ratios
        What `price_ratios` returns for them. A payment is per share as it was before the ex-date,
        so the split of the same day does not divide it.

    Returns
    -------
    polars.DataFrame
        `CASH_SCHEMA`, sorted: one row for each session with payments. Payments before the first bar
        are left out, and so are those of a session whose ratio was taken from its open, which
        holds them already.

    Raises
    ------
    InvalidBarsError
        The actions are not valid, or a payment is not below the previous close.
    """
    own = actions.filter(pl.col("symbol").is_in(bars["symbol"].unique().implode()))
    cash = settle_actions(own).filter(pl.col("kind").is_in(CASH_KINDS))
    taken_out = ratios.filter(pl.col("ratio_source") == OPEN_OVER_PREVIOUS_CLOSE)
    met = (
        _met(cash, bars, calendar)
        .drop_nulls("previous_close")
        .join(taken_out, on=["symbol", "session"], how="anti")
    )
    factors = cumulative_factors(ratios)
    before = _factor_at(met, factors, on="ex_date", is_same_day_in=False)
    at_close = _factor_at(met, factors, on="previous_session", is_same_day_in=True)
    # Per share as it was at the previous close, even if a split lies in a hole between the two.
    share_of_close = pl.col("amount_inr") * before / (pl.col("previous_close") * at_close)
    paid = met.with_columns(part=share_of_close)
    _require_below_price(paid)
    total = pl.when(pl.col("part").is_not_null().all()).then(1.0 - pl.col("part").sum())
    return (
        paid.sort("symbol", "session", "ex_date", "kind")
        .group_by("symbol", "session", maintain_order=True)
        .agg(total.alias("dividend_factor"))
        .cast(CASH_SCHEMA)
    )


def _met(actions: pl.DataFrame, bars: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    numbers = calendar.numbers().select("session", "session_number")
    former = pl.col("session", "session_number", "close").shift(1).over("symbol")
    rows = (
        bars.select("symbol", "session", "open", "close")
        .sort("symbol", "session")
        .join(numbers, on="session", how="left", maintain_order="left")
        .with_columns(former.name.prefix("previous_"))
    )
    is_next = pl.col("session_number") == pl.col("previous_session_number") + 1
    return (
        actions.sort("ex_date", "symbol", "kind")
        .join_asof(
            rows.sort("session", "symbol"),
            left_on="ex_date",
            right_on="session",
            by="symbol",
            strategy="forward",
            check_sortedness=False,
            coalesce=False,
        )
        .with_columns(is_next_session=is_next)
        .sort("symbol", "ex_date", "kind")
    )


def _ex_rights_ratio() -> pl.Expr:
    new, held, premium = (
        pl.col("terms").str.extract(_TERMS, group).cast(pl.Float64) for group in (1, 2, 3)
    )
    close = pl.col("previous_close")
    width = new * (_MOST_FACE_VALUE_INR - _LEAST_FACE_VALUE_INR) / close / (held + new)
    middle = premium + (_LEAST_FACE_VALUE_INR + _MOST_FACE_VALUE_INR) / 2.0
    price = pl.coalesce("amount_inr", pl.when(width <= FACE_VALUE_WIDTH).then(middle))
    ratio = (held + new * price / close) / (held + new)
    # Nobody pays more for a new share than for an old one: such rights are worth nothing.
    worth = pl.when(price < close).then(ratio).otherwise(1.0)
    is_workable = held.is_not_null() & price.is_not_null()
    return pl.when((pl.col("kind") == RIGHTS) & is_workable).then(worth)


def _taken_out(unknown: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame:
    is_by_list = pl.col("kind").is_in(SHARE_KINDS)
    can_take_out = ~is_by_list.any() & pl.col("is_next_session").all()
    explained = (
        given.drop_nulls("session")
        .group_by("symbol", "session")
        .agg(pl.col("price_ratio").sort().product().alias("explained"))
    )
    night = pl.col("open").first() / pl.col("previous_close").first()
    return (
        unknown.join(explained, on=["symbol", "session"], how="left", maintain_order="left")
        .group_by("symbol", "session", maintain_order=True)
        .agg(
            pl.col("ex_date").last(),
            pl.col("kind").unique().sort().str.join("+"),
            pl.when(can_take_out)
            .then(night / pl.col("explained").first().fill_null(1.0))
            .alias("price_ratio"),
            pl.when(can_take_out).then(pl.lit(OPEN_OVER_PREVIOUS_CLOSE)).alias("ratio_source"),
        )
        .select(RATIO_SCHEMA.names())
        .cast(RATIO_SCHEMA)
    )


def _factor_at(
    rows: pl.DataFrame, factors: pl.DataFrame, *, on: str, is_same_day_in: bool
) -> pl.Series:
    found = (
        rows.select("symbol", pl.col(on).alias("at"))
        .with_row_index("row")
        .sort("at", "symbol")
        .join_asof(
            factors.sort("ex_date", "symbol"),
            left_on="at",
            right_on="ex_date",
            by="symbol",
            strategy="backward",
            allow_exact_matches=is_same_day_in,
            check_sortedness=False,
        )
        .sort("row")
    )
    return found["share_factor"].fill_null(1.0)


def _require_below_price(paid: pl.DataFrame) -> None:
    summed = paid.with_columns(total=pl.col("part").sum().over("symbol", "session"))
    wrong = summed.filter(pl.col("total") >= 1.0)
    if wrong.height:
        row = wrong.row(0, named=True)
        raise InvalidBarsError(
            "more is paid out than a share is worth",
            where=f"{row['symbol']} {row['ex_date']} {row['kind']}",
            expected=f"less than the previous close of {row['previous_close']}",
            found=f"{row['amount_inr']} ({row['subject']})",
            remedy="confirm the right amount (docs/methods/adjustments.md)",
        )
