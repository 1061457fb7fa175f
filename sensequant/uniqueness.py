"""How much each label says that no other says, as a weight for training.

Belongs here: the average uniqueness of overlapping labels. Does not belong here: labels, purging
and the fits that use the weights.

A label spans the calendar sessions from its entry (t+1) to its end. In each of them it shares the
market's move with all labels of the same symbol that are open then, so that it owns one part in
that many; its weight is the mean of its parts. Symbols do not share a label.

Source: M. Lopez de Prado (2018), "Advances in Financial Machine Learning", ch. 4, sections 4.3
and 4.4 (concurrent labels, average uniqueness).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sensequant.errors import ConfigError, LeakageError

__all__ = ["uniqueness_weights"]


def uniqueness_weights(
    symbols: ArrayLike, session_numbers: NDArray[Any], label_end_numbers: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the average uniqueness of each label, relative to the mean over all rows.

    Parameters
    ----------
    symbols
        Symbol of each row, shape (n_rows,), in any order.
    session_numbers
        Calendar number of each row's decision session, shape (n_rows,).
    label_end_numbers
        Calendar number of the session that ends each row's label, shape (n_rows,).

    Returns
    -------
    numpy.ndarray
        Shape (n_rows,), positive, with mean 1; concurrency counts the given rows only, so hand
        over those of one training set.

    Raises
    ------
    ConfigError
        Lengths differ, or numbers are no integers.
    LeakageError
        A label ends before its entry.
    """
    names, starts, ends = _checked(symbols, session_numbers, label_end_numbers)
    if starts.size == 0:
        return np.empty(0)
    symbol = np.unique(names, return_inverse=True)[1]
    first, last = starts - starts.min(), ends - starts.min()
    shape = (int(symbol.max()) + 1, int(last.max()) + 2)
    changes = np.zeros(shape)
    np.add.at(changes, (symbol, first + 1), 1)
    np.add.at(changes, (symbol, last + 1), -1)
    n_open = np.cumsum(changes, axis=1)
    share = np.divide(1, n_open, out=np.zeros(shape), where=n_open > 0)
    total = np.cumsum(share, axis=1)
    uniqueness = (total[symbol, last] - total[symbol, first]) / (last - first)
    return uniqueness / uniqueness.mean()


def _checked(
    symbols: ArrayLike, session_numbers: NDArray[Any], label_end_numbers: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    names = np.asarray(symbols)
    shapes = (names.shape, session_numbers.shape, label_end_numbers.shape)
    kinds = session_numbers.dtype.kind + label_end_numbers.dtype.kind
    if len(set(shapes)) != 1 or len(shapes[0]) != 1 or not set(kinds) <= {"i", "u"}:
        raise ConfigError(
            "symbols, sessions and label ends do not belong together",
            where="symbols, session_numbers, label_end_numbers",
            expected="three arrays of one length, the numbers integers",
            found=f"shapes {shapes}, kinds {kinds}",
            remedy="drop unlabelled rows before weighting",
        )
    starts, ends = session_numbers.astype(np.int64), label_end_numbers.astype(np.int64)
    if (ends <= starts).any():
        raise LeakageError(
            "a label ends before its entry",
            where=f"row {int(np.flatnonzero(ends <= starts)[0])}",
            expected="label_end_number above session_number",
            remedy="build the labels with sensequant.labels",
        )
    return names, starts, ends
