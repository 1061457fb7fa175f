"""Macro: what the rupee, the ten-year yield, gold and two sector indices did, as it was known.

Belongs here: returns, changes, levels and scores of macro series, and how a symbol moves with the
rupee. Does not belong here: which value counts for a session (`context.macro_sessions`), NIFTY 50
and India VIX (`market`, `regimes`), breadth of the run's own symbols (`ranks`).

Features of a series run over the sessions at whose close a value of it was known. A session without
has none; nothing is filled beyond the age that the table of series states.

Sources: Chen, Roll and Ross, *Economic Forces and the Stock Market* (1986); Jorion, *The Pricing of
Exchange Rate Risk in the Stock Market* (1991); Baur and Lucey, *Is Gold a Hedge or a Safe Haven?*
(2010); Moskowitz and Grinblatt, *Do Industries Explain Momentum?* (1999); Sharpe (1964).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from sensequant.features.comovement import (
    N_BARS,
    beta,
    common_sessions,
    comovement_columns,
    correlation,
)
from sensequant.features.context import MarketContext
from sensequant.features.expressions import previous, simple_return
from sensequant.features.spec import Column, Family, Feature, FeatureSpec, Table

__all__ = ["MACRO_FEATURES", "MACRO_HELPERS", "MACRO_TABLE"]

_CHEN = "Chen, Roll and Ross (1986)"
_JORION = "Jorion (1991)"
_BAUR = "Baur and Lucey (2010)"
_INDUSTRIES = "Moskowitz and Grinblatt (1999)"
_SCORE_BARS = 252
_VALUE = pl.col("value")


class _Fed(NamedTuple):
    series: str
    what: str
    kind: str
    n_bars: int
    source: str


def _moves(name: str, fed: tuple[str, str, str], *lengths: int) -> dict[str, _Fed]:
    series, what, source = fed
    return {f"macro_{name}_return_{n}": _Fed(series, what, "return", n, source) for n in lengths}


_USDINR = ("USDINR", "INR per USD", _JORION)
_YIELD = ("IN10Y", "ten-year yield", _CHEN)
_GOLD = ("GOLD", "gold in INR", _BAUR)
_BANK = ("BANKNIFTY", "NIFTY Bank", _INDUSTRIES)
_IT = ("NIFTYIT", "NIFTY IT", _INDUSTRIES)


def _fed(of: tuple[str, str, str], kind: str, n_bars: int) -> _Fed:
    return _Fed(of[0], of[1], kind, n_bars, of[2])


_FED: Mapping[str, _Fed] = {
    "macro_yield_10y_level": _fed(_YIELD, "level", 0),
    "macro_yield_10y_change_5": _fed(_YIELD, "change", 5),
    "macro_yield_10y_change_20": _fed(_YIELD, "change", 20),
    "macro_yield_10y_zscore_252": _fed(_YIELD, "zscore", _SCORE_BARS),
    **_moves("usdinr", _USDINR, 1, 5, 20),
    "macro_usdinr_zscore_252": _fed(_USDINR, "zscore", _SCORE_BARS),
    **_moves("gold", _GOLD, 5, 20),
    "macro_gold_zscore_252": _fed(_GOLD, "zscore", _SCORE_BARS),
    **_moves("nifty_bank", _BANK, 5, 20),
    **_moves("nifty_it", _IT, 5, 20),
}

_UNITS = {
    "return": "fraction",
    "change": "percentage points",
    "level": "percent a year",
    "zscore": "standard deviations",
}


def _formula(fed: _Fed) -> str:
    return {
        "return": f"{fed.what}: value[t] / value[t-{fed.n_bars}] - 1",
        "change": f"{fed.what}: value[t] - value[t-{fed.n_bars}]",
        "level": f"{fed.what}: value",
        "zscore": f"{fed.what}: (value - mean) / sample deviation of the last {fed.n_bars} values",
    }[fed.kind]


def _spec(name: str, *, warmup_bars: int, unit: str, formula: str, source: str) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family=Family.MACRO,
        warmup_bars=warmup_bars,
        unit=unit,
        formula=formula,
        source=source,
    )


MACRO_FEATURES: tuple[Feature, ...] = (
    *(
        Feature(
            _spec(
                name,
                warmup_bars=fed.n_bars - (fed.kind == "zscore"),
                unit=_UNITS[fed.kind],
                formula=_formula(fed),
                source=fed.source,
            ),
            None,
        )
        for name, fed in _FED.items()
    ),
    Feature(
        _spec(
            "macro_usdinr_beta_60",
            warmup_bars=N_BARS,
            unit="multiple",
            formula="covariance of returns with INR per USD / its variance, 60 common sessions",
            source=_JORION,
        ),
        beta("usdinr"),
        common_sessions("usdinr"),
    ),
    Feature(
        _spec(
            "macro_usdinr_correlation_60",
            warmup_bars=N_BARS,
            unit="-1 to 1",
            formula="correlation of returns with INR per USD, 60 common sessions",
            source=_JORION,
        ),
        correlation("usdinr"),
        common_sessions("usdinr"),
    ),
)

MACRO_HELPERS: Mapping[str, Column] = comovement_columns("usdinr")
"""Columns on the way to a feature."""

_COLUMNS = ("_usdinr_close", "_has_usdinr", *_FED)


def _by_session(rows: pl.DataFrame, context: MarketContext) -> pl.DataFrame:
    joined = rows.select("session")
    frame = context.macro if context.macro is not None else _NOTHING.to_frame()
    of_series: dict[str, list[str]] = {}
    for name, fed in _FED.items():
        of_series.setdefault(fed.series, []).append(name)
    for series, names in of_series.items():
        values = frame.filter(pl.col("symbol") == series).sort("session")
        table = values.select("session", *(_computed(values, name) for name in names))
        joined = joined.join(table, on="session", how="left", maintain_order="left")
    rupee = frame.filter(pl.col("symbol") == "USDINR").select("session", _usdinr_close="value")
    joined = joined.join(rupee, on="session", how="left", maintain_order="left")
    return joined.with_columns(_has_usdinr=pl.col("_usdinr_close").is_not_null()).select(_COLUMNS)


_NOTHING = pl.Schema({"symbol": pl.String(), "session": pl.Date(), "value": pl.Float64()})

MACRO_TABLE = Table(_COLUMNS, _by_session)


def _computed(values: pl.DataFrame, name: str) -> pl.Expr:
    fed = _FED[name]
    if fed.kind == "return":
        found = simple_return(_VALUE, fed.n_bars)
    elif fed.kind == "change":
        found = _VALUE - previous(_VALUE, fed.n_bars)
    elif fed.kind == "level":
        found = _VALUE
    else:
        found = pl.lit(
            pl.Series(_zscores(values["value"].to_numpy(), fed.n_bars), nan_to_null=True)
        )
    return found.alias(name)


def _zscores(values: np.ndarray, n_bars: int) -> np.ndarray:
    scores = np.full(values.size, np.nan)
    if values.size >= n_bars:
        # Copied, so that the order of a sum does not depend on how many windows there are.
        windows = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(values, n_bars))
        deviation = windows.std(axis=1, ddof=1)
        is_constant = windows.min(axis=1) == windows.max(axis=1)
        distance = windows[:, -1] - windows.mean(axis=1)
        scores[n_bars - 1 :] = distance / np.where(is_constant, np.nan, deviation)
    return scores
