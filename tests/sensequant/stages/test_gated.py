"""Gates in a backtest of scores: every one acts, and what it was worth stands beside."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensequant.cli.app import main
from sensequant.context.depth import DEPTH
from sensequant.errors import ConfigError
from sensequant.market.sessions import nse_calendar
from sensequant.market.symbols import INDIA_VIX
from sensequant.stages.context import Run, load_run
from sensequant.stages.gated import ALL
from sensequant.stages.trading import ScoreBacktest, Traded, trade_scores
from sensequant.storage import read_table, write_table

AT = datetime(2024, 1, 1, tzinfo=UTC)
ALWAYS: dict[str, Any] = {"backtest": {"threshold": 0.3}, "n_bootstrap_draws": 100}


def with_context(run: Run) -> Run:
    """Give a run order books whose spread varies, and a VIX that is nervous on every other day."""
    rng = np.random.default_rng(1)
    calendar = nse_calendar()
    scores = read_table(run.folder.predictions)
    moments = [
        (symbol, opens, number)
        for number, (symbol, session) in enumerate(scores.select("symbol", "session").iter_rows())
        if (opens := calendar.opens(session)) is not None
    ]
    spreads = rng.uniform(0.1, 2.0, len(moments))
    books = pl.DataFrame(
        {
            "symbol": [symbol for symbol, _, _ in moments],
            "at": [at for _, at, _ in moments],
            "known_at": [at for _, at, _ in moments],
            "source": ["test"] * len(moments),
            "is_simulated": [True] * len(moments),
            "bid_price": [[100 - spread] for spread in spreads],
            "bid_quantity": [[1.0]] * len(moments),
            "ask_price": [[100 + spread] for spread in spreads],
            "ask_quantity": [[1.0]] * len(moments),
        },
        schema=DEPTH.schema,
    )
    # Seven of them cover the half hour that a session needs.
    spread_out = pl.concat(
        books.with_columns(pl.col("at", "known_at") + pl.duration(minutes=5 * step))
        for step in range(7)
    )
    run.context_store.write(DEPTH, spread_out, written_at=AT)
    benchmark = run.benchmark
    assert benchmark is not None
    level = pl.when(pl.int_range(pl.len()) % 2 == 0).then(30.0).otherwise(12.0)
    write_table(run.folder.bars(INDIA_VIX), benchmark.with_columns(close=level))
    return load_run(run.folder)


def annual(traded: Traded) -> float:
    value = traded.figures[0].net_annual_return.value
    assert value is not None
    return value


@pytest.mark.parametrize(
    ("gate", "value"),
    [("max_spread_frac", 0.02), ("max_volatility_regime", "calm"), ("max_correlation", 0.0)],
)
def test_a_gate_acts_and_its_effect_is_measured(copied: Run, gate: str, value: Any) -> None:
    """Decisions are blocked, trades differ, and the difference is that of both equities."""
    run = with_context(copied)
    plain = trade_scores(run, ScoreBacktest.model_validate(ALWAYS))
    asked = ScoreBacktest.model_validate(ALWAYS | {"gates": {gate: value}})

    traded = trade_scores(run, asked)

    (effect,) = traded.effects
    assert effect.gate == gate
    assert effect.count is not None
    assert 0 < effect.count.n_blocked < effect.count.n_decisions
    assert not traded.account.equity.equals(plain.account.equity)
    assert traded.account.equity["session"].equals(plain.account.equity["session"])
    assert effect.n_trades_without == plain.account.trades.height
    difference = effect.differences["net_annual_return"]
    gated, ungated = (annual(found) for found in (traded, plain))
    assert difference.value == pytest.approx(gated - ungated, abs=1e-9)
    assert difference.lower is not None
    assert difference.upper is not None
    assert difference.lower <= difference.upper
    assert plain.effects == ()


def test_several_gates_are_measured_alone_and_together(
    copied: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is traded in the end is what passes all of them; the command prints each."""
    run = with_context(copied)
    words = ["backtest", "scores", "--run", copied.folder.run_id, "--home", str(copied.folder.home)]
    words += ["--set", "backtest.threshold=0.3", "--set", "n_bootstrap_draws=100"]
    gates = {"max_spread_frac": 0.02, "max_volatility_regime": "calm"}
    given = [word for name, value in gates.items() for word in ("--set", f"gates.{name}={value}")]

    traded = trade_scores(run, ScoreBacktest.model_validate(ALWAYS | {"gates": gates}))
    assert main([*words, *given]) == 0
    printed = capsys.readouterr().out

    assert [effect.gate for effect in traded.effects] == [*gates, ALL]
    assert traded.effects[-1].n_trades_with == traded.account.trades.height
    for effect in traded.effects:
        assert effect.gate in printed
    assert main([*words, "--set", "gates.implied_volatility_sizing=true"]) == 2
    assert "needs options" in capsys.readouterr().err


@pytest.mark.parametrize(
    "gates", [{"max_spread_frac": 0.1}, {"max_volatility_regime": "calm"}, {"max_correlation": 0}]
)
def test_a_gate_without_data_is_refused(copied: Run, gates: dict[str, Any]) -> None:
    """A gate that cannot judge anything is not taken for one that blocks nothing."""
    asked = ScoreBacktest.model_validate(ALWAYS | {"gates": gates})

    with pytest.raises(ConfigError, match="a gate has no data"):
        trade_scores(copied, asked)
