"""Which rows teach and which rows examine, so that no answer leaks into the lesson.

Belongs here: purged splits of one window, and the check that forbids leakage. Does not belong
here: the forward step from window to window (`windows`), nor any model.

Time is counted in calendar session numbers. A row occupies the interval from its session to the
session at whose close its label is known, both included. Two rows overlap when their intervals
share a session; a training row that overlaps a test row is purged. Rows are sorted by session;
several rows (symbols) may share one, and a session is never divided between two blocks.

Source: López de Prado, *Advances in Financial Machine Learning* (2018), chapter 7; purged here by
the end of each label, not by a number of rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sensequant.errors import ConfigError, InsufficientHistoryError, LeakageError
from sensequant.records import Config

__all__ = [
    "IntArray",
    "Split",
    "SplitConfig",
    "assert_no_leakage",
    "purged_folds",
    "split_validation",
]

IntArray = NDArray[np.int64]


class SplitConfig(Config):
    """How the rows of one window are divided."""

    validation_frac: float = Field(
        default=0.2,
        ge=0.05,
        le=0.5,
        description="Last part of a window's rows, as a fraction, that validates.",
    )
    n_folds: int = Field(
        default=5,
        ge=2,
        le=20,
        description="Number of blocks in time for out-of-fold probabilities.",
    )
    embargo_sessions: int = Field(
        default=0,
        ge=0,
        le=60,
        description="Sessions after a fold's last label end whose rows do not teach that fold.",
    )


@dataclass(frozen=True, slots=True)
class Split:
    """Positions of rows, ascending and disjoint; together they are all rows.

    Parameters
    ----------
    train
        Rows that teach.
    validation
        Rows that examine.
    purged
        Rows that do neither, because they overlap an examined row or fall under the embargo.
    """

    train: IntArray
    validation: IntArray
    purged: IntArray


def split_validation(
    session_numbers: NDArray[Any], label_end_numbers: NDArray[Any], config: SplitConfig
) -> Split:
    """Keep the last rows by time for validation and purge what reaches into them.

    Parameters
    ----------
    session_numbers
        Calendar number of each row's session, shape (n_rows,), ascending.
    label_end_numbers
        Calendar number of the session that ends each row's label, shape (n_rows,).
    config
        `validation_frac` of the rows validate, more where the cut would divide a session. The
        embargo does not act here: no training row follows the validation block.

    Returns
    -------
    Split
        Every training label ends before the first validated session. `train` is empty where
        purging leaves nothing.

    Raises
    ------
    ConfigError
        Lengths differ, numbers are no integers, or rows are not sorted.
    LeakageError
        A label ends before its own session.
    InsufficientHistoryError
        There are no rows.
    """
    sessions, ends = _checked(session_numbers, label_end_numbers)
    n_validation = max(1, round(sessions.size * config.validation_frac))
    first = sessions[sessions.size - n_validation]
    return _as_split(validates=sessions >= first, is_purged=(sessions < first) & (ends >= first))


def purged_folds(
    session_numbers: NDArray[Any], label_end_numbers: NDArray[Any], config: SplitConfig
) -> list[Split]:
    """Divide the rows into blocks of time, each examined by what does not overlap it.

    Parameters
    ----------
    session_numbers
        Calendar number of each row's session, shape (n_rows,), ascending.
    label_end_numbers
        Calendar number of the session that ends each row's label, shape (n_rows,).
    config
        `n_folds` blocks of equally many distinct sessions (the first ones hold one more where they
        do not divide evenly); rows that start within `embargo_sessions` after a block's last label
        end do not teach it.

    Returns
    -------
    list of Split
        In the order of time; every row is in exactly one `validation`. `train` is empty where
        purging leaves nothing.

    Raises
    ------
    ConfigError
        Lengths differ, numbers are no integers, or rows are not sorted.
    LeakageError
        A label ends before its own session.
    InsufficientHistoryError
        There are fewer distinct sessions than folds.
    """
    sessions, ends = _checked(session_numbers, label_end_numbers)
    distinct = np.unique(sessions)
    if distinct.size < config.n_folds:
        raise InsufficientHistoryError(
            "too few sessions for the folds",
            where="purged_folds",
            expected=f"at least {config.n_folds} sessions",
            found=f"{distinct.size}",
            remedy="use a longer window or fewer folds",
        )
    blocks = np.array_split(distinct, config.n_folds)
    return [
        _fold(sessions, ends, block=block, embargo_sessions=config.embargo_sessions)
        for block in blocks
    ]


def assert_no_leakage(train_label_ends: NDArray[Any], test_sessions: NDArray[Any]) -> None:
    """Refuse a training set that knows an outcome from a tested session or later.

    Parameters
    ----------
    train_label_ends
        Session (calendar number or date) that ends each training label, any length.
    test_sessions
        Session of each later row that is scored, any length.

    Raises
    ------
    LeakageError
        A training label ends on or after the first tested session.
    """
    if train_label_ends.size == 0 or test_sessions.size == 0:
        return
    latest, earliest = train_label_ends.max(), test_sessions.min()
    if latest >= earliest:
        raise LeakageError(
            "training knows outcomes of tested sessions",
            where=f"{int((train_label_ends >= earliest).sum())} training rows",
            expected=f"label ends before session {earliest}",
            found=f"label end {latest}",
            remedy="purge training rows by label end",
        )


def _fold(sessions: IntArray, ends: IntArray, *, block: IntArray, embargo_sessions: int) -> Split:
    first, last = block[0], block[-1]
    validates = (sessions >= first) & (sessions <= last)
    last_end = ends[validates].max()
    is_before = (sessions < first) & (ends >= first)
    is_after = (sessions > last) & (sessions <= last_end + embargo_sessions)
    return _as_split(validates=validates, is_purged=is_before | is_after)


def _as_split(*, validates: NDArray[np.bool_], is_purged: NDArray[np.bool_]) -> Split:
    return Split(
        train=np.flatnonzero(~validates & ~is_purged),
        validation=np.flatnonzero(validates),
        purged=np.flatnonzero(is_purged),
    )


def _checked(
    session_numbers: NDArray[Any], label_end_numbers: NDArray[Any]
) -> tuple[IntArray, IntArray]:
    _require_integers(session_numbers, label_end_numbers)
    sessions = session_numbers.astype(np.int64)
    ends = label_end_numbers.astype(np.int64)
    if sessions.size == 0:
        raise InsufficientHistoryError(
            "no rows to split", where="session_numbers", expected="at least one row", found="0"
        )
    if (np.diff(sessions) < 0).any():
        raise ConfigError(
            "rows are not sorted by session",
            where="session_numbers",
            expected="ascending session numbers",
            remedy="sort the rows by session and symbol",
        )
    if (ends < sessions).any():
        raise LeakageError(
            "a label ends before its own session",
            where=f"row {int(np.flatnonzero(ends < sessions)[0])}",
            expected="label_end_number of at least session_number",
            remedy="build the labels with sensequant.labels",
        )
    return sessions, ends


def _require_integers(session_numbers: NDArray[Any], label_end_numbers: NDArray[Any]) -> None:
    shapes = (session_numbers.shape, label_end_numbers.shape)
    kinds = session_numbers.dtype.kind + label_end_numbers.dtype.kind
    if shapes[0] != shapes[1] or len(shapes[0]) != 1 or not set(kinds) <= {"i", "u"}:
        raise ConfigError(
            "sessions and label ends do not belong together",
            where="session_numbers, label_end_numbers",
            expected="two integer arrays of one length",
            found=f"shapes {shapes}, kinds {kinds}",
            remedy="drop unlabelled rows before splitting",
        )
