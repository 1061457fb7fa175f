"""The table of corporate actions: one row per symbol, ex-date and kind.

Belongs here: its columns and checks, how a list of subjects becomes rows, and which row holds where
several lists speak of one day. Does not belong here: the wording (`action_wording`), what an action
does to a price (`action_ratios`, `adjustments`), files (`sources.files.action_files`), storage
(`store`).

`price_ratio` is price after over price before: 0.1 for a split of one share into ten. The number of
shares is multiplied by its inverse. Null means that the list does not say. `ratio_source` says
whose ratio it is: "listed" by a list of actions, or "confirmed" by a person. `amount_inr` is rupees
per share: paid out (dividend, distribution) or paid in per new share (rights). `terms` are which
dividends, or new and held shares of rights.
"""

from collections.abc import Iterable, Sequence

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.market.action_wording import NO_EFFECT_KINDS, read_subject

__all__ = [
    "ACTION_KEY",
    "ACTION_SCHEMA",
    "CASH_KINDS",
    "CONFIRMED",
    "KINDS",
    "PRICE_KINDS",
    "RIGHTS",
    "SHARE_KINDS",
    "actions_frame",
    "parse_actions",
    "settle_actions",
    "validate_actions",
]

ACTION_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "ex_date": pl.Date(),
        "kind": pl.String(),
        "price_ratio": pl.Float64(),
        "subject": pl.String(),
        "source": pl.String(),
        "ratio_source": pl.String(),
        "amount_inr": pl.Float64(),
        "terms": pl.String(),
    }
)
ACTION_KEY = ("symbol", "ex_date", "kind")

SHARE_KINDS = ("split", "bonus", "split_and_bonus", "consolidation")
"""They change the number of shares by a ratio that is agreed beforehand."""

RIGHTS = "rights"

PRICE_KINDS = (*SHARE_KINDS, "demerger", "arrangement", "capital_reduction", RIGHTS)
"""They move the price by a ratio, known or not."""

CASH_KINDS = ("dividend", "distribution")
"""They move the price by what is paid out; a distribution is that of a unit of a trust."""

KINDS = (*PRICE_KINDS, *CASH_KINDS)

CONFIRMED = "confirmed"
"""Source of the actions that a person has confirmed; they overrule every list."""

_LISTED = "listed"
_N_NEEDED_COLUMNS = 6


def actions_frame(rows: Iterable[Sequence[object]]) -> pl.DataFrame:
    """Return rows as a table of actions.

    Parameters
    ----------
    rows
        The values of `ACTION_SCHEMA` in its order. What is left out behind the first six (symbol,
        ex_date, kind, price_ratio, subject, source) is null; a ratio without a source is "listed".

    Raises
    ------
    InvalidBarsError
        A row has fewer than six or too many values, or the table is not valid.
    """
    filled = [_filled(tuple(row)) for row in rows]
    frame = pl.DataFrame(filled, schema=ACTION_SCHEMA, orient="row")
    return validate_actions(_with_ratio_source(frame))


def parse_actions(listed: pl.DataFrame, *, source: str) -> pl.DataFrame:
    """Return the actions that move a price, out of NSE's list of all actions.

    Parameters
    ----------
    listed
        Columns symbol, ex_date (Date) and subject, NSE's wording ("Bonus 1:1", "Face Value Split
        (Sub-Division) - From Rs 10/- Per Share To Re 1/- Per Share"); where the list has it also
        face_value_inr (Float64), without which neither a dividend in percent nor the price of a
        new share is known.
    source
        Name of the list, kept in every row.

    Returns
    -------
    polars.DataFrame
        `ACTION_SCHEMA`, sorted, one row per symbol, ex-date and kind. A split and a bonus of one
        day are one row, split_and_bonus, with the product of their ratios. Dividends of one day
        are one row with their sum; the same sort of dividend with the same amount counts once,
        because the list repeats lines. Where the list contradicts itself, ratio or amount is null.
        Meetings, buybacks and interest are left out (`action_wording.NO_EFFECT_KINDS`).
    """
    face_value = "face_value_inr"
    columns = ["symbol", "ex_date", "subject"]
    if face_value not in listed.columns:
        listed = listed.with_columns(pl.lit(None, dtype=pl.Float64).alias(face_value))
    rows: list[tuple[object, ...]] = []
    for symbol, ex_date, subject, face in listed.select(*columns, face_value).iter_rows():
        if symbol is None or ex_date is None or subject is None:
            continue
        for reading in read_subject(subject, face_value_inr=face):
            if reading.kind not in NO_EFFECT_KINDS:
                head = (symbol, ex_date, reading.kind, reading.price_ratio, subject.strip(), source)
                rows.append((*head, None, reading.amount_inr, reading.terms))
    found = pl.DataFrame(rows, schema=ACTION_SCHEMA, orient="row").sort(
        *ACTION_KEY, "subject", "terms", maintain_order=True
    )
    is_cash = pl.col("kind").is_in(CASH_KINDS)
    days = [_price_days(found.filter(~is_cash)), _cash_days(found.filter(is_cash))]
    merged = pl.concat([part.select(ACTION_SCHEMA.names()) for part in days])
    # A line without a ratio says nothing beside another that has it.
    held = merged.sort(*ACTION_KEY, "price_ratio", nulls_last=True).unique(
        subset=list(ACTION_KEY), keep="first", maintain_order=True
    )
    return validate_actions(_with_ratio_source(held))


