"""Whether bars agree with other bars of the same market, so that a foreign price is found out.

Belongs here: the comparison of daily bars with intraday bars and with a second daily source, and
what is called a dispute. Does not belong here: where disputes lie (`market.store`), checks of one
row by itself (`market.quality`), what a corporate action explains (`market.adjustments`).

Nothing is corrected: a comparison cannot tell which of two figures is right. Every field that
disagrees is one row of `DISPUTE_SCHEMA`, with both figures, and training leaves its session out.

Daily against intraday
----------------------
Only sessions whose intraday bars are complete are compared. What may differ, and why:

- The official open is the price of the opening auction, before the first intraday bar.
- The high may be that auction's price, which no intraday bar holds; the low likewise. Candles made
  of snapshots may also miss the last paise.
- NSE's official close is the average price, by volume, of the last half hour; other sources give
  the last trade. Both lie between the lowest and the highest trade of that half hour, so this range
  is what the close is held against.
- Volume of the auction and of the session after the close is in no intraday bar.

Two daily sources
-----------------
The same columns must agree. A share of differing closes that is too large to be corrections means
that one of the two is another instrument, and where the other source has a symbol with those very
closes, it is named.

Either way a ratio that stays the same within and between sessions is a kind of its own, `scaled`:
one of the series is adjusted for a split, bonus or dividend, or quoted in another unit. The two
must never be stitched into one. Two funds on one index look the same to this test.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import polars as pl
from pydantic import Field

from sensequant.market.bars import BAR_KEY, PRICES
from sensequant.market.intervals import Interval, bars_in_range
from sensequant.market.sessions import SessionCalendar
from sensequant.market.symbols import is_index
from sensequant.records import Config

__all__ = [
    "COMPARED_SCHEMA",
    "DISPUTE_SCHEMA",
    "CrossCheck",
    "DisputeKind",
    "IntradayCheckConfig",
    "SourceCheckConfig",
    "compare_sources",
    "compare_with_intraday",
    "daily_from_intraday",
]


class DisputeKind(StrEnum):
    """What a disagreement looks like."""

    DIFFERS = "differs"
    """One figure is further off than the tolerance."""

    SWAPPED_OPEN_CLOSE = "swapped_open_close"
    """Open and close agree once they are exchanged."""

    SCALED = "scaled"
    """All prices are off by one ratio, the same in a neighbouring session: adjusted, or a unit."""

    ANOTHER_INSTRUMENT = "another_instrument"
    """So many closes differ that the bars are not of the same instrument."""


class AgreementConfig(Config):
    """What makes disagreements of single sessions a verdict on the series."""

    scale_tolerance_frac: float = Field(
        default=0.002,
        gt=0,
        le=0.05,
        description="difference between two ratios of prices that count as one ratio; fraction",
    )
    max_disagreeing_frac: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="share of compared sessions whose close may differ before the bars count as "
        "another instrument's; fraction of sessions",
    )
    min_disagreeing_sessions: int = Field(
        default=5,
        ge=1,
        le=250,
        description="least number of differing closes for that verdict; sessions",
    )


class IntradayCheckConfig(AgreementConfig):
    """How far daily bars may be off the intraday bars of the same session.

    The defaults leave room around what 3,587 sessions of 5-minute and 1-minute bars of NSE stocks
    of 2023 showed against the official daily bars: open off by up to 2.7 % (auction), close never
    outside the range of its half hour, volume short by up to 11.5 % and never in excess, extremes
    off by more than 1 % in three sessions, all in candles made of snapshots.
    """

    open_tolerance_frac: float = Field(
        default=0.03,
        ge=0,
        le=0.2,
        description="auction price against the first intraday open, both ways; fraction of price",
    )
    extreme_tolerance_frac: float = Field(
        default=0.01,
        ge=0,
        le=0.2,
        description="high and low against those of the intraday bars and the auction, both ways; "
        "fraction of price",
    )
    close_tolerance_frac: float = Field(
        default=0.001,
        ge=0,
        le=0.2,
        description="close outside the range of trades in the last half hour; fraction of price",
    )
    missing_volume_frac: float = Field(
        default=0.15,
        ge=0,
        lt=1,
        description="share of the daily volume that intraday bars may lack (auction, after close)",
    )
    excess_volume_frac: float = Field(
        default=0.001,
        ge=0,
        le=1,
        description="intraday volume above the daily volume; fraction of the intraday volume",
    )


class SourceCheckConfig(AgreementConfig):
    """How far two daily sources may be apart.

    NSE's own publications agree to the paisa; the defaults leave room for rounding and for sources
    that quote the last trade's decimals.
    """

    tolerance_frac: float = Field(
        default=0.001,
        ge=0,
        le=0.2,
        description="difference of a price that counts as agreement; fraction of price",
    )
    volume_tolerance_frac: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="difference of volume that counts as agreement, indices left out; fraction",
    )


DISPUTE_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.Date(),
        "kind": pl.String(),
        "field": pl.String(),
        "value": pl.Float64(),
        "other_value": pl.Float64(),
        "other": pl.String(),
    }
)
"""One figure that disagrees: `value` is that of the bars, `other_value` what `other` says."""

COMPARED_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "n_compared": pl.Int32(),
        "n_disagreeing": pl.Int32(),
        "n_scaled": pl.Int32(),
        "kind": pl.String(),
        "resembles": pl.String(),
    }
)
"""One compared symbol: common sessions, those whose close differs, those of them that are scaled.

