"""Backtests on a terminal: what was asked, and what it earned.

Belongs here: from words to settings, and the words of the answer. Does not belong here: trading
(`stages.trading`, `sensequant.evaluation`).
"""

import json
from datetime import date
from pathlib import Path
from typing import Any, get_args

import polars as pl
from rich.console import Console

from blocks.environment import UNIVERSES_FOLDER
from sensequant.cli.arguments import BacktestArguments
from sensequant.cli.asking import build_model, nested_settings
from sensequant.cli.output import Fact, print_facts, print_table
from sensequant.cli.stored import LATEST, find_run
from sensequant.errors import ConfigError, MissingBarsError
from sensequant.evaluation.costs import COST_COLUMNS
from sensequant.evaluation.differences import DIFFERENCES
from sensequant.evaluation.figures import Figure, PerformanceFigures
from sensequant.evaluation.gates import SIZING, GateCount
from sensequant.ingestion.places import store_at
from sensequant.market.intervals import DAILY, INTERVALS, Interval
from sensequant.market.selection import SymbolSelection, selected_symbols
from sensequant.market.sources.build import SourceConfig
from sensequant.market.store import BarStore
from sensequant.market.symbols import is_index
from sensequant.stages.context import load_run
from sensequant.stages.trading import (
    RuleBacktest,
    ScoreBacktest,
    Traded,
    TradedSlice,
    trade_scores,
    trade_stored,
    write_traded,
)

__all__ = ["backtest_rules", "backtest_scores", "show"]

_DEFAULT_START = date(2022, 1, 1)
_MINUTES: Interval = "1minute"
_FIGURES = {
    "net_total_return": "total return, net",
    "gross_total_return": "total return, before costs",
    "net_annual_return": "annual return, net",
    "net_annual_volatility": "volatility per year",
    "net_sharpe": "Sharpe ratio",
    "net_sortino": "Sortino ratio",
    "net_calmar": "Calmar ratio",
    "max_drawdown": "maximum drawdown",
    "drawdown_length_sessions": "longest drawdown, sessions",
    "mean_exposure": "mean exposure",
    "annual_turnover": "turnover per year, equities",
    "annual_cost_frac": "costs per year",
    "n_trades": "trades",
}
_PERCENTS = {
    name for name in _FIGURES if name.endswith(("return", "frac", "volatility", "drawdown"))
} | {"mean_exposure"}


def backtest_scores(arguments: BacktestArguments, home: Path) -> Traded:
    """Trade the scores of a run, by its settings and those of `--set`.

    Raises
    ------
    ConfigError
        An argument is wrong, or does nothing with scores.
    """
    for name in ("start", "end", "interval"):
        if getattr(arguments, name) is not None:
            raise ConfigError(
                "scores are traded over all of their sessions",
                where=f"--{name}",
                expected="none",
                found=str(getattr(arguments, name)),
                remedy="leave it out",
            )
    run = load_run(find_run(home, arguments.run or LATEST))
    own: dict[str, Any] = {
        "backtest": run.config.backtest.model_dump(),
        "costs": run.config.costs.model_dump(),
        "seed": run.config.seed,
    }
    asked = build_model(ScoreBacktest, nested_settings(arguments.set, own), where="settings")
    return trade_scores(run, asked)


def backtest_rules(
    strategy: str,
    arguments: BacktestArguments,
    selection: SymbolSelection,
    *,
    source: SourceConfig,
    home: Path,
) -> Traded:
    """Trade a strategy without scores on stored bars.

    Raises
    ------
    ConfigError
        An argument is wrong.
    MissingBarsError
        No bars are stored.
    """
    if arguments.run is not None:
        raise ConfigError(
            "a strategy without scores has no run",
            where="--run",
            expected="none",
            found=arguments.run,
            remedy=f"leave it out, or use `sensequant backtest scores --run {arguments.run}`",
        )
    values = nested_settings(arguments.set, {"strategy": {"kind": strategy}})
    asked = build_model(RuleBacktest, values, where="settings")
    store = store_at(home, source)
    chosen = _slice(store, arguments, selection, is_by_minutes=strategy == "intraday")
    return trade_stored(store, chosen, asked)


