"""Nested search: nothing later is seen, a planted value is found, chance promises and keeps not."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.errors import ConfigError, DataError
from sensequant.evaluation.backtest import BacktestConfig, run_backtest
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.optimisation import (
    OptimisationConfig,
    Search,
    Searched,
    Step,
    Trial,
    plan_steps,
    report_step,
    search_step,
    trade_step,
    trial_table,
    trials_schema,
)
from sensequant.evaluation.optimised import Found, OptimisationSummary, chain_of, summarise_search
from sensequant.evaluation.search_space import SPACES
from sensequant.evaluation.sizing import PortfolioConfig
from sensequant.evaluation.strategies import SwingConfig
from sensequant.evaluation.tradable import ScoreTrading, SwingTrading, Tradable
from sensequant.market.sessions import nse_calendar

FIRST = nse_calendar().number_of(date(2023, 1, 2))
COSTS = CostConfig(rates_as_of=date(2023, 1, 2))
PLAIN: dict[str, Any] = {"n_trials": 6, "min_training_sessions": 40, "step_sessions": 20}
N_SESSIONS = 110


def sessions(n: int = N_SESSIONS) -> list[date]:
    return [nse_calendar().session_at(FIRST + place) for place in range(n)]


def bars_of(moves: np.ndarray[Any, Any]) -> pl.DataFrame:
    """Return bars of symbols A, B, ... whose opens follow from moves, shape (n_sessions, n)."""
    opens = 100 * np.exp(np.cumsum(moves, axis=0))
    days, frames = sessions(len(moves)), list[pl.DataFrame]()
    for place, column in enumerate(opens.T):
        close = np.append(column[1:], column[-1])
        frames.append(
            pl.DataFrame(
                {
                    "symbol": [chr(ord("A") + place)] * len(days),
                    "session": days,
                    "open": column,
                    "high": np.maximum(column, close) * 1.002,
                    "low": np.minimum(column, close) * 0.998,
                    "close": close,
                    "volume": [1e9] * len(days),
                    "is_unexplained_gap": [False] * len(days),
                }
            )
        )
    return pl.concat(frames)


def scores_of(values: np.ndarray[Any, Any]) -> pl.DataFrame:
    """Return one score per session and symbol, shape (n_sessions, n)."""
    return pl.concat(
        pl.DataFrame(
            {
                "symbol": [chr(ord("A") + place)] * len(column),
                "session": sessions(len(column)),
                "score": column,
            }
        )
        for place, column in enumerate(values.T)
    )


def by_scores(scores: np.ndarray[Any, Any], moves: np.ndarray[Any, Any]) -> ScoreTrading:
    return ScoreTrading.of(
        scores_of(scores),
        bars_of(moves),
        hold_sessions=5,
        costs=COSTS,
        config=BacktestConfig(position_frac=0.1),
    )


def by_averages(moves: np.ndarray[Any, Any], first: int = 0) -> SwingTrading:
    return SwingTrading.of(
        bars_of(moves),
        first=FIRST + first,
        last=FIRST + len(moves) - 1,
        rules=SwingConfig(fast_bars=5, slow_bars=12),
        portfolio=PortfolioConfig(),
        costs=COSTS,
    )


def random_world(seed: int, n: int = N_SESSIONS, n_symbols: int = 4) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.random((n, n_symbols)), rng.normal(0, 0.015, (n, n_symbols))


def asked(**changes: Any) -> Search:
    return Search(OptimisationConfig.model_validate(PLAIN | changes), risk_free_daily=0.00025)


def searched(
    tradable: Tradable, step: Step, search: Search, known: Sequence[Trial] = ()
) -> tuple[Searched, list[Trial]]:
    told: list[Trial] = []
    return search_step(tradable, step, search, known=known, tell=told.append), told


def whole(tradable: Tradable, search: Search) -> OptimisationSummary:
    """Search all steps, as the stage does."""
    steps = plan_steps(tradable.span, search.config)
    found = [searched(tradable, step, search)[0] for step in steps]
    traded = [trade_step(tradable, *pair) for pair in zip(steps, found, strict=True)]
    reports = [
        report_step(step, each, done, search)
        for step, each, done in zip(steps, found, traded, strict=True)
    ]
    names = {
        f"trial_{trial.number}": trial.net_returns for trial in found[-1].trials if trial.value
    }
    days = pl.DataFrame({"session": sessions(steps[-1].first - steps[-1].known_first)})
    return summarise_search(
        Found(
            reports,
            traded,
            pl.concat(
                trial_table(search.config.strategy, step, each)
                for step, each in zip(steps, found, strict=True)
            ),
            days.with_columns(pl.Series(name, values) for name, values in names.items()),
        ),
        search,
        defaults=tradable.defaults(),
        n_symbols=4,
        is_simulated=True,
    )


def test_steps_follow_each_other_without_a_gap() -> None:
    """By hand: sessions 10 to 99, forty learnt from, steps of twenty, the last one shorter."""
    steps = plan_steps((10, 99), asked().config)

    assert [(step.first, step.last) for step in steps] == [(50, 69), (70, 89), (90, 99)]
    assert {step.known_first for step in steps} == {10}
    assert [step.known_last for step in steps] == [49, 69, 89]
    assert [step.name for step in steps] == ["step_00", "step_01", "step_02"]


@pytest.mark.parametrize("span", [(10, 49), (0, -1)])
def test_too_few_sessions_are_said_so(span: tuple[int, int]) -> None:
    """A span that is only learnt from leaves nothing to trade."""
    with pytest.raises(DataError, match="too few for a nested search"):
        plan_steps(span, asked().config)


@pytest.mark.parametrize(
    "settings_",
    [
        {"parameters": ("stop_frac",)},
        {"strategy": "swing", "parameters": ("threshold",)},
        {"swing": {"fast_bars": 7}},
        {"strategy": "hold"},
        {"n_trials": 0},
    ],
    ids=str,
)
def test_a_setting_that_does_nothing_is_refused(settings_: dict[str, Any]) -> None:
    """No form may offer what no code reads."""
    with pytest.raises((ConfigError, ValidationError)):
        OptimisationConfig.model_validate(PLAIN | settings_)


def test_a_planted_threshold_is_found() -> None:
    """Scores above 0.7 precede a rise, those below a fall: the threshold taken lies at 0.7."""
    rng = np.random.default_rng(3)
    scores = rng.random((N_SESSIONS, 6))
    drift = np.where(scores > 0.7, 0.02, -0.02)
    # Decided at the close of a session, bought at the next open, sold at the one after it.
    moves = np.vstack([np.zeros((2, 6)), drift[:-2]]) + rng.normal(0, 0.002, (N_SESSIONS, 6))
    tradable = ScoreTrading.of(
        scores_of(scores), bars_of(moves), hold_sessions=1, costs=COSTS, config=BacktestConfig()
    )
    summary = whole(tradable, asked(parameters=("threshold",), n_trials=25))

    taken = [step.settings["threshold"] for step in summary.steps]
    assert all(isinstance(value, float) and 0.65 < value < 0.76 for value in taken)
    assert summary.beats_default
    assert summary.has_edge
    assert (summary.optimised.net_sharpe.value or 0) > (summary.default.net_sharpe.value or 0) + 2


def test_a_planted_target_is_found() -> None:
    """Every crossing is followed by a rise of a tenth and then a fall: a far target earns more."""
    cycle = np.concatenate([np.full(15, -0.004), np.full(8, 0.0125), np.full(7, -0.005)])
    moves = np.column_stack([np.tile(cycle, 6), np.roll(np.tile(cycle, 6), 11)])
    search = asked(strategy="swing", parameters=("target_frac",), n_trials=15, min_trades=2)
    step = plan_steps((FIRST + 20, FIRST + len(moves) - 1), search.config)[-1]

    found, _ = searched(by_averages(moves, 20), step, search)

    worth = {
        trial.settings["target_frac"]: trial.net_sharpe or -9
        for trial in found.trials
        if isinstance(trial.settings["target_frac"], float)
    }
    assert found.chosen == max(found.trials, key=lambda trial: trial.value or -9).number
    assert worth[max(worth, key=lambda value: worth[value])] == found.trials[found.chosen].value
    assert found.trials[found.chosen].net_sharpe > (found.trials[0].net_sharpe or -9)  # pyright: ignore[reportOperatorIssue]


def test_on_chance_the_search_promises_and_does_not_keep() -> None:
    """Scores that know nothing of a random walk: better in sample, nothing out of it."""
    search = asked(n_trials=12, step_sessions=55, n_bootstrap_draws=200)
    found = [whole(by_scores(*random_world(seed, 150)), search) for seed in range(1, 7)]

    before = [each.in_sample.value or 0.0 for each in found]
    later = [each.optimised.net_sharpe.value or 0.0 for each in found]
    assert np.mean(before) > np.mean(later) + 0.5
    # Against the default it may save costs, which are real; an edge of its own it has not.
    assert [each.has_edge for each in found] == [False] * 6
    assert all((each.optimised.net_sharpe.lower or 1) < 0 for each in found)
    for each in found:
        assert (each.in_sample.value or 0) >= (each.in_sample_default.value or 0)


@pytest.mark.parametrize("strategy", ["scores", "swing"])
@settings(max_examples=6)
@given(seed=st.integers(0, 2**16), scale=st.floats(0.5, 3), n=st.integers(0, 20))
def test_what_comes_after_a_step_begins_changes_no_choice(
    strategy: str, seed: int, scale: float, n: int
) -> None:
    """Other bars and scores from the first session of a step on leave its trials as they are."""
    scores, moves = random_world(5)
    search = asked(strategy=strategy, n_trials=4, min_trades=0)
    step = plan_steps((FIRST + 1, FIRST + N_SESSIONS - 1), search.config)[1]
    start = step.first - FIRST
    other = np.random.default_rng(seed)
    later_moves, later_scores = moves.copy(), scores.copy()
    later_moves[start:] = other.normal(0, 0.02 * scale, later_moves[start:].shape)
    # What is decided in the session before the step is traded in it.
    later_scores[start - 1 :] = other.random(later_scores[start - 1 :].shape)
    keep = N_SESSIONS - n

    def trials(scores: Any, moves: Any) -> Searched:
        # The close of a session is the next open here, so the last known close is pinned.
        bars = (
            bars_of(moves)
            .with_columns(
                pl.when(pl.col("session") == sessions()[start - 1])
                .then(pl.col("open"))
                .otherwise(pl.col("close"))
                .alias("close")
            )
            .with_columns(
                high=pl.max_horizontal("open", "close") * 1.002,
                low=pl.min_horizontal("open", "close") * 0.998,
            )
        )
        if strategy == "scores":
            config = BacktestConfig()
            tradable: Tradable = ScoreTrading.of(
                scores_of(scores), bars, hold_sessions=5, costs=COSTS, config=config
            )
        else:
            swing = by_averages(moves, 1)
            tradable = SwingTrading.of(
                bars,
                first=swing.first,
                last=swing.last,
                rules=swing.rules,
                portfolio=swing.portfolio,
                costs=COSTS,
            )
        return searched(tradable, step, search)[0]

    assert trials(scores, moves) == trials(later_scores[:keep], later_moves[:keep])


@pytest.mark.parametrize("n_known", [0, 1, 4, 7])
def test_a_search_goes_on_where_it_stopped(n_known: int) -> None:
    """Trials that are known are not traded again, and the end is the same."""
    tradable, search = by_scores(*random_world(7)), asked()
    step = plan_steps(tradable.span, search.config)[0]
    once, told = searched(tradable, step, search)

    again, retold = searched(tradable, step, search, known=told[:n_known])

    assert again == once
    assert retold == told[n_known:]
    assert len(told) == 1 + search.config.n_trials


def test_a_step_is_traded_as_a_backtest_of_its_own() -> None:
    """The account of a step is that of its scores and bars alone, over all of its sessions."""
    scores, moves = random_world(9)
    scores[60:66] = np.nan
    tradable = by_scores(np.where(np.isnan(scores), 0, scores), moves)
    account = tradable.trade(
        {"threshold": 0.8, "hold_sessions": 2}, first=FIRST + 50, last=FIRST + 69
    )

    inside = scores_of(scores[49:69]).with_columns(
        session=pl.Series(sessions()[49:69] * 4), score=pl.col("score").fill_nan(0)
    )
    alone = run_backtest(
        inside,
        bars_of(moves).filter(pl.col("session") <= sessions()[69]),
        horizon_sessions=2,
        costs=COSTS,
        config=BacktestConfig(threshold=0.8, position_frac=0.1),
    )
    assert account.equity.equals(alone.equity)
    assert account.equity["session"].to_list() == sessions()[50:70]
    assert account.positions.filter(pl.col("session") == sessions()[69]).is_empty()


def test_sessions_without_scores_are_held_in_cash() -> None:
    """A step in which nothing is scored earns the interest of cash, whatever the settings."""
    scores, moves = random_world(9)
    tradable = ScoreTrading.of(
        scores_of(scores[:30]),
        bars_of(moves),
        hold_sessions=40,
        costs=COSTS,
        config=BacktestConfig(),
    )
    account = tradable.trade({"hold_sessions": 3}, first=FIRST + 40, last=FIRST + 60)

    assert account.trades.is_empty()
    assert account.equity.height == 21
    assert np.allclose(account.equity["net_return"].to_numpy(), 1.065 ** (1 / 248) - 1)


def test_the_chain_is_the_product_of_its_steps() -> None:
    """Equity is what a rupee becomes through all steps; figures are those of that series."""
    tradable, search = by_scores(*random_world(11)), asked(n_trials=2)
    summary = whole(tradable, search)
    steps = plan_steps(tradable.span, search.config)
    found = [searched(tradable, step, search)[0] for step in steps]
    traded = [trade_step(tradable, *pair) for pair in zip(steps, found, strict=True)]
    chain = chain_of(summary.steps, traded)

    grown = np.concatenate([each.optimised["net_return"].to_numpy() for each in traded])
    assert chain["optimised_equity"][-1] == pytest.approx(np.prod(1 + grown))
    assert summary.optimised.net_total_return.value == pytest.approx(np.prod(1 + grown) - 1)
    assert chain["session"].is_sorted()
    assert summary.n_sessions == chain.height == sum(step.n_sessions for step in summary.steps)
    assert summary.n_trials == 2 * len(steps)
    assert summary.n_trials_of_step == 2
    assert summary.optimised.n_trades.value == sum(each.n_trades for each in traded)


def test_every_trial_stands_in_the_table() -> None:
    """One row per trial with its settings; exactly one is taken, and trial 0 is as given."""
    tradable, search = by_scores(*random_world(13)), asked()
    step = plan_steps(tradable.span, search.config)[0]
    found, _ = searched(tradable, step, search)

    table = trial_table("scores", step, found)

    assert table.schema == trials_schema("scores")
    assert table["trial"].to_list() == list(range(7))
    assert table.filter("is_chosen")["trial"].to_list() == [found.chosen]
    assert table.row(0, named=True)["threshold"] == 0.5
    assert table.row(0, named=True)["hold_sessions"] == 5
    best = table["value"].max()
    assert table.filter("is_chosen")["value"].item() == best


def test_few_trades_are_no_figure() -> None:
    """A trial below the least number of trades cannot be taken, and says why."""
    tradable = by_scores(*random_world(15))
    search = asked(min_trades=10_000)
    step = plan_steps(tradable.span, search.config)[0]
    found, _ = searched(tradable, step, search)

    assert found.chosen == 0
    assert all(trial.value is None and "too few" in (trial.reason or "") for trial in found.trials)


def test_settings_that_ruin_are_a_trial_without_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proposal that uses the capital up is kept; the settings as given must be possible."""
    tradable, search = by_scores(*random_world(17)), asked()
    step = plan_steps(tradable.span, search.config)[0]
    trade = ScoreTrading.trade

    def ruin(self: ScoreTrading, settings: Any, *, first: int, last: int) -> Any:
        if settings["threshold"] != 0.5:
            raise ConfigError("losses and costs used the capital up")
        return trade(self, settings, first=first, last=last)

    monkeypatch.setattr(ScoreTrading, "trade", ruin)
    found, _ = searched(tradable, step, search)

    assert {trial.reason for trial in found.trials[1:]} == {"losses and costs used the capital up"}
    assert found.chosen == 0


