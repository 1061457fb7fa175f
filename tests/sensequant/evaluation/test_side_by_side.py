"""Facts about two models side by side: differences by hand, none for equals, none on too little."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as untyped_metrics

from sensequant.evaluation.measures import SESSIONS_PER_YEAR
from sensequant.evaluation.side_by_side import (
    DELTAS,
    FEWEST_BLOCKS,
    Delta,
    ModelComparison,
    Side,
    Terms,
    compare_models,
)
from sensequant.evaluation.validation import ValidationConfig

metrics: Any = untyped_metrics
FIRST = date(2023, 1, 2)
RISK_FREE_DAILY = 0.0002


def world(
    n_sessions: int, *, edge: float = 0.0, drift: float = 0.0, seed: int = 1
) -> tuple[pl.DataFrame, Side, Side, pl.DataFrame]:
    """Return outcomes, a candidate that knows and earns more by the edge, a reference, an index."""
    rng = np.random.default_rng(seed)
    sessions = [FIRST + timedelta(days=n) for n in range(n_sessions)]
    keys = pl.DataFrame(
        {
            "symbol": [f"S{n}" for n in range(6) for _ in sessions],
            "session": sessions * 6,
            "session_number": list(range(n_sessions)) * 6,
        }
    )
    moves = rng.normal(size=keys.height)
    outcomes = keys.with_columns(label=pl.Series((moves > 0).astype(np.int8)))

    def side(knows: float, mean: float) -> Side:
        raw = knows * moves + rng.normal(size=keys.height)
        score = pl.Series(1 / (1 + np.exp(-raw)))
        returns = pl.DataFrame(
            {"session": sessions, "net_return": 0.001 * rng.normal(size=n_sessions) + mean}
        )
        return Side(keys.with_columns(score=score, probability=score), returns)

    index = pl.DataFrame({"session": sessions, "benchmark_return": rng.normal(size=n_sessions)})
    index = index.with_columns(pl.col("benchmark_return") * 0.001)
    return outcomes, side(0.2 + edge, drift), side(0.2, 0.0), index


def compared(
    given: tuple[pl.DataFrame, Side, Side, pl.DataFrame], why_no_scores: str | None = None
) -> ModelComparison:
    outcomes, candidate, reference, index = given
    asked = Terms(
        config=ValidationConfig(n_bootstrap_draws=200, min_block_sessions=5),
        horizon_sessions=3,
        risk_free_daily=RISK_FREE_DAILY,
        seed=4,
        why_no_scores=why_no_scores,
    )
    return compare_models(outcomes, candidate, reference, benchmark=index, terms=asked)


def test_figures_are_those_of_other_engines() -> None:
    """Scikit-learn for the scores; mean, ratio and running maximum by hand for the returns."""
    given = world(60, edge=0.5, drift=0.0005)
    outcomes, candidate, reference, index = given
    found = compared(given)
    label = outcomes["label"].to_numpy()

    assert [delta.name for delta in found.deltas] == list(DELTAS)
    for side, own in ((candidate, "candidate"), (reference, "reference")):
        score = side.scores["score"].to_numpy()
        net = side.returns["net_return"].to_numpy()
        excess = net - RISK_FREE_DAILY
        equity = np.concatenate([[1.0], np.cumprod(1 + net)])
        expected = {
            "auc": metrics.roc_auc_score(label, score),
            "log_loss": metrics.log_loss(label, score),
            "mean_excess_return": (net - index["benchmark_return"].to_numpy()).mean()
            * SESSIONS_PER_YEAR,
            "net_sharpe": excess.mean() / excess.std(ddof=1) * np.sqrt(SESSIONS_PER_YEAR),
            "max_drawdown": (equity / np.maximum.accumulate(equity) - 1).min(),
        }
        for name, value in expected.items():
            assert getattr(found.of(name), own) == pytest.approx(value, rel=1e-9)
            assert found.of(name).difference.value == pytest.approx(
                (found.of(name).candidate or 0) - (found.of(name).reference or 0)
            )
    assert (found.n_rows, found.n_sessions, found.n_traded_sessions) == (360, 60, 60)


def test_what_is_planted_is_told_and_its_side_is_named() -> None:
    """The candidate that knows more is better by its scores, and the other way round worse."""
    outcomes, candidate, reference, index = world(60, edge=1.0, drift=0.002)
    better = compared((outcomes, candidate, reference, index))
    worse = compared((outcomes, reference, candidate, index))

    for name in ("auc", "log_loss", "mean_excess_return", "net_sharpe"):
        assert better.of(name).is_worse is False
        assert worse.of(name).is_worse is True


def test_equal_models_differ_by_nothing() -> None:
    """Every difference is 0 in every draw."""
    outcomes, candidate, _, index = world(60)
    found = compared((outcomes, candidate, candidate, index))

    for delta in found.deltas:
        bounds = (delta.difference.value, delta.difference.lower, delta.difference.upper)
        assert bounds == (0, 0, 0)
        assert delta.is_worse is False


@pytest.mark.parametrize("n_sessions", [1, 24])
def test_too_few_sessions_have_no_interval(n_sessions: int) -> None:
    """Fewer than five blocks of five: a value where it is defined, no interval, and why."""
    found = compared(world(n_sessions))

    for delta in found.deltas:
        assert delta.difference.lower is None
        assert delta.is_worse is None
        assert delta.difference.reason
    reason = found.of("max_drawdown").difference.reason
    assert reason == (
        f"no interval: {n_sessions} sessions are fewer than {FEWEST_BLOCKS} blocks of 5"
    )


def test_what_only_one_of_them_says_is_counted_and_left_out() -> None:
    """A row without the other's score has no part in the difference."""
    outcomes, candidate, reference, index = world(60)
    silent = pl.when(pl.col("symbol") == "S0").then(None).otherwise(pl.col("score"))
    quiet = Side(reference.scores.with_columns(score=silent), reference.returns)
    found = compared((outcomes, candidate, quiet, index))
    own, other = (
        Side(side.scores.filter(pl.col("symbol") != "S0"), side.returns)
        for side in (candidate, reference)
    )

    assert (found.n_rows, found.n_left_out, found.n_symbols) == (300, 60, 5)
    without = compared((outcomes, own, other, index))
    assert found.of("auc") == without.of("auc")


