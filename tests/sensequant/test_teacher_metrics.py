"""Figures of a window and their intervals: against rows drawn one by one, and on known truths."""

from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from sensequant.evaluation.bootstrap import panel_weights
from sensequant.teacher_metrics import ScoredRows, ScoreMetrics, score_metrics

# scikit-learn has no types; it is an oracle here.
oracle = cast("Any", metrics)

FIGURES = ("roc_auc", "log_loss", "brier_score", "precision", "recall", "f1")


def _rows(seed: int, n_sessions: int = 120, symbols: tuple[str, ...] = ("AAA",)) -> ScoredRows:
    """Return calibrated scores: label 1 has the probability that the score says."""
    rng = np.random.default_rng(seed)
    n = n_sessions * len(symbols)
    scores = rng.random(n)
    return ScoredRows(
        symbols=pl.Series(symbols * n_sessions),
        session_numbers=np.repeat(np.arange(1000, 1000 + n_sessions), len(symbols)),
        labels=(rng.random(n) < scores).astype(np.float64),
        scores=scores,
    )


def _measured(rows: ScoredRows, **changes: Any) -> ScoreMetrics:
    usual: dict[str, Any] = {"block_sessions": 7, "n_draws": 200, "confidence": 0.95, "seed": 1}
    return score_metrics(rows, **(usual | changes))


def _by_oracle(labels: Any, scores: Any) -> list[float]:
    decisions = scores >= 0.5
    return [
        oracle.roc_auc_score(labels, scores),
        oracle.log_loss(labels, scores),
        oracle.brier_score_loss(labels, scores),
        oracle.precision_score(labels, decisions),
        oracle.recall_score(labels, decisions),
        oracle.f1_score(labels, decisions),
    ]


@pytest.mark.parametrize("symbols", [("AAA",), ("BBB", "AAA", "CCC")])
def test_intervals_are_those_of_rows_drawn_one_by_one(symbols: tuple[str, ...]) -> None:
    """Repeating each row as often as its session and symbol were drawn gives the same quantiles."""
    rows = _rows(3, 40, symbols)
    found = _measured(rows, n_draws=50, confidence=0.9, seed=8)
    by_symbol, by_session = panel_weights(
        n_symbols=len(symbols), n_sessions=40, block_sessions=7, n_draws=50, seed=8
    )
    place = np.array([sorted(symbols).index(name) for name in rows.symbols])
    drawn: list[list[float]] = []
    for draw in range(50):
        times = by_symbol[draw, place] * by_session[draw, rows.session_numbers - 1000]
        chosen = np.repeat(np.arange(place.size), times.astype(int))
        drawn.append(_by_oracle(rows.labels[chosen], rows.scores[chosen]))
    quantiles = np.quantile(np.array(drawn), [0.05, 0.95], axis=0)

    for name, value, interval in zip(
        FIGURES, _by_oracle(rows.labels, rows.scores), quantiles.T, strict=True
    ):
        assert getattr(found, name) == pytest.approx(value)
        assert getattr(found, f"{name}_interval") == pytest.approx(interval)


def test_intervals_cover_the_truth() -> None:
    """Of 200 windows with calibrated uniform scores nearly 95 in 100 intervals hold the truth.

    Truths by integration: AUC 5/6, log loss 1/2, Brier score 1/6, the others 3/4. Percentile
    intervals of 17 blocks are somewhat too narrow.
    """
    truth: dict[str, float] = dict.fromkeys(FIGURES, 0.75)
    truth |= {"roc_auc": 5 / 6, "log_loss": 0.5, "brier_score": 1 / 6}
    n_covered = dict.fromkeys(truth, 0)
    for seed in range(200):
        found = _measured(_rows(seed), seed=seed)
        for name, value in truth.items():
            lower, upper = getattr(found, f"{name}_interval")
            n_covered[name] += lower <= value <= upper

    assert all(168 <= covered <= 199 for covered in n_covered.values()), n_covered


def test_overlapping_rows_widen_their_intervals() -> None:
    """Ten copies of each row say no more than one: blocks of ten know that, single rows do not."""
    rows = _rows(5, 30)
    copies = ScoredRows(
        symbols=pl.Series(["AAA"] * 300),
        session_numbers=np.arange(300),
        labels=np.repeat(rows.labels, 10),
        scores=np.repeat(rows.scores, 10),
    )

    def width(block_sessions: int) -> float:
        interval = _measured(copies, block_sessions=block_sessions).brier_score_interval
        assert interval is not None
        return interval[1] - interval[0]

    assert width(10) > 2 * width(1)


def test_settings_of_the_intervals_act() -> None:
    """Confidence widens, the seed moves, no draws leave the figures alone."""
    rows = _rows(4)
    usual, wide = _measured(rows), _measured(rows, confidence=0.99)
    none = _measured(rows, n_draws=0)

    assert usual.roc_auc_interval is not None
    assert wide.roc_auc_interval is not None
    assert wide.roc_auc_interval[0] < usual.roc_auc_interval[0]
    assert wide.roc_auc_interval[1] > usual.roc_auc_interval[1]
    assert _measured(rows, seed=2).roc_auc_interval != usual.roc_auc_interval
    assert _measured(rows) == usual
    assert none.roc_auc_interval is None
    assert (none.roc_auc, none.f1) == (usual.roc_auc, usual.f1)


def test_fewer_than_three_blocks_have_no_interval() -> None:
    """One block drawn over and over is always the whole window, and would look certain."""
    assert _measured(_rows(1, 21)).brier_score_interval is not None
    assert _measured(_rows(1, 20)).brier_score_interval is None
    assert _measured(_rows(1, 20)).brier_score is not None


def test_what_the_rows_do_not_define_is_absent() -> None:
    """One class has no AUC; a single decision is in too few draws for an interval of precision."""
    rows = _rows(2, 60)
    zeros = ScoredRows(rows.symbols, rows.session_numbers, np.zeros(60), rows.scores)
    single = ScoredRows(
        rows.symbols, rows.session_numbers, rows.labels, np.where(np.arange(60) == 30, 0.9, 0.1)
    )
    empty = ScoredRows(rows.symbols[:0], rows.session_numbers[:0], np.empty(0), np.empty(0))

    one_class = _measured(zeros)
    assert (one_class.roc_auc, one_class.recall) == (None, None)
    assert (one_class.roc_auc_interval, one_class.recall_interval) == (None, None)
    assert one_class.log_loss_interval is not None
    assert _measured(single).precision is not None
    assert _measured(single).precision_interval is None
    nothing = _measured(empty)
    assert nothing.n == 0
    assert all(getattr(nothing, f"{name}_interval") is None for name in FIGURES)


def test_the_record_survives_the_disk() -> None:
    """Record to JSON to record is the identity."""
    found = _measured(_rows(1))

    assert ScoreMetrics.model_validate_json(found.model_dump_json()) == found
