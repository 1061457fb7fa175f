"""Intervals that know that neighbouring sessions and symbols are not independent.

Belongs here: resampling of time series and of panels (symbol x session), and interval records.
Does not belong here: hypothesis tests (`evaluation.significance`), the figures themselves
(`evaluation.measures`).

Two ways are offered. A series of returns is resampled by the stationary bootstrap (Politis and
Romano 1994) of `arch`, with the block length of Politis and White (2004, corrected 2009), never
below what the caller knows of the overlap. A panel of scored rows is resampled in two ways at
once: symbols with replacement, and circular blocks of sessions (all symbols together, so that a
common market move stays common); a row weighs the product of both counts (Owen 2007, "The
pigeonhole bootstrap"; McCullagh 2000). Where rows are in truth independent of each other this
overstates the variance, up to threefold: the interval errs to the wide side.

All intervals are percentile intervals. A draw in which the statistic is not defined is left out;
when more than one in a hundred is, there is no interval and the record says so.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sensequant.errors import ConfigError, DataError
from sensequant.evaluation.measures import roc_auc
from sensequant.records import Finite, Record

__all__ = [
    "IntervalEstimate",
    "block_length",
    "block_permutation",
    "interval_of_draws",
    "panel_auc_draws",
    "panel_auc_interval",
    "panel_sum_draws",
    "panel_weights",
    "stationary_bootstrap_interval",
    "stationary_draws",
]

_MAX_UNDEFINED_FRAC = 0.01
_CELLS_AT_ONCE = 1 << 20
_FEWEST_FOR_BLOCKS = 10


class IntervalEstimate(Record):
    """A figure with its interval, and what it rests on.

    `reason` says why the figure or its interval is absent; it is None when both are there.
    """

    estimate: Finite | None
    lower: Finite | None
    upper: Finite | None
    confidence: Finite
    n_rows: int
    n_symbols: int | None
    n_sessions: int
    n_draws: int
    block_sessions: int
    seed: int
    reason: str | None


def block_length(values: ArrayLike, *, min_block: int = 1) -> int:
    """Return the mean block length for the stationary bootstrap, in whole sessions, rounded up.

    The automatic rule falls below one on independent data, so it is clamped to
    `max(1, min_block)`; a constant or very short series gets that minimum.

    Parameters
    ----------
    values
        Shape (n,).
    min_block
        Known overlap, such as the horizon, in sessions.
    """
    series = np.asarray(values, dtype=np.float64)
    least = max(1, min_block)
    if series.size < _FEWEST_FOR_BLOCKS or np.ptp(series) == 0:
        return least
    # With what it brings along, `arch` is two thirds of the memory of a process that never draws.
    from arch.bootstrap import optimal_block_length  # noqa: PLC0415

    table = cast("Any", optimal_block_length(series))
    found = float(table["stationary"].iloc[0])
    return max(least, int(np.ceil(found))) if np.isfinite(found) else least


def stationary_draws(
    values: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], ArrayLike],
    *,
    n_draws: int,
    seed: int,
    block_sessions: int,
) -> NDArray[np.float64]:
    """Return the statistic on resampled series.

    Parameters
    ----------
    values
        Shape (n,) or (n, k); rows are drawn together.
    statistic
        Takes an array like `values`; returns one number or a vector, NaN where undefined.
    n_draws
        Number of resampled series.
    seed
        Seed of the draws.
    block_sessions
        Mean block length.

    Returns
    -------
    numpy.ndarray
        Shape (n_draws, m), m numbers per draw.
    """
    from arch.bootstrap import StationaryBootstrap  # noqa: PLC0415

    resampler = StationaryBootstrap(block_sessions, values, seed=np.random.default_rng(seed))
    rows = [
        np.atleast_1d(np.asarray(statistic(cast("Any", data[0])), dtype=np.float64))
        for data, _ in resampler.bootstrap(n_draws)
    ]
    return np.vstack(rows)


def stationary_bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], float | None],
    *,
    n_draws: int,
    confidence: float,
    seed: int,
    min_block: int = 1,
) -> IntervalEstimate:
    """Return a statistic of a series with its stationary-bootstrap interval.

    Parameters
    ----------
    values
        One value per session, in order, shape (n,).
    statistic
        Takes shape (n,); returns a number, or None where undefined.
    n_draws
        Number of resampled series.
    confidence
        Two-sided coverage in (0, 1).
    seed
        Seed of the draws.
    min_block
        Least mean block length in sessions; the automatic one is used where longer.
    """
    series = np.asarray(values, dtype=np.float64)
    block = block_length(series, min_block=min_block)
    estimate = statistic(series) if series.size else None
    draws = np.empty((0, 1))
    if estimate is not None:
        draws = stationary_draws(
            series,
            lambda sample: _as_number(statistic(sample)),
            n_draws=n_draws,
            seed=seed,
            block_sessions=block,
        )
    lower, upper, reason = interval_of_draws(draws[:, 0], confidence=confidence)
    return IntervalEstimate(
        estimate=estimate,
        lower=lower,
        upper=upper,
        confidence=confidence,
        n_rows=series.size,
        n_symbols=None,
        n_sessions=series.size,
        n_draws=n_draws,
        block_sessions=block,
        seed=seed,
        reason=reason if estimate is not None else "not defined on these data",
    )


def interval_of_draws(
    draws: NDArray[np.float64], *, confidence: float
) -> tuple[float | None, float | None, str | None]:
    """Return the percentile interval of draws, or no interval and the reason.

    Parameters
    ----------
    draws
        One number per draw, NaN where undefined, shape (n_draws,).
    confidence
        Two-sided coverage in (0, 1).
    """
    if not 0 < confidence < 1:
        raise ConfigError(
            "confidence was out of range", expected="in (0, 1)", found=str(confidence)
        )
    defined = draws[np.isfinite(draws)]
    if draws.size == 0:
        return None, None, "no draws"
    if defined.size < (1 - _MAX_UNDEFINED_FRAC) * draws.size:
        missing = draws.size - defined.size
        return None, None, f"not defined in {missing} of {draws.size} bootstrap draws"
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(defined, [tail, 1 - tail])
    return float(lower), float(upper), None


def panel_weights(
    *, n_symbols: int, n_sessions: int, block_sessions: int, n_draws: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how often each symbol and each session is drawn.

    Symbols are drawn with replacement; sessions in circular blocks until there are as many as
    before (the last block is cut). A single symbol always weighs one.

    Returns
    -------
    tuple
        Weights of symbols, shape (n_draws, n_symbols), and of sessions, (n_draws, n_sessions).
    """
    rng = np.random.default_rng(seed)
    symbols = rng.multinomial(n_symbols, np.full(n_symbols, 1 / n_symbols), size=n_draws)
    length = min(block_sessions, n_sessions)
    n_blocks = -(-n_sessions // length)
    starts = rng.integers(n_sessions, size=(n_draws, n_blocks))
    drawn = (starts[:, :, None] + np.arange(length)) % n_sessions
    drawn = drawn.reshape(n_draws, -1)[:, :n_sessions]
    cells = drawn + np.arange(n_draws)[:, None] * n_sessions
    sessions = np.bincount(cells.ravel(), minlength=n_draws * n_sessions)
    return symbols.astype(np.float64), sessions.reshape(n_draws, n_sessions).astype(np.float64)


def panel_auc_draws(
    symbols: ArrayLike,
    session_numbers: ArrayLike,
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    weights: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Return the pooled AUC of each draw, NaN where one class was not drawn.

    The same `weights` on two score columns give paired draws, whose difference is an interval for
    the difference of two models.

    Parameters
    ----------
    symbols
        Symbol (or its code) of each row, shape (n,).
    session_numbers
        Session number of each row, shape (n,).
    labels
        0 or 1, shape (n,).
    scores
        Shape (n,).
    weights
        From `panel_weights`, for the distinct symbols and sessions in ascending order.

    Returns
    -------
    numpy.ndarray
        Shape (n_draws,).
    """
    score = np.asarray(scores, dtype=np.float64)
    order = np.argsort(score, kind="stable")
    symbol = np.unique(np.asarray(symbols), return_inverse=True)[1][order]
    session = np.unique(np.asarray(session_numbers), return_inverse=True)[1][order]
    is_positive = np.asarray(labels)[order] == 1
    ranked = score[order]
    group_starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    n_draws = weights[0].shape[0]
    step = max(1, _CELLS_AT_ONCE // score.size)
    draws = np.empty(n_draws)
    for start in range(0, n_draws, step):
        chunk = slice(start, start + step)
        row = weights[0][chunk][:, symbol] * weights[1][chunk][:, session]
        draws[chunk] = _weighted_auc_of_sorted(row, is_positive, group_starts)
    return draws


def panel_sum_draws(
    symbols: ArrayLike,
    session_numbers: ArrayLike,
    values: NDArray[np.float64],
    *,
    weights: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Return the weighted sum of a value per row in each draw, shape (n_draws,).

    `values` has shape (n,); the others are those of `panel_auc_draws`.
    """
    by_symbol, by_session = weights
    shape = (by_symbol.shape[1], by_session.shape[1])
    symbol = np.unique(np.asarray(symbols), return_inverse=True)[1]
    session = np.unique(np.asarray(session_numbers), return_inverse=True)[1]
    row = symbol * shape[1] + session
    cells = np.bincount(row, weights=values, minlength=shape[0] * shape[1]).reshape(shape)
    # einsum and not @: BLAS may add in another order with another number of threads.
    summed: NDArray[np.float64] = np.einsum("ds,st->dt", by_symbol, cells)
    return np.asarray((summed * by_session).sum(axis=1), dtype=np.float64)


def panel_auc_interval(  # noqa: PLR0913
    symbols: ArrayLike,
    session_numbers: ArrayLike,
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    block_sessions: int,
    n_draws: int,
    confidence: float,
    seed: int,
) -> IntervalEstimate:
    """Return the AUC pooled over symbols and sessions with its two-way block-bootstrap interval.

    Parameters
    ----------
    symbols
        Symbol (or its code) of each row, shape (n,).
    session_numbers
        Session number of each row, shape (n,).
    labels
        0 or 1, shape (n,); rows without a label are dropped before.
    scores
        Shape (n,).
    block_sessions
        Length of the blocks in sessions, at least the horizon: labels of neighbours overlap.
    n_draws
        Number of draws.
    confidence
        Two-sided coverage in (0, 1).
    seed
        Seed of the draws.

    Returns
    -------
    IntervalEstimate
        `reason` says why the AUC (one class only) or the interval is absent.

    Raises
    ------
    ConfigError
        The block or the number of draws is not positive.
    DataError
        Columns differ in length, scores are not finite, labels are not 0 or 1.
    """
    if block_sessions < 1 or n_draws < 1:
        raise ConfigError(
            "bootstrap was given no block or no draws",
            expected="block_sessions >= 1 and n_draws >= 1",
            found=f"{block_sessions} and {n_draws}",
        )
    estimate = roc_auc(labels, scores)
    names, numbers = np.asarray(symbols), np.asarray(session_numbers)
    if not names.size == numbers.size == np.asarray(labels).size:
        raise DataError("panel columns differ in length", found=f"{names.size}, {numbers.size}")
    n_symbols, n_sessions = np.unique(names).size, np.unique(numbers).size
    lower, upper, reason = None, None, "one class only"
    if estimate is not None:
        weights = panel_weights(
            n_symbols=n_symbols,
            n_sessions=n_sessions,
            block_sessions=block_sessions,
            n_draws=n_draws,
            seed=seed,
        )
        draws = panel_auc_draws(names, numbers, labels, scores, weights=weights)
        lower, upper, reason = interval_of_draws(draws, confidence=confidence)
    return IntervalEstimate(
        estimate=estimate,
        lower=lower,
        upper=upper,
        confidence=confidence,
        n_rows=names.size,
        n_symbols=n_symbols,
        n_sessions=n_sessions,
        n_draws=n_draws,
        block_sessions=block_sessions,
        seed=seed,
        reason=reason,
    )


def block_permutation(
    symbols: ArrayLike,
    session_numbers: ArrayLike,
    *,
    block_sessions: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Return row indices that shuffle blocks of neighbouring rows within each symbol.

    `labels[block_permutation(...)]` keeps each symbol's share of ones and the runs inside blocks,
    and breaks every tie to the scores: the placebo.

    Parameters
    ----------
    symbols
        Symbol of each row, shape (n,).
    session_numbers
        Session number of each row, shape (n,).
    block_sessions
        Rows per block.
    rng
        Source of the shuffle.
    """
    symbol: NDArray[np.intp] = np.unique(np.asarray(symbols), return_inverse=True)[1]
    if symbol.size == 0:
        return np.empty(0, dtype=np.intp)
    ordered = np.lexsort((np.asarray(session_numbers), symbol))
    by_symbol = symbol[ordered]
    codes = np.arange(int(by_symbol[-1]) + 1)
    starts = np.searchsorted(by_symbol, codes)
    offsets = rng.integers(block_sessions, size=starts.size)
    place = np.arange(symbol.size) - starts[by_symbol] + offsets[by_symbol]
    block = place // block_sessions
    keys = rng.random((starts.size, int(block.max()) + 1))
    shuffled = np.lexsort((place, keys[by_symbol, block], by_symbol))
    result = np.empty(symbol.size, dtype=np.intp)
    result[ordered] = ordered[shuffled]
    return result


def _weighted_auc_of_sorted(
    weights: NDArray[np.float64], is_positive: NDArray[np.bool_], group_starts: NDArray[np.intp]
) -> NDArray[np.float64]:
    positive = np.where(is_positive, weights, 0.0)
    negative = weights - positive
    if group_starts.size < is_positive.size:
        positive = np.add.reduceat(positive, group_starts, axis=1)
        negative = np.add.reduceat(negative, group_starts, axis=1)
    below = np.cumsum(negative, axis=1)
    total = positive.sum(axis=1) * below[:, -1]
    below -= negative / 2
    hits: NDArray[np.float64] = np.einsum("ij,ij->i", positive, below)
    draws = np.full(weights.shape[0], np.nan)
    return np.divide(hits, total, out=draws, where=total > 0)


def _as_number(value: float | None) -> float:
    return np.nan if value is None else value
