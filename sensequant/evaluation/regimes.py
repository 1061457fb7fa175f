"""What scores and trading were worth in each state of the market, and in each month.

Belongs here: the rules that name a state, and the tables by state. Does not belong here: the
figures of a group (`evaluation.scoring`), dated crises (`sensequant.stress`).

Two rules, both read at the close of the decision session, from bars of that session and before:

- `vix`: India VIX below 15 (`calm`), from 15 to below 25 (`usual`), 25 and above (`nervous`).
- `trend`: NIFTY 50 at or above the mean of its last 200 closes (`rising`), or below (`falling`).

A session whose index has no bar, or too few before it, is in no state: it is counted under
`unknown`, with the reason. A score belongs to the state of its session, a daily return to that of
the session before it, which is when the position was decided. States are few and long: a state that
was visited once is one event, whatever the number of its rows.
"""

from dataclasses import replace
from typing import Literal

import polars as pl

from sensequant.evaluation.bootstrap import stationary_bootstrap_interval
from sensequant.evaluation.measures import SESSIONS_PER_YEAR
from sensequant.evaluation.scoring import ScoredPanel, group_table
from sensequant.features.regimes import CALM_BELOW, NERVOUS_FROM
from sensequant.records import derive_seed

__all__ = ["MONTH", "UNKNOWN", "month_table", "regime_table", "regimes_of"]

MONTH = "month"
UNKNOWN = "unknown"
"""Name of the state of a session that has none."""

_TREND_SESSIONS = 200
_WITHIN = "symbol_and_state"

Rule = Literal["vix", "trend"]
_RULES: tuple[Rule, ...] = ("vix", "trend")
_REASONS: dict[Rule, str] = {
    "vix": "no bar of India VIX at the session",
    "trend": f"fewer than {_TREND_SESSIONS} bars of NIFTY 50 up to the session",
}


def regimes_of(
    sessions: pl.Series, *, nifty: pl.DataFrame | None, vix: pl.DataFrame | None
) -> pl.DataFrame:
    """Return the state of the market at the close of each session.

    Parameters
    ----------
    sessions
        Consecutive sessions of the calendar.
    nifty, vix
        session, close of NIFTY 50 and India VIX, or None where there are none.

    Returns
    -------
    polars.DataFrame
        session, vix, trend; null where a session is in no state.
    """
    frame = pl.DataFrame({"session": sessions.unique().sort()})
    close, mean = pl.col("close"), pl.col("close").rolling_mean(_TREND_SESSIONS)
    level = (
        pl.when(close < CALM_BELOW)
        .then(pl.lit("calm"))
        .when(close < NERVOUS_FROM)
        .then(pl.lit("usual"))
        .otherwise(pl.lit("nervous"))
    )
    slope = pl.when(mean.is_not_null()).then(
        pl.when(close >= mean).then(pl.lit("rising")).otherwise(pl.lit("falling"))
    )
    for name, bars, state in (("vix", vix, level), ("trend", nifty, slope)):
        if bars is None:
            frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name))
            continue
        known = bars.sort("session").select("session", state.alias(name))
        frame = frame.join(known, on="session", how="left", maintain_order="left")
    return frame


def regime_table(panel: ScoredPanel, returns: pl.DataFrame, regimes: pl.DataFrame) -> pl.DataFrame:
    """Return one row per rule and state, those without a state last.

    Parameters
    ----------
    panel
        Labelled rows.
    returns
        session, net_return of consecutive sessions.
    regimes
        As `regimes_of` returns them, of all these sessions.

    Returns
    -------
    polars.DataFrame
        rule, state, the figures of `scoring.group_table` (its placebo shuffles within symbol and
        state), then n_sessions, net_annual_mean and its bounds (mean net return per session times
        the sessions of a year, stationary bootstrap), reason; null where undefined.
    """
    return pl.concat([_of_rule(panel, returns, regimes, rule) for rule in _RULES])


def month_table(panel: ScoredPanel) -> pl.DataFrame:
    """Return the figures of `scoring.group_table` by month of the decision (YYYY-MM).

    A month is no longer than a block of the bootstrap, so that its AUC has no interval; it is to be
    read beside its placebo, which shuffles within symbol and month.
    """
    month = pl.col("session").dt.strftime("%Y-%m")
    return _grouped(panel, panel.rows.with_columns(month.alias(MONTH)), MONTH, has_intervals=False)


def _of_rule(
    panel: ScoredPanel, returns: pl.DataFrame, regimes: pl.DataFrame, rule: Rule
) -> pl.DataFrame:
    states = regimes.select("session", state=pl.col(rule).fill_null(UNKNOWN))
    rows = panel.rows.join(states, on="session", how="left", maintain_order="left").with_columns(
        pl.col("state").fill_null(UNKNOWN)
    )
    figures = _grouped(panel, rows, "state", has_intervals=True)
    # Decided at the close before.
    before = states.sort("session").with_columns(pl.col("state").shift(1).fill_null(UNKNOWN))
    earned = returns.join(before, on="session", how="left", maintain_order="left")
    sessions = pl.DataFrame(
        [_earned(panel, rule, str(name), part) for (name,), part in earned.group_by("state")],
        schema=_EARNED_SCHEMA,
        orient="row",
    )
    is_unknown = pl.col("state") == UNKNOWN
    return (
        figures.join(sessions, on="state", how="full", coalesce=True)
        .with_columns(
            pl.col("n", "n_positive", "n_decided", "n_sessions").fill_null(0),
            rule=pl.lit(rule),
            reason=pl.when(is_unknown).then(pl.lit(_REASONS[rule])),
        )
        .sort(is_unknown, "state")
        .select("rule", pl.exclude("rule"))
    )


def _grouped(
    panel: ScoredPanel, rows: pl.DataFrame, column: str, *, has_intervals: bool
) -> pl.DataFrame:
    within = rows.with_columns(pl.format("{} {}", "symbol", column).alias(_WITHIN))
    return group_table(
        replace(panel, rows=within), column, has_intervals=has_intervals, within=_WITHIN
    )


_EARNED_SCHEMA = pl.Schema(
    {"state": pl.String, "n_sessions": pl.Int64}
    | dict.fromkeys(("net_annual_mean", "net_annual_lower", "net_annual_upper"), pl.Float64)
)


def _earned(panel: ScoredPanel, rule: Rule, state: str, part: pl.DataFrame) -> dict[str, object]:
    found = stationary_bootstrap_interval(
        part.sort("session")["net_return"].to_numpy(),
        lambda values: float(values.mean() * SESSIONS_PER_YEAR),
        n_draws=panel.n_draws,
        confidence=panel.confidence,
        seed=derive_seed(panel.seed, rule, state),
        min_block=panel.block_sessions,
    )
    return {
        "state": state,
        "n_sessions": part.height,
        "net_annual_mean": found.estimate,
        "net_annual_lower": found.lower,
        "net_annual_upper": found.upper,
    }
