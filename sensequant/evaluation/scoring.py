"""Figures of scores against labels on a panel of symbols and sessions, with placebo and intervals.

Belongs here: pooled figures, tables by symbol and by window, the placebo. Does not belong here:
what trading on the scores earns (`evaluation.backtest`, `evaluation.figures`).

Intervals come from the two-way block bootstrap of `evaluation.bootstrap`. The placebo is the same
figure on labels shuffled in blocks, within each symbol for pooled and per-symbol figures, within
each window for per-window figures; its bounds are the smallest and largest of the repetitions.

An AUC taken inside one short window is biased upward even on pure chance, because within one path
levels rank later returns; read the mean over windows only beside its placebo, and the pooled AUC
as the headline.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.evaluation import measures
from sensequant.evaluation.bootstrap import (
    block_permutation,
    panel_auc_draws,
    panel_auc_interval,
    panel_sum_draws,
    panel_weights,
)
from sensequant.evaluation.figures import Figure, absent_figure, figure_of_draws
from sensequant.records import Record, derive_seed

__all__ = ["ClassificationFigures", "ScoredPanel", "classification_figures", "group_table"]

_Floats = NDArray[np.float64]
_Codes = NDArray[np.intp]
_NO_ROWS = "no labelled rows"
_ONE_CLASS = "one class only"
_NO_PROBABILITY = "no calibrated probabilities"


class ClassificationFigures(Record):
    """How well scores and decisions agree with the labels, over all labelled rows."""

    auc: Figure
    auc_placebo: Figure
    window_auc_mean: Figure
    window_auc_placebo: Figure
    positive_frac: Figure
    precision: Figure
    recall: Figure
    f1: Figure
    hit_rate: Figure
    brier_score: Figure
    log_loss: Figure
    expected_calibration_error: Figure


@dataclass(frozen=True, slots=True)
class ScoredPanel:
    """Labelled rows and how to resample them.

    `rows`: symbol, session_number, scored_window, score, label (0 or 1), forward_return,
    is_decided (score at or above the threshold), no nulls; probability, null where a student is
    not calibrated. A score ranks and decides; only a probability can be too high or too low.
    """

    rows: pl.DataFrame
    block_sessions: int
    n_draws: int
    n_placebo: int
    n_bins: int
    confidence: float
    seed: int


def classification_figures(panel: ScoredPanel) -> ClassificationFigures:
    """Return the pooled figures with their intervals."""
    known = panel.rows.drop_nulls("probability")
    is_enough = known.height >= panel.n_bins
    calibration = Figure(
        value=measures.expected_calibration_error(
            known["label"].to_numpy(), known["probability"].to_numpy(), panel.n_bins
        ),
        n=known.height,
        unit="probability",
        reason="no interval: biased upward, more so in resamples"
        if is_enough
        else "fewer rows with a probability than bins",
    )
    figures = _auc_figures(panel) | _ratio_figures(panel)
    return ClassificationFigures.model_validate(
        figures | {"expected_calibration_error": calibration}
    )


def group_table(
    panel: ScoredPanel, column: str, *, has_intervals: bool, within: str | None = None
) -> pl.DataFrame:
    """Return one row of figures per symbol or window, sorted by it.

    Parameters
    ----------
    panel
        Labelled rows.
    column
        `symbol`, `scored_window`, or another column of the rows.
    has_intervals
        Whether the AUC of each group gets a block-bootstrap interval (columns are null if not).
    within
        Column in whose groups the placebo shuffles labels; each lies in one of the former.

    Returns
    -------
    polars.DataFrame
        The column, n, n_positive, n_decided, mean_score, precision, recall, f1, hit_rate,
        brier_score, auc, auc_lower, auc_upper, auc_placebo (mean); null where undefined.
    """
    rows = panel.rows
    is_true = pl.col("label") == 1
    decided = pl.col("is_decided")
    n_hit = (is_true & decided).sum()
    table = rows.group_by(column).agg(
        n=pl.len().cast(pl.Int64),
        n_positive=is_true.sum().cast(pl.Int64),
        n_decided=decided.sum().cast(pl.Int64),
        mean_score=pl.col("score").mean(),
        precision=_defined(n_hit / decided.sum()),
        recall=_defined(n_hit / is_true.sum()),
        f1=_defined(2 * n_hit / (decided.sum() + is_true.sum())),
        hit_rate=(pl.col("forward_return") > 0).filter(decided).mean(),
        brier_score=(pl.col("probability") - pl.col("label")).pow(2).mean(),
    )
    table = table.sort(column)
    aucs, placebo = _group_aucs(panel, column, within)
    bounds = _group_bounds(panel, column) if has_intervals else []
    lower_upper = np.array(bounds, dtype=np.float64).reshape(-1, 2)
    if not has_intervals:
        lower_upper = np.full((table.height, 2), np.nan)
    return table.with_columns(
        auc=pl.Series(aucs, dtype=pl.Float64),
        auc_lower=pl.Series(lower_upper[:, 0], dtype=pl.Float64),
        auc_upper=pl.Series(lower_upper[:, 1], dtype=pl.Float64),
        auc_placebo=pl.Series(_mean_of_defined(placebo), dtype=pl.Float64),
    ).with_columns(pl.col("auc", "auc_lower", "auc_upper", "auc_placebo").fill_nan(None))


def _auc_figures(panel: ScoredPanel) -> dict[str, Figure]:
    rows = panel.rows
    unit = "probability"
    label, score = rows["label"].to_numpy(), rows["score"].to_numpy()
    value = measures.roc_auc(label, score)
    n_windows_asked = rows["scored_window"].n_unique()
    if value is None:
        reason = _ONE_CLASS if rows.height else _NO_ROWS
        names = ("auc", "auc_placebo", "window_auc_mean", "window_auc_placebo")
        return {name: absent_figure(unit, reason, n=rows.height) for name in names}
    draws = panel_auc_draws(
        _code(rows["symbol"]),
        _code(rows["session_number"]),
        label,
        score,
        weights=_weights(panel),
    )
    aucs, placebo = _group_aucs(panel, "scored_window")
    n_windows = int(np.isfinite(aucs).sum())
    pooled = _group_aucs(panel, None)[1]
    skipped = f"{n_windows_asked - n_windows} of {n_windows_asked} windows hold one class only"
    return {
        "auc": figure_of_draws(value, draws, n=rows.height, unit=unit, confidence=panel.confidence),
        "auc_placebo": _placebo_figure(pooled[:, 0], n=rows.height),
        "window_auc_mean": Figure(
            value=_mean(aucs), n=n_windows, unit=unit, reason=f"read beside its placebo; {skipped}"
        ),
        "window_auc_placebo": _placebo_figure(_means_over_groups(placebo), n=n_windows),
    }


def _ratio_figures(panel: ScoredPanel) -> dict[str, Figure]:
    rows = panel.rows
    decided = rows["is_decided"].to_numpy()
    true = rows["label"].to_numpy() == 1
    every = np.ones(rows.height)
    is_known = rows["probability"].is_not_null().to_numpy() * 1.0
    # Rows without a probability weigh nothing; one half stands in their place.
    probability = rows["probability"].fill_null(0.5).to_numpy()
    epsilon = float(np.finfo(np.float64).eps)
    likelihood = np.clip(np.where(true, probability, 1 - probability), epsilon, 1 - epsilon)
    parts: dict[str, tuple[_Floats, _Floats, str]] = {
        "positive_frac": (true * 1.0, every, _NO_ROWS),
        "precision": (true * decided * 1.0, decided * 1.0, "no positive decisions"),
        "recall": (true * decided * 1.0, true * 1.0, "no positive labels"),
        "f1": (2.0 * true * decided, 1.0 * decided + true, "no positive decisions or labels"),
        "hit_rate": (
            decided * (rows["forward_return"].to_numpy() > 0) * 1.0,
            decided * 1.0,
            "no positive decisions",
        ),
        "brier_score": (np.square(probability - true) * is_known, is_known, _NO_PROBABILITY),
        "log_loss": (-np.log(likelihood) * is_known, is_known, _NO_PROBABILITY),
    }
    return {
        name: _ratio_figure(panel, numerator, denominator, name=name, undefined=undefined)
        for name, (numerator, denominator, undefined) in parts.items()
    }


def _ratio_figure(
    panel: ScoredPanel, numerator: _Floats, denominator: _Floats, *, name: str, undefined: str
) -> Figure:
    unit = "nats" if name == "log_loss" else "fraction"
    total = float(denominator.sum())
    if total == 0:
        return absent_figure(unit, undefined, n=panel.rows.height)
    top, bottom = _sums(panel, numerator), _sums(panel, denominator)
    draws = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=draws, where=bottom > 0)
    n = int(np.count_nonzero(denominator))
    value = float(numerator.sum()) / total
    return figure_of_draws(value, draws, n=n, unit=unit, confidence=panel.confidence)


def _weights(panel: ScoredPanel) -> tuple[_Floats, _Floats]:
    return panel_weights(
        n_symbols=panel.rows["symbol"].n_unique(),
        n_sessions=panel.rows["session_number"].n_unique(),
        block_sessions=panel.block_sessions,
        n_draws=panel.n_draws,
        seed=derive_seed(panel.seed, "panel"),
    )


def _sums(panel: ScoredPanel, values: _Floats) -> _Floats:
    return panel_sum_draws(
        _code(panel.rows["symbol"]),
        _code(panel.rows["session_number"]),
        values,
        weights=_weights(panel),
    )


def _group_aucs(
    panel: ScoredPanel, column: str | None, shuffled_within: str | None = None
) -> tuple[_Floats, _Floats]:
    rows = panel.rows
    within = _code(rows[shuffled_within or column or "symbol"])
    group = _code(rows[column]) if column else np.zeros(rows.height, dtype=np.intp)
    frame = pl.DataFrame({"group": group, "score": rows["score"]})
    ranks = frame.select(pl.col("score").rank("average").over("group"))["score"].to_numpy()
    label = rows["label"].to_numpy() == 1
    rng = np.random.default_rng(derive_seed(panel.seed, "placebo", column or "pooled"))
    shuffled: list[_Floats] = []
    for _ in range(panel.n_placebo):
        order = block_permutation(
            within,
            rows["session_number"].to_numpy(),
            block_sessions=panel.block_sessions,
            rng=rng,
        )
        shuffled.append(_rank_aucs(group, ranks, label[order]))
    n_groups = int(group.max()) + 1 if rows.height else 0
    return _rank_aucs(group, ranks, label), np.array(shuffled).reshape(panel.n_placebo, n_groups)


def _rank_aucs(group: _Codes, ranks: _Floats, is_positive: NDArray[np.bool_]) -> _Floats:
    # The Mann-Whitney form: the ranks of the ones tell how many zeros lie below them.
    n_positive = np.bincount(group, weights=is_positive)
    n_negative = np.bincount(group) - n_positive
    rank_sum = np.bincount(group, weights=ranks * is_positive)
    pairs = n_positive * n_negative
    aucs = np.full(pairs.shape, np.nan)
    above = rank_sum - n_positive * (n_positive + 1) / 2
    return np.divide(above, pairs, out=aucs, where=pairs > 0)


def _group_bounds(panel: ScoredPanel, column: str) -> list[tuple[float | None, float | None]]:
    bounds: list[tuple[float | None, float | None]] = []
    for part in panel.rows.sort(column).partition_by(column, maintain_order=True):
        found = panel_auc_interval(
            _code(part["symbol"]),
            part["session_number"].to_numpy(),
            part["label"].to_numpy(),
            part["score"].to_numpy(),
            block_sessions=panel.block_sessions,
            n_draws=panel.n_draws,
            confidence=panel.confidence,
            seed=derive_seed(panel.seed, column, part[column][0]),
        )
        bounds.append((found.lower, found.upper))
    return bounds


def _placebo_figure(values: _Floats, *, n: int) -> Figure:
    defined = values[np.isfinite(values)]
    if defined.size == 0:
        return absent_figure("probability", "no placebo is defined", n=n)
    return Figure(
        value=float(defined.mean()),
        lower=float(defined.min()),
        upper=float(defined.max()),
        n=n,
        unit="probability",
        reason=f"bounds are the range of {defined.size} placebos",
    )


def _means_over_groups(values: _Floats) -> _Floats:
    return np.array([np.nan if (mean := _mean(row)) is None else mean for row in values])


def _mean_of_defined(values: _Floats) -> _Floats:
    return _means_over_groups(values.T)


def _mean(values: _Floats) -> float | None:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else None


def _code(column: pl.Series) -> _Codes:
    return (column.rank("dense").to_numpy() - 1).astype(np.intp)


def _defined(ratio: pl.Expr) -> pl.Expr:
    return ratio.fill_nan(None)
