"""Gates on context: which decisions of scores are not traded, or how large, by what else was known.

Belongs here: the settings and what they block. Does not belong here: where the facts come from
(`stages.gated`), trading (`evaluation.backtest`).

A gate looks at what was known at the close at which the decision falls, like the score itself. A
fact that is not known changes nothing: that is counted, so that a gate that could judge little is
not taken for one that found little.
"""

from collections.abc import Mapping
from typing import Literal

import polars as pl
from pydantic import Field

from sensequant.records import Config, Record

__all__ = ["FACTS", "SIZING", "GateConfig", "GateCount", "gated_scores"]

_STATES = {"calm": 0, "usual": 1, "nervous": 2}

SIZING = "implied_volatility_sizing"
"""The one of them that sizes and blocks nothing."""

FACTS: Mapping[str, str] = {
    "max_spread_frac": "spread_frac",
    "max_volatility_regime": "vix",
    "max_correlation": "correlation",
    SIZING: "atm_volatility",
}
"""Each gate and the column of facts that it looks at."""

_NO_DECISION = -1.0
"""A score below every threshold; the row stays, so that the sessions traded are the same."""


class GateConfig(Config):
    """Which decisions are not traded, and how large; a gate without a limit is open."""

    max_spread_frac: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Widest spread of the session's order books, over time, at which a symbol is "
        "bought: a fraction of the mid; needs stored depth.",
    )
    max_volatility_regime: Literal["calm", "usual"] | None = Field(
        default=None,
        description="Most nervous state of India VIX in which anything is bought (below 15 calm, "
        "below 25 usual); needs its bars.",
    )
    max_correlation: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="Highest correlation of its returns with NIFTY 50 over 60 sessions at which a "
        "symbol is bought; needs bars of both indices.",
    )
    implied_volatility_sizing: bool = Field(
        default=False,
        description="Size a position by the symbol's implied volatility at the money, in place of "
        "backtest.sizing (yes or no); needs stored options.",
    )

    @property
    def closed(self) -> tuple[str, ...]:
        """Names of the gates that have a limit."""
        limits = ((name, getattr(self, name)) for name in FACTS)
        return tuple(name for name, limit in limits if limit is not None and limit is not False)

    def alone(self, name: str) -> "GateConfig":
        """Return one of the gates without the others."""
        return GateConfig.model_validate({name: getattr(self, name)})


class GateCount(Record):
    """What a gate did with the decisions to buy.

    Attributes
    ----------
    n_decisions
        Rows with a score at or above the threshold.
    n_blocked, n_unknown
        Those that it blocked, and those of which it did not know the fact.
    n_sized
        Those whose size it set.
    """

    gate: str
    n_decisions: int
    n_blocked: int
    n_unknown: int
    n_sized: int = 0


def gated_scores(
    predictions: pl.DataFrame, facts: pl.DataFrame, gates: GateConfig, *, threshold: float
) -> tuple[pl.DataFrame, tuple[GateCount, ...]]:
    """Return the scores with those of blocked decisions below every threshold, and the counts.

    Parameters
    ----------
    predictions
        symbol, session, score; other columns stay.
    facts
        symbol, session and the columns of `FACTS` that the gates look at; one row for each.
    gates
        Which are closed.
    threshold
        Score from which a symbol is bought.

    Returns
    -------
    scores, counts
        The predictions; with sizing also `implied_volatility`, by which `backtest.run_backtest`
        sizes a decision, null where none is known.
    """
    keys = ["symbol", "session"]
    joined = predictions.join(facts, on=keys, how="left", maintain_order="left")
    is_bought = pl.col("score") >= threshold
    bought = joined.filter(is_bought)
    counts: list[GateCount] = []
    blocked = pl.lit(value=False)
    added: list[pl.Expr] = []
    for name in gates.closed:
        fact = pl.col(FACTS[name])
        is_sizing = name == SIZING
        if is_sizing:
            is_beyond = pl.lit(value=False)
            added.append(fact.alias("implied_volatility"))
        else:
            is_beyond = _is_beyond(name, fact, getattr(gates, name)).fill_null(value=False)
        n_unknown = bought[FACTS[name]].null_count()
        counts.append(
            GateCount(
                gate=name,
                n_decisions=bought.height,
                n_blocked=bought.filter(is_beyond).height,
                n_unknown=n_unknown,
                n_sized=bought.height - n_unknown if is_sizing else 0,
            )
        )
        blocked = blocked | is_beyond
    score = pl.when(blocked & is_bought).then(_NO_DECISION).otherwise(pl.col("score"))
    scores = joined.with_columns(score.alias("score")).select(*predictions.columns, *added)
    return scores, tuple(counts)


def _is_beyond(name: str, fact: pl.Expr, limit: float | str) -> pl.Expr:
    if name == "max_volatility_regime":
        return (
            fact.replace_strict(_STATES, default=None, return_dtype=pl.Int64) > _STATES[str(limit)]
        )
    return fact > limit
