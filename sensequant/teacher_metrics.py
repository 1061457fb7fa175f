"""Figures of merit of one set of scored rows, each with its interval.

Belongs here: the record of the figures and their block bootstrap within one window. Does not
belong here: the figures themselves (`evaluation.measures`), the way of resampling
(`evaluation.bootstrap`), and what is measured on later windows (`evaluation.scoring`).

Rows are resampled as the panel that they are: circular blocks of sessions, all symbols together,
and symbols with replacement where there are several. Rows count equally, whatever their weight in
training.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.evaluation.bootstrap import interval_of_draws, panel_auc_draws, panel_weights
from sensequant.evaluation.measures import brier_score, log_loss, precision_recall_f1, roc_auc
from sensequant.records import Finite, Record

__all__ = ["Interval", "ScoreMetrics", "ScoredRows", "score_metrics"]

Floats = NDArray[np.float64]

Interval = tuple[Finite, Finite]
"""Lower and upper end."""

_DECISION_THRESHOLD = 0.5
_FEWEST_BLOCKS = 3


class ScoreMetrics(Record):
    """Figures of merit of one set of scored rows; None where the rows do not define one.

    An interval is absent where its figure is, where the rows hold fewer than three blocks of
    sessions, and where more than one draw in a hundred does not define the figure.
    """

    n: int
    n_positive: int
    roc_auc: Finite | None
    log_loss: Finite | None
    brier_score: Finite | None
    precision: Finite | None
    recall: Finite | None
    f1: Finite | None
    roc_auc_interval: Interval | None
    log_loss_interval: Interval | None
    brier_score_interval: Interval | None
    precision_interval: Interval | None
    recall_interval: Interval | None
    f1_interval: Interval | None
    confidence: Finite
    n_draws: int
    block_sessions: int


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Rows with a score, all of one length.

    Attributes
    ----------
    symbols
        Symbol of each row.
    session_numbers
        Calendar number of each row's session.
    labels
        0 or 1.
    scores
        Probabilities of label 1, in [0, 1].
    """

    symbols: pl.Series
    session_numbers: NDArray[np.int64]
    labels: Floats
    scores: Floats


def score_metrics(
    rows: ScoredRows, *, block_sessions: int, n_draws: int, confidence: float, seed: int
) -> ScoreMetrics:
    """Measure scored rows.

    Parameters
    ----------
    rows
        Rows of any number of symbols and sessions.
    block_sessions
        Sessions drawn together, at least the horizon: labels of neighbours overlap.
    n_draws
        Resampled sets of rows (count); 0 for no intervals.
    confidence
        Two-sided coverage of the intervals, in (0, 1).
    seed
        Of the draws.

    Notes
    -----
    Percentile intervals. A row counts as a decision from a probability of one half on.
    """
    decisions = rows.scores >= _DECISION_THRESHOLD
    precision, recall, f1 = precision_recall_f1(rows.labels, decisions)
    figures = {
        "roc_auc": roc_auc(rows.labels, rows.scores),
        "log_loss": log_loss(rows.labels, rows.scores),
        "brier_score": brier_score(rows.labels, rows.scores),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
    sessions: NDArray[np.intp] = np.unique(rows.session_numbers, return_inverse=True)[1]
    has_draws = n_draws > 0 and sessions.max(initial=-1) + 1 >= _FEWEST_BLOCKS * block_sessions
    draws = (
        _draws(rows, sessions, block_sessions=block_sessions, n_draws=n_draws, seed=seed)
        if has_draws
        else {}
    )
    intervals = {
        f"{name}_interval": _interval(figure, draws.get(name), confidence=confidence)
        for name, figure in figures.items()
    }
    counts = {"n": len(rows.labels), "n_positive": int(rows.labels.sum())}
    asked = {"confidence": confidence, "n_draws": n_draws, "block_sessions": block_sessions}
    return ScoreMetrics.model_validate({**counts, **figures, **intervals, **asked})


def _draws(
    rows: ScoredRows,
    sessions: NDArray[np.intp],
    *,
    block_sessions: int,
    n_draws: int,
    seed: int,
) -> dict[str, Floats]:
    symbols = rows.symbols.rank("dense").cast(pl.Int64).to_numpy() - 1
    n_symbols, n_sessions = int(symbols.max()) + 1, int(sessions.max()) + 1
    weights = panel_weights(
        n_symbols=n_symbols,
        n_sessions=n_sessions,
        block_sessions=block_sessions,
        n_draws=n_draws,
        seed=seed,
    )
    parts = _parts(rows.labels, rows.scores)
    cells = np.zeros((n_symbols, n_sessions, parts.shape[1]))
    np.add.at(cells, (symbols, sessions), parts)
    # One product without BLAS: the order of its sums does not depend on a number of threads.
    total = np.einsum("ds,dt,stk->kd", *weights, cells)
    n, loss, square, n_hits, n_decided, n_positive = total
    return {
        "roc_auc": panel_auc_draws(symbols, sessions, rows.labels, rows.scores, weights=weights),
        "log_loss": _ratio(loss, n),
        "brier_score": _ratio(square, n),
        "precision": _ratio(n_hits, n_decided),
        "recall": _ratio(n_hits, n_positive),
        "f1": _ratio(2 * n_hits, n_decided + n_positive),
    }


def _parts(labels: Floats, scores: Floats) -> Floats:
    epsilon = np.finfo(np.float64).eps
    clipped = np.clip(scores, epsilon, 1 - epsilon)
    loss = -np.where(labels == 1, np.log(clipped), np.log1p(-clipped))
    decided = (scores >= _DECISION_THRESHOLD).astype(np.float64)
    square = np.square(scores - labels)
    return np.stack([np.ones_like(loss), loss, square, decided * labels, decided, labels], axis=1)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    empty = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=empty, where=denominator > 0)


def _interval(figure: float | None, draws: Floats | None, *, confidence: float) -> Interval | None:
    if figure is None or draws is None:
        return None
    lower, upper, _ = interval_of_draws(draws, confidence=confidence)
    return None if lower is None or upper is None else (lower, upper)
