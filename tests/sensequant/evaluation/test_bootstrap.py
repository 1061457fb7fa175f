"""Resampling agrees with plain loops and covers the truth about as often as it says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import ConfigError, DataError
from sensequant.evaluation.bootstrap import (
    block_length,
    block_permutation,
    interval_of_draws,
    panel_auc_draws,
    panel_auc_interval,
    panel_weights,
    stationary_bootstrap_interval,
    stationary_draws,
)
from sensequant.evaluation.measures import roc_auc, sharpe_ratio


def panel(seed: int, n_symbols: int = 12, n_sessions: int = 80) -> tuple[Any, Any, Any, Any]:
    """Return symbols, sessions, labels and scores; labels share a move per session."""
    rng = np.random.default_rng(seed)
    symbols = np.repeat(np.arange(n_symbols), n_sessions)
    sessions = np.tile(np.arange(n_sessions), n_symbols)
    market = np.repeat(rng.normal(size=n_sessions // 5), 5)
    moves = market[sessions] + rng.normal(size=symbols.size)
    scores = rng.normal(size=n_symbols)[symbols] + np.round(rng.normal(size=symbols.size), 1)
    return symbols, sessions, (moves > 0.5).astype(int), scores


def test_draws_equal_the_auc_of_repeated_rows() -> None:
    """A draw is the AUC of the rows repeated as often as symbol and session were drawn."""
    symbols, sessions, labels, scores = panel(1)
    weights = panel_weights(n_symbols=12, n_sessions=80, block_sessions=5, n_draws=20, seed=3)

    draws = panel_auc_draws(symbols, sessions, labels, scores, weights=weights)

    for draw, by_symbol, by_session in zip(draws, *weights, strict=True):
        times = (by_symbol[symbols] * by_session[sessions]).astype(int)
        assert draw == pytest.approx(roc_auc(np.repeat(labels, times), np.repeat(scores, times)))


def test_draws_are_the_same_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Working through the draws one by one changes nothing."""
    symbols, sessions, labels, scores = panel(1)
    weights = panel_weights(n_symbols=12, n_sessions=80, block_sessions=5, n_draws=20, seed=3)
    whole = panel_auc_draws(symbols, sessions, labels, scores, weights=weights)
    monkeypatch.setattr("sensequant.evaluation.bootstrap._CELLS_AT_ONCE", 1)

    assert np.array_equal(
        whole, panel_auc_draws(symbols, sessions, labels, scores, weights=weights)
    )


def test_weights_are_counts_of_whole_blocks() -> None:
    """Each draw holds as many symbols and sessions as there are, sessions in circular blocks."""
    symbols, sessions = panel_weights(
        n_symbols=4, n_sessions=12, block_sessions=4, n_draws=50, seed=0
    )

    assert set(symbols.sum(axis=1)) == {4}
    assert set(sessions.sum(axis=1)) == {12}
    for counts in sessions:
        rebuilt = [
            np.bincount((np.add.outer(starts, np.arange(4)) % 12).ravel(), minlength=12)
            for starts in np.ndindex(12, 12, 12)
            if (counts[list(starts)] > 0).all()
        ]
        assert any(np.array_equal(counts, candidate) for candidate in rebuilt)


def test_a_single_symbol_always_weighs_one() -> None:
    """With one symbol only sessions vary, and a block never exceeds the sessions there are."""
    symbols, sessions = panel_weights(
        n_symbols=1, n_sessions=3, block_sessions=9, n_draws=5, seed=0
    )

    assert (symbols == 1).all()
    assert (sessions == 1).all()


def test_panel_interval_names_what_it_rests_on() -> None:
    """The record holds point, bounds and sizes; the same seed gives the same interval."""
    symbols, sessions, labels, scores = panel(2)
    names = np.array([f"S{code}" for code in symbols])
    settings: dict[str, Any] = {
        "block_sessions": 5, "n_draws": 200, "confidence": 0.9, "seed": 7,
    }  # fmt: skip

    found = panel_auc_interval(names, sessions, labels, scores, **settings)
    again = panel_auc_interval(names, sessions, labels, scores, **settings)

    assert found == again
    assert found.estimate == roc_auc(labels, scores)
    assert found.lower is not None
    assert found.upper is not None
    assert found.estimate is not None
    assert found.lower < found.estimate < found.upper
    assert (found.n_rows, found.n_symbols, found.n_sessions) == (960, 12, 80)
    assert found.reason is None


def test_interval_does_not_depend_on_row_order() -> None:
    """Shuffled rows give the same interval up to rounding."""
    symbols, sessions, labels, scores = panel(2)
    order = np.random.default_rng(0).permutation(labels.size)
    settings: dict[str, Any] = {
        "block_sessions": 5, "n_draws": 100, "confidence": 0.9, "seed": 7,
    }  # fmt: skip

    straight = panel_auc_interval(symbols, sessions, labels, scores, **settings)
    shuffled = panel_auc_interval(
        symbols[order], sessions[order], labels[order], scores[order], **settings
    )

    assert shuffled.lower == pytest.approx(straight.lower)
    assert shuffled.upper == pytest.approx(straight.upper)


def test_one_class_has_no_auc_and_no_interval() -> None:
    """Without ones there is no figure, and the record says so."""
    found = panel_auc_interval(
        [0, 0], [1, 2], [0, 0], [0.1, 0.2], block_sessions=1, n_draws=10, confidence=0.9, seed=0
    )

    assert (found.estimate, found.lower, found.upper) == (None, None, None)
    assert found.reason == "one class only"


