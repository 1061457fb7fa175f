"""Average uniqueness: by hand and against loops over sessions."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import ConfigError, LeakageError
from sensequant.uniqueness import uniqueness_weights


def _weights(symbols: str, starts: list[int], ends: list[int]) -> list[float]:
    return uniqueness_weights(list(symbols), np.array(starts), np.array(ends)).tolist()


def test_three_labels_by_hand() -> None:
    """Spans 1-3, 2-4 and 6: shares 1 1/2 1/2, 1/2 1/2 1 and 1, so 2/3, 2/3 and 1 over 7/9."""
    assert _weights("AAA", [0, 1, 5], [3, 4, 6]) == pytest.approx([6 / 7, 6 / 7, 9 / 7])


def test_symbols_do_not_share_a_label() -> None:
    """The same sessions of another symbol take nothing away; order of rows does not matter."""
    alone = _weights("AAB", [0, 0, 0], [2, 2, 2])
    swapped = _weights("ABA", [0, 0, 0], [2, 2, 2])

    assert alone == pytest.approx([0.75, 0.75, 1.5])
    assert swapped == pytest.approx([0.75, 1.5, 0.75])


def test_a_decision_does_not_occupy_its_own_session() -> None:
    """The entry is on t+1: a label that ends there and a decision there do not overlap."""
    assert _weights("AA", [0, 1], [1, 2]) == [1.0, 1.0]


def test_labels_of_one_length_on_every_session_weigh_more_at_the_edges() -> None:
    """In the middle h labels are open at once; first and last share with fewer."""
    weights = _weights("A" * 50, list(range(50)), list(range(7, 57)))

    assert weights[6:44] == pytest.approx([weights[6]] * 38)
    assert weights[0] > weights[3] > weights[6]
    assert weights == pytest.approx(weights[::-1])
    assert np.mean(weights) == pytest.approx(1)


def test_no_rows_have_no_weights() -> None:
    """Nothing to weigh is no error."""
    empty = np.array([], dtype=np.int64)
    assert uniqueness_weights([], empty, empty).shape == (0,)


Rows = list[tuple[str, int, int]]
_ROW = st.tuples(st.sampled_from("ABC"), st.integers(1000, 1030), st.integers(1, 9))


def _loop(rows: Rows) -> list[float]:
    found: list[float] = []
    for symbol, start, length in rows:
        shares: list[float] = []
        for session in range(start + 1, start + length + 1):
            n_open = sum(
                other == symbol and begin < session <= begin + span for other, begin, span in rows
            )
            shares.append(1 / n_open)
        found.append(sum(shares) / length)
    return [each * len(found) / sum(found) for each in found]


@given(st.lists(_ROW, min_size=1, max_size=40))
def test_weights_are_those_of_a_loop(rows: Rows) -> None:
    """Counting open labels session by session gives the same weights, their mean being 1."""
    found = _weights(
        "".join(symbol for symbol, _, _ in rows),
        [start for _, start, _ in rows],
        [start + length for _, start, length in rows],
    )

    assert found == pytest.approx(_loop(rows))
    assert np.mean(found) == pytest.approx(1)
    assert min(found) > 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((["A"], np.array([1]), np.array([1])), LeakageError),
        ((["A"], np.array([1, 2]), np.array([3, 4])), ConfigError),
        ((["A"], np.array([1.0]), np.array([2.0])), ConfigError),
    ],
)
def test_rows_that_do_not_fit_are_refused(arguments: Any, error: type[Exception]) -> None:
    """A label behind its decision, columns of one length, integers."""
    with pytest.raises(error):
        uniqueness_weights(*arguments)
