"""Backtests that are asked for: every setting acts or is refused, and what is written is whole."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel, ValidationError

from sensequant.errors import ConfigError, MissingBarsError
from sensequant.evaluation.strategies import (
    BalancedConfig,
    CashConfig,
    HoldConfig,
    IntradayConfig,
    SwingConfig,
)
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.market.store import BarStore
from sensequant.records import digest_of, frame_digest
from sensequant.stages.trading import (
    RuleBacktest,
    Traded,
    TradedSlice,
    trade_stored,
    write_traded,
)
from sensequant.storage import read_json, read_table

FETCHED_AT = datetime(2024, 1, 1, tzinfo=UTC)
DAILY = TradedSlice(("SIM01", "SIM02", "SIM03"), "1day", date(2022, 1, 1), date(2022, 6, 30))
MINUTES = TradedSlice(("SIM01", "SIM02"), "1minute", date(2022, 6, 1), date(2022, 6, 3))
FEW: dict[str, Any] = {"n_bootstrap_draws": 100}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> BarStore:
    """Return a store of some days and minutes of a simulated market."""
    store = BarStore(tmp_path_factory.mktemp("home"))
    source = SimulatedSource(SimulatedConfig(n_symbols=3, history_start=date(2020, 1, 1)))
    for symbol in (*DAILY.symbols, *source.indices()):
        within = pl.col("session").is_between(date(2021, 8, 1), DAILY.end)
        bars = source.fetch(Chunk(symbol)).bars.filter(within)
        store.write(bars, interval="1day", fetched_at=FETCHED_AT)
    for symbol in MINUTES.symbols:
        chunk = Chunk(symbol, "1minute", MINUTES.start, MINUTES.end)
        store.write(source.fetch(chunk).bars, interval="1minute", fetched_at=FETCHED_AT)
    return store


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    """Return what was found by unchanged settings, so that each is traded once."""
    return {}


def said(traded: Traded) -> str:
    """Return a digest of what a backtest found, without its settings."""
    tables = [traded.account.equity, traded.account.trades.drop("starts_at")]
    figures = [each.model_dump(mode="json") for each in traded.figures]
    return digest_of([*(frame_digest(table) for table in tables), figures])


def trade(store: BarStore, settings: dict[str, Any]) -> Traded:
    asked = RuleBacktest.model_validate(FEW | settings)
    chosen = MINUTES if isinstance(asked.strategy, IntradayConfig) else DAILY
    return trade_stored(store, chosen, asked)


# Enough money moves that limits of every kind bind.
BUSY: dict[str, Any] = {"portfolio": {"position_frac": 0.6, "max_position_frac": 0.7}}
SWING: dict[str, Any] = {"strategy": {"kind": "swing", "fast_bars": 5, "slow_bars": 12}} | BUSY
INTRADAY: dict[str, Any] = {"strategy": {"kind": "intraday"}} | BUSY
HOLD: dict[str, Any] = {"strategy": {"kind": "hold"}}
BALANCED: dict[str, Any] = {"strategy": {"kind": "balanced"}}
CASH: dict[str, Any] = {"strategy": {"kind": "cash"}}
VOLATILE: Mapping[str, Any] = MappingProxyType({"portfolio.sizing": "volatility"})


def with_values(settings: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {
        name: dict(value) if isinstance(value, dict) else value  # pyright: ignore[reportUnknownArgumentType]
        for name, value in settings.items()
    }
    for dotted, value in values.items():
        group, _, name = dotted.rpartition(".")
        (changed.setdefault(group, {}) if group else changed)[name] = value
    return changed


ACTS: list[tuple[dict[str, Any], str, Any, Mapping[str, Any]]] = [
    (SWING, "strategy.fast_bars", 4, {}),
    (SWING, "strategy.slow_bars", 20, {}),
    (SWING, "strategy.stop_frac", 0.01, {}),
    (SWING, "strategy.target_frac", 0.02, {}),
    (SWING, "strategy.max_sessions", 2, {}),
    (INTRADAY, "strategy.average_bars", 10, {}),
    (INTRADAY, "strategy.rsi_bars", 7, {}),
    (INTRADAY, "strategy.long_rsi", 60.0, {}),
    (INTRADAY, "strategy.short_rsi", 40.0, {"strategy.can_short": True}),
    (INTRADAY, "strategy.can_short", True, {}),
    (BALANCED, "strategy.equity_frac", 0.3, {}),
    (SWING, "portfolio.capital_inr", 1e6, {}),
    (SWING, "portfolio.sizing", "volatility", {}),
    (SWING, "portfolio.position_frac", 0.2, {}),
    (SWING, "portfolio.reference_volatility_frac", 0.1, VOLATILE),
    (SWING, "portfolio.max_position_frac", 0.3, {}),
    (SWING, "portfolio.gross_limit_frac", 0.4, {}),
    (SWING, "portfolio.max_participation_frac", 1e-5, {}),
    (SWING, "portfolio.cash_rate_frac", 0.0, {}),
    (SWING, "costs.brokerage_bps", 10.0, {}),
    (SWING, "costs.dp_charge_inr", 0.0, {}),
    (SWING, "costs.slippage_bps", 1.0, {}),
    (SWING, "costs.impact_bps", 0.0, {}),
    (SWING, "costs.rates_as_of", date(2010, 1, 4), {}),
    (SWING, "n_bootstrap_draws", 150, {}),
    (SWING, "confidence", 0.8, {}),
    (SWING, "annual_risk_free_frac", 0.0, {}),
    (SWING, "seed", 7, {}),
    (INTRADAY, "portfolio.sizing", "volatility", {"portfolio.position_frac": 0.01}),
    (HOLD, "portfolio.gross_limit_frac", 0.5, {}),
    (CASH, "portfolio.cash_rate_frac", 0.01, {}),
    (CASH, "portfolio.capital_inr", 1e6, {}),
]


@pytest.mark.parametrize(
    ("settings", "name", "value", "beside"),
    ACTS,
    ids=[f"{each[0]['strategy']['kind']} {each[1]}" for each in ACTS],
)
def test_a_setting_acts(
    store: BarStore,
    known: dict[str, str],
    settings: dict[str, Any],
    name: str,
    value: Any,
    beside: Mapping[str, Any],
) -> None:
    """Another value gives another result."""
    before = with_values(settings, beside)
    key = str(before)
    if key not in known:
        known[key] = said(trade(store, before))

    assert said(trade(store, with_values(before, {name: value}))) != known[key]


def test_every_setting_has_a_row() -> None:
    """A new setting needs a row that proves it."""
    leaves = {
        name for name in RuleBacktest.model_fields if name not in {"strategy", "portfolio", "costs"}
    }
    kinds = (SwingConfig, IntradayConfig, HoldConfig, BalancedConfig, CashConfig)
    leaves |= {f"strategy.{n}" for kind in kinds for n in kind.model_fields if n != "kind"}
    for group in ("portfolio", "costs"):
        model = RuleBacktest.model_fields[group].annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        leaves |= {f"{group}.{name}" for name in model.model_fields}

    assert {name for _, name, _, _ in ACTS} == leaves


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (HOLD, "portfolio.position_frac", 0.2),
        (BALANCED, "portfolio.sizing", "volatility"),
        (CASH, "costs.slippage_bps", 1.0),
        (CASH, "portfolio.gross_limit_frac", 0.5),
        (INTRADAY, "costs.dp_charge_inr", 0.0),
        (SWING, "portfolio.reference_volatility_frac", 0.2),
        (SWING, "strategy.long_rsi", 60.0),
        (SWING, "strategy.fast_bars", 30),
    ],
)
def test_a_setting_that_does_nothing_is_refused(
    settings: dict[str, Any], name: str, value: Any
) -> None:
    """No form may offer what no code reads."""
    with pytest.raises((ConfigError, ValidationError)):
        RuleBacktest.model_validate(with_values(settings, {name: value}))


def test_the_files_hold_what_was_found(store: BarStore, tmp_path: Path) -> None:
    """Tables and figures are written whole, and round trips add up to the gain in equity."""
    found = trade(store, SWING | {"portfolio": {"cash_rate_frac": 0.0}})

    paths = write_traded(tmp_path, found)

    assert all(path.is_file() for path in paths)
    assert read_table(tmp_path / "trades.parquet").equals(found.account.trades)
    assert read_json(tmp_path / "figures.json")["portfolios"][0]["name"] == "strategy"
    assert read_json(tmp_path / "settings.json")["strategy"]["fast_bars"] == 5
    gain = found.account.equity["equity"][-1] - 1e7
    assert found.round_trips["net_gain_inr"].sum() == pytest.approx(gain, abs=0.01)
    assert found.round_trips.height > 3
    assert found.is_simulated


def test_warm_up_costs_no_sessions(store: BarStore) -> None:
    """A range is traded as such: the averages of its first session come from the days before."""
    found = trade(store, SWING)

    sessions = nse_calendar().sessions(DAILY.start, DAILY.end)
    assert found.account.equity["session"].to_list() == sessions
    assert found.account.trades["session"][0] < date(2022, 2, 1)


def test_nothing_is_kept_overnight_by_minutes(store: BarStore) -> None:
    """Every position of the intraday strategy ends with its session."""
    found = trade(store, with_values(INTRADAY, {"strategy.can_short": True}))

    assert found.account.trades.height > 10
    assert found.account.positions.is_empty()
    assert (found.round_trips["opened"] == found.round_trips["closed"]).all()
    assert found.figures[1].n_trades.value == 4


def test_symbols_without_bars_are_named(store: BarStore) -> None:
    """One that is not stored is left out with its reason; none at all is an error."""
    asked = RuleBacktest.model_validate(FEW | HOLD)
    some = TradedSlice(("SIM01", "GONE"), "1day", DAILY.start, DAILY.end)

    assert trade_stored(store, some, asked).without_bars == {"GONE": "no_data"}
    for symbols, start in ((("GONE",), DAILY.start), (("SIM01",), date(2026, 1, 1))):
        with pytest.raises(MissingBarsError):
            trade_stored(store, TradedSlice(symbols, "1day", start, date(2026, 3, 1)), asked)
