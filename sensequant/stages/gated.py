"""Gates on context in a backtest of scores: their facts, and what each of them is worth.

Belongs here: reading what was known at each decision, and the backtest with and without each gate.
Does not belong here: what a gate blocks (`evaluation.gates`), figures and files (`stages.trading`).
Nothing here is evidence.
"""

from collections.abc import Callable

import polars as pl

from sensequant.context.sessions import context_of_sessions
from sensequant.errors import ConfigError
from sensequant.evaluation.account import Account
from sensequant.evaluation.differences import return_differences
from sensequant.evaluation.figures import Figure
from sensequant.evaluation.gates import SIZING, GateConfig, GateCount, gated_scores
from sensequant.evaluation.regimes import regimes_of
from sensequant.features.build import build_features
from sensequant.features.context import MarketContext
from sensequant.features.registry import FeatureConfig
from sensequant.features.spec import Family
from sensequant.market.sessions import nse_calendar
from sensequant.records import Record
from sensequant.stages.context import Run

__all__ = ["ALL", "GateEffect", "effects_of", "facts_of", "paired_differences"]

ALL = "all together"
"""Name of the effect of all gates that have a limit."""

_KEYS = ["symbol", "session"]


class GateEffect(Record):
    """What a gate, or all of them, changed.

    Attributes
    ----------
    gate
        Its name, or `ALL`.
    count
        What it did with the decisions; None for all together.
    differences
        Net annual return and Sharpe ratio with it minus without any, with paired intervals.
    n_trades_with, n_trades_without
        Trades of both.
    """

    gate: str
    count: GateCount | None
    differences: dict[str, Figure]
    n_trades_with: int
    n_trades_without: int


def facts_of(run: Run, predictions: pl.DataFrame, gates: GateConfig) -> pl.DataFrame:
    """Return what was known at each scored session, as far as the gates look at it.

    Raises
    ------
    ConfigError
        A gate has a limit and no data at all.
    """
    facts = predictions.select(_KEYS).unique().sort(_KEYS)
    if gates.max_spread_frac is not None:
        facts = facts.join(_known(run, Family.DEPTH, "spread_frac"), on=_KEYS, how="left")
        _require(
            facts["spread_frac"].count() > 0, "max_spread_frac", "order books of these symbols"
        )
    if gates.implied_volatility_sizing:
        facts = facts.join(_known(run, Family.OPTIONS, "atm_volatility"), on=_KEYS, how="left")
        what = "options of these symbols with a volatility at the money"
        _require(facts["atm_volatility"].count() > 0, SIZING, what)
    market = run.market_context
    if gates.max_volatility_regime is not None:
        _require(_has_bars(market.vix), "max_volatility_regime", "bars of India VIX")
        states = regimes_of(facts["session"], nifty=None, vix=market.vix)
        facts = facts.join(states.select("session", "vix"), on="session", how="left")
    if gates.max_correlation is not None:
        for index in (market.benchmark, market.vix):
            _require(_has_bars(index), "max_correlation", "bars of NIFTY 50 and India VIX")
        facts = facts.join(_correlations(run, market), on=_KEYS, how="left")
    return facts.sort(_KEYS)


def effects_of(
    run: Run,
    predictions: pl.DataFrame,
    gates: GateConfig,
    *,
    threshold: float,
    trade: Callable[[pl.DataFrame], Account],
    compare: Callable[[pl.DataFrame, pl.DataFrame, str], dict[str, Figure]],
) -> tuple[Account, tuple[GateEffect, ...]]:
    """Trade with all gates, with each alone and with none; return the first and what differs.

    Parameters
    ----------
    run, predictions
        The run and its scores.
    gates
        At least one of them has a limit.
    threshold
        Score from which a symbol is bought.
    trade
        From scores to an account.
    compare
        From the equities with and without, and a name, to differences.
    """
    facts = facts_of(run, predictions, gates)
    without = trade(predictions)
    asked = {name: gates.alone(name) for name in gates.closed}
    if len(asked) != 1:
        asked[ALL] = gates
    effects: list[GateEffect] = []
    account = without
    for name, each in asked.items():
        scores, counts = gated_scores(predictions, facts, each, threshold=threshold)
        account = trade(scores)
        effects.append(
            GateEffect(
                gate=name,
                count=None if name == ALL else counts[0],
                differences=compare(account.equity, without.equity, name),
                n_trades_with=account.trades.height,
                n_trades_without=without.trades.height,
            )
        )
    # The last one is that of all gates.
    return account, tuple(effects)


def paired_differences(
    with_gate: pl.DataFrame,
    without: pl.DataFrame,
    *,
    min_block: int,
    n_draws: int,
    confidence: float,
    seed: int,
    risk_free_daily: float,
) -> dict[str, Figure]:
    """Return what one equity earned over the other on the sessions of both."""
    both = with_gate.select("session", "net_return").join(
        without.select("session", other="net_return"), on="session"
    )
    return return_differences(
        both["net_return"].to_numpy(),
        both["other"].to_numpy(),
        min_block=min_block,
        n_draws=n_draws,
        confidence=confidence,
        seed=seed,
        risk_free_daily=risk_free_daily,
    )


def _known(run: Run, family: Family, column: str) -> pl.DataFrame:
    frames = context_of_sessions(
        run.context_store, {family}, symbols=run.symbols, calendar=nse_calendar()
    )
    return frames[family].select(*_KEYS, column)


def _correlations(run: Run, market: MarketContext) -> pl.DataFrame:
    families = {family.value: family is Family.MARKET_CONTEXT for family in Family}
    table = build_features(run.bars, FeatureConfig.model_validate(families), market)
    return table.select(*_KEYS, correlation="correlation_60")


def _has_bars(index: pl.DataFrame | None) -> bool:
    return index is not None and not index.is_empty()


def _require(is_there: bool, gate: str, what: str) -> None:
    if not is_there:
        raise ConfigError(
            "a gate has no data",
            where=f"gates.{gate}",
            expected=what,
            found="none",
            remedy="import or ingest them, or leave the gate open",
        )
