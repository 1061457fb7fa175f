"""Moves over a night that no known action explains, with hints for the person who looks them up.

Belongs here: finding such moves, and what the bars around one say. Does not belong here: applying a
ratio. Nothing here changes a price: a ratio that looks like a split may be a wrong print, a hole or
a crash. Whoever has looked it up writes it into `confirmed_actions.csv`
(`sources.files.action_files`).

A stock opens within its price band, 20 percent at most (securities with derivatives have none, but
open within a dynamic one of 10 percent). A move beyond the band, and beyond what the whole market
did that day, is therefore an action, an error or a hole, and seldom news.
"""

import math

import numpy as np
import polars as pl
from pydantic import Field

from sensequant.market.action_ratios import price_ratios
from sensequant.market.actions import PRICE_KINDS
from sensequant.market.sessions import SessionCalendar
from sensequant.records import Config

__all__ = [
    "JUMP_SCHEMA",
    "SIMPLE_RATIOS",
    "JumpConfig",
    "market_moves",
    "unexplained_jumps",
]

JUMP_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "session": pl.Date(),
        "previous_session": pl.Date(),
        "n_sessions_missing": pl.Int32(),
        "open_over_previous_close": pl.Float64(),
        "close_over_previous_close": pl.Float64(),
        "market_move": pl.Float64(),
        "nearest_ratio": pl.Float64(),
        "nearest_terms": pl.String(),
        "volume_ratio": pl.Float64(),
        "is_volume_consistent": pl.Boolean(),
        "is_only_open": pl.Boolean(),
        "is_other_name": pl.Boolean(),
        "listed_nearby": pl.String(),
    }
)
"""One unexplained move.

Prices are adjusted by what is known. `market_move` is the index's simple return of that session;
`nearest_ratio` (price after over price before) and `nearest_terms` are the simple split or bonus
nearest to the move, null where none is near; `volume_ratio` is the median volume after over the one
before; `is_volume_consistent` says whether it lies nearer to what that ratio would do than to no
change; `is_only_open`: the close is back near the one before, so that one print was out of line;
`is_other_name`: the source's own name of the security changes at this bar; `listed_nearby`: actions
in the list around it, the date of which may be wrong.
"""

SIMPLE_RATIOS: dict[str, float] = {
    "split 10:1": 1 / 10,
    "split 5:1": 1 / 5,
    "split 2:1": 1 / 2,
    "split 5:2": 2 / 5,
    "split 100:1": 1 / 100,
    "split 20:1": 1 / 20,
    "split 50:1": 1 / 50,
    "bonus 3:1": 1 / 4,
    "bonus 2:1": 1 / 3,
    "bonus 3:5": 5 / 8,
    "bonus 1:2": 2 / 3,
    "bonus 2:3": 3 / 5,
    "bonus 1:3": 3 / 4,
    "bonus 1:4": 4 / 5,
    "split 10:1 and bonus 1:2": 1 / 15,
    "consolidation 1:2": 2.0,
    "consolidation 1:5": 5.0,
    "consolidation 1:10": 10.0,
}
"""Price after over price before, by the usual terms; equal ratios have their commoner name."""


class JumpConfig(Config):
    """When a move over a night counts as unexplained, and how far around it hints are sought."""

    band_frac: float = Field(
        default=0.2,
        gt=0.0,
        le=1.0,
        description="Move over the night from which on an explanation is sought, as a fraction of "
        "the previous close; NSE's widest price band is 0.2.",
    )
    ratio_tolerance_log: float = Field(
        default=0.1,
        gt=0.0,
        le=0.5,
        description="Greatest distance, as a natural logarithm, between the move (less that of the "
        "market) and a simple ratio that is hinted at.",
    )
    n_volume_sessions: int = Field(
        default=10,
        ge=1,
        le=60,
        description="Number of bars on each side whose median volume is compared.",
    )
    n_nearby_sessions: int = Field(
        default=10,
        ge=1,
        le=60,
        description="Number of sessions on each side in which listed actions are named.",
    )


def market_moves(index_bars: pl.DataFrame) -> pl.DataFrame:
    """Return the simple return of every session of an index: session, market_move.

    Parameters
    ----------
    index_bars
        Bars of one index: session, close. The first session has no return.
    """
    move = pl.col("close") / pl.col("close").shift(1) - 1.0
    return index_bars.sort("session").select("session", move.alias("market_move")).drop_nulls()


def unexplained_jumps(
    bars: pl.DataFrame,
    actions: pl.DataFrame,
    market_moves: pl.DataFrame,
    calendar: SessionCalendar,
    *,
    config: JumpConfig | None = None,
) -> pl.DataFrame:
    """Return the moves over a night that no known action explains.

    Parameters
    ----------
    bars
        Raw bars of one or more symbols, whole histories (`market.bars.BAR_SCHEMA`).
    actions
        Corporate actions of any symbols (`market.actions.ACTION_SCHEMA`).
    market_moves
        session, market_move (simple return of an index); a session that is not there counts as
        0. A market that fell widens the band by its own fall.
    calendar
        The NSE calendar.
    config
        Limits; None means the defaults.

    Returns
    -------
    polars.DataFrame
        `JUMP_SCHEMA`, sorted by symbol and session. A session whose ratio was taken from its open
        (a demerger) is explained.

    Raises
    ------
    InvalidBarsError
        The actions of one of the symbols are not valid.
    """
    limits = JumpConfig() if config is None else config
    rows = _nights(bars, actions, market_moves, calendar)
    move = pl.col("open_over_previous_close").log()
    widened = math.log1p(limits.band_frac) + pl.col("market_move").fill_null(0.0).log1p().abs()
    jumps = rows.filter(move.abs() > widened)
    hinted = _with_listed_nearby(_with_nearest_ratio(jumps, limits), actions, calendar, limits)
    volumes = _volume_ratios(bars, jumps, limits.n_volume_sessions)
    expected = 1.0 / pl.col("nearest_ratio")
    is_nearer = (pl.col("volume_ratio") / expected).log().abs() < pl.col("volume_ratio").log().abs()
    return (
        hinted.join(volumes, on=["symbol", "session"], how="left", maintain_order="left")
        .with_columns(is_volume_consistent=is_nearer, is_only_open=_is_only_open())
        .select(JUMP_SCHEMA.names())
        .cast(JUMP_SCHEMA)
        .sort("symbol", "session")
    )