def validate_actions(actions: pl.DataFrame) -> pl.DataFrame:
    """Return the actions if their columns and values are right, else raise.

    Raises
    ------
    InvalidBarsError
        A column is missing or mistyped, a kind is not known, a ratio is not above 0, an amount is
        below 0, or two lists give a different ratio or amount for one symbol, ex-date and kind
        (null contradicts nothing, and what is confirmed contradicts only what is confirmed).
    """
    if actions.schema != ACTION_SCHEMA:
        raise InvalidBarsError(
            "frame has not the columns of corporate actions",
            expected=", ".join(f"{name} {dtype}" for name, dtype in ACTION_SCHEMA.items()),
            found=", ".join(f"{name} {dtype}" for name, dtype in actions.schema.items()),
            remedy="build the frame with actions_frame or ACTION_SCHEMA",
        )
    ratio, amount = pl.col("price_ratio"), pl.col("amount_inr")
    _require_none(
        actions.filter(~pl.col("kind").is_in(KINDS)),
        what="corporate action has an unknown kind",
        expected=", ".join(KINDS),
    )
    _require_none(
        actions.filter(~(ratio.is_finite() & (ratio > 0))),
        what="corporate action has a wrong ratio",
        expected="a finite price_ratio above 0, or null where it is not known",
    )
    _require_none(
        actions.filter(~(amount.is_finite() & (amount >= 0))),
        what="corporate action has a wrong amount",
        expected="a finite amount_inr of at least 0, or null where it is not known",
    )
    for column in ("price_ratio", "amount_inr"):
        _require_agreement(actions, column)
    return actions


