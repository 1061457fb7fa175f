"""What one score is worth over another on the very same rows.

Belongs here: differences of two score columns with paired intervals. Does not belong here: the
scores, the rewards (`sensequant.reward`) and figures of one column alone (`evaluation.scoring`).

A difference is the candidate's figure minus the reference's. Both are taken on the same rows and,
in every bootstrap draw, on the same resampled rows, so that what both columns share cancels.
Blocks and symbols are drawn as in `evaluation.bootstrap`, which errs to the wide side: a difference
whose interval leaves 0 out is not an artefact of rows that hang together. Levels count in log loss
and Brier score: a score that was not made to be a frequency loses there without ranking worse.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.errors import DataError
from sensequant.evaluation.bootstrap import (
    interval_of_draws,
    panel_auc_draws,
    panel_sum_draws,
    panel_weights,
)
from sensequant.evaluation.hypotheses import TestResult
from sensequant.evaluation.measures import roc_auc
from sensequant.evaluation.validation import ValidationConfig
from sensequant.records import Finite, Record
from sensequant.student_file import require_columns

__all__ = ["ComparisonRecord", "PairedDraws", "ScorePair", "compare_scores", "draw_scores"]

_Floats = NDArray[np.float64]
_SOURCE = "percentile interval of a paired two-way block bootstrap (McCullagh 2000; Owen 2007)"
_ASSUMPTIONS = "symbols are exchangeable; dependence in time dies out within a block"
_UNITS = {
    "auc": "probability",
    "log_loss": "nats",
    "brier_score": "fraction",
    "accuracy": "fraction",
    "mean_reward": "reward fraction",
}
_LOWER_IS_BETTER = ("log_loss", "brier_score")
_NO_REWARDS = "no rewards of both scores"
_ONE_CLASS = "one class only"


@dataclass(frozen=True, slots=True)
class ScorePair:
    """Two score columns of one frame and what their comparison is called.

    Attributes
    ----------
    name
        What is compared, such as `distillation`.
    candidate, reference
        Columns; the difference is candidate minus reference.
    candidate_threshold, reference_threshold
        Score from which on each decides for label 1; for the accuracy only.
    """

    name: str
    candidate: str
    reference: str
    candidate_threshold: float = 0.5
    reference_threshold: float = 0.5


class ComparisonRecord(Record):
    """What one score is worth over another on the same rows.

    Attributes
    ----------
    name, candidate, reference
        Of the pair.
    n_rows
        Rows that are labelled and scored by both.
    n_left_out
        Labelled rows that only one of them scored: where the two differ in whom they score at all.
    differences
        One test per figure: `auc`, `log_loss`, `brier_score`, `accuracy`, `mean_reward`. Its
        `inputs` hold the figures `candidate` and `reference`; `estimate` is their difference.
    """

    name: str
    candidate: str
    reference: str
    n_rows: int
    n_left_out: int
    n_symbols: int
    n_sessions: int
    n_draws: int
    block_sessions: int
    confidence: Finite
    seed: int
    differences: tuple[TestResult, ...]

    def of(self, name: str) -> TestResult:
        """Return the difference of one figure.

        Raises
        ------
        DataError
            There is no figure of this name.
        """
        for difference in self.differences:
            if difference.name == name:
                return difference
        raise DataError(
            "comparison holds no such figure",
            where=name,
            expected=", ".join(each.name for each in self.differences),
        )


@dataclass(frozen=True, slots=True)
class _Panel:
    rows: pl.DataFrame
    block_sessions: int
    seed: int
    config: ValidationConfig

    def weights(self) -> tuple[_Floats, _Floats]:
        return panel_weights(
            n_symbols=self.rows["symbol"].n_unique(),
            n_sessions=self.rows["session_number"].n_unique(),
            block_sessions=self.block_sessions,
            n_draws=self.config.n_bootstrap_draws,
            seed=self.seed,
        )

    def keys(self) -> tuple[_Floats, _Floats]:
        symbols, sessions = (
            self.rows[name].rank("dense").to_numpy() for name in ("symbol", "session_number")
        )
        return symbols, sessions


@dataclass(frozen=True, slots=True)
class PairedDraws:
    """One figure of both columns: on the data, and its difference in every draw."""

    candidate: float
    reference: float
    draws: _Floats


def compare_scores(
    rows: pl.DataFrame,
    pair: ScorePair,
    *,
    horizon_sessions: int,
    seed: int,
    config: ValidationConfig,
) -> ComparisonRecord:
    """Compare two score columns on the rows that both of them scored.

    Parameters
    ----------
    rows
        symbol, session_number, label (0, 1 or null) and the two score columns (in [0, 1] or null),
        all out of sample for both; at most one row per symbol and session. With columns
        `reward_CANDIDATE` and `reward_REFERENCE` (`sensequant.reward.paired_rewards`) the mean
        rewards are compared too, on the rows that have both.
    pair
        Names and thresholds.
    horizon_sessions
        Overlap of neighbouring labels, in sessions: the least length of a block.
    seed
        Seed of the draws.
    config
        Draws, confidence and block.

    Returns
    -------
    ComparisonRecord
        A figure that the rows do not define has a reason and no estimate.

    Raises
    ------
    RecordError
        A column is missing.
    DataError
        A score lies outside [0, 1], or a symbol has two rows in one session.

    Notes
    -----
    The null of each figure is a difference of 0, the alternative another one; it is rejected where
    the interval leaves 0 out. Several figures of one pair are not independent tests.
    """
    require_columns(rows, ["symbol", "session_number", "label", pair.candidate, pair.reference])
    labelled = rows.drop_nulls("label").sort("symbol", "session_number")
    either = pl.any_horizontal(pl.col(pair.candidate, pair.reference).is_not_null())
    panel = _panel_of(labelled, pair, horizon_sessions, seed, config)
    both = panel.rows
    found = _scores_compared(panel, pair) | {"mean_reward": _rewards_compared(panel, pair)}
    return ComparisonRecord(
        name=pair.name,
        candidate=pair.candidate,
        reference=pair.reference,
        n_rows=both.height,
        n_left_out=labelled.filter(either).height - both.height,
        n_symbols=both["symbol"].n_unique(),
        n_sessions=both["session_number"].n_unique(),
        n_draws=config.n_bootstrap_draws,
        block_sessions=panel.block_sessions,
        confidence=config.confidence,
        seed=seed,
        differences=tuple(
            _difference(name, paired, n=n, panel=panel) for name, (paired, n) in found.items()
        ),
    )


def draw_scores(
    rows: pl.DataFrame,
    pair: ScorePair,
    *,
    horizon_sessions: int,
    seed: int,
    config: ValidationConfig,
) -> dict[str, tuple[PairedDraws | str, int]]:
    """Return what `compare_scores` makes its differences from, and the rows behind each.

    Parameters and errors are its own; rewards are left out. A figure that the rows do not define is
    the reason.
    """
    require_columns(rows, ["symbol", "session_number", "label", pair.candidate, pair.reference])
    labelled = rows.drop_nulls("label").sort("symbol", "session_number")
    return _scores_compared(_panel_of(labelled, pair, horizon_sessions, seed, config), pair)


def _panel_of(
    labelled: pl.DataFrame, pair: ScorePair, horizon: int, seed: int, config: ValidationConfig
) -> _Panel:
    _require_sound(labelled, pair)
    both = labelled.drop_nulls([pair.candidate, pair.reference])
    return _Panel(both, max(config.min_block_sessions, horizon), seed, config)


def _require_sound(rows: pl.DataFrame, pair: ScorePair) -> None:
    scores = pl.col(pair.candidate, pair.reference)
    outside = rows.filter(pl.any_horizontal(scores.is_nan() | ~scores.is_between(0, 1)))
    twice = rows.filter(pl.struct("symbol", "session_number").is_duplicated())
    for strange, what in (
        (outside, "a score was outside [0, 1]"),
        (twice, "a symbol has more than one row in a session"),
    ):
        if not strange.is_empty():
            where = f"{strange['symbol'][0]}, session {strange['session_number'][0]}"
            raise DataError(what, where=where, found=f"{strange.height} such rows")


def _scores_compared(panel: _Panel, pair: ScorePair) -> dict[str, tuple[PairedDraws | str, int]]:
    rows, n = panel.rows, panel.rows.height
    if not n:
        return dict.fromkeys(list(_UNITS)[:-1], ("no labelled row has both scores", 0))
    label = rows["label"].cast(pl.Float64).to_numpy()
    score, other = (
        rows[name].cast(pl.Float64).to_numpy() for name in (pair.candidate, pair.reference)
    )
    losses = {
        "log_loss": (_log_losses(label, score), _log_losses(label, other)),
        "brier_score": (np.square(score - label), np.square(other - label)),
        "accuracy": (
            1.0 * ((score >= pair.candidate_threshold) == label),
            1.0 * ((other >= pair.reference_threshold) == label),
        ),
    }
    found: dict[str, tuple[PairedDraws | str, int]] = {
        "auc": (_aucs(panel, label, score, other), n)
    }
    return found | {name: (_means(panel, *values), n) for name, values in losses.items()}


def _rewards_compared(panel: _Panel, pair: ScorePair) -> tuple[PairedDraws | str, int]:
    names = [f"reward_{name}" for name in (pair.candidate, pair.reference)]
    if not set(names) <= set(panel.rows.columns):
        return _NO_REWARDS, 0
    known = panel.rows.drop_nulls(names)
    if known.is_empty():
        return _NO_REWARDS, 0
    part = _Panel(known, panel.block_sessions, panel.seed, panel.config)
    return _means(part, *(known[name].to_numpy() for name in names)), known.height


def _log_losses(label: _Floats, score: _Floats) -> _Floats:
    epsilon = float(np.finfo(np.float64).eps)
    likelihood = np.where(label == 1, score, 1 - score)
    return -np.log(np.clip(likelihood, epsilon, 1 - epsilon))


def _aucs(panel: _Panel, label: _Floats, score: _Floats, other: _Floats) -> PairedDraws | str:
    candidate, reference = roc_auc(label, score), roc_auc(label, other)
    if candidate is None or reference is None:
        return _ONE_CLASS
    weights, keys = panel.weights(), panel.keys()
    draws, others = (
        panel_auc_draws(*keys, label, column, weights=weights) for column in (score, other)
    )
    return PairedDraws(candidate, reference, draws - others)


def _means(panel: _Panel, candidate: _Floats, reference: _Floats) -> PairedDraws:
    weights, keys = panel.weights(), panel.keys()
    top = panel_sum_draws(*keys, candidate - reference, weights=weights)
    bottom = panel_sum_draws(*keys, np.ones_like(candidate), weights=weights)
    draws = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=draws, where=bottom > 0)
    return PairedDraws(float(candidate.mean()), float(reference.mean()), draws)


def _difference(name: str, paired: PairedDraws | str, *, n: int, panel: _Panel) -> TestResult:
    better = "lower" if name in _LOWER_IS_BETTER else "higher"
    blank = TestResult(
        name=name,
        null="difference = 0",
        alternative=f"difference != 0 ({better} is better)",
        source=_SOURCE,
        assumptions=_ASSUMPTIONS,
        unit=_UNITS[name],
        confidence=panel.config.confidence,
        n=n,
        block_sessions=panel.block_sessions,
        seed=panel.seed,
    )
    if isinstance(paired, str):
        return blank.model_copy(update={"reason": paired})
    lower, upper, reason = interval_of_draws(paired.draws, confidence=panel.config.confidence)
    return blank.model_copy(
        update={
            "estimate": paired.candidate - paired.reference,
            "lower": lower,
            "upper": upper,
            "rejects_null": None if lower is None or upper is None else lower > 0 or upper < 0,
            "inputs": {"candidate": paired.candidate, "reference": paired.reference},
            "reason": reason,
        }
    )