def test_figures_that_are_not_defined_say_why() -> None:
    """No benchmark, a portfolio that stands still, no probabilities, other labels, no session."""
    outcomes, candidate, reference, index = world(60)
    still = Side(
        reference.scores.with_columns(probability=pl.lit(None, dtype=pl.Float64)),
        reference.returns.with_columns(net_return=pl.lit(RISK_FREE_DAILY)),
    )
    no_index = index.with_columns(benchmark_return=pl.lit(None, dtype=pl.Float64))
    found = compared((outcomes, candidate, still, no_index))
    nothing = Side(reference.scores.clear(), reference.returns.clear())
    empty = compared((outcomes, candidate, nothing, index), why_no_scores="other labels")

    reasons = {delta.name: delta.difference.reason for delta in found.deltas}
    assert reasons["mean_excess_return"] == "no benchmark on these sessions"
    assert reasons["net_sharpe"] == "returns of one of both do not vary"
    assert reasons["log_loss"] == "no labelled row was scored by both"
    assert {delta.difference.reason for delta in empty.deltas} == {
        "other labels",
        "no session was traded by both",
    }


def test_no_difference_is_told_by_its_name_alone() -> None:
    """Less log loss is better, less of anything else is worse."""
    figure = compared(world(60)).of("auc").difference
    lower = figure.model_copy(update={"value": -0.1, "lower": -0.2, "upper": -0.05})
    told = {
        name: Delta(name=name, candidate=0.1, reference=0.2, difference=lower).is_worse
        for name in DELTAS
    }

    assert told == dict.fromkeys(DELTAS, True) | {"log_loss": False}