`kind` is `scaled`, `another_instrument` or null; `resembles` the symbol of the other source that
has most of the differing closes to the paisa, null where none has.
"""

_FIELDS = (*PRICES, "volume")
_ENDS = ("open", "close")

# Bars that can overlap the last half hour; a session is no multiple of thirty minutes.
_N_LAST = {"30minute": 2, "5minute": 6, "1minute": 30}

_Bounds = Mapping[str, tuple[pl.Expr, pl.Expr]]
"""Field of the bars to the least and the greatest value that the other side admits."""


class CrossCheck(NamedTuple):
    """Disputes (`DISPUTE_SCHEMA`) and the compared symbols (`COMPARED_SCHEMA`), both sorted."""

    disputes: pl.DataFrame
    symbols: pl.DataFrame


def daily_from_intraday(
    intraday: pl.DataFrame, *, interval: Interval, calendar: SessionCalendar
) -> pl.DataFrame:
    """Aggregate the sessions whose intraday bars are complete.

    Parameters
    ----------
    intraday
        Bars of any number of symbols (`market.bars.bar_schema`, further columns are ignored).
    interval
        Their length.
    calendar
        The calendar, which tells how many bars a session has.

    Returns
    -------
    polars.DataFrame
        symbol, session, open, high, low, close Float64, volume Int64, and last_high, last_low
        Float64: the range of the bars that overlap the last half hour. Sorted; sessions whose hours
        are not known are left out.
    """
    last = _N_LAST[interval]
    found = (
        intraday.sort("symbol", "starts_at")
        .group_by(BAR_KEY, maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
            last_high=pl.col("high").tail(last).max(),
            last_low=pl.col("low").tail(last).min(),
            n_bars=pl.len(),
        )
    )
    if found.is_empty():
        return found.drop("n_bars")
    sessions = found["session"].sort()
    expected = bars_in_range(calendar, sessions[0], sessions[-1], interval)
    counted = found.join(expected, on="session", how="left", maintain_order="left")
    return counted.filter(pl.col("n_bars") == pl.col("n_expected")).drop("n_bars", "n_expected")


def compare_with_intraday(
    daily: pl.DataFrame,
    intraday: pl.DataFrame,
    *,
    interval: Interval,
    calendar: SessionCalendar,
    config: IntradayCheckConfig,
) -> CrossCheck:
    """Hold daily bars against the intraday bars of the same symbols.

    Parameters
    ----------
    daily, intraday
        Bars as the exchange published them, not adjusted, delivered or stored, of any number of
        symbols.
    interval
        Length of the intraday bars; disputes name it as the other side.
    calendar
        The calendar of the exchange.
    config
        Tolerances.
    """
    other = daily_from_intraday(intraday, interval=interval, calendar=calendar)
    bounds = _intraday_bounds(config)
    ratio = pl.col("high") / pl.col("other_high")
    is_one_ratio = _is_near(
        pl.col("low") / pl.col("other_low"), ratio, config.scale_tolerance_frac
    ) & (pl.col("close") / ratio).is_between(*bounds["close"])
    pairs = _paired(daily, other).with_columns(
        is_swapped=pl.col("open").is_between(*bounds["close"])
        & pl.col("close").is_between(*bounds["open"]),
        is_scaled=is_one_ratio & _is_lasting(ratio, config.scale_tolerance_frac),
    )
    return _checked(pairs, bounds, name=interval, other=other, config=config)


def compare_sources(
    bars: pl.DataFrame, other: pl.DataFrame, *, other_name: str, config: SourceCheckConfig
) -> CrossCheck:
    """Hold daily bars against those of a second source, on the sessions that both have.

    Parameters
    ----------
    bars, other
        Daily bars, delivered or stored, of any number of symbols. The more symbols `other` holds,
        the better it can tell whose prices stand under a wrong name.
    other_name
        Name of the second source; disputes name it as the other side.
    config
        Tolerances.
    """
    near = config.tolerance_frac
    bounds = {name: _around(pl.col(f"other_{name}"), near) for name in PRICES}
    # Sources count the volume of an index in units of their own.
    volume = pl.when(~pl.col("is_index")).then("other_volume").otherwise("volume")
    bounds["volume"] = _around(volume, config.volume_tolerance_frac)
    ratios = [pl.col(name) / pl.col(f"other_{name}") for name in PRICES]
    is_one_ratio = pl.all_horizontal(
        _is_near(ratio, ratios[-1], config.scale_tolerance_frac) for ratio in ratios
    )
    pairs = _paired(bars, other).with_columns(
        is_swapped=pl.col("open").is_between(*bounds["close"])
        & pl.col("close").is_between(*bounds["open"]),
        is_scaled=is_one_ratio & _is_lasting(ratios[-1], config.scale_tolerance_frac),
    )
    return _checked(pairs, bounds, name=other_name, other=other, config=config)


def _intraday_bounds(config: IntradayCheckConfig) -> _Bounds:
    wide, near = config.extreme_tolerance_frac, config.close_tolerance_frac
    # The auction's price counts for the extremes, although no intraday bar holds it.
    highest = pl.max_horizontal("other_high", "open")
    lowest = pl.min_horizontal("other_low", "open")
    volume = pl.col("other_volume")
    return {
        "open": _around(pl.col("other_open"), config.open_tolerance_frac),
        "high": (pl.col("other_high") * (1 - wide), highest * (1 + wide)),
        "low": (lowest * (1 - wide), pl.col("other_low") * (1 + wide)),
        "close": (pl.col("other_last_low") * (1 - near), pl.col("other_last_high") * (1 + near)),
        "volume": (
            volume * (1 - config.excess_volume_frac),
            volume / (1 - config.missing_volume_frac),
        ),
    }


def _around(value: pl.Expr, tolerance_frac: float) -> tuple[pl.Expr, pl.Expr]:
    return value * (1 - tolerance_frac), value * (1 + tolerance_frac)


def _is_near(value: pl.Expr, other: pl.Expr, tolerance_frac: float) -> pl.Expr:
    return (value / other - 1).abs() <= tolerance_frac


def _is_lasting(ratio: pl.Expr, tolerance_frac: float) -> pl.Expr:
    earlier, later = ratio.shift(1).over("symbol"), ratio.shift(-1).over("symbol")
    lasts = _is_near(ratio, earlier, tolerance_frac) | _is_near(ratio, later, tolerance_frac)
    return lasts.fill_null(value=False) & ((ratio - 1).abs() > tolerance_frac)


def _paired(bars: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    known = [name for name in (*_FIELDS, "last_low", "last_high") if name in other.columns]
    theirs = other.select(*BAR_KEY, pl.col(*known).name.prefix("other_"))
    pairs = bars.select(*BAR_KEY, *_FIELDS).join(theirs, on=BAR_KEY).sort(BAR_KEY)
    indices = [symbol for symbol in pairs["symbol"].unique() if is_index(symbol)]
    return pairs.with_columns(is_index=pl.col("symbol").is_in(indices))


def _checked(
    pairs: pl.DataFrame,
    bounds: _Bounds,
    *,
    name: str,
    other: pl.DataFrame,
    config: AgreementConfig,
) -> CrossCheck:
    differs = {field: ~pl.col(field).is_between(*bounds[field]) for field in _FIELDS}
    told = pairs.with_columns(
        pl.col("is_scaled") & differs["close"],
        pl.col("is_swapped") & differs["close"],
        **{f"{field}_differs": differs[field] for field in _FIELDS},
    )
    symbols = _verdicts(told, config)
    foreign = symbols.filter(pl.col("kind") == DisputeKind.ANOTHER_INSTRUMENT.value)["symbol"]
    kind = (
        pl.when(pl.col("symbol").is_in(foreign.implode()))
        .then(pl.lit(DisputeKind.ANOTHER_INSTRUMENT.value))
        .when("is_scaled")
        .then(pl.lit(DisputeKind.SCALED.value))
        .when("is_swapped")
        .then(pl.lit(DisputeKind.SWAPPED_OPEN_CLOSE.value))
        .otherwise(pl.lit(DisputeKind.DIFFERS.value))
    )
    rows = [
        told.filter(
            pl.col(f"{field}_differs") | (pl.col("is_swapped") & pl.lit(field in _ENDS))
        ).select(
            *BAR_KEY,
            kind=kind,
            field=pl.lit(field),
            value=pl.col(field).cast(pl.Float64),
            other_value=pl.col(f"other_{field}").cast(pl.Float64),
            other=pl.lit(name),
        )
        for field in _FIELDS
    ]
    disputes = pl.concat([DISPUTE_SCHEMA.to_frame(), *rows]).sort(*BAR_KEY, "field")
    owners = _owners(told.filter("close_differs", pl.col("symbol").is_in(foreign.implode())), other)
    named = symbols.join(owners, on="symbol", how="left", maintain_order="left")
    return CrossCheck(disputes, named.cast(COMPARED_SCHEMA))


def _verdicts(told: pl.DataFrame, config: AgreementConfig) -> pl.DataFrame:
    counted = told.group_by("symbol").agg(
        n_compared=pl.len(),
        n_disagreeing=pl.col("close_differs").sum(),
        n_scaled=pl.col("is_scaled").sum(),
    )
    disagreeing = pl.col("n_disagreeing")
    is_scaled = (pl.col("n_scaled") > 0) & (2 * pl.col("n_scaled") >= disagreeing)
    is_foreign = (disagreeing >= config.min_disagreeing_sessions) & (
        disagreeing > config.max_disagreeing_frac * pl.col("n_compared")
    )
    kind = (
        pl.when(is_scaled)
        .then(pl.lit(DisputeKind.SCALED.value))
        .when(is_foreign)
        .then(pl.lit(DisputeKind.ANOTHER_INSTRUMENT.value))
    )
    return counted.with_columns(kind=kind).sort("symbol")


def _owners(foreign: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    paise = (pl.col("close") * 100).round().cast(pl.Int64)
    candidates = other.select("session", paise=paise, resembles="symbol")
    closes = foreign.select("symbol", "session", paise=paise)
    equal = closes.join(candidates, on=("session", "paise"))
    counts = equal.group_by("symbol", "resembles").agg(n_equal=pl.len())
    totals = foreign.group_by("symbol").agg(n_foreign=pl.len())
    most = counts.join(totals, on="symbol").filter(2 * pl.col("n_equal") > pl.col("n_foreign"))
    best = most.sort("n_equal", "resembles", descending=(True, False))
    return best.unique("symbol", keep="first", maintain_order=True).select("symbol", "resembles")