def show(console: Console, traded: Traded, *, output: Path | None, is_json: bool) -> None:
    """Write the tables where asked, and print what a person wants to know."""
    written = [] if output is None else write_traded(output, traded)
    if is_json:
        console.out(json.dumps(_as_json(traded), indent=2))
        return
    print_facts(console, _facts(traded))
    header = ["figure", "strategy", "interval", "hold", "NIFTY 50"]
    print_table(console, header, [_figure_row(name, traded.figures) for name in _FIGURES])
    _print_gates(console, traded)
    _print_trips(console, traded)
    _print_costs(console, traded)
    print_facts(console, [("written", str(path)) for path in written])


def _slice(
    store: BarStore,
    arguments: BacktestArguments,
    selection: SymbolSelection,
    *,
    is_by_minutes: bool,
) -> TradedSlice:
    interval = _interval(arguments.interval or (_MINUTES if is_by_minutes else DAILY))
    start = _date(arguments.start, "--start") or _DEFAULT_START
    stored = tuple(name for name in store.symbols(interval) if not is_index(name))
    symbols = selected_symbols(
        selection, universes=UNIVERSES_FOLDER, as_of=start, available=lambda: stored
    )
    end = _date(arguments.end, "--end") or _last_stored(store, symbols, interval)
    if start > end:
        raise ConfigError(
            "range is upside down",
            where="--start and --end",
            expected="start on or before end",
            found=f"{start} to {end}",
        )
    return TradedSlice(symbols, interval, start, end)


def _last_stored(store: BarStore, symbols: tuple[str, ...], interval: Interval) -> date:
    stored = set(store.symbols(interval))
    tables = [store.sessions_stored(name, interval) for name in symbols if name in stored]
    sessions = pl.concat(tables)["session"] if tables else pl.Series(dtype=pl.Date)
    last = sessions.max()
    if not isinstance(last, date):
        raise MissingBarsError(
            "store has no bars to trade on",
            where=interval,
            expected=", ".join(symbols) or "at least one symbol",
            remedy="ingest them first: sensequant ingest",
        )
    return last


def _interval(text: str) -> Interval:
    for interval in INTERVALS:
        if interval == text:
            return interval
    raise ConfigError(
        "interval is unknown",
        where="--interval",
        expected=", ".join(get_args(Interval)),
        found=text,
    )


def _date(text: str | None, option: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            "date is malformed", where=option, expected="YYYY-MM-DD", found=text
        ) from error


def _facts(traded: Traded) -> list[Fact]:
    account, equity = traded.account, traded.account.equity
    name = traded.asked.strategy.kind if isinstance(traded.asked, RuleBacktest) else "scores"
    facts = [("strategy", name)]
    if traded.is_simulated:
        facts.append(("bars", "simulated: no figure tells anything about a real market"))
    if equity.is_empty():
        return [*facts, ("sessions", "none: nothing was scored, or no bar follows")]
    facts += [
        ("sessions", f"{equity.height}, {equity['session'][0]} to {equity['session'][-1]}"),
        ("equity", f"{equity['equity'][-1]:,.0f} INR"),
        ("orders cut", f"{account.n_cut} by volume, limit or cash"),
        ("unexplained gaps held", str(account.n_gaps_held)),
    ]
    return facts + [(f"left out {name}", why) for name, why in traded.without_bars.items()]


def _figure_row(name: str, portfolios: tuple[PerformanceFigures, ...]) -> list[str]:
    write = _percent if name in _PERCENTS else _plain
    figures = [_of(each, name) for each in portfolios]
    return [
        _FIGURES[name],
        _or_reason(figures[0], write),
        _interval_of(figures[0], write),
        *(_or_reason(figure, write) for figure in figures[1:]),
    ]


