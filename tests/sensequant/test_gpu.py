"""LightGBM on a real OpenCL device: what it learns is what the CPU learns, and it repeats itself.

PoCL (Debian: pocl-opencl-icd) is an OpenCL device that runs on the CPU, so that a machine without
a GPU executes the code of the GPU. It shows that results agree; it cannot show that one is fast.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as untyped_metrics

from sensequant.booster_config import BoosterConfig
from sensequant.boosting import (
    FittedBooster,
    Objective,
    TrainingData,
    load_booster,
    predict,
    resolve_device,
    train_booster,
)
from sensequant.errors import ConfigError

# scikit-learn has no types.
_metrics: Any = untyped_metrics

_SAME_SCORE = 1e-8
"""Greatest difference of two scores (probability) whose trees are the same."""

_SAME_MODEL = 1e-3
"""Mean difference of scores (probability), and difference of AUC, where ties fall otherwise."""

_ALL_ROWS_AND_COLUMNS: dict[str, Any] = {"subsample": 1.0, "colsample_bytree": 1.0}
_COLUMNS = tuple(f"feature_{i}" for i in range(12))

Fit = Callable[..., FittedBooster]


def _data(n_rows: int, seed: int, objective: Objective = "binary") -> TrainingData:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_rows, len(_COLUMNS)))
    features[rng.random(features.shape) < 0.1] = np.nan
    targets = (np.nan_to_num(features[:, 0]) + rng.normal(size=n_rows) > 0).astype(np.float64)
    if objective == "cross_entropy":
        targets = 0.7 * targets + 0.3 * rng.random(n_rows)
    return TrainingData(features, targets, _COLUMNS, weights=rng.uniform(0.5, 2.0, n_rows))


def _fit(
    n_rows: int, objective: Objective = "binary", n_threads: int = 1, seed: int = 1, **settings: Any
) -> FittedBooster:
    return train_booster(
        _data(n_rows, seed, objective),
        objective=objective,
        config=BoosterConfig.model_validate(settings),
        seed=seed,
        n_threads=n_threads,
        n_rounds=10,
    )


def _trees(fitted: FittedBooster) -> str:
    return fitted.model_text.partition("\nend of trees")[0]


@pytest.fixture(scope="module")
def opencl() -> Fit:
    """Return a fit on the first OpenCL device, or skip with LightGBM's reason why there is none."""
    try:
        resolve_device(BoosterConfig(device="gpu"))
    except ConfigError as error:
        pytest.skip(f"no OpenCL device ({error.found}); install pocl-opencl-icd")

    def fit(*args: Any, **settings: Any) -> FittedBooster:
        return _fit(*args, **{"device": "gpu", **settings})

    return fit


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["binary", "cross_entropy"])
def test_a_window_has_the_same_trees_on_the_gpu(objective: Objective, opencl: Fit) -> None:
    """With the rows of one window and the usual settings, the trees are the same, bit by bit."""
    on_gpu, on_cpu = (fit(110, objective) for fit in (opencl, _fit))

    assert on_gpu.parameters["device_type"] == "gpu"
    assert on_cpu.parameters["device_type"] == "cpu"
    assert _trees(on_gpu) == _trees(on_cpu)


@pytest.mark.slow
@pytest.mark.parametrize("n_rows", [600, 2000])
def test_rows_that_were_learnt_from_score_the_same(n_rows: int, opencl: Fit) -> None:
    """Where no row is left out of a tree, no score differs by more than rounding."""
    learnt = _data(n_rows, seed=1).features
    on_gpu, on_cpu = (
        predict(fit(n_rows, **_ALL_ROWS_AND_COLUMNS).predictor, learnt, n_threads=1)
        for fit in (opencl, _fit)
    )

    np.testing.assert_allclose(on_gpu, on_cpu, rtol=0, atol=_SAME_SCORE)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["binary", "cross_entropy"])
@pytest.mark.parametrize("n_rows", [600, 2000])
def test_unseen_rows_score_about_the_same(objective: Objective, n_rows: int, opencl: Fit) -> None:
    """Rounding decides between thresholds that part the learnt rows alike; few others notice."""
    unseen = _data(2000, seed=99)
    on_gpu, on_cpu = (
        predict(fit(n_rows, objective).predictor, unseen.features, n_threads=1)
        for fit in (opencl, _fit)
    )

    assert np.abs(on_gpu - on_cpu).mean() < _SAME_MODEL
    assert _metrics.roc_auc_score(unseen.targets, on_gpu) == pytest.approx(
        _metrics.roc_auc_score(unseen.targets, on_cpu), abs=_SAME_MODEL
    )


@pytest.mark.slow
@pytest.mark.parametrize("n_rows", [110, 1250])
def test_the_gpu_repeats_itself(n_rows: int, opencl: Fit) -> None:
    """Again, with another number of threads, and beside other fits: the same bytes."""
    alone = [opencl(n_rows, seed=seed).sha256 for seed in range(2)]
    again = [opencl(n_rows, n_threads=2, seed=seed).sha256 for seed in range(2)]
    with ThreadPoolExecutor(2) as pool:
        fits = [pool.submit(opencl, n_rows, seed=seed) for seed in range(2)]
        together = [fit.result().sha256 for fit in fits]

    assert alone == again == together
    assert len(set(alone)) == 2


@pytest.mark.slow
def test_single_precision_grows_other_trees(opencl: Fit) -> None:
    """Why sums are in double precision by default: otherwise not even one window agrees."""
    on_cpu, double, single = _fit(110), opencl(110), opencl(110, gpu_use_dp=False)

    assert _trees(double) == _trees(on_cpu) != _trees(single)
    assert (double.parameters["gpu_use_dp"], single.parameters["gpu_use_dp"]) == ("1", "0")


@pytest.mark.slow
@pytest.mark.usefixtures("opencl")
def test_auto_takes_the_device_that_works() -> None:
    """Without CUDA and with OpenCL, `auto` is the very same fit as `gpu`."""
    assert resolve_device(BoosterConfig(device="auto")) == "gpu"
    assert _trees(_fit(110, device="auto")) == _trees(_fit(110, device="gpu"))


@pytest.mark.slow
def test_a_model_of_the_gpu_needs_none_to_score(opencl: Fit) -> None:
    """Its text is loaded and scored like any other, to the same bits."""
    fitted = opencl(110)
    loaded = load_booster(fitted.model_text, sha256=fitted.sha256)
    unseen = _data(200, seed=99).features

    np.testing.assert_array_equal(
        predict(loaded, unseen, n_threads=1), predict(fitted.predictor, unseen, n_threads=1)
    )


@pytest.mark.slow
@pytest.mark.usefixtures("opencl")
def test_the_device_that_is_named_is_the_one_that_is_taken() -> None:
    """The first of the first platform exists; LightGBM would take it in place of the 64th, too."""
    first = BoosterConfig(device="gpu", gpu_platform_id=0, gpu_device_id=0)

    assert resolve_device(first) == "gpu"
    with pytest.raises(ConfigError, match="took the default device instead"):
        resolve_device(first.model_copy(update={"gpu_device_id": 63}))
