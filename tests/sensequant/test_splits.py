"""Purged splits: twelve rows by eye, every rule against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.errors import ConfigError, InsufficientHistoryError, LeakageError
from sensequant.splits import (
    IntArray,
    Split,
    SplitConfig,
    assert_no_leakage,
    purged_folds,
    split_validation,
)

TWELVE = np.arange(12)


def _lists(split: Split) -> tuple[list[int], list[int], list[int]]:
    return split.train.tolist(), split.validation.tolist(), split.purged.tolist()


def test_twelve_sessions_by_eye() -> None:
    """Labels end two sessions later, three folds, an embargo of one session."""
    folds = purged_folds(TWELVE, TWELVE + 2, SplitConfig(n_folds=3, embargo_sessions=1))

    # Test 0-3 is known by 5: 4 and 5 overlap, 6 is embargoed.
    assert _lists(folds[0]) == ([7, 8, 9, 10, 11], [0, 1, 2, 3], [4, 5, 6])
    # Test 4-7: 2 and 3 reach into it, it is known by 9, 10 is embargoed.
    assert _lists(folds[1]) == ([0, 1, 11], [4, 5, 6, 7], [2, 3, 8, 9, 10])
    # Test 8-11: 6 and 7 reach into it, nothing follows.
    assert _lists(folds[2]) == ([0, 1, 2, 3, 4, 5], [8, 9, 10, 11], [6, 7])


def test_the_last_quarter_validates_by_eye() -> None:
    """Of twelve rows the last three validate; the two whose labels reach them are purged."""
    split = split_validation(TWELVE, TWELVE + 2, SplitConfig(validation_frac=0.25))

    assert _lists(split) == ([0, 1, 2, 3, 4, 5, 6], [9, 10, 11], [7, 8])


def test_without_a_horizon_nothing_is_purged() -> None:
    """Labels that end in their own session leave the plain K-fold, as skfolio's with no purge."""
    for split in purged_folds(TWELVE, TWELVE, SplitConfig(n_folds=4)):
        assert split.purged.size == 0
        assert sorted([*split.train, *split.validation]) == TWELVE.tolist()


def test_ends_count_not_rows() -> None:
    """After a hole in trading, a label of two sessions reaches no row, and none is purged."""
    sessions = np.array([0, 1, 2, 10, 11, 12])
    split = split_validation(sessions, sessions + 2, SplitConfig(validation_frac=0.5))

    assert _lists(split) == ([0, 1, 2], [3, 4, 5], [])


def test_a_session_is_never_divided() -> None:
    """Two symbols of one session validate together, though the cut falls between them."""
    sessions = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    split = split_validation(sessions, sessions, SplitConfig(validation_frac=0.3))

    assert split.validation.tolist() == [6, 7, 8, 9]


def test_a_split_may_leave_nobody_to_train() -> None:
    """Where every label reaches the tested rows, `train` is empty and says so."""
    assert split_validation(TWELVE, TWELVE + 60, SplitConfig()).train.size == 0
    assert purged_folds(TWELVE, TWELVE + 60, SplitConfig(n_folds=2))[1].train.size == 0


@st.composite
def _rows(draw: st.DrawFn) -> tuple[IntArray, IntArray]:
    sessions = sorted(draw(st.lists(st.integers(0, 40), min_size=1, max_size=40)))
    lengths = draw(st.lists(st.integers(0, 12), min_size=len(sessions), max_size=len(sessions)))
    starts = np.array(sessions, dtype=np.int64)
    return starts, starts + np.array(lengths, dtype=np.int64)


def _overlaps(rows: tuple[IntArray, IntArray], one: int, other: int) -> bool:
    starts, ends = rows
    return bool(starts[one] <= ends[other] and starts[other] <= ends[one])


@given(rows=_rows(), n_folds=st.integers(2, 8), embargo=st.integers(0, 5))
def test_folds_are_those_of_brute_force(
    rows: tuple[IntArray, IntArray], n_folds: int, embargo: int
) -> None:
    """Every row is tested once; a row trains a fold if and only if it overlaps no tested row.

    And if it does not start under the embargo after the last label end of the test.
    """
    starts, ends = rows
    config = SplitConfig(n_folds=n_folds, embargo_sessions=embargo)
    if np.unique(starts).size < n_folds:
        with pytest.raises(InsufficientHistoryError, match="too few sessions"):
            purged_folds(starts, ends, config)
        return

    folds = purged_folds(starts, ends, config)

    assert np.concatenate([fold.validation for fold in folds]).tolist() == [*range(starts.size)]
    for fold in folds:
        tested = fold.validation.tolist()
        last_end = max(ends[row] for row in tested)
        others = [row for row in range(starts.size) if row not in tested]
        expected = [
            row
            for row in others
            if not any(_overlaps(rows, row, test) for test in tested)
            and not (starts[row] > starts[tested[-1]] and starts[row] <= last_end + embargo)
        ]
        assert fold.train.tolist() == expected
        assert sorted([*fold.train, *fold.purged]) == others


