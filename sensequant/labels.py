"""What the future brought: the outcome of a decision at every session, and when it is known.

Belongs here: kinds of labels. Does not belong here: features, the path through the barriers
(`barriers`), the weight of overlapping labels (`uniqueness`), and the purging of rows whose label
overlaps a test (`splits`).

The decision for session t falls after its close. Entry is the open of calendar session t+1, exit
the close of calendar session t+h, or earlier at a barrier; sessions are counted in the calendar,
not in rows of the symbol. Returns are simple and gross, as fractions. What is unknown is null, with
a reason.
"""

from typing import Literal, Self

import polars as pl
from pydantic import Field, model_validator

from sensequant.barriers import first_touches
from sensequant.errors import ConfigError, InvalidBarsError
from sensequant.features.expressions import rolling_deviation, rolling_mean
from sensequant.features.inputs import require_adjusted_bars
from sensequant.records import Config

__all__ = ["LABEL_COLUMNS", "UNLABELLED_REASONS", "LabelConfig", "LabelKind", "build_labels"]

LabelKind = Literal["fixed", "volatility", "triple_barrier", "excess"]

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

UNLABELLED_REASONS = (
    "beyond_last_bar",
    "missing_bar",
    "unexplained_gap",
    "missing_volatility",
    "missing_benchmark",
)
"""Why a row has no label; the first that applies."""

_READ_COLUMNS = ("session_number", "open", "close", "is_unexplained_gap")
_BENCHMARK_TYPES = {"session": pl.Date(), "open": pl.Float64(), "close": pl.Float64()}
_VOLATILITY_BARS = 20
_ACTING: dict[LabelKind, frozenset[str]] = {
    "fixed": frozenset({"threshold_frac"}),
    "volatility": frozenset({"volatility_multiple"}),
    "triple_barrier": frozenset({"profit_multiple", "stop_multiple"}),
    "excess": frozenset({"threshold_frac"}),
}


class LabelConfig(Config):
    """Which future outcome counts as a success."""

    kind: LabelKind = Field(
        default="fixed",
        description="Rule (name): net forward return above a threshold (fixed) or above a multiple "
        "of its volatility (volatility), profit before stop (triple_barrier), return above that "
        "of NIFTY 50 (excess).",
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
        description="Net forward return, as a fraction, that a success must exceed; over that of "
        "NIFTY 50 for excess. Kinds fixed and excess only.",
    )
    volatility_multiple: float = Field(
        default=0.5,
        ge=-5,
        le=5,
        description="Net forward return that a success must exceed (multiple of the volatility "
        "over the horizon). Kind volatility only.",
    )
    profit_multiple: float = Field(
        default=1.0,
        ge=0.1,
        le=10,
        description="Net gain at which a position is closed (multiple of the volatility over the "
        "horizon). Kind triple_barrier only.",
    )
    stop_multiple: float = Field(
        default=1.0,
        ge=0.1,
        le=10,
        description="Loss at which a position is closed (multiple of the volatility over the "
        "horizon). Kind triple_barrier only.",
    )
    sample_weights: Literal["uniqueness", "equal"] = Field(
        default="uniqueness",
        description="Weight of a row in training (name): by how little its label overlaps others, "
        "or equal.",
    )

    @model_validator(mode="after")
    def _refuse_settings_without_effect(self) -> Self:
        others = {name for names in _ACTING.values() for name in names} - _ACTING[self.kind]
        for name in sorted(others):
            if getattr(self, name) != type(self).model_fields[name].default:
                message = f"{name} has no effect on labels of kind {self.kind}"
                raise ValueError(message)
        return self