def _of(portfolio: PerformanceFigures, name: str) -> Figure:
    figure = getattr(portfolio, name)
    assert isinstance(figure, Figure)  # noqa: S101 - narrows what getattr returns
    return figure


def _or_reason(figure: Figure, write: Any) -> str:
    return f"- ({figure.reason})" if figure.value is None else write(figure.value)


def _interval_of(figure: Figure, write: Any) -> str:
    if figure.lower is None or figure.upper is None:
        return f"- ({figure.reason})"
    return f"{write(figure.lower)} to {write(figure.upper)}"


def _percent(value: float) -> str:
    return f"{value:.2%}"


def _plain(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.2f}"


def _print_gates(console: Console, traded: Traded) -> None:
    if not traded.effects:
        return
    rows = [
        [
            effect.gate,
            "" if count is None else _done_by(count),
            "" if count is None else str(count.n_unknown),
            f"{effect.n_trades_with}, {effect.n_trades_without} without",
            *(_difference(effect.differences[name], name) for name in DIFFERENCES),
        ]
        for effect in traded.effects
        for count in (effect.count,)
    ]
    header = ["gate", "decisions", "not known", "trades", "annual return, net", "Sharpe ratio"]
    print_table(console, header, rows)


def _done_by(count: GateCount) -> str:
    if count.gate == SIZING:
        return f"{count.n_sized} of {count.n_decisions} sized"
    return f"{count.n_blocked} of {count.n_decisions} blocked"


def _difference(figure: Figure, name: str) -> str:
    write = _percent if name in _PERCENTS else _plain
    if figure.value is None:
        return f"- ({figure.reason})"
    return f"{write(figure.value)}, {_interval_of(figure, write)}"


def _print_trips(console: Console, traded: Traded) -> None:
    trips = traded.round_trips
    if trips.is_empty():
        print_facts(console, [("round trips", "none")])
        return
    n_won = (trips["net_gain_inr"] > 0).sum()
    print_facts(
        console, [("round trips", f"{trips.height}, {n_won / trips.height:.1%} with a gain")]
    )
    by_reason = (
        trips.group_by("reason")
        .agg(n=pl.len(), won=(pl.col("net_gain_inr") > 0).mean(), mean="net_gain_frac")
        .with_columns(pl.col("mean").list.mean())
        .sort("n", "reason", descending=[True, False])
    )
    print_table(
        console,
        ["ended by", "round trips", "with a gain", "mean net gain"],
        [
            [row["reason"], str(row["n"]), _percent(row["won"]), _percent(row["mean"])]
            for row in by_reason.iter_rows(named=True)
        ],
    )


def _print_costs(console: Console, traded: Traded) -> None:
    trades = traded.account.trades
    if trades.is_empty():
        return
    total, value = float(trades["cost_inr"].sum()), float(trades["value_inr"].sum())
    print_facts(console, [("costs", f"{total:,.0f} INR, {total / value * 1e4:.1f} bps of trades")])
    items = [(name, float(trades[name].sum())) for name in COST_COLUMNS]
    print_table(
        console,
        ["item", "INR", "of all costs"],
        [
            [name.removesuffix("_inr"), f"{cost:,.0f}", _percent(cost / total)]
            for name, cost in items
            if cost > 0
        ],
    )


def _as_json(traded: Traded) -> dict[str, Any]:
    return {
        "settings": traded.asked.model_dump(mode="json"),
        "is_simulated": traded.is_simulated,
        "without_bars": traded.without_bars,
        "n_cut": traded.account.n_cut,
        "n_gaps_held": traded.account.n_gaps_held,
        "gates": [each.model_dump(mode="json") for each in traded.effects],
        "figures": {each.name: each.model_dump(mode="json") for each in traded.figures},
    }