ACTS: list[tuple[str, Any]] = [
    ("strategy", "swing"),
    ("parameters", ("threshold",)),
    ("n_trials", 3),
    ("objective", "net_annual_return"),
    ("min_training_sessions", 41),
    ("step_sessions", 21),
    ("min_trades", 10_000),
    ("n_bootstrap_draws", 150),
    ("confidence", 0.5),
    ("seed", 7),
]


def said(summary: OptimisationSummary) -> dict[str, Any]:
    return summary.model_dump(mode="json", exclude={"settings", "strategy", "defaults"})


@pytest.fixture(scope="module")
def plain() -> OptimisationSummary:
    """Return what the settings find that every row changes one of."""
    return whole(by_scores(*random_world(21)), asked(n_bootstrap_draws=100))


@pytest.mark.parametrize(("name", "value"), ACTS, ids=[name for name, _ in ACTS])
def test_a_setting_acts(plain: OptimisationSummary, name: str, value: Any) -> None:
    """Another value gives another result."""
    world = random_world(21)
    tradable = by_averages(world[1], 1) if value == "swing" else by_scores(*world)
    changed = whole(tradable, asked(**({"n_bootstrap_draws": 100} | {name: value})))

    assert said(changed) != said(plain)


def test_every_setting_has_a_row() -> None:
    """A new setting needs a row that proves it; that of the averages is what a caller trades."""
    assert {name for name, _ in ACTS} == set(OptimisationConfig.model_fields) - {"swing"}


@pytest.mark.parametrize("strategy", ["scores", "swing"])
def test_every_parameter_is_a_setting_of_the_strategy(strategy: Any) -> None:
    """Each name of a space stands in the settings as given, and lies between its bounds there."""
    scores, moves = random_world(1)
    tradable = by_scores(scores, moves) if strategy == "scores" else by_averages(moves)
    given = tradable.defaults()

    assert {each.name for each in SPACES[strategy]} == set(given)


def test_a_threshold_lies_among_the_scores_known_before() -> None:
    """Its bounds come from the scores before the step; scores that do not vary leave none."""
    scores, moves = random_world(1)
    scores[45:] += 10
    low, high = (
        next(each for each in by_scores(scores, moves).parameters((), last=FIRST + last) if each)
        for last in (45, 100)
    )
    assert low.high < 1 < high.high

    flat = by_scores(np.full_like(scores, 0.5), moves)
    names = {each.name for each in flat.parameters((), last=FIRST + 45)}
    assert "threshold" not in names
    step = plan_steps(flat.span, asked().config)[0]
    found, _ = searched(flat, step, asked(parameters=("threshold",)))
    assert len(found.trials) == 1