def build_labels(
    bars: pl.DataFrame,
    calendar_numbers: pl.DataFrame,
    config: LabelConfig,
    *,
    round_trip_cost_frac: float,
    benchmark: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Label every bar by what happened after it.

    Parameters
    ----------
    bars
        Adjusted bars of any number of symbols, sorted by (symbol, session): symbol, session,
        session_number, open and close in INR, is_unexplained_gap; for barriers also high and low.
    calendar_numbers
        Every session of the calendar with its number: session Date, session_number Int32.
    config
        Kind, horizon and limits.
    round_trip_cost_frac
        Cost of buying and selling once as a fraction of the position, at least 0; taken off the
        forward return before it is compared, added to the gain at which the profit barrier stands.
    benchmark
        Bars of NIFTY 50: session Date, open and close Float64, null where unknown; read by labels
        of kind excess only, which cannot do without.

    Returns
    -------
    polars.DataFrame
        The columns `LABEL_COLUMNS`, one row per bar in the order of `bars`. forward_return is the
        gross return of the symbol from the open of session t+1 to the exit, whatever the kind.
        label is 1 for a success, else 0, null where it is unknown; unlabelled_reason then says why.
        label_end is the session of the exit (t+h without a label), null only where the calendar
        does not reach so far.

    Raises
    ------
    ConfigError
        The cost is negative or not below 1; labels of kind excess without a benchmark.
    InvalidBarsError
        The bars are not what `features.inputs` requires, their sessions and numbers are not those
        of the calendar, or the benchmark is no series of bars.

    Notes
    -----
    A bar with an unexplained gap (a jump that no known corporate action explains) anywhere between
    entry and exit leaves the row unlabelled, because its return would be an artefact. A symbol that
    was not traded in between, but at entry and exit, is labelled: the position was held.

    The volatility over the horizon is the sample deviation of the last 20 log returns of closes
    known at t, times the root of h. Without 20 of them since the first bar or an unexplained gap,
    or where they are all equal, it is unknown.

    A row whose session t+h lies behind the last bar stays unlabelled even if it has touched a
    barrier: otherwise only quick outcomes were known at the end of the data.
    """
    _require_cost(round_trip_cost_frac)
    needed = (*_READ_COLUMNS, "high", "low") if config.kind == "triple_barrier" else _READ_COLUMNS
    require_adjusted_bars(bars, needed)
    _require_calendar(bars, calendar_numbers)
    rows = _with_exits(bars, config, round_trip_cost_frac=round_trip_cost_frac)
    if config.kind == "excess":
        rows = _with_benchmark(rows, calendar_numbers, benchmark)
    return _judged(rows, config, round_trip_cost_frac=round_trip_cost_frac).join(
        calendar_numbers.select(
            label_end_number=pl.col("session_number").cast(pl.Int32), label_end="session"
        ),
        on="label_end_number",
        how="left",
        maintain_order="left",
    )[list(LABEL_COLUMNS)]


def _require_cost(round_trip_cost_frac: float) -> None:
    if not 0 <= round_trip_cost_frac < 1:
        raise ConfigError(
            "cost of a round trip is impossible",
            where="round_trip_cost_frac",
            expected="a fraction in [0, 1)",
            found=str(round_trip_cost_frac),
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


def _with_exits(
    bars: pl.DataFrame, config: LabelConfig, *, round_trip_cost_frac: float
) -> pl.DataFrame:
    number = pl.col("session_number")
    rows = bars.select(
        "symbol",
        "session",
        number,
        "open",
        "close",
        entry_number=number + 1,
        horizon_number=number + config.horizon_sessions,
        last_number=number.max().over("symbol"),
        n_gaps=pl.col("is_unexplained_gap").cast(pl.Int32).cum_sum().over("symbol"),
    )
    if config.kind in {"volatility", "triple_barrier"}:
        rows = rows.with_columns(volatility=_volatility(bars) * config.horizon_sessions**0.5)
    if config.kind == "triple_barrier":
        touches = first_touches(
            bars,
            horizon_sessions=config.horizon_sessions,
            profit_frac=rows["volatility"] * config.profit_multiple + round_trip_cost_frac,
            stop_frac=rows["volatility"] * config.stop_multiple,
        )
        rows = rows.hstack(touches)
        ends = number + pl.col("touch_offset")
    else:
        ends = pl.col("horizon_number")
    rows = rows.with_columns(label_end_number=ends.fill_null(pl.col("horizon_number")))
    entries = rows.select("symbol", entry_number="session_number", entry="open")
    exits = rows.select(
        "symbol", label_end_number="session_number", exit="close", n_gaps_at_exit="n_gaps"
    )
    return rows.join(
        entries, on=["symbol", "entry_number"], how="left", maintain_order="left"
    ).join(exits, on=["symbol", "label_end_number"], how="left", maintain_order="left")


def _volatility(bars: pl.DataFrame) -> pl.Series:
    # An artefact is no return: an unexplained gap starts a new history, as it does for features.
    starts = pl.col("symbol").ne_missing(pl.col("symbol").shift()) | pl.col("is_unexplained_gap")
    log_return = pl.col("close").log().diff()
    deviation = rolling_deviation(
        "log_return", _VOLATILITY_BARS, mean_column="mean_log_return", ddof=1
    )
    return (
        bars.lazy()
        .select("close", history=starts.cum_sum())
        .with_columns(log_return=log_return.over("history"))
        .with_columns(mean_log_return=rolling_mean("log_return", _VOLATILITY_BARS).over("history"))
        .select(volatility=deviation.over("history"))
        .select(pl.when(pl.col("volatility") > 0).then("volatility"))
        .collect()
        .to_series()
    )


def _with_benchmark(
    rows: pl.DataFrame, calendar_numbers: pl.DataFrame, benchmark: pl.DataFrame | None
) -> pl.DataFrame:
    if benchmark is None:
        raise ConfigError(
            "labels of kind excess need a benchmark",
            where="labels.kind",
            expected="bars of NIFTY 50",
            found="none",
            remedy="choose a source that has NIFTY 50, or another kind of label",
        )
    _require_benchmark(benchmark)
    known = benchmark.join(calendar_numbers, on="session", how="inner").with_columns(
        pl.col("session_number").cast(pl.Int32)
    )
    entries = known.select(entry_number="session_number", benchmark_entry="open")
    exits = known.select(label_end_number="session_number", benchmark_exit="close")
    return rows.join(entries, on="entry_number", how="left", maintain_order="left").join(
        exits, on="label_end_number", how="left", maintain_order="left"
    )


def _require_benchmark(benchmark: pl.DataFrame) -> None:
    wrong = [
        f"{name} {benchmark.schema.get(name)}"
        for name, kind in _BENCHMARK_TYPES.items()
        if benchmark.schema.get(name) != kind
    ]
    if wrong:
        raise InvalidBarsError(
            "benchmark lacks columns",
            where=", ".join(wrong),
            expected=", ".join(f"{name} {kind}" for name, kind in _BENCHMARK_TYPES.items()),
        )
    is_impossible = pl.any_horizontal(
        ~(pl.col(name).is_finite() & (pl.col(name) > 0)) for name in ("open", "close")
    )
    strange = benchmark.filter(is_impossible | pl.col("session").is_duplicated())
    if strange.height > 0:
        raise InvalidBarsError(
            "benchmark is no series of bars",
            where=str(strange["session"][0]),
            expected="each session once, finite prices above 0 or null",
            found=f"{strange.height} such rows",
        )


def _judged(
    rows: pl.DataFrame, config: LabelConfig, *, round_trip_cost_frac: float
) -> pl.DataFrame:
    price = pl.col("exit")
    if config.kind == "triple_barrier":
        price = pl.coalesce("touch_price", "exit")
    reason = _unlabelled_reason(config.kind)
    # A row without a label ends where its label would have ended at the latest.
    return rows.with_columns(
        reason.alias("unlabelled_reason"),
        pl.when(reason.is_null()).then(price / pl.col("entry") - 1).alias("forward_return"),
    ).with_columns(
        label=pl.when(pl.col("unlabelled_reason").is_null()).then(
            _is_success(config, round_trip_cost_frac=round_trip_cost_frac).cast(pl.Int8)
        ),
        label_end_number=pl.when(pl.col("unlabelled_reason").is_null())
        .then("label_end_number")
        .otherwise("horizon_number"),
    )


def _is_success(config: LabelConfig, *, round_trip_cost_frac: float) -> pl.Expr:
    net = pl.col("forward_return") - round_trip_cost_frac
    if config.kind == "triple_barrier":
        return pl.col("touch_is_profit").fill_null(value=False)
    if config.kind == "volatility":
        return net > config.volatility_multiple * pl.col("volatility")
    if config.kind == "excess":
        net = net - (pl.col("benchmark_exit") / pl.col("benchmark_entry") - 1)
    return net > config.threshold_frac


def _unlabelled_reason(kind: LabelKind) -> pl.Expr:
    beyond, missing, gap, no_volatility, no_benchmark = UNLABELLED_REASONS
    reason = (
        pl.when(pl.col("horizon_number") > pl.col("last_number"))
        .then(pl.lit(beyond))
        .when(pl.col("entry").is_null() | pl.col("exit").is_null())
        .then(pl.lit(missing))
        .when(pl.col("n_gaps_at_exit") > pl.col("n_gaps"))
        .then(pl.lit(gap))
    )
    if kind in {"volatility", "triple_barrier"}:
        return reason.when(pl.col("volatility").is_null()).then(pl.lit(no_volatility))
    if kind == "excess":
        is_unknown = pl.col("benchmark_entry").is_null() | pl.col("benchmark_exit").is_null()
        return reason.when(is_unknown).then(pl.lit(no_benchmark))
    return reason
