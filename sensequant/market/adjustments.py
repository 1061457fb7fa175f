"""Splits, bonuses and demergers: what they do to a price, and prices without those jumps.

Belongs here: NSE's wording of corporate actions, their price ratios, adjusted bars, and the mark of
moves that nothing explains. Does not belong here: dividends (they move the price by a few percent
and are part of what a holder earns), storage of either table (`store`).

`price_ratio` is price after over price before: 0.1 for a split of one share into ten. The number of
shares is multiplied by its inverse. It is null where the ratio is not known from the action (a
demerger, a scheme of arrangement); the session then carries `is_unexplained_gap`.

Prices are **forward-adjusted**: raw price times the product of `1 / price_ratio` of all actions
with an ex-date on or before the session; volumes are divided by it. An adjusted bar therefore never
depends on a later action, and adjusting a part of the bars gives that part of the adjusted bars.
"""

import math
import re

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.market.sessions import SessionCalendar

__all__ = [
    "ACTION_KEY",
    "ACTION_SCHEMA",
    "ADJUSTED_SCHEMA",
    "GAP_LIMIT_LOG",
    "adjust_bars",
    "parse_actions",
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
    }
)
ACTION_KEY = ("symbol", "ex_date", "kind")

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

_NUMBER = r"(\d+(?:\.\d+)?)"
_MONEY = rf"r[se]\.?\s*{_NUMBER}"
_BONUS = re.compile(rf"\bbonus\s*-?\s*{_NUMBER}\s*:\s*{_NUMBER}")
_FACE_VALUE = re.compile(rf"\bfro?m\s+{_MONEY}.*?\bto\s+{_MONEY}")
_CONSOLIDATION = re.compile(rf"\bconsolidation\b.*?{_MONEY}.*?\bto\s+{_MONEY}")
_SPLIT_WORDS = re.compile(r"\bspli?t\b|sub-?\s?division")
_DEMERGER_WORDS = re.compile(r"\bde-?merger")
_ARRANGEMENT_WORDS = re.compile(r"\bsc?heme of\b|\bar+angement\b|\bbonus\b.*(debenture|ncrps)")
_REDUCTION_WORDS = re.compile(r"\bcapital reduction\b")


def parse_actions(listed: pl.DataFrame, *, source: str) -> pl.DataFrame:
    """Return the actions that move a price, out of NSE's list of all actions.

    Parameters
    ----------
    listed
        Columns symbol, ex_date (Date) and subject, NSE's wording ("Bonus 1:1", "Face Value Split
        (Sub-Division) - From Rs 10/- Per Share To Re 1/- Per Share").
    source
        Name of the list, kept in every row.

    Returns
    -------
    polars.DataFrame
        `ACTION_SCHEMA`, sorted. Kinds: split, bonus, split_and_bonus (their product, where both
        fall on one day), consolidation, demerger, arrangement, capital_reduction. Where the list
        contradicts itself the ratio is null. Dividends, rights, meetings and interest are left
        out.
    """
    rows: list[tuple[object, ...]] = []
    for symbol, ex_date, subject in listed.select("symbol", "ex_date", "subject").iter_rows():
        if symbol is None or ex_date is None or subject is None:
            continue
        parsed = _kinds_of(subject)
        rows += [(symbol, ex_date, kind, ratio, subject.strip(), source) for kind, ratio in parsed]
    found = pl.DataFrame(rows, schema=ACTION_SCHEMA, orient="row")
    return validate_actions(_one_per_day(found))


def validate_actions(actions: pl.DataFrame) -> pl.DataFrame:
    """Return the actions if their columns, ratios and keys are right, else raise.

    Raises
    ------
    InvalidBarsError
        A column is missing or mistyped, a ratio is not above 0, or two rows share symbol, ex-date
        and kind but not the ratio.
    """
    if actions.schema != ACTION_SCHEMA:
        raise InvalidBarsError(
            "frame has not the columns of corporate actions",
            expected=", ".join(f"{name} {dtype}" for name, dtype in ACTION_SCHEMA.items()),
            found=", ".join(f"{name} {dtype}" for name, dtype in actions.schema.items()),
            remedy="build the frame with ACTION_SCHEMA",
        )
    ratio = pl.col("price_ratio")
    _require_none(
        actions.filter(~(ratio.is_finite() & (ratio > 0))),
        what="corporate action has a wrong ratio",
        expected="a finite price_ratio above 0, or null where it is not known",
    )
    kinds = actions.select(*ACTION_KEY, "price_ratio").unique()
    _require_none(
        kinds.filter(pl.struct(ACTION_KEY).is_duplicated()).sort(ACTION_KEY, maintain_order=True),
        what="two sources disagree on a corporate action",
        expected="one ratio per symbol, ex-date and kind",
    )
    return actions


