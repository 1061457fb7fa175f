"""What the future brought: the outcome of a decision at every session, and when it is known.

Belongs here: kinds of labels. Does not belong here: features, and the purging of rows whose label
overlaps a test (`splits`).

The decision for session t falls after its close. Entry is the open of calendar session t+1, exit
the close of calendar session t+h; both are counted in sessions of the calendar, not in rows of the
symbol. Returns are simple and gross, as fractions. What is unknown is null, with a reason.
"""

from typing import Literal

import polars as pl
from pydantic import Field

from sensequant.errors import ConfigError, InvalidBarsError
from sensequant.features.inputs import require_adjusted_bars
from sensequant.records import Config

__all__ = ["LABEL_COLUMNS", "UNLABELLED_REASONS", "LabelConfig", "build_labels"]

LABEL_COLUMNS = (
    "symbol",
    "session",
    "session_number",
    "label_end",
    "label_end_number",
    "forward_return",
    "label",
    "unlabelled_reason",
)

UNLABELLED_REASONS = ("beyond_last_bar", "missing_bar", "unexplained_gap")
"""Why a row has no label; the first that applies."""

_READ_COLUMNS = ("session_number", "open", "close", "is_unexplained_gap")


class LabelConfig(Config):
    """Which future outcome counts as a success."""

    kind: Literal["fixed"] = Field(
        default="fixed",
        description="Rule: `fixed` compares the net forward return with one threshold.",
    )
    horizon_sessions: int = Field(
        default=7,
        ge=1,
        le=60,
        description="Calendar sessions from the decision to the close at which it is judged.",
    )
    threshold_frac: float = Field(
        default=0.02,
        ge=-0.5,
        le=0.5,
        description="Net forward return, as a fraction, that a success must exceed.",
    )


def build_labels(
    bars: pl.DataFrame,
    calendar_numbers: pl.DataFrame,
    config: LabelConfig,
    *,
    round_trip_cost_frac: float,
) -> pl.DataFrame:
    """Label every bar by what happened after it.

    Parameters
    ----------
    bars
        Adjusted bars of any number of symbols, sorted by (symbol, session): symbol, session,
        session_number, open and close in INR, is_unexplained_gap.
    calendar_numbers
        Every session of the calendar with its number: session Date, session_number Int32.
    config
        Horizon and threshold.
    round_trip_cost_frac
        Cost of buying and selling once as a fraction of the position, at least 0; taken off the
        forward return before it is compared with the threshold.

    Returns
    -------
    polars.DataFrame
        The columns `LABEL_COLUMNS`, one row per bar in the order of `bars`. forward_return is
        gross: close of session t+h over open of session t+1, minus one. label is 1 where it
        exceeds cost plus threshold, else 0, null where it is unknown; unlabelled_reason then says
        why. label_end is null only where the calendar does not reach so far.

    Raises
    ------
    ConfigError
        The cost is negative or not below 1.
    InvalidBarsError
        The bars are not what `features.inputs` requires, or their sessions and numbers are not
        those of the calendar.

    Notes
    -----
    A bar with an unexplained gap (a jump that no known corporate action explains) anywhere in
    t+1 .. t+h leaves the row unlabelled, because its return would be an artefact. A symbol that
    was not traded in between, but at entry and exit, is labelled: the position was held.
    """
    if not 0 <= round_trip_cost_frac < 1:
        raise ConfigError(
            "cost of a round trip is impossible",
            where="round_trip_cost_frac",
            expected="a fraction in [0, 1)",
            found=str(round_trip_cost_frac),
        )
    require_adjusted_bars(bars, _READ_COLUMNS)
    _require_calendar(bars, calendar_numbers)
    rows = _with_outcome(bars, calendar_numbers, config.horizon_sessions)
    is_success = pl.col("forward_return") - round_trip_cost_frac > config.threshold_frac
    reason = _unlabelled_reason()
    return rows.with_columns(
        reason.alias("unlabelled_reason"),
        pl.when(reason.is_null())
        .then(pl.col("exit") / pl.col("entry") - 1)
        .alias("forward_return"),
    ).select(
        is_success.cast(pl.Int8).alias("label") if name == "label" else name
        for name in LABEL_COLUMNS
    )


def _require_calendar(bars: pl.DataFrame, calendar_numbers: pl.DataFrame) -> None:
    numbers = calendar_numbers.select("session", known="session_number")
    known = bars.join(numbers, on="session", how="left", maintain_order="left", validate="m:1")
    strange = known.filter(~pl.col("known").eq_missing(pl.col("session_number")))
    if strange.height > 0:
        raise InvalidBarsError(
            "sessions of the bars are not those of the calendar",
            where=f"{strange['symbol'][0]} {strange['session'][0]}",
            expected=f"session number {strange['known'][0]}",
            found=f"{strange['session_number'][0]}, and {strange.height} such rows",
            remedy="adjust the bars again with the same calendar",
        )


def _with_outcome(
    bars: pl.DataFrame, calendar_numbers: pl.DataFrame, horizon_sessions: int
) -> pl.DataFrame:
    number = pl.col("session_number")
    rows = bars.select(
        "symbol",
        "session",
        number,
        "open",
        "close",
        entry_number=number + 1,
        label_end_number=number + horizon_sessions,
        last_number=number.max().over("symbol"),
        n_gaps=pl.col("is_unexplained_gap").cast(pl.Int32).cum_sum().over("symbol"),
    )
    entries = rows.select("symbol", entry_number="session_number", entry="open")
    exits = rows.select(
        "symbol", label_end_number="session_number", exit="close", n_gaps_at_exit="n_gaps"
    )
    ends = calendar_numbers.select(
        label_end_number=pl.col("session_number").cast(pl.Int32), label_end="session"
    )
    return (
        rows.join(entries, on=["symbol", "entry_number"], how="left", maintain_order="left")
        .join(exits, on=["symbol", "label_end_number"], how="left", maintain_order="left")
        .join(ends, on="label_end_number", how="left", maintain_order="left")
    )


def _unlabelled_reason() -> pl.Expr:
    return (
        pl.when(pl.col("label_end_number") > pl.col("last_number"))
        .then(pl.lit("beyond_last_bar"))
        .when(pl.col("entry").is_null() | pl.col("exit").is_null())
        .then(pl.lit("missing_bar"))
        .when(pl.col("n_gaps_at_exit") > pl.col("n_gaps"))
        .then(pl.lit("unexplained_gap"))
    )