def _nights(
    bars: pl.DataFrame,
    actions: pl.DataFrame,
    market_moves: pl.DataFrame,
    calendar: SessionCalendar,
) -> pl.DataFrame:
    ratios = price_ratios(bars, actions, calendar)
    known = (
        ratios.drop_nulls(["session", "price_ratio"])
        .group_by("symbol", "session")
        .agg(pl.col("price_ratio").sort().product().alias("known"))
    )
    numbers = calendar.numbers().select("session", "session_number")
    former = pl.col("session", "session_number", "close", "source_symbol").shift(1).over("symbol")
    rows = (
        bars.select("symbol", "session", "open", "close", "source_symbol")
        .sort("symbol", "session")
        .join(numbers, on="session", how="left", maintain_order="left")
        .with_columns(former.name.prefix("previous_"))
        .join(known, on=["symbol", "session"], how="left", maintain_order="left")
        .join(market_moves, on="session", how="left", maintain_order="left")
    )
    before = pl.col("previous_close") * pl.col("known").fill_null(1.0)
    return rows.drop_nulls("previous_close").with_columns(
        n_sessions_missing=pl.col("session_number") - pl.col("previous_session_number") - 1,
        open_over_previous_close=pl.col("open") / before,
        close_over_previous_close=pl.col("close") / before,
        is_other_name=pl.col("source_symbol") != pl.col("previous_source_symbol"),
    )


def _is_only_open() -> pl.Expr:
    at_open, at_close = (
        pl.col(f"{price}_over_previous_close").log().abs() for price in ("open", "close")
    )
    return 2.0 * at_close < at_open


def _with_nearest_ratio(jumps: pl.DataFrame, limits: JumpConfig) -> pl.DataFrame:
    terms, ratios = list(SIMPLE_RATIOS), np.fromiter(SIMPLE_RATIOS.values(), dtype=np.float64)
    market = 1.0 + pl.col("market_move").fill_null(0.0)
    net = jumps.select((pl.col("open_over_previous_close") / market).log()).to_series()
    distance = np.abs(net.to_numpy()[:, np.newaxis] - np.log(ratios)[np.newaxis, :])
    nearest = distance.argmin(axis=1)
    is_near = distance.min(axis=1) <= limits.ratio_tolerance_log
    return jumps.with_columns(
        nearest_ratio=pl.Series(ratios[nearest]),
        nearest_terms=pl.Series([terms[int(at)] for at in nearest], dtype=pl.String),
        is_near=pl.Series(is_near),
    ).with_columns(pl.when("is_near").then(pl.col("nearest_ratio", "nearest_terms")))


def _with_listed_nearby(
    jumps: pl.DataFrame, actions: pl.DataFrame, calendar: SessionCalendar, limits: JumpConfig
) -> pl.DataFrame:
    listed = actions.filter(pl.col("kind").is_in(PRICE_KINDS)).select("symbol", "ex_date", "kind")
    reach = limits.n_nearby_sessions
    # A first look by days, twice as wide and two weeks more, keeps the count of sessions cheap.
    days = pl.duration(days=2 * reach + 14)
    near = (
        jumps.select("symbol", "session", "session_number")
        .join(listed.unique(), on="symbol")
        .filter(pl.col("ex_date").is_between(pl.col("session") - days, pl.col("session") + days))
        .sort("ex_date", "kind")
    )
    effective = [calendar.next_on_or_after(day) for day in near["ex_date"]]
    numbers = pl.Series([calendar.number_of(day) for day in effective], dtype=pl.Int32)
    named = (
        near.filter((numbers - near["session_number"]).abs() <= reach)
        .group_by("symbol", "session", maintain_order=True)
        .agg(pl.concat_str("kind", "ex_date", separator=" ").str.join(", ").alias("listed_nearby"))
    )
    return jumps.join(named, on=["symbol", "session"], how="left", maintain_order="left")


def _volume_ratios(bars: pl.DataFrame, jumps: pl.DataFrame, n_sessions: int) -> pl.DataFrame:
    ordered = bars.select("symbol", "session", "volume").sort("symbol", "session")
    wanted = jumps.select("symbol", "session")
    at = ordered.with_row_index("row").join(wanted, on=["symbol", "session"], maintain_order="left")
    found: list[tuple[object, ...]] = []
    for row, symbol, session in at.select("row", "symbol", "session").iter_rows():
        earlier = _median_of(ordered[max(0, row - n_sessions) : row], symbol)
        later = _median_of(ordered[row : row + n_sessions], symbol)
        ratio = later / earlier if later > 0.0 and earlier > 0.0 else None
        found.append((symbol, session, ratio))
    schema = {"symbol": pl.String, "session": pl.Date, "volume_ratio": pl.Float64}
    return pl.DataFrame(found, schema=schema, orient="row")


def _median_of(bars: pl.DataFrame, symbol: str) -> float:
    volumes = bars.filter(pl.col("symbol") == symbol)["volume"]
    return float(np.median(volumes.to_numpy()))
