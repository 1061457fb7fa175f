"""A row unlike all training rows is far from them; training rows are not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.boosting import Floats
from sensequant.errors import RecordError
from sensequant.student_novelty import NoveltyReference, novelty_reference

_UNITS = np.array([1.0, 1000.0, 0.01, 5.0, 1.0, 1.0, 1.0, 1.0])


def _rows(seed: int = 0, n: int = 500, *, missing_frac: float = 0.03) -> Floats:
    # Returns have heavy tails, and so have these columns.
    rng = np.random.default_rng(seed)
    rows = rng.standard_t(4, size=(n, len(_UNITS))) * _UNITS + 3 * _UNITS
    rows[rng.random(rows.shape) < missing_frac] = np.nan
    return rows


_TRAINED = _rows()
_REFERENCE = novelty_reference(_TRAINED)


def test_the_distance_by_hand() -> None:
    """Two columns of 101 rows: medians 50 and 0, spreads 50 and 1, one row far in both."""
    trained = np.column_stack([np.arange(101.0), np.tile([-1.0, 0.0, 1.0], 34)[:101]])
    reference = novelty_reference(trained)
    rows = np.array([[50.0, 0.0], [90.0, 0.0], [50.0, np.nan], [50.0 + 1e9, 1e9]])
    spread = np.quantile(np.abs(np.arange(101) - 50), 0.99)
    missing = 0.01 / (0.5 / 102)
    by_hand = [
        0.0,
        np.sqrt((40 / spread) ** 2 / 2),
        np.sqrt(missing**2 / 2),
        20.0,
    ]

    assert reference.median == (50, 0)
    assert reference.spread == (spread, 1)
    np.testing.assert_allclose(reference.novelty(rows) * reference.distance_p99, by_hand)


def test_training_rows_are_not_novel() -> None:
    """One in a hundred lies beyond 1 by definition; none of these lies beyond 3."""
    novelty = _REFERENCE.novelty(_TRAINED)

    assert (novelty > 1).mean() == pytest.approx(0.01)
    assert novelty.max() == pytest.approx(_REFERENCE.distance_max / _REFERENCE.distance_p99)
    assert novelty.max() < 3
    assert (_REFERENCE.distance_p50, _REFERENCE.distance_p90) == pytest.approx(
        np.quantile(novelty * _REFERENCE.distance_p99, [0.5, 0.9])
    )


def test_new_rows_of_the_same_kind_are_not_novel() -> None:
    """Of 20,000 rows from the same source at most one in a thousand lies beyond 3."""
    assert (_REFERENCE.novelty(_rows(1, 20_000)) > 3).mean() < 0.001


@pytest.mark.parametrize(
    ("factor", "shift"),
    [
        (100.0, 0.0 * _UNITS),
        (1.0, 20 * _UNITS),
        # One of eight columns in another unit.
        (1.0, np.where(np.arange(8) == 1, 1e6, 0.0)),
    ],
)
def test_scaled_and_shifted_rows_are_found(factor: float, shift: Floats) -> None:
    """Every single row."""
    assert (_REFERENCE.novelty(_rows(2, missing_frac=0.0) * factor + shift) > 3).all()


def test_missing_where_nothing_was_ever_missing_is_novel() -> None:
    """Half of the inputs gone is novel if they were always there, not if they often were not."""
    gone = _rows(3, missing_frac=0.0)
    gone[:, :4] = np.nan
    often = _rows(4, 2000)
    often[:800, :4] = np.nan

    assert (novelty_reference(_rows(4, 2000, missing_frac=0.0)).novelty(gone) > 3).all()
    assert (novelty_reference(often).novelty(gone) < 1).mean() > 0.9


@pytest.mark.parametrize(("n_values", "is_described"), [(0, False), (19, False), (20, True)])
def test_a_column_with_few_values_is_not_held_against_a_row(
    n_values: int, *, is_described: bool
) -> None:
    """Fewer than 20 values say nothing of what is usual; a value far from them is not novel."""
    trained = _rows(5, missing_frac=0.0)
    trained[n_values:, 0] = np.nan
    reference = novelty_reference(trained)
    row = [1e9, *np.nanmedian(trained[:, 1:], axis=0)]
    distance = reference.novelty(np.array([row])) * reference.distance_p99

    assert (reference.median[0] is not None) is is_described
    np.testing.assert_allclose(distance, 20 / 8**0.5 if is_described else 0.0)


def test_constant_columns_and_rows() -> None:
    """Equal values have no distance, any other value is far; rows all alike are described too."""
    trained = np.full((50, 2), 7.0)
    reference = novelty_reference(trained)

    assert (reference.novelty(trained) == 0).all()
    assert (reference.novelty(np.full((1, 2), [7.0, 7.001])) > 1000).all()


@given(
    st.floats(min_value=1e-3, max_value=1e3),
    st.floats(min_value=-1e3, max_value=1e3),
    st.integers(min_value=0, max_value=100),
)
def test_units_and_order_count_nothing(unit: float, shift: float, seed: int) -> None:
    """The same change of unit on both sides, or another order of rows, changes no novelty."""
    new = _rows(6, 50)
    there = novelty_reference(_TRAINED * unit + shift)
    shuffled = novelty_reference(np.random.default_rng(seed).permutation(_TRAINED))

    np.testing.assert_allclose(
        there.novelty(new * unit + shift), _REFERENCE.novelty(new), rtol=1e-6
    )
    assert shuffled.median == _REFERENCE.median
    assert shuffled.distance_p99 == pytest.approx(_REFERENCE.distance_p99)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    """Alone or among 20,000, the same bits."""
    rows = _rows(7, 20_000)
    whole = _REFERENCE.novelty(rows)

    for place in (0, 8191, 8192, 19_999):
        assert _REFERENCE.novelty(rows[place : place + 1])[0] == whole[place]


@pytest.mark.parametrize(
    "fields",
    [{"median": (1.0,)}, {"spread": (0.0,) * 8}, {"n_rows": 0}, {"distance_p99": 0.0}],
)
def test_an_unsound_reference_is_refused(fields: dict[str, Any]) -> None:
    """Numbers that no training rows have."""
    with pytest.raises(RecordError, match="not sound"):
        NoveltyReference.model_validate(_REFERENCE.model_dump() | fields)