def test_draws_of_one_class_are_counted_not_hidden() -> None:
    """When resampling often loses one class there is a point but no interval."""
    found = panel_auc_interval(
        [0] * 4, [1, 2, 3, 4], [1, 0, 0, 0], [0.9, 0.2, 0.3, 0.1],
        block_sessions=1, n_draws=100, confidence=0.9, seed=0,
    )  # fmt: skip

    assert found.estimate == 1.0
    assert found.lower is None
    assert found.reason is not None
    assert "not defined in" in found.reason


def test_panel_interval_refuses_nonsense() -> None:
    """Blocks and draws are positive, columns equally long, confidence a fraction."""
    with pytest.raises(ConfigError):
        panel_auc_interval([0], [0], [1], [1], block_sessions=0, n_draws=9, confidence=0.9, seed=0)
    with pytest.raises(DataError):
        panel_auc_interval(
            [0], [0, 1], [1, 0], [1, 0], block_sessions=1, n_draws=9, confidence=0.9, seed=0
        )
    with pytest.raises(ConfigError):
        interval_of_draws(np.array([1.0]), confidence=1.0)


def test_noise_is_covered_about_as_often_as_claimed() -> None:
    """With labels and scores unrelated, 90 % intervals hold 0.5 in nearly all of 60 panels."""
    covered = 0
    for seed in range(60):
        found = panel_auc_interval(
            *panel(seed), block_sessions=5, n_draws=200, confidence=0.9, seed=seed
        )
        assert found.lower is not None
        assert found.upper is not None
        covered += found.lower <= 0.5 <= found.upper

    assert 0.8 * 60 <= covered <= 60


def test_a_real_edge_is_seen() -> None:
    """Scores that know the label by half give an interval above 0.5."""
    symbols, sessions, labels, scores = panel(4)

    found = panel_auc_interval(
        symbols, sessions, labels, scores + 2 * labels,
        block_sessions=5, n_draws=200, confidence=0.95, seed=1,
    )  # fmt: skip

    assert found.lower is not None
    assert found.lower > 0.6


def test_stationary_interval_of_a_mean_matches_theory() -> None:
    """On independent data the interval of the mean is about 1.96 standard errors to each side."""
    values = np.random.default_rng(5).normal(1.0, 2.0, 400)

    found = stationary_bootstrap_interval(
        values, lambda sample: float(sample.mean()), n_draws=2000, confidence=0.95, seed=1
    )

    reach = 1.96 * values.std() / 20
    assert found.lower == pytest.approx(values.mean() - reach, abs=0.06)
    assert found.upper == pytest.approx(values.mean() + reach, abs=0.06)
    assert found.n_symbols is None


def test_blocks_are_at_least_the_known_overlap() -> None:
    """The automatic length is raised to the horizon and never below one."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=500)
    smooth = np.convolve(rng.normal(size=600), np.ones(30), mode="valid")

    assert block_length(noise) >= 1
    assert block_length(noise, min_block=7) == 7
    assert block_length(smooth) > 7
    assert block_length(np.ones(50), min_block=3) == 3
    assert block_length([1.0, 2.0]) == 1


def test_undefined_statistics_have_no_interval() -> None:
    """A Sharpe ratio of constant returns, or of nothing, is absent with a reason."""
    flat = stationary_bootstrap_interval(
        np.full(50, 0.01), sharpe_ratio, n_draws=20, confidence=0.9, seed=0
    )
    nothing = stationary_bootstrap_interval([], sharpe_ratio, n_draws=20, confidence=0.9, seed=0)

    assert flat.estimate is None
    assert flat.reason == "not defined on these data"
    assert nothing.lower is None
    assert nothing.n_rows == 0


def test_statistics_may_be_undefined_in_some_draws() -> None:
    """When many draws leave a statistic undefined the interval is absent."""
    values = np.array([0.01] * 19 + [0.02])

    found = stationary_bootstrap_interval(values, sharpe_ratio, n_draws=200, confidence=0.9, seed=0)

    assert found.estimate is not None
    assert found.lower is None


def test_rows_are_drawn_together() -> None:
    """Columns of one session stay together in every draw."""
    values = np.column_stack([np.arange(30.0), -np.arange(30.0)])

    draws = stationary_draws(
        values, lambda sample: sample.sum(axis=0), n_draws=20, seed=0, block_sessions=3
    )

    assert draws.shape == (20, 2)
    assert np.array_equal(draws[:, 0], -draws[:, 1])


@given(st.integers(1, 6), st.integers(0, 1000))
def test_placebo_permutes_within_symbols(block: int, seed: int) -> None:
    """Each row gets a row of its own symbol, each exactly once; neighbours inside a block stay."""
    rng = np.random.default_rng(seed)
    symbols = rng.integers(0, 3, size=30)
    sessions = rng.permutation(30)

    order = block_permutation(symbols, sessions, block_sessions=block, rng=rng)

    assert sorted(order) == list(range(30))
    assert np.array_equal(symbols[order], symbols)


def test_placebo_keeps_blocks_whole() -> None:
    """With blocks of five, at most one step in four breaks a run."""
    order = block_permutation(
        np.zeros(100), np.arange(100), block_sessions=5, rng=np.random.default_rng(1)
    )

    assert (np.diff(order) == 1).sum() >= 78


def test_placebo_of_nothing_is_nothing() -> None:
    """No rows, no permutation."""
    order = block_permutation([], [], block_sessions=5, rng=np.random.default_rng(1))

    assert order.size == 0