def adjust_bars(
    bars: pl.DataFrame, actions: pl.DataFrame, calendar: SessionCalendar
) -> pl.DataFrame:
    """Return forward-adjusted bars with their place in the calendar.

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
        `ADJUSTED_SCHEMA`, sorted by symbol and session. `is_unexplained_gap` is set where the
        adjusted open is more than 35 percent away from the previous adjusted close, and on the
        first bar on or after the ex-date of an action whose ratio is not known. After a hole the
        previous bar counts, because nobody saw what happened in between. The first bar of a
        symbol has no previous close and is never marked.

    Raises
    ------
    InvalidBarsError
        A bar's session is not in the calendar, or two sources disagree on an action of one of
        the symbols.
    """
    sorted_bars = bars.sort("symbol", "session")
    numbered = _numbered(sorted_bars, calendar)
    own = actions.filter(pl.col("symbol").is_in(bars["symbol"].unique().implode()))
    known = validate_actions(own).unique(subset=[*ACTION_KEY, "price_ratio"])
    with_factor = _with_share_factor(numbered, known)
    with_gaps = _with_unknown_ratios(with_factor, known)
    factor = pl.col("share_factor")
    adjusted = with_gaps.with_columns(
        pl.col("open", "high", "low", "close") * factor,
        pl.col("volume").cast(pl.Float64) / factor,
    )
    previous_close = pl.col("close").shift(1).over("symbol")
    move = (pl.col("open") / previous_close).log().abs()
    is_jump = (move > GAP_LIMIT_LOG).fill_null(value=False)
    is_unknown = pl.col("has_unknown_ratio") & previous_close.is_not_null()
    return adjusted.with_columns(is_unexplained_gap=is_jump | is_unknown).select(
        ADJUSTED_SCHEMA.names()
    )


def _kinds_of(subject: str) -> list[tuple[str, float | None]]:
    text = " ".join(subject.lower().split())
    ratios: list[tuple[str, float | None]] = []
    if consolidated := _CONSOLIDATION.search(text):
        before, after = map(float, consolidated.groups())
        ratios.append(("consolidation", after / before))
    elif _SPLIT_WORDS.search(text):
        ratios.append(("split", _split_ratio(text)))
    if bonus := _BONUS.search(text):
        new, held = map(float, bonus.groups())
        ratios.append(("bonus", held / (new + held)))
    return ratios or _kinds_without_ratio(text)


def _split_ratio(text: str) -> float | None:
    match = _FACE_VALUE.search(text)
    if match is None:
        return None
    before, after = map(float, match.groups())
    return after / before


def _kinds_without_ratio(text: str) -> list[tuple[str, float | None]]:
    words = {
        "demerger": _DEMERGER_WORDS,
        "capital_reduction": _REDUCTION_WORDS,
        "arrangement": _ARRANGEMENT_WORDS,
    }
    for kind, pattern in words.items():
        if pattern.search(text):
            return [(kind, None)]
    return []


def _one_per_day(found: pl.DataFrame) -> pl.DataFrame:
    # The list names some actions twice, with blanks or a revision mark as the only difference.
    unique = found.unique(subset=[*ACTION_KEY, "price_ratio"], keep="first", maintain_order=True)
    day = ["symbol", "ex_date", "group"]
    is_share_count = pl.col("kind").is_in(["split", "bonus"]) & pl.col("price_ratio").is_not_null()
    grouped = unique.with_columns(
        group=pl.when(is_share_count).then(pl.lit("shares")).otherwise(pl.col("kind"))
    ).sort("symbol", "ex_date", "kind", "subject")
    joined_kinds = pl.col("kind").unique().sort(descending=True).str.join("_and_")
    # Two ratios for one kind on one day contradict each other, and nobody knows which one holds.
    is_known = pl.col("price_ratio").is_not_null().all() & (pl.col("kind").n_unique() == pl.len())
    return (
        grouped.group_by(day, maintain_order=True)
        .agg(
            joined_kinds.alias("kind"),
            pl.when(is_known).then(pl.col("price_ratio").product()).alias("price_ratio"),
            pl.col("subject").unique(maintain_order=True).str.join(" | "),
            pl.col("source").first(),
        )
        .select(ACTION_SCHEMA.names())
        .sort("symbol", "ex_date", "kind")
    )


def _require_none(wrong: pl.DataFrame, *, what: str, expected: str) -> None:
    if wrong.height:
        row = wrong.row(0, named=True)
        raise InvalidBarsError(
            what,
            where=f"{row['symbol']} {row['ex_date']} {row['kind']}",
            expected=expected,
            found=str(wrong["price_ratio"].to_list()[:2]),
            remedy="correct the list of actions",
        )


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


def _with_share_factor(bars: pl.DataFrame, actions: pl.DataFrame) -> pl.DataFrame:
    steps = (
        actions.drop_nulls("price_ratio")
        .group_by("symbol", "ex_date")
        .agg((1.0 / pl.col("price_ratio").sort()).product().alias("share_factor"))
        .sort("symbol", "ex_date")
        .with_columns(pl.col("share_factor").cum_prod().over("symbol"))
    )
    # Sorted by session alone, because an as-of join by symbol wants the key sorted over all rows.
    return (
        bars.sort("session", "symbol")
        .join_asof(
            steps.sort("ex_date"),
            left_on="session",
            right_on="ex_date",
            by="symbol",
            strategy="backward",
            check_sortedness=False,
        )
        .drop("ex_date")
        .with_columns(pl.col("share_factor").fill_null(1.0))
        .sort("symbol", "session")
    )


def _with_unknown_ratios(bars: pl.DataFrame, actions: pl.DataFrame) -> pl.DataFrame:
    unknown = (
        actions.filter(pl.col("price_ratio").is_null())
        .select("symbol", "ex_date")
        .unique()
        .sort("ex_date", "symbol")
        .join_asof(
            bars.select("symbol", "session").sort("session", "symbol"),
            left_on="ex_date",
            right_on="session",
            by="symbol",
            strategy="forward",
            check_sortedness=False,
        )
        .drop_nulls("session")
        .select("symbol", "session", has_unknown_ratio=pl.lit(value=True))
        .unique()
    )
    return bars.join(
        unknown, on=["symbol", "session"], how="left", maintain_order="left"
    ).with_columns(pl.col("has_unknown_ratio").fill_null(value=False))
