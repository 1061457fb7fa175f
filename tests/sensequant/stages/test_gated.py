"""Gates in a backtest of scores: every one acts, and what it was worth stands beside."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensequant.cli.app import main
from sensequant.context.depth import DEPTH
from sensequant.context.options import OPTIONS
from sensequant.errors import ConfigError
from sensequant.evaluation.gates import SIZING, GateConfig
from sensequant.market.sessions import nse_calendar
from sensequant.market.symbols import INDIA_VIX
from sensequant.stages.context import Run, load_run
from sensequant.stages.gated import ALL, facts_of
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


def with_options(run: Run) -> Run:
    """Store two contracts around the forward, ten minutes before each close; not for SIM03."""
    rng = np.random.default_rng(2)
    calendar = nse_calendar()
    scores = read_table(run.folder.predictions).filter(pl.col("symbol") != "SIM03")
    rows: list[tuple[Any, ...]] = []
    for symbol, session in scores.select("symbol", "session").iter_rows():
        if (closes := calendar.closes(session)) is not None:
            at, level = closes - timedelta(minutes=10), float(rng.uniform(0.2, 0.9))
            rows += [chain_row(symbol, session, at, strike, level) for strike in (90.0, 110.0)]
    options = pl.DataFrame(rows, schema=OPTIONS.schema, orient="row")
    run.context_store.write(OPTIONS, options, written_at=AT)
    return run


def chain_row(
    symbol: str, session: date, at: datetime, strike: float, level: float
) -> tuple[Any, ...]:
    expiry = session + timedelta(days=30)
    quoted = (expiry, strike, strike > 100, 1.0, session, None, None, 1.0, 1.0, 100.0)
    return (symbol, at, at, "test", True, *quoted, 0.0, 0.0, level, None)


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
    assert "a gate has no data" in capsys.readouterr().err


def test_sizing_by_implied_volatility_acts_and_its_effect_is_measured(
    copied: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is bought is as large as the volatility of its decision allows, or as it was."""
    run = with_options(copied)
    # No limit of the portfolio is reached, and no target is too near to the one before.
    small = {"position_frac": 0.01, "min_change_frac": 0.0}
    asked = ALWAYS | {"backtest": {"threshold": 0.3, **small}}
    plain = trade_scores(run, ScoreBacktest.model_validate(asked))

    sized = trade_scores(run, ScoreBacktest.model_validate(asked | {"gates": {SIZING: True}}))

    (effect,) = sized.effects
    assert effect.count is not None
    assert (effect.gate, effect.count.n_blocked) == (SIZING, 0)
    scores = read_table(run.folder.predictions).filter(pl.col("score") >= 0.3)
    n_without = scores.filter(symbol="SIM03").height
    assert 0 < effect.count.n_sized == scores.height - effect.count.n_unknown
    assert effect.count.n_unknown >= n_without > 0
    # The first purchase of each symbol is one tranche, of one decision.
    first = {
        name: traded.account.trades.group_by("symbol", maintain_order=True)
        .agg(pl.col("session").first(), pl.col("value_inr").first())
        .sort("symbol")
        for name, traded in (("plain", plain), ("sized", sized))
    }
    assert first["plain"]["session"].equals(first["sized"]["session"])
    facts = facts_of(run, scores, GateConfig(implied_volatility_sizing=True))
    for symbol, session, value in first["sized"].iter_rows():
        before = facts.filter(pl.col("symbol") == symbol, pl.col("session") < session)
        level = before["atm_volatility"][-1]
        (usual,) = first["plain"].filter(symbol=symbol)["value_inr"]
        expected = 1.0 if level is None else 0.3 / level
        assert value / usual == pytest.approx(expected, rel=2e-2)
    difference = effect.differences["net_annual_return"]
    assert difference.value == pytest.approx(annual(sized) - annual(plain), abs=1e-9)
    assert difference.value != 0
    words = ["backtest", "scores", "--run", run.folder.run_id, "--home", str(run.folder.home)]
    words += ["--set", "backtest.threshold=0.3", "--set", "n_bootstrap_draws=100"]
    assert main([*words, "--set", f"gates.{SIZING}=true"]) == 0
    assert f"{effect.count.n_sized} of {effect.count.n_decisions} sized" in capsys.readouterr().out


def test_options_that_become_known_later_change_no_earlier_size(copied: Run) -> None:
    """What arrives after the close counts for no decision of it, nor what is too old then."""
    run = with_options(copied)
    predictions, gates = (
        read_table(run.folder.predictions),
        GateConfig(implied_volatility_sizing=True),
    )
    before = facts_of(run, predictions, gates)
    stored = run.context_store.read(OPTIONS, "SIM01")

    def write(symbol: str, *, at_minutes: int, known_minutes: int, level: float) -> pl.DataFrame:
        rows = stored.with_columns(
            pl.col("at") + pl.duration(minutes=at_minutes),
            pl.col("known_at") + pl.duration(minutes=known_minutes),
            symbol=pl.lit(symbol),
            implied_volatility=pl.lit(level),
        )
        run.context_store.write(OPTIONS, rows, written_at=AT)
        return facts_of(run, predictions, gates)

    assert write("SIM01", at_minutes=5, known_minutes=11, level=5.0).equals(before)
    assert write("SIM03", at_minutes=-51, known_minutes=-51, level=5.0).equals(before)
    after = write("SIM01", at_minutes=4, known_minutes=10, level=4.0)
    assert after.filter(symbol="SIM01")["atm_volatility"].drop_nulls().unique().to_list() == [4.0]
    assert after.filter(pl.col("symbol") != "SIM01").equals(
        before.filter(pl.col("symbol") != "SIM01")
    )


@pytest.mark.parametrize(
    "gates",
    [
        {"max_spread_frac": 0.1},
        {"max_volatility_regime": "calm"},
        {"max_correlation": 0},
        {SIZING: True},
    ],
)
def test_a_gate_without_data_is_refused(copied: Run, gates: dict[str, Any]) -> None:
    """A gate that cannot judge anything is not taken for one that blocks nothing."""
    asked = ScoreBacktest.model_validate(ALWAYS | {"gates": gates})

    with pytest.raises(ConfigError, match="a gate has no data"):
        trade_scores(copied, asked)
