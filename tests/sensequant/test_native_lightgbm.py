"""LightGBM's library by its interface in C: what it refuses is told, and nothing else is loaded.

That fits, texts and scores are those of LightGBM's own package is shown in `test_boosting`.
"""

import subprocess
import sys

import lightgbm
import numpy as np
import pytest

from sensequant.native_lightgbm import Booster, Dataset, LightGBMError

_COLUMNS = tuple(f"column_{i}" for i in range(3))
_PARAMETERS = {"objective": "binary", "min_data_in_leaf": 2, "verbosity": -1, "num_threads": 1}
_LOADS = """
import sys
from sensequant.boosting import fit_predictor
print(sorted({"pandas", "sklearn", "lightgbm"} & set(sys.modules)))
import pandas, sklearn, lightgbm
print(pandas.__name__, sklearn.__name__, lightgbm.__name__)
"""


def _rows(n_rows: int = 60, reference: Dataset | None = None) -> Dataset:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(n_rows, len(_COLUMNS)))
    targets = (features[:, 1] > 0).astype(np.float64)
    return Dataset(
        features,
        targets,
        weights=None,
        columns=_COLUMNS,
        parameters=_PARAMETERS,
        reference=reference,
    )


def _fitted(n_rounds: int = 5) -> Booster:
    booster = Booster.begin(_PARAMETERS, _rows())
    for _ in range(n_rounds):
        booster.update()
    return booster


def test_training_loads_neither_frames_nor_classes() -> None:
    """Pandas, scikit-learn and the package are installed, not loaded, and can be later on."""
    run = subprocess.run([sys.executable, "-c", _LOADS], capture_output=True, text=True, check=True)

    assert run.stdout.splitlines() == ["[]", "pandas sklearn lightgbm"]


def test_what_the_library_refuses_is_told_in_its_words() -> None:
    """A status that is not zero is never passed over."""
    with pytest.raises(LightGBMError, match="objective"):
        Booster.begin(_PARAMETERS | {"objective": "no_such"}, _rows())
    with pytest.raises(LightGBMError):
        Booster.read("no model")
    with pytest.raises(LightGBMError, match="number of features"):
        _fitted().predict(np.zeros((1, 2)), n_rounds=5, n_threads=1)


def test_rows_without_a_loss_tell_none() -> None:
    """Without validation rows, and with two figures for them, there is no loss to stop by."""
    with pytest.raises(LightGBMError, match="no validation rows"):
        _fitted().loss_of_validation()
    twice = _PARAMETERS | {"metric": "auc,binary_logloss"}
    train = _rows()
    booster = Booster.begin(twice, train, _rows(20, reference=train))
    booster.update()
    with pytest.raises(LightGBMError, match="2 figures"):
        booster.loss_of_validation()()


def test_a_text_longer_than_the_first_buffer_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large model is asked for again, with the room that it needs."""
    booster = _fitted()
    whole = booster.text(n_rounds=5)
    monkeypatch.setattr("sensequant.native_lightgbm._TEXT_BYTES", 100)

    assert booster.text(n_rounds=5) == whole
    assert lightgbm.Booster(model_str=whole).num_trees() == booster.n_trees() == 5


def test_importance_is_that_of_the_package() -> None:
    """Splits and gains of the first rounds, by column."""
    booster = _fitted()
    oracle = lightgbm.Booster(model_str=booster.text(n_rounds=5))

    for kind in ("split", "gain"):
        found = booster.importance(kind, n_rounds=3, n_columns=3)
        # A text holds gains in six digits.
        expected = oracle.feature_importance(kind, iteration=3)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert found.sum() > 0


def test_rows_in_another_order_of_memory_are_scored_alike() -> None:
    """Columns one after the other, or every second row of a table: the numbers count."""
    booster = _fitted()
    rows = np.random.default_rng(2).normal(size=(40, 3))
    expected = booster.predict(rows[::2].copy(), n_rounds=5, n_threads=1)

    for same in (np.asfortranarray(rows[::2]), rows[::2]):
        np.testing.assert_array_equal(booster.predict(same, n_rounds=5, n_threads=1), expected)
