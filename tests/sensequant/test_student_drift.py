"""The stability index is that of the definition, and chance is told apart from drift."""

from typing import Any

import numpy as np
import pytest

from sensequant.errors import RecordError
from sensequant.student_drift import DRIFT_SCHEMA, ColumnBins, measure_drift, training_bins


def test_the_index_by_hand() -> None:
    """Ten training rows and twenty new ones in three bins, each bin with half a row more."""
    bins = ColumnBins(edges=(0.0, 1.0), counts=(4, 4, 2), n_missing=0)
    new = np.array([-1.0] * 2 + [0.0] * 2 + [0.5] * 4 + [1.0] * 4 + [9.0] * 8)
    old_shares = np.array([4.5, 4.5, 2.5]) / 11.5
    new_shares = np.array([4.5, 8.5, 8.5]) / 21.5
    by_hand = ((new_shares - old_shares) * np.log(new_shares / old_shares)).sum()

    found = measure_drift([bins], ["column"], new[:, None]).row(0, named=True)

    assert found["psi"] == pytest.approx(by_hand)
    # The 95th percentile of chi-squared with two degrees of freedom is 5.991.
    assert found["psi_by_chance"] == pytest.approx(5.991 * (1 / 10 + 1 / 20), rel=1e-3)
    assert found["state"] == "moderate"
    assert (found["n_rows"], found["n_missing"]) == (20, 0)


def test_bins_are_the_deciles_of_the_training_rows() -> None:
    """A hundred different values fill ten bins evenly; missing rows are counted apart."""
    column = np.append(np.arange(100.0), [np.nan] * 5)
    bins = training_bins(column[:, None])[0]

    assert bins.counts == (10,) * 10
    assert bins.n_missing == 5
    assert sum(bins.counts) + bins.n_missing == 105


@pytest.mark.parametrize(
    ("column", "n_bins"),
    [([7.0] * 50, 2), ([0.0] * 45 + [1.0] * 5, 2), ([np.nan] * 50, 1)],
)
def test_tied_and_missing_columns_have_fewer_bins(column: list[float], n_bins: int) -> None:
    """Equal quantiles are one edge; the very rows that made the bins do not drift from them."""
    rows = np.array(column)[:, None]
    bins = training_bins(rows)
    found = measure_drift(bins, ["column"], rows).row(0, named=True)

    assert len(bins[0].counts) == n_bins
    assert found["psi"] == pytest.approx(0)
    assert found["state"] == "stable"


def test_the_worst_column_stands_first() -> None:
    """A shift of half a deviation is drift, a missing column more so; the rest is stable."""
    rng = np.random.default_rng(0)
    trained, new = rng.normal(size=(5000, 4)), rng.normal(size=(2000, 4))
    new[:, 2] += 0.5
    new[:, 1] = np.nan
    found = measure_drift(training_bins(trained), ["a", "b", "c", "d"], new)

    assert found.schema == DRIFT_SCHEMA
    assert found["column"].to_list()[:2] == ["b", "c"]
    assert found["state"].to_list() == ["large", "moderate", "stable", "stable"]
    assert found["n_missing"].to_list() == [2000, 0, 0, 0]
    assert found["missing_frac_trained"].to_list() == [0, 0, 0, 0]


def test_too_few_rows_have_no_index() -> None:
    """Nineteen rows say nothing and nobody is told that they are stable; twenty are measured."""
    rng = np.random.default_rng(0)
    trained = rng.normal(size=(500, 2))
    for n, is_measured in ((0, False), (19, False), (20, True)):
        found = measure_drift(training_bins(trained), ["a", "b"], trained[:n])

        assert found["n_rows"].to_list() == [n, n]
        for name in ("psi", "psi_by_chance", "state"):
            assert (found[name].null_count() == 0) is is_measured


def test_chance_reaches_its_bound_once_in_twenty() -> None:
    """Samples of one and the same source exceed the stated bound in about 5 % of cases."""
    rng = np.random.default_rng(1)
    beyond: list[bool] = []
    for _ in range(40):
        trained, new = rng.normal(size=(3000, 20)), rng.normal(size=(300, 20))
        found = measure_drift(training_bins(trained), [f"c{i}" for i in range(20)], new)
        beyond += (found["psi"] > found["psi_by_chance"]).to_list()

    assert 0.02 < np.mean(beyond) < 0.09


@pytest.mark.parametrize(
    "fields",
    [
        {"edges": (1.0, 1.0)},
        {"edges": (1.0, 0.0)},
        {"counts": (1, 2)},
        {"counts": (1, -2, 3)},
        {"n_missing": -1},
    ],
)
def test_unsound_bins_are_refused(fields: dict[str, Any]) -> None:
    """Edges rise, counts are counts."""
    sound: dict[str, Any] = {"edges": (0.0, 1.0), "counts": (1, 2, 3), "n_missing": 0}
    with pytest.raises(RecordError, match="not sound"):
        ColumnBins.model_validate(sound | fields)
