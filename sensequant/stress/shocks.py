"""Synthetic shocks: the same decisions on bars, or at costs, that are made worse by a stated rule.

Belongs here: the rules, and what the portfolio does under each of them. Does not belong here:
crises that happened (`stress.replay`), how positions trade (`evaluation.backtest`).

A shock alters the bars, or the costs, of the sessions that the out-of-sample scores were traded in;
the decisions stay what they were, for nobody knows what the students would have said of bars that
never came. Bars before the first of these sessions stay, too. Each bar keeps its shape: open, high,
low and close are multiplied by one factor. The results are of bars that nobody traded: they say
how the portfolio is built, not what it will earn.

Rules
-----
- `gap_down`: every price from the open of one session on is lower by `gap_down_frac`; the session
  is the one after the close at which the portfolio held most.
- `volatility_raised`: the deviation of each log return of a symbol from its mean is multiplied by
  `volatility_factor`.
- `correlation_one`: each symbol keeps mean and deviation of its log returns, but all follow one
  path: the mean of their standardised returns, standardised again.
- `halted_symbol`: the symbol with the largest position at that close does not trade in the
  `halt_sessions` sessions after it.
- `spread_raised`: slippage is multiplied by `spread_factor`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import polars as pl

from sensequant.evaluation.backtest import BacktestResult, run_backtest
from sensequant.market.sessions import nse_calendar
from sensequant.records import Record
from sensequant.stress.baselines import performance
from sensequant.stress.replay import ReplaySettings
from sensequant.stress.resilience import Performance
from sensequant.stress.scenarios import StressConfig

__all__ = ["ShockReport", "ShockResult", "render_shocks", "shock_portfolio"]

_PRICES = ("open", "high", "low", "close")
_NEVER_INVESTED = "the portfolio never held a position over the night"


class ShockResult(Record):
    """What the portfolio did under one shock; beside it stands what it did without."""

    name: str
    rule: str
    """With its numbers, session and symbol."""

    shocked: Performance | None
    reason: str | None = None
    """Why there is no figure."""


class ShockReport(Record):
    """All shocks of one portfolio, on bars or costs that nobody traded at."""

    is_synthetic: bool = True
    first_session: date | None
    last_session: date | None
    undisturbed: Performance | None
    shocks: tuple[ShockResult, ...]
    reason: str | None = None
    """Why there is nothing to shock."""


@dataclass(frozen=True, slots=True)
class _Portfolio:
    """The undisturbed portfolio, what it is made of, and where it is hit."""

    predictions: pl.DataFrame
    bars: pl.DataFrame
    settings: ReplaySettings
    result: BacktestResult
    hit_after: date | None
    largest: str | None

    @property
    def stress(self) -> StressConfig:
        return self.settings.stress

    @property
    def traded(self) -> pl.Expr:
        return pl.col("session") >= self.result.equity["session"][0]

    def performance(self, result: BacktestResult, name: str) -> Performance:
        return performance(name, result.equity["net_return"].to_numpy(), config=self.stress)

    def traded_on(self, bars: pl.DataFrame) -> BacktestResult:
        return _trade(self.predictions, bars, self.settings)


def shock_portfolio(
    predictions: pl.DataFrame, bars: pl.DataFrame, settings: ReplaySettings
) -> ShockReport:
    """Trade out-of-sample scores again under each shock.

    Parameters
    ----------
    predictions
        symbol, session, score of the students that are the evidence.
    bars
        Adjusted bars of the symbols.
    settings
        Of stress tests, backtest and costs.

    Returns
    -------
    ShockReport
        Without shocks, and with the reason, where nothing was traded.
    """
    scores = predictions.select("symbol", "session", "score")
    result = _trade(scores, bars, settings)
    if result.equity.is_empty():
        return ShockReport(
            first_session=None,
            last_session=None,
            undisturbed=None,
            shocks=(),
            reason="no score could be traded",
        )
    held, largest = _fullest_close(result)
    portfolio = _Portfolio(scores, bars, settings, result, held, largest)
    sessions = result.equity["session"]
    return ShockReport(
        first_session=sessions[0],
        last_session=sessions[-1],
        undisturbed=portfolio.performance(result, "undisturbed"),
        shocks=tuple(shock(portfolio) for shock in _SHOCKS),
    )


def render_shocks(report: ShockReport) -> str:
    """Return the part of the page of stress tests that tells of the shocks."""
    lines = ["## Synthetic shocks", ""]
    if report.undisturbed is None:
        return "\n".join([*lines, f"None: {report.reason}."]) + "\n"
    lines += [
        (
            f"The decisions of {report.first_session} to {report.last_session} on bars, or at "
            "costs, that nobody traded at. One constructed event each: no interval."
        ),
        "",
        "| shock | rule | sessions | total return | max drawdown | Sharpe |",
        "|---|---|---:|---:|---:|---:|",
        _row("none", "as it was", report.undisturbed),
    ]
    for each in report.shocks:
        if each.shocked is None:
            lines.append(f"| {each.name} | {each.rule} | none: {each.reason} | | | |")
        else:
            lines.append(_row(each.name, each.rule, each.shocked))
    return "\n".join(lines) + "\n"


def _row(name: str, rule: str, figures: Performance) -> str:
    numbers = (
        (figures.total_return, ".2%"),
        (figures.max_drawdown, ".2%"),
        (figures.sharpe, ".2f"),
    )
    texts = ("none" if value is None else format(value, layout) for value, layout in numbers)
    return f"| {name} | {rule} | {figures.n_sessions} | {' | '.join(texts)} |"


def _trade(
    predictions: pl.DataFrame, bars: pl.DataFrame, settings: ReplaySettings
) -> BacktestResult:
    return run_backtest(
        predictions,
        bars,
        horizon_sessions=settings.horizon_sessions,
        costs=settings.costs,
        config=settings.backtest,
    )


def _fullest_close(result: BacktestResult) -> tuple[date | None, str | None]:
    # The last session is left out: nothing can happen to the portfolio after it.
    last = result.equity["session"][-1]
    held = result.positions.filter(pl.col("session") < last, pl.col("shares") != 0)
    if held.is_empty():
        return None, None
    gross = held.group_by("session").agg(pl.col("value_inr").abs().sum())
    fullest = gross.sort("value_inr", "session", descending=[True, False])["session"][0]
    at_close = held.filter(pl.col("session") == fullest)
    largest = at_close.sort(pl.col("value_inr").abs(), "symbol", descending=[True, False])
    return fullest, largest["symbol"][0]


def _gap_down(portfolio: _Portfolio) -> ShockResult:
    name, fall = "gap_down", portfolio.stress.gap_down_frac
    if portfolio.hit_after is None:
        return _without(name, f"all prices {fall:.1%} lower")
    is_hit = pl.col("session") > portfolio.hit_after
    bars = _scaled(portfolio.bars, pl.when(is_hit).then(1 - fall).otherwise(1.0))
    rule = f"all prices {fall:.1%} lower from the open after {portfolio.hit_after} on"
    return _under(name, rule, portfolio, portfolio.traded_on(bars))


def _volatility_raised(portfolio: _Portfolio) -> ShockResult:
    factor = portfolio.stress.volatility_factor
    deviation = pl.col("log_return") - pl.col("mean")
    bars = _with_returns(portfolio, pl.col("mean") + factor * deviation)
    rule = f"deviations of log returns from their mean times {factor:g}"
    return _under("volatility_raised", rule, portfolio, portfolio.traded_on(bars))


def _correlation_one(portfolio: _Portfolio) -> ShockResult:
    standardised = (pl.col("log_return") - pl.col("mean")) / pl.col("deviation")
    common = standardised.filter(pl.col("deviation") > 0).mean().over("session")
    path = pl.col("common").first().over("session")
    bars = _with_returns(
        portfolio,
        pl.col("mean") + pl.col("deviation") * (path / pl.col("spread")),
        common=common,
    )
    rule = "all log returns follow the mean of the standardised ones"
    return _under("correlation_one", rule, portfolio, portfolio.traded_on(bars))


def _halted_symbol(portfolio: _Portfolio) -> ShockResult:
    name, n_sessions = "halted_symbol", portfolio.stress.halt_sessions
    if portfolio.hit_after is None:
        return _without(name, f"largest position halted for {n_sessions} sessions")
    calendar = nse_calendar()
    first = calendar.number_of(portfolio.hit_after) + 1
    end = min(first + n_sessions, calendar.number_of(calendar.last)) - 1
    until = calendar.session_at(max(first, end))
    is_halted = (
        (pl.col("symbol") == portfolio.largest)
        & (pl.col("session") > portfolio.hit_after)
        & (pl.col("session") <= until)
    )
    rule = f"{portfolio.largest} does not trade after {portfolio.hit_after}, until {until}"
    return _under(name, rule, portfolio, portfolio.traded_on(portfolio.bars.filter(~is_halted)))


def _spread_raised(portfolio: _Portfolio) -> ShockResult:
    settings, factor = portfolio.settings, portfolio.stress.spread_factor
    raised = settings.costs.slippage_bps * factor
    costs = settings.costs.model_copy(update={"slippage_bps": raised})
    result = run_backtest(
        portfolio.predictions,
        portfolio.bars,
        horizon_sessions=settings.horizon_sessions,
        costs=costs,
        config=settings.backtest,
    )
    rule = f"slippage of {raised:g} bps instead of {settings.costs.slippage_bps:g}"
    return _under("spread_raised", rule, portfolio, result)


_SHOCKS: tuple[Callable[[_Portfolio], ShockResult], ...] = (
    _gap_down,
    _volatility_raised,
    _correlation_one,
    _halted_symbol,
    _spread_raised,
)


def _under(name: str, rule: str, portfolio: _Portfolio, result: BacktestResult) -> ShockResult:
    return ShockResult(name=name, rule=rule, shocked=portfolio.performance(result, name))


def _without(name: str, rule: str) -> ShockResult:
    return ShockResult(name=name, rule=rule, shocked=None, reason=_NEVER_INVESTED)


def _with_returns(
    portfolio: _Portfolio, log_return: pl.Expr, *, common: pl.Expr | None = None
) -> pl.DataFrame:
    """Return bars whose closes follow other log returns in the sessions that were traded.

    Parameters
    ----------
    portfolio
        The undisturbed one.
    log_return
        Of each bar, from `log_return`, and `mean` and `deviation` over the symbol's sessions; with
        `common`, also from `common` and `spread`, its deviation over sessions.
    common
        One value for each session.
    """
    return_ = pl.col("close").log().diff().over("symbol")
    inside = pl.col("log_return").filter(portfolio.traded)
    bars = portfolio.bars.sort("symbol", "session").with_columns(log_return=return_)
    bars = bars.with_columns(
        mean=inside.mean().over("symbol"), deviation=inside.std().over("symbol")
    )
    if common is not None:
        bars = bars.with_columns(common=common)
        by_session = bars.filter(portfolio.traded).unique("session", maintain_order=True)
        bars = bars.with_columns(spread=pl.lit(by_session["common"].std()))
    # A symbol's first bar has no return; where nothing is known, nothing is altered.
    altered = pl.when(portfolio.traded).then(log_return).otherwise(pl.col("log_return"))
    drift = (pl.coalesce(altered, "log_return") - pl.col("log_return")).fill_null(0.0)
    factor = drift.cum_sum().over("symbol").exp()
    return _scaled(bars, factor).select(portfolio.bars.columns)


def _scaled(bars: pl.DataFrame, factor: pl.Expr) -> pl.DataFrame:
    return bars.with_columns(pl.col(_PRICES) * factor)