@given(rows=_rows(), fraction=st.floats(0.05, 0.5))
def test_validation_follows_all_that_training_knows(
    rows: tuple[IntArray, IntArray], fraction: float
) -> None:
    """Each row trains, validates or is purged; no training label ends in the validation block."""
    starts, ends = rows
    split = split_validation(starts, ends, SplitConfig(validation_frac=fraction))

    together = sorted([*split.train, *split.validation, *split.purged])
    first = starts[split.validation].min()
    assert together == [*range(starts.size)]
    assert split.validation.size >= max(1, round(starts.size * fraction))
    assert split.train.tolist() == [row for row in range(starts.size) if ends[row] < first]
    assert_no_leakage(ends[split.train], starts[split.validation])


def test_each_setting_of_the_folds_acts() -> None:
    """More folds, a longer embargo and a larger validation part change the split."""
    ends = TWELVE + 1

    assert len(purged_folds(TWELVE, ends, SplitConfig(n_folds=6))) == 6
    assert purged_folds(TWELVE, ends, SplitConfig(embargo_sessions=3))[0].purged.size == 4
    assert split_validation(TWELVE, ends, SplitConfig(validation_frac=0.5)).validation.size == 6


@pytest.mark.parametrize(
    ("sessions", "ends"),
    [
        (np.array([1, 0]), np.array([2, 2])),
        (np.array([0, 1]), np.array([2])),
        (np.array([0.0, 1.0]), np.array([2, 3])),
        (np.array([[0, 1]]), np.array([[2, 3]])),
    ],
    ids=["unsorted", "lengths", "floats", "dimensions"],
)
def test_rows_that_cannot_be_split_are_refused(sessions: IntArray, ends: IntArray) -> None:
    """Session numbers are sorted integers, one per row, and so are label ends."""
    with pytest.raises(ConfigError):
        split_validation(sessions, ends, SplitConfig())
    with pytest.raises(ConfigError):
        purged_folds(sessions, ends, SplitConfig())


def test_a_label_before_its_session_is_leakage() -> None:
    """Nothing is known before the session that it follows."""
    with pytest.raises(LeakageError, match="row 1"):
        split_validation(np.array([3, 4]), np.array([3, 3]), SplitConfig())


def test_no_rows_are_refused() -> None:
    """An empty window has no split."""
    nothing = np.array([], dtype=np.int64)
    with pytest.raises(InsufficientHistoryError, match="no rows"):
        split_validation(nothing, nothing, SplitConfig())


def test_leakage_is_refused_on_the_very_session() -> None:
    """A label that ends on the first tested session is too late; one session earlier is not."""
    assert_no_leakage(np.array([7, 9]), np.array([10, 11]))
    with pytest.raises(LeakageError, match="1 training rows"):
        assert_no_leakage(np.array([7, 10]), np.array([10, 11]))


def test_leakage_is_judged_by_dates_too() -> None:
    """Sessions may be numbers or dates."""
    ends = np.array(["2024-01-05"], dtype="datetime64[D]")
    with pytest.raises(LeakageError, match="2024-01-05"):
        assert_no_leakage(ends, ends)


def test_nothing_leaks_into_nothing() -> None:
    """Without training rows or without tested rows there is no leakage."""
    nothing = np.array([], dtype=np.int64)

    assert_no_leakage(nothing, np.array([1]))
    assert_no_leakage(np.array([1]), nothing)


@pytest.mark.parametrize(
    "setting",
    [
        {"validation_frac": 0.04},
        {"validation_frac": 0.51},
        {"n_folds": 1},
        {"embargo_sessions": -1},
    ],
)
def test_settings_outside_their_bounds_are_refused(setting: dict[str, float]) -> None:
    """Each setting has bounds."""
    with pytest.raises(ValidationError):
        SplitConfig.model_validate(setting)
