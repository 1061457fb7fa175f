"""What features see beside the bars: indices, listings, depth, headlines, macro series.

Belongs here: the context of a market and the check that its frames pass. Does not belong here:
formulas (`market`, `listing`) and where the data come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from sensequant.errors import InvalidBarsError

__all__ = ["NO_CONTEXT", "MarketContext"]


@dataclass(frozen=True)
class MarketContext:
    """What was going on around the symbols of a run.

    Parameters
    ----------
    benchmark
        Bars of the NIFTY 50: session Date, close Float64 in points, strictly ascending by session;
        other columns are ignored. None where there are none.
    vix
        Bars of the India VIX, likewise; close in percent a year.
    listings
        First day on which a symbol could be traded. A symbol whose listing is not known, or lies
        before the bars that are kept, is left out.
    depth
        What order books said (`context.depth_sessions.DEPTH_SESSION_SCHEMA`), a row for each symbol
        and session of which enough is known. None where there is none.
    sentiment
        What headlines said (`context.headline_sessions.SENTIMENT_SESSION_SCHEMA`), a row for each
        symbol and session with one. None where there is none.
    options
        What options said (`context.option_sessions.OPTIONS_SESSION_SCHEMA`), a row for each symbol
        and session with a snapshot. None where there is none.
    macro
        What series said that belong to no symbol (`context.macro_sessions.MACRO_SESSION_SCHEMA`), a
        row for each series and session that a value counts for. None where there is none.

    Raises
    ------
    InvalidBarsError
        A frame lacks a column, is out of order, holds a close that is not finite and above 0, or
        says two things of one symbol and session.

    Notes
    -----
    A value is read on its own session only: nothing is carried forward to a session that has none.
    """

    benchmark: pl.DataFrame | None = None
    vix: pl.DataFrame | None = None
    listings: Mapping[str, date] = field(default_factory=dict[str, date])
    depth: pl.DataFrame | None = None
    sentiment: pl.DataFrame | None = None
    macro: pl.DataFrame | None = None
    options: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        for name, frame in (("benchmark", self.benchmark), ("vix", self.vix)):
            if frame is not None:
                _require_closes(frame, name)
        for name, frame in _sessions_of(self):
            if frame is not None:
                _require_sessions(frame, name)


def _sessions_of(context: MarketContext) -> tuple[tuple[str, pl.DataFrame | None], ...]:
    return (
        ("depth", context.depth),
        ("sentiment", context.sentiment),
        ("options", context.options),
        ("macro", context.macro),
    )


NO_CONTEXT = MarketContext()
"""Nothing is known beside the bars."""


def _require_sessions(frame: pl.DataFrame, name: str) -> None:
    found = {column: frame.schema.get(column) for column in ("symbol", "session")}
    is_typed = found == {"symbol": pl.String(), "session": pl.Date()}
    n_repeated = (
        frame.filter(pl.struct("symbol", "session").is_duplicated()).height if is_typed else 0
    )
    if not is_typed or n_repeated:
        raise InvalidBarsError(
            "context of sessions cannot be used",
            where=name,
            expected="symbol String, session Date, one row for each",
            found=f"{n_repeated} rows that share theirs" if is_typed else str(found),
            remedy="pass the frame that the module of this context returns",
        )


def _require_closes(frame: pl.DataFrame, name: str) -> None:
    found = {column: frame.schema.get(column) for column in ("session", "close")}
    if found != {"session": pl.Date(), "close": pl.Float64()}:
        raise InvalidBarsError(
            "bars of an index lack columns",
            where=name,
            expected="session Date, close Float64",
            found=", ".join(f"{column} {kind}" for column, kind in found.items()),
            remedy="pass the bars of the index as the store returns them",
        )
    close, session = pl.col("close"), pl.col("session")
    is_wrong = close.is_null() | ~close.is_finite() | (close <= 0) | (session <= session.shift())
    wrong = frame.filter(is_wrong | session.is_null())
    if wrong.height > 0:
        raise InvalidBarsError(
            "bars of an index cannot be used",
            where=f"{name} {wrong['session'][0]}",
            expected="strictly ascending sessions, finite closes above 0",
            found=f"{wrong.height} rows that are not",
            remedy="sort the bars, remove duplicates, check them with market.quality",
        )