def settle_actions(actions: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that hold: one per symbol, ex-date and kind.

    Parameters
    ----------
    actions
        Rows of any number of lists (`ACTION_SCHEMA`).

    Returns
    -------
    polars.DataFrame
        `ACTION_SCHEMA`, sorted. What a person confirmed for a day replaces what lists say of that
        day: of the price (a ratio of 1 says that nothing happened), or of the cash. Among lists, a
        known ratio or amount goes before an unknown one.

    Raises
    ------
    InvalidBarsError
        The actions are not valid (`validate_actions`).
    """
    is_confirmed = pl.col("source") == CONFIRMED
    subject_to = ("symbol", "ex_date", pl.col("kind").is_in(CASH_KINDS))
    return (
        validate_actions(actions)
        .filter(is_confirmed | ~is_confirmed.any().over(*subject_to))
        .sort(
            *ACTION_KEY,
            pl.col("price_ratio").is_null(),
            pl.col("amount_inr").is_null(),
            "source",
            "subject",
        )
        .unique(subset=list(ACTION_KEY), keep="first", maintain_order=True)
    )


def _filled(row: tuple[object, ...]) -> tuple[object, ...]:
    if not _N_NEEDED_COLUMNS <= len(row) <= len(ACTION_SCHEMA):
        raise InvalidBarsError(
            "row is no corporate action",
            expected=f"{_N_NEEDED_COLUMNS} to {len(ACTION_SCHEMA)} values: "
            + ", ".join(ACTION_SCHEMA.names()),
            found=str(row),
            remedy="give every column from symbol to source",
        )
    return row + (None,) * (len(ACTION_SCHEMA) - len(row))


def _with_ratio_source(actions: pl.DataFrame) -> pl.DataFrame:
    stated = pl.col("ratio_source").fill_null(_LISTED)
    return actions.with_columns(
        ratio_source=pl.when(pl.col("price_ratio").is_not_null()).then(stated)
    )


def _price_days(found: pl.DataFrame) -> pl.DataFrame:
    # The list names some actions twice, with blanks or a revision mark as the only difference.
    same = ["symbol", "ex_date", "kind", "price_ratio", "amount_inr", "terms"]
    unique = found.unique(subset=same, keep="first", maintain_order=True)
    is_share_count = pl.col("kind").is_in(["split", "bonus"]) & pl.col("price_ratio").is_not_null()
    group = pl.when(is_share_count).then(pl.lit("shares")).otherwise(pl.col("kind"))
    joined_kinds = pl.col("kind").unique().sort(descending=True).str.join("_and_")
    # Two ratios for one kind on one day contradict each other, and nobody knows which one holds.
    is_known = pl.col("price_ratio").is_not_null().all() & (pl.col("kind").n_unique() == pl.len())
    return (
        unique.with_columns(group.alias("group"))
        .group_by("symbol", "ex_date", "group", maintain_order=True)
        .agg(
            joined_kinds.alias("kind"),
            pl.when(is_known).then(pl.col("price_ratio").product()).alias("price_ratio"),
            pl.col("subject").unique(maintain_order=True).str.join(" | "),
            pl.col("source").first(),
            pl.lit(None, dtype=pl.String).alias("ratio_source"),
            pl.when(pl.len() == 1).then(pl.col("amount_inr").first()).alias("amount_inr"),
            _joined("terms", " | "),
        )
    )


def _cash_days(found: pl.DataFrame) -> pl.DataFrame:
    known = pl.col("amount_inr").drop_nulls()
    parts = found.group_by(*ACTION_KEY, "terms", maintain_order=True).agg(
        # Two amounts for one sort of dividend on one day contradict each other.
        pl.when(known.n_unique() == 1).then(known.first()).alias("amount_inr"),
        pl.col("subject"),
        pl.col("source").first(),
    )
    named = pl.concat_str("terms", pl.col("amount_inr").cast(pl.String), separator=" ")
    return parts.group_by(ACTION_KEY, maintain_order=True).agg(
        pl.lit(None, dtype=pl.Float64).alias("price_ratio"),
        pl.col("subject").explode().unique(maintain_order=True).str.join(" | "),
        pl.col("source").first(),
        pl.lit(None, dtype=pl.String).alias("ratio_source"),
        pl.when(pl.col("amount_inr").is_not_null().all())
        .then(pl.col("amount_inr").sum())
        .alias("amount_inr"),
        pl.when(pl.len() == 1)
        .then(pl.col("terms").first())
        .otherwise(named.fill_null(pl.col("terms")).str.join(" + "))
        .alias("terms"),
    )


def _joined(column: str, separator: str) -> pl.Expr:
    texts = pl.col(column).drop_nulls().unique(maintain_order=True)
    return pl.when(texts.len() > 0).then(texts.str.join(separator)).alias(column)


def _require_agreement(actions: pl.DataFrame, column: str) -> None:
    group = (*ACTION_KEY, pl.col("source") == CONFIRMED)
    known = actions.drop_nulls(column).filter(pl.col(column).n_unique().over(*group) > 1)
    _require_none(
        known.sort(*ACTION_KEY, column),
        what="two sources disagree on a corporate action",
        expected=f"one {column} per symbol, ex-date and kind",
        column=column,
    )


def _require_none(
    wrong: pl.DataFrame, *, what: str, expected: str, column: str | None = None
) -> None:
    if wrong.is_empty():
        return
    row = wrong.row(0, named=True)
    shown = ("price_ratio", "amount_inr") if column is None else (column,)
    raise InvalidBarsError(
        what,
        where=f"{row['symbol']} {row['ex_date']} {row['kind']}",
        expected=expected,
        found=", ".join(f"{name} {wrong[name].to_list()[:2]}" for name in shown),
        remedy="correct the list, or confirm what is right (docs/methods/adjustments.md)",
    )
